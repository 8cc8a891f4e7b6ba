//! The hub: gathers what outlets capture, applies it to documents, counts it, and shows what has arrived.
//!
//! A frame's walk: `broker` → `link` → `ingest` (verified, stored raw, acknowledged) → `apply` (documents, facts,
//! quarantine) → `reports`, `api`, `pages`. [`run`] puts the rooms together; the binary is a thin command line over it.

pub mod api;
pub mod apply;
pub mod backup;
pub mod board;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod down;
pub mod durable;
pub mod epoch;
pub mod events;
pub mod ingest;
pub mod keys;
pub mod link;
pub mod metrics;
pub mod pages;
pub mod reports;
pub mod router;
pub mod rules;
mod running;
pub mod store;
pub mod view;

pub use config::Config;
pub use running::{RunError, Running, run};
