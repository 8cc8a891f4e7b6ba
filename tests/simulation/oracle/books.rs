//! Everything the hub holds, read anew: journals, documents with what made them, what is set aside and resolved.

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;
use rusqlite::Connection;

use super::journal::{decode, entries, follow};
use super::named::Named;
use super::papers::{Act, Fix};
use super::sql;
use crate::device::Device;
use crate::flows::HUB;
use crate::violation::{Violation, broken};

/// Bytes of a record in a document's history: entry id, stream row, seq, start of the hash.
const RECORD: usize = 36;

pub(super) type Id = [u8; 16];
type Mark = (i64, [u8; 32]);

/// A document as the hub keeps it: encoded, and the entries that made it with their places.
pub(super) type Kept = (Value, Vec<(Id, i64, i64)>);

/// What the hub holds.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Entries by stream row and seq.
    pub(super) raw: BTreeMap<(i64, i64), Vec<u8>>,
    /// Documents.
    pub(super) documents: BTreeMap<Id, Kept>,
    /// What is set aside, and why.
    pub(super) aside: BTreeMap<(i64, i64), String>,
    /// Streams whose entries nobody promised to apply.
    pub(super) strangers: BTreeSet<i64>,
    /// Streams that are branches kept aside.
    pub(super) branches: BTreeSet<i64>,
    /// Whose journal each stream is: a site's, or the hub's.
    pub(super) owners: BTreeMap<i64, String>,
    /// Streams of the hub's that hold what agents brought back, whoever wrote it.
    pub(super) returned: BTreeSet<i64>,
    /// How many journals each agent has.
    pub(super) journals: Vec<i64>,
    /// What is named lost.
    pub(super) named: Named,
    /// What people let stand for entries, by document and entry.
    pub(super) fixes: BTreeMap<(Id, Id), Fix>,
    /// Entries that people or time have brought out of quarantine.
    pub(super) resolved: BTreeSet<(i64, i64)>,
    /// Commands that have a result.
    answered: BTreeSet<Id>,
    /// Whether some journal may have two branches.
    pub(super) has_branches: bool,
    /// Whether two devices may act on one document.
    pub(super) is_shared: bool,
    /// Whether the hub came back older.
    pub(super) has_restores: bool,
    /// What devices wrote.
    pub(super) written: BTreeSet<Id>,
    /// Devices that have deleted something of their downward journal. Of copies of one disk each speaks for all.
    pub(super) have_deleted: BTreeSet<usize>,
}

