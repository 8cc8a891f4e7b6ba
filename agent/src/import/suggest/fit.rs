//! Which columns fit which fields of a kind, and which kind fits a table best.
//!
//! A name proposes, the cells decide: a column whose cells do not read as a field's type is no match for it, whatever
//! it is called. Each column serves one field and each field one column, the best likeness first.

use waystation_protocol::document::field::Field;
use waystation_protocol::document::flow::VOID;
use waystation_protocol::kind::{KINDS, Kind, header};
use waystation_protocol::value::Type;

use super::content::{self, Fit, Label};
use super::look::{Column, Seen};
use super::words::{self, Dictionary, LIKELY, Points};

/// Where a column can go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// The map's `site`.
    Site,
    /// The map's `state`.
    State,
    /// A field.
    Field(&'static Field),
}

/// A place, under the name it has in a map.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// `site`, `state`, a field, or `group#1.field`.
    pub(super) key: String,
    pub(super) place: Place,
    /// How much it tells of the kind.
    weight: u32,
}

/// A column that goes to a target.
pub(super) struct Match {
    pub(super) column: usize,
    pub(super) target: Target,
    pub(super) points: Points,
    pub(super) fit: Fit,
}

/// A kind and what of it was found.
pub(super) struct Candidate {
    pub(super) kind: &'static Kind,
    /// In the order of the kind's form.
    pub(super) matches: Vec<Match>,
    /// Columns that go by a target's name but not by its type: column, target, what does not read.
    pub(super) misfits: Vec<(usize, Target, Fit)>,
    /// What the matches weigh together.
    pub(super) score: u32,
}

/// What a kind must weigh to be proposed: two fields that only it has, or three of anyone's.
const ENOUGH: u32 = 18;

/// What it weighs against a kind that no column names the document it hangs on.
const LINK_WEIGHT: u32 = 6;

impl Candidate {
    /// Whether so much fits that this kind can be proposed unasked.
    pub(super) fn is_enough(&self) -> bool {
        self.score >= ENOUGH
    }

    /// The fields found, by name.
    pub(super) fn found(&self) -> Vec<&str> {
        let fields = self.matches.iter().filter(|found| found.target.weight > 2 && found.target.key != "state");
        fields.map(|found| found.target.key.as_str()).collect()
    }

    /// The match of a key.
    pub(super) fn matched(&self, key: &str) -> Option<&Match> {
        self.matches.iter().find(|found| found.target.key == key)
    }
}

/// Every kind, or the one asked for, with what fits it; the best first.
pub(super) fn candidates(seen: &Seen, asked: Option<&'static Kind>, dictionary: &Dictionary) -> Vec<Candidate> {
    let kinds = KINDS.iter().copied().filter(|kind| asked.is_none_or(|asked| asked.name == kind.name));
    let mut candidates: Vec<Candidate> = kinds.map(|kind| candidate(kind, seen, dictionary)).collect();
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.score));
    candidates
}

/// Every place of a kind that a column can fill, in the order of its form.
pub(super) fn targets(kind: &'static Kind) -> Vec<Target> {
    let mut targets = vec![
        Target { key: "site".to_owned(), place: Place::Site, weight: 2 },
        Target { key: "state".to_owned(), place: Place::State, weight: 12 },
    ];
    for (column, weight) in [(header::NUMBER.name(), 2), (header::OCCURRED_AT.name(), 2), (header::TEXT.name(), 0)] {
        let field = kind.field(column).expect("every kind has the header's fields");
        targets.push(Target { key: column.to_owned(), place: Place::Field(field), weight });
    }
    for field in kind.fields {
        let is_telling = field.required_from.is_some() || field.is_searched;
        let weight = if is_telling { 13 } else { 10 };
        targets.push(Target { key: field.name.to_owned(), place: Place::Field(field), weight });
    }
    let lines: usize = kind.lines.iter().map(|lines| lines.fields.len()).sum();
    // Where most fields are those of lines, the lines are what the kind is about.
    let weight = if lines > kind.fields.len() { 10 } else { 6 };
    for group in kind.lines {
        for field in group.fields {
            let key = format!("{}#1.{}", group.name, field.name);
            let weight = if field.required_from.is_some() { weight + 3 } else { weight };
            targets.push(Target { key, place: Place::Field(field), weight });
        }
    }
    targets
}

/// The labels of a kind's states.
pub(super) fn state_labels(kind: &Kind) -> Vec<Label> {
    kind.states.iter().chain([&VOID]).map(|state| (state.name, state.zh, state.en)).collect()
}

