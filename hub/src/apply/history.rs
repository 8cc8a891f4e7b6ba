//! A document's history: which entries made it, as compact records of fixed length.
//!
//! Record: entry id (16 bytes), stream row (4), seq (8), start of the BLAKE3 hash of the entry's bytes (8); numbers are
//! little-endian. The bytes themselves stay in the raw journals.

use waystation_protocol::chain::Seq;
use waystation_protocol::id::EntryId;

const RECORD: usize = 36;

/// The start of the BLAKE3 hash of an entry's bytes: tells a repetition from another entry under the same id.
pub(crate) type ShortHash = [u8; 8];

/// One applied entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) entry: EntryId,
    pub(crate) stream: i64,
    pub(crate) seq: Seq,
    pub(crate) hash: ShortHash,
}

/// The start of the hash of an entry's bytes.
pub(crate) fn short_hash(bytes: &[u8]) -> ShortHash {
    short(blake3::hash(bytes).as_bytes())
}

/// The start of a hash.
pub(crate) fn short(hash: &[u8; 32]) -> ShortHash {
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    short
}

/// Adds a record.
pub(crate) fn push(history: &mut Vec<u8>, record: Record) {
    let stream = u32::try_from(record.stream).expect("streams are counted from 1 and far fewer than 2^32");
    history.extend_from_slice(record.entry.as_bytes());
    history.extend_from_slice(&stream.to_le_bytes());
    history.extend_from_slice(&record.seq.0.to_le_bytes());
    history.extend_from_slice(&record.hash);
}

/// Every record, in the order of application.
pub(crate) fn read(history: &[u8]) -> Vec<Record> {
    history.chunks_exact(RECORD).filter_map(record).collect()
}

/// The hash under which an entry id stands here.
pub(crate) fn find(history: &[u8], entry: EntryId) -> Option<ShortHash> {
    let mut records = history.chunks_exact(RECORD);
    let found = records.find(|bytes| bytes[..16] == entry.as_bytes()[..])?;
    record(found).map(|record| record.hash)
}

fn record(bytes: &[u8]) -> Option<Record> {
    Some(Record {
        entry: EntryId::from_slice(&bytes[..16])?,
        stream: i64::from(u32::from_le_bytes(bytes[16..20].try_into().ok()?)),
        seq: Seq(u64::from_le_bytes(bytes[20..28].try_into().ok()?)),
        hash: bytes[28..36].try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_are_found_by_entry() {
        let records = [1u8, 2].map(|n| Record {
            entry: EntryId::from_bytes([n; 16]),
            stream: i64::from(n) << 20,
            seq: Seq(u64::from(n) << 40),
            hash: short_hash(&[n]),
        });
        let mut history = Vec::new();
        records.iter().for_each(|record| push(&mut history, *record));
        assert_eq!(history.len(), 2 * RECORD);
        assert_eq!(read(&history), records);
        assert_eq!(find(&history, records[1].entry), Some(short_hash(&[2])));
        assert_eq!(find(&history, EntryId::from_bytes([3; 16])), None);
    }
}
