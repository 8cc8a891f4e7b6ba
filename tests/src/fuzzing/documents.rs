//! The fold and everything that looks at documents: any entries, in any order, by any writer.
//!
//! An input is a script of acts. Half of its values fit their fields, so that documents get far; the rest are anything.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::{Books, Moment, Wish, capture};
use waystation_protocol::document::field::{Field, Key};
use waystation_protocol::document::fold::{Writer, fold};
use waystation_protocol::entry::Entry;
use waystation_protocol::fact::{self, Fact};
use waystation_protocol::form;
use waystation_protocol::id::EntryId;
use waystation_protocol::kind::{self, KINDS, Kind, header};
use waystation_protocol::site::Sites;
use waystation_protocol::time::{Timestamp, zone};
use waystation_protocol::value::{Type, Value};

use super::Input;

const ACTS: usize = 24;

struct NoBooks(i64);

impl Books for NoBooks {
    fn on_hand_milli(&self, _: &str, _: &str) -> i64 {
        self.0
    }
    fn positions(&self) -> (u64, u64) {
        (5, u64::MAX)
    }
}

/// Plays a script, and folds it again from the entries' bytes.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.pick(KINDS);
    let zone = zone("").expect("the default zone is bundled");
    let sites = [Sites::All, Sites::Only(vec!["3702".parse().expect("a site's name")])];
    let mut document: Option<Document> = None;
    for number in 1..=ACTS {
        if input.is_empty() {
            return;
        }
        let how = input.byte();
        let writer = match how % 4 {
            0 => Writer::Hub,
            1 => Writer::Agent(&sites[0]),
            _ => Writer::Agent(&sites[1]),
        };
        let (act, set) = (act(kind, &mut input), set(kind, &mut input));
        let id = EntryId::from_bytes([number as u8; 16]);
        let next = if how & 0x80 == 0 {
            captured(document.as_ref(), kind, act, set, id, writer)
        } else {
            folded(document.as_ref(), &entry(document.as_ref(), kind, act, set, id, how), writer)
        };
        if let Some(next) = next {
            holds(kind, document.as_ref(), &next, &zone);
            document = Some(next);
        }
    }
}

fn act(kind: &Kind, input: &mut Input<'_>) -> String {
    let acts: Vec<&str> = kind.flow.iter().map(|step| step.act).collect();
    let all = [acts, vec![header::IMPORTED, header::VOIDED, header::NOTE, ""]].concat();
    input.pick(&all).to_owned()
}

fn set(kind: &'static Kind, input: &mut Input<'_>) -> BTreeMap<String, Value> {
    let mut set = BTreeMap::new();
    for _ in 0..input.byte() % 12 {
        let (key, ty) = key(kind, input);
        let value = if input.byte() & 1 == 0 { fitting(kind, &key, ty, input) } else { any(input, 2) };
        set.insert(key, value);
    }
    set
}

fn key(kind: &'static Kind, input: &mut Input<'_>) -> (String, Type) {
    let choice = input.byte();
    if choice == 255 {
        return (input.text(), Type::Text);
    }
    if choice == 254 {
        return (format!("custom.{}", input.text()), Type::Text);
    }
    let lines = kind.lines.iter().flat_map(|group| group.fields.iter().map(move |field| (Some(group.name), field)));
    let fields: Vec<(Option<&str>, &Field)> =
        header::FIELDS.iter().chain(kind.fields).map(|field| (None, field)).chain(lines).collect();
    let (group, field) = fields[usize::from(choice) % fields.len()];
    match group {
        None => (field.name.to_owned(), field.ty),
        Some(group) => (format!("{group}#{}.{}", input.byte() % 3 + 1, field.name), field.ty),
    }
}

/// A value of the field's type, as a clerk may well give it.
fn fitting(kind: &Kind, key: &str, ty: Type, input: &mut Input<'_>) -> Value {
    match (key, ty) {
        ("site", _) => Value::from("3702"),
        ("state", _) => Value::from(input.pick(kind.states).name),
        (_, Type::Text) => Value::from(input.pick(&["1M8GDM9AXKP042788", "漏油", "stock", "轮胎", ""])),
        (_, Type::Integer | Type::Km | Type::Labour | Type::Date) => Value::Int(i64::from(input.byte())),
        (_, Type::Time | Type::Due) => Value::Int(1_700_000_000_000 + i64::from(input.byte()) * 7_200_000),
        (_, Type::Quantity) => Value::measured(i64::from(input.byte()) * 500 - 5_000, "件"),
        (_, Type::Money) => Value::measured(i64::from(input.byte()) * 37, input.pick(&["CNY", "CNY", "USD"])),
        (_, Type::Flag) => Value::Flag(input.byte() & 1 == 1),
        (_, Type::Choice(choices)) => Value::from(input.pick(choices).name),
        (_, Type::Link(_)) => Value::from(EntryId::from_bytes([input.byte(); 16]).to_string()),
    }
}

