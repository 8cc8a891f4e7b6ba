//! How a journal crosses a pipe that may lose, repeat, reorder and forget.
//!
//! One sender and one receiver, used in both directions. They hold no I/O: shells feed them with `handle_*`, ask them
//! with `poll_*`, and do what they say. Only an acknowledgement that follows the receiver's own commit moves a mark.

pub mod backoff;
pub mod meeting;
pub mod receiver;
pub mod sender;

pub use backoff::Backoff;
pub use meeting::{Meeting, meet};
pub use receiver::{Receiver, Verdict};
pub use sender::{AckOutcome, Command, Resume, Sender};
