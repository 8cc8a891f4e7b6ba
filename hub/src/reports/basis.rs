//! What a figure rests on: the sums it is made of, and the documents those sums come from.
//!
//! The documents' own parts add up to the figure's sums exactly, whatever became of them since they were first counted.

use waystation_protocol::document::Document;
use waystation_protocol::fact::Measure;
use waystation_protocol::time::{Day, Timestamp};

use super::answer::{AnswerError, day_of, is_forwards};
use super::completeness::{self, Completeness};
use super::values::known;
use super::{Cell, Column, Decimal, Figure, Key, Ratio, Report, Source};
use crate::store::{Group, Only, Rollup, Scope, Store, StoreError, Sum, Trace};

/// Which figure is asked about: a column, a period, and the row's keys.
#[derive(Debug, Clone)]
pub struct Pick {
    /// The report.
    pub report: &'static Report,
    /// The column.
    pub column: &'static Column,
    /// The first day, if bounded.
    pub from: Option<Day>,
    /// The last day, inclusive, if bounded.
    pub to: Option<Day>,
    /// The keys of the row; an empty text stands for "not stated".
    pub keys: Vec<(Key, String)>,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
    /// At most so many documents: 1 to 500, 50 unless told otherwise.
    pub limit: Option<usize>,
    measure: &'static Measure,
}

/// One of the sums that make up a figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The wire name.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// Its sum over all documents, in whole units.
    pub sum: Decimal,
}

/// A figure and a page of the documents behind it.
#[derive(Debug, Clone)]
pub struct Basis {
    /// The figure.
    pub value: Cell,
    /// How complete its period is.
    pub completeness: Completeness,
    /// What it is made of.
    pub parts: Vec<Part>,
    /// The documents, the latest arrivals first, each with its own part of every sum.
    pub items: Vec<(Document, Vec<Decimal>)>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A sum to take, and what it is called.
struct Wanted {
    name: &'static str,
    sum: Sum,
}

impl Pick {
    /// Reads `figure` (the first column unless told otherwise), `from`, `to`, `cursor`, `limit` and keys.
    ///
    /// # Errors
    ///
    /// A value makes no sense for this report.
    pub fn parse(report: &'static Report, pairs: &[(String, String)]) -> Result<Pick, AnswerError> {
        let Source::Measure(measure) = report.source else { return Err(AnswerError::NoDocuments(report.name)) };
        let column = &report.columns[0];
        let mut pick =
            Pick { report, column, from: None, to: None, keys: Vec::new(), cursor: None, limit: None, measure };
        for (name, value) in pairs {
            let is_given = !value.trim().is_empty();
            match name.as_str() {
                "figure" if is_given => pick.column = column_of(report, value)?,
                "from" if is_given => pick.from = Some(day_of(value)?),
                "to" if is_given => pick.to = Some(day_of(value)?),
                "cursor" if is_given => pick.cursor = Some(value.clone()),
                "limit" if is_given => pick.limit = Some(limit_of(value)?),
                "figure" | "from" | "to" | "cursor" | "limit" | "lang" => {}
                name => pick.add_key(name, value)?,
            }
        }
        if let Figure::Percentile(of) = pick.column.figure {
            pick.measure = of.of;
        }
        is_forwards(pick.from, pick.to)?;
        Ok(pick)
    }

    fn add_key(&mut self, name: &str, value: &str) -> Result<(), AnswerError> {
        let allowed = self.report.allowed();
        let Some(key) = allowed.iter().copied().find(|key| key.name() == name) else {
            let names: Vec<&str> = allowed.iter().map(|key| key.name()).collect();
            let allowed = format!("figure, from, to, cursor, limit and the keys {}", names.join(", "));
            return Err(AnswerError::UnknownParameter { name: name.to_owned(), takes: allowed });
        };
        if self.keys.iter().any(|(known, _)| *known == key) {
            return Err(AnswerError::Twice(name.to_owned()));
        }
        // days before the calendar's year 0 are kept as they were counted
        let is_date = |text: &str| text.is_empty() || text.starts_with('-') || text.parse::<Day>().is_ok();
        match key {
            Key::Day if !is_date(value) => return Err(AnswerError::BadDay(value.to_owned())),
            Key::Month if !value.is_empty() && !is_date(&format!("{value}-01")) => {
                return Err(AnswerError::BadMonth(value.to_owned()));
            }
            Key::Site | Key::Day | Key::Month | Key::Of(_) => self.keys.push((key, value.to_owned())),
        }
        Ok(())
    }

