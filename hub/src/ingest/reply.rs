//! What leaves after a commit, as far as only the store knows it; the link adds credit and signs.

use rusqlite::Connection;
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::{Bytes, Hello, Ladder};
use waystation_protocol::sync::meeting;
use waystation_protocol::time::Timestamp;

use crate::down::{self, Downward, Meeting};
use crate::store::lane::Lanes;
use crate::store::{StoreError, hash_at, line, lost, seq_at, session};

/// What the link sends after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Answers a HELLO.
    Welcome(Box<Greeting>),
    /// Acknowledges what is committed.
    Ack(Box<Acknowledgement>),
    /// For whoever sends the downward journals.
    Down(Box<Downward>),
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
    /// The journal the ladder speaks of: its own, or the nearest of its line that the hub knows.
    pub stream: StreamId,
    /// The stored mark, earlier ones, and those at the seqs its HELLO names.
    pub ladder: Vec<Mark>,
    /// How far it is processed.
    pub processed: Seq,
    /// What it may delete.
    pub prunable: Seq,
    /// Its downward journal, for the session that has it.
    pub down: Option<Ladder>,
    /// What it may delete of that one.
    pub down_prunable: Seq,
    /// Where sending the downward journal begins, once this is sent.
    pub meeting: Option<Meeting>,
    /// Its letter in printed numbers.
    pub letter: Option<char>,
    /// What it must answer before it gets its downward journal, where another session has that.
    pub challenge: Option<Bytes>,
    /// The agent's time when the HELLO left.
    pub sent_at: Timestamp,
    /// The hub's time when the HELLO arrived.
    pub received_at: Timestamp,
}

/// What an ACK says that only the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// To whom.
    pub agent: AgentId,
    /// A heartbeat's own; else the latest that spoke of the journal, because a BATCH carries none.
    pub session: SessionId,
    /// Which journal.
    pub stream: StreamId,
    /// Committed, without a gap.
    pub stored: Mark,
    /// Applied, quarantined or parked.
    pub processed: Seq,
    /// What it may delete.
    pub prunable: Seq,
    /// What it may delete of its downward journal.
    pub down_prunable: Seq,
    /// What is missing below what arrived, then what is named lost.
    pub missing: Vec<SeqRange>,
    /// Not taken in for want of room: when to come back.
    pub retry_after_ms: Option<u64>,
}

impl Reply {
    /// Answers a HELLO that is not taken in now.
    #[must_use]
    pub fn come_back(hello: &Hello, retry_after_ms: u64) -> Reply {
        let mut reply = nothing(hello.agent, hello.session, hello.stream);
        if let Reply::Ack(ack) = &mut reply {
            ack.retry_after_ms = Some(retry_after_ms);
        }
        reply
    }
}

/// Marks as the database has them in this transaction.
struct Marks {
    stored: Mark,
    processed: Seq,
    prunable: Seq,
}

fn marks(conn: &Connection, row: i64) -> Result<Marks, StoreError> {
    marks_in(conn, row, limits::LINE_STREAMS)
}

/// `above`: so many streams that it may have come from are looked at.
fn marks_in(conn: &Connection, row: i64, above: usize) -> Result<Marks, StoreError> {
    let sql = "SELECT stream.stored_seq, stream.stored_hash, stream.processed_seq, stream.prunable_seq, stream.floor_seq, parent.id
               FROM stream LEFT JOIN stream AS parent ON parent.stream = stream.parent_stream WHERE stream.id = ?1";
    let (mut marks, floor, parent) = conn.prepare_cached(sql)?.query_row([row], |row| {
        let stored = Mark { seq: seq_at(row, 0)?, hash: hash_at(row, 1)? };
        let marks = Marks { stored, processed: seq_at(row, 2)?, prunable: seq_at(row, 3)? };
        Ok((marks, seq_at(row, 4)?, row.get::<_, Option<i64>>(5)?))
    })?;
    // below its floor a branch is its parent's, which may stand still
    if let Some(parent) = parent.filter(|_| above > 0) {
        let below = marks_in(conn, parent, above - 1)?.processed;
        if below < floor {
            marks.processed = below;
        }
    }
    Ok(marks)
}

