//! What the hub tells its agents, and what it does itself.
//!
//! `own`: the hub's journal, and the journals of what agents bring back. `journal`: the rows of the downward journals.
//! `readers`, `relay`, `snapshot`: applied entries on their way to agents. `meet`, `give_back`: HELLO, ACK and returned batches. `courses`: what
//! leaves, and when.
//! `freeze`: what stands still after the hub came back older. `act`, `stage`, `books`, `post`, `forms`: what people do at the hub. Everything that
//! is told is appended in the transaction that makes it true; nothing here knows about MQTT.

pub(crate) mod act;
mod books;
mod courses;
mod forms;
pub(crate) mod freeze;
mod give_back;
pub(crate) mod journal;
mod meet;
pub(crate) mod own;
#[cfg(test)]
mod parties_tests;
pub(crate) mod post;
pub(crate) mod readers;
pub(crate) mod relay;
mod snapshot;
mod stage;
#[cfg(test)]
mod tests;
pub(crate) mod trail;
#[cfg(test)]
mod workers_tests;

pub use act::{ActError, Deed};
pub use forms::DefineError;
pub use meet::{Downward, Meeting};
pub use post::CommandRow;

pub(crate) use courses::{Courses, News};
pub(crate) use give_back::give_back;
pub(crate) use meet::{Hailed, ack, has_all, heartbeat, hello, prunable};
pub(crate) use post::note_result;
pub(crate) use snapshot::{catch_up, is_due};