    /// The first day that counts: balances count from the beginning.
    #[must_use]
    pub fn counts_from(&self) -> Option<Day> {
        if self.report.is_balance() { None } else { self.from }
    }

    /// The facts the figure rests on. Shares rest on all rows they are shares of.
    fn scope(&self) -> Scope {
        let is_share = matches!(self.column.figure, Figure::Share(_) | Figure::Cumulative(_));
        let kept = self.keys.iter().filter(|(key, _)| !is_share || !self.report.keys.contains(key));
        let only = kept.map(|(key, text)| {
            let group = key.group(self.measure);
            match self.report.is_balance() && key.is_time() {
                true => Only::UpTo(group, text.clone()),
                false => Only::Is(group, text.clone()),
            }
        });
        let more = match self.column.figure {
            Figure::Percentile(of) => of.only(),
            _ => None,
        };
        let only = only.chain(more).collect();
        Scope { measure: self.measure, from: self.counts_from(), to: self.to, only }
    }

    /// Whether its figure is known by all its keys.
    fn is_known(&self) -> bool {
        match self.column.figure {
            Figure::Percentile(of) => self.keys.iter().all(|(key, _)| of.knows(*key)),
            _ => true,
        }
    }

    /// The sum of a value over the whole scope.
    fn sum(&self, name: &str) -> Sum {
        let index = self.measure.values.iter().position(|value| *value == name);
        Sum { value: index.expect("figures are declared over values of their measure"), only: Vec::new() }
    }

