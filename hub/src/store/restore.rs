//! The hub came back older: what it had, what its agents have brought back, and what nobody brings.
//!
//! While a restore is open no prunable mark moves. It ends when every agent known then has said HELLO and every journal
//! is whole again, downward ones too, or when ops releases it with a name and a reason. A range that did not come back
//! stays named. What an agent was told and has deleted never comes back: only ops ends that wait.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::message::Hello;
use waystation_protocol::time::Timestamp;

pub use self::report::{AwaitedAgent, AwaitedStream, Cause, Ending, Owed, RestoreReport};
use super::heads::Head;
use super::{Store, StoreError, hash_at, int, line, seq_at};
use crate::down::own;

mod report;

/// What begins a restore.
pub(crate) struct Begin<'a> {
    pub(crate) epoch: u64,
    pub(crate) at: Timestamp,
    pub(crate) cause: Cause,
    pub(crate) detail: &'a str,
    /// Folder and time of the backup, where one was put in place.
    pub(crate) backup: Option<(&'a str, Timestamp)>,
}

struct Latest {
    id: i64,
    ending: Option<String>,
}

impl Store {
    /// The last time the hub came back older; none if it never did.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn restore_report(&self) -> Result<Option<RestoreReport>, StoreError> {
        report::report(&*self.inner.pool.lend()?)
    }

    /// Ends the open restore although not everything is back: prunable marks move again, and what is missing is lost.
    ///
    /// # Errors
    ///
    /// [`StoreError::NothingToRelease`] if none is open, or the database fails.
    pub fn release_restore(&self, by: &str, why: &str, now: Timestamp) -> Result<(), StoreError> {
        let (by, why) = (by.to_owned(), why.to_owned());
        self.command(Box::new(move |conn| release(conn, &by, &why, now)))
    }
}

/// The same within a transaction.
pub(crate) fn release(conn: &Connection, by: &str, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE restore SET ended_at = ?1, ending = 'released', ended_by = ?2, why = ?3 WHERE ended_at IS NULL";
    match conn.execute(sql, params![now.0, by, why])? {
        0 => Err(StoreError::NothingToRelease),
        _ => Ok(()),
    }
}

/// Whether a restore is open: no prunable mark moves.
pub(crate) fn is_open(conn: &Connection) -> Result<bool, StoreError> {
    Ok(latest(conn)?.is_some_and(|latest| latest.ending.is_none()))
}

fn latest(conn: &Connection) -> Result<Option<Latest>, StoreError> {
    let sql = "SELECT id, ending FROM restore ORDER BY id DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok(Latest { id: row.get(0)?, ending: row.get(1)? });
    Ok(conn.prepare_cached(sql)?.query_row([], read).optional()?)
}

