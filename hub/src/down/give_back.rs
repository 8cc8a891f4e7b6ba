//! Entries of a downward journal that their agent brings back: the hub came back older and has forgotten them.
//!
//! They are appended to the stream as they were, and what stands on documents is judged as accepted before. Where they
//! contradict what the hub told since, the stream becomes what the agent holds, and all that the agent must know is told
//! in a new one.

use rusqlite::{Connection, params};
use waystation_protocol::batch::Unpacked;
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::down::{self, Command, Receipt};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::message::Batch;
use waystation_protocol::time::Timestamp;

use super::journal::{self, Item, Stream};
use super::{Meeting, forms, meet, own, post, trail};
use crate::clock;
use crate::store::{StoreError, int, restore};

/// What a returned batch came to.
#[derive(Debug)]
pub(crate) struct GivenBack {
    /// The session to answer.
    pub(crate) session: Option<SessionId>,
    pub(crate) stored: Mark,
    pub(crate) prunable: Seq,
    pub(crate) missing: Vec<SeqRange>,
    /// The journal to be processed, if it grew.
    pub(crate) grown: Option<(i64, Seq)>,
    /// Once everything is back.
    pub(crate) meeting: Option<Meeting>,
}

/// Takes a batch on a downward stream of the agent's; none where the stream is no such stream.
pub(crate) fn give_back(
    conn: &Connection,
    (agent, id): (i64, AgentId),
    batch: &Batch,
    entries: &Unpacked,
    now: Timestamp,
) -> Result<Option<GivenBack>, StoreError> {
    let Some(mut stream) = journal::find(conn, batch.stream)?.filter(|stream| stream.agent == agent) else {
        return Ok(None);
    };
    // where nothing is owed, the batch is a late copy
    let is_owed = stream.held > Seq(0);
    if is_owed {
        pass_over(conn, (id, &mut stream), batch.base, entries.before())?;
    }
    let mut given = GivenBack {
        session: meet::holder(conn, agent)?,
        stored: stream.head,
        prunable: stream.prunable,
        missing: Vec::new(),
        grown: None,
        meeting: None,
    };
    let before = entries.before();
    if before.seq > stream.head.seq {
        given.missing = vec![SeqRange { first: stream.head.seq.next(), last: before.seq }];
        return Ok(Some(given));
    }
    if journal::mark_at(conn, &stream, before.seq)? != Some(before) {
        tracing::error!(%id, stream = %stream.stream, seq = before.seq.0, "a returned batch fits nowhere");
        return Ok(Some(given));
    }
    if !is_owed {
        return Ok(Some(given));
    }
    let common = common(conn, &stream, entries)?;
    if common.seq < stream.head.seq && common.seq < entries.last().seq {
        part(conn, &mut stream, common)?;
    }
    let own = take(conn, &mut stream, entries, now)?;
    given.stored = stream.head;
    given.grown = own.map(own::grown);
    if stream.head.seq >= stream.held {
        meet::settle(conn, id, agent, now)?;
        if let Some(session) = given.session {
            given.meeting = Some(meet::meet(conn, id, session, agent, &stream, stream.head, None)?);
        }
    }
    Ok(Some(given))
}

/// Goes on after what the agent had deleted, which is named lost. It knows no hash in there, so `base` may lie below the head here; what it may never
/// have taken of what lies between is told anew.
fn pass_over(
    conn: &Connection,
    (agent, stream): (AgentId, &mut Stream),
    base: Option<Mark>,
    to: Mark,
) -> Result<(), StoreError> {
    let head = stream.head.seq;
    let Some(base) = base.filter(|base| base.seq <= head && to.seq > head) else { return Ok(()) };
    if journal::mark_at(conn, stream, base.seq)? != Some(base) {
        return Ok(());
    }
    if base.seq < head && head > stream.stored {
        part(conn, stream, base)?;
    }
    let lost = SeqRange { first: stream.head.seq.next(), last: to.seq };
    restore::name_lost_downward(conn, (agent, stream.stream), lost)?;
    journal::pass_to(conn, stream, to)
}

/// The last mark at which batch and stream agree.
fn common(conn: &Connection, stream: &Stream, entries: &Unpacked) -> Result<Mark, StoreError> {
    let mut common = entries.before();
    for (mark, _) in entries.entries_from(common.seq.next()) {
        if mark.seq > stream.head.seq || journal::mark_at(conn, stream, mark.seq)? != Some(mark) {
            break;
        }
        common = mark;
    }
    Ok(common)
}

/// What the hub told beyond `common` is not what the agent holds: it goes over into a new stream, which begins with all
/// that the agent must know.
fn part(conn: &Connection, stream: &mut Stream, common: Mark) -> Result<(), StoreError> {
    tracing::error!(stream = %stream.stream, seq = common.seq.0,
        "an agent holds another branch of its downward journal; it is told everything anew");
    let sql =
        "UPDATE down_stream SET stored_seq = min(stored_seq, ?2), prunable_seq = min(prunable_seq, ?2) WHERE id = ?1";
    conn.execute(sql, params![stream.row, int(common.seq)])?;
    if stream.is_current {
        journal::change_to(conn, stream.agent, StreamId::from_bytes(clock::random_id()?))?;
        stream.is_current = false;
    }
    conn.execute("DELETE FROM down_entry WHERE stream = ?1 AND seq > ?2", params![stream.row, int(common.seq)])?;
    journal::move_head(conn, stream.row, stream.head, common)?;
    stream.head = common;
    Ok(())
}

/// Appends what is new, and hands on what stands on documents.
fn take(
    conn: &Connection,
    stream: &mut Stream,
    entries: &Unpacked,
    now: Timestamp,
) -> Result<Option<own::Own>, StoreError> {
    let mut on_documents = Vec::new();
    for (_, bytes) in entries.entries_from(stream.head.seq.next()) {
        let read = Entry::from_bytes(bytes);
        let item = match &read {
            Ok(entry) if !down::is_on_document(&entry.kind) => Item::of(entry, bytes.to_vec()),
            Ok(_) | Err(_) => Item::verbatim(bytes.to_vec()),
        };
        journal::append(conn, stream, &item, now)?;
        match read.as_ref().map(|entry| (entry, Command::read(entry))) {
            Ok(_) if item.is_on_document => on_documents.push(item.entry),
            Ok((entry, Some(command))) => post::remember(conn, stream.agent, entry, &command)?,
            Ok((entry, None)) => match Receipt::read(entry) {
                Some(receipt) => trail::learn(conn, stream.agent, &receipt, (entry.occurred_at, now))?,
                None => forms::learn(conn, entry, &item.entry, now)?,
            },
            Err(error) => tracing::warn!(%error, stream = %stream.stream, "a returned entry cannot be read"),
        }
    }
    if on_documents.is_empty() {
        return Ok(None);
    }
    let own = own::returned(conn, stream, now)?;
    own::append(conn, own, &on_documents, now).map(Some)
}
