//! The hub came back older: what it had, what its agents have brought back, and what nobody brings.
//!
//! While a restore is open no prunable mark moves. It ends when every agent known then has said HELLO and every journal
//! is whole again, downward ones too, or when ops releases it with a name and a reason. A range that did not come back stays named.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::message::Hello;
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

use super::heads::Head;
use super::{Store, StoreError, array_at, hash_at, int, line, seq_at};
use crate::down::own;

/// How the hub learned that it came back older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `restore` put a backup in place.
    Restored,
    /// The database found at the start is older than what was last run here.
    Copied,
    /// An agent knows more to have been stored than there is.
    Agent,
}

/// How a restore ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// By the hub's clock.
    pub at: Timestamp,
    /// Released by ops before everything was back; otherwise repaired.
    pub is_release: bool,
    /// Who released it.
    pub by: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// An agent known when the hub came back older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedAgent {
    /// Which.
    pub agent: AgentId,
    /// Its sites.
    pub sites: Sites,
    /// When it said HELLO since.
    pub greeted_at: Option<Timestamp>,
}

/// A journal of which there was more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedStream {
    /// Which.
    pub stream: StreamId,
    /// Whose.
    pub agent: AgentId,
    /// Its agent's sites.
    pub sites: Sites,
    /// What the database held as it came back.
    pub from: Seq,
    /// The highest seq stored or announced before.
    pub had: Seq,
    /// What is stored now.
    pub stored: Seq,
    /// What its agent has deleted.
    pub pruned: Seq,
    /// Whether what came has another hash where the journal ended before.
    pub is_other: bool,
    /// When it was whole again.
    pub settled_at: Option<Timestamp>,
}

/// The last time the hub came back older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// The epoch it began.
    pub epoch: u64,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// How the hub learned of it.
    pub cause: Cause,
    /// What it saw, in words.
    pub detail: String,
    /// The backup put in place, and when that was taken.
    pub backup: Option<(String, Timestamp)>,
    /// How it ended; none while it is open and prunable marks are frozen.
    pub ending: Option<Ending>,
    /// Agents known then.
    pub agents: Vec<AwaitedAgent>,
    /// Journals that had more.
    pub streams: Vec<AwaitedStream>,
}

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

impl Cause {
    /// Its name on the wire and in the books.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Restored => "restored",
            Cause::Copied => "copied",
            Cause::Agent => "agent",
        }
    }

    fn of_name(name: &str) -> Cause {
        match name {
            "restored" => Cause::Restored,
            "agent" => Cause::Agent,
            _ => Cause::Copied,
        }
    }
}

impl AwaitedStream {
    /// Entries that came back.
    #[must_use]
    pub fn came_back(&self) -> u64 {
        if self.is_other { 0 } else { self.stored.min(self.had).0.saturating_sub(self.from.0) }
    }

    /// What did not come back.
    fn absent(&self) -> Option<SeqRange> {
        let first = if self.is_other { self.from.next() } else { self.stored.next() };
        (self.settled_at.is_none() && first <= self.had).then_some(SeqRange { first, last: self.had })
    }

    /// What did not come back and still may; `is_released` says that ops waits no longer.
    #[must_use]
    pub fn missing(&self, is_released: bool) -> Option<SeqRange> {
        let absent = self.absent().filter(|_| !is_released)?;
        let first = absent.first.max(self.pruned.next());
        (first <= absent.last).then_some(SeqRange { first, ..absent })
    }

    /// What is lost for good, unless a copy turns up: deleted at its agent, or given up by ops.
    #[must_use]
    pub fn lost(&self, is_released: bool) -> Option<SeqRange> {
        let absent = self.absent()?;
        let last = if is_released { absent.last } else { absent.last.min(self.pruned) };
        (absent.first <= last).then_some(SeqRange { last, ..absent })
    }
}

impl RestoreReport {
    /// Whether prunable marks are frozen.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether ops released it before everything was back.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.is_release)
    }

    /// Whether nothing is left to do or to know.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.is_open() && self.streams.iter().all(|stream| stream.absent().is_none())
    }
}

