//! Storing: a frame is verified on its raw bytes, judged by its stream's receiver, and committed before it is
//! acknowledged.
//!
//! `verify` touches no database and runs off the writer thread. `store_group` runs on the writer, many frames of many
//! agents in one transaction; replies leave only after that commit. Storing never decodes an entry.

mod downward;
mod group;
mod reply;
mod take;
mod verify;

use waystation_protocol::batch::Unpacked;
use waystation_protocol::id::AgentId;
use waystation_protocol::message::{Ack, Batch, Death, Heartbeat, Hello};
use waystation_protocol::time::Timestamp;

pub use reply::{Acknowledgement, Greeting, Reply};
pub use verify::{Keys, Rejected, verify};

pub(crate) use group::{Outcome, store_group};
pub(crate) use reply::acknowledge;

/// A verified upward message.
#[derive(Debug)]
pub enum Upward {
    /// A session begins; and whether the hub itself once said that it has stored what this claims.
    Hello(Box<Hello>, bool),
    /// Entries, with the payload unpacked and its chain recomputed, and the protocol of their frame.
    Batch(Box<(Batch, Unpacked)>, u8),
    /// The frame of a batch in a newer protocol, whose envelope this build cannot read.
    Newer(Vec<u8>),
    /// What it has committed of its downward journal.
    Ack(Box<Ack>),
    /// A sign of life.
    Heartbeat(Box<Heartbeat>),
    /// A sign of life of an agent the hub does not know, unverified: it is told that nothing of its is here.
    Stranger(Box<Heartbeat>),
    /// A last will.
    Death(Death),
}

/// A verified message with its sender and the hub's time of its arrival.
#[derive(Debug)]
pub struct Incoming {
    /// Whose key signed it.
    pub agent: AgentId,
    /// What it says.
    pub message: Upward,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Bytes of its frame; counted in the gauge `queued_bytes` until it is committed or refused.
    pub wire_bytes: usize,
}

impl Incoming {
    /// What it holds in memory, about, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let unpacked = match &self.message {
            // the payload, what it unpacks to, and a mark and a span per entry
            Upward::Batch(batch, _) => batch.0.payload.len() * 5 + batch.1.len() * 64,
            Upward::Newer(frame) => frame.len(),
            Upward::Hello(..) | Upward::Ack(_) | Upward::Heartbeat(_) | Upward::Stranger(_) | Upward::Death(_) => 0,
        };
        self.wire_bytes + unpacked
    }
}
