//! The downward journal as it is held here: its rows, how far it goes, what of it may go.
//!
//! Raw bytes stay until the hub's prunable mark, so that they can be returned to a hub that forgot them. A journal that
//! another one took the place of is kept until the first entry of its successor may go: that begins with all that counts.

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use waystation_protocol::batch;
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::StreamId;

use super::error::StoreError;
use super::journal::Filled;
use super::tables::{DOWN, DOWN_STREAMS, META, Row, follow};

/// Most entries deleted in one commit.
const COMMIT_ENTRIES: u64 = 1_024;
const WAITS: &str = "waits";
const PRUNABLE: &str = "down_prunable";

/// What is known of the downward journal.
#[derive(Debug, Clone, Default)]
pub(super) struct DownState {
    /// The present one.
    pub(super) current: Option<DownStream>,
    /// The hub's word on what of it may go.
    pub(super) prunable: Seq,
    /// Whether `prunable` is newer than what the disk has.
    pub(super) is_unsaved: bool,
    pub(super) waits: Option<Waits>,
}

/// One downward journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DownStream {
    pub(super) stream: StreamId,
    /// Which in turn: the highest is the present one.
    turn: u32,
    pub(super) head: Mark,
    /// Bytes of all its entries.
    total: u64,
    pub(super) pruned: Mark,
}

/// After a fork: acts on older documents wait until the hub has sent what the other branch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waits {
    /// The new stream.
    pub(super) stream: StreamId,
    /// Where it branched off.
    pub(super) at: Seq,
}

#[derive(Serialize, Deserialize)]
struct StreamRow {
    turn: u32,
    head: Mark,
    total: u64,
    pruned: Mark,
}

impl DownState {
    /// Reads it from the disk.
    pub(super) fn load(database: &Database) -> Result<DownState, StoreError> {
        let read = database.begin_read()?;
        let current = streams(&read)?.into_iter().max_by_key(|stream| stream.turn);
        let meta = read.open_table(META)?;
        let waits = meta.get(WAITS)?.and_then(|bytes| codec::decode_own(bytes.value()).ok());
        let prunable = meta.get(PRUNABLE)?.and_then(|bytes| bytes.value().try_into().ok().map(u64::from_be_bytes));
        Ok(DownState { current, prunable: Seq(prunable.unwrap_or(0)), is_unsaved: false, waits })
    }

    pub(super) fn stream(&self) -> Option<StreamId> {
        self.current.map(|current| current.stream)
    }

    pub(super) fn head(&self) -> Mark {
        self.current.map_or(Mark::ZERO, |current| current.head)
    }

    pub(super) fn pruned(&self) -> Seq {
        self.current.map_or(Seq(0), |current| current.pruned.seq)
    }

    /// What waits after a fork to `stream` at `at`: what waited before, too.
    pub(super) fn waits_after(&self, stream: StreamId, at: Seq) -> Option<Waits> {
        let before = self.waits.map_or(Seq(0), |waits| waits.at);
        Some(Waits { stream, at: at.max(before) })
    }

    /// Up to where entries may go that the cache has up to `cached`.
    pub(super) fn limit(&self, cached: Seq) -> Option<Seq> {
        let limit = self.prunable.min(self.head().seq).min(cached).min(self.pruned().plus(COMMIT_ENTRIES));
        (limit > self.pruned()).then_some(limit)
    }
}

impl DownStream {
    /// Which in turn.
    pub(super) fn turn(&self) -> u32 {
        self.turn
    }

    /// As it is once these entries continue it.
    pub(super) fn after(self, entries: &[(Mark, Vec<u8>)]) -> DownStream {
        let head = entries.last().map_or(self.head, |(mark, _)| *mark);
        let total = self.total + entries.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        DownStream { head, total, ..self }
    }
}

/// Creates the tables where they are missing.
pub(super) fn create(write: &WriteTransaction) -> Result<(), StoreError> {
    write.open_table(DOWN)?;
    write.open_table(DOWN_STREAMS)?;
    write.open_table(super::tables::TOLD)?;
    Ok(())
}

