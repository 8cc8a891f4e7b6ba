//! What changed since the document cache was last written: documents, import identities, ledger sums.
//!
//! It is always the fold of both journals' entries after the cache's watermark, so it can be lost at any time and is
//! rebuilt at opening. Nothing here reads or writes the disk.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::entry::Entry;
use waystation_protocol::fact;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::{self, header};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;
use waystation_protocol::value::Value;

use super::held::{Changed, Held};
use super::readings::{self, Readings};

/// The identity of an imported row: the end of its key as text, then a hash of all of it. Keys that follow each other in
/// a file mostly differ at their end, so they lie together on the disk.
pub(super) type ImportKey = [u8; 24];

/// Bytes of the text in an [`ImportKey`].
const KEY_TEXT: usize = 8;

/// Changes above the watermark.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) documents: HashMap<DocId, Arc<Held>>,
    /// Imported rows and their documents; none where the row was given up and may come again.
    pub(super) imported: HashMap<ImportKey, Option<DocId>>,
    /// What ledger sums gained, by [`balance_key`].
    pub(super) balances: HashMap<Vec<u8>, i64>,
    /// What odometers showed.
    pub(super) readings: Readings,
    /// How many entries captured here made it …
    pub(super) entries: usize,
    /// … and how many of the downward journal.
    pub(super) heard: usize,
}

impl Overlay {
    /// Takes in what one entry made of a document. `before` is the document as it was.
    pub(super) fn put(&mut self, before: Option<&Held>, changed: Changed, zone: &TimeZone) -> Arc<Held> {
        let Changed { held, imported } = changed;
        if let Some((key, counts)) = imported {
            self.imported.insert(key, counts.then_some(held.id));
        }
        let was = before.and_then(|held| held.document.as_ref());
        add_balances(&mut self.balances, was, held.document.as_ref(), zone);
        readings::note(&mut self.readings, was, held.document.as_ref());
        if is_planted(Plant::DownCountedTwice) && held.is_older_than(Seq(0)) {
            add_balances(&mut self.balances, was, held.document.as_ref(), zone);
        }
        let held = Arc::new(held);
        self.documents.insert(held.id, Arc::clone(&held));
        held
    }

    /// How many entries made it, of both journals.
    pub(super) fn size(&self) -> usize {
        self.entries + self.heard
    }

    /// Takes in what came later.
    pub(super) fn merge(&mut self, later: Overlay) {
        self.documents.extend(later.documents);
        self.imported.extend(later.imported);
        self.readings.extend(later.readings);
        for (key, gain) in later.balances {
            *self.balances.entry(key).or_default() += gain;
        }
        self.entries += later.entries;
        self.heard += later.heard;
    }
}

/// The identity of an imported row: its kind, its key as stored, and which occurrence of it.
pub(super) fn import_key(kind: &str, source_key: &str, occurrence: i64) -> ImportKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes()).update(&[0]).update(source_key.as_bytes()).update(&[0]);
    hasher.update(&occurrence.to_be_bytes());
    let mut key = [0; 24];
    let text = &source_key.as_bytes()[source_key.len().saturating_sub(KEY_TEXT)..];
    key[KEY_TEXT - text.len()..KEY_TEXT].copy_from_slice(text);
    key[KEY_TEXT..].copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

pub(super) fn import_key_of(entry: &Entry) -> Option<ImportKey> {
    if entry.act != header::IMPORTED {
        return None;
    }
    let source_key = entry.set.get(header::SOURCE_KEY.name()).and_then(Value::as_text)?;
    let occurrence = entry.set.get(header::SOURCE_OCCURRENCE.name()).and_then(Value::as_int).unwrap_or(1);
    Some(import_key(&entry.kind, source_key, occurrence))
}

/// The identity of the imported row that opened a document. What was captured here has a number instead.
pub(super) fn import_key_of_document(document: &Document) -> Option<ImportKey> {
    if document.number().is_some() {
        return None;
    }
    let source_key = document.fields.get(header::SOURCE_KEY.name()).and_then(Value::as_text)?;
    let occurrence = document.fields.get(header::SOURCE_OCCURRENCE.name()).and_then(Value::as_int).unwrap_or(1);
    Some(import_key(&document.kind, source_key, occurrence))
}

/// Adds to `sums`, by [`balance_key`], what ledgers gain where `after` takes the place of `before`.
pub(super) fn add_balances(
    sums: &mut HashMap<Vec<u8>, i64>,
    before: Option<&Document>,
    after: Option<&Document>,
    zone: &TimeZone,
) {
    let kind = after.or(before).and_then(|document| kind::find(&document.kind));
    let Some(site) = after.or(before).map(|document| &document.site) else { return };
    let has_ledger = kind.is_some_and(|kind| kind.measures.iter().any(|m| m.is_ledger));
    if !has_ledger {
        return;
    }
    for fact in fact::difference(before, after, zone) {
        if let (true, Some(value)) = (fact.measure.is_ledger, fact.values.first()) {
            let keys: Vec<&str> = fact.keys.iter().map(String::as_str).collect();
            *sums.entry(balance_key(fact.measure.name, site, &keys)).or_default() += value;
        }
    }
}

/// measure, site and keys with NUL between them. What other sites moved is in sums of their own.
pub(super) fn balance_key(measure: &str, site: &SiteId, keys: &[&str]) -> Vec<u8> {
    let mut key = measure.as_bytes().to_vec();
    for part in std::iter::once(&site.as_str()).chain(keys) {
        key.push(0);
        key.extend_from_slice(part.as_bytes());
    }
    key
}
