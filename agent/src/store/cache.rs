//! The document cache: documents, lists, import identities and ledger sums, as the journals make them up to a
//! watermark.
//!
//! Each flush writes everything above the watermark, and the new watermark, in one commit; so the cache is never
//! half true. It can be thrown away, but for documents with pruned entries: opening rebuilds the rest from the journal.

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, StreamId};
use waystation_protocol::plant::{Plant, is_planted};

use super::down::{self, DownState, DownStream};
use super::error::StoreError;
use super::held::Held;
use super::journal;
use super::overlay::{ImportKey, Overlay};
use super::readings::{self, Readings};
use super::rebuild::list_row;
use super::settle::Origin;
use super::tables::{
    ASIDE, BALANCES, COUNTERS, DOCUMENTS, IMPORTED, LIST, META, READINGS, TOLD, document_row, parse_document,
};
use super::told::{self, Told};

/// The form of the cache tables. A cache of another form is rebuilt; a later form must read this one's documents, which
/// are the truth where entries are pruned.
const FORM: u32 = 5;
pub(super) const WATERMARK: &str = "cache";

#[derive(Serialize, Deserialize)]
struct Watermark {
    form: u32,
    through: Seq,
    /// How far it goes in the present downward journal; none where nothing that any of them said is in it.
    #[serde(default)]
    down: Option<(StreamId, Seq)>,
}

/// What a writer looks up, as of one moment.
pub(super) struct Snapshot {
    read: ReadTransaction,
    down: Option<DownStream>,
    told: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
    documents: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
    imported: ReadOnlyTable<&'static [u8; 24], &'static [u8; 16]>,
    balances: ReadOnlyTable<&'static [u8], i64>,
    readings: ReadOnlyTable<&'static [u8], i64>,
    counters: ReadOnlyTable<&'static str, u64>,
}

impl Snapshot {
    pub(super) fn open(database: &Database) -> Result<Snapshot, StoreError> {
        let read = database.begin_read()?;
        read.open_table(ASIDE)?;
        read.open_table(LIST)?;
        Ok(Snapshot {
            down: DownState::load(database)?.current,
            told: read.open_table(TOLD)?,
            documents: read.open_table(DOCUMENTS)?,
            imported: read.open_table(IMPORTED)?,
            balances: read.open_table(BALANCES)?,
            readings: read.open_table(READINGS)?,
            counters: read.open_table(COUNTERS)?,
            read,
        })
    }

    /// A cached document.
    pub(super) fn held(&self, id: DocId) -> Result<Option<Held>, StoreError> {
        let Some(row) = self.documents.get(id.as_bytes())? else { return Ok(None) };
        parse_document(id, row.value()).map(Some)
    }

    /// An entry by its place; none where it is deleted.
    pub(super) fn entry(&self, origin: Origin) -> Result<Option<Entry>, StoreError> {
        match (origin, &self.down) {
            (Origin::Own(seq), _) => journal::entry_in(&self.read, seq),
            (Origin::Down(seq), Some(stream)) => down::entry_in(&self.read, stream, seq),
            (Origin::Down(_), None) => Ok(None),
        }
    }

    /// What the hub told under this id, and what was answered.
    pub(super) fn told(&self, id: EntryId) -> Result<Option<Told>, StoreError> {
        self.told.get(id.as_bytes())?.map(|row| told::parse(id, row.value())).transpose()
    }

    pub(super) fn is_imported(&self, key: &ImportKey) -> Result<bool, StoreError> {
        Ok(self.imported.get(key)?.is_some())
    }

    pub(super) fn balance(&self, key: &[u8]) -> Result<i64, StoreError> {
        Ok(self.balances.get(key)?.map_or(0, |sum| sum.value()))
    }

    /// What a vehicle's odometer showed.
    pub(super) fn readings(&self, vin: &str) -> Result<Readings, StoreError> {
        let first = readings::beginning(vin);
        let rows = self.readings.range(first.as_slice()..)?;
        let of_vehicle = rows.take_while(|row| row.as_ref().is_ok_and(|(key, _)| key.value().starts_with(&first)));
        of_vehicle
            .map(|row| row.map(|(key, km)| (key.value().to_vec(), Some(km.value()))))
            .collect::<Result<_, _>>()
            .map_err(StoreError::from)
    }

    pub(super) fn counter(&self, series: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.counters.get(series)?.map(|counter| counter.value()))
    }
}

/// Up to which seq the cache goes; none if there is none of this form.
pub(super) fn watermark(database: &Database) -> Result<Option<Seq>, StoreError> {
    Ok(watermarks(database)?.map(|(through, _)| through))
}

/// How far the cache goes in the journal here, and in the present downward journal.
pub(super) type Watermarks = (Seq, Option<(StreamId, Seq)>);

