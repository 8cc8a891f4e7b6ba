//! Facts: what a document adds to the reports, as a pure function of it.
//!
//! The machinery appends facts(after) − facts(before) as signed rows, so facts are append-only and roll-ups are sums.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::document::Document;
use crate::kind;
use crate::plant::{Plant, is_planted};
use crate::time::Day;

/// A table of facts: named keys to group by, named whole numbers to sum.
#[derive(Debug, PartialEq, Eq)]
pub struct Measure {
    /// The measure's name.
    pub name: &'static str,
    /// Names of the keys, at most [`MAX_KEYS`].
    pub keys: &'static [&'static str],
    /// Names of the values, at most [`MAX_VALUES`].
    pub values: &'static [&'static str],
    /// Whether agents keep its running sums over all time, as a ledger.
    pub is_ledger: bool,
}

/// Most keys of a measure: stores have a column for each.
pub const MAX_KEYS: usize = 4;
/// Most values of a measure: stores have a column for each.
pub const MAX_VALUES: usize = 10;

/// One row of a measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Which table.
    pub measure: &'static Measure,
    /// The civil day it counts for, in the site's zone.
    pub day: Day,
    /// One text per key of the measure.
    pub keys: Vec<String>,
    /// One number per value of the measure.
    pub values: Vec<i64>,
}

/// A duration as the key of a fact, so that percentiles can be read off summed facts: exact below 1,000 units, beyond
/// that cut to its three leading digits, which is less than one part in a hundred too low. Keys sort like numbers.
pub fn bucket(units: i64) -> String {
    let (mut kept, mut scale) = (units.max(0), 1);
    while kept >= 1_000 {
        kept /= 10;
        scale *= 10;
    }
    format!("{:013}", kept * scale)
}

/// facts(after) − facts(before): what must be added, as signed rows. Rows that cancel are left out.
pub fn difference(before: Option<&Document>, after: Option<&Document>, zone: &TimeZone) -> Vec<Fact> {
    let mut sums: BTreeMap<(&'static str, Day, Vec<String>), Fact> = BTreeMap::new();
    let before = before.filter(|_| !is_planted(Plant::FactsNotTakenBack));
    for (document, sign) in [(after, 1), (before, -1)] {
        for fact in document.map_or_else(Vec::new, |document| of(document, zone)) {
            let key = (fact.measure.name, fact.day, fact.keys.clone());
            match sums.get_mut(&key) {
                Some(sum) => sum.values.iter_mut().zip(&fact.values).for_each(|(sum, value)| *sum += sign * value),
                None => {
                    let values = fact.values.iter().map(|value| sign * value).collect();
                    sums.insert(key, Fact { values, ..fact });
                }
            }
        }
    }
    sums.into_values().filter(|fact| fact.values.iter().any(|value| *value != 0)).collect()
}

/// The facts of one document. A void document yields none.
pub fn of(document: &Document, zone: &TimeZone) -> Vec<Fact> {
    if document.state == crate::document::flow::VOID.name {
        return Vec::new();
    }
    let facts = kind::find(&document.kind).map_or_else(Vec::new, |kind| (kind.facts)(document, zone));
    for fact in &facts {
        assert_eq!(fact.keys.len(), fact.measure.keys.len(), "measure {}", fact.measure.name);
        assert_eq!(fact.values.len(), fact.measure.values.len(), "measure {}", fact.measure.name);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_below_a_thousand_and_within_a_hundredth_beyond() {
        for (units, key) in [(-5, 0), (0, 0), (999, 999), (1_000, 1_000), (1_009, 1_000), (123_999, 123_000)] {
            assert_eq!(bucket(units), format!("{key:013}"), "{units}");
        }
        assert!(bucket(9_999) < bucket(10_000) && bucket(i64::MAX).parse::<i64>().is_ok());
    }
}
