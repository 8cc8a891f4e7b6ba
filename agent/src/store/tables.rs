//! The tables of the store's file, and how their keys and rows are made of bytes.
//!
//! `journal`, `kept_marks`, `meta`, `stream`, `counter` and `draft` are the truth. The rest is a cache that can be rebuilt
//! from the journal, except that the rows of documents with pruned entries are the truth for these: `cache` in `meta`
//! says which form it has and up to which seq it goes.

use std::sync::Arc;

use redb::TableDefinition;

use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::id::DocId;
use waystation_protocol::limits;
use waystation_protocol::time::Timestamp;

use super::error::StoreError;
use super::held::{Dossier, Held};

/// seq → [`Row`].
pub(super) const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
/// seq → [`kept_row`]: marks whose hashes outlive their entries.
pub(super) const KEPT: TableDefinition<'_, u64, &[u8; KEPT_BYTES]> = TableDefinition::new("kept_marks");
/// Identity and marks, by name.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Stream → CBOR of its parent, if it is a fork.
pub(super) const STREAMS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("stream");
/// Series → the first counter that is not leased yet.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counter");
/// Draft → [`draft_row`].
pub(super) const DRAFTS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("draft");
/// Downward stream ‖ seq (u64) → [`Row`].
pub(super) const DOWN: TableDefinition<'_, &[u8; 24], &[u8]> = TableDefinition::new("down");
/// Downward stream → CBOR of how far it goes here.
pub(super) const DOWN_STREAMS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("down_stream");
/// Entry → CBOR of a command or a form definition, and what was answered.
pub(super) const TOLD: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("told");
/// Cache: document → how many of its entries are set aside and may still change.
pub(super) const ASIDE: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("aside");
/// Cache: document → [`document_row`].
pub(super) const DOCUMENTS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("documents");
/// Where builds that prune nothing have their cached documents; they empty it when they meet a cache of another form.
pub(super) const OLD_DOCUMENTS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("document");
/// Cache: [`list_key`] → site, NUL, searched text.
pub(super) const LIST: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("list");
/// Cache: identity of an imported row → its document.
pub(super) const IMPORTED: TableDefinition<'_, &[u8; 24], &[u8; 16]> = TableDefinition::new("imported_rows");
/// Cache: vehicle, when and document → kilometres (see `readings`).
pub(super) const READINGS: TableDefinition<'_, &[u8], i64> = TableDefinition::new("reading");
/// Cache: measure, site and keys → running sum of the measure's first value.
pub(super) const BALANCES: TableDefinition<'_, &[u8], i64> = TableDefinition::new("balance");

/// A journal row: chain hash ‖ bytes of all entries up to here (u64) ‖ the entry as captured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) hash: Hash,
    /// Bytes of this and all earlier entries: the backlog in bytes is a difference of two.
    pub(super) total: u64,
    pub(super) entry: &'a [u8],
}

const ROW_HEAD: usize = 40;