impl Store {
    /// The last time the hub came back older; none if it never did.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn restore_report(&self) -> Result<Option<RestoreReport>, StoreError> {
        report(&*self.inner.pool.lend()?)
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
    // nobody sends the hub's own journals: what they held comes back with the downward ones
    for head in heads.iter().filter(|head| hub.as_deref() != Some(&head.agent.as_bytes()[..])) {
        let sql = "INSERT OR IGNORE INTO restore_agent (restore, agent, sites) VALUES (?1, ?2, ?3)";
        conn.execute(sql, params![id, head.agent.as_bytes(), codec::encode(&head.sites)])?;
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

/// Notes a HELLO. One that knows more to have been stored than there is begins a restore where none is known.
pub(crate) fn greet(conn: &Connection, hello: &Hello, committed: Mark, now: Timestamp) -> Result<(), StoreError> {
    let knows_more = hello.stored.seq > committed.seq && hello.stored.seq <= hello.head.seq;
    let head = Head {
        stream: hello.stream,
        agent: hello.agent,
        sites: hello.sites.clone(),
        stored: committed,
        had: hello.stored,
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

/// An agent's downward journal is back, whole.
pub(crate) fn note_returned(conn: &Connection, agent: AgentId, now: Timestamp) -> Result<(), StoreError> {
    note(
        conn,
        "UPDATE restore_agent SET returned_at = ?3 WHERE restore = ?1 AND agent = ?2 AND returned_at IS NULL",
        agent,
        now,
    )
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

fn report(conn: &Connection) -> Result<Option<RestoreReport>, StoreError> {
    let sql = "SELECT id, epoch, at, cause, detail, folder, taken_at, ended_at, ending, ended_by, why
               FROM restore ORDER BY id DESC LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row([], |row| {
        let folder: Option<String> = row.get(5)?;
        let taken_at = Timestamp(row.get::<_, Option<i64>>(6)?.unwrap_or_default());
        let ended_at: Option<i64> = row.get(7)?;
        let is_release = row.get::<_, Option<String>>(8)?.as_deref() == Some("released");
        let (by, why) = (row.get(9)?, row.get(10)?);
        let report = RestoreReport {
            epoch: seq_at(row, 1)?.0,
            at: Timestamp(row.get(2)?),
            cause: Cause::of_name(&row.get::<_, String>(3)?),
            detail: row.get(4)?,
            backup: folder.map(|folder| (folder, taken_at)),
            ending: ended_at.map(|at| Ending { at: Timestamp(at), is_release, by, why }),
            agents: Vec::new(),
            streams: Vec::new(),
        };
        Ok((row.get::<_, i64>(0)?, report))
    });
    let Some((id, mut report)) = found.optional()? else { return Ok(None) };
    report.agents = awaited_agents(conn, id)?;
    report.streams = awaited_streams(conn, id)?;
    Ok(Some(report))
}

fn sites(bytes: &[u8]) -> Result<Sites, StoreError> {
    codec::decode_own(bytes).map_err(|error| StoreError::damaged(error.to_string()))
}

fn awaited_agents(conn: &Connection, restore: i64) -> Result<Vec<AwaitedAgent>, StoreError> {
    let sql = "SELECT agent, sites, greeted_at FROM restore_agent WHERE restore = ?1 ORDER BY greeted_at, agent";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([restore])?;
    let mut agents = Vec::new();
    while let Some(row) = rows.next()? {
        agents.push(AwaitedAgent {
            agent: AgentId::from_bytes(array_at(row, 0)?),
            sites: sites(&row.get::<_, Vec<u8>>(1)?)?,
            greeted_at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
        });
    }
    Ok(agents)
}

fn awaited_streams(conn: &Connection, restore: i64) -> Result<Vec<AwaitedStream>, StoreError> {
    let sql = "SELECT kept.stream, kept.agent, sites, from_seq, had_seq, coalesce(stored_seq, 0), pruned_seq, is_other,
               settled_at FROM restore_stream AS kept LEFT JOIN stream ON stream.stream = kept.stream
               WHERE restore = ?1 ORDER BY settled_at, kept.agent, kept.stream";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([restore])?;
    let mut streams = Vec::new();
    while let Some(row) = rows.next()? {
        streams.push(AwaitedStream {
            stream: StreamId::from_bytes(array_at(row, 0)?),
            agent: AgentId::from_bytes(array_at(row, 1)?),
            sites: sites(&row.get::<_, Vec<u8>>(2)?)?,
            from: seq_at(row, 3)?,
            had: seq_at(row, 4)?,
            stored: seq_at(row, 5)?,
            pruned: seq_at(row, 6)?,
            is_other: row.get(7)?,
            settled_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        });
    }
    Ok(streams)
}
