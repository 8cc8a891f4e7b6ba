//! A scope as SQL: one condition that facts and roll-ups both understand, since both carry a measure's keys and days.

use rusqlite::types::Value as Sql;
use waystation_protocol::time::Day;

use super::rows::{Group, Only, Scope, Sum};

/// A piece of SQL in the making, with the values of its parameters.
pub(super) struct Query {
    /// `fact` or `rollup`.
    table: &'static str,
    /// Values of `?1`, `?2`, …
    pub(super) values: Vec<Sql>,
}

impl Query {
    pub(super) fn of(table: &'static str) -> Query {
        Query { table, values: Vec::new() }
    }

    /// A parameter with this value.
    pub(super) fn bind(&mut self, value: impl Into<Sql>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// The text by which a group's rows are known.
    pub(super) fn key(&self, group: Group, keys: usize) -> String {
        let table = self.table;
        match group {
            Group::Site => format!("(SELECT site.site FROM site WHERE site.id = {table}.site)"),
            Group::Day => format!("coalesce(strftime('%Y-%m-%d', {table}.day * 86400, 'unixepoch'), '')"),
            Group::Month => format!("coalesce(strftime('%Y-%m', {table}.day * 86400, 'unixepoch'), '')"),
            Group::Key(index) if index < keys => format!("{table}.k{}", index + 1),
            Group::Key(_) => "''".to_owned(),
        }
    }

    /// What follows WHERE.
    pub(super) fn condition(&mut self, scope: &Scope) -> String {
        let day = |day: Option<Day>, unbounded: i64| day.map_or(unbounded, |day| i64::from(day.0));
        let measure = self.bind(scope.measure.name.to_owned());
        let (from, to) = (self.bind(day(scope.from, i64::MIN)), self.bind(day(scope.to, i64::MAX)));
        let keys = scope.measure.keys.len();
        let only = scope.only.iter().map(|only| format!(" AND {}", self.only(only, keys))).collect::<String>();
        format!("measure = {measure} AND day BETWEEN {from} AND {to}{only}")
    }

    /// The sums, as columns.
    pub(super) fn sums(&mut self, scope: &Scope, sums: &[Sum]) -> Vec<String> {
        let keys = scope.measure.keys.len();
        let mut column = |sum: &Sum| {
            let value = format!("v{}", sum.value + 1);
            let holds: Vec<String> = sum.only.iter().map(|only| self.only(only, keys)).collect();
            match holds.is_empty() {
                true => format!("coalesce(sum({value}), 0)"),
                false => format!("coalesce(sum(CASE WHEN {} THEN {value} ELSE 0 END), 0)", holds.join(" AND ")),
            }
        };
        sums.iter().map(&mut column).collect()
    }

    fn only(&mut self, only: &Only, keys: usize) -> String {
        match only {
            Only::Is(Group::Site, site) => {
                let site = self.bind(site.clone());
                format!("{}.site = (SELECT id FROM site WHERE site = {site})", self.table)
            }
            Only::Is(group, text) | Only::UpTo(group, text) => {
                let is_open = matches!(only, Only::UpTo(..));
                match stretch(*group, text) {
                    // days as they are stored, which spares writing out the date of every row
                    Some((first, last)) => {
                        let first = if is_open { i64::MIN } else { i64::from(first.0) };
                        let (first, last) = (self.bind(first), self.bind(i64::from(last.0)));
                        format!("day BETWEEN {first} AND {last}")
                    }
                    None => {
                        let (key, text) = (self.key(*group, keys), self.bind(text.clone()));
                        format!("{key} {} {text}", if is_open { "<=" } else { "=" })
                    }
                }
            }
            Only::Among(group, texts) => {
                let list = serde_json::Value::from(texts.clone()).to_string();
                let (key, list) = (self.key(*group, keys), self.bind(list));
                format!("{key} IN (SELECT value FROM json_each({list}))")
            }
        }
    }
}

/// The days that a day's or month's text stands for.
fn stretch(group: Group, text: &str) -> Option<(Day, Day)> {
    match group {
        Group::Day => text.parse().ok().map(|day: Day| (day, day)),
        Group::Month => {
            let first = format!("{text}-01").parse::<Day>().ok()?;
            Some((first, Day::from_civil(first.civil().last_of_month())))
        }
        Group::Site | Group::Key(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_its_days() {
        for (group, text, expected) in [
            (Group::Month, "2024-02", Some("2024-02-01 2024-02-29")),
            (Group::Month, "2026-12", Some("2026-12-01 2026-12-31")),
            (Group::Month, "2026-13", None),
            (Group::Month, "", None),
            (Group::Day, "2026-11-23", Some("2026-11-23 2026-11-23")),
            (Group::Day, "", None),
            (Group::Key(0), "2026-11-23", None),
        ] {
            let found = stretch(group, text).map(|(first, last)| format!("{first} {last}"));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
