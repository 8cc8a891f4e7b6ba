//! Fields that the hub defines for a kind's forms, besides those the kind declares.
//!
//! A definition travels as an entry that stands on no document and is never taken back. Each revision has the next version of its
//! kind, and the definition as it stands is a fold of all its revisions: additive, and the same wherever it is folded. A type
//! never changes, choices only become more, and what is retired stays known.

use std::collections::BTreeMap;

use crate::document::capture::Problem;
use crate::down::{FORM, HUB_AUTHOR, Stamp};
use crate::entry::Entry;
use crate::id::EntryId;
use crate::kind;
use crate::limits;
use crate::time::Timestamp;
use crate::value::Value;

/// The act of a definition's entry.
const DEFINE: &str = "define";

/// What a defined field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// Thousandths with a unit.
    Quantity,
    /// Minor units with a currency.
    Money,
    /// Yes or no.
    Flag,
    /// A day.
    Day,
    /// One of the choices.
    Choice,
}

/// One of the values of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The wire value.
    pub value: String,
    /// The label in Chinese.
    pub zh: String,
    /// The label in English.
    pub en: String,
}

/// A revision of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The field's name; it is set under `custom.` and this.
    pub id: String,
    /// The kind it is a field of.
    pub kind: String,
    /// The label in Chinese.
    pub zh: String,
    /// The label in English.
    pub en: String,
    /// What it holds.
    pub ty: FieldType,
    /// The values of a choice, in the order people see.
    pub choices: Vec<Choice>,
    /// Least and greatest: whole numbers, thousandths, minor units, days since 1970.
    pub range: Option<(i64, i64)>,
    /// What a text must match as a whole: a regular expression of ECMA-262, as browsers read it.
    pub pattern: Option<String>,
    /// The states in which it must be filled.
    pub required_in_state: Vec<String>,
    /// Whether forms ask for it no longer.
    pub is_retired: bool,
    /// Of the kind's definitions: each revision raises it.
    pub version: u32,
}

/// A definition as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined {
    /// The last revision, with every choice there ever was.
    pub definition: Definition,
    /// The kind's version that brought it.
    pub since: u32,
    /// The kind's version that retired it.
    pub retired: Option<u32>,
}

impl FieldType {
    /// Every type.
    pub const ALL: [FieldType; 7] = [
        FieldType::Text,
        FieldType::Number,
        FieldType::Quantity,
        FieldType::Money,
        FieldType::Flag,
        FieldType::Day,
        FieldType::Choice,
    ];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            FieldType::Text => "text",
            FieldType::Number => "number",
            FieldType::Quantity => "quantity",
            FieldType::Money => "money",
            FieldType::Flag => "flag",
            FieldType::Day => "day",
            FieldType::Choice => "choice",
        }
    }

    /// The type of this word.
    pub fn find(name: &str) -> Option<FieldType> {
        FieldType::ALL.into_iter().find(|ty| ty.name() == name)
    }

    const fn has_range(self) -> bool {
        matches!(self, FieldType::Number | FieldType::Quantity | FieldType::Money | FieldType::Day)
    }
}