/// Up to where the cache goes in both journals; none if there is none of this form.
pub(super) fn watermarks(database: &Database) -> Result<Option<Watermarks>, StoreError> {
    let read = database.begin_read()?;
    let meta = read.open_table(META)?;
    let Some(bytes) = meta.get(WATERMARK)? else { return Ok(None) };
    let found: Option<Watermark> = codec::decode_own(bytes.value()).ok();
    Ok(found.filter(|found| found.form == FORM).map(|found| (found.through, found.down)))
}

/// Says that the cache is outdated: the next opening rebuilds it.
pub(super) fn disown(write: &WriteTransaction) -> Result<(), StoreError> {
    write.open_table(META)?.remove(WATERMARK)?;
    Ok(())
}

/// Creates the tables of the cache where they are missing.
pub(super) fn create(write: &WriteTransaction) -> Result<(), StoreError> {
    write.open_table(DOCUMENTS)?;
    write.open_table(LIST)?;
    write.open_table(IMPORTED)?;
    write.open_table(BALANCES)?;
    write.open_table(READINGS)?;
    write.open_table(ASIDE)?;
    Ok(())
}

/// Writes what changed, which goes through `through` and `down`, and the watermark.
pub(super) fn write(
    write: &WriteTransaction,
    overlay: &Overlay,
    through: Seq,
    down: Option<(StreamId, Seq)>,
) -> Result<(), StoreError> {
    let mut changed: Vec<&Held> = overlay.documents.values().map(AsRef::as_ref).collect();
    changed.sort_unstable_by_key(|held| held.id);
    let mut documents = write.open_table(DOCUMENTS)?;
    for held in changed.iter().skip(usize::from(is_planted(Plant::CacheForgets))) {
        documents.insert(held.id.as_bytes(), document_row(held).as_slice())?;
    }
    write_list(write, &changed)?;
    let mut imported: Vec<_> = overlay.imported.iter().collect();
    imported.sort_unstable();
    let mut identities = write.open_table(IMPORTED)?;
    for (key, id) in imported {
        match id {
            Some(id) => identities.insert(key, id.as_bytes())?,
            None => identities.remove(key)?,
        };
    }
    let mut balances = write.open_table(BALANCES)?;
    for (key, gain) in &overlay.balances {
        let sum = balances.get(key.as_slice())?.map_or(0, |sum| sum.value());
        balances.insert(key.as_slice(), sum.saturating_add(*gain))?;
    }
    put_readings(write, &overlay.readings)?;
    write_aside(write, &changed)?;
    put_watermark(write, through, down)
}

/// Writes documents that are as they were but for what is kept beside them.
pub(super) fn put_documents(write: &WriteTransaction, changed: &[Held]) -> Result<(), StoreError> {
    let mut documents = write.open_table(DOCUMENTS)?;
    for held in changed {
        documents.insert(held.id.as_bytes(), document_row(held).as_slice())?;
    }
    Ok(())
}

/// Writes what odometers showed.
pub(super) fn put_readings(write: &WriteTransaction, readings: &Readings) -> Result<(), StoreError> {
    let mut table = write.open_table(READINGS)?;
    for (key, km) in readings {
        match km {
            Some(km) => table.insert(key.as_slice(), *km)?,
            None => table.remove(key.as_slice())?,
        };
    }
    Ok(())
}

fn write_aside(write: &WriteTransaction, changed: &[&Held]) -> Result<(), StoreError> {
    let mut aside = write.open_table(ASIDE)?;
    for held in changed.iter().filter(|held| held.dossier.is_some()) {
        match held.open_aside() {
            0 => aside.remove(held.id.as_bytes())?,
            open => aside.insert(held.id.as_bytes(), open as u64)?,
        };
    }
    Ok(())
}

fn write_list(write: &WriteTransaction, changed: &[&Held]) -> Result<(), StoreError> {
    let mut list = write.open_table(LIST)?;
    let mut rows = Vec::with_capacity(changed.len());
    for held in changed {
        if let Some(key) = &held.listed {
            list.remove(key.as_slice())?;
        }
        rows.extend(held.document.as_ref().map(list_row));
    }
    rows.sort_unstable();
    for (key, text) in &rows {
        list.insert(key.as_slice(), text.as_bytes())?;
    }
    Ok(())
}

pub(super) fn put_watermark(
    write: &WriteTransaction,
    through: Seq,
    down: Option<(StreamId, Seq)>,
) -> Result<(), StoreError> {
    let bytes = codec::encode(&Watermark { form: FORM, through, down });
    write.open_table(META)?.insert(WATERMARK, bytes.as_slice())?;
    Ok(())
}
