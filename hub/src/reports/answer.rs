//! A report's answer: the question as understood, how complete the period is, and the rows.

use std::collections::HashMap;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use waystation_protocol::fact::Measure;
use waystation_protocol::time::{Day, Timestamp};

use super::completeness::{self, Completeness};
use super::percentile::Percentiles;
use super::{Cell, Chart, Key, Report, Show, Source, sync, table};
use crate::pages::Lang;
use crate::store::{Rollup, Scope, Store, StoreError};

/// What is asked of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The first day, if bounded.
    pub from: Option<Day>,
    /// The last day, inclusive, if bounded.
    pub to: Option<Day>,
    /// Keys to add to the report's own.
    pub by: Vec<Key>,
}

/// A question no report answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A key the report cannot be grouped by.
    #[error("'{name}' is no key of report {report}; it takes {allowed}")]
    UnknownKey {
        /// What was asked.
        name: String,
        /// Of which report.
        report: &'static str,
        /// What it takes.
        allowed: String,
    },
    /// A day that is none.
    #[error("'{0}' is no day such as 2026-11-23")]
    BadDay(String),
    /// The period ends before it begins.
    #[error("the period ends on {to}, before it begins on {from}")]
    Backwards {
        /// The first day.
        from: Day,
        /// The last day.
        to: Day,
    },
    /// A month that is none.
    #[error("'{0}' is no month such as 2026-11")]
    BadMonth(String),
    /// A number of documents that is none.
    #[error("'{0}' is no limit; it is a whole number of at least 1")]
    BadLimit(String),
    /// A parameter that does not exist.
    #[error("unknown parameter '{name}'; it takes {takes}")]
    UnknownParameter {
        /// What was given.
        name: String,
        /// What there is.
        takes: String,
    },
    /// A key that is given two values.
    #[error("'{0}' is given twice")]
    Twice(String),
    /// A figure the report does not have.
    #[error("'{name}' is no figure of report {report}; it has {figures}")]
    UnknownFigure {
        /// What was asked.
        name: String,
        /// Of which report.
        report: &'static str,
        /// What it has.
        figures: String,
    },
    /// A report whose figures come from no documents.
    #[error("report {0} tells of agents, not of documents; see /api/v1/agents")]
    NoDocuments(&'static str),
}

/// A column of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// The wire name.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// How people read it.
    pub show: Show,
    /// The key, where it is one.
    pub key: Option<Key>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The report's name.
    pub report: &'static str,
    /// The first day, if bounded.
    pub from: Option<Day>,
    /// The last day, inclusive, if bounded.
    pub to: Option<Day>,
    /// The keys of the rows.
    pub by: Vec<Key>,
    /// How complete the period is.
    pub completeness: Completeness,
    /// The columns of the rows, keys first.
    pub heads: Vec<Head>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

impl Answer {
    /// What the rows are and how complete, by wire name. Days without a bound are empty.
    #[must_use]
    pub fn about(&self) -> [(&'static str, String); 5] {
        let day = |day: Option<Day>| day.map_or_else(String::new, |day| day.to_string());
        let Completeness { sites_expected, sites_complete, provisional } = self.completeness;
        [
            ("from", day(self.from)),
            ("to", day(self.to)),
            ("sites_expected", sites_expected.to_string()),
            ("sites_complete", sites_complete.to_string()),
            ("provisional", provisional.to_string()),
        ]
    }
}

impl Question {
    /// Reads `from`, `to` and `by`, the last as often as wanted and with commas. Empty values are passed over, and
    /// `lang`, which decides words only.
    ///
    /// # Errors
    ///
    /// A value makes no sense for this report.
    pub fn parse(report: &Report, pairs: &[(String, String)]) -> Result<Question, AnswerError> {
        let mut question = Question::default();
        for (name, value) in pairs.iter().filter(|(_, value)| !value.trim().is_empty()) {
            match name.as_str() {
                "from" => question.from = Some(day_of(value)?),
                "to" => question.to = Some(day_of(value)?),
                "by" => question.add_keys(report, value)?,
                "lang" => {}
                name => {
                    let takes = "from, to, by and lang".to_owned();
                    return Err(AnswerError::UnknownParameter { name: name.to_owned(), takes });
                }
            }
        }
        is_forwards(question.from, question.to)?;
        Ok(question)
    }

