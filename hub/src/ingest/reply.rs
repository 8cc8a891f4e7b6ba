//! What leaves after a commit, as far as only the store knows it; the link adds credit and signs.

use rusqlite::Connection;
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::time::Timestamp;

use crate::store::StoreError;
use crate::store::lane::Lanes;

/// What the link sends after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Answers a HELLO.
    Welcome(Box<Greeting>),
    /// Acknowledges what is committed.
    Ack(Box<Acknowledgement>),
}

/// What a WELCOME says that only the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// To whom.
    pub agent: AgentId,
    /// The session it began.
    pub session: SessionId,
    /// Lowest and highest protocol it speaks.
    pub protocols: (u8, u8),
    /// Its upward journal.
    pub stream: StreamId,
    /// The stored mark and earlier ones.
    pub ladder: Vec<Mark>,
    /// How far it is processed.
    pub processed: Seq,
    /// What it may delete.
    pub prunable: Seq,
    /// Its letter in printed numbers.
    pub letter: Option<char>,
    /// The hub's time when the HELLO arrived.
    pub received_at: Timestamp,
}

/// What an ACK says that only the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// To whom.
    pub agent: AgentId,
    /// The session of its last HELLO: a BATCH carries none.
    pub session: SessionId,
    /// Which journal.
    pub stream: StreamId,
    /// Committed, without a gap.
    pub stored: Mark,
    /// Applied, quarantined or parked.
    pub processed: Seq,
    /// What it may delete.
    pub prunable: Seq,
    /// What is missing below what arrived.
    pub missing: Vec<SeqRange>,
}

/// The acknowledgement of a stream as its lane stands.
pub(crate) fn acknowledge(conn: &Connection, lanes: &mut Lanes, stream: StreamId) -> Result<Option<Reply>, StoreError> {
    let Some(lane) = lanes.lane(stream) else { return Ok(None) };
    let (agent, stored, processed, prunable) = (lane.agent, lane.committed, lane.processed, lane.prunable);
    let missing = lane.receiver.missing();
    let session = lanes.session(conn, agent)?;
    Ok(session.map(|session| {
        Reply::Ack(Box::new(Acknowledgement { agent, session, stream, stored, processed, prunable, missing }))
    }))
}
