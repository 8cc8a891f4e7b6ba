//! Rebuilding the cache from what it is a cache of: the two journals, and the documents whose entries were pruned.
//!
//! A row that holds an entry which is not here any more is the truth for its document and stays; all other rows go. What
//! the kept documents contribute to lists, import identities and sums is derived from them; then opening folds the journals
//! above their pruned marks, and passes over entries that a kept row already holds.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableError, WriteTransaction};

use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::id::DocId;

use super::cache;
use super::down::DownState;
use super::error::StoreError;
use super::list::searched_text;
use super::overlay::{add_balances, import_key_of_document};
use super::readings::{self, Readings};
use super::tables::{
    ASIDE, BALANCES, DOCUMENTS, IMPORTED, LIST, OLD_DOCUMENTS, READINGS, document_row, list_key_of, parse_document,
};

type Documents = ReadOnlyTable<&'static [u8; 16], &'static [u8]>;

/// Empties the cache down to what the documents with entries up to `pruned`, or pruned ones of the downward journal,
/// say; the journals are to be folded from there.
pub(super) fn rebuild(database: &Database, pruned: Seq, down: &DownState, zone: &TimeZone) -> Result<(), StoreError> {
    let before = documents(&database.begin_read()?)?;
    let write = database.begin_write()?;
    write.delete_table(OLD_DOCUMENTS)?;
    write.delete_table(DOCUMENTS)?;
    write.delete_table(LIST)?;
    write.delete_table(IMPORTED)?;
    write.delete_table(BALANCES)?;
    write.delete_table(READINGS)?;
    write.delete_table(ASIDE)?;
    cache::create(&write)?;
    if let Some(before) = before {
        keep(&write, &before, pruned, down, zone)?;
    }
    cache::put_watermark(&write, pruned, None)?;
    Ok(write.commit()?)
}

fn documents(read: &ReadTransaction) -> Result<Option<Documents>, StoreError> {
    match read.open_table(DOCUMENTS) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        documents => Ok(Some(documents?)),
    }
}

fn keep(
    write: &WriteTransaction,
    before: &Documents,
    pruned: Seq,
    down: &DownState,
    zone: &TimeZone,
) -> Result<(), StoreError> {
    let mut documents = write.open_table(DOCUMENTS)?;
    let mut list = write.open_table(LIST)?;
    let mut imported = write.open_table(IMPORTED)?;
    let mut aside = write.open_table(ASIDE)?;
    let mut sums: HashMap<Vec<u8>, i64> = HashMap::new();
    let mut read = Readings::new();
    let (mut kept, mut dropped) = (0_u64, 0_u64);
    for row in before.iter()? {
        let (id, row) = row?;
        let id = DocId::from_bytes(*id.value());
        let found = match parse_document(id, row.value()) {
            Ok(held) => held.for_rebuild(pruned, down),
            Err(error) => {
                tracing::error!(%error, "the row of a document cannot be read; if its entries are pruned, only the hub has it");
                None
            }
        };
        let Some(held) = found else {
            dropped += 1;
            continue;
        };
        documents.insert(id.as_bytes(), document_row(&held).as_slice())?;
        if held.open_aside() > 0 {
            aside.insert(id.as_bytes(), held.open_aside() as u64)?;
        }
        kept += 1;
        let Some(document) = &held.document else { continue };
        let (key, text) = list_row(document);
        list.insert(key.as_slice(), text.as_bytes())?;
        if let Some(key) = import_key_of_document(document) {
            imported.insert(&key, id.as_bytes())?;
        }
        add_balances(&mut sums, None, Some(document), zone);
        readings::note(&mut read, None, Some(document));
    }
    cache::put_readings(write, &read)?;
    let mut balances = write.open_table(BALANCES)?;
    for (key, sum) in &sums {
        balances.insert(key.as_slice(), *sum)?;
    }
    tracing::info!(kept, dropped, pruned = pruned.0, "documents with pruned entries are kept");
    Ok(())
}

/// Where a document stands in the list, and what is searched there.
pub(super) fn list_row(document: &Document) -> (Vec<u8>, String) {
    (list_key_of(document), searched_text(document))
}
