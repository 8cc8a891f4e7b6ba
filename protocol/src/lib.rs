//! What agent and hub share: entries, hash-chained journals, the sync state machines, and the kinds of documents.
//!
//! Nothing here reads a clock, a random source, a file or a socket. Everything is given in, so that a simulator can
//! run the very same code under a seed. Agent and hub depend on this crate and never on each other.

pub mod batch;
pub mod chain;
pub mod codec;
pub mod definition;
pub mod document;
pub mod down;
pub mod entry;
pub mod fact;
pub mod form;
pub mod frame;
pub mod id;
pub mod kind;
pub mod limits;
pub mod message;
pub mod number;
pub mod phone;
pub mod plant;
pub mod room;
pub mod site;
pub mod sync;
pub mod time;
pub mod topic;
pub mod value;
pub mod vin;

/// The wire protocol this build speaks.
pub const PROTOCOL_VERSION: u8 = 1;