/// Begins a restore: `heads` is all that is known of what there was, the books' own knowledge included.
pub(crate) fn begin(conn: &Connection, begin: &Begin<'_>, heads: &[Head]) -> Result<(), StoreError> {
    let sql = "UPDATE restore SET ended_at = ?1, ending = 'superseded' WHERE ended_at IS NULL";
    conn.execute(sql, [begin.at.0])?;
    let sql = "INSERT INTO restore (epoch, at, cause, detail, folder, taken_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (folder, taken_at) = begin.backup.map_or((None, None), |(folder, at)| (Some(folder), Some(at.0)));
    let epoch = super::count(begin.epoch);
    conn.execute(sql, params![epoch, begin.at.0, begin.cause.name(), begin.detail, folder, taken_at])?;
    let id = conn.last_insert_rowid();
    let hub: Option<Vec<u8>> =
        conn.query_row("SELECT value FROM meta WHERE name = 'hub_id'", [], |row| row.get(0)).optional()?;
    // nobody sends the hub's own journals: what agents were told of them comes back with the downward ones
    let is_own = |head: &Head| hub.as_deref() == Some(&head.agent.as_bytes()[..]);
    let mut own_forgotten = 0;
    for head in heads.iter().filter(|head| is_own(head)) {
        own_forgotten += head.had.seq.0.saturating_sub(stored(conn, head.stream)?.seq.0);
    }
    let sql = "UPDATE restore SET own_forgotten = ?2 WHERE id = ?1";
    conn.execute(sql, params![id, super::count(own_forgotten)])?;
    for head in heads.iter().filter(|head| !is_own(head)) {
        let sql = "INSERT OR IGNORE INTO restore_agent (restore, agent, sites) VALUES (?1, ?2, ?3)";
        conn.execute(sql, params![id, head.agent.as_bytes(), codec::encode(&head.sites)])?;
        if head.is_down {
            let sql = "INSERT INTO restore_told (restore, agent, stream, sites, had_seq) VALUES (?1, ?2, ?3, ?4, ?5)";
            let (sites, had) = (codec::encode(&head.sites), int(head.had.seq));
            conn.execute(sql, params![id, head.agent.as_bytes(), head.stream.as_bytes(), sites, had])?;
            continue;
        }
        let stored = stored(conn, head.stream)?;
        if head.had.seq > stored.seq {
            expect(conn, id, head, stored.seq)?;
        }
    }
    // agents without a journal of theirs say HELLO too
    let sql = "INSERT OR IGNORE INTO restore_agent (restore, agent, sites)
               SELECT ?1, agent, stands_for FROM agent WHERE is_hub = 0";
    conn.execute(sql, [id])?;
    // what was processed stays so; what agents hold of their downward journals is not known any more
    conn.execute("UPDATE stream SET hold_seq = processed_seq", [])?;
    conn.execute("UPDATE down_stream SET is_awaited = 1", [])?;
    own::retire(conn)?;
    end_if_whole(conn, id, begin.at)
}

fn stored(conn: &Connection, stream: StreamId) -> Result<Mark, StoreError> {
    let sql = "SELECT stored_seq, stored_hash FROM stream WHERE stream = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok(Mark { seq: seq_at(row, 0)?, hash: hash_at(row, 1)? });
    let found = conn.prepare_cached(sql)?.query_row([stream.as_bytes()], read).optional()?;
    Ok(found.unwrap_or(Mark::ZERO))
}