impl<'a> Row<'a> {
    pub(super) fn parse(seq: Seq, bytes: &'a [u8]) -> Result<Row<'a>, StoreError> {
        let torn = || StoreError::Damaged(format!("journal row {seq} is too short"));
        let (head, entry) = bytes.split_at_checked(ROW_HEAD).ok_or_else(torn)?;
        let (hash, total) = head.split_at(32);
        let hash = Hash::from_slice(hash).ok_or_else(torn)?;
        let total = u64::from_be_bytes(total.try_into().map_err(|_| torn())?);
        Ok(Row { hash, total, entry })
    }

    /// Whether a row at `seq` can say so: a total has room for this entry, and so many entries for the total.
    pub(super) fn is_plausible(&self, seq: Seq) -> bool {
        let most = seq.0.saturating_mul(limits::ENTRY_BYTES as u64);
        !self.entry.is_empty() && (self.entry.len() as u64..=most).contains(&self.total)
    }

    pub(super) fn length(&self) -> usize {
        ROW_HEAD + self.entry.len()
    }

    /// Writes the row into `out`, which has its length.
    pub(super) fn put(&self, out: &mut [u8]) {
        out[..32].copy_from_slice(self.hash.as_bytes());
        out[32..ROW_HEAD].copy_from_slice(&self.total.to_be_bytes());
        out[ROW_HEAD..].copy_from_slice(self.entry);
    }
}

/// The mark after `before`, if the row's bytes are what the chain says.
pub(super) fn follow(before: Mark, row: &Row<'_>) -> Result<Mark, StoreError> {
    let mark = before.extend(row.entry);
    if mark.hash == row.hash {
        Ok(mark)
    } else {
        Err(StoreError::Damaged(format!("journal entry {} does not match its hash", mark.seq)))
    }
}

/// A kept mark: its hash ‖ bytes of all entries up to it (u64) ‖ check.
pub(super) const KEPT_BYTES: usize = ROW_HEAD + CHECK;

/// Bytes of a check: rows that no chain vouches for carry one, so that salvaging never takes damage for data.
const CHECK: usize = 8;

/// The check of a row: the start of BLAKE3 over its table's name, its key and its other bytes.
fn check(table: &str, key: &[u8], bytes: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(table.as_bytes()).update(&[0]).update(key).update(bytes);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
    check
}

/// The row that keeps a mark, with the bytes of all entries up to it.
pub(super) fn kept_row(mark: Mark, total: u64) -> [u8; KEPT_BYTES] {
    let mut row = [0; KEPT_BYTES];
    row[..32].copy_from_slice(mark.hash.as_bytes());
    row[32..ROW_HEAD].copy_from_slice(&total.to_be_bytes());
    let found = check("kept_marks", &mark.seq.0.to_be_bytes(), &row[..ROW_HEAD]);
    row[ROW_HEAD..].copy_from_slice(&found);
    row
}

/// The hash and the bytes of a kept mark.
pub(super) fn parse_kept(seq: Seq, row: &[u8; KEPT_BYTES]) -> Result<(Hash, u64), StoreError> {
    let damaged = || StoreError::Damaged(format!("kept mark {seq}"));
    let (head, found) = row.split_at(ROW_HEAD);
    if check("kept_marks", &seq.0.to_be_bytes(), head) != found {
        return Err(damaged());
    }
    let (hash, total) = head.split_at(32);
    let total = u64::from_be_bytes(total.try_into().map_err(|_| damaged())?);
    Ok((Hash::from_slice(hash).ok_or_else(damaged)?, total))
}

/// The first byte of a draft's row that has a check; rows of earlier builds begin with a CBOR map.
const CHECKED_DRAFT: u8 = 1;

/// A draft: 1 ‖ check ‖ CBOR.
pub(super) fn draft_row(id: &[u8; 16], cbor: &[u8]) -> Vec<u8> {
    let mut row = vec![CHECKED_DRAFT];
    row.extend_from_slice(&check("draft", id, cbor));
    row.extend_from_slice(cbor);
    row
}

/// Whether a draft's row has a check.
pub(super) fn is_checked_draft(row: &[u8]) -> bool {
    row.first() == Some(&CHECKED_DRAFT)
}

/// The CBOR of a draft's row; none where it is damaged.
pub(super) fn parse_draft<'a>(id: &[u8; 16], row: &'a [u8]) -> Option<&'a [u8]> {
    match row.split_first() {
        Some((&CHECKED_DRAFT, row)) => {
            let (found, cbor) = row.split_at_checked(CHECK)?;
            (check("draft", id, cbor) == found).then_some(cbor)
        }
        Some(_) => Some(row),
        None => None,
    }
}

/// In a cached document's count of seqs: a dossier follows them.
const HAS_DOSSIER: u32 = 1 << 31;

/// A cached document: check ‖ how many entries (u32) ‖ their seqs (u64 each) ‖ the document as CBOR. Where the count's
/// highest bit is set, the length of its dossier (u32) and the dossier as CBOR stand before the document, which may be
/// missing.
pub(super) fn document_row(held: &Held) -> Vec<u8> {
    let cbor = held.document.as_ref().map_or_else(Vec::new, codec::encode);
    let dossier = held.dossier.as_ref().map(|dossier| codec::encode(&**dossier));
    let mut row =
        Vec::with_capacity(CHECK + 8 + 8 * held.seqs.len() + cbor.len() + dossier.as_ref().map_or(0, Vec::len));
    row.extend_from_slice(&[0; CHECK]);
    let count = u32::try_from(held.seqs.len()).unwrap_or(HAS_DOSSIER - 1);
    row.extend_from_slice(&(count | if dossier.is_some() { HAS_DOSSIER } else { 0 }).to_be_bytes());
    for seq in &held.seqs {
        row.extend_from_slice(&seq.0.to_be_bytes());
    }
    if let Some(dossier) = dossier {
        row.extend_from_slice(&u32::try_from(dossier.len()).unwrap_or(u32::MAX).to_be_bytes());
        row.extend_from_slice(&dossier);
    }
    row.extend_from_slice(&cbor);
    let found = check("document", held.id.as_bytes(), &row[CHECK..]);
    row[..CHECK].copy_from_slice(&found);
    row
}

