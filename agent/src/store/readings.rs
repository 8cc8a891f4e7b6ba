//! Readings of odometers by vehicle, in the order of time: what the next one is compared with.

use std::collections::BTreeMap;

use waystation_protocol::document::Document;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::vehicle::{self, Reading};
use waystation_protocol::time::Timestamp;

/// Kilometres by [`key`]; none where a document says so no more.
pub(super) type Readings = BTreeMap<Vec<u8>, Option<i64>>;

/// VIN, NUL, when it was read, and the document that says so: keys of one vehicle sort by time.
fn key(vin: &str, at: Timestamp, document: DocId) -> Vec<u8> {
    let mut key = beginning(vin);
    key.extend_from_slice(&order(at));
    key.extend_from_slice(document.as_bytes());
    key
}

/// What the keys of a vehicle begin with.
pub(super) fn beginning(vin: &str) -> Vec<u8> {
    [vin.as_bytes(), &[0]].concat()
}

/// Bytes that sort as times do, those before 1970 included.
fn order(at: Timestamp) -> [u8; 8] {
    (at.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Notes that a document says now what `after` does, and no more what `before` did.
pub(super) fn note(readings: &mut Readings, before: Option<&Document>, after: Option<&Document>) {
    let row = |document: &Document| {
        let Reading { vin, at, km } = vehicle::reading(document)?;
        Some((key(vin, at, document.id), km))
    };
    let (before, after) = (before.and_then(row), after.and_then(row));
    if before != after {
        readings.extend(before.map(|(key, _)| (key, None)));
        readings.extend(after.map(|(key, km)| (key, Some(km))));
    }
}

/// The latest until `at` of all a vehicle's, but for what one document says.
pub(super) fn latest(all: &Readings, vin: &str, at: Timestamp, but: DocId) -> Option<i64> {
    let (first, last) = (beginning(vin), key(vin, at, DocId::from_bytes([0xff; 16])));
    let until = all.range(first..=last).rev();
    until.filter(|(key, _)| !key.ends_with(but.as_bytes())).find_map(|(_, km)| *km)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_reading_counts_until_its_document_says_otherwise() {
        let document = |n: u8| DocId::from_bytes([n; 16]);
        let mut all = Readings::new();
        for (vin, at, n, km) in [("L1", -5, 1, 100), ("L1", 7, 2, 300), ("L1", 9, 3, 200), ("L12", 8, 4, 900)] {
            all.insert(key(vin, Timestamp(at), document(n)), Some(km));
        }
        let latest = |all: &Readings, at: i64, but: u8| latest(all, "L1", Timestamp(at), document(but));
        assert_eq!((latest(&all, 9, 9), latest(&all, 9, 3), latest(&all, 6, 9)), (Some(200), Some(300), Some(100)));
        assert_eq!(latest(&all, -6, 9), None);
        all.insert(key("L1", Timestamp(9), document(3)), None);
        assert_eq!(latest(&all, 9, 9), Some(300));
    }
}
