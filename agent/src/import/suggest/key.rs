//! What tells the rows of a table apart.

use std::collections::BTreeSet;

use super::fit::Candidate;
use super::look::{Column, Seen};
use super::plan::{Note, note, open};
use super::write::quoted;
use super::{private, words};

/// Below this, that no value stands twice says little.
const FEW_ROWS: usize = 20;

/// The column that tells rows apart, and why it does, or why none does.
pub(super) fn of(candidate: &Candidate, seen: &Seen) -> (Vec<String>, Note) {
    let rows = seen.rows.len();
    let goes_to = |index: usize| candidate.matches.iter().find(|found| found.column == index);
    let numbers = ["number", "barcode", "source_document", "reference"];
    let mut named: Vec<(usize, usize)> = Vec::new();
    for (index, column) in seen.columns.iter().enumerate().filter(|_| seen.header) {
        let rank = match goes_to(index).map(|found| found.target.key.as_str()) {
            Some(key) => numbers.iter().position(|number| *number == key),
            None => could_number(&column.name).then_some(numbers.len()),
        };
        named.extend(rank.map(|rank| (rank, index)));
    }
    named.sort_unstable();
    let columns = named.iter().map(|(_, index)| &seen.columns[*index]);
    if let Some(column) = columns.clone().find(|column| column.is_unique()) {
        let found = if rows < FEW_ROWS {
            open(format!("no value twice, but only {rows} rows were seen: is it a document's own number?"))
        } else {
            note(format!("no value twice in {rows} rows, none blank"))
        };
        return (vec![column.name.clone()], found);
    }
    let lines = seen.columns.iter().filter(|column| words::names_a_line(&column.name));
    let mut keys: Vec<Vec<&Column>> =
        columns.clone().flat_map(|column| lines.clone().map(move |line| vec![column, line])).collect();
    if let Some(found) = candidate.matched("site") {
        // Where outlets number from 1 each, the outlet tells their rows apart as well.
        let site = &seen.columns[found.column];
        let of_sites = columns.clone().map(|column| vec![column]).chain(keys.clone());
        keys.extend(of_sites.map(|key| [vec![site], key].concat()).collect::<Vec<_>>());
    }
    let mut keys = keys.iter().map(|key| key.iter().map(|column| column.name.clone()).collect::<Vec<_>>());
    if let Some(key) = keys.find(|key| is_unique(seen, key)) {
        return (key, note(format!("together no value twice in {rows} rows")));
    }
    let whole = "so all of a row identifies it, and a corrected row counts as a new one";
    let text = match (named.first(), unnamed(seen)) {
        _ if rows == 0 => format!("there are no rows to tell apart, {whole}"),
        (Some((_, index)), _) => format!("{} repeats or is blank, {whole}", quoted(&seen.columns[*index].name)),
        (None, Some(column)) => {
            format!("key = [{}] if that is the document's own number: no value twice", quoted(&column.name))
        }
        (None, None) => format!("no column looks like a document's own number, {whole}"),
    };
    (Vec::new(), open(text))
}

/// Whether a column of this name, which no field takes, could tell documents apart.
fn could_number(name: &str) -> bool {
    words::names_an_id(name) && !words::names_a_line(name) && !words::is_personal(name)
}

/// Whether no two rows have the same cells in these columns, and none of them is blank.
fn is_unique(seen: &Seen, names: &[String]) -> bool {
    let index = |name: &String| seen.columns.iter().position(|column| column.name == *name);
    let places: Vec<usize> = names.iter().filter_map(index).collect();
    let mut keys = BTreeSet::new();
    let mut rows = seen.rows.iter();
    !seen.rows.is_empty()
        && rows.all(|row| {
            let key: Vec<&str> = places.iter().map(|place| row[*place].trim()).collect();
            key.iter().all(|cell| !cell.is_empty()) && keys.insert(key)
        })
}

/// A column that could be a number, whatever it is called, and holds no people.
fn unnamed(seen: &Seen) -> Option<&Column> {
    let could_be = |column: &&Column| {
        let holds_people =
            || words::is_personal(&column.name) || column.values().any(|(value, _)| private::is_personal(value));
        column.is_unique() && !column.looks.is_dates && !holds_people()
    };
    seen.columns.iter().find(could_be)
}
