//! The bodies of frames: HELLO, WELCOME, BATCH, ACK, HEARTBEAT, DEATH.
//!
//! Bodies are CBOR maps with named fields; a reader passes over names it does not know, and what may be absent has
//! a default, so that two releases apart still understand each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chain::{Hash, Mark, Seq, SeqRange};
use crate::codec::{self, CodecError};
use crate::frame::FrameType;
use crate::id::{AgentId, SessionId, StreamId};
use crate::limits;
use crate::site::Sites;
use crate::time::Timestamp;

/// A byte string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

/// A message that can travel in a frame.
pub trait Message: Serialize + serde::de::DeserializeOwned {
    /// The frame type that carries it.
    const FRAME: FrameType;

    /// The body of its frame.
    fn to_body(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the verified body of a frame.
    fn from_body(body: &[u8]) -> Result<Self, CodecError> {
        codec::decode(body, limits::FRAME_BYTES)
    }
}

/// Where a forked stream branched off: the last mark both share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The stream it came from.
    pub stream: StreamId,
    /// The last common mark.
    pub at: Mark,
}

/// A journal as its receiver holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub stream: StreamId,
    /// How far it goes here.
    pub head: Mark,
    /// Up to where it was deleted here.
    #[serde(default)]
    pub pruned: Seq,
}

/// A journal as the hub holds it: its last mark, then exponentially spaced earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// Which.
    pub stream: StreamId,
    /// Marks, the highest first.
    pub rungs: Vec<Mark>,
}

/// Agent to hub, once per session: what I am, and how far each journal goes here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who speaks.
    pub agent: AgentId,
    /// Its Ed25519 public key; trusted on first use until enrolment exists.
    pub public_key: Bytes,
    /// This connection.
    pub session: SessionId,
    /// The sites it captures for.
    pub sites: Sites,
    /// Its upward journal.
    pub stream: StreamId,
    /// The streams that one came from, the nearest first, each with the mark at which it was left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub line: Vec<Parent>,
    /// How far its journal goes.
    pub head: Mark,
    /// How far it knows the hub to have stored.
    pub stored: Mark,
    /// The hub's frame that said so, WELCOME or ACK: proves it to a hub that came back older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Bytes>,
    /// Up to where it has deleted its own copy.
    pub pruned: Seq,
    /// The downward journal as far as it holds it.
    #[serde(default)]
    pub down: Option<Held>,
    /// The last session the hub acknowledged anything in.
    #[serde(default)]
    pub last_session: Option<SessionId>,
    /// The answer to the challenge of an earlier WELCOME.
    #[serde(default)]
    pub challenge_answer: Option<Bytes>,
    /// Bytes it can take in flight downward.
    pub credit: u64,
    /// The newest form version it knows of each kind, by the kind's name.
    #[serde(default)]
    pub forms: BTreeMap<String, u16>,
    /// Lowest and highest protocol it speaks.
    pub protocols: (u8, u8),
    /// What else it can do, by name.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Its build, for people.
    pub build: String,
    /// Its wall clock as this left.
    pub t1: Timestamp,
}

/// Hub to agent: what I hold of your journal. The agent decides what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Echo of the HELLO's.
    pub session: SessionId,
    /// Which hub.
    pub hub: Bytes,
    /// The hub's Ed25519 public key; trusted on first use until enrolment exists.
    pub public_key: Bytes,
    /// Raised whenever the hub came back from an older copy; for alarms.
    pub hub_epoch: u64,
    /// The stream the ladder speaks of: the HELLO's, or the nearest of its line that the hub knows.
    pub stream: StreamId,
    /// The hub's stored mark, then exponentially spaced earlier ones, and those at the seqs the HELLO names.
    pub ladder: Vec<Mark>,
    /// How far the hub has processed.
    pub processed: Seq,
    /// What the agent may delete.
    pub prunable: Seq,
    /// The agent's downward journal; absent for a session that must first answer the challenge.
    #[serde(default)]
    pub down: Option<Ladder>,
    /// What the agent may delete of its downward journal.
    #[serde(default)]
    pub down_prunable: Seq,
    /// Bytes the agent may have in flight.
    pub credit: u64,
    /// The letter of this agent in printed numbers.
    #[serde(default)]
    pub letter: Option<char>,
    /// To be answered in the next HELLO where another session is active.
    #[serde(default)]
    pub challenge: Option<Bytes>,
    /// The protocol to speak.
    pub protocol: u8,
    /// What else the hub can do, by name.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What the HELLO said of its agent's clock: tells which one this answers.
    pub t1: Timestamp,
    /// The hub's clock when the HELLO arrived.
    pub t2: Timestamp,
    /// The hub's clock as this left.
    pub t3: Timestamp,
}

