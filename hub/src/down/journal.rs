//! The rows of the downward journals: one current stream per agent, its entries, their chain.
//!
//! An entry is told once per stream: its key tells a repetition. While it is not known what an agent holds, because the
//! hub came back older, nothing is appended to its stream; what there is to tell waits.

use rusqlite::{Connection, OptionalExtension, Row, params};
use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::StreamId;
use waystation_protocol::limits;
use waystation_protocol::message::{Batch, Ladder};
use waystation_protocol::sync::meeting;
use waystation_protocol::time::Timestamp;

use super::forms;
use crate::clock;
use crate::store::{StoreError, array_at, hash_at, int, seq_at};

/// Tells a repetition of an entry.
pub(crate) type Key = [u8; 16];

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: Key,
    /// Whether it stands on a document; otherwise it is a receipt, a command or the like.
    pub(crate) is_on_document: bool,
    pub(crate) entry: Vec<u8>,
}

/// A downward stream as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) row: i64,
    pub(crate) stream: StreamId,
    /// Its agent's row.
    pub(crate) agent: i64,
    pub(crate) is_current: bool,
    /// The hub came back older, and its agent has not said yet what it holds.
    pub(crate) is_awaited: bool,
    pub(crate) head: Mark,
    /// How far its agent said that it holds it.
    pub(crate) held: Seq,
    /// What its agent acknowledged.
    pub(crate) stored: Seq,
    pub(crate) prunable: Seq,
    pub(crate) backed_up: Seq,
    /// The journal of what its agent brought back.
    pub(crate) returned: Option<i64>,
}

const COLUMNS: &str = "SELECT id, stream, agent, is_current, is_awaited, head_seq, head_hash, held_seq, stored_seq,
                       prunable_seq, backed_up_seq, returned FROM down_stream";

impl Stream {
    /// Whether its agent is known to hold nothing that the hub lacks.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_awaited && self.held <= self.head.seq
    }
}

impl Item {
    /// An entry of a document, as it was captured.
    pub(crate) fn verbatim(entry: Vec<u8>) -> Item {
        Item { key: short(blake3::hash(&entry).as_bytes()), is_on_document: true, entry }
    }

    /// An entry that stands on no document: its id alone tells a repetition.
    pub(crate) fn of(entry: &Entry, bytes: Vec<u8>) -> Item {
        Item { key: *entry.id.as_bytes(), is_on_document: false, entry: bytes }
    }
}

/// The start of a hash.
pub(crate) fn short(hash: &[u8; 32]) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

/// The agent's current stream; none before anything was told.
pub(crate) fn current(conn: &Connection, agent: i64) -> Result<Option<Stream>, StoreError> {
    let sql = format!("{COLUMNS} WHERE agent = ?1 AND is_current = 1");
    Ok(conn.prepare_cached(&sql)?.query_row([agent], stream_at).optional()?)
}

/// The agent's current stream, begun where there is none.
pub(crate) fn current_or_new(conn: &Connection, agent: i64) -> Result<Stream, StoreError> {
    match current(conn, agent)? {
        Some(stream) => Ok(stream),
        None => begin(conn, agent, StreamId::from_bytes(clock::random_id()?)),
    }
}

/// A stream by its id, whoever's it is.
pub(crate) fn find(conn: &Connection, stream: StreamId) -> Result<Option<Stream>, StoreError> {
    let sql = format!("{COLUMNS} WHERE stream = ?1");
    Ok(conn.prepare_cached(&sql)?.query_row([stream.as_bytes()], stream_at).optional()?)
}

/// Begins a stream; it is the agent's current one from now on.
pub(crate) fn begin(conn: &Connection, agent: i64, stream: StreamId) -> Result<Stream, StoreError> {
    conn.prepare_cached("UPDATE down_stream SET is_current = 0 WHERE agent = ?1")?.execute([agent])?;
    let sql = "INSERT INTO down_stream (stream, agent, is_current, head_hash) VALUES (?1, ?2, 1, ?3)";
    conn.prepare_cached(sql)?.execute(params![stream.as_bytes(), agent, Hash::ZERO.as_bytes()])?;
    forms::note_begun(conn, agent)?;
    find(conn, stream)?.ok_or_else(|| StoreError::damaged("a downward stream is gone"))
}