impl Definition {
    /// Its entry.
    pub fn entry(&self, stamp: Stamp) -> Entry {
        let texts = [("id", &self.id), ("kind", &self.kind), ("zh", &self.zh), ("en", &self.en)];
        let mut set: BTreeMap<String, Value> =
            texts.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text.as_str()))).collect();
        set.insert("type".into(), Value::from(self.ty.name()));
        set.insert("version".into(), Value::Int(self.version.into()));
        if !self.choices.is_empty() {
            set.insert("choices".into(), Value::List(self.choices.iter().map(Choice::to_value).collect()));
        }
        set.extend(self.range.map(|(min, max)| ("range".into(), Value::List(vec![Value::Int(min), Value::Int(max)]))));
        set.extend(self.pattern.as_deref().map(|pattern| ("pattern".into(), Value::from(pattern))));
        if !self.required_in_state.is_empty() {
            let states = self.required_in_state.iter().map(|state| Value::from(state.as_str())).collect();
            set.insert("required_in_state".into(), Value::List(states));
        }
        if self.is_retired {
            set.insert("retired".into(), Value::Flag(true));
        }
        Entry {
            id: stamp.id,
            document: None,
            after: None,
            kind: FORM.to_owned(),
            form: 1,
            act: DEFINE.to_owned(),
            set,
            author: HUB_AUTHOR.to_owned(),
            cause: None,
            occurred_at: stamp.now,
            mono_ms: 0,
            boot: 0,
            clock: 0,
        }
    }

    /// Reads one; none if it is no definition of this build's.
    pub fn read(entry: &Entry) -> Option<Definition> {
        if entry.kind != FORM || entry.act != DEFINE || !entry.is_opening() {
            return None;
        }
        let text = |key: &str| entry.set.get(key).and_then(Value::as_text).map(str::to_owned);
        let list = |key: &str| match entry.set.get(key) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        let range = match list("range") {
            [Value::Int(min), Value::Int(max)] => Some((*min, *max)),
            _ => None,
        };
        Some(Definition {
            id: text("id")?,
            kind: text("kind")?,
            zh: text("zh")?,
            en: text("en")?,
            ty: FieldType::find(&text("type")?)?,
            choices: list("choices").iter().filter_map(Choice::of_value).collect(),
            range,
            pattern: text("pattern"),
            required_in_state: list("required_in_state").iter().filter_map(Value::as_text).map(str::to_owned).collect(),
            is_retired: entry.set.get("retired") == Some(&Value::Flag(true)),
            version: u32::try_from(entry.set.get("version").and_then(Value::as_int)?).ok()?,
        })
    }

    /// Everything that is wrong with it as the next revision of what stands.
    pub fn problems(&self, standing: &[Defined]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, zh: &str, en: &str| problems.push(Problem::at(field, zh, en));
        if !is_name(&self.id) {
            wrong(
                "id",
                "由小写字母开头，只含小写字母、数字、下划线，至多 40 个",
                "a lower-case letter, then letters, digits and _, 40 at most",
            );
        }
        match kind::find(&self.kind) {
            None => wrong("kind", "没有此单据类型", "there is no such kind"),
            Some(kind) => {
                if kind.field(&self.id).is_some() {
                    wrong("id", "与已有字段同名", "the kind has a field of this name");
                }
                if self.required_in_state.iter().any(|state| kind.state(state).is_none()) {
                    wrong("required_in_state", "没有此状态", "the kind has no such state");
                }
            }
        }
        if [&self.zh, &self.en].iter().any(|label| label.trim().is_empty() || label.len() > limits::LABEL_BYTES) {
            wrong("labels", "须有中英文名称", "a label in each language, of at most 200 bytes");
        }
        self.check_values(&mut wrong);
        let of_kind = standing.iter().filter(|defined| defined.definition.kind == self.kind);
        match of_kind.clone().find(|defined| defined.definition.id == self.id) {
            None if of_kind.count() >= limits::DEFINITIONS => {
                wrong("id", "此单据类型的自定义字段已满", "the kind has as many defined fields as it may");
            }
            None => {}
            Some(defined) => self.check_revision(defined, &mut wrong),
        }
        problems
    }

    fn check_values(&self, wrong: &mut impl FnMut(&str, &str, &str)) {
        let mut values: Vec<&str> = self.choices.iter().map(|choice| choice.value.as_str()).collect();
        values.sort_unstable();
        values.dedup();
        let is_full = |choice: &Choice| {
            [&choice.value, &choice.zh, &choice.en]
                .iter()
                .all(|text| !text.trim().is_empty() && text.len() <= limits::LABEL_BYTES)
        };
        let is_sound = values.len() == self.choices.len() && self.choices.iter().all(is_full);
        if (self.ty == FieldType::Choice) == self.choices.is_empty() || !is_sound || values.len() > limits::CHOICES {
            wrong(
                "choices",
                "选项类型须有选项，值不得重复",
                "of a choice, and of it alone: values, each once, with labels",
            );
        }
        let bound = limits::NUMBER;
        if self.range.is_some_and(|(min, max)| !self.ty.has_range() || min > max || min < -bound || max > bound) {
            wrong("range", "范围不成立", "least and greatest of a number, quantity, amount or day");
        }
        if self.pattern.as_ref().is_some_and(|pattern| {
            self.ty != FieldType::Text || pattern.is_empty() || pattern.len() > limits::LABEL_BYTES
        }) {
            wrong("pattern", "只有文本可有格式", "of a text alone, of at most 200 bytes");
        }
    }

    fn check_revision(&self, before: &Defined, wrong: &mut impl FnMut(&str, &str, &str)) {
        if before.definition.ty != self.ty {
            wrong("type", "类型不可更改", "a type never changes; define another field");
        }
        let is_kept = |old: &Choice| self.choices.iter().any(|choice| choice.value == old.value);
        if !before.definition.choices.iter().all(is_kept) {
            wrong("choices", "选项只可增加", "choices only become more");
        }
        if before.retired.is_some() && !self.is_retired {
            wrong("retired", "已停用的字段不可恢复", "what is retired stays so; define another field");
        }
    }
}

