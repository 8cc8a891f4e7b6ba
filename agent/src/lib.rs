//! The outlet agent: capture into a local journal, sync to the hub when the network allows.
//!
//! The walk: `api` or `cli` takes a wish, the protocol's `form` reads it, `store` makes it durable, `link` brings it to the hub.
//! [`run`] starts all of it inside any process, several times if wanted.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod import;
pub mod lang;
pub mod layout;
pub mod link;
pub mod metrics;
pub mod page;
pub mod presence;
mod running;
pub mod store;

pub use config::{Config, Settings};
pub use running::{Running, StartError, open_store, run};
