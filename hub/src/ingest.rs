//! Storing: a frame is verified on its raw bytes, judged by its stream's receiver, and committed before it is
//! acknowledged.
//!
//! `verify` touches no database and runs off the writer thread. `store_group` runs on the writer, many frames of many
//! agents in one transaction; replies leave only after that commit. Storing never decodes an entry.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use ed25519_dalek::VerifyingKey;
use rusqlite::Connection;
use waystation_protocol::batch::{BatchError, Unpacked};
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::codec::CodecError;
use waystation_protocol::frame::{Frame, FrameError, FrameType};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::message::{Batch, Death, Heartbeat, Hello, Message};
use waystation_protocol::sync::Verdict;
use waystation_protocol::time::Timestamp;

use crate::store::lane::{self, Lanes, Owned};
use crate::store::presence::{self, Greeted};
use crate::store::raw::{self, Arrival};
use crate::store::{Counters, Retention, StoreError, restore};

/// The pinned key of every agent that ever said HELLO.
#[derive(Debug, Default)]
pub struct Keys(RwLock<HashMap<AgentId, VerifyingKey>>);

/// A verified upward message.
#[derive(Debug)]
pub enum Upward {
    /// A session begins.
    Hello(Box<Hello>),
    /// Entries, with the payload unpacked and its chain recomputed, and the protocol of their frame.
    Batch(Box<(Batch, Unpacked)>, u8),
    /// A sign of life.
    Heartbeat(Box<Heartbeat>),
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

/// Why a frame was dropped before it reached the store.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// It is no frame, or its signature is not its agent's.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its agent never said HELLO; it will after its resend timer.
    #[error("no key is known for this agent")]
    UnknownKey,
    /// A HELLO with another key than the one pinned at its first.
    #[error("another key is pinned to this agent")]
    KeyMismatch,
    /// The body is not the message its type promises.
    #[error("the body does not decode: {0}")]
    Body(#[from] CodecError),
    /// The payload is not what its envelope says.
    #[error("the payload is refused: {0}")]
    Batch(#[from] BatchError),
    /// A HELLO on another agent's topic.
    #[error("the HELLO names another agent than its topic")]
    WrongTopic,
    /// A type only the hub sends.
    #[error("an agent does not send {0:?}")]
    WrongDirection(FrameType),
}

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

/// What a group changed; to be told only after its commit.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<Reply>,
    /// Streams whose prefix grew: row and stored seq.
    pub(crate) grown: Vec<(i64, Seq)>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    stored: u64,
    entries: u64,
    held: u64,
    known: u64,
    conflicting: u64,
    refused: u64,
    misplaced: u64,
    keys_refused: u64,
}

impl Keys {
    /// The keys pinned so far.
    pub fn new(pinned: impl IntoIterator<Item = (AgentId, VerifyingKey)>) -> Keys {
        Keys(RwLock::new(pinned.into_iter().collect()))
    }

    /// The key pinned to an agent.
    pub fn find(&self, agent: AgentId) -> Option<VerifyingKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&agent).copied()
    }

    /// Pins a key unless one is pinned already, and gives the one that counts.
    fn pin(&self, agent: AgentId, key: VerifyingKey) -> VerifyingKey {
        *self.0.write().unwrap_or_else(PoisonError::into_inner).entry(agent).or_insert(key)
    }
}

/// Verifies a frame from `agent`'s topic: size and signature on the raw bytes first, then body, then payload and chain.
///
/// # Errors
///
/// The frame must be dropped; [`Rejected`] says why.
pub fn verify(agent: AgentId, bytes: &[u8], keys: &Keys) -> Result<Upward, Rejected> {
    let frame = Frame::parse(bytes)?;
    let body = match (frame.kind, keys.find(agent)) {
        (FrameType::Hello, known) => return hello(agent, &frame, known, keys),
        (_, Some(key)) => frame.verified_body(&key)?,
        (_, None) => return Err(Rejected::UnknownKey),
    };
    match frame.kind {
        FrameType::Batch => {
            let batch = Batch::from_body(body)?;
            let entries = Unpacked::open(&batch)?;
            Ok(Upward::Batch(Box::new((batch, entries)), frame.version))
        }
        FrameType::Heartbeat => Ok(Upward::Heartbeat(Box::new(Heartbeat::from_body(body)?))),
        FrameType::Death => Ok(Upward::Death(Death::from_body(body)?)),
        FrameType::Hello | FrameType::Welcome | FrameType::Ack => Err(Rejected::WrongDirection(frame.kind)),
    }
}