fn expect(conn: &Connection, restore: i64, head: &Head, from: Seq) -> Result<(), StoreError> {
    let sql = "INSERT INTO restore_stream (restore, stream, agent, sites, from_seq, had_seq, had_hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT DO UPDATE SET had_seq = excluded.had_seq, had_hash = excluded.had_hash, settled_at = NULL
               WHERE excluded.had_seq > had_seq";
    let row = params![
        restore,
        head.stream.as_bytes(),
        head.agent.as_bytes(),
        codec::encode(&head.sites),
        int(from),
        int(head.had.seq),
        head.had.hash.as_bytes()
    ];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Notes a HELLO. One that proves more to have been stored than there is begins a restore where none is known; a claim
/// without proof changes nothing.
pub(crate) fn greet(
    conn: &Connection,
    hello: &Hello,
    is_proven: bool,
    committed: Mark,
    now: Timestamp,
) -> Result<(), StoreError> {
    let claims_more = hello.stored.seq > committed.seq && hello.stored.seq <= hello.head.seq;
    let knows_more = claims_more && is_proven;
    if claims_more && !is_proven {
        tracing::error!(agent = %hello.agent, stream = %hello.stream, stored = committed.seq.0, claims = hello.stored.seq.0,
            "an agent claims that more was stored than is here, and shows nothing this hub has signed: not believed");
    }
    let head = Head {
        stream: hello.stream,
        agent: hello.agent,
        sites: hello.sites.clone(),
        stored: committed,
        had: hello.stored,
        is_down: false,
    };
    let latest = unrepaired(conn)?;
    let Some(Latest { id, .. }) = latest else {
        return if knows_more { believe(conn, &head, now) } else { Ok(()) };
    };
    let sql = "UPDATE restore_agent SET greeted_at = ?3 WHERE restore = ?1 AND agent = ?2 AND greeted_at IS NULL";
    conn.prepare_cached(sql)?.execute(params![id, hello.agent.as_bytes(), now.0])?;
    if knows_more {
        expect(conn, id, &head, committed.seq)?;
    }
    let sql = "UPDATE restore_stream SET pruned_seq = max(pruned_seq, ?3) WHERE restore = ?1 AND stream = ?2";
    conn.prepare_cached(sql)?.execute(params![id, hello.stream.as_bytes(), int(hello.pruned)])?;
    settle(conn, hello.stream, committed, now)
}

/// An agent's word is all there is: it was acknowledged more than the books hold.
fn believe(conn: &Connection, head: &Head, now: Timestamp) -> Result<(), StoreError> {
    tracing::error!(agent = %head.agent, stream = %head.stream, stored = head.stored.seq.0, knows = head.had.seq.0,
        "an agent was acknowledged more than is stored: this database came back older; prunable marks are frozen");
    let detail = format!("agent {} was acknowledged up to {}, {} is stored", head.agent, head.had.seq, head.stored.seq);
    let heads = super::heads::union(super::heads::gather(conn)?, vec![head.clone()]);
    begin_now(conn, head.agent, &detail, &heads, now)
}

/// Begins a restore on the word of an agent, which has said HELLO.
fn begin_now(
    conn: &Connection,
    agent: AgentId,
    detail: &str,
    heads: &[Head],
    now: Timestamp,
) -> Result<(), StoreError> {
    let epoch: i64 =
        conn.query_row("SELECT CAST(CAST(value AS TEXT) AS INTEGER) FROM meta WHERE name = 'hub_epoch'", [], |row| {
            row.get(0)
        })?;
    let epoch = epoch.max(0).unsigned_abs();
    let begun = Begin { epoch, at: now, cause: Cause::Agent, detail, backup: None };
    begin(conn, &begun, heads)?;
    let sql = "UPDATE restore_agent SET greeted_at = ?2 WHERE agent = ?1 AND restore = (SELECT max(id) FROM restore)";
    conn.execute(sql, params![agent.as_bytes(), now.0])?;
    Ok(())
}

/// An agent holds more of its downward journal than there is: the hub came back older, if it does not know that yet.
pub(crate) fn doubt(conn: &Connection, agent: AgentId, detail: &str, now: Timestamp) -> Result<(), StoreError> {
    if unrepaired(conn)?.is_some() {
        return Ok(());
    }
    tracing::error!(%agent, detail, "this database came back older; prunable marks are frozen");
    begin_now(conn, agent, detail, &super::heads::gather(conn)?, now)
}

/// An agent holds this much of its downward journal: from now on a copy of its disk that holds less does not speak for it. Where
/// no restore is open, nobody waits for it.
pub(crate) fn note_held(conn: &Connection, hello: &Hello, stream: StreamId, held: Seq) -> Result<(), StoreError> {
    let sql = "INSERT INTO restore_told (restore, agent, stream, sites, had_seq)
               SELECT id, ?1, ?2, ?3, ?4 FROM restore WHERE ended_at IS NULL
               ON CONFLICT DO UPDATE SET had_seq = max(had_seq, excluded.had_seq)";
    let row = params![hello.agent.as_bytes(), stream.as_bytes(), codec::encode(&hello.sites), int(held)];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// Whether another device of the agent, which had acknowledged more of the downward journal than is here, is waited for:
/// what an older copy of its disk holds does not say what the clerks have seen. An agent holds one such journal at a time:
/// where two are known of, as of one that it was told to leave, either is enough.
pub(crate) fn awaits_another(conn: &Connection, agent: AgentId) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) > 0 AND count(*) = total(coalesce(head_seq, 0) < had_seq)
               FROM restore_told AS told JOIN restore ON restore.id = told.restore
               LEFT JOIN down_stream ON down_stream.stream = told.stream
               WHERE ended_at IS NULL AND told.agent = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([agent.as_bytes()], |row| row.get(0))?)
}

/// An agent's downward journal is back, as far as it can be; whole, unless some of it was named lost.
pub(crate) fn note_returned(conn: &Connection, agent: AgentId, now: Timestamp) -> Result<(), StoreError> {
    note(
        conn,
        "UPDATE restore_agent SET returned_at = ?3 WHERE restore = ?1 AND agent = ?2 AND returned_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM restore_down WHERE restore = ?1 AND agent = ?2)",
        agent,
        now,
    )
}

