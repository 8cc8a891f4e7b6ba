//! Evidence of life: HELLO, HEARTBEAT and DEATH as they change the books.
//!
//! Any of them may be a late copy. A HELLO registers the agent, its sites and its letter, begins its session and
//! announces a head; it moves no mark.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::{Heartbeat, Hello};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::{self, Timestamp};

use super::error::StoreError;
use super::{array_at, count, heard, letters, line};

/// What people read as the site of documents of no outlet.
const HUB_NAME: &str = "中心 Hub";

/// What became of a HELLO.
pub(crate) enum Greeted {
    /// Registered.
    Welcome {
        /// The agent's row.
        agent: i64,
        /// The letter of its journal in printed numbers, if it has one.
        letter: Option<char>,
        /// Whether a letter was granted just now.
        is_granted: bool,
    },
    /// Another key is pinned to this agent, or its stream is another agent's.
    Refused,
}

struct Known {
    row: i64,
    key: [u8; 32],
    stands_for: Sites,
}

/// The agent's row; none before its first HELLO.
pub(crate) fn agent_row(conn: &Connection, agent: AgentId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT id FROM agent WHERE agent = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([agent.as_bytes()], |row| row.get(0)).optional()?)
}

/// Registers what a HELLO says. It opens no journal and moves no mark: it may be a late copy.
pub(crate) fn hello(conn: &Connection, hello: &Hello, now: Timestamp) -> Result<Greeted, StoreError> {
    let known = find(conn, hello.agent)?;
    if known.as_ref().is_some_and(|known| known.key[..] != hello.public_key[..]) {
        return Ok(Greeted::Refused);
    }
    let owner = line::find(conn, hello.stream)?.map(|extent| extent.agent);
    if owner.is_some_and(|owner| known.as_ref().is_none_or(|known| known.row != owner)) {
        return Ok(Greeted::Refused);
    }
    let row = match &known {
        Some(known) => known.row,
        None => register(conn, hello, now)?,
    };
    heard::announce(conn, (row, hello.session), hello.stream, hello.head, now)?;
    let stands_for = match &known {
        Some(known) => union(&known.stands_for, &hello.sites),
        None => hello.sites.clone(),
    };
    if known.as_ref().is_none_or(|known| known.stands_for != stands_for) {
        link_sites(conn, row, &stands_for)?;
    }
    // a fork that is not accepted yet must not print with the letter of the journal it came from
    let has_letter = owner.is_some() || hello.line.is_empty() || letters::of_stream(conn, hello.stream)?.is_some();
    let (letter, is_granted) =
        if has_letter { letters::ensure(conn, hello.agent, hello.stream, &stands_for)? } else { (None, false) };
    let sql = "UPDATE agent SET sites = ?2, stands_for = ?3, letter = ?4, build = ?5, session = ?6, last_session = ?7,
               last_seen = max(last_seen, ?8), died_at = NULL WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![
        row,
        codec::encode(&hello.sites),
        codec::encode(&stands_for),
        letter.map(String::from),
        short(&hello.build),
        hello.session.as_bytes(),
        hello.last_session.as_ref().map(SessionId::as_bytes),
        now.0,
    ])?;
    Ok(Greeted::Welcome { agent: row, letter, is_granted })
}

/// An agent speaks of a journal as its own. One that its present journal came from was left for good, and who speaks of it
/// is a late copy of a HELLO: unless a session that took over just now does, on a disk of its own.
pub(crate) fn speaks_of(conn: &Connection, agent: i64, stream: StreamId, took_over: bool) -> Result<(), StoreError> {
    let present = "SELECT journal FROM agent WHERE id = ?1";
    let present: Option<[u8; 16]> = conn.prepare_cached(present)?.query_row([agent], |row| row.get(0))?;
    let present = present.map(|present| line::find(conn, StreamId::from_bytes(present))).transpose()?.flatten();
    let family = present.map(|present| line::family(conn, &present)).transpose()?.unwrap_or_default();
    let spoken_of = line::find(conn, stream)?.map(|extent| extent.row);
    if !took_over && family.iter().skip(1).any(|(left, _)| Some(left.row) == spoken_of) {
        return Ok(());
    }
    let sql = "UPDATE agent SET journal = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![agent, stream.as_bytes()])?;
    Ok(())
}

/// A fork of the agent's present journal was accepted: from now on it is that one, also where its HELLO is still to come.
pub(crate) fn goes_on(conn: &Connection, agent: i64, (from, to): (StreamId, StreamId)) -> Result<(), StoreError> {
    let sql = "UPDATE agent SET journal = ?3 WHERE id = ?1 AND journal = ?2";
    conn.prepare_cached(sql)?.execute(params![agent, from.as_bytes(), to.as_bytes()])?;
    Ok(())
}

