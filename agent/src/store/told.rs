//! What the hub told besides documents' entries: commands, form definitions, and what was answered.
//!
//! An answer is an ordinary entry of the journal here. It is written in one commit with the row that says so, and that row
//! is looked at before anything is answered: a command is carried out at most once, whatever arrives twice.

use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use waystation_protocol::codec;
use waystation_protocol::definition::{self, Defined};
use waystation_protocol::down::{self, Command};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::EntryId;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::error::StoreError;
use super::tables::TOLD;

/// What the hub told, with what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// As it came.
    pub(super) entry: Entry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Answered>,
}

/// An answer given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Its entry in the journal here.
    pub entry: EntryId,
    /// Who answered.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

/// A command that waits to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its entry.
    pub id: EntryId,
    /// What is to be done.
    pub command: Command,
}

/// Whether an entry is kept here.
pub(super) fn is_told(entry: &Entry) -> bool {
    [down::COMMAND, down::FORM].contains(&entry.kind.as_str())
}

pub(super) fn parse(id: EntryId, row: &[u8]) -> Result<Told, StoreError> {
    codec::decode_own(row).map_err(|error| StoreError::Damaged(format!("what the hub told under {id}: {error}")))
}

pub(super) fn put(write: &WriteTransaction, told: &Told) -> Result<(), StoreError> {
    write.open_table(TOLD)?.insert(told.entry.id.as_bytes(), codec::encode(told).as_slice())?;
    Ok(())
}

fn all(database: &Database) -> Result<Vec<Told>, StoreError> {
    let rows = database.begin_read()?.open_table(TOLD)?;
    let mut all = Vec::new();
    for row in rows.iter()? {
        let (id, row) = row?;
        all.push(parse(EntryId::from_bytes(*id.value()), row.value())?);
    }
    all.sort_by_key(|told: &Told| (told.entry.occurred_at, told.entry.id));
    Ok(all)
}

/// The commands without a result, the earliest first.
pub(super) fn commands(database: &Database) -> Result<Vec<Due>, StoreError> {
    let due = all(database)?.into_iter().filter(|told| told.answer.is_none() || is_planted(Plant::CommandAgain));
    Ok(due.filter_map(|told| Some(Due { id: told.entry.id, command: Command::read(&told.entry)? })).collect())
}

/// The fields that the hub has defined, as they stand.
pub(super) fn definitions(database: &Database) -> Result<Vec<Defined>, StoreError> {
    Ok(definition::fold(all(database)?.iter().map(|told| &told.entry)))
}