/// Changes over to another stream: what stands on no document and was not acknowledged is told there again, and documents
/// as to an agent that comes to stand for its sites.
pub(crate) fn change_to(conn: &Connection, agent: i64, stream: StreamId) -> Result<Stream, StoreError> {
    let before = current(conn, agent)?;
    let after = begin(conn, agent, stream)?;
    conn.prepare_cached("DELETE FROM down_pending WHERE agent = ?1 AND on_document = 1")?.execute([agent])?;
    if let Some(before) = before {
        let sql = "INSERT OR IGNORE INTO down_pending (agent, key, entry, on_document)
                   SELECT ?1, key, entry, 0 FROM down_entry
                   WHERE stream = ?2 AND seq > ?3 AND on_document = 0 ORDER BY seq";
        conn.prepare_cached(sql)?.execute(params![agent, before.row, int(before.stored)])?;
    }
    let sql = "INSERT OR REPLACE INTO down_due (agent, site) SELECT agent, site FROM agent_site WHERE agent = ?1";
    conn.prepare_cached(sql)?.execute([agent])?;
    Ok(after)
}

fn stream_at(row: &Row<'_>) -> rusqlite::Result<Stream> {
    Ok(Stream {
        row: row.get(0)?,
        stream: StreamId::from_bytes(array_at(row, 1)?),
        agent: row.get(2)?,
        is_current: row.get(3)?,
        is_awaited: row.get(4)?,
        head: Mark { seq: seq_at(row, 5)?, hash: hash_at(row, 6)? },
        held: seq_at(row, 7)?,
        stored: seq_at(row, 8)?,
        prunable: seq_at(row, 9)?,
        backed_up: seq_at(row, 10)?,
        returned: row.get(11)?,
    })
}

/// Tells an agent an entry, unless it was told before; later, if what the agent holds is not known.
pub(crate) fn tell(conn: &Connection, agent: i64, item: &Item, now: Timestamp) -> Result<(), StoreError> {
    let mut stream = current_or_new(conn, agent)?;
    if was_told(conn, stream.row, item.key)? {
        return Ok(());
    }
    if stream.is_settled() {
        return append(conn, &mut stream, item, now);
    }
    let sql = "INSERT OR IGNORE INTO down_pending (agent, key, on_document, entry) VALUES (?1, ?2, ?3, ?4)";
    conn.prepare_cached(sql)?.execute(params![agent, item.key, item.is_on_document, item.entry])?;
    Ok(())
}

fn was_told(conn: &Connection, stream: i64, key: Key) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM down_entry WHERE stream = ?1 AND key = ?2)";
    Ok(conn.prepare_cached(sql)?.query_row(params![stream, key], |row| row.get(0))?)
}

/// Appends an entry, whatever was told before.
pub(crate) fn append(conn: &Connection, stream: &mut Stream, item: &Item, now: Timestamp) -> Result<(), StoreError> {
    let from = stream.head;
    stream.head = from.extend(&item.entry);
    let Mark { seq, hash } = stream.head;
    let sql = "INSERT INTO down_entry (stream, seq, hash, key, at, on_document, entry)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let row = params![stream.row, int(seq), hash.as_bytes(), item.key, now.0, item.is_on_document, item.entry];
    conn.prepare_cached(sql)?.execute(row)?;
    move_head(conn, stream.row, from, stream.head)
}

/// Goes on after what its agent had deleted. Of that the stream keeps the last mark, as a row without an entry: the agent may
/// hold the journal to there and no further, and what follows is sent from there. Nothing keeps it from being let go: it is gone.
pub(crate) fn pass_to(conn: &Connection, stream: &mut Stream, to: Mark) -> Result<(), StoreError> {
    let sql = "INSERT INTO down_entry (stream, seq, hash, key, at, on_document, entry)
               VALUES (?1, ?2, ?3, ?4, 0, 1, zeroblob(0))";
    let key = short(to.hash.as_bytes());
    conn.prepare_cached(sql)?.execute(params![stream.row, int(to.seq), to.hash.as_bytes(), key])?;
    move_head(conn, stream.row, stream.head, to)?;
    stream.head = to;
    Ok(())
}

/// Moves a stream's head by compare-and-set.
pub(crate) fn move_head(conn: &Connection, stream: i64, from: Mark, to: Mark) -> Result<(), StoreError> {
    let sql = "UPDATE down_stream SET head_seq = ?2, head_hash = ?3 WHERE id = ?1 AND head_seq = ?4 AND head_hash = ?5";
    let marks = params![stream, int(to.seq), to.hash.as_bytes(), int(from.seq), from.hash.as_bytes()];
    match conn.prepare_cached(sql)?.execute(marks)? {
        1 => Ok(()),
        _ => Err(StoreError::Overtaken { stream }),
    }
}