/// A first HELLO proves that its sender holds the key it names; that key is pinned from then on.
fn hello(agent: AgentId, frame: &Frame<'_>, known: Option<VerifyingKey>, keys: &Keys) -> Result<Upward, Rejected> {
    let claimed = Hello::from_body(frame.unverified_body())?;
    if claimed.agent != agent {
        return Err(Rejected::WrongTopic);
    }
    let key = <[u8; 32]>::try_from(claimed.public_key.as_slice()).map_err(|_| FrameError::Signature)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| FrameError::Signature)?;
    if known.is_some_and(|known| known != key) {
        return Err(Rejected::KeyMismatch);
    }
    frame.verified_body(&key)?;
    if known.is_none() && keys.pin(agent, key) != key {
        return Err(Rejected::KeyMismatch);
    }
    Ok(Upward::Hello(Box::new(claimed)))
}

impl Incoming {
    /// What it holds in memory, about, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let unpacked = match &self.message {
            // the payload, what it unpacks to, and a mark and a span per entry
            Upward::Batch(batch, _) => batch.0.payload.len() * 5 + batch.1.len() * 64,
            Upward::Hello(_) | Upward::Heartbeat(_) | Upward::Death(_) => 0,
        };
        self.wire_bytes + unpacked
    }
}

impl Rejected {
    /// Counts this reason.
    pub fn count(&self, counters: &Counters) {
        match self {
            Rejected::Frame(FrameError::Signature) => counters.signatures_refused.one(),
            Rejected::UnknownKey => counters.frames_unknown_key.one(),
            Rejected::KeyMismatch => counters.keys_refused.one(),
            Rejected::Batch(_) => counters.batches_malformed.one(),
            Rejected::Frame(FrameError::Size(_) | FrameError::Type(_))
            | Rejected::Body(_)
            | Rejected::WrongTopic
            | Rejected::WrongDirection(_) => counters.frames_malformed.one(),
        }
    }
}

impl Outcome {
    /// Adds to the counters what was committed.
    pub(crate) fn count(&self, counters: &Counters) {
        counters.batches_stored.add(self.tally.stored);
        counters.entries_stored.add(self.tally.entries);
        counters.batches_held.add(self.tally.held);
        counters.batches_known.add(self.tally.known);
        counters.batches_conflicting.add(self.tally.conflicting);
        counters.batches_refused.add(self.tally.refused);
        counters.batches_misplaced.add(self.tally.misplaced);
        counters.keys_refused.add(self.tally.keys_refused);
    }
}

/// One group on its way into the database.
struct Group<'a> {
    conn: &'a Connection,
    lanes: &'a mut Lanes,
    retention: Retention,
    greeted: Vec<Greeting>,
    to_acknowledge: BTreeSet<StreamId>,
    heard: HashMap<i64, Timestamp>,
    tally: Tally,
}

/// Writes a group within the caller's transaction. After an error the caller rolls back and clears `lanes`.
pub(crate) fn store_group(
    conn: &Connection,
    lanes: &mut Lanes,
    group: &[Incoming],
    retention: Retention,
) -> Result<Outcome, StoreError> {
    let mut writing = Group {
        conn,
        lanes,
        retention,
        greeted: Vec::new(),
        to_acknowledge: BTreeSet::new(),
        heard: HashMap::new(),
        tally: Tally::default(),
    };
    for incoming in group {
        match &incoming.message {
            Upward::Hello(hello) => writing.hello(hello, incoming.received_at)?,
            Upward::Batch(batch, protocol) => {
                let arrival = Arrival { received_at: incoming.received_at, protocol: *protocol };
                writing.batch(incoming.agent, &batch.0, &batch.1, arrival)?;
            }
            Upward::Heartbeat(beat) => writing.heartbeat(incoming.agent, beat, incoming.received_at)?,
            Upward::Death(death) => presence::death(conn, incoming.agent, death.session, incoming.received_at)?,
        }
    }
    writing.finish()
}

