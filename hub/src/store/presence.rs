//! Evidence of life: HELLO, HEARTBEAT and DEATH as they change the books.
//!
//! Any of them may be a late copy. A HELLO registers the agent, its sites and its letter, begins its session and
//! announces a head; it moves no mark.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, SessionId};
use waystation_protocol::limits;
use waystation_protocol::message::{Heartbeat, Hello};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::{self, Timestamp};

use super::error::StoreError;
use super::lane::{Lane, Lanes, Owned};
use super::{Retention, array_at, ceiling, count, int, raw};

/// What became of a HELLO.
pub(crate) enum Greeted {
    /// Registered; its letter in printed numbers, unless all are taken.
    Welcome { letter: Option<char> },
    /// Another key is pinned to this agent, or its stream is another agent's.
    Refused,
}

struct Known {
    row: i64,
    key: [u8; 32],
    stands_for: Sites,
    letter: Option<char>,
}

/// The agent's row; none before its first HELLO.
pub(crate) fn agent_row(conn: &Connection, agent: AgentId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT id FROM agent WHERE agent = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([agent.as_bytes()], |row| row.get(0)).optional()?)
}

/// Registers what a HELLO says.
pub(crate) fn hello(
    conn: &Connection,
    lanes: &mut Lanes,
    hello: &Hello,
    now: Timestamp,
) -> Result<Greeted, StoreError> {
    let known = find(conn, hello.agent)?;
    if known.as_ref().is_some_and(|known| known.key[..] != hello.public_key[..]) {
        return Ok(Greeted::Refused);
    }
    let row = match &known {
        Some(known) => known.row,
        None => register(conn, hello, now)?,
    };
    let Owned::Here(lane) = lanes.open(conn, hello.stream, hello.agent, row)? else { return Ok(Greeted::Refused) };
    let stream = lane.row;
    announce(conn, stream, hello.head, now)?;
    let stands_for = match &known {
        Some(known) => union(&known.stands_for, &hello.sites),
        None => hello.sites.clone(),
    };
    if known.as_ref().is_none_or(|known| known.stands_for != stands_for) {
        link_sites(conn, row, &stands_for)?;
    }
    let letter = letter(conn, row, &stands_for, known.and_then(|known| known.letter))?;
    let sql = "UPDATE agent SET sites = ?2, stands_for = ?3, letter = ?4, build = ?5, session = ?6, last_session = ?7,
               stream = ?8, last_seen = max(last_seen, ?9), died_at = NULL WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![
        row,
        codec::encode(&hello.sites),
        codec::encode(&stands_for),
        letter.map(String::from),
        short(&hello.build),
        hello.session.as_bytes(),
        hello.last_session.as_ref().map(SessionId::as_bytes),
        stream,
        now.0,
    ])?;
    lanes.set_session(hello.agent, hello.session);
    Ok(Greeted::Welcome { letter })
}

fn find(conn: &Connection, agent: AgentId) -> Result<Option<Known>, StoreError> {
    let sql = "SELECT id, public_key, stands_for, letter FROM agent WHERE agent = ?1";
    let found = conn.prepare_cached(sql)?.query_row([agent.as_bytes()], |row| {
        let letter: Option<String> = row.get(3)?;
        Ok((row.get(0)?, array_at(row, 1)?, row.get::<_, Vec<u8>>(2)?, letter.and_then(|text| text.chars().next())))
    });
    let Some((row, key, sites, letter)) = found.optional()? else { return Ok(None) };
    let stands_for = codec::decode_own(&sites).map_err(|error| StoreError::damaged(error.to_string()))?;
    Ok(Some(Known { row, key, stands_for, letter }))
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
    for site in sites {
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
    let sql = "INSERT INTO site (site, name, zone) VALUES (?1, ?1, ?2)";
    conn.prepare_cached(sql)?.execute([site.as_str(), time::DEFAULT_ZONE])?;
    Ok(conn.last_insert_rowid())
}

/// The agent's letter: the one it has, unless another agent of one of its sites has it too; else the first free one.
fn letter(conn: &Connection, agent: i64, sites: &Sites, own: Option<char>) -> Result<Option<char>, StoreError> {
    let sql = match sites {
        Sites::All => "SELECT DISTINCT letter FROM agent WHERE id <> ?1 AND letter IS NOT NULL",
        Sites::Only(_) => {
            "SELECT DISTINCT letter FROM agent WHERE id <> ?1 AND letter IS NOT NULL AND (stands_for = ?2 OR id IN
             (SELECT agent FROM agent_site WHERE site IN (SELECT site FROM agent_site WHERE agent = ?1)))"
        }
    };
    let mut statement = conn.prepare_cached(sql)?;
    let letter = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let taken: Vec<String> = match sites {
        Sites::All => statement.query_map([agent], letter)?.collect::<Result<_, _>>()?,
        Sites::Only(_) => {
            statement.query_map(params![agent, codec::encode(&Sites::All)], letter)?.collect::<Result<_, _>>()?
        }
    };
    let is_free = |letter: &char| !taken.iter().any(|taken| taken.starts_with(*letter));
    Ok(own.filter(is_free).or_else(|| ('A'..='Z').find(is_free)))
}