/// Appends what waited until it was known what the agent holds.
pub(crate) fn flush(conn: &Connection, agent: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT key, on_document, entry FROM down_pending WHERE agent = ?1 ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let waiting = statement
        .query_map([agent], |row| Ok(Item { key: row.get(0)?, is_on_document: row.get(1)?, entry: row.get(2)? }))?;
    let waiting: Vec<Item> = waiting.collect::<Result<_, _>>()?;
    conn.prepare_cached("DELETE FROM down_pending WHERE agent = ?1")?.execute([agent])?;
    waiting.iter().try_for_each(|item| tell(conn, agent, item, now))
}

/// The mark at a seq, where the stream has one there.
pub(crate) fn mark_at(conn: &Connection, stream: &Stream, seq: Seq) -> Result<Option<Mark>, StoreError> {
    if seq == stream.head.seq {
        return Ok(Some(stream.head));
    }
    if seq == Seq(0) {
        return Ok(Some(Mark::ZERO));
    }
    let sql = "SELECT hash FROM down_entry WHERE stream = ?1 AND seq = ?2";
    let found = conn.prepare_cached(sql)?.query_row(params![stream.row, int(seq)], |row| hash_at(row, 0)).optional()?;
    Ok(found.map(|hash| Mark { seq, hash }))
}

/// The head, exponentially spaced marks below it, and those at `also`: where an agent's own journal ends it must learn whether
/// that is a prefix of this one.
pub(crate) fn ladder(conn: &Connection, stream: &Stream, also: &[Seq]) -> Result<Ladder, StoreError> {
    let mut seqs = meeting::rungs(stream.head.seq);
    seqs.extend(also.iter().filter(|seq| **seq < stream.head.seq));
    seqs.sort_unstable_by_key(|seq| std::cmp::Reverse(*seq));
    seqs.dedup();
    let mut rungs = Vec::new();
    for seq in seqs {
        rungs.extend(mark_at(conn, stream, seq)?);
    }
    Ok(Ladder { stream: stream.stream, rungs })
}

/// The batch that begins `range`: as many entries as fit into one frame; none where there is nothing.
pub(crate) fn batch(conn: &Connection, stream: &Stream, range: SeqRange) -> Result<Option<Batch>, StoreError> {
    let mut last = range.last;
    loop {
        let before = mark_at(conn, stream, Seq(range.first.0.saturating_sub(1)))?;
        let mut builder = Builder::new();
        let sql = "SELECT seq, entry FROM down_entry WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3
                   AND length(entry) > 0 ORDER BY seq";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![stream.row, int(range.first), int(last)])?;
        let mut next = range.first;
        while let Some(row) = rows.next()? {
            if seq_at(row, 0)? != next || !builder.push(&row.get::<_, Vec<u8>>(1)?) {
                break;
            }
            next = next.next();
        }
        let (Some(before), count) = (before, builder.count()) else { return Ok(None) };
        let payload = builder.finish();
        if payload.len() > limits::BATCH_WIRE_BYTES && count > 1 {
            last = range.first.plus(u64::from(count / 2) - 1);
            continue;
        }
        let batch = Batch {
            stream: stream.stream,
            parent: None,
            first_seq: range.first,
            count,
            prev_hash: before.hash,
            base: None,
            payload: payload.into(),
        };
        return Ok((count > 0).then_some(batch));
    }
}

/// Recomputes a stream's chain from its entries, which must end at its head. Where entries are missing, their agent had deleted them
/// before it brought the rest back; the chain goes on from the hash that is kept.
pub(crate) fn verify(conn: &Connection, stream: i64) -> Result<(), StoreError> {
    let sql = "SELECT seq, hash, entry FROM down_entry WHERE stream = ?1 ORDER BY seq";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([stream])?;
    let mut at = Mark::ZERO;
    while let Some(row) = rows.next()? {
        let mark = Mark { seq: seq_at(row, 0)?, hash: hash_at(row, 1)? };
        let entry: Vec<u8> = row.get(2)?;
        if mark.seq == at.seq.next() && !entry.is_empty() && at.extend(&entry) != mark {
            return Err(StoreError::damaged(format!("downward entry {} does not match its hash", mark.seq)));
        }
        at = mark;
    }
    let sql = "SELECT head_seq, head_hash FROM down_stream WHERE id = ?1";
    let head = conn
        .prepare_cached(sql)?
        .query_row([stream], |row| Ok(Mark { seq: seq_at(row, 0)?, hash: hash_at(row, 1)? }))?;
    // a head beyond the entries is where the agent had deleted what came before the next one
    if at.seq < head.seq || at == head {
        return Ok(());
    }
    Err(StoreError::damaged(format!("its downward entries end at seq {}, its head is {}", at.seq, head.seq)))
}