/// All downward journals of which something is here.
pub(super) fn streams(read: &ReadTransaction) -> Result<Vec<DownStream>, StoreError> {
    let mut streams = Vec::new();
    for row in read.open_table(DOWN_STREAMS)?.iter()? {
        let (stream, row) = row?;
        let stream = StreamId::from_bytes(*stream.value());
        let damaged = |_| StoreError::Damaged(format!("the row of downward stream {stream}"));
        let StreamRow { turn, head, total, pruned } = codec::decode_own(row.value()).map_err(damaged)?;
        streams.push(DownStream { stream, turn, head, total, pruned });
    }
    Ok(streams)
}

/// Makes `stream` the present downward journal, empty as yet.
pub(super) fn put_stream(
    write: &WriteTransaction,
    state: &DownState,
    stream: StreamId,
) -> Result<DownStream, StoreError> {
    let turn = state.current.map_or(1, |current| current.turn + 1);
    let fresh = DownStream { stream, turn, head: Mark::ZERO, total: 0, pruned: Mark::ZERO };
    save(write, &fresh)?;
    write.open_table(META)?.remove(PRUNABLE)?;
    Ok(fresh)
}

fn save(write: &WriteTransaction, stream: &DownStream) -> Result<(), StoreError> {
    let DownStream { stream, turn, head, total, pruned } = *stream;
    let row = codec::encode(&StreamRow { turn, head, total, pruned });
    write.open_table(DOWN_STREAMS)?.insert(stream.as_bytes(), row.as_slice())?;
    Ok(())
}

pub(super) fn save_prunable(write: &WriteTransaction, prunable: Seq) -> Result<(), StoreError> {
    write.open_table(META)?.insert(PRUNABLE, prunable.0.to_be_bytes().as_slice())?;
    Ok(())
}

pub(super) fn put_waits(write: &WriteTransaction, waits: Option<Waits>) -> Result<(), StoreError> {
    let mut meta = write.open_table(META)?;
    match waits {
        Some(waits) => meta.insert(WAITS, codec::encode(&waits).as_slice())?,
        None => meta.remove(WAITS)?,
    };
    Ok(())
}

/// Appends entries, which continue `stream`.
pub(super) fn append(
    write: &WriteTransaction,
    stream: DownStream,
    entries: &[(Mark, Vec<u8>)],
) -> Result<(), StoreError> {
    let mut rows = write.open_table(DOWN)?;
    let (mut head, mut total) = (stream.head, stream.total);
    for (mark, bytes) in entries {
        head = head.extend(bytes);
        assert_eq!(head, *mark, "what is appended continues the stream");
        total += bytes.len() as u64;
        let row = Row { hash: mark.hash, total, entry: bytes };
        row.put(rows.insert_reserve(&key(stream.stream, mark.seq), row.length())?.as_mut());
    }
    drop(rows);
    save(write, &stream.after(entries))
}

/// Deletes the present journal's entries up to `limit`, and all of earlier ones.
pub(super) fn delete(write: &WriteTransaction, database: &Database, limit: Seq) -> Result<DownStream, StoreError> {
    let read = database.begin_read()?;
    let mut streams = streams(&read)?;
    streams.sort_unstable_by_key(|stream| stream.turn);
    let absent = || StoreError::Damaged(format!("the downward journal lacks entry {limit}"));
    let mut current = streams.pop().ok_or_else(absent)?;
    current.pruned = mark_in(&read, &current, limit)?.ok_or_else(absent)?;
    let mut rows = write.open_table(DOWN)?;
    rows.retain_in::<&[u8; 24], _>(&key(current.stream, Seq(0))..=&key(current.stream, limit), |_, _| false)?;
    let mut kept = write.open_table(DOWN_STREAMS)?;
    for earlier in streams {
        rows.retain_in::<&[u8; 24], _>(&key(earlier.stream, Seq(0))..=&key(earlier.stream, Seq(u64::MAX)), |_, _| {
            false
        })?;
        kept.remove(earlier.stream.as_bytes())?;
    }
    drop((rows, kept));
    save(write, &current)?;
    Ok(current)
}

/// A stream of which something is here.
pub(super) fn find(database: &Database, stream: StreamId) -> Result<Option<DownStream>, StoreError> {
    Ok(streams(&database.begin_read()?)?.into_iter().find(|found| found.stream == stream))
}