/// Takes a cached document apart.
pub(super) fn parse_document(id: DocId, row: &[u8]) -> Result<Held, StoreError> {
    let damaged = || StoreError::Damaged(format!("cached document {id}"));
    let (found, row) = row.split_at_checked(CHECK).ok_or_else(damaged)?;
    if check("document", id.as_bytes(), row) != found {
        return Err(damaged());
    }
    let (count, rest) = row.split_first_chunk::<4>().ok_or_else(damaged)?;
    let count = u32::from_be_bytes(*count);
    let bytes = usize::try_from(count & !HAS_DOSSIER).ok().and_then(|count| count.checked_mul(8));
    let (seqs, rest) = bytes.and_then(|bytes| rest.split_at_checked(bytes)).ok_or_else(damaged)?;
    let seqs = seqs.chunks_exact(8).filter_map(|seq| Some(Seq(u64::from_be_bytes(seq.try_into().ok()?)))).collect();
    let (dossier, cbor) = if count & HAS_DOSSIER == 0 {
        (None, rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged())?;
        let (dossier, cbor) = rest.split_at_checked(length).ok_or_else(damaged)?;
        (Some(Arc::new(codec::decode_own::<Dossier>(dossier).map_err(|_| damaged())?)), cbor)
    };
    let document: Option<Document> = match (cbor, &dossier) {
        ([], Some(_)) => None,
        (cbor, _) => Some(codec::decode_own(cbor).map_err(|_| damaged())?),
    };
    if document.as_ref().is_some_and(|document| document.id != id) {
        return Err(damaged());
    }
    let listed = document.as_ref().map(list_key_of);
    Ok(Held { id, document, seqs, listed, dossier })
}

/// The key under which the list shows a document.
pub(super) fn list_key_of(document: &Document) -> Vec<u8> {
    list_key(&document.kind, &document.state, &place(document.changed_at, document.id))
}

/// Where a document stands in a list by change: later is greater.
pub(super) type Place = [u8; 24];

/// The place of a document that changed at `changed_at`.
pub(super) fn place(changed_at: Timestamp, id: DocId) -> Place {
    let mut place = [0; 24];
    place[..8].copy_from_slice(&(changed_at.0 ^ i64::MIN).to_be_bytes());
    place[8..].copy_from_slice(id.as_bytes());
    place
}

/// The start of every list key of a kind and state.
pub(super) fn list_prefix(kind: &str, state: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(kind.len() + state.len() + 26);
    key.extend_from_slice(kind.as_bytes());
    key.push(0);
    key.extend_from_slice(state.as_bytes());
    key.push(0);
    key
}

/// kind, NUL, state, NUL, place.
pub(super) fn list_key(kind: &str, state: &str, place: &Place) -> Vec<u8> {
    let mut key = list_prefix(kind, state);
    key.extend_from_slice(place);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_and_damage_is_noticed() {
        let mark = Mark::ZERO.extend(b"entry");
        let row = Row { hash: mark.hash, total: 5, entry: b"entry" };
        let mut bytes = vec![0; row.length()];
        row.put(&mut bytes);
        let read = Row::parse(Seq(1), &bytes).unwrap();
        assert_eq!((read.total, follow(Mark::ZERO, &read).unwrap()), (5, mark));
        for at in (0..32).chain(ROW_HEAD..bytes.len()) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(follow(Mark::ZERO, &Row::parse(Seq(1), &bad).unwrap()).is_err(), "byte {at}");
        }
        assert!(Row::parse(Seq(1), &bytes[..39]).is_err());
    }

    #[test]
    fn places_sort_by_time_then_id() {
        let id = |byte| DocId::from_bytes([byte; 16]);
        let places = [
            place(Timestamp(i64::MIN), id(9)),
            place(Timestamp(-1), id(1)),
            place(Timestamp(0), id(1)),
            place(Timestamp(0), id(2)),
            place(Timestamp(i64::MAX), id(0)),
        ];
        assert!(places.is_sorted());
    }
}