    fn add_keys(&mut self, report: &Report, names: &str) -> Result<(), AnswerError> {
        let allowed = report.allowed();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(key) = allowed.iter().copied().find(|key| key.name() == name) else {
                let names: Vec<&str> = allowed.iter().map(|key| key.name()).collect();
                let allowed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(AnswerError::UnknownKey { name: name.to_owned(), report: report.name, allowed });
            };
            if !self.by.contains(&key) {
                self.by.push(key);
            }
        }
        Ok(())
    }

    /// The keys asked for, then the report's own.
    fn keys(&self, report: &Report) -> Vec<Key> {
        let own = report.keys.iter().filter(|key| !self.by.contains(key));
        self.by.iter().chain(own).copied().collect()
    }
}

pub(super) fn day_of(text: &str) -> Result<Day, AnswerError> {
    text.parse().map_err(|_| AnswerError::BadDay(text.to_owned()))
}

pub(super) fn is_forwards(from: Option<Day>, to: Option<Day>) -> Result<(), AnswerError> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(AnswerError::Backwards { from, to }),
        _ => Ok(()),
    }
}

/// Answers a question.
///
/// # Errors
///
/// The store fails.
pub fn answer(store: &Store, report: &Report, question: &Question, now: Timestamp) -> Result<Answer, StoreError> {
    let (sites, agents) = (store.sites()?, store.agents()?);
    let keys = question.keys(report);
    let rows = match report.source {
        Source::Agents => sync::rows(&sites, &agents, now),
        Source::Measure(measure) => measured(store, report, measure, &keys, question)?,
    };
    let completeness = completeness::completeness(&completeness::evidence(&sites, &agents), question.to, now);
    let from = if report.is_balance() { None } else { question.from };
    Ok(Answer { report: report.name, from, to: question.to, completeness, heads: heads(report, &keys), rows, by: keys })
}

/// The rows a report's picture is drawn from: grouped its own way, for the same period. Agents are drawn as listed.
///
/// # Errors
///
/// The store fails.
pub fn series(
    store: &Store,
    report: &Report,
    question: &Question,
    answer: &Answer,
) -> Result<Vec<Vec<Cell>>, StoreError> {
    let key = match report.chart {
        Chart::Bars { by, .. } | Chart::Pareto { by, .. } => by,
        Chart::Trend { .. } => Key::Month,
    };
    match report.source {
        Source::Agents => Ok(answer.rows.clone()),
        Source::Measure(measure) => measured(store, report, measure, &[key], question),
    }
}

fn measured(
    store: &Store,
    report: &Report,
    measure: &'static Measure,
    keys: &[Key],
    question: &Question,
) -> Result<Vec<Vec<Cell>>, StoreError> {
    let from = if report.is_balance() { None } else { question.from };
    let by = keys.iter().map(|key| key.group(measure)).collect();
    let scope = Scope { measure, from, to: question.to, only: Vec::new() };
    let sums = store.rollup(&Rollup { scope, by })?;
    let percentiles = Percentiles::load(store, report, keys, (from, question.to))?;
    let mut rows = table(report, measure, keys, sums, &percentiles);
    if report.is_balance()
        && let Some(from) = question.from
    {
        rows.retain(|row| keys.iter().zip(row).all(|(key, cell)| is_not_before(*key, cell, from)));
    }
    Ok(rows)
}

/// A balance is the sum of all before it; the period's start only hides earlier ones.
fn is_not_before(key: Key, cell: &Cell, from: Day) -> bool {
    let Cell::Text(text) = cell else { return true };
    match key {
        Key::Day => *text >= from.to_string(),
        Key::Month => *text >= from.month(),
        Key::Site | Key::Of(_) => true,
    }
}

