//! HELLO, HEARTBEAT and ACK as they concern the downward journal: where both ends stand, and what is sent from where.
//!
//! Only the session that has the downward journal is spoken to. Whatever the agent says it holds is compared by hash with
//! the hub's chain; what it holds and the hub lacks, it brings back before it is told anything more.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::message::{Ack, Batch, Heartbeat, Held, Hello, Ladder};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::journal::{self, Stream};
use super::snapshot;
use crate::store::{Retention, Store, StoreError, ceiling_of_backups, int, restore, seq_at, session};

/// Rows looked at in one go when the prunable mark moves; the rest follow with the next heartbeat.
const PRUNE_STEP: i64 = 256;

/// A session into which the downward journal is to be sent, from a mark both ends share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// To whom.
    pub agent: AgentId,
    /// In which session.
    pub session: SessionId,
    /// Which journal.
    pub stream: StreamId,
    /// What the agent holds.
    pub stored: Mark,
    /// How far the journal goes.
    pub head: Seq,
    /// Bytes the agent takes in flight; as before where it did not say.
    pub credit: Option<u64>,
}

/// What the link's downward task is told after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downward {
    /// A session is ready to be sent to.
    Meet(Meeting),
    /// An acknowledgement, with the hub's own hash at its seq.
    Ack(AgentId, Box<Ack>, Option<Hash>),
}

/// What a HELLO comes to.
#[derive(Debug, Default)]
pub(crate) struct Hailed {
    /// For the WELCOME.
    pub(crate) ladder: Option<Ladder>,
    pub(crate) prunable: Seq,
    /// None while the agent has something to bring back.
    pub(crate) meeting: Option<Meeting>,
}

/// How what an agent holds compares with a stream of its own.
enum Compared {
    /// It is a prefix of the stream.
    Prefix(Stream, Mark),
    /// The agent holds more, or something else: it brings it back.
    Owes(Stream),
    /// The stream is another agent's.
    Foreign,
}

/// Notes what a HELLO says of the downward journal. What it holds of one the hub does not know counts only from whom this
/// hub once welcomed.
pub(crate) fn hello(
    conn: &Connection,
    agent: i64,
    (hello, is_proven): (&Hello, bool),
    retention: Retention,
    now: Timestamp,
) -> Result<Hailed, StoreError> {
    snapshot::listens(conn, agent, hello.stream)?;
    let held = hello.down.as_ref().filter(|held| held.head != Mark::ZERO);
    if let Some(held) = held
        && !is_proven
        && journal::find(conn, held.stream)?.is_none()
    {
        tracing::error!(agent = %hello.agent, stream = %held.stream,
            "HELLO names a downward journal that is not here, and shows nothing this hub has signed: it is told nothing");
        return Ok(Hailed::default());
    }
    let (speaks_of, stored) = match held.map(|held| compare(conn, agent, held)).transpose()? {
        None => {
            let stream = journal::current_or_new(conn, agent)?;
            settle(conn, hello.agent, agent, now)?;
            (stream, Some(Mark::ZERO))
        }
        Some(Compared::Prefix(stream, mark)) => {
            settle(conn, hello.agent, agent, now)?;
            (stream, Some(mark))
        }
        Some(Compared::Owes(stream)) => {
            let held = held.map_or(Seq(0), |held| held.head.seq);
            owe(conn, hello, &stream, held, now)?;
            (stream, None)
        }
        Some(Compared::Foreign) => {
            tracing::error!(agent = %hello.agent, "HELLO names another agent's downward journal; it is told nothing");
            return Ok(Hailed::default());
        }
    };
    let stream =
        journal::find(conn, speaks_of.stream)?.ok_or_else(|| StoreError::damaged("a downward stream is gone"))?;
    let meeting = match stored {
        Some(stored) => Some(meet(conn, hello.agent, hello.session, agent, &stream, stored, Some(hello.credit))?),
        None => None,
    };
    prunable(conn, agent, retention, now)?;
    let prunable = stream.prunable;
    let also = held.map(|held| [held.head.seq, held.pruned]).unwrap_or_default();
    Ok(Hailed { ladder: Some(journal::ladder(conn, &stream, &also)?), prunable, meeting })
}

fn compare(conn: &Connection, agent: i64, held: &Held) -> Result<Compared, StoreError> {
    let Some(stream) = journal::find(conn, held.stream)? else {
        return Ok(Compared::Owes(journal::change_to(conn, agent, held.stream)?));
    };
    if stream.agent != agent {
        return Ok(Compared::Foreign);
    }
    if held.head.seq <= stream.head.seq && journal::mark_at(conn, &stream, held.head.seq)? == Some(held.head) {
        return Ok(Compared::Prefix(stream, held.head));
    }
    Ok(Compared::Owes(stream))
}

