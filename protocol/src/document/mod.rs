//! Documents: what entries fold to, the declarations that give them meaning, and how an act is captured.
//!
//! The same fold runs at agent and hub. It checks types, flow and pen only; capture checks everything else, so that
//! a stricter rule never quarantines an honest old capture.

pub mod capture;
pub mod column;
pub mod diagram;
pub mod field;
pub mod filling;
pub mod flow;
pub mod fold;
#[cfg(test)]
mod pen_tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::{DocId, EntryId};
use crate::site::SiteId;
use crate::time::Timestamp;
use crate::value::Value;
use column::{Col, Read};

/// Who may append state entries to a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The agent that stands for a site.
    Site(SiteId),
    /// The hub.
    Hub,
}

impl Party {
    /// Who acts for a site: its agent; for documents of no outlet, the hub.
    pub fn of(site: SiteId) -> Party {
        if site.is_hub() { Party::Hub } else { Party::Site(site) }
    }
}

/// A remark by anyone. It changes no state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who wrote it.
    pub author: String,
    /// When, by the writer's clock.
    pub occurred_at: Timestamp,
    /// What it says, and any field it speaks of.
    pub set: BTreeMap<String, Value>,
}

/// A document as its entries so far make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The opening entry's id.
    pub id: DocId,
    /// The kind's name.
    pub kind: String,
    /// The version of the form it was opened with.
    pub form: u16,
    /// The outlet it belongs to.
    pub site: SiteId,
    /// The state's name.
    pub state: String,
    /// Who may act next.
    pub pen: Party,
    /// How often it came back, from 1.
    pub round: u16,
    /// The last state entry.
    pub head: EntryId,
    /// Who opened it.
    pub opened_by: String,
    /// When its opening was recorded.
    pub opened_at: Timestamp,
    /// When the last state entry was recorded.
    pub changed_at: Timestamp,
    /// Field, or line-id.field, to value. Never null.
    pub fields: BTreeMap<String, Value>,
    /// Remarks by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<EntryId, Note>,
}

impl Document {
    /// A field's value, typed; none where it is unset or of another type.
    pub fn get<T: Read>(&self, column: Col<T>) -> Option<T::Out<'_>> {
        self.fields.get(column.name()).and_then(T::read)
    }

    /// The lines of a group, in the order of their numbers.
    pub fn lines(&self, group: &str) -> Vec<Line<'_>> {
        lines(&self.fields, group)
    }

    /// What the latest note that sets a field says of it, by the clock of its writer.
    pub fn noted<T: Read>(&self, column: Col<T>) -> Option<T::Out<'_>> {
        let said =
            self.notes.iter().filter_map(|(id, note)| Some((note.occurred_at, id, note.set.get(column.name())?)));
        said.max_by_key(|(at, id, _)| (*at, *id)).and_then(|(_, _, value)| T::read(value))
    }

    /// The printed number, where it has one.
    pub fn number(&self) -> Option<&str> {
        self.fields.get("number").and_then(Value::as_text)
    }

    /// When the thing happened: the stated time, else when its opening was recorded.
    pub fn occurred_at(&self) -> Timestamp {
        self.fields.get("occurred_at").and_then(Value::as_int).map_or(self.opened_at, Timestamp)
    }

    /// BLAKE3 of the document's canonical encoding: equal at both ends if and only if the documents are.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&codec::encode(self)).as_bytes()
    }
}

/// The lines of a group among fields, in the order of their numbers.
pub fn lines<'a>(fields: &'a BTreeMap<String, Value>, group: &str) -> Vec<Line<'a>> {
    let mut lines: BTreeMap<u32, BTreeMap<&str, &Value>> = BTreeMap::new();
    for (key, value) in fields.range(format!("{group}#")..) {
        let Some(field::Key::Line { group: found, number, field }) = field::Key::parse(key) else { break };
        if found != group {
            break;
        }
        lines.entry(number).or_default().insert(field, value);
    }
    lines.into_iter().map(|(number, fields)| Line { number, fields }).collect()
}

/// One line of a document.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// Its number within the group.
    pub number: u32,
    fields: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Line<'a> {
    /// A field of this line, typed.
    pub fn get<T: Read>(&self, column: Col<T>) -> Option<T::Out<'a>> {
        self.fields.get(column.name()).and_then(|value| T::read(value))
    }
    /// A field's number and unit.
    pub fn measured<T>(&self, column: Col<T>) -> Option<(i64, &'a str)> {
        self.fields.get(column.name()).and_then(|value| value.as_measured())
    }
}
