//! Entries and documents read anew, and folded by the oracle's own rules.

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;

use super::journal::{decode, field, id};
use crate::flows::{self, Step};

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

/// The number of a value that has a unit.
pub(crate) fn measured(value: &Value) -> i64 {
    let number = value.as_array().and_then(|list| list.first()).and_then(Value::as_integer);
    number.and_then(|number| i64::try_from(number).ok()).unwrap_or_default()
}

/// A document, folded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paper {
    pub(crate) kind: String,
    pub(crate) site: String,
    /// Who may write on it next: a site, or the hub.
    pub(crate) pen: String,
    /// Everyone who ever might.
    pub(crate) holders: BTreeSet<String>,
    round: i64,
    pub(crate) state: String,
    pub(crate) head: [u8; 16],
    pub(crate) fields: BTreeMap<String, Value>,
    /// What remarks set, by their entries.
    pub(crate) notes: BTreeMap<[u8; 16], BTreeMap<String, Value>>,
}

/// What people let stand for an entry.
#[derive(Debug, Clone)]
pub(crate) struct Fix {
    act: String,
    set: BTreeMap<String, Value>,
}

impl Fix {
    /// Reads one from the trail.
    pub(crate) fn read(act: String, fields: &[u8]) -> Option<Fix> {
        Some(Fix { act, set: named(decode(fields)?.as_map()?) })
    }
}

fn named(pairs: &[(Value, Value)]) -> BTreeMap<String, Value> {
    pairs.iter().filter_map(|(key, value)| Some((key.as_text()?.to_owned(), value.clone()))).collect()
}

impl Act {
    /// As it stands once it is fixed.
    pub(crate) fn amended(self, fix: &Fix) -> Act {
        Act { act: fix.act.clone(), set: fix.set.clone(), ..self }
    }

    /// What a movement moves: item and quantity, in thousandths.
    pub(crate) fn moved(&self) -> (String, i64) {
        let item = self.set.get("item").and_then(Value::as_text).unwrap_or_default();
        (item.to_owned(), self.set.get("quantity").map_or(0, measured))
    }

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

    /// The text it sets a field to.
    pub(crate) fn text(&self, name: &str) -> String {
        self.set.get(name).and_then(Value::as_text).unwrap_or_default().to_owned()
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
            self.notes.insert(act.id, act.set.clone());
            return;
        }
        let step = flows::step(&self.kind, &self.state, &act.act).copied();
        let step = if act.is_opening { self.open(act) } else { step };
        self.state = match step {
            Some(Step(_, _, _, to, _)) => to.to_owned(),
            None => flows::state_after(&self.kind, &self.state, &act.act).to_owned(),
        };
        self.round += i64::from(flows::is_next_round(&self.kind, &act.act));
        self.head = act.id;
        for (name, value) in act.set.iter().filter(|(name, _)| !matches!(name.as_str(), "site" | "state")) {
            match value {
                Value::Null => drop(self.fields.remove(name)),
                value => drop(self.fields.insert(name.clone(), value.clone())),
            }
        }
        if let Some(Step(.., pen)) = step {
            self.pen = flows::name(pen, &self.site, &self.text("source"));
            self.holders.insert(self.pen.clone());
        }
    }

    /// What opens it; gives the step where that is one.
    fn open(&mut self, act: &Act) -> Option<Step> {
        let text = |name: &str| act.set.get(name).and_then(Value::as_text).unwrap_or_default().to_owned();
        self.kind.clone_from(&act.kind);
        (self.site, self.round) = (text("site"), 1);
        self.pen.clone_from(&self.site);
        if act.act == "imported" {
            self.state = text("state");
            return None;
        }
        flows::step(&act.kind, "", &act.act).copied()
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
        let pen = field(body, "pen");
        let site = pen.and_then(|pen| field(pen, "site")).or(pen).and_then(Value::as_text).unwrap_or_default();
        if site != self.pen {
            return Some(format!("'{site}' holds its pen, expected '{}'", self.pen));
        }
        let round = field(body, "round").and_then(Value::as_integer).and_then(|round| i64::try_from(round).ok());
        if round != Some(self.round) || text("site") != self.site {
            return Some(format!("it is in round {round:?} at '{}', expected {}", text("site"), self.round));
        }
        let notes = field(body, "notes").and_then(Value::as_map).into_iter().flatten();
        let found = notes.filter_map(|(id, note)| {
            let id = id.as_bytes()?.as_slice().try_into().ok()?;
            Some((id, named(field(note, "set")?.as_map()?)))
        });
        let found: BTreeMap<[u8; 16], BTreeMap<String, Value>> = found.collect();
        if found != self.notes {
            return Some(format!("it has {} notes, expected {}", found.len(), self.notes.len()));
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
        self.fields.get(name).map_or(0, measured)
    }

    /// What the lines of a count sheet differ by from what was expected, where they do: item and difference.
    pub(crate) fn differences(&self) -> Vec<(String, i64)> {
        let lines = self.fields.keys().filter_map(|field| field.strip_suffix(".counted"));
        let differs = |line: &str| {
            let by = self.measured(&format!("{line}.counted")) - self.measured(&format!("{line}.expected"));
            (self.text(&format!("{line}.item")), by)
        };
        lines.map(differs).filter(|(_, by)| *by != 0).collect()
    }

    /// A field's text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.fields.get(name).and_then(Value::as_text).unwrap_or_default().to_owned()
    }
}