/// Contiguous entries of one stream, either way. An agent also returns entries of its downward journal that the hub forgot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Which journal.
    pub stream: StreamId,
    /// In the batches of a fork until the first is acknowledged: where it branched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The first entry's place.
    #[serde(rename = "first")]
    pub first_seq: Seq,
    /// How many entries; 0 is allowed.
    pub count: u32,
    /// The chain's hash before the first entry.
    #[serde(rename = "prev")]
    pub prev_hash: Hash,
    /// The last mark in common, where all from there to this batch is lost: it counts only while it is the stored mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Mark>,
    /// The entries, compressed (see `batch`).
    pub payload: Bytes,
}

/// What the receiver has committed, either way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The session it answers.
    pub session: SessionId,
    /// Which journal.
    pub stream: StreamId,
    /// Committed, without a gap.
    pub stored: Mark,
    /// Applied, quarantined or parked.
    pub processed: Seq,
    /// What the sender may delete.
    pub prunable: Seq,
    /// What an agent may delete of its downward journal; 0 upward.
    #[serde(default)]
    pub down_prunable: Seq,
    /// What is missing below what arrived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<SeqRange>,
    /// Bytes the sender may have in flight.
    pub credit: u64,
    /// Milliseconds to wait before sending more; 0 for none.
    #[serde(default)]
    pub retry_after_ms: u64,
}

/// Agent to hub, every minute or so: I live, and this is what waits here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// This connection.
    pub session: SessionId,
    /// Which journal.
    pub stream: StreamId,
    /// How far it goes.
    pub head: Mark,
    /// How far it knows the hub to have stored.
    pub stored: Seq,
    /// The downward journal as far as it holds it.
    #[serde(default)]
    pub down: Option<Held>,
    /// Age of the oldest entry the hub has not stored, in milliseconds; 0 if none.
    pub oldest_unsent_ms: u64,
    /// Entries the hub has not stored.
    pub backlog_entries: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// Bytes free on the agent's disk.
    pub disk_free: u64,
    /// The agent's clock minus the hub's, in milliseconds, as last compared.
    #[serde(default)]
    pub clock_offset_ms: Option<i64>,
    /// Its build, for people.
    pub build: String,
}

/// The agent's last will, published by the broker when the connection dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The connection that died; ignored unless it is the current one.
    pub session: SessionId,
}

macro_rules! message {
    ($($name:ident)*) => { $(
        impl Message for $name {
            const FRAME: FrameType = FrameType::$name;
        }
    )* };
}
message!(Hello Welcome Batch Ack Heartbeat Death);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes)
    }
}

impl std::ops::Deref for Bytes {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl std::ops::DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Visit;
        impl serde::de::Visitor<'_> for Visit {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_survives_the_wire_and_stays_small() {
        let ack = Ack {
            session: SessionId::from_bytes([1; 16]),
            stream: StreamId::from_bytes([2; 16]),
            stored: Mark::ZERO.extend(b"a"),
            processed: Seq(1),
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing: vec![SeqRange { first: Seq(3), last: Seq(9) }],
            credit: 1 << 20,
            retry_after_ms: 0,
        };
        let body = ack.to_body();
        assert_eq!(Ack::from_body(&body).unwrap(), ack);
        assert!(body.len() < 200, "{}", body.len());
    }
}