/// An agent was told this and has deleted it. Where no restore is known, there is none to keep open: the range is only
/// reported.
pub(crate) fn name_lost_downward(
    conn: &Connection,
    (agent, stream): (AgentId, StreamId),
    range: SeqRange,
) -> Result<(), StoreError> {
    tracing::error!(%agent, %stream, first = range.first.0, last = range.last.0,
        "what an agent was told is named lost: it has deleted it, and this hub came back older");
    let Some(latest) = unrepaired(conn)? else { return Ok(()) };
    let sql = "INSERT OR IGNORE INTO restore_down (restore, agent, stream, first_seq, last_seq)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![latest.id, agent.as_bytes(), stream.as_bytes(), int(range.first), int(range.last)];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// An agent whose marks are the hub's is alive: that says as much as a HELLO.
pub(crate) fn note_alive(conn: &Connection, agent: AgentId, now: Timestamp) -> Result<(), StoreError> {
    note(
        conn,
        "UPDATE restore_agent SET greeted_at = ?3 WHERE restore = ?1 AND agent = ?2 AND greeted_at IS NULL",
        agent,
        now,
    )
}

fn note(conn: &Connection, sql: &str, agent: AgentId, now: Timestamp) -> Result<(), StoreError> {
    let Some(latest) = unrepaired(conn)? else { return Ok(()) };
    conn.prepare_cached(sql)?.execute(params![latest.id, agent.as_bytes(), now.0])?;
    if latest.ending.is_none() { end_if_whole(conn, latest.id, now) } else { Ok(()) }
}

/// The last restore, unless everything came back.
fn unrepaired(conn: &Connection) -> Result<Option<Latest>, StoreError> {
    Ok(latest(conn)?.filter(|latest| latest.ending.as_deref() != Some("repaired")))
}

/// The journal's prefix may have grown over what there was.
pub(crate) fn settle(conn: &Connection, stream: StreamId, stored: Mark, now: Timestamp) -> Result<(), StoreError> {
    let Some(latest) = unrepaired(conn)? else {
        return Ok(());
    };
    let sql = "SELECT had_seq, had_hash FROM restore_stream
               WHERE restore = ?1 AND stream = ?2 AND settled_at IS NULL AND had_seq <= ?3";
    let read = |row: &rusqlite::Row<'_>| Ok(Mark { seq: seq_at(row, 0)?, hash: hash_at(row, 1)? });
    let reached = params![latest.id, stream.as_bytes(), int(stored.seq)];
    let had = conn.prepare_cached(sql)?.query_row(reached, read).optional()?;
    if let (Some(had), Some(own)) = (had, line::find(conn, stream)?) {
        // where a lost range was named over it, all that is missing has a name
        let is_same = had == stored || line::mark_at(conn, &own, had.seq)?.is_none_or(|mark| mark == had);
        let sql = "UPDATE restore_stream SET is_other = ?3, settled_at = ?4 WHERE restore = ?1 AND stream = ?2";
        let settled_at = is_same.then_some(now.0);
        conn.prepare_cached(sql)?.execute(params![latest.id, stream.as_bytes(), !is_same, settled_at])?;
    }
    if latest.ending.is_none() { end_if_whole(conn, latest.id, now) } else { Ok(()) }
}

fn end_if_whole(conn: &Connection, restore: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE restore SET ended_at = ?2, ending = 'repaired' WHERE id = ?1 AND ended_at IS NULL
               AND NOT EXISTS (SELECT 1 FROM restore_agent
                               WHERE restore = ?1 AND (greeted_at IS NULL OR returned_at IS NULL))
               AND NOT EXISTS (SELECT 1 FROM restore_stream WHERE restore = ?1 AND settled_at IS NULL)";
    if conn.prepare_cached(sql)?.execute(params![restore, now.0])? > 0 {
        tracing::info!("everything known to have been stored is back; prunable marks move again");
    }
    Ok(())
}
