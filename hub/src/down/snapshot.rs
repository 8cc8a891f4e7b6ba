//! What an agent is told when it comes to stand for a site, and when its journal forked.
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
use crate::store::{StoreError, array_at, raw, seq_at};

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

struct Fork {
    row: i64,
    agent: i64,
    stream: StreamId,
    at: Mark,
    /// The parent's row and what is stored of it; none where the hub does not know the parent.
    parent: Option<(i64, Seq)>,
}

/// The next fork whose other branch is processed: its agent is told what that one holds, then that this was all.
fn rehydrate_next(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT fork.id, fork.agent, fork.stream, fork.parent_seq, fork.parent_hash, parent.id, parent.stored_seq
               FROM down_fork JOIN stream AS fork ON fork.id = down_fork.stream
               LEFT JOIN stream AS parent ON parent.stream = fork.parent_stream
               WHERE parent.id IS NULL OR parent.processed_seq = parent.stored_seq LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row([], |row| {
        let parent: Option<i64> = row.get(5)?;
        let stored = parent.map(|_| seq_at(row, 6)).transpose()?;
        Ok(Fork {
            row: row.get(0)?,
            agent: row.get(1)?,
            stream: StreamId::from_bytes(array_at(row, 2)?),
            at: Mark {
                seq: seq_at(row, 3)?,
                hash: row.get::<_, Option<[u8; 32]>>(4)?.map_or(Hash::ZERO, Hash::from_bytes),
            },
            parent: parent.zip(stored),
        })
    });
    let Some(fork) = found.optional()? else { return Ok(()) };
    conn.prepare_cached("DELETE FROM down_fork WHERE stream = ?1")?.execute([fork.row])?;
    let told = fork.parent.map(|(parent, stored)| tell_branch(conn, &fork, parent, stored, now));
    if let Some(Err(StoreError::Damaged(damage))) = &told {
        // without its marker the agent goes on only with documents that nobody else touched
        tracing::error!(stream = %fork.stream, damage, "a fork cannot be told what the other branch holds");
        return Ok(());
    }
    told.transpose()?;
    let marker = Rehydrated { stream: fork.stream, at: fork.at };
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"waystation rehydrated").update(fork.stream.as_bytes());
    let key = journal::short(hasher.finalize().as_bytes());
    let entry = marker.entry(Stamp { id: EntryId::from_bytes(key), now });
    journal::tell(conn, fork.agent, &Item::of(&entry, entry.to_bytes()), now)
}

/// Tells every applied entry of the parent beyond the branching.
fn tell_branch(conn: &Connection, fork: &Fork, parent: i64, stored: Seq, now: Timestamp) -> Result<(), StoreError> {
    let (mut relay, mut at) = (Relay::new(conn, now), fork.at.seq);
    while at < stored {
        let batch = raw::containing(conn, parent, at.next())?;
        for (mark, bytes) in batch.entries.entries_from(at.next()) {
            at = mark.seq;
            let Ok(entry) = Entry::from_bytes(bytes) else { continue };
            let document = entry.document();
            if at <= stored && is_applied(conn, document, parent, at)? {
                relay.pass_on(fork.agent, &Relayed { document, entry: entry.id, stream: parent, seq: at })?;
            }
        }
    }
    Ok(())
}
