//! The proposal before it is text: what the map will say, and what a person must decide about it.

use waystation_protocol::document::field::Field;
use waystation_protocol::kind::{Kind, header};
use waystation_protocol::value::Type;

use super::content::{self, Fit};
use super::dates::Doubt;
use super::fit::{self, Candidate, Match, Place};
use super::look::{Column, Seen};
use super::write::{listed, quoted};
use super::{key, private, remarks, words};

/// Something to be said beside an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// Whether somebody must decide it before the first import.
    pub(super) is_open: bool,
    pub(super) text: String,
}

/// An entry of the map.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) column: Option<String>,
    pub(super) constant: Option<String>,
    pub(super) values: Vec<(String, String)>,
    pub(super) null: Vec<String>,
    pub(super) date: Vec<String>,
    pub(super) is_comma: bool,
    pub(super) unit: Option<String>,
    pub(super) unit_column: Option<String>,
    pub(super) notes: Vec<Note>,
    /// Whether it stands there as a comment only.
    pub(super) is_off: bool,
}

/// A whole proposal.
pub(super) struct Plan {
    pub(super) kind: &'static Kind,
    pub(super) source: String,
    pub(super) key: Vec<String>,
    pub(super) key_note: Note,
    pub(super) site: Entry,
    pub(super) state: Entry,
    pub(super) fields: Vec<Entry>,
    /// Required fields that nothing fits: key, and its choices where it has any.
    pub(super) missing: Vec<(String, Vec<&'static str>)>,
    /// Columns that go nowhere: name, and what they hold.
    pub(super) left: Vec<(String, String)>,
}

/// Something to know.
pub(super) fn note(text: impl Into<String>) -> Note {
    Note { is_open: false, text: text.into() }
}

/// Something to decide.
pub(super) fn open(text: impl Into<String>) -> Note {
    Note { is_open: true, text: text.into() }
}

impl Plan {
    /// What a candidate makes of a table. `name` is the file's.
    pub(super) fn new(candidate: &Candidate, seen: &Seen, name: &str) -> Plan {
        let kind = candidate.kind;
        let (key, key_note) = key::of(candidate, seen);
        let mut fields: Vec<Entry> = candidate.matches.iter().filter_map(|found| field(kind, found, seen)).collect();
        if is_outdone(candidate) {
            fields.retain(|entry| entry.key != header::OCCURRED_AT.name());
        }
        if let Some(entry) = fields.iter_mut().find(|entry| entry.key == "quantity") {
            entry.notes.extend(remarks::directions(candidate, seen));
        }
        fields.extend(when(candidate, &fields, seen));
        fields.extend(due(kind, &fields));
        fields.sort_by_key(|entry| fit::targets(kind).iter().position(|target| target.key == entry.key));
        let misfits = candidate.misfits.iter().filter(|(_, target, _)| !matches!(target.place, Place::State));
        fields.extend(misfits.map(|(column, target, fit)| misfit(&seen.columns[*column], &target.key, fit)));
        let mut plan = Plan {
            kind,
            source: source(name, kind),
            key,
            key_note,
            site: site(candidate, seen),
            state: state(candidate, seen),
            fields,
            missing: missing(candidate),
            left: Vec::new(),
        };
        if plan.site.is_off && stem(name) != name.split('.').next().unwrap_or_default() {
            plan.site.notes.push(open(
                "the source leaves out what numbers the file's name, so that later exports of one table share it: give the \
                 table of another outlet another source, or rows of one number count as one",
            ));
        }
        plan.left = plan.left(seen);
        plan
    }

    /// Every entry with its notes, in the order of the map.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        [&self.site, &self.state].into_iter().chain(&self.fields)
    }

    /// Says of `column` that so many rows would be rejected for it, unless that is said already.
    pub(super) fn tell_rejects(&mut self, column: &str, rejected: usize, rows: usize) {
        let is_of = |entry: &Entry| !entry.is_off && entry.column.as_deref() == Some(column);
        let is_told = |entry: &Entry| entry.notes.iter().any(|note| note.text.contains("rejected"));
        if self.entries().any(|entry| is_of(entry) && is_told(entry)) {
            return;
        }
        let mut entries = [&mut self.site, &mut self.state].into_iter().chain(&mut self.fields);
        if let Some(entry) = entries.find(|entry| is_of(entry)) {
            entry.notes.push(open(format!("{rejected} of {rows} rows would be rejected for this column")));
        }
    }