fn find(conn: &Connection, agent: AgentId) -> Result<Option<Known>, StoreError> {
    let sql = "SELECT id, public_key, stands_for FROM agent WHERE agent = ?1";
    let found = conn
        .prepare_cached(sql)?
        .query_row([agent.as_bytes()], |row| Ok((row.get(0)?, array_at(row, 1)?, row.get::<_, Vec<u8>>(2)?)));
    let Some((row, key, sites)) = found.optional()? else { return Ok(None) };
    let stands_for = codec::decode_own(&sites).map_err(|error| StoreError::damaged(error.to_string()))?;
    Ok(Some(Known { row, key, stands_for }))
}

fn register(conn: &Connection, hello: &Hello, now: Timestamp) -> Result<i64, StoreError> {
    let sql = "INSERT INTO agent
               (agent, public_key, sites, stands_for, build, session, stream, first_seen, last_seen)
               VALUES (?1, ?2, ?3, ?3, ?4, ?5, 0, ?6, ?6)";
    let (sites, session) = (codec::encode(&hello.sites), hello.session.as_bytes());
    let key: &[u8] = &hello.public_key;
    let row = params![hello.agent.as_bytes(), key, sites, short(&hello.build), session, now.0];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(conn.last_insert_rowid())
}

fn union(old: &Sites, new: &Sites) -> Sites {
    match (old, new) {
        (Sites::All, _) | (_, Sites::All) => Sites::All,
        (Sites::Only(old), Sites::Only(new)) => {
            let added = new.iter().filter(|site| !old.contains(site));
            Sites::Only(old.iter().chain(added).cloned().collect())
        }
    }
}

fn link_sites(conn: &Connection, agent: i64, sites: &Sites) -> Result<(), StoreError> {
    let Sites::Only(sites) = sites else { return Ok(()) };
    for site in sites.iter().filter(|site| !site.is_hub()) {
        let site = ensure_site(conn, site)?;
        let sql = "INSERT OR IGNORE INTO agent_site (agent, site) VALUES (?1, ?2)";
        conn.prepare_cached(sql)?.execute([agent, site])?;
    }
    Ok(())
}

/// The site's row, made in the default zone where there is none.
pub(crate) fn ensure_site(conn: &Connection, site: &SiteId) -> Result<i64, StoreError> {
    let found =
        conn.prepare_cached("SELECT id FROM site WHERE site = ?1")?.query_row([site.as_str()], |row| row.get(0));
    if let Some(row) = found.optional()? {
        return Ok(row);
    }
    let sql = "INSERT INTO site (site, name, zone) VALUES (?1, ?2, ?3)";
    let name = if site.is_hub() { HUB_NAME } else { site.as_str() };
    conn.prepare_cached(sql)?.execute([site.as_str(), name, time::DEFAULT_ZONE])?;
    Ok(conn.last_insert_rowid())
}

/// A fork of an agent was accepted: it gets a letter of its own. Whether one was granted.
pub(crate) fn letter_of_fork(
    conn: &Connection,
    (agent, row): (AgentId, i64),
    stream: StreamId,
) -> Result<bool, StoreError> {
    let Some(known) = find(conn, agent)? else { return Ok(false) };
    let (letter, is_granted) = letters::ensure(conn, agent, stream, &known.stands_for)?;
    let sql = "UPDATE agent SET letter = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![row, letter.map(String::from)])?;
    Ok(is_granted)
}

/// Notes what a heartbeat says. One of an earlier session only announces its head.
pub(crate) fn heartbeat(conn: &Connection, agent: i64, beat: &Heartbeat, now: Timestamp) -> Result<(), StoreError> {
    heard::announce(conn, (agent, beat.session), beat.stream, beat.head, now)?;
    let sql = "UPDATE agent SET backlog_entries = ?3, backlog_bytes = ?4, oldest_unsent_ms = ?5, disk_free = ?6,
               clock_offset_ms = ?7, build = ?8, last_seen = max(last_seen, ?9), died_at = NULL
               WHERE id = ?1 AND session = ?2";
    conn.prepare_cached(sql)?.execute(params![
        agent,
        beat.session.as_bytes(),
        count(beat.backlog_entries),
        count(beat.backlog_bytes),
        count(beat.oldest_unsent_ms),
        count(beat.disk_free),
        beat.clock_offset_ms,
        short(&beat.build),
        now.0,
    ])?;
    Ok(())
}

/// A last will arrived; it counts only for the current session.
pub(crate) fn death(conn: &Connection, agent: AgentId, session: SessionId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE agent SET died_at = coalesce(died_at, ?3) WHERE agent = ?1 AND session = ?2";
    conn.prepare_cached(sql)?.execute(params![agent.as_bytes(), session.as_bytes(), now.0])?;
    Ok(())
}

/// Something of the agent's was heard.
pub(crate) fn heard(conn: &Connection, agent: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE agent SET last_seen = max(last_seen, ?2), died_at = NULL WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![agent, now.0])?;
    Ok(())
}

/// A build's name, held to a length people read.
fn short(build: &str) -> String {
    build.chars().filter(|c| !c.is_control()).take(limits::SITE_BYTES / 2).collect()
}
