//! Resolutions that stand: what people decided about entries, as the judge reads it.
//!
//! The captured bytes never change. A fix stands for its entry wherever those bytes turn up; a waived entry is passed
//! over. Both are read from the trail at the start and before a rebuild judges anything, so that everything derived
//! comes out the same whenever it is derived.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::history::{self, ShortHash};
use super::judge::Place;
use super::reason::{self, Reason};
use crate::store::{StoreError, array_at, seq_at};

/// Names an entry by its bytes: BLAKE3 of them. Bytes that are no entry mean nothing elsewhere, so theirs includes the
/// place.
pub(crate) type Key = [u8; 32];

/// What a fix puts in place of what was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fix {
    pub(crate) act: String,
    pub(crate) set: BTreeMap<String, Value>,
}

/// A resolution in force.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) decision: Decision,
    /// Where the resolved entry stands; copies of it elsewhere are repetitions.
    pub(super) place: (i64, Seq),
    /// Why it had been set aside.
    pub(super) before: Reason,
    pub(super) at: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) enum Decision {
    Fixed(Fix),
    /// It passed as it was, after someone asked for it.
    Replayed,
    Waived,
}

/// What stands.
#[derive(Debug, Default)]
pub(super) struct Standings {
    by_key: HashMap<Key, Standing>,
    /// Entries that lost against a rival before everything was derived anew.
    outranked: HashMap<Key, String>,
    /// Waived entries, and what their document knows them by.
    waived: HashMap<EntryId, (DocId, ShortHash)>,
}

impl Fix {
    /// Puts it in place. Id, document, `after`, cause, author and times stay.
    pub(crate) fn amend(&self, entry: &mut Entry) {
        entry.act.clone_from(&self.act);
        entry.set.clone_from(&self.set);
    }
}

impl Standing {
    /// Whether it is about the entry at this place, and not about a copy of it.
    pub(super) fn is_at(&self, place: Place) -> bool {
        self.place == (place.stream, place.seq)
    }
}

impl Decision {
    /// Its word in quarantine rows.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Decision::Fixed(_) => "fixed",
            Decision::Replayed => "replayed",
            Decision::Waived => "waived",
        }
    }
}

/// The key of bytes at a place.
pub(crate) fn key_of(stream: i64, seq: Seq, bytes: &[u8], is_entry: bool) -> Key {
    if is_entry {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"waystation place").update(&stream.to_le_bytes()).update(&seq.0.to_le_bytes()).update(bytes);
    *hasher.finalize().as_bytes()
}

impl Standings {
    /// Reads what stands.
    pub(super) fn load(conn: &Connection) -> Result<Standings, StoreError> {
        let mut standings = Standings::default();
        let sql = "SELECT entry_key, stream, seq, entry, document, action, act, fields, at, before_code, before_reason,
                   before_zh FROM resolution WHERE outcome IN ('applied', 'waived') ORDER BY id";
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let action: String = row.get(5)?;
            let decision = match action.as_str() {
                "fix" => Decision::Fixed(Fix { act: row.get(6)?, set: fields(&row.get::<_, Vec<u8>>(7)?)? }),
                "waive" => Decision::Waived,
                _ => Decision::Replayed,
            };
            let before = Reason { code: row.get(9)?, en: row.get(10)?, zh: row.get(11)?, is_parked: false };
            let (entry, document) = (row.get::<_, Option<[u8; 16]>>(3)?, row.get::<_, Option<[u8; 16]>>(4)?);
            let named = entry.map(EntryId::from_bytes).zip(document.map(DocId::from_bytes));
            let standing =
                Standing { decision, place: (row.get(1)?, seq_at(row, 2)?), before, at: Timestamp(row.get(8)?) };
            standings.add(array_at(row, 0)?, named, standing);
        }
        let mut statement = conn.prepare("SELECT entry_key, code FROM outranked")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            standings.outranked.insert(array_at(row, 0)?, row.get(1)?);
        }
        Ok(standings)
    }

    /// A resolution stands from now on.
    pub(super) fn add(&mut self, key: Key, named: Option<(EntryId, DocId)>, standing: Standing) {
        // Whoever lost an id to another entry says nothing about the one that has it.
        let is_own_id = standing.before.code != reason::SAME_ID;
        if let (Decision::Waived, Some((entry, document)), true) = (&standing.decision, named, is_own_id) {
            self.waived.insert(entry, (document, history::short(&key)));
        }
        self.by_key.insert(key, standing);
    }

    /// What stands about these bytes.
    pub(super) fn find(&self, key: &Key) -> Option<&Standing> {
        // almost always nothing stands, and every entry asks
        if self.by_key.is_empty() { None } else { self.by_key.get(key) }
    }

    /// The code for which these bytes lost against a rival.
    pub(super) fn outranked(&self, key: &Key) -> Option<&str> {
        if self.outranked.is_empty() { None } else { self.outranked.get(key).map(String::as_str) }
    }

    /// The waived entries.
    pub(super) fn waived(&self) -> impl Iterator<Item = EntryId> + '_ {
        self.waived.keys().copied()
    }

    /// The hash under which a waived entry id is known on a document.
    pub(super) fn find_waived(&self, document: DocId, entry: EntryId) -> Option<ShortHash> {
        self.waived.get(&entry).filter(|(of, _)| *of == document).map(|(_, hash)| *hash)
    }
}

/// Remembers, before quarantine is dropped, which entries lost against a rival. Several journals may hold a successor
/// of the same entry; the one accepted first stays the accepted one in whatever order they are read again.
pub(super) fn remember_outranked(conn: &Connection) -> Result<(), StoreError> {
    let sql = "SELECT stream, seq, code, entry FROM quarantine WHERE code IN ('superseded', 'same_id')";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut insert = conn.prepare("INSERT OR IGNORE INTO outranked (entry_key, code) VALUES (?1, ?2)")?;
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(3)?;
        let key = key_of(row.get(0)?, seq_at(row, 1)?, &bytes, true);
        insert.execute(rusqlite::params![key, row.get::<_, String>(2)?])?;
    }
    Ok(())
}

/// The fields of a fix as stored.
pub(crate) fn fields(bytes: &[u8]) -> Result<BTreeMap<String, Value>, StoreError> {
    codec::decode_own(bytes).map_err(|error| StoreError::damaged(format!("a fix cannot be read: {error}")))
}