    fn left(&self, seen: &Seen) -> Vec<(String, String)> {
        let used = |name: &str| {
            let reads =
                |entry: &Entry| [&entry.column, &entry.unit_column].iter().any(|of| of.as_deref() == Some(name));
            self.key.iter().any(|key| key == name) || self.entries().any(reads)
        };
        let left = seen.columns.iter().filter(|column| !used(&column.name));
        left.map(|column| (column.name.clone(), described(column))).collect()
    }
}

fn described(column: &Column) -> String {
    let different = column.cells.len();
    match (different, private::sample(column)) {
        (0, _) => "empty".to_owned(),
        (1, Some(sample)) => format!("always {}", quoted(&sample)),
        (_, Some(sample)) => format!("such as {}", quoted(&sample)),
        (_, None) => format!("{different} different, not shown"),
    }
}

/// A file's name without its ending, and without what numbers it.
fn stem(name: &str) -> &str {
    let stem = name.split('.').next().unwrap_or_default();
    stem.trim_end_matches(|character: char| character.is_ascii_digit() || " _-()".contains(character))
}

/// The file's name up to its date or number: later exports of the same table share it.
fn source(name: &str, kind: &Kind) -> String {
    let stem: String = private::visible(stem(name)).chars().take(40).collect();
    if stem.is_empty() { kind.name.to_owned() } else { stem }
}

fn site(candidate: &Candidate, seen: &Seen) -> Entry {
    let Some(found) = candidate.matched("site") else {
        return Entry {
            key: "site".to_owned(),
            constant: Some("3702".to_owned()),
            notes: vec![note("no column names the outlet: the agent's own site, or this one")],
            is_off: true,
            ..Entry::default()
        };
    };
    let column = &seen.columns[found.column];
    let different = column.cells.len();
    let mut notes = vec![note(format!(
        "{different} {} in the rows seen; those the agent does not stand for are skipped: --sites '*' is for migration",
        if different == 1 { "site" } else { "sites" }
    ))];
    if found.points < 100 {
        notes.insert(0, open("is this the outlet? nothing says so but its name and that it has few values"));
    }
    if column.blank > 0 {
        notes.push(open(format!(
            "{} rows are blank and would be rejected: add values = {{ \"\" = \"SITE\" }}, keep = true",
            column.blank
        )));
    }
    Entry { key: "site".to_owned(), column: Some(column.name.clone()), notes, ..Entry::default() }
}

/// Where all fields are filled: the first state then from which nothing leads on.
fn last_state(kind: &Kind) -> &'static str {
    let place = |field: &Field| {
        let from = field.required_from?;
        kind.states.iter().position(|state| state.name == from.name)
    };
    let full = kind.fields.iter().filter_map(place).max().unwrap_or(0);
    let is_last = |name: &str| !kind.flow.iter().any(|step| step.starts_in(name));
    let mut after = kind.states[full..].iter();
    after.find(|state| is_last(state.name)).or(kind.states.last()).map_or("", |state| state.name)
}

fn state(candidate: &Candidate, seen: &Seen) -> Entry {
    let kind = candidate.kind;
    if let Some(found) = candidate.matched("state") {
        let mut entry = entry(found, &seen.columns[found.column]);
        entry.notes.insert(0, open("are these the states meant?"));
        return entry;
    }
    let last = last_state(kind);
    let others: Vec<&str> = kind.states.iter().map(|state| state.name).filter(|name| *name != last).collect();
    let mut notes = match others.as_slice() {
        [] => vec![note("the only state there is")],
        others => vec![
            open(format!("every row becomes {last}, the last state: is that so?")),
            note(format!("other states: {}", others.join(", "))),
        ],
    };
    if let Some((column, ..)) = candidate.misfits.iter().find(|(_, target, _)| matches!(target.place, Place::State)) {
        let column = &seen.columns[*column];
        let cells: Vec<String> = column.cells.iter().take(8).map(|(cell, _)| cell.clone()).collect();
        let told = private::told(column, &cells);
        notes.push(open(format!(
            "or by column {}, whose values are no states: {{ column = …, values = {{ {} }} }}",
            quoted(&column.name),
            told.iter().map(|value| format!("{} = \"…\"", quoted(value))).collect::<Vec<_>>().join(", "),
        )));
    }
    Entry { key: "state".to_owned(), constant: Some(last.to_owned()), notes, ..Entry::default() }
}