/// The agent holds what the hub lacks. Nothing proves better that the hub came back older.
fn owe(conn: &Connection, hello: &Hello, stream: &Stream, held: Seq, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE down_stream SET held_seq = max(held_seq, ?2), is_awaited = 1 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![stream.row, int(held)])?;
    let detail =
        format!("agent {} was told up to {held} of its downward journal, {} is here", hello.agent, stream.head.seq);
    restore::doubt(conn, hello.agent, &detail, now)?;
    restore::note_held(conn, hello, stream.stream, held)
}

/// The agent's downward journal is known to be back, whole: what waited is told.
pub(super) fn settle(conn: &Connection, id: AgentId, agent: i64, now: Timestamp) -> Result<(), StoreError> {
    if restore::awaits_another(conn, id)? {
        return Ok(());
    }
    let sql = "UPDATE down_stream SET is_awaited = 0, held_seq = 0 WHERE agent = ?1";
    conn.prepare_cached(sql)?.execute([agent])?;
    journal::flush(conn, agent, now)?;
    restore::note_returned(conn, id, now)
}

/// The meeting on the agent's current stream, given that it holds `stored` of `stream`.
pub(super) fn meet(
    conn: &Connection,
    id: AgentId,
    session: SessionId,
    agent: i64,
    stream: &Stream,
    stored: Mark,
    credit: Option<u64>,
) -> Result<Meeting, StoreError> {
    let current = journal::current_or_new(conn, agent)?;
    let stored = if current.stream == stream.stream { stored } else { Mark::ZERO };
    let sql = "UPDATE down_stream SET stored_seq = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![current.row, int(stored.seq)])?;
    Ok(Meeting { agent: id, session, stream: current.stream, stored, head: current.head.seq, credit })
}

/// Notes what a heartbeat says. Gives a meeting where the agent does not hold all, or whether it must say HELLO: it holds
/// what the hub lacks, or its session lost the downward journal, as where this database never heard of it, and was not
/// challenged since. `is_whole`: the hub holds of its upward journal what it knows to be stored.
pub(crate) fn heartbeat(
    conn: &Connection,
    (agent, id): (i64, AgentId),
    beat: &Heartbeat,
    is_whole: bool,
    now: Timestamp,
) -> Result<(Option<Meeting>, bool), StoreError> {
    if holder(conn, agent)? != Some(beat.session) {
        return Ok((None, !session::is_challenged(conn, agent, beat.session)?));
    }
    snapshot::listens(conn, agent, beat.stream)?;
    let Some(held) = &beat.down else {
        return beat_of_nothing(conn, (agent, id), beat, is_whole, now).map(|meeting| (meeting, false));
    };
    let Some(stream) = journal::find(conn, held.stream)?.filter(|stream| stream.agent == agent) else {
        return Ok((None, held.head != Mark::ZERO));
    };
    if journal::mark_at(conn, &stream, held.head.seq)? != Some(held.head) {
        return Ok((None, true));
    }
    if is_whole {
        restore::note_alive(conn, id, now)?;
    }
    settle(conn, id, agent, now)?;
    let stream = journal::find(conn, held.stream)?.unwrap_or(stream);
    let is_behind = !stream.is_current || held.head.seq < stream.head.seq || held.head.seq != stream.stored;
    if !is_behind {
        return Ok((None, false));
    }
    Ok((Some(meet(conn, id, beat.session, agent, &stream, held.head, None)?), false))
}

/// A heartbeat of an agent that holds nothing of any downward journal. One that was never told anything has nothing to
/// bring back; what there is to tell it is told from the beginning, since its first batch may not have reached its disk.
fn beat_of_nothing(
    conn: &Connection,
    (agent, id): (i64, AgentId),
    beat: &Heartbeat,
    is_whole: bool,
    now: Timestamp,
) -> Result<Option<Meeting>, StoreError> {
    let was_told = |stream: Option<Stream>| stream.is_some_and(|stream| stream.stored > Seq(0));
    if was_told(journal::current(conn, agent)?) {
        return Ok(None);
    }
    if is_whole {
        restore::note_alive(conn, id, now)?;
        settle(conn, id, agent, now)?;
    }
    match journal::current(conn, agent)?.filter(|stream| stream.is_settled() && stream.head.seq > Seq(0)) {
        Some(stream) => meet(conn, id, beat.session, agent, &stream, Mark::ZERO, None).map(Some),
        None => Ok(None),
    }
}

