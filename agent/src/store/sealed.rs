//! The sealed record: all of META and all streams once more, in one row that vouches for itself.
//!
//! It is written with whatever it repeats. Where the file is damaged, the newest one found in its raw bytes tells who
//! this agent is, in which stream it writes, and up to where its journal is pruned.

use std::collections::BTreeMap;

use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use waystation_protocol::codec;
use waystation_protocol::message::Bytes;

use super::error::StoreError;
use super::tables::{META, STREAMS};

pub(super) const NAME: &str = "sealed";
/// Bytes of BLAKE3 at the record's end.
const HASH: usize = 32;

/// What is repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// Raised each time; of several records the highest counts.
    pub(super) version: u64,
    pub(super) meta: BTreeMap<String, BytesRow>,
    /// Stream and the row it has.
    pub(super) streams: Vec<(BytesRow, BytesRow)>,
}

/// A row's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct BytesRow(Bytes);

impl BytesRow {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// Writes the record anew; to be called after everything else that a commit writes to META or to the streams.
pub(super) fn seal(write: &WriteTransaction) -> Result<(), StoreError> {
    let mut table = write.open_table(META)?;
    let version = table.get(NAME)?.and_then(|row| parse(row.value())).map_or(0, |sealed| sealed.version);
    let mut sealed = Sealed { version: version + 1, ..Sealed::default() };
    for row in table.iter()? {
        let (name, bytes) = row?;
        if name.value() != NAME {
            sealed.meta.insert(name.value().to_owned(), BytesRow(bytes.value().to_vec().into()));
        }
    }
    for row in write.open_table(STREAMS)?.iter()? {
        let (stream, bytes) = row?;
        sealed.streams.push((BytesRow(stream.value().to_vec().into()), BytesRow(bytes.value().to_vec().into())));
    }
    let mut record = codec::encode(&sealed);
    let hash = blake3::hash(&record);
    record.extend_from_slice(hash.as_bytes());
    table.insert(NAME, record.as_slice())?;
    Ok(())
}

/// Reads a record; none where it is not to the bit what was written.
pub(super) fn parse(record: &[u8]) -> Option<Sealed> {
    let (record, hash) = record.split_at_checked(record.len().checked_sub(HASH)?)?;
    if blake3::hash(record).as_bytes() != hash {
        return None;
    }
    codec::decode_own(record).ok()
}