/// An entry with what its column reads by.
fn entry(found: &Match, column: &Column) -> Entry {
    let fit = &found.fit;
    let bad = fit.all - fit.good;
    let mut notes = Vec::new();
    if bad > 0 {
        let told = private::told(column, &fit.unread);
        let what = if fit.values.is_empty() { "do not read" } else { "are not among these" };
        let such = if told.is_empty() { String::new() } else { format!(": {}", listed(&told)) };
        let cure = if fit.values.is_empty() { "null" } else { "values" };
        let choices = match found.target.place {
            Place::Field(Field { ty: Type::Choice(choices), .. }) => {
                let names: Vec<&str> = choices.iter().map(|choice| choice.name).collect();
                format!("; its choices are {}", names.join(", "))
            }
            _ => String::new(),
        };
        notes.push(open(format!(
            "{bad} of {} cells {what} and would be rejected, unless {cure} lists them{such}{choices}",
            fit.all
        )));
    }
    if fit.all == 0 {
        notes.push(note("blank in all rows seen: only its name speaks for it"));
    }
    Entry {
        key: found.target.key.clone(),
        column: Some(column.name.clone()),
        values: fit.values.iter().map(|(cell, name)| (cell.clone(), (*name).to_owned())).collect(),
        null: fit.null.clone(),
        date: fit.date.clone(),
        is_comma: fit.is_comma,
        unit: fit.unit.clone(),
        notes,
        ..Entry::default()
    }
}

fn field(kind: &Kind, found: &Match, seen: &Seen) -> Option<Entry> {
    let Place::Field(field) = found.target.place else { return None };
    let column = &seen.columns[found.column];
    let mut entry = entry(found, column);
    if matches!(field.ty, Type::Date | Type::Time | Type::Due) {
        entry.notes.extend(doubt(column));
    }
    if matches!(field.ty, Type::Quantity | Type::Money) && !entry.is_comma {
        entry.notes.extend(content::thousands(column).map(|cell| {
            open(format!(
                "{} is read as a decimal: if its point stands between thousands, add decimal = \",\"",
                quoted(cell)
            ))
        }));
    }
    let states_unit =
        column.values().any(|(value, _)| value.contains(|c: char| c.is_alphabetic() || "¥￥".contains(c)));
    if entry.unit.is_none() && !states_unit {
        entry.unit_column = content::unit_column(field.ty, &seen.columns);
        match field.ty {
            _ if entry.unit_column.is_some() => {}
            Type::Money => {
                entry.unit = content::stated_currency(&seen.columns);
                entry.notes.push(match &entry.unit {
                    Some(unit) => open(format!("in {unit}, as the header says of other columns: is that so?")),
                    None if let Some(column) = seen.columns.iter().find(|column| words::names_a_currency(&column.name)) => {
                        open(format!(
                            "counted as CNY, although column {} seems to name currencies: say unit_column with it where its cells \
                             are codes such as USD, or unit",
                            quoted(&column.name)
                        ))
                    }
                    None if seen.columns.iter().any(|column| has_hanzi(&column.name)) => note("counted in CNY"),
                    None => open("amounts count as CNY: add unit = \"EUR\" or what they are in"),
                });
            }
            Type::Quantity => entry.notes.push(note("counted in 件: add unit = \"…\" for another")),
            _ => {}
        }
    }
    let is_hint = found.points < 100;
    entry.notes.extend(remarks::of(kind.name, &found.target.key, is_hint));
    Some(entry)
}

fn has_hanzi(text: &str) -> bool {
    text.chars().any(|character| ('\u{4e00}'..='\u{9fff}').contains(&character))
}