    /// The row's keys that are the report's own.
    fn own(&self) -> impl Iterator<Item = (Group, &String)> {
        let own = self.keys.iter().filter(|(key, _)| self.report.keys.contains(key));
        own.map(|(key, text)| (key.group(self.measure), text))
    }
}

fn column_of(report: &'static Report, name: &str) -> Result<&'static Column, AnswerError> {
    report.column(name).ok_or_else(|| {
        let names: Vec<&str> = report.columns.iter().map(|column| column.name).collect();
        AnswerError::UnknownFigure { name: name.to_owned(), report: report.name, figures: names.join(", ") }
    })
}

fn limit_of(text: &str) -> Result<usize, AnswerError> {
    let limit = text.trim().parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| AnswerError::BadLimit(text.to_owned()))
}

/// The figure picked, what it is made of, and a page of its documents, as of `now`.
///
/// # Errors
///
/// The cursor is none, or the store fails.
pub fn basis(store: &Store, pick: &Pick, now: Timestamp) -> Result<Basis, StoreError> {
    let evidence = completeness::evidence(&store.sites()?, &store.agents()?);
    let completeness = completeness::completeness(&evidence, pick.to, now);
    if !pick.is_known() {
        return Ok(Basis { value: Cell::Empty, completeness, parts: Vec::new(), items: Vec::new(), next: None });
    }
    let scope = pick.scope();
    let figure = settled(store, pick, &scope)?;
    let wanted = wanted(store, pick, figure, &scope)?;
    let sums: Vec<Sum> = wanted.iter().map(|wanted| wanted.sum.clone()).collect();
    let totals = store.sums(&scope, &sums)?;
    let named = |(wanted, total): (&Wanted, &i64)| part(pick.measure, wanted.name, *total);
    let parts: Vec<Part> = wanted.iter().zip(&totals).map(named).collect();
    let value = match figure {
        Figure::Percentile(of) => of.over(store, scope.clone())?,
        figure => value(figure, &wanted, &totals),
    };
    let trace = Trace { scope, sums, cursor: pick.cursor.clone(), limit: pick.limit.unwrap_or(0) };
    let page = store.trace(&trace)?;
    let own = |values: Vec<i64>| parts.iter().zip(values).map(|(part, own)| scaled(own, part.sum.places)).collect();
    let items = page.items.into_iter().map(|(document, values)| (document, own(values))).collect();
    Ok(Basis { value, completeness, parts, items, next: page.next })
}

/// The figure with its choice between two ratios made.
fn settled(store: &Store, pick: &Pick, scope: &Scope) -> Result<Figure, StoreError> {
    let Figure::Either { equal: (left, right), then, otherwise } = pick.column.figure else {
        return Ok(pick.column.figure);
    };
    let pair = store.sums(scope, &[pick.sum(left), pick.sum(right)])?;
    Ok(Figure::Ratio(if pair[0] == pair[1] { then } else { otherwise }))
}

fn wanted(store: &Store, pick: &Pick, figure: Figure, scope: &Scope) -> Result<Vec<Wanted>, StoreError> {
    let plain = |name: &'static str| Wanted { name, sum: pick.sum(name) };
    let part_of = |name: &'static str, value: &'static str, only: Vec<Only>| {
        vec![Wanted { name, sum: Sum { only, ..pick.sum(value) } }, Wanted { name: "total", sum: pick.sum(value) }]
    };
    Ok(match figure {
        Figure::Sum(value) | Figure::Balance(value) | Figure::Scaled(value, _) => vec![plain(value)],
        Figure::Percentile(of) => vec![plain(of.count)],
        Figure::Ratio(ratio) => names(ratio).into_iter().map(plain).collect(),
        Figure::Share(value) => {
            part_of(value, value, pick.own().map(|(group, text)| Only::Is(group, text.clone())).collect())
        }
        Figure::Cumulative(value) => part_of("cumulative_count", value, ranked(store, pick, scope, value)?),
        Figure::Either { .. } | Figure::Stated => Vec::new(),
    })
}

/// The values of a ratio, each once.
fn names(ratio: Ratio) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for name in ratio.over.iter().chain(ratio.under) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// The rows of a Pareto up to the one picked, in the order of [`super::table`].
fn ranked(store: &Store, pick: &Pick, scope: &Scope, value: &str) -> Result<Vec<Only>, StoreError> {
    let Some((group, text)) = pick.own().next() else { return Ok(Vec::new()) };
    let index = pick.sum(value).value;
    let mut rows = store.rollup(&Rollup { scope: scope.clone(), by: vec![group] })?;
    rows.retain(|row| row.values.iter().any(|value| *value != 0));
    rows.sort_by(|a, b| b.values[index].cmp(&a.values[index]).then_with(|| a.keys.cmp(&b.keys)));
    let place = rows.iter().position(|row| row.keys[0] == *text);
    rows.truncate(place.map_or(0, |place| place + 1));
    Ok(vec![Only::Among(group, rows.into_iter().map(|mut row| row.keys.swap_remove(0)).collect())])
}

fn value(figure: Figure, wanted: &[Wanted], totals: &[i64]) -> Cell {
    let sum = |names: &[&str]| -> i128 {
        let taken = wanted.iter().zip(totals).filter(|(wanted, _)| names.contains(&wanted.name));
        taken.map(|(_, total)| i128::from(*total)).sum()
    };
    let ratio = |over: i128, under: i128| Decimal::ratio(over, under).map_or(Cell::Empty, Cell::Decimal);
    match figure {
        Figure::Sum(_) => Cell::Whole(totals[0]),
        Figure::Scaled(_, places) => Cell::Decimal(scaled(totals[0], places)),
        Figure::Balance(_) => Cell::Decimal(Decimal::thousandths(totals[0])),
        Figure::Ratio(of) => ratio(sum(of.over), sum(of.under)),
        Figure::Share(_) | Figure::Cumulative(_) => ratio(totals[0].into(), totals[1].into()),
        Figure::Either { .. } | Figure::Percentile(_) | Figure::Stated => Cell::Empty,
    }
}

fn part(measure: &Measure, name: &'static str, total: i64) -> Part {
    let (zh, en, places) = known(measure, name).unwrap_or((name, name, 0));
    Part { name, zh, en, sum: scaled(total, places) }
}

fn scaled(total: i64, places: u32) -> Decimal {
    Decimal { scaled: total.into(), places }
}

#[cfg(test)]
mod tests {
    use super::super::{REPORTS, find};
    use super::*;

