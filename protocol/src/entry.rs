//! The entry: one act on one document, as captured.
//!
//! Its bytes are encoded once, at capture; those bytes are hashed, sent and stored, and never encoded again. Stream,
//! seq and the hash before it stand outside, so a fork renumbers nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::id::{DocId, EntryId};
use crate::limits;
use crate::time::Timestamp;
use crate::value::Value;

/// One act on one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique for ever, drawn at capture.
    pub id: EntryId,
    /// The document; absent in the entry that opens it, whose id becomes the document's.
    #[serde(rename = "doc", default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocId>,
    /// The state entry this one follows on its document; absent in opening entries and notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<EntryId>,
    /// The kind's name.
    pub kind: String,
    /// The version of the kind's form the author filled in.
    pub form: u16,
    /// The act's name in the kind's flow, or one of the acts every kind has.
    pub act: String,
    /// Field, or line-id.field, to value; null clears.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Value>,
    /// Who did it.
    #[serde(rename = "by")]
    pub author: String,
    /// The entry whose effect this one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<EntryId>,
    /// Wall time of the recording machine.
    #[serde(rename = "at")]
    pub occurred_at: Timestamp,
    /// Milliseconds since the recording process started.
    #[serde(rename = "mono")]
    pub mono_ms: u64,
    /// Tells process starts apart: `mono` values compare only within one.
    pub boot: u32,
    /// What the recording machine knew of its clock (`ClockQuality::code`).
    pub clock: u8,
}

impl Entry {
    /// The document this entry stands on.
    pub fn document(&self) -> DocId {
        self.document.unwrap_or(self.id.opens())
    }

    /// Whether this entry opens its document.
    pub fn is_opening(&self) -> bool {
        self.document.is_none()
    }

    /// The bytes that are hashed, sent and stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads an entry of someone else's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry, CodecError> {
        codec::decode(bytes, limits::ENTRY_BYTES)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(id: u8, act: &str) -> Entry {
        Entry {
            id: EntryId::from_bytes([id; 16]),
            document: None,
            after: None,
            kind: "survey".into(),
            form: 1,
            act: act.into(),
            set: BTreeMap::new(),
            author: "王芳".into(),
            cause: None,
            occurred_at: Timestamp(1_760_000_000_000),
            mono_ms: 5,
            boot: 9,
            clock: 0,
        }
    }

    /// Proves R-ENTRY-1.
    #[test]
    fn an_entry_survives_the_wire() {
        let mut entry = entry(1, "answer");
        entry.document = Some(DocId::from_bytes([2; 16]));
        entry.after = Some(EntryId::from_bytes([3; 16]));
        entry.set.insert("score".into(), Value::Int(92));
        assert_eq!(Entry::from_bytes(&entry.to_bytes()).unwrap(), entry);
    }

    /// Proves R-CBOR-2.
    #[test]
    fn fields_of_a_newer_build_do_not_hinder_reading() {
        let mut bytes = entry(1, "answer").to_bytes();
        bytes[0] += 1;
        bytes.extend_from_slice(b"\x65later\x01");
        assert_eq!(Entry::from_bytes(&bytes).unwrap(), entry(1, "answer"));
    }
}
