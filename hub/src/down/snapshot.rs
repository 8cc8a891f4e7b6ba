//! What an agent is told when it comes to stand for a site, when its journal forked, and when its original is back.
//!
//! Both may be long, so they are told in steps, each in a transaction of its own; entries applied meanwhile are told at
//! once where the step has passed their document, and by a later step otherwise. An agent whose journal is not known to
//! be back waits.

use rusqlite::{Connection, OptionalExtension, Row, params};
use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::down::{Rehydrated, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, StreamId};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::journal::{self, Item};
use super::relay::{Relay, Relayed, is_applied};
use crate::apply::history;
use crate::store::{StoreError, array_at, lost, raw, seq_at};

/// Documents per step.
const STEP: i64 = 200;

/// Whether anything is still to be told.
pub(crate) fn is_due(conn: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM down_due WHERE agent NOT IN (SELECT agent FROM down_stream
               WHERE is_current = 1 AND (is_awaited = 1 OR held_seq > head_seq))) OR EXISTS (SELECT 1 FROM down_fork JOIN stream AS fork
               ON fork.id = down_fork.stream LEFT JOIN stream AS parent ON parent.stream = fork.parent_stream
               WHERE parent.id IS NULL OR parent.processed_seq = parent.stored_seq)";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// One step, within the caller's transaction.
pub(crate) fn catch_up(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    match due(conn)? {
        Some(due) => tell_site(conn, &due, now),
        None => rehydrate_next(conn, now),
    }
}

struct Due {
    agent: i64,
    site: i64,
    next_n: i64,
}

fn due(conn: &Connection) -> Result<Option<Due>, StoreError> {
    let sql = "SELECT agent, site, next_n FROM down_due WHERE agent NOT IN (SELECT agent FROM down_stream
               WHERE is_current = 1 AND (is_awaited = 1 OR held_seq > head_seq)) LIMIT 1";
    let due = |row: &Row<'_>| Ok(Due { agent: row.get(0)?, site: row.get(1)?, next_n: row.get(2)? });
    Ok(conn.prepare_cached(sql)?.query_row([], due).optional()?)
}

fn tell_site(conn: &Connection, due: &Due, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT n, id, history FROM document WHERE n IN (
                   SELECT n FROM document WHERE site = ?1 AND n >= ?2 AND n NOT IN (SELECT document FROM document_untold)
                   UNION SELECT document FROM document_reader WHERE site IN (0, ?1) AND document >= ?2
                   ORDER BY 1 LIMIT ?3) ORDER BY n";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![due.site, due.next_n, STEP])?;
    let (mut relay, mut told, mut last) = (Relay::new(conn, now), 0, 0);
    while let Some(row) = rows.next()? {
        let (n, document) = (row.get(0)?, DocId::from_bytes(array_at(row, 1)?));
        let records = history::read(&row.get::<_, Vec<u8>>(2)?);
        for record in records.into_iter().filter(|_| !is_planted(Plant::SnapshotLeftOut)) {
            let (entry, stream, seq) = (record.entry, record.stream, record.seq);
            relay.tell(due.agent, &Relayed { document, entry, stream, seq })?;
        }
        (told, last) = (told + 1, n);
    }
    if told == STEP {
        let sql = "UPDATE down_due SET next_n = ?3 WHERE agent = ?1 AND site = ?2";
        conn.prepare_cached(sql)?.execute([due.agent, due.site, last + 1])?;
    } else {
        let sql = "DELETE FROM down_due WHERE agent = ?1 AND site = ?2";
        conn.prepare_cached(sql)?.execute([due.agent, due.site])?;
    }
    Ok(())
}

/// A journal whose device is to be told.
struct Branch {
    row: i64,
    agent: i64,
    stream: StreamId,
    /// Where it left its parent; none where it has none.
    at: Option<Mark>,
}

