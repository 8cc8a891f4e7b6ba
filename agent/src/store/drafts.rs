//! Drafts: fields saved while someone is still typing.
//!
//! They stay on this machine: they are no entries, have no number, and are never sent.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use redb::{Database, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};

use waystation_protocol::codec;
use waystation_protocol::id::{BadId, DocId, EntryId};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::error::StoreError;
use super::tables::{DRAFTS, draft_row, parse_draft};

/// A draft's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DraftId(EntryId);

/// What someone has typed so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The document it would change; none if it would open one.
    #[serde(rename = "doc", default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocId>,
    /// The kind's name.
    pub kind: String,
    /// The fields so far.
    pub set: BTreeMap<String, Value>,
    /// Who types.
    #[serde(rename = "by")]
    pub author: String,
    /// When it was last saved.
    pub changed_at: Timestamp,
    /// The document's head when it was begun: a document that changed underneath refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<EntryId>,
}

impl DraftId {
    pub(super) fn new(bytes: [u8; 16]) -> DraftId {
        DraftId(EntryId::from_bytes(bytes))
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<DraftId> {
        EntryId::from_slice(bytes).map(DraftId)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for DraftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DraftId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<DraftId, BadId> {
        text.parse().map(DraftId)
    }
}

/// All drafts, the last saved first.
pub(super) fn all(database: &Database) -> Result<Vec<(DraftId, Draft)>, StoreError> {
    let table = database.begin_read()?.open_table(DRAFTS)?;
    let mut drafts = Vec::new();
    for row in table.iter()? {
        let (id, row) = row?;
        let id = DraftId::new(*id.value());
        drafts.push((id, decode(id, row.value())?));
    }
    drafts.sort_by_key(|(id, draft)| std::cmp::Reverse((draft.changed_at, *id)));
    Ok(drafts)
}

/// One draft.
pub(super) fn find(database: &Database, id: DraftId) -> Result<Option<Draft>, StoreError> {
    let table = database.begin_read()?.open_table(DRAFTS)?;
    let Some(row) = table.get(id.as_bytes())? else { return Ok(None) };
    decode(id, row.value()).map(Some)
}

/// Saves a draft, or drops it where there is none.
pub(super) fn put(write: &redb::WriteTransaction, id: DraftId, draft: Option<&Draft>) -> Result<(), StoreError> {
    let mut table = write.open_table(DRAFTS)?;
    match draft {
        Some(draft) => table.insert(id.as_bytes(), draft_row(id.as_bytes(), &codec::encode(draft)).as_slice())?,
        None => table.remove(id.as_bytes())?,
    };
    Ok(())
}

/// Reads a row of the table.
pub(super) fn decode(id: DraftId, row: &[u8]) -> Result<Draft, StoreError> {
    let damaged = || StoreError::Damaged(format!("draft {id}"));
    let cbor = parse_draft(id.as_bytes(), row).ok_or_else(damaged)?;
    codec::decode_own(cbor).map_err(|_| damaged())
}
