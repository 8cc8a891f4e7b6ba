//! Kinds of documents: each is one file that declares fields, flow, checks, effects and facts.
//!
//! Storage, sync, import, lists, the API and the reports read these declarations. A new kind is one file and a line
//! in [`KINDS`]; if it needs more, the machinery is wrong.

pub mod charges;
pub mod claim;
pub mod count_sheet;
pub mod delivery_item;
pub mod delivery_run;
pub mod header;
pub mod notice;
pub mod old_part;
pub mod part_transfer;
pub mod recovery;
pub mod repair_order;
pub mod settlement;
pub mod stock_movement;
pub mod survey;
pub mod vehicle;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::document::Document;
use crate::document::capture::{Change, Effect, Problem};
use crate::document::field::{Field, Key, Lines};
use crate::document::filling::Filling;
use crate::document::flow::{State, Step, VOID};
use crate::fact::{Fact, Measure};
use crate::site::SiteId;
use crate::time::Timestamp;
use crate::value::Value;

/// Checks a change; every problem it finds is told at once.
pub type Check = fn(&Change<'_>) -> Vec<Problem>;

/// Adds to an act's fields, before it is folded, what only the writer's store knows.
pub type Fill = fn(&Filling<'_>, &mut BTreeMap<String, Value>);

/// Something the hub can see only across documents and sites. It is shown on the documents that clash and stops nothing.
#[derive(Debug)]
pub struct Cross {
    /// The rule's name: documents of all kinds that name it are compared with each other.
    pub name: &'static str,
    /// What is told where documents clash, in Chinese.
    pub zh: &'static str,
    /// In English.
    pub en: &'static str,
    /// What is compared; none where this document is not.
    pub of: fn(&Document) -> Option<Trait>,
    /// Which of those compared clash.
    pub clash: Clash,
}

/// A number the network decides, such as how often a claim may come back. The hub's configuration sets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name, such as `claim.max_rounds`.
    pub name: &'static str,
    /// What it says, in Chinese.
    pub zh: &'static str,
    /// What it says, in English.
    pub en: &'static str,
    /// What it is unless it is set.
    pub default: i64,
    /// The least it may be set to.
    pub least: i64,
    /// The most.
    pub most: i64,
}

/// What a document contributes to a rule across documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trait {
    /// Documents of one key are compared.
    pub key: String,
    /// Their order.
    pub at: Timestamp,
    /// What is compared.
    pub value: i64,
}

/// When documents of one key clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// Wherever there are two.
    Same,
    /// Where a later one has a smaller value than an earlier one.
    Falls,
}

/// Which outlets are told of a document, beyond those that hold or held its pen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Its own site.
    Holders,
    /// None: it stays at the hub.
    Nobody,
    /// Its own site and these.
    Sites(Vec<SiteId>),
    /// All.
    Everyone,
}

/// A kind of document. Most leave out what [`Kind::PLAIN`] has.
#[derive(Debug)]
pub struct Kind {
    /// The wire name.
    pub name: &'static str,
    /// Its letters in printed numbers.
    pub code: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// The version of its form; raised when fields or flow change.
    pub form: u16,
    /// Its states, in the order of its work.
    pub states: &'static [State],
    /// Its fields, in the order forms show them.
    pub fields: &'static [Field],
    /// Its groups of lines.
    pub lines: &'static [Lines],
    /// Its steps.
    pub flow: &'static [Step],
    /// Adds, at capture, what only the store knows.
    pub fill: Option<Fill>,
    /// Whether it is not voided any more once it has ended: others have counted, posted or paid by it.
    pub stands_once_ended: bool,
    /// What is checked at capture beyond types, flow, pen and required fields.
    pub checks: &'static [Check],
    /// The same, of what no history may break either: an import is checked for it too.
    pub bounds: &'static [Check],
    /// What is worth a second look, and stops nothing.
    pub odd: &'static [fn(&Document) -> Vec<Problem>],
    /// What an act brings about on other documents.
    pub effects: Option<fn(&Change<'_>) -> Vec<Effect>>,
    /// What the hub compares across documents and sites.
    pub cross: &'static [Cross],
    /// The numbers of the network's that its fills look up by name.
    pub rules: &'static [&'static Rule],
    /// Which outlets are told of a document.
    pub audience: fn(&Document) -> Audience,
    /// The tables it yields facts for.
    pub measures: &'static [&'static Measure],
    /// Its facts; days are taken in the given zone.
    pub facts: fn(&Document, &TimeZone) -> Vec<Fact>,
}

/// Every kind this build knows.
pub static KINDS: &[&Kind] = &[
    &repair_order::REPAIR_ORDER,
    &stock_movement::STOCK_MOVEMENT,
    &count_sheet::COUNT_SHEET,
    &delivery_item::DELIVERY_ITEM,
    &delivery_run::DELIVERY_RUN,
    &survey::SURVEY,
    &claim::CLAIM,
    &old_part::OLD_PART,
    &recovery::RECOVERY,
    &part_transfer::PART_TRANSFER,
    &settlement::SETTLEMENT,
    &notice::NOTICE,
];

/// The kind of this name.
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