/// The chain's hash at `seq` of a stream, where it is known.
pub(super) fn hash_at(database: &Database, stream: StreamId, seq: Seq) -> Result<Option<Hash>, StoreError> {
    let read = database.begin_read()?;
    let Some(found) = streams(&read)?.into_iter().find(|found| found.stream == stream) else { return Ok(None) };
    Ok(mark_in(&read, &found, seq)?.map(|mark| mark.hash))
}

fn mark_in(read: &ReadTransaction, stream: &DownStream, seq: Seq) -> Result<Option<Mark>, StoreError> {
    for mark in [Mark::ZERO, stream.pruned] {
        if mark.seq == seq {
            return Ok(Some(mark));
        }
    }
    let Some(row) = read.open_table(DOWN)?.get(&key(stream.stream, seq))? else { return Ok(None) };
    Ok(Some(Mark { seq, hash: Row::parse(seq, row.value())?.hash }))
}

/// An entry of a stream, if its bytes are what the chain says; none where it is deleted.
pub(super) fn entry_in(read: &ReadTransaction, stream: &DownStream, seq: Seq) -> Result<Option<Entry>, StoreError> {
    let Some(row) = read.open_table(DOWN)?.get(&key(stream.stream, seq))? else { return Ok(None) };
    let row = Row::parse(seq, row.value())?;
    let before = mark_in(read, stream, Seq(seq.0.saturating_sub(1)))?;
    follow(before.ok_or_else(|| lacks(seq))?, &row)?;
    Ok(Entry::from_bytes(row.entry).ok())
}

/// Calls `each` with the entries of a stream from after `from`, at most `most` of them, and gives the last one's mark.
/// Bytes that are no entry this build can read are passed over: a newer build may.
pub(super) fn each_after(
    database: &Database,
    stream: &DownStream,
    from: Seq,
    most: u64,
    mut each: impl FnMut(Seq, Option<Entry>) -> Result<(), StoreError>,
) -> Result<Mark, StoreError> {
    let read = database.begin_read()?;
    let mut mark = mark_in(&read, stream, from)?.ok_or_else(|| lacks(from))?;
    let rows = read.open_table(DOWN)?;
    let last = Seq(stream.head.seq.0.min(from.0.saturating_add(most)));
    for row in rows.range::<&[u8; 24]>(&key(stream.stream, from.next())..=&key(stream.stream, last))? {
        let (at, row) = row?;
        if *at.value() != key(stream.stream, mark.seq.next()) {
            return Err(lacks(mark.seq.next()));
        }
        let row = Row::parse(mark.seq.next(), row.value())?;
        mark = follow(mark, &row)?;
        each(mark.seq, Entry::from_bytes(row.entry).ok())?;
    }
    if mark.seq == last { Ok(mark) } else { Err(lacks(mark.seq.next())) }
}

/// Puts entries of `range` into `builder` until it is full or the stream ends.
pub(super) fn fill_batch(
    database: &Database,
    stream: StreamId,
    range: SeqRange,
    builder: &mut batch::Builder,
) -> Result<Filled, StoreError> {
    let read = database.begin_read()?;
    let found = streams(&read)?.into_iter().find(|found| found.stream == stream).ok_or_else(|| lacks(range.first))?;
    let before = Seq(range.first.0.saturating_sub(1));
    let mut mark = mark_in(&read, &found, before)?.ok_or_else(|| lacks(before))?;
    let prev_hash = mark.hash;
    for row in read.open_table(DOWN)?.range::<&[u8; 24]>(&key(stream, range.first)..=&key(stream, range.last))? {
        let (_, row) = row?;
        let row = Row::parse(mark.seq.next(), row.value())?;
        let next = follow(mark, &row)?;
        if !builder.push(row.entry) {
            break;
        }
        mark = next;
    }
    Ok(Filled { prev_hash, last: mark.seq })
}

fn lacks(seq: Seq) -> StoreError {
    StoreError::Damaged(format!("the downward journal lacks entry {seq}"))
}

fn key(stream: StreamId, seq: Seq) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(stream.as_bytes());
    key[16..].copy_from_slice(&seq.0.to_be_bytes());
    key
}
