//! From a measure's sums to a report's rows: a pure function.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use waystation_protocol::fact::Measure;

use super::percentile::Percentiles;
use super::{Cell, Decimal, Figure, Key, Order, Ratio, Report};
use crate::store::RollupRow;

/// A report's rows: the keys, then its columns. `keys` are those of the sums; the report's own stand among them.
#[must_use]
pub fn table(
    report: &Report,
    measure: &Measure,
    keys: &[Key],
    mut sums: Vec<RollupRow>,
    percentiles: &Percentiles,
) -> Vec<Vec<Cell>> {
    if keys.is_empty() && sums.is_empty() {
        sums.push(RollupRow { keys: Vec::new(), values: vec![0; measure.values.len()] });
    }
    if !keys.is_empty() {
        // what was undone leaves a group behind that never counted
        sums.retain(|row| row.values.iter().any(|value| *value != 0));
    }
    let partition = Partition::new(report, keys);
    sort(report, measure, &partition, &mut sums);
    let mut groups: BTreeMap<Vec<String>, Running> = BTreeMap::new();
    for row in &sums {
        let running = groups.entry(partition.of(row)).or_default();
        running.total = add(&running.total, &row.values);
    }
    let rows = sums.iter().map(|row| {
        let running = groups.get_mut(&partition.of(row)).expect("every row's group was entered above");
        running.sum = add(&running.sum, &row.values);
        let figures = report.columns.iter().map(|column| match column.figure {
            Figure::Percentile(_) => percentiles.cell(column.name, &row.keys),
            of => figure(of, measure, row, running),
        });
        row.keys.iter().map(|key| Cell::Text(key.clone())).chain(figures).collect()
    });
    rows.collect()
}

/// Which rows belong together: a Pareto's by the keys asked for beside its own, a balance's by all keys but time.
struct Partition {
    columns: Vec<usize>,
}

#[derive(Default)]
struct Running {
    total: Vec<i128>,
    sum: Vec<i128>,
}

impl Partition {
    fn new(report: &Report, keys: &[Key]) -> Partition {
        let apart = |key: &Key| if report.is_balance() { !key.is_time() } else { !report.keys.contains(key) };
        let columns = keys.iter().enumerate().filter(|(_, key)| apart(key)).map(|(index, _)| index).collect();
        Partition { columns }
    }

    fn of(&self, row: &RollupRow) -> Vec<String> {
        self.columns.iter().filter_map(|column| row.keys.get(*column).cloned()).collect()
    }
}

fn sort(report: &Report, measure: &Measure, partition: &Partition, sums: &mut [RollupRow]) {
    match report.order {
        Order::Keys => sums.sort_by(|a, b| a.keys.cmp(&b.keys)),
        Order::Largest(name) => {
            sums.sort_by_cached_key(|row| (partition.of(row), Reverse(value(measure, row, name)), row.keys.clone()));
        }
    }
}

fn figure(figure: Figure, measure: &Measure, row: &RollupRow, running: &Running) -> Cell {
    let part = |of: &[i128], name: &str| match position(measure, name) {
        Some(index) => decimal(Decimal::ratio(of[index], running.total[index])),
        None => Cell::Empty,
    };
    match figure {
        Figure::Sum(name) => Cell::Whole(value(measure, row, name)),
        Figure::Scaled(name, places) => Cell::Decimal(Decimal { scaled: value(measure, row, name).into(), places }),
        Figure::Balance(name) => {
            let balance = position(measure, name).map(|index| running.sum[index]);
            decimal(balance.map(|scaled| Decimal { scaled, places: 3 }))
        }
        Figure::Ratio(ratio) => divided(ratio, measure, row),
        Figure::Either { equal: (left, right), then, otherwise } => {
            let is_equal = value(measure, row, left) == value(measure, row, right);
            divided(if is_equal { then } else { otherwise }, measure, row)
        }
        Figure::Share(name) => part(&widened(&row.values), name),
        Figure::Cumulative(name) => part(&running.sum, name),
        Figure::Percentile(_) | Figure::Stated => Cell::Empty,
    }
}

fn divided(ratio: Ratio, measure: &Measure, row: &RollupRow) -> Cell {
    let sum = |names: &[&str]| names.iter().map(|name| i128::from(value(measure, row, name))).sum();
    decimal(Decimal::ratio(sum(ratio.over), sum(ratio.under)))
}

fn decimal(decimal: Option<Decimal>) -> Cell {
    decimal.map_or(Cell::Empty, Cell::Decimal)
}

fn position(measure: &Measure, name: &str) -> Option<usize> {
    measure.values.iter().position(|value| *value == name)
}

fn value(measure: &Measure, row: &RollupRow, name: &str) -> i64 {
    position(measure, name).and_then(|index| row.values.get(index)).copied().unwrap_or(0)
}

fn widened(values: &[i64]) -> Vec<i128> {
    values.iter().map(|value| i128::from(*value)).collect()
}