/// The device that has the agent's downward journal writes this journal. Where another had it before, what that one wrote
/// meanwhile is news to this one.
pub(super) fn listens(conn: &Connection, agent: i64, journal: StreamId) -> Result<(), StoreError> {
    let sql = "UPDATE agent SET told_journal = ?2 WHERE id = ?1 AND told_journal IS NOT ?2";
    if conn.prepare_cached(sql)?.execute(params![agent, journal.as_bytes()])? == 0 {
        return Ok(());
    }
    let sql = "INSERT OR IGNORE INTO down_fork (stream) SELECT own.id FROM stream AS own
               WHERE own.stream = ?2 AND own.agent = ?1 AND EXISTS
               (SELECT 1 FROM stream WHERE stream.agent = ?1 AND stream.id <> own.id AND is_aside = 0)";
    conn.prepare_cached(sql)?.execute(params![agent, journal.as_bytes()])?;
    Ok(())
}

/// The next branch whose parent is processed: its device is told what the agent's other branches hold and, where it is a
/// fork, that this was all.
fn rehydrate_next(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT fork.id, fork.agent, fork.stream, fork.parent_seq, fork.parent_hash, fork.parent_stream IS NULL
               FROM down_fork JOIN stream AS fork ON fork.id = down_fork.stream
               LEFT JOIN stream AS parent ON parent.stream = fork.parent_stream
               WHERE parent.id IS NULL OR parent.processed_seq = parent.stored_seq LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row([], |row| {
        let hash = row.get::<_, Option<[u8; 32]>>(4)?.map_or(Hash::ZERO, Hash::from_bytes);
        let at = if row.get(5)? { None } else { Some(Mark { seq: seq_at(row, 3)?, hash }) };
        Ok(Branch { row: row.get(0)?, agent: row.get(1)?, stream: StreamId::from_bytes(array_at(row, 2)?), at })
    });
    let Some(branch) = found.optional()? else { return Ok(()) };
    conn.prepare_cached("DELETE FROM down_fork WHERE stream = ?1")?.execute([branch.row])?;
    if let Err(StoreError::Damaged(damage)) = tell_others(conn, &branch, now) {
        // without its marker the agent goes on only with documents that nobody else touched
        tracing::error!(stream = %branch.stream, damage, "a branch cannot be told all that the others hold");
        return Ok(());
    }
    let Some(at) = branch.at else { return Ok(()) };
    let marker = Rehydrated { stream: branch.stream, at };
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"waystation rehydrated").update(branch.stream.as_bytes());
    let key = journal::short(hasher.finalize().as_bytes());
    let entry = marker.entry(Stamp { id: EntryId::from_bytes(key), now });
    journal::tell(conn, branch.agent, &Item::of(&entry, entry.to_bytes()), now)
}

/// Tells every applied entry of the agent's other journals that is not on the branch's line.
fn tell_others(conn: &Connection, branch: &Branch, now: Timestamp) -> Result<(), StoreError> {
    let sql =
        "SELECT id, floor_seq, processed_seq FROM stream WHERE agent = ?1 AND id <> ?2 AND is_aside = 0 ORDER BY id";
    let mut statement = conn.prepare_cached(sql)?;
    let others = statement
        .query_map([branch.agent, branch.row], |row| Ok((row.get::<_, i64>(0)?, seq_at(row, 1)?, seq_at(row, 2)?)))?;
    let mut relay = Relay::to_writer_of(conn, branch.row, now);
    for other in others {
        let (other, floor, processed) = other?;
        let from = relay.own_up_to(branch.agent, other)?.max(floor);
        tell_rest(conn, &mut relay, branch.agent, (other, from, processed))?;
    }
    Ok(())
}

/// Tells the applied entries of a journal between two seqs; lost ranges are passed over.
fn tell_rest(
    conn: &Connection,
    relay: &mut Relay<'_>,
    agent: i64,
    (journal, from, to): (i64, Seq, Seq),
) -> Result<(), StoreError> {
    let mut at = from;
    while at < to {
        if let Some(lost) = lost::beginning_at(conn, journal, at.next())? {
            at = lost.end.seq;
            continue;
        }
        let batch = raw::containing(conn, journal, at.next())?;
        for (mark, bytes) in batch.entries.entries_from(at.next()) {
            at = mark.seq;
            let Ok(entry) = Entry::from_bytes(bytes) else { continue };
            let document = entry.document();
            if at <= to && is_applied(conn, document, journal, at)? {
                relay.tell(agent, &Relayed { document, entry: entry.id, stream: journal, seq: at })?;
            }
        }
    }
    Ok(())
}