fn any(input: &mut Input<'_>, depth: u32) -> Value {
    match input.byte() % 7 {
        0 => Value::Null,
        1 => Value::Flag(true),
        2 => Value::Int(input.number() as i64),
        3 => Value::Text(input.text()),
        4 => Value::measured(input.number() as i64, input.pick(&["CNY", "件", "", "1e3"])),
        5 if depth > 0 => Value::List((0..input.byte() % 4).map(|_| any(input, depth - 1)).collect()),
        _ => Value::Int(input.pick(&[i64::MIN, i64::MAX, 0, -1])),
    }
}

fn captured(
    before: Option<&Document>,
    kind: &Kind,
    act: String,
    set: BTreeMap<String, Value>,
    id: EntryId,
    writer: Writer<'_>,
) -> Option<Document> {
    let wish = Wish { document: None, kind: kind.name.to_owned(), act, set, author: "王芳".to_owned(), cause: None };
    let moment = Moment { id, now: Timestamp(1_760_000_000_000), mono_ms: 1, boot: 1, clock: 0 };
    let captured = capture(before, wish, moment, writer, &NoBooks(3_000)).ok()?;
    let again = folded(before, &captured.entry, writer);
    assert_eq!(again.as_ref(), Some(&captured.document), "what is captured here folds to the same elsewhere");
    for effect in &captured.effects {
        let waystation_protocol::document::capture::Effect::Open { kind, .. } = effect else { continue };
        assert!(kind::find(kind).is_some(), "an effect opens a known kind");
    }
    again
}

fn entry(
    before: Option<&Document>,
    kind: &Kind,
    act: String,
    set: BTreeMap<String, Value>,
    id: EntryId,
    how: u8,
) -> Entry {
    let after = if how & 0x40 == 0 { before.map(|document| document.head) } else { Some(id) };
    Entry {
        id,
        document: before.filter(|_| how & 0x20 == 0).map(|document| document.id),
        after,
        kind: kind.name.to_owned(),
        form: u16::from(how & 0x10 != 0) + 1,
        act,
        set,
        author: String::new(),
        cause: None,
        occurred_at: Timestamp(if how & 8 == 0 { 0 } else { i64::MAX }),
        mono_ms: 0,
        boot: 0,
        clock: how,
    }
}

/// Folds an entry as it comes over the wire; the fold gives the same each time.
fn folded(before: Option<&Document>, entry: &Entry, writer: Writer<'_>) -> Option<Document> {
    let entry = Entry::from_bytes(&entry.to_bytes()).expect("an entry of ours survives the wire");
    let fold = || fold(before, &entry, writer, &|_| false);
    let folded = fold();
    assert_eq!(folded, fold(), "the fold is a function");
    folded.ok()
}

/// What is true of every document.
fn holds(kind: &'static Kind, before: Option<&Document>, document: &Document, zone: &TimeZone) {
    assert!(kind.state(&document.state).is_some(), "a known state");
    assert!(document.fields.values().all(|value| *value != Value::Null), "no empty fields");
    assert!(
        before.is_none_or(|before| before.id == document.id
            && before.site == document.site
            && before.kind == document.kind)
    );
    for (key, value) in &document.fields {
        let field = kind.field_at(key);
        let is_custom = matches!(Key::parse(key), Some(Key::Custom(_)));
        assert!(is_custom || field.is_some_and(|field| field.ty.fits(value)), "{key} is of its type");
    }
    let stored: Document = codec::decode_own(&codec::encode(document)).expect("a document is stored and read");
    assert_eq!((&stored, stored.digest()), (document, document.digest()));
    let _ = form::fields_json(Some(kind), &document.state, &document.fields, zone);
    facts_add_up(before, document, zone);
}

/// facts(before) + the difference = facts(after), for every measure, day and key.
fn facts_add_up(before: Option<&Document>, document: &Document, zone: &TimeZone) {
    let mut sums: BTreeMap<(&str, i32, Vec<String>), Vec<i128>> = BTreeMap::new();
    let mut add = |facts: Vec<Fact>, sign: i128| {
        for fact in facts {
            let sum =
                sums.entry((fact.measure.name, fact.day.0, fact.keys)).or_insert_with(|| vec![0; fact.values.len()]);
            sum.iter_mut().zip(fact.values).for_each(|(sum, value)| *sum += sign * i128::from(value));
        }
    };
    add(before.map_or_else(Vec::new, |before| fact::of(before, zone)), 1);
    add(fact::difference(before, Some(document), zone), 1);
    add(fact::of(document, zone), -1);
    assert!(sums.values().flatten().all(|sum| *sum == 0), "the facts do not add up: {sums:?}");
}