/// The session that has the agent's downward journal.
pub(super) fn holder(conn: &Connection, agent: i64) -> Result<Option<SessionId>, StoreError> {
    let sql = "SELECT holder FROM agent WHERE id = ?1";
    let holder = conn.prepare_cached(sql)?.query_row([agent], |row| row.get::<_, Option<[u8; 16]>>(0)).optional()?;
    Ok(holder.flatten().map(SessionId::from_bytes))
}

/// Whether a session has acknowledged all that its agent was to be told: what became of its entries among it, which it must
/// hold still as it hears of that.
pub(crate) fn has_all(conn: &Connection, agent: i64, session: SessionId) -> Result<bool, StoreError> {
    if holder(conn, agent)? != Some(session) {
        return Ok(false);
    }
    let is_told =
        journal::current(conn, agent)?.is_none_or(|stream| stream.is_settled() && stream.stored >= stream.head.seq);
    let sql = "SELECT EXISTS (SELECT 1 FROM down_pending WHERE agent = ?1)
               OR EXISTS (SELECT 1 FROM down_fork JOIN stream ON stream.id = down_fork.stream WHERE stream.agent = ?1)";
    let waits: bool = conn.prepare_cached(sql)?.query_row([agent], |row| row.get(0))?;
    Ok(is_told && !waits)
}

/// Notes an acknowledgement of a downward batch; gives the hub's own hash there.
pub(crate) fn ack(
    conn: &Connection,
    agent: i64,
    ack: &Ack,
    retention: Retention,
    now: Timestamp,
) -> Result<Option<Hash>, StoreError> {
    let stream = journal::find(conn, ack.stream)?.filter(|stream| stream.agent == agent);
    let is_holder = holder(conn, agent)? == Some(ack.session);
    let Some(stream) = stream.filter(|_| is_holder) else { return Ok(None) };
    let own = journal::mark_at(conn, &stream, ack.stored.seq)?.map(|mark| mark.hash);
    if own == Some(ack.stored.hash) && ack.stored.seq > stream.stored {
        let sql = "UPDATE down_stream SET stored_seq = ?2 WHERE id = ?1";
        conn.prepare_cached(sql)?.execute(params![stream.row, int(ack.stored.seq)])?;
        prunable(conn, agent, retention, now)?;
    }
    Ok(own)
}

/// What the agent may delete of its downward journal: what it acknowledged, what the newest backup covers, and what is
/// older than the retention period. Moves the mark, and gives it.
pub(crate) fn prunable(conn: &Connection, agent: i64, retention: Retention, now: Timestamp) -> Result<Seq, StoreError> {
    let Some(stream) = journal::current(conn, agent)? else { return Ok(Seq(0)) };
    let ceiling = ceiling_of_backups(conn, retention, stream.backed_up)?.min(told_to(&stream));
    if ceiling <= stream.prunable {
        return Ok(stream.prunable);
    }
    let sql = "SELECT seq, at FROM down_entry WHERE stream = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![stream.row, int(stream.prunable), int(ceiling), PRUNE_STEP])?;
    let (mut mark, before) = (stream.prunable, now.0.saturating_sub(retention.ms));
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before {
            break;
        }
        mark = seq_at(row, 0)?;
    }
    if mark > stream.prunable {
        let sql = "UPDATE down_stream SET prunable_seq = ?2 WHERE id = ?1";
        conn.prepare_cached(sql)?.execute(params![stream.row, int(mark)])?;
    }
    Ok(mark)
}

/// How far the agent has the stream on its disk, by its own word.
fn told_to(stream: &Stream) -> Seq {
    if is_planted(Plant::DownPrunableUnstored) { stream.head.seq } else { stream.stored }
}

impl Store {
    /// The batch of a downward stream that begins `range`; none where there is nothing.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn down_batch(&self, stream: StreamId, range: SeqRange) -> Result<Option<Batch>, StoreError> {
        let conn = self.reader()?;
        match journal::find(&conn, stream)? {
            Some(stream) => journal::batch(&conn, &stream, range),
            None => Ok(None),
        }
    }

    /// How far a downward stream goes.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn down_head(&self, stream: StreamId) -> Result<Seq, StoreError> {
        Ok(journal::find(&*self.reader()?, stream)?.map_or(Seq(0), |stream| stream.head.seq))
    }
}