    fn check(report: &str, query: &[(&str, &str)], expected: Result<&str, &str>) {
        let pairs: Vec<(String, String)> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = Pick::parse(find(report).unwrap(), &pairs).map_err(|error| error.to_string()).map(|pick| {
            let keys: Vec<String> = pick.keys.iter().map(|(key, text)| format!("{}={text}", key.name())).collect();
            format!("{} {}", pick.column.name, keys.join(" "))
        });
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{query:?}");
    }

    #[test]
    fn a_pick_names_a_figure_by_its_column_and_keys() {
        check("repairs", &[], Ok("orders "));
        check("repairs", &[("figure", "fix_rate"), ("site", "007"), ("from", "")], Ok("fix_rate site=007"));
        check("faults", &[("figure", "share"), ("fault", "")], Ok("share fault="));
        check("stock", &[("month", "2026-11"), ("day", ""), ("lang", "en")], Ok("on_hand month=2026-11 day="));
    }

    #[test]
    fn what_names_no_figure_is_refused_with_what_would() {
        check("sync", &[], Err("report sync tells of agents, not of documents; see /api/v1/agents"));
        let figures = "'rate' is no figure of report satisfaction; it has n, score";
        check("satisfaction", &[("figure", "rate")], Err(figures));
        let takes =
            "unknown parameter 'colour'; it takes figure, from, to, cursor, limit and the keys site, day, month, form";
        check("satisfaction", &[("colour", "red")], Err(takes));
        check("faults", &[("site", "a"), ("site", "b")], Err("'site' is given twice"));
        check("faults", &[("month", "2026-13")], Err("'2026-13' is no month such as 2026-11"));
        check("faults", &[("day", "2026-11")], Err("'2026-11' is no day such as 2026-11-23"));
        check("faults", &[("limit", "0")], Err("'0' is no limit; it is a whole number of at least 1"));
    }

    #[test]
    fn every_part_of_a_figure_has_a_name_of_its_own() {
        let reserved = ["figure", "from", "to", "by", "cursor", "limit", "lang"];
        for report in REPORTS {
            let Source::Measure(measure) = report.source else { continue };
            assert!(measure.keys.iter().all(|key| !reserved.contains(key)), "{}", report.name);
            for column in report.columns {
                let named = match column.figure {
                    Figure::Sum(name) | Figure::Balance(name) => vec![name],
                    Figure::Scaled(name, places) => {
                        assert_eq!(known(measure, name).map(|(.., places)| places), Some(places), "{name}");
                        vec![name]
                    }
                    Figure::Percentile(of) => vec![of.count],
                    Figure::Ratio(ratio) => names(ratio),
                    Figure::Either { then, otherwise, .. } => [names(then), names(otherwise)].concat(),
                    Figure::Share(name) | Figure::Cumulative(name) => {
                        assert_eq!(report.keys.len(), 1, "{}: a Pareto ranks by one key", report.name);
                        vec![name, "total", "cumulative_count"]
                    }
                    Figure::Stated => panic!("{}: {} rests on no sums", report.name, column.name),
                };
                for name in named {
                    assert!(known(measure, name).is_some(), "{}: {name}", report.name);
                }
            }
        }
    }
}