/// Notes that the journal reached `head` at hub time `now`. A lower head than announced before is a late copy.
fn announce(conn: &Connection, stream: i64, head: Mark, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE stream SET
        head_seq = max(head_seq, ?2),
        head_hash = CASE WHEN ?2 > head_seq THEN ?3 ELSE head_hash END,
        caught_up_at = CASE WHEN ?2 >= head_seq AND ?2 <= processed_seq THEN ?4 ELSE caught_up_at END,
        next_seq = CASE WHEN ?2 < head_seq OR ?2 <= processed_seq OR wait_seq IS NULL THEN next_seq ELSE ?2 END,
        next_at = CASE WHEN ?2 < head_seq OR ?2 <= processed_seq OR wait_seq IS NULL THEN next_at ELSE ?4 END,
        wait_seq = CASE WHEN ?2 < head_seq OR ?2 <= processed_seq THEN wait_seq ELSE coalesce(wait_seq, ?2) END,
        wait_at = CASE WHEN ?2 < head_seq OR ?2 <= processed_seq THEN wait_at ELSE coalesce(wait_at, ?4) END
        WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![stream, int(head.seq), head.hash.as_bytes(), now.0])?;
    Ok(())
}

/// Notes what a heartbeat says. One of an earlier session only announces its head.
pub(crate) fn heartbeat(
    conn: &Connection,
    stream: i64,
    agent: AgentId,
    beat: &Heartbeat,
    now: Timestamp,
) -> Result<(), StoreError> {
    announce(conn, stream, beat.head, now)?;
    let sql = "UPDATE agent SET backlog_entries = ?3, backlog_bytes = ?4, oldest_unsent_ms = ?5, disk_free = ?6,
               clock_offset_ms = ?7, build = ?8, last_seen = max(last_seen, ?9), died_at = NULL
               WHERE agent = ?1 AND session = ?2";
    conn.prepare_cached(sql)?.execute(params![
        agent.as_bytes(),
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

/// Moves the prunable mark over what is in the newest checked backup and older than the retention period; the latter
/// alone decides while no backup was ever made. Whether it moved.
pub(crate) fn prune(
    conn: &Connection,
    lane: &mut Lane,
    retention: Retention,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let before = Timestamp(now.0.saturating_sub(retention.ms));
    let ceiling = ceiling(conn, lane.row, retention)?.min(lane.processed);
    if ceiling <= lane.prunable {
        return Ok(false);
    }
    let mark: Seq = raw::prunable(conn, lane.row, lane.prunable, ceiling, before)?;
    if mark == lane.prunable {
        return Ok(false);
    }
    let sql = "UPDATE stream SET prunable_seq = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![lane.row, int(mark)])?;
    lane.prunable = mark;
    Ok(true)
}

/// A build's name, held to a length people read.
fn short(build: &str) -> String {
    build.chars().filter(|c| !c.is_control()).take(limits::SITE_BYTES / 2).collect()
}
