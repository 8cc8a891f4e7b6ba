//! What the hub has and what is still awaited of it, while a schedule runs.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::id::DocId;

use super::books::Id;
use super::journal::entries;
use super::papers::Act;
use super::sql;
use crate::violation::Violation;

/// The ids of all entries the hub holds.
pub(crate) fn ids(books: &Connection) -> Result<BTreeSet<Id>, Violation> {
    let mut query = books.prepare_cached("SELECT payload FROM raw").map_err(sql)?;
    let mut rows = query.query([]).map_err(sql)?;
    let mut ids = BTreeSet::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let entries = entries(&row.get::<_, Vec<u8>>(0).map_err(sql)?)?;
        ids.extend(entries.iter().filter_map(|bytes| Act::read(bytes)).map(|act| act.id));
    }
    Ok(ids)
}

/// How many journals are not processed to their end, those of strangers aside.
pub(crate) fn unprocessed(books: &Connection, strangers: &[Id]) -> Result<i64, Violation> {
    let query = "SELECT count(*) FROM stream LEFT JOIN agent ON agent.id = stream.agent
                 WHERE is_aside = 0 AND processed_seq < stored_seq AND agent.agent IS NOT ?1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    query.query_row([&strangers[0][..]], |row| row.get(0)).map_err(sql)
}

/// What is set aside, line by line for people: journal, place, why, and which act on which document.
pub(crate) fn aside(books: &Connection) -> Result<Vec<String>, Violation> {
    let query = "SELECT stream, seq, code, entry FROM quarantine WHERE resolved_at IS NULL ORDER BY stream, seq";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([], |row| {
        let (stream, seq, code): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let act = Act::read(&row.get::<_, Vec<u8>>(3)?);
        let act = act.map(|act| format!("{} on {}", act.act, DocId::from_bytes(act.document)));
        Ok(format!("set aside: {stream}/{seq}: {code}: {}", act.unwrap_or_default()))
    });
    rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)
}

/// What an agent is to be told.
#[derive(Debug)]
pub(crate) struct Untold {
    /// Whom.
    pub(crate) agent: Id,
    stream: Id,
    head: u64,
    /// Whether more waits to be appended.
    is_growing: bool,
}

impl Untold {
    /// Whether an agent that holds so much of this journal has all.
    pub(crate) fn is_told(&self, held: (Id, u64)) -> bool {
        !self.is_growing && (self.head == 0 || held == (self.stream, self.head))
    }
}

/// How far every agent's downward journal goes.
pub(crate) fn untold(books: &Connection) -> Result<Vec<Untold>, Violation> {
    let query = "SELECT agent.agent, down_stream.stream, head_seq,
                 EXISTS (SELECT 1 FROM down_pending WHERE down_pending.agent = agent.id)
                 OR EXISTS (SELECT 1 FROM down_due WHERE down_due.agent = agent.id)
                 FROM down_stream JOIN agent ON agent.id = down_stream.agent WHERE is_current = 1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([], |row| {
        let (agent, stream, head): (Id, Id, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Untold { agent, stream, head: head.unsigned_abs(), is_growing: row.get(3)? })
    });
    rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)
}

/// Whether the hub holds a downward journal as far as an agent does.
pub(crate) fn holds_told(books: &Connection, (stream, seq): &(Id, u64)) -> Result<bool, Violation> {
    let query = "SELECT EXISTS (SELECT 1 FROM down_stream WHERE stream = ?1 AND head_seq >= ?2)
                 OR EXISTS (SELECT 1 FROM stream WHERE stream = ?1 AND stored_seq >= ?2)";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let seq = i64::try_from(*seq).unwrap_or(i64::MAX);
    query.query_row(rusqlite::params![&stream[..], seq], |row| row.get(0)).map_err(sql)
}

/// How far the hub has stored a journal.
pub(crate) fn stored(books: &Connection, stream: &Id) -> Result<u64, Violation> {
    let query = "SELECT stored_seq FROM stream WHERE stream = ?1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let found = query.query_row([&stream[..]], |row| row.get::<_, i64>(0)).optional().map_err(sql)?;
    Ok(found.map_or(0, i64::unsigned_abs))
}