impl Group<'_> {
    fn hello(&mut self, hello: &Hello, now: Timestamp) -> Result<(), StoreError> {
        let Greeted::Welcome { letter } = presence::hello(self.conn, self.lanes, hello, now)? else {
            self.tally.keys_refused += 1;
            tracing::error!(agent = %hello.agent, stream = %hello.stream, "HELLO refused: its key or its stream is another's");
            return Ok(());
        };
        let committed = self.lanes.lane(hello.stream).map_or(Mark::ZERO, |lane| lane.committed);
        restore::greet(self.conn, hello, committed, now)?;
        self.prune(hello.stream, now)?;
        self.greeted.push(Greeting {
            agent: hello.agent,
            session: hello.session,
            protocols: hello.protocols,
            stream: hello.stream,
            ladder: Vec::new(),
            processed: Seq(0),
            prunable: Seq(0),
            letter,
            received_at: now,
        });
        Ok(())
    }

    fn batch(&mut self, agent: AgentId, batch: &Batch, entries: &Unpacked, arrival: Arrival) -> Result<(), StoreError> {
        let Some(agent_row) = presence::agent_row(self.conn, agent)? else { return Ok(()) };
        let Owned::Here(lane) = self.lanes.open(self.conn, batch.stream, agent, agent_row)? else {
            self.tally.misplaced += 1;
            tracing::error!(%agent, stream = %batch.stream, "batch refused: its stream is another agent's");
            return Ok(());
        };
        if let Some(parent) = &batch.parent {
            lane::set_parent(self.conn, lane.row, parent)?;
        }
        let before = lane.receiver.stored();
        match lane.receiver.handle_batch(entries) {
            Verdict::Append { first, stored, dropped } => {
                for first in dropped {
                    raw::delete(self.conn, lane.row, first)?;
                }
                raw::insert(self.conn, lane.row, batch, entries, first, arrival)?;
                self.tally.stored += 1;
                self.tally.entries += stored.seq.0 - before.seq.0;
            }
            Verdict::Hold => {
                raw::insert(self.conn, lane.row, batch, entries, batch.first_seq, arrival)?;
                self.tally.held += 1;
            }
            Verdict::Known => self.tally.known += 1,
            Verdict::Refused => self.tally.refused += 1,
            Verdict::Conflict { at } => {
                self.tally.conflicting += 1;
                lane::note_conflict(self.conn, lane.row)?;
                tracing::error!(%agent, stream = %batch.stream, seq = %at,
                    "batch refused: it contradicts what is stored");
            }
        }
        self.heard.insert(agent_row, arrival.received_at);
        self.to_acknowledge.insert(batch.stream);
        Ok(())
    }

    fn heartbeat(&mut self, agent: AgentId, beat: &Heartbeat, now: Timestamp) -> Result<(), StoreError> {
        let Some(agent_row) = presence::agent_row(self.conn, agent)? else { return Ok(()) };
        let Owned::Here(lane) = self.lanes.open(self.conn, beat.stream, agent, agent_row)? else { return Ok(()) };
        let (row, stored) = (lane.row, lane.receiver.stored().seq);
        presence::heartbeat(self.conn, row, agent, beat, now)?;
        let moved = self.prune(beat.stream, now)?;
        if moved || beat.stored < stored {
            self.to_acknowledge.insert(beat.stream);
        }
        Ok(())
    }

    /// Moves the stream's prunable mark, by the hub's clock.
    fn prune(&mut self, stream: StreamId, now: Timestamp) -> Result<bool, StoreError> {
        match self.lanes.lane(stream) {
            Some(lane) => presence::prune(self.conn, lane, self.retention, now),
            None => Ok(false),
        }
    }

    /// Moves the stored marks, and drafts the replies from what this commit will hold.
    fn finish(mut self) -> Result<Outcome, StoreError> {
        let mut outcome = Outcome::default();
        for (agent, at) in &self.heard {
            presence::heard(self.conn, *agent, *at)?;
        }
        let now = self.heard.values().max().copied().unwrap_or(Timestamp(0));
        for stream in &self.to_acknowledge {
            let Some(lane) = self.lanes.lane(*stream) else { continue };
            let stored = lane.receiver.stored();
            if stored != lane.committed {
                lane::move_stored(self.conn, lane.row, lane.committed, stored)?;
                lane.committed = stored;
                outcome.grown.push((lane.row, stored.seq));
                restore::settle(self.conn, *stream, stored, now)?;
            }
        }
        for mut greeting in std::mem::take(&mut self.greeted) {
            let Some(lane) = self.lanes.lane(greeting.stream) else { continue };
            greeting.ladder = raw::ladder(self.conn, lane.row, lane.committed)?;
            (greeting.processed, greeting.prunable) = (lane.processed, lane.prunable);
            outcome.replies.push(Reply::Welcome(Box::new(greeting)));
        }
        for stream in &self.to_acknowledge {
            outcome.replies.extend(acknowledge(self.conn, self.lanes, *stream)?);
        }
        outcome.tally = self.tally;
        Ok(outcome)
    }
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