impl Books {
    pub(super) fn read(books: &Connection, devices: &[&Device], strangers: &[Id]) -> Result<Books, Violation> {
        let sites: BTreeMap<Id, &str> = devices
            .iter()
            .filter_map(|device| Some((*device.store.as_ref()?.identity().agent.as_bytes(), device.site.as_str())))
            .collect();
        let mut found = Books::default();
        let mut streams = books
            .prepare(
                "SELECT stream.id, agent.agent, stored_seq, stored_hash, processed_seq, floor_seq, parent_hash, is_aside,
                 is_hub, is_down FROM stream LEFT JOIN agent ON agent.id = stream.agent",
            )
            .map_err(sql)?;
        let mut rows = streams.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let (id, agent): (i64, Option<Id>) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            let stored: Mark = (row.get(2).map_err(sql)?, row.get(3).map_err(sql)?);
            let processed: i64 = row.get(4).map_err(sql)?;
            let is_stranger = agent.is_some_and(|agent| strangers.contains(&agent));
            if is_stranger {
                found.strangers.insert(id);
            }
            let is_hub = row.get::<_, Option<bool>>(8).map_err(sql)? == Some(true);
            let site = agent.and_then(|agent| sites.get(&agent).copied());
            found.owners.extend(site.or(is_hub.then_some(HUB)).map(|owner| (id, owner.to_owned())));
            if row.get(9).map_err(sql)? {
                found.returned.insert(id);
            }
            if row.get(7).map_err(sql)? {
                found.read_branch(books, id)?;
                continue;
            }
            if processed != stored.0 && !is_stranger {
                return Err(broken("liveness", format!("{} entries are stored, {processed} processed", stored.0)));
            }
            let hash: Option<[u8; 32]> = row.get(6).map_err(sql)?;
            let floor = (row.get(5).map_err(sql)?, hash.unwrap_or_default());
            found.read_stream(books, id, floor, stored)?;
        }
        found.read_agents(books)?;
        found.read_documents(books)?;
        found.read_aside(books)?;
        found.read_words(books)?;
        Ok(found)
    }

    /// The entries that made documents.
    pub(super) fn applied(&self) -> BTreeSet<Id> {
        self.documents.values().flat_map(|(_, records)| records.iter().map(|(entry, ..)| *entry)).collect()
    }

    /// What people resolved, and what agents answered to commands.
    fn read_words(&mut self, books: &Connection) -> Result<(), Violation> {
        let query = "SELECT document, entry, act, fields FROM resolution WHERE action = 'fix' AND outcome = 'applied'";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let place = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            let (act, fields): (String, Vec<u8>) = (row.get(2).map_err(sql)?, row.get(3).map_err(sql)?);
            let fix = Fix::read(act, &fields).ok_or_else(|| broken("I7", "the fields of a fix do not decode"))?;
            self.fixes.insert(place, fix);
        }
        let query = "SELECT stream, seq FROM quarantine WHERE resolved_at IS NOT NULL";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql)?;
        self.resolved = rows.collect::<Result<_, _>>().map_err(sql)?;
        let mut query =
            books.prepare_cached("SELECT entry FROM down_command WHERE outcome IS NOT NULL").map_err(sql)?;
        let rows = query.query_map([], |row| row.get(0)).map_err(sql)?;
        self.answered = rows.collect::<Result<_, _>>().map_err(sql)?;
        Ok(())
    }

    /// Whether an entry stands on no document: the result of a command, which the books keep.
    pub(super) fn is_word(&self, act: &Act) -> bool {
        act.kind == "command_result" && act.cause.is_some_and(|command| self.answered.contains(&command))
    }

    /// How many journals each agent has.
    fn read_agents(&mut self, books: &Connection) -> Result<(), Violation> {
        let query = "SELECT count(*) FROM stream JOIN agent ON agent.id = stream.agent
                     WHERE is_aside = 0 AND is_hub = 0 GROUP BY stream.agent";
        let mut query = books.prepare(query).map_err(sql)?;
        let rows = query.query_map([], |row| row.get::<_, i64>(0)).map_err(sql)?;
        self.journals = rows.collect::<Result<_, _>>().map_err(sql)?;
        Ok(())
    }

    /// I3: rows follow one another, and the chain over all entries ends at the stored mark.
    fn read_stream(&mut self, books: &Connection, id: i64, floor: Mark, stored: Mark) -> Result<(), Violation> {
        let mut lost = lost(books, id)?;
        let query = "SELECT first_seq, last_seq, prev_hash, payload FROM raw WHERE stream = ?1 AND last_seq <= ?2
                     ORDER BY first_seq";
        let mut raw = books.prepare_cached(query).map_err(sql)?;
        let mut rows = raw.query(rusqlite::params![id, stored.0]).map_err(sql)?;
        let mut at = floor;
        while let Some(row) = rows.next().map_err(sql)? {
            let (first, last): (i64, i64) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            let prev: [u8; 32] = row.get(2).map_err(sql)?;
            if let Some(end) = lost.remove(&at) {
                at = end;
            }
            if first != at.0 + 1 || prev != at.1 {
                return Err(broken("I3", format!("journal {id}: the batch at {first} does not follow {}", at.0)));
            }
            for bytes in entries(&row.get::<_, Vec<u8>>(3).map_err(sql)?)? {
                at = (at.0 + 1, follow(at.1, &bytes));
                self.raw.insert((id, at.0), bytes);
            }
            if at.0 != last {
                return Err(broken("I3", format!("journal {id}: a batch ends at {}, its row says {last}", at.0)));
            }
        }
        if let Some(end) = lost.remove(&at) {
            at = end;
        }
        if at == stored {
            Ok(())
        } else {
            Err(broken("I3", format!("journal {id} ends at {}, its mark says {}", at.0, stored.0)))
        }
    }

    /// What a journal could not take: rows by themselves.
    fn read_branch(&mut self, books: &Connection, id: i64) -> Result<(), Violation> {
        self.branches.insert(id);
        let mut raw = books.prepare_cached("SELECT first_seq, payload FROM raw WHERE stream = ?1").map_err(sql)?;
        let mut rows = raw.query([id]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let first: i64 = row.get(0).map_err(sql)?;
            let entries = entries(&row.get::<_, Vec<u8>>(1).map_err(sql)?)?;
            self.raw.extend((first..).zip(entries).map(|(seq, bytes)| ((id, seq), bytes)));
        }
        Ok(())
    }

    fn read_documents(&mut self, books: &Connection) -> Result<(), Violation> {
        let mut query = books.prepare("SELECT id, body, history FROM document").map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let (id, body, history): (Id, Vec<u8>, Vec<u8>) =
                (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?, row.get(2).map_err(sql)?);
            let body = decode(&body).ok_or_else(|| broken("I7", "a document of the hub does not decode"))?;
            let records = history.chunks_exact(RECORD).filter_map(|record| {
                let stream = u32::from_le_bytes(record[16..20].try_into().ok()?);
                let seq = i64::from_le_bytes(record[20..28].try_into().ok()?);
                Some((record[..16].try_into().ok()?, i64::from(stream), seq))
            });
            self.documents.insert(id, (body, records.collect()));
        }
        Ok(())
    }

    fn read_aside(&mut self, books: &Connection) -> Result<(), Violation> {
        let query = "SELECT stream, seq, code FROM quarantine WHERE resolved_at IS NULL";
        let mut query = books.prepare(query).map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let place = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            self.aside.insert(place, row.get(2).map_err(sql)?);
        }
        Ok(())
    }
}

/// Ranges named lost and not filled: from the mark before each to the one at its end.
fn lost(books: &Connection, stream: i64) -> Result<BTreeMap<Mark, Mark>, Violation> {
    let query = "SELECT first_seq - 1, prev_hash, open_last, open_hash FROM lost_range
                 WHERE stream = ?1 AND filled_at IS NULL";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([stream], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?))));
    rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)
}
