//! Entries and documents read anew, and folded by the oracle's own rules.

use std::collections::BTreeMap;

use ciborium::Value;

use super::journal::{decode, field, id};
use crate::desk::{opened_state, state_after};

/// An entry, as far as the oracle cares.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) id: [u8; 16],
    pub(crate) document: [u8; 16],
    pub(crate) is_opening: bool,
    pub(crate) after: Option<[u8; 16]>,
    pub(crate) cause: Option<[u8; 16]>,
    pub(crate) kind: String,
    pub(crate) act: String,
    pub(crate) set: BTreeMap<String, Value>,
}

/// A document, folded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paper {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) head: [u8; 16],
    pub(crate) fields: BTreeMap<String, Value>,
    pub(crate) notes: usize,
}

impl Act {
    /// Reads one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Act> {
        let entry = decode(bytes)?;
        let own = id(&entry, "id")?;
        let document = id(&entry, "doc");
        let text = |name: &str| field(&entry, name).and_then(Value::as_text).map(str::to_owned);
        let set = field(&entry, "set").and_then(Value::as_map);
        let pairs = set.into_iter().flatten();
        Some(Act {
            id: own,
            document: document.unwrap_or(own),
            is_opening: document.is_none(),
            after: id(&entry, "after"),
            cause: id(&entry, "cause"),
            kind: text("kind")?,
            act: text("act")?,
            set: pairs.filter_map(|(key, value)| Some((key.as_text()?.to_owned(), value.clone()))).collect(),
        })
    }

    /// Whether it changes the state of its document.
    pub(crate) fn is_state_entry(&self) -> bool {
        self.act != "note"
    }
}

impl Paper {
    /// Takes in the next act.
    pub(crate) fn fold(&mut self, act: &Act) {
        if !act.is_state_entry() {
            self.notes += 1;
            return;
        }
        if act.is_opening {
            self.kind.clone_from(&act.kind);
            let imported = act.set.get("state").and_then(Value::as_text).filter(|_| act.act == "imported");
            self.state = imported.unwrap_or(opened_state(&act.kind)).to_owned();
        } else {
            self.state = state_after(&self.state, &act.act).to_owned();
        }
        self.head = act.id;
        for (name, value) in act.set.iter().filter(|(name, _)| !matches!(name.as_str(), "site" | "state")) {
            match value {
                Value::Null => drop(self.fields.remove(name)),
                value => drop(self.fields.insert(name.clone(), value.clone())),
            }
        }
    }

    /// How it differs from a document as the product encodes it.
    pub(crate) fn differs(&self, body: &Value) -> Option<String> {
        let text = |name: &str| field(body, name).and_then(Value::as_text).unwrap_or_default().to_owned();
        if text("state") != self.state || text("kind") != self.kind {
            return Some(format!("it is '{}' in state '{}', expected '{}'", text("kind"), text("state"), self.state));
        }
        if id(body, "head") != Some(self.head) {
            return Some("its head is not the last state entry".to_owned());
        }
        let notes = field(body, "notes").and_then(Value::as_map).map_or(0, Vec::len);
        if notes != self.notes {
            return Some(format!("it has {notes} notes, expected {}", self.notes));
        }
        let fields = field(body, "fields").and_then(Value::as_map);
        let found: BTreeMap<String, Value> = fields
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_text()?.to_owned(), value.clone())))
            .collect();
        (found != self.fields).then(|| "its fields are not those set".to_owned())
    }

    /// A field's number where it is one with a unit.
    pub(crate) fn measured(&self, name: &str) -> i64 {
        let list = self.fields.get(name).and_then(Value::as_array);
        let number = list.and_then(|list| list.first()).and_then(Value::as_integer);
        number.and_then(|number| i64::try_from(number).ok()).unwrap_or_default()
    }

    /// A field's text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.fields.get(name).and_then(Value::as_text).unwrap_or_default().to_owned()
    }
}
