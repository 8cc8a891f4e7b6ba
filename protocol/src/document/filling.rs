//! What a kind adds to an act before it is folded: what only the writer's store knows, and what follows from the rest.

use std::collections::BTreeMap;

use super::capture::Books;
use super::{Document, Line, lines};
use crate::kind::Rule;
use crate::time::Timestamp;
use crate::value::Value;

/// What a kind's `fill` looks at.
pub struct Filling<'a> {
    /// The document before; none if it is being opened.
    pub before: Option<&'a Document>,
    /// The act's name.
    pub act: &'a str,
    /// Who does it.
    pub author: &'a str,
    /// When.
    pub now: Timestamp,
    /// What the writer's store knows.
    pub books: &'a dyn Books,
}

/// An act's fields as they are being filled.
pub type Set = BTreeMap<String, Value>;

impl Filling<'_> {
    /// A field as the act leaves it.
    pub fn value<'s>(&'s self, set: &'s Set, key: &str) -> Option<&'s Value> {
        match set.get(key) {
            Some(Value::Null) => None,
            Some(value) => Some(value),
            None => self.before.and_then(|document| document.fields.get(key)),
        }
    }

    /// A text field as the act leaves it.
    pub fn text<'s>(&'s self, set: &'s Set, key: &str) -> Option<&'s str> {
        self.value(set, key).and_then(Value::as_text)
    }

    /// Every field as the act leaves it.
    pub fn fields(&self, set: &Set) -> Set {
        let mut fields = self.before.map_or_else(Set::new, |document| document.fields.clone());
        fields.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
        fields.retain(|_, value| *value != Value::Null);
        fields
    }

    /// Sets a field, or clears it, where it is not so already.
    pub fn state(&self, set: &mut Set, key: impl Into<String>, value: Option<Value>) {
        let key = key.into();
        if self.value(set, &key) == value.as_ref() {
            return;
        }
        match value {
            Some(value) => drop(set.insert(key, value)),
            None if self.before.is_some_and(|document| document.fields.contains_key(&key)) => {
                set.insert(key, Value::Null);
            }
            None => drop(set.remove(&key)),
        }
    }

    /// A rule of the network's, or what holds without one.
    pub fn rule(&self, rule: &Rule) -> i64 {
        self.books.rule(rule.name).unwrap_or(rule.default)
    }

    /// So many days from now.
    pub fn in_days(&self, days: i64) -> Value {
        Value::Int(self.now.0.saturating_add(days.saturating_mul(86_400_000)))
    }

    /// The last line of a group before the act.
    pub fn last_line(&self, group: &str) -> Option<Line<'_>> {
        self.before.and_then(|document| lines(&document.fields, group).pop())
    }
}