/// The acknowledgement of a journal, within a transaction: nothing of it comes from memory that another worker may have
/// overtaken. `session`: the one to name, if it is known.
pub(crate) fn acknowledge(
    conn: &Connection,
    lanes: &mut Lanes,
    stream: StreamId,
    session: Option<SessionId>,
) -> Result<Option<Reply>, StoreError> {
    let Some(lane) = lanes.find(conn, stream)? else { return Ok(None) };
    let Marks { stored, processed, prunable } = marks(conn, lane.row)?;
    let (agent, mut missing) = (lane.agent, lane.receiver.missing());
    let extent = line::of_row(conn, lane.row)?;
    let agent_row = extent.agent;
    let lost = lost::of_line(conn, &extent)?.into_iter();
    missing.extend(lost.map(|(_, open)| SeqRange { first: open.before.seq.next(), last: open.end.seq }));
    missing.truncate(limits::MISSING_RANGES);
    let session = match session {
        Some(session) => Some(session),
        None => session::of_stream(conn, agent_row, stream)?,
    };
    let down_prunable = down::journal::current(conn, agent_row)?.map_or(Seq(0), |down| down.prunable);
    Ok(session.map(|session| {
        let ack = Acknowledgement {
            agent,
            session,
            stream,
            stored,
            processed,
            prunable,
            down_prunable,
            missing,
            retry_after_ms: None,
        };
        Reply::Ack(Box::new(ack))
    }))
}

/// The acknowledgement of a journal the hub does not know: it holds nothing of it.
pub(super) fn nothing(agent: AgentId, session: SessionId, stream: StreamId) -> Reply {
    let (stored, missing) = (Mark::ZERO, Vec::new());
    let (processed, prunable, down_prunable, retry_after_ms) = (Seq(0), Seq(0), Seq(0), None);
    let ack =
        Acknowledgement { agent, session, stream, stored, processed, prunable, down_prunable, missing, retry_after_ms };
    Reply::Ack(Box::new(ack))
}

/// The answer to a HELLO, within a transaction. For a journal the hub does not know it speaks of the nearest of its line.
pub(super) fn welcome(
    conn: &Connection,
    (hello, agent): (&Hello, i64),
    letter: Option<char>,
    challenge: Option<Bytes>,
    received_at: Timestamp,
) -> Result<Greeting, StoreError> {
    let own = line::find(conn, hello.stream)?.map(|own| (hello.stream, own, own.stored));
    let found = match own {
        Some(own) => Some(own),
        None => line::ancestor(conn, agent, &hello.line)?,
    };
    let mut greeting = Greeting {
        agent: hello.agent,
        session: hello.session,
        protocols: hello.protocols,
        stream: hello.stream,
        ladder: vec![Mark::ZERO],
        processed: Seq(0),
        prunable: Seq(0),
        down: None,
        down_prunable: Seq(0),
        meeting: None,
        letter,
        challenge,
        sent_at: hello.t1,
        received_at,
    };
    if let Some((stream, extent, top)) = found {
        let Marks { processed, prunable, .. } = marks(conn, extent.row)?;
        // whoever still holds what is named lost is asked for it, by an acknowledgement, before it may delete that
        let lost = lost::of_line(conn, &extent)?.iter().map(|(_, open)| open.before.seq).min();
        let prunable = lost.map_or(prunable, |below| prunable.min(below));
        greeting.stream = stream;
        greeting.ladder = line::ladder(conn, &extent, top, &asked(hello, top))?;
        (greeting.processed, greeting.prunable) = (processed.min(top.seq), prunable.min(top.seq));
    }
    Ok(greeting)
}

/// The seqs a ladder answers exactly: those the HELLO names, and where its agent knows another mark than the hub's, rungs
/// below its own head too, so that a disk put back finds its branch point near where it really is.
fn asked(hello: &Hello, top: Mark) -> Vec<Seq> {
    let mut seqs = vec![hello.stored.seq, hello.pruned];
    if hello.stored != top {
        seqs.extend(meeting::rungs(hello.head.seq.min(top.seq)));
    }
    seqs
}