fn add(sums: &[i128], values: &[i64]) -> Vec<i128> {
    let sum = |(index, value): (usize, &i64)| sums.get(index).copied().unwrap_or(0) + i128::from(*value);
    values.iter().enumerate().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Source, find};
    use super::*;

    /// `rows`: keys, a bar, sums in the measure's order. `expected`: cells of the rows, one line each.
    fn check(report: &str, keys: &[Key], rows: &[&str], expected: &[&str]) {
        let report = find(report).unwrap();
        let Source::Measure(measure) = report.source else { panic!("{} has no measure", report.name) };
        let sums = rows.iter().map(|row| {
            let (keys, values) = row.split_once('|').unwrap();
            let values: Vec<i64> = values.split_whitespace().map(|value| value.parse().unwrap()).collect();
            assert_eq!(values.len(), measure.values.len(), "{row}");
            RollupRow { keys: keys.split_whitespace().map(str::to_owned).collect(), values }
        });
        let found: Vec<String> = table(report, measure, keys, sums.collect(), &Percentiles::default())
            .iter()
            .map(|row| row.iter().map(|cell| serde_json::to_string(cell).unwrap()).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(found, expected, "{}", report.name);
    }

    #[test]
    fn fix_rate_leaves_out_what_is_unknown() {
        check("repairs", &[], &["| 23940 12409 6448 4851 232"], &["23940 12409 6448 4851 232 0.52341"]);
        check("repairs", &[Key::Site], &["east | 2 0 0 0 2"], &["\"east\" 2 0 0 0 2 null"]);
        check("repairs", &[], &[], &["0 0 0 0 0 null"]);
        check("repairs", &[Key::Site], &["east | 0 0 0 0 0"], &[]);
    }

    #[test]
    fn faults_come_the_most_frequent_first() {
        check(
            "faults",
            &[Key::Of("fault")],
            &["cord | 1", "motor | 2", "brush | 1"],
            &["\"motor\" 2 0.5 0.5", "\"brush\" 1 0.25 0.75", "\"cord\" 1 0.25 1"],
        );
        check(
            "faults",
            &[Key::Site, Key::Of("fault")],
            &["east cord | 1", "west cord | 5", "east motor | 3"],
            &["\"east\" \"motor\" 3 0.75 0.75", "\"east\" \"cord\" 1 0.25 1", "\"west\" \"cord\" 5 1 1"],
        );
    }

    #[test]
    fn delivery_rates_divide_by_what_each_is_about() {
        // items delivered on_time late_days attempted first_attempt receipts_due receipts_back
        check("delivery", &[], &["| 4000 4000 3879 3383 4000 3900 0 0"], &["4000 4000 3879 3383 1 0.96975 0.975 null"]);
        check("delivery", &[], &["| 3 0 0 0 0 0 2 1"], &["3 0 0 0 0 null null 0.5"]);
    }

    #[test]
    fn stock_is_exact_and_runs_through_time() {
        let keys = [Key::Site, Key::Of("item")];
        check(
            "stock",
            &keys,
            &["east A1 | -1 1", "east B | 38000 2"],
            &["\"east\" \"A1\" -0.001", "\"east\" \"B\" 38"],
        );
        check("stock", &keys, &["east A | 0 2"], &["\"east\" \"A\" 0"]);
        check(
            "stock",
            &[Key::Month, Key::Site, Key::Of("item")],
            &["2026-10 east A | 5000 1", "2026-11 east A | -1500 1", "2026-11 east B | 1000 1"],
            &["\"2026-10\" \"east\" \"A\" 5", "\"2026-11\" \"east\" \"A\" 3.5", "\"2026-11\" \"east\" \"B\" 1"],
        );
    }

    #[test]
    fn variances_count_by_cost_only_where_every_line_states_one() {
        // lines within net gross expected costed net_cost gross_cost expected_cost sheets
        check(
            "counts",
            &[Key::Site],
            &["east | 4 3 -1000 3000 20000 4 -50 150 1000 1"],
            &["\"east\" 4 0.75 -0.05 0.15"],
        );
        check(
            "counts",
            &[Key::Site],
            &["east | 4 3 -1000 3000 20000 3 -50 150 1000 1"],
            &["\"east\" 4 0.75 -0.05 0.15"],
        );
        check("counts", &[Key::Site], &["east | 4 3 -1000 3000 10000 3 -50 150 1000 1"], &["\"east\" 4 0.75 -0.1 0.3"]);
        check("counts", &[Key::Site], &["east | 1 0 1000 1000 0 0 0 0 0 1"], &["\"east\" 1 0 null null"]);
    }

    #[test]
    fn satisfaction_weighs_its_scores() {
        check("satisfaction", &[], &["| 3 270 3"], &["3 90"]);
        check("satisfaction", &[], &["| 2 185 3"], &["2 61.666667"]);
    }
}