impl Choice {
    fn to_value(&self) -> Value {
        Value::List([&self.value, &self.zh, &self.en].map(|text| Value::from(text.as_str())).to_vec())
    }

    fn of_value(value: &Value) -> Option<Choice> {
        let Value::List(parts) = value else { return None };
        let [value, zh, en] = parts.as_slice() else { return None };
        let text = |part: &Value| part.as_text().map(str::to_owned);
        Some(Choice { value: text(value)?, zh: text(zh)?, en: text(en)? })
    }
}

/// A name as fields have it on the wire.
fn is_name(id: &str) -> bool {
    let is_first = id.starts_with(|first: char| first.is_ascii_lowercase());
    is_first && id.len() <= 40 && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The definitions that revisions come to, by kind and name, whatever the order in which they are given. A revision of another
/// type than the first is passed over.
pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Defined> {
    let mut revisions: Vec<(Definition, Timestamp, EntryId)> =
        entries.into_iter().filter_map(|entry| Some((Definition::read(entry)?, entry.occurred_at, entry.id))).collect();
    revisions.sort_by_key(|(definition, at, id)| (definition.version, *at, *id));
    let mut standing: BTreeMap<(String, String), Defined> = BTreeMap::new();
    for (definition, ..) in revisions {
        let key = (definition.kind.clone(), definition.id.clone());
        let version = definition.version;
        match standing.get_mut(&key) {
            None => {
                let retired = definition.is_retired.then_some(version);
                standing.insert(key, Defined { definition, since: version, retired });
            }
            Some(defined) if defined.definition.ty == definition.ty => defined.revise(definition),
            Some(_) => {}
        }
    }
    standing.into_values().collect()
}

/// The version of a kind's definitions: that of the last revision.
pub fn version<'a>(entries: impl IntoIterator<Item = &'a Entry>, kind: &str) -> u32 {
    let of_kind = entries.into_iter().filter_map(Definition::read).filter(|definition| definition.kind == kind);
    of_kind.map(|definition| definition.version).max().unwrap_or(0)
}

