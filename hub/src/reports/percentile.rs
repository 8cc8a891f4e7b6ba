//! Percentiles of durations, read off sums by how long things took.

use std::collections::HashMap;

use waystation_protocol::time::Day;

use super::{Cell, Decimal, Figure, Key, Percentile, Report};
use crate::store::{Group, Only, Rollup, RollupRow, Scope, Store, StoreError};

/// The percentiles of a table, by column and the row's keys.
#[derive(Debug, Default)]
pub struct Percentiles(HashMap<(&'static str, Vec<String>), Cell>);

impl Percentiles {
    /// Every percentile of a report for a period, grouped by `keys`.
    pub(super) fn load(
        store: &Store,
        report: &Report,
        keys: &[Key],
        (from, to): (Option<Day>, Option<Day>),
    ) -> Result<Percentiles, StoreError> {
        let mut found = Percentiles::default();
        for column in report.columns {
            let Figure::Percentile(of) = column.figure else { continue };
            if !keys.iter().all(|key| of.knows(*key)) {
                continue;
            }
            let by: Vec<Group> = keys.iter().map(|key| key.group(of.of)).collect();
            let scope = Scope { measure: of.of, from, to, only: of.only().into_iter().collect() };
            let mut groups: HashMap<Vec<String>, Vec<RollupRow>> = HashMap::new();
            for mut row in of.rows(store, scope, by)? {
                let bucket = row.keys.split_off(keys.len());
                groups.entry(std::mem::replace(&mut row.keys, bucket)).or_default().push(row);
            }
            found.0.extend(groups.into_iter().map(|(keys, rows)| ((column.name, keys), of.read(&rows))));
        }
        Ok(found)
    }

    /// A cell of the table.
    pub(super) fn cell(&self, column: &'static str, keys: &[String]) -> Cell {
        self.0.get(&(column, keys.to_vec())).cloned().unwrap_or(Cell::Empty)
    }
}

impl Percentile {
    /// Whether it can be grouped by a key.
    pub(super) fn knows(&self, key: Key) -> bool {
        match key {
            Key::Site | Key::Day | Key::Month => true,
            Key::Of(name) => self.of.keys.contains(&name),
        }
    }

    /// The condition on its rows.
    pub(super) fn only(&self) -> Option<Only> {
        self.only.map(|(key, value)| Only::Is(Key::Of(key).group(self.of), value.to_owned()))
    }

    /// The percentile over a scope.
    pub(super) fn over(&self, store: &Store, scope: Scope) -> Result<Cell, StoreError> {
        Ok(self.read(&self.rows(store, scope, Vec::new())?))
    }

    /// How often each duration occurs, the shortest first within each group.
    fn rows(&self, store: &Store, scope: Scope, mut by: Vec<Group>) -> Result<Vec<RollupRow>, StoreError> {
        by.push(Key::Of(self.bucket).group(self.of));
        store.rollup(&Rollup { scope, by })
    }

    /// `rows`: durations with their counts, the shortest first.
    fn read(&self, rows: &[RollupRow]) -> Cell {
        let place = self.of.values.iter().position(|value| *value == self.count);
        let place = place.expect("percentiles are declared over values of their measure");
        let counts: Vec<(i64, i64)> = rows
            .iter()
            .filter_map(|row| Some((row.keys.last()?.parse().ok()?, row.values[place])))
            .filter(|(_, count)| *count > 0)
            .collect();
        let found = nearest_rank(&counts, self.rank).and_then(|units| Decimal::ratio(units.into(), self.per.into()));
        found.map_or(Cell::Empty, Cell::Decimal)
    }
}

/// The least value that `rank` of a hundred do not exceed; none of nothing. `counts`: values, ascending, and how often.
fn nearest_rank(counts: &[(i64, i64)], rank: u8) -> Option<i64> {
    let all: i128 = counts.iter().map(|(_, count)| i128::from(*count)).sum();
    let needed = (all * i128::from(rank)).div_euclid(100) + i128::from((all * i128::from(rank)).rem_euclid(100) > 0);
    let mut passed = 0;
    counts.iter().find_map(|(value, count)| {
        passed += i128::from(*count);
        (passed >= needed).then_some(*value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_least_that_so_many_do_not_exceed() {
        let ten: Vec<(i64, i64)> = (1..=10).map(|value| (value, 1)).collect();
        for (counts, rank, expected) in [
            (&[][..], 50, None),
            (&[(7, 1)], 50, Some(7)),
            (&[(7, 1)], 90, Some(7)),
            (&[(1, 1), (9, 1)], 50, Some(1)),
            (&[(1, 1), (9, 1)], 90, Some(9)),
            (&[(1, 9), (100, 1)], 90, Some(1)),
            (&[(1, 9), (100, 2)], 90, Some(100)),
            (&ten, 50, Some(5)),
            (&ten, 90, Some(9)),
        ] {
            assert_eq!(nearest_rank(counts, rank), expected, "{counts:?} {rank}");
        }
    }
}