/// What of a document is worth a second look, and stops nothing.
pub fn odd(document: &Document) -> Vec<Problem> {
    let told = find(&document.kind).map_or(&[][..], |kind| kind.odd);
    told.iter().flat_map(|odd| odd(document)).collect()
}

/// Every measure of every kind.
pub fn measures() -> impl Iterator<Item = &'static Measure> {
    KINDS.iter().flat_map(|kind| kind.measures.iter().copied())
}

/// Every rule of every kind.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    KINDS.iter().flat_map(|kind| kind.rules.iter().copied())
}

impl Kind {
    /// What a declaration need not say: nothing beyond fields and flow.
    pub const PLAIN: Kind = Kind {
        name: "",
        code: "",
        zh: "",
        en: "",
        form: 1,
        states: &[],
        fields: &[],
        lines: &[],
        flow: &[],
        fill: None,
        stands_once_ended: false,
        checks: &[],
        bounds: &[],
        odd: &[],
        effects: None,
        cross: &[],
        rules: &[],
        audience: |_| Audience::Holders,
        measures: &[],
        facts: |_, _| Vec::new(),
    };

    /// A field of the document, or one every kind has.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().chain(header::FIELDS).find(|field| field.name == name)
    }

    /// A field of a group's lines.
    pub fn line_field(&self, group: &str, name: &str) -> Option<&'static Field> {
        self.lines.iter().find(|lines| lines.name == group)?.fields.iter().find(|field| field.name == name)
    }

    /// The field that a key of an entry names; none for those the hub defined.
    pub fn field_at(&self, key: &str) -> Option<&'static Field> {
        match Key::parse(key)? {
            Key::Field(name) => self.field(name),
            Key::Line { group, field, .. } => self.line_field(group, field),
            Key::Custom(_) => None,
        }
    }

    /// A state by its wire name.
    pub fn state(&self, name: &str) -> Option<State> {
        self.states.iter().copied().chain([VOID]).find(|state| state.name == name)
    }

    /// The step that `act` names from a state, or the opening step for none.
    pub fn step(&self, act: &str, state: Option<&str>) -> Option<&'static Step> {
        self.flow.iter().find(|step| step.act == act && state.map_or(step.is_opening(), |state| step.starts_in(state)))
    }

    /// The steps that may be taken from a state.
    pub fn steps_from<'a>(&'a self, state: &'a str) -> impl Iterator<Item = &'static Step> + 'a {
        self.flow.iter().filter(move |step| step.starts_in(state))
    }

    /// Whether nothing leads on from a state.
    pub fn has_ended(&self, state: &str) -> bool {
        self.steps_from(state).all(|step| step.to.is_none())
    }

    /// Whether a state is `from` or comes after it in the order of work.
    pub fn has_reached(&self, state: &str, from: State) -> bool {
        let place = |name: &str| self.states.iter().position(|state| state.name == name);
        place(state) >= place(from.name)
    }
}

#[cfg(test)]
mod stories;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fact::{MAX_KEYS, MAX_VALUES};

    #[test]
    fn every_declaration_is_sound() {
        for kind in KINDS {
            let states: BTreeSet<&str> = kind.states.iter().map(|state| state.name).collect();
            assert_eq!(states.len(), kind.states.len(), "{}: a state twice", kind.name);
            let fields: BTreeSet<&str> = kind.fields.iter().chain(header::FIELDS).map(|field| field.name).collect();
            assert_eq!(fields.len(), kind.fields.len() + header::FIELDS.len(), "{}: a field twice", kind.name);
            assert!(kind.flow.iter().any(Step::is_opening), "{}: nothing opens it", kind.name);
            for step in kind.flow {
                for state in step.from.iter().chain(&step.to) {
                    assert!(states.contains(state.name), "{}: {} names state {}", kind.name, step.act, state.name);
                }
                for field in step.takes {
                    assert!(kind.field(field).is_some(), "{}: {} takes {field}", kind.name, step.act);
                }
            }
            for field in kind.fields.iter().chain(kind.lines.iter().flat_map(|lines| lines.fields)) {
                assert!(matches!(Key::parse(field.name), Some(Key::Field(_))), "{}: {}", kind.name, field.name);
                let named = field.required_from.iter().chain(&field.hidden_until);
                assert!(named.clone().all(|state| states.contains(state.name)), "{}: {}", kind.name, field.name);
                assert!(!field.zh.is_empty() && !field.en.is_empty(), "{}: {}", kind.name, field.name);
            }
            for measure in kind.measures {
                assert!(measure.keys.len() <= MAX_KEYS && measure.values.len() <= MAX_VALUES, "{}", measure.name);
            }
        }
    }

    #[test]
    fn every_state_can_be_reached() {
        for kind in KINDS {
            let mut reached: BTreeSet<&str> = BTreeSet::new();
            loop {
                let before = reached.len();
                for step in kind.flow {
                    if step.is_opening() || step.from.iter().any(|from| reached.contains(from.name)) {
                        reached.extend(step.to.iter().map(|state| state.name));
                    }
                }
                if reached.len() == before {
                    break;
                }
            }
            for state in kind.states {
                assert!(reached.contains(state.name), "{}: nothing leads to {}", kind.name, state.name);
            }
        }
    }
}
