//! Definitions of fields: kept here, and told to every agent, also to those that enrol later.
//!
//! Every revision is kept as the entry it travels as. An agent brings back those that a restored hub has forgotten, and the
//! others are then told them; until all are back nothing new is defined.

use rusqlite::{Connection, params};
use waystation_protocol::definition::{self, Defined, Definition};
use waystation_protocol::document::capture::Problem;
use waystation_protocol::down::{FORM, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::EntryId;
use waystation_protocol::time::Timestamp;

use super::freeze;
use super::journal::{self, Item};
use crate::clock;
use crate::store::{Store, StoreError};

/// Why a field was not defined.
#[derive(Debug, thiserror::Error)]
pub enum DefineError {
    /// Everything that is wrong with it.
    #[error("the definition has problems")]
    Problems(Vec<Problem>),
    /// The hub came back older: it may have defined what it does not know of.
    #[error("nothing is defined until all agents brought back what they hold, or the restore is released")]
    Frozen,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Defines a field, or revises it; its version is given here. Tells every agent. Gives it as it then stands.
    ///
    /// # Errors
    ///
    /// [`DefineError`] says why nothing was defined; or the database failed.
    pub fn define(&self, definition: Definition, by: &str) -> Result<Defined, DefineError> {
        let by = by.to_owned();
        self.command(Box::new(move |conn| Ok(define(conn, definition, &by))))?
    }

    /// Every definition as it stands, by kind and name.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn definitions(&self) -> Result<Vec<Defined>, StoreError> {
        Ok(definition::fold(&revisions(&*self.reader()?)?))
    }
}

fn define(conn: &Connection, mut definition: Definition, by: &str) -> Result<Defined, DefineError> {
    if freeze::is_open(conn)? {
        return Err(DefineError::Frozen);
    }
    let mut revisions = revisions(conn)?;
    definition.version = definition::version(&revisions, &definition.kind).saturating_add(1);
    let problems = definition.problems(&definition::fold(&revisions));
    if !problems.is_empty() {
        return Err(DefineError::Problems(problems));
    }
    let id = EntryId::from_bytes(clock::random_id().map_err(StoreError::from)?);
    let mut entry = definition.entry(Stamp { id, now: clock::now() });
    by.clone_into(&mut entry.author);
    let now = entry.occurred_at;
    learn(conn, &entry, &entry.to_bytes(), now)?;
    revisions.push(entry);
    let is_it =
        |defined: &Defined| (&defined.definition.kind, &defined.definition.id) == (&definition.kind, &definition.id);
    let defined = definition::fold(&revisions).into_iter().find(is_it);
    Ok(defined.ok_or_else(|| StoreError::damaged("a definition is gone"))?)
}

/// Keeps a revision, unless it is known, and tells every agent.
pub(super) fn learn(conn: &Connection, entry: &Entry, bytes: &[u8], now: Timestamp) -> Result<(), StoreError> {
    if entry.kind != FORM {
        return Ok(());
    }
    let sql = "INSERT OR IGNORE INTO form (entry, bytes) VALUES (?1, ?2)";
    conn.prepare_cached(sql)?.execute(params![entry.id.as_bytes(), bytes])?;
    let mut statement = conn.prepare_cached("SELECT id FROM agent WHERE is_hub = 0 ORDER BY id")?;
    let agents = statement.query_map([], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
    let item = Item::of(entry, bytes.to_vec());
    agents.iter().try_for_each(|agent| journal::tell(conn, *agent, &item, now))
}

/// A new stream is to hold every definition: what its agent was told in another may be lost there.
pub(super) fn note_begun(conn: &Connection, agent: i64) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO down_pending (agent, key, entry, on_document)
               SELECT ?1, entry, bytes, 0 FROM form ORDER BY id";
    conn.prepare_cached(sql)?.execute([agent])?;
    Ok(())
}

fn revisions(conn: &Connection) -> Result<Vec<Entry>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT bytes FROM form ORDER BY id")?;
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    rows.map(|bytes| Entry::from_bytes(&bytes?).map_err(|error| StoreError::damaged(format!("a definition: {error}"))))
        .collect()
}
