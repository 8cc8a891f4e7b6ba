//! Journals read anew: payloads unpacked, lengths taken, chains recomputed, entries decoded with ciborium.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ciborium::Value;
use waystation_protocol::chain::Seq;
use zstd::bulk::Decompressor;

use crate::cuts::kept;
use crate::device::Device;
use crate::violation::{Violation, broken};

/// A payload unpacked is never longer.
const MOST_BYTES: usize = 1 << 20;

thread_local! {
    /// Making one anew takes longer than what it is made for.
    static UNPACKER: RefCell<Decompressor<'static>> = RefCell::new(Decompressor::new().expect("there is memory"));
}

/// The entries of a payload, as captured.
pub(crate) fn entries(payload: &[u8]) -> Result<Vec<Vec<u8>>, Violation> {
    let mut raw = Vec::with_capacity(MOST_BYTES);
    let unpacked = UNPACKER.with_borrow_mut(|unpacker| unpacker.decompress_to_buffer(payload, &mut raw));
    unpacked.map_err(|error| broken("I7", format!("a payload: {error}")))?;
    let (mut entries, mut at) = (Vec::new(), 0);
    while at < raw.len() {
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = *raw.get(at).ok_or_else(|| broken("I7", "a payload ends within a length"))?;
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let entry = raw.get(at..at + length).ok_or_else(|| broken("I7", "a payload ends within an entry"))?;
        entries.push(entry.to_vec());
        at += length;
    }
    Ok(entries)
}

/// The chain's hash after one more entry.
pub(crate) fn follow(hash: [u8; 32], entry: &[u8]) -> [u8; 32] {
    let mut bytes = hash.to_vec();
    bytes.extend_from_slice(entry);
    *blake3::hash(&bytes).as_bytes()
}

/// A field of an entry.
pub(crate) fn field<'a>(entry: &'a Value, name: &str) -> Option<&'a Value> {
    let pairs = entry.as_map()?;
    pairs.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

/// Sixteen bytes of an entry.
pub(crate) fn id(entry: &Value, name: &str) -> Option<[u8; 16]> {
    field(entry, name)?.as_bytes()?.as_slice().try_into().ok()
}

/// Reads an entry.
pub(crate) fn decode(bytes: &[u8]) -> Option<Value> {
    ciborium::from_reader(bytes).ok()
}

/// The ids of the entries in a device's journal, and of those confirmed that it has deleted since.
pub(crate) fn ids(device: &Device) -> Result<BTreeSet<[u8; 16]>, Violation> {
    let found = entries(&kept(device)?.0)?;
    let confirmed = device.confirmed.iter().map(|confirmed| *confirmed.entry.as_bytes());
    Ok(found.iter().filter_map(|bytes| id(&decode(bytes)?, "id")).chain(confirmed).collect())
}

/// A device's journal: its chain ends at its head, no entry and no printed number stands twice in it, and every
/// confirmed act is there, unless entries were deleted: then the hub is asked for it.
pub(crate) fn check(device: &Device) -> Result<(), Violation> {
    let (payload, last) = kept(device)?;
    let Some(store) = &device.store else { return Ok(()) };
    let entries = entries(&payload)?;
    let pruned = store.pruned();
    let before = store.hash_at(pruned).ok_or_else(|| broken("I3", format!("the hash at {pruned} is forgotten")))?;
    let hash = entries.iter().fold(*before.as_bytes(), |hash, entry| follow(hash, entry));
    if last != store.head().seq || hash != *store.head().hash.as_bytes() {
        return Err(broken("I3", format!("the journal's chain ends at {last}, its head is {}", store.head().seq)));
    }
    let (mut ids, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for bytes in &entries {
        let entry = decode(bytes).ok_or_else(|| broken("I7", "an entry of the journal does not decode"))?;
        let own = id(&entry, "id").ok_or_else(|| broken("I7", "an entry of the journal has no id"))?;
        if !ids.insert(own) {
            return Err(broken("I2", "an entry stands twice in the journal"));
        }
        let number = field(&entry, "set").and_then(|set| field(set, "number")).and_then(Value::as_text);
        if let Some(number) = number
            && !numbers.insert(number.to_owned())
        {
            return Err(broken("numbers", format!("{number} was given twice")));
        }
    }
    match device.confirmed.iter().find(|confirmed| !ids.contains(confirmed.entry.as_bytes())) {
        Some(lost) if pruned == Seq(0) => {
            Err(broken("I1", format!("entry {} was confirmed and is not in the journal", lost.entry)))
        }
        Some(_) | None => Ok(()),
    }
}