fn heads(report: &Report, keys: &[Key]) -> Vec<Head> {
    let keys = keys.iter().map(|key| {
        let (zh, en) = key.labels();
        Head { name: key.name(), zh, en, show: Show::Text, key: Some(*key) }
    });
    let columns = report.columns.iter().map(|column| Head {
        name: column.name,
        zh: column.zh,
        en: column.en,
        show: column.show,
        key: None,
    });
    keys.chain(columns).collect()
}

/// A key's value for people: the label of a choice, the name of a site.
#[must_use]
pub fn label<'a>(
    report: &Report,
    key: Option<Key>,
    value: &'a str,
    names: &'a HashMap<String, String>,
    lang: Lang,
) -> &'a str {
    match (key, report.source) {
        (Some(Key::Site), _) => names.get(value).map_or(value, String::as_str),
        (Some(key @ Key::Of(_)), Source::Measure(measure)) => {
            let choice = key.choices(measure).iter().find(|choice| choice.name == value);
            choice.map_or(value, |choice| lang.pick(choice.zh, choice.en))
        }
        _ => value,
    }
}

impl Serialize for Answer {
    /// `{report, from, to, by, sites_expected, sites_complete, provisional, rows: [{column: value}]}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let day = |day: Option<Day>| day.map(|day| day.to_string());
        let by: Vec<&str> = self.by.iter().map(|key| key.name()).collect();
        let mut map = serializer.serialize_map(Some(8))?;
        map.serialize_entry("report", self.report)?;
        map.serialize_entry("from", &day(self.from))?;
        map.serialize_entry("to", &day(self.to))?;
        map.serialize_entry("by", &by)?;
        map.serialize_entry("sites_expected", &self.completeness.sites_expected)?;
        map.serialize_entry("sites_complete", &self.completeness.sites_complete)?;
        map.serialize_entry("provisional", &self.completeness.provisional)?;
        map.serialize_entry("rows", &Rows(self))?;
        map.end()
    }
}

struct Rows<'a>(&'a Answer);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.0.rows.len()))?;
        for cells in &self.0.rows {
            rows.serialize_element(&Object { heads: &self.0.heads, cells })?;
        }
        rows.end()
    }
}

struct Object<'a> {
    heads: &'a [Head],
    cells: &'a [Cell],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.heads.iter().map(|head| head.name).zip(self.cells))
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    fn check(report: &str, query: &[(&str, &str)], expected: Result<&str, &str>) {
        let report = find(report).unwrap();
        let pairs: Vec<(String, String)> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = Question::parse(report, &pairs)
            .map_err(|error| error.to_string())
            .map(|question| question.keys(report).iter().map(|key| key.name()).collect::<Vec<_>>().join(","));
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{query:?}");
    }

    #[test]
    fn by_adds_keys_to_the_reports_own() {
        check("repairs", &[], Ok(""));
        check("repairs", &[("by", "month, site"), ("from", "2026-01-01"), ("to", "")], Ok("month,site"));
        check("stock", &[("by", "month")], Ok("month,site,item"));
        check("faults", &[("by", "fault"), ("by", "site")], Ok("fault,site"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let keys = "'colour' is no key of report delivery; it takes site, day, month, route, class, reason";
        check("delivery", &[("by", "site,colour")], Err(keys));
        check("sync", &[("by", "site")], Err("'site' is no key of report sync; it takes none"));
        check("delivery", &[("from", "2026-13-01")], Err("'2026-13-01' is no day such as 2026-11-23"));
        let backwards = "the period ends on 2026-01-01, before it begins on 2026-02-01";
        check("delivery", &[("from", "2026-02-01"), ("to", "2026-01-01")], Err(backwards));
        check("delivery", &[("form", "x")], Err("unknown parameter 'form'; it takes from, to, by and lang"));
    }
}
