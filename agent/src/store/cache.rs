//! The document cache: documents, lists, import identities and ledger sums, as the journal makes them up to a
//! watermark.
//!
//! Each flush writes everything above the watermark, and the new watermark, in one commit; so the cache is never
//! half true. It can be thrown away, but for documents with pruned entries: opening rebuilds the rest from the journal.

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::id::DocId;
use waystation_protocol::plant::{Plant, is_planted};

use super::error::StoreError;
use super::overlay::{Held, ImportKey, Overlay};
use super::rebuild::list_row;
use super::tables::{
    BALANCES, COUNTERS, DOCUMENTS, IMPORTED, LIST, META, document_row, list_key, parse_document, place,
};

/// The form of the cache tables. A cache of another form is rebuilt; a later form must read this one's documents, which
/// are the truth where entries are pruned.
const FORM: u32 = 3;
pub(super) const WATERMARK: &str = "cache";

#[derive(Serialize, Deserialize)]
struct Watermark {
    form: u32,
    through: Seq,
}

/// What a writer looks up, as of one moment.
pub(super) struct Snapshot {
    documents: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
    imported: ReadOnlyTable<&'static [u8; 24], &'static [u8; 16]>,
    balances: ReadOnlyTable<&'static [u8], i64>,
    counters: ReadOnlyTable<&'static str, u64>,
}

impl Snapshot {
    pub(super) fn open(database: &Database) -> Result<Snapshot, StoreError> {
        let read = database.begin_read()?;
        Ok(Snapshot {
            documents: read.open_table(DOCUMENTS)?,
            imported: read.open_table(IMPORTED)?,
            balances: read.open_table(BALANCES)?,
            counters: read.open_table(COUNTERS)?,
        })
    }

    /// A cached document.
    pub(super) fn held(&self, id: DocId) -> Result<Option<Held>, StoreError> {
        let Some(row) = self.documents.get(id.as_bytes())? else { return Ok(None) };
        let (document, seqs) = parse_document(id, row.value())?;
        let listed = Some((document.state.clone(), document.changed_at));
        Ok(Some(Held { document, seqs, listed }))
    }

    pub(super) fn is_imported(&self, key: &ImportKey) -> Result<bool, StoreError> {
        Ok(self.imported.get(key)?.is_some())
    }

    pub(super) fn balance(&self, key: &[u8]) -> Result<i64, StoreError> {
        Ok(self.balances.get(key)?.map_or(0, |sum| sum.value()))
    }

    pub(super) fn counter(&self, series: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.counters.get(series)?.map(|counter| counter.value()))
    }
}

/// Up to which seq the cache goes; none if there is none of this form.
pub(super) fn watermark(database: &Database) -> Result<Option<Seq>, StoreError> {
    let read = database.begin_read()?;
    let meta = read.open_table(META)?;
    let Some(bytes) = meta.get(WATERMARK)? else { return Ok(None) };
    let found: Option<Watermark> = codec::decode_own(bytes.value()).ok();
    Ok(found.filter(|found| found.form == FORM).map(|found| found.through))
}

/// Creates the tables of the cache where they are missing.
pub(super) fn create(write: &WriteTransaction) -> Result<(), StoreError> {
    write.open_table(DOCUMENTS)?;
    write.open_table(LIST)?;
    write.open_table(IMPORTED)?;
    write.open_table(BALANCES)?;
    Ok(())
}

/// Writes what changed, which goes through `through`, and the watermark.
pub(super) fn write(write: &WriteTransaction, overlay: &Overlay, through: Seq) -> Result<(), StoreError> {
    let mut changed: Vec<&Held> = overlay.documents.values().map(AsRef::as_ref).collect();
    changed.sort_unstable_by_key(|held| held.document.id);
    let mut documents = write.open_table(DOCUMENTS)?;
    for held in changed.iter().skip(usize::from(is_planted(Plant::CacheForgets))) {
        documents.insert(held.document.id.as_bytes(), document_row(&held.document, &held.seqs).as_slice())?;
    }
    write_list(write, &changed)?;
    let mut imported: Vec<_> = overlay.imported.iter().collect();
    imported.sort_unstable();
    let mut identities = write.open_table(IMPORTED)?;
    for (key, id) in imported {
        identities.insert(key, id.as_bytes())?;
    }
    let mut balances = write.open_table(BALANCES)?;
    for (key, gain) in &overlay.balances {
        let sum = balances.get(key.as_slice())?.map_or(0, |sum| sum.value());
        balances.insert(key.as_slice(), sum.saturating_add(*gain))?;
    }
    put_watermark(write, through)
}

fn write_list(write: &WriteTransaction, changed: &[&Held]) -> Result<(), StoreError> {
    let mut list = write.open_table(LIST)?;
    let mut rows = Vec::with_capacity(changed.len());
    for held in changed {
        let document = &held.document;
        if let Some((state, changed_at)) = &held.listed {
            list.remove(list_key(&document.kind, state, &place(*changed_at, document.id)).as_slice())?;
        }
        rows.push(list_row(document));
    }
    rows.sort_unstable();
    for (key, text) in &rows {
        list.insert(key.as_slice(), text.as_bytes())?;
    }
    Ok(())
}

pub(super) fn put_watermark(write: &WriteTransaction, through: Seq) -> Result<(), StoreError> {
    let bytes = codec::encode(&Watermark { form: FORM, through });
    write.open_table(META)?.insert(WATERMARK, bytes.as_slice())?;
    Ok(())
}
