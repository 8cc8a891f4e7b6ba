//! What stands still after the hub came back older, so that it never decides twice.
//!
//! A site is frozen while any agent that may have been told of its documents, because it stood for the site or because
//! documents went to a site of its own, has not said HELLO, re-sent its journal and brought back its downward one. Entries of its agents are stored and not processed beyond
//! where they were; its documents take no acts of the hub. A migration agent counts for the sites of its documents:
//! others it was never told of. What agents brought back is processed before anything else goes on.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::Sites;

use crate::store::{StoreError, reach, seq_at};

/// Whether an agent, a row `kept` of a restore, is still awaited.
const AWAITED: &str = "(greeted_at IS NULL OR returned_at IS NULL OR EXISTS (SELECT 1 FROM restore_stream
    WHERE restore_stream.restore = kept.restore AND restore_stream.agent = kept.agent AND settled_at IS NULL))";

/// How far streams may be processed; those not named, to their end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Freeze {
    holds: BTreeMap<i64, Seq>,
}

impl Freeze {
    /// As the database says.
    pub(crate) fn load(conn: &Connection) -> Result<Freeze, StoreError> {
        let frozen = match open_restore(conn)? {
            Some(restore) => sites(conn, restore)?,
            None => BTreeSet::new(),
        };
        let is_returning = is_returning(conn)?;
        if is_planted(Plant::FreezeIgnored) {
            return Ok(Freeze::default());
        }
        if frozen.is_empty() && !is_returning {
            return Ok(Freeze::default());
        }
        let sql =
            "SELECT stream.id, stream.agent, hold_seq, stands_for FROM stream JOIN agent ON agent.id = stream.agent
                   WHERE is_hub = 0";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut holds = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let stands_for = decoded(&row.get::<_, Vec<u8>>(3)?)?;
            let is_held = is_returning || stands_for_any(conn, row.get(1)?, &stands_for, &frozen)?;
            if is_held {
                holds.insert(row.get(0)?, seq_at(row, 2)?);
            }
        }
        Ok(Freeze { holds })
    }

    /// The last entry of a stream that may be processed.
    pub(crate) fn limit(&self, stream: i64) -> Seq {
        self.holds.get(&stream).copied().unwrap_or(Seq(u64::MAX))
    }
}

/// Entries that are stored and stand still.
pub(crate) fn held_entries(conn: &Connection) -> Result<u64, StoreError> {
    let freeze = Freeze::load(conn)?;
    let mut held = 0;
    for (stream, limit) in &freeze.holds {
        let sql = "SELECT processed_seq, stored_seq FROM stream WHERE id = ?1";
        let (processed, stored) =
            conn.prepare_cached(sql)?.query_row([stream], |row| Ok((seq_at(row, 0)?, seq_at(row, 1)?)))?;
        held += stored.0.saturating_sub(limit.max(&processed).0);
    }
    Ok(held)
}

/// Whether documents of this site take no acts of the hub.
pub(crate) fn is_frozen(conn: &Connection, site: &str) -> Result<bool, StoreError> {
    match open_restore(conn)? {
        Some(restore) if !is_planted(Plant::FreezeIgnored) => Ok(sites(conn, restore)?.contains(site)),
        Some(_) | None => Ok(false),
    }
}

/// Whether nobody may resolve an entry yet: it may have been decided before. Its site is frozen, or the agent that captured
/// it is awaited; where it names no site, any site of its agent counts.
pub(crate) fn is_case_frozen(conn: &Connection, stream: i64, site: Option<&str>) -> Result<bool, StoreError> {
    let Some(restore) = open_restore(conn)? else { return Ok(false) };
    let sql = "SELECT agent.id, agent.agent, stands_for FROM stream JOIN agent ON agent.id = stream.agent
               WHERE stream.id = ?1";
    let (row, agent, stands_for): (i64, Vec<u8>, Vec<u8>) =
        conn.prepare_cached(sql)?.query_row([stream], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let sql =
        format!("SELECT EXISTS (SELECT 1 FROM restore_agent AS kept WHERE restore = ?1 AND agent = ?2 AND {AWAITED})");
    if conn.prepare_cached(&sql)?.query_row(params![restore, agent], |row| row.get(0))? {
        return Ok(true);
    }
    let frozen = sites(conn, restore)?;
    match site {
        Some(site) => Ok(frozen.contains(site)),
        None => stands_for_any(conn, row, &decoded(&stands_for)?, &frozen),
    }
}

/// Whether any agent may still be awaited.
pub(super) fn is_open(conn: &Connection) -> Result<bool, StoreError> {
    Ok(open_restore(conn)?.is_some())
}

fn open_restore(conn: &Connection) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT id FROM restore WHERE ended_at IS NULL ORDER BY id DESC LIMIT 1";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?)
}

/// Whether something that agents brought back is not processed yet.
pub(crate) fn is_returning(conn: &Connection) -> Result<bool, StoreError> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM stream WHERE is_down = 1 AND processed_seq < stored_seq AND damage IS NULL)";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The sites of every agent that is still awaited, as the restore knew them and as the books do, and those that may
/// write on documents of which such an agent may have been told.
fn sites(conn: &Connection, restore: i64) -> Result<BTreeSet<String>, StoreError> {
    let sql = format!(
        "SELECT kept.sites, agent.id FROM restore_agent AS kept LEFT JOIN agent ON agent.agent = kept.agent
         WHERE restore = ?1 AND {AWAITED}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([restore])?;
    let mut sites = BTreeSet::new();
    while let Some(row) = rows.next()? {
        if let Sites::Only(named) = decoded(&row.get::<_, Vec<u8>>(0)?)? {
            sites.extend(named.iter().map(|site| site.as_str().to_owned()));
        }
        if let Some(agent) = row.get::<_, Option<i64>>(1)? {
            sites.extend(in_books(conn, agent)?);
        }
    }
    reach::touched(conn, sites)
}

fn in_books(conn: &Connection, agent: i64) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT site.site FROM agent_site JOIN site ON site.id = agent_site.site WHERE agent = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let sites = statement.query_map([agent], |row| row.get(0))?;
    Ok(sites.collect::<Result<_, _>>()?)
}

fn stands_for_any(
    conn: &Connection,
    agent: i64,
    stands_for: &Sites,
    frozen: &BTreeSet<String>,
) -> Result<bool, StoreError> {
    match stands_for {
        // its next entry may name any site
        Sites::All => Ok(!frozen.is_empty()),
        Sites::Only(named) if named.iter().any(|site| frozen.contains(site.as_str())) => Ok(true),
        Sites::Only(_) => Ok(in_books(conn, agent)?.iter().any(|site| frozen.contains(site))),
    }
}

fn decoded(sites: &[u8]) -> Result<Sites, StoreError> {
    codec::decode_own(sites).map_err(|error| StoreError::damaged(error.to_string()))
}