impl Defined {
    fn revise(&mut self, mut next: Definition) {
        let gone = self.definition.choices.iter().filter(|old| next.choices.iter().all(|new| new.value != old.value));
        let gone: Vec<Choice> = gone.cloned().collect();
        next.choices.extend(gone);
        self.retired = self.retired.or(next.is_retired.then_some(next.version));
        next.is_retired = self.retired.is_some();
        self.definition = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(version: u32) -> Definition {
        Definition {
            id: "tyre_brand".into(),
            kind: "repair_order".into(),
            zh: "轮胎品牌".into(),
            en: "Tyre brand".into(),
            ty: FieldType::Choice,
            choices: vec![choice("a"), choice("b")],
            range: None,
            pattern: None,
            required_in_state: Vec::new(),
            is_retired: false,
            version,
        }
    }

    fn choice(value: &str) -> Choice {
        Choice { value: value.into(), zh: format!("{value}牌"), en: value.to_uppercase() }
    }

    fn sent(definition: &Definition, n: u8) -> Entry {
        let stamp = Stamp { id: EntryId::from_bytes([n; 16]), now: Timestamp(1_790_000_000_000 + i64::from(n)) };
        Entry::from_bytes(&definition.entry(stamp).to_bytes()).unwrap()
    }

    #[test]
    fn every_definition_is_read_as_it_was_written() {
        let plain = Definition { choices: Vec::new(), ty: FieldType::Text, ..definition(1) };
        for definition in [
            definition(1),
            plain.clone(),
            Definition { pattern: Some("[A-Z]{2}".into()), ..plain.clone() },
            Definition { ty: FieldType::Number, range: Some((-3, 9)), ..plain.clone() },
            Definition { required_in_state: vec!["settled".into(), "closed".into()], ..plain.clone() },
            Definition { is_retired: true, version: u32::MAX, ..plain },
        ] {
            assert_eq!(Definition::read(&sent(&definition, 7)), Some(definition));
        }
    }

    /// Proves R-DOWN-7.
    #[test]
    fn revisions_come_to_the_same_in_any_order_and_take_nothing_back() {
        let first = sent(&definition(1), 1);
        let more = sent(&Definition { choices: vec![choice("c")], zh: "品牌".into(), ..definition(2) }, 2);
        let other_type = sent(&Definition { ty: FieldType::Text, choices: Vec::new(), ..definition(3) }, 3);
        let retired = sent(&Definition { is_retired: true, ..definition(4) }, 4);
        let back = sent(&definition(5), 5);
        let all = [&first, &more, &other_type, &retired, &back];
        let mut orders = vec![all.to_vec(), all.iter().rev().copied().collect()];
        orders.push(vec![&retired, &first, &back, &more, &other_type, &first]);
        for order in orders {
            let folded = fold(order);
            assert_eq!(folded.len(), 1);
            let Defined { definition, since, retired } = &folded[0];
            let values: Vec<&str> = definition.choices.iter().map(|choice| choice.value.as_str()).collect();
            assert_eq!((*since, *retired, definition.is_retired, definition.version), (1, Some(4), true, 5));
            assert_eq!((values, definition.ty), (vec!["a", "b", "c"], FieldType::Choice));
        }
        assert_eq!((version(all, "repair_order"), version(all, "survey")), (5, 0));
    }

    /// Proves R-DOWN-7.
    #[test]
    fn what_is_wrong_with_a_definition_is_said_at_once() {
        let standing = fold([&sent(&definition(1), 1)]);
        let retired = fold([&sent(&Definition { is_retired: true, ..definition(1) }, 1)]);
        let text = Definition { ty: FieldType::Text, choices: Vec::new(), id: "colour".into(), ..definition(2) };
        let check = |definition: Definition, standing: &[Defined], expected: &[&str]| {
            let problems = definition.problems(standing);
            let fields: Vec<&str> = problems.iter().filter_map(|problem| problem.field.as_deref()).collect();
            assert_eq!(fields, expected, "{definition:?}: {problems:?}");
        };
        check(definition(2), &standing, &[]);
        check(text.clone(), &standing, &[]);
        check(Definition { id: "Tyre".into(), kind: "x".into(), ..text.clone() }, &[], &["id", "kind"]);
        check(Definition { id: "vin".into(), en: " ".into(), ..text.clone() }, &[], &["id", "labels"]);
        check(Definition { required_in_state: vec!["moon".into()], ..text.clone() }, &[], &["required_in_state"]);
        check(
            Definition { range: Some((1, 2)), pattern: Some(String::new()), ..text.clone() },
            &[],
            &["range", "pattern"],
        );
        check(Definition { choices: vec![choice("a"), choice("a")], ..definition(2) }, &[], &["choices"]);
        check(Definition { choices: Vec::new(), ..definition(2) }, &[], &["choices"]);
        check(Definition { ty: FieldType::Number, range: Some((2, 1)), ..text.clone() }, &[], &["range"]);
        check(Definition { choices: vec![choice("a")], ..definition(2) }, &standing, &["choices"]);
        check(Definition { id: "tyre_brand".into(), ..text }, &standing, &["type", "choices"]);
        check(definition(2), &retired, &["retired"]);
        let many: Vec<Entry> = (0..limits::DEFINITIONS)
            .map(|n| {
                let stamp = Stamp { id: EntryId::from_bytes([n as u8; 16]), now: Timestamp(0) };
                Definition { id: format!("f{n}"), ..definition(n as u32) }.entry(stamp)
            })
            .collect();
        check(definition(999), &fold(&many), &["id"]);
    }
}