fn candidate(kind: &'static Kind, seen: &Seen, dictionary: &Dictionary) -> Candidate {
    let targets = targets(kind);
    let mut found: Vec<(Points, usize, usize, Fit)> = Vec::new();
    let mut misfits = Vec::new();
    for (place, target) in targets.iter().enumerate() {
        for (index, column) in seen.columns.iter().enumerate() {
            let named = likeness(kind, target, column, seen.header, dictionary);
            let Some((points, fit)) = weigh(kind, target, column, named, seen) else { continue };
            if points >= LIKELY {
                found.push((points, place, index, fit));
            } else if named >= LIKELY && is_misfit(target, &fit) {
                misfits.push((named, place, index, fit));
            }
        }
    }
    let best_first =
        |(points, place, index, _): &(Points, usize, usize, Fit)| (std::cmp::Reverse(*points), *place, *index);
    found.sort_by_key(best_first);
    misfits.sort_by_key(best_first);
    let (mut taken, mut filled) = (vec![false; seen.columns.len()], vec![false; targets.len()]);
    let mut matches: Vec<(usize, Match)> = Vec::new();
    for (points, place, column, fit) in found {
        if !taken[column] && !filled[place] {
            (taken[column], filled[place]) = (true, true);
            matches.push((place, Match { column, target: targets[place].clone(), points, fit }));
        }
    }
    matches.sort_by_key(|(place, _)| *place);
    let matches: Vec<Match> = matches.into_iter().map(|(_, found)| found).collect();
    let mut misfit = Vec::new();
    for (_, place, column, fit) in misfits {
        if !taken[column] && !filled[place] {
            (taken[column], filled[place]) = (true, true);
            misfit.push((column, targets[place].clone(), fit));
        }
    }
    let score: u32 = matches.iter().map(|found| found.target.weight * found.points / 100).sum();
    // a kind that hangs on another document is hardly meant where no column names that one
    let is_met = |field: &Field| matches.iter().any(|found| found.target.key == field.name);
    let hangs = |field: &&Field| matches!(field.ty, Type::Link(_)) && field.required_from.is_some();
    let unmet = kind.fields.iter().filter(hangs).filter(|field| !is_met(field)).count();
    let score = score.saturating_sub(LINK_WEIGHT * u32::try_from(unmet).unwrap_or(u32::MAX));
    Candidate { kind, matches, misfits: misfit, score }
}

/// Whether it is the cells that speak against a column.
fn is_misfit(target: &Target, fit: &Fit) -> bool {
    match target.place {
        Place::Site => false,
        Place::State => true,
        Place::Field(field) => field.ty != Type::Text && fit.share() < 50,
    }
}

fn likeness(kind: &Kind, target: &Target, column: &Column, header: bool, dictionary: &Dictionary) -> Points {
    if !header {
        return 0;
    }
    match target.place {
        Place::Site | Place::State => dictionary.likeness(&column.name, &target.key, &[]),
        Place::Field(field) => {
            let is_header =
                header::FIELDS.iter().any(|own| own.name == field.name) && kind.field(&target.key).is_some();
            let path = if is_header && !kind.fields.iter().any(|own| own.name == field.name) {
                target.key.clone()
            } else {
                format!("{}.{}", kind.name, target.key)
            };
            dictionary.likeness(&column.name, &path, &[field.name, field.zh, field.en])
        }
    }
}

/// What name and cells together say; none where neither says anything.
fn weigh(kind: &Kind, target: &Target, column: &Column, named: Points, seen: &Seen) -> Option<(Points, Fit)> {
    match target.place {
        Place::Site => (named >= LIKELY).then(|| site(column, named, seen.rows.len())),
        Place::State => {
            let fit = content::choice(column, &state_labels(kind));
            let points = told(&fit, named, 88);
            (points >= LIKELY || named >= LIKELY).then_some((points, fit))
        }
        Place::Field(field) => field_points(field, target, column, named, seen),
    }
}

fn field_points(field: &Field, target: &Target, column: &Column, named: Points, seen: &Seen) -> Option<(Points, Fit)> {
    let is_choice = matches!(field.ty, Type::Choice(_));
    let is_own = field.name == "vin" && column.looks.is_vin || field.name == "plate" && column.looks.is_plate;
    let is_only_date = !seen.header && field.name == header::OCCURRED_AT.name() && only_date(column, seen);
    if named < LIKELY && !is_choice && !is_own && !is_only_date {
        return None;
    }
    // A fee is no number of hours, and no name of a part, however much its name begins like one.
    if field.ty != Type::Money && named < 100 && words::names_money(&column.name) {
        return None;
    }
    let fit = content::read(field.ty, column);
    let points = match field.ty {
        Type::Choice(_) => told(&fit, named, if target.key.contains('#') { 60 } else { 85 }),
        Type::Text if is_own => named.max(90),
        // A text takes anything; what looks like something else is probably meant for that.
        Type::Text if column.looks.is_dates || column.looks.is_vin || column.looks.is_plate => named * 40 / 100,
        Type::Text if fit.all == 0 => named * 70 / 100,
        _ if is_only_date => 60,
        _ => match fit.share() {
            90.. => named,
            50.. if fit.all > 0 => named * 80 / 100,
            50.. => named * 70 / 100,
            _ => 0,
        },
    };
    (points > 0 || named >= LIKELY).then_some((points, fit))
}

/// Points of a column whose cells are to be among certain words: by its name, or `unnamed` by its cells alone.
fn told(fit: &Fit, named: Points, unnamed: Points) -> Points {
    let meanings: std::collections::BTreeSet<&str> = fit.values.iter().map(|(_, name)| *name).collect();
    match fit.share() {
        80.. if fit.all > 0 && meanings.len() > 1 => named.max(unnamed),
        80.. if fit.all > 0 => named,
        50.. if fit.all > 0 => named * 80 / 100,
        _ => 0,
    }
}

/// A site's column has few different cells, and hardly a blank one.
fn site(column: &Column, named: Points, rows: usize) -> (Points, Fit) {
    let is_name = |value: &str| value.parse::<waystation_protocol::site::SiteId>().is_ok();
    let good = column.values().filter(|(value, _)| is_name(value)).map(|(_, count)| count).sum();
    let fit = Fit { good, all: column.filled(), ..Fit::default() };
    let is_few = rows < 20 || column.cells.len() * 2 <= rows;
    let is_full = column.blank * 10 <= rows;
    let is_other = column.looks.is_dates || column.looks.is_vin;
    let points = match (is_few && !is_other, is_full) {
        (false, _) => 0,
        (true, true) => named,
        (true, false) => named * 60 / 100,
    };
    (points, fit)
}

fn only_date(column: &Column, seen: &Seen) -> bool {
    column.looks.is_dates && seen.columns.iter().filter(|column| column.looks.is_dates).count() == 1
}