/// Day or month first, where the column leaves it open.
fn doubt(column: &Column) -> Option<Note> {
    let dates = column.looks.dates.as_ref()?;
    let others = |formats: &Vec<String>| listed(formats);
    dates.doubt.as_ref().map(|doubt| match doubt {
        Doubt::Both(formats) => {
            open(format!("day or month first? all values seen read both ways; the other: date = [{}]", others(formats)))
        }
        Doubt::Mixed(formats) => open(format!(
            "some values read only in the other order of day and month ({}): mend the file, or they are rejected",
            others(formats)
        )),
    })
}

/// Whether the column for `occurred_at` only perhaps says when it happened, and another says when it was opened.
fn is_outdone(candidate: &Candidate) -> bool {
    let points = |key: &str| candidate.matched(key).map_or(0, |found| found.points);
    points("checked_in_at") > points(header::OCCURRED_AT.name())
}

/// `occurred_at`, by which most reports count, where no column is its own: from a column that has another field.
fn when(candidate: &Candidate, fields: &[Entry], seen: &Seen) -> Option<Entry> {
    let key = header::OCCURRED_AT.name();
    if fields.iter().any(|entry| entry.key == key) {
        return None;
    }
    let sources = ["checked_in_at", "delivered_at", "date", "failed_at", "released_at", "slot", "recorded_at"];
    let found = sources.iter().find_map(|source| candidate.matched(source));
    let Some(found) = found else {
        return Some(Entry {
            key: key.to_owned(),
            column: Some("…".to_owned()),
            notes: vec![open("no column says when it happened: all rows would count on the day of the import")],
            is_off: true,
            ..Entry::default()
        });
    };
    let column = &seen.columns[found.column];
    let fit = content::read(Type::Time, column);
    let mut notes = vec![note(format!("when it happened, by which reports count: the same as {}", found.target.key))];
    let silent = seen.rows.len() - fit.all;
    if silent > 0 {
        notes.push(open(format!(
            "{silent} of {} rows say nothing here: they count on the day of the import",
            seen.rows.len()
        )));
    }
    Some(Entry {
        key: key.to_owned(),
        column: Some(column.name.clone()),
        date: fit.date,
        null: fit.null,
        notes,
        ..Entry::default()
    })
}

/// `due_at` of a delivery, where no column says it.
fn due(kind: &Kind, fields: &[Entry]) -> Option<Entry> {
    let key = waystation_protocol::kind::delivery_item::DUE_AT.name();
    let is_missing = kind.name == "delivery_item" && !fields.iter().any(|entry| entry.key == key);
    is_missing.then(|| Entry {
        key: key.to_owned(),
        column: Some("…".to_owned()),
        notes: vec![open("no column says when it was due: none would count as on time or late")],
        is_off: true,
        ..Entry::default()
    })
}

/// A column that a field's name fits and its cells do not: for a person to decide.
fn misfit(column: &Column, key: &str, fit: &Fit) -> Entry {
    let told = private::told(column, &fit.unread);
    let such = if told.is_empty() { String::new() } else { format!(", such as {}", quoted(&told[0])) };
    let text = format!("by its name, but {} of {} cells do not read{such}", fit.all - fit.good, fit.all);
    Entry {
        key: key.to_owned(),
        column: Some(column.name.clone()),
        notes: vec![open(text)],
        is_off: true,
        ..Entry::default()
    }
}

/// What the kind asks of its clerks and no column gives. Fields of lines count where the table has such lines.
fn missing(candidate: &Candidate) -> Vec<(String, Vec<&'static str>)> {
    let has_line = |key: &str| {
        key.split_once('.').is_none_or(|(group, _)| {
            candidate.matches.iter().any(|found| found.target.key.split_once('.').is_some_and(|(own, _)| own == group))
        })
    };
    let is_misfit = |key: &str| candidate.misfits.iter().any(|(_, target, _)| target.key == key);
    let mut missing = Vec::new();
    for target in fit::targets(candidate.kind) {
        let Place::Field(field) = target.place else { continue };
        let is_asked = field.required_from.is_some() && has_line(&target.key);
        if is_asked && candidate.matched(&target.key).is_none() && !is_misfit(&target.key) {
            let choices = match field.ty {
                Type::Choice(choices) => choices.iter().map(|choice| choice.name).collect(),
                _ => Vec::new(),
            };
            missing.push((target.key, choices));
        }
    }
    missing
}
