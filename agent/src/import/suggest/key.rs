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
            None => (words::names_an_id(&column.name) && !words::is_personal(&column.name)).then_some(numbers.len()),
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
    for (column, line) in columns.clone().flat_map(|column| lines.clone().map(move |line| (column, line))) {
        if is_unique_pair(seen, &column.name, &line.name) {
            let key = vec![column.name.clone(), line.name.clone()];
            return (key, note(format!("together no value twice in {rows} rows")));
        }
    }
    let whole = "so all of a row identifies it, and a corrected row counts as a new one";
    let text = match (named.first(), nameless(seen)) {
        _ if rows == 0 => format!("there are no rows to tell apart, {whole}"),
        (Some((_, index)), _) => format!("{} repeats or is blank, {whole}", quoted(&seen.columns[*index].name)),
        (None, Some(column)) => {
            format!("key = [{}] if that is the document's own number: no value twice", quoted(&column.name))
        }
        (None, None) => format!("no column looks like a document's own number, {whole}"),
    };
    (Vec::new(), open(text))
}

fn is_unique_pair(seen: &Seen, first: &str, second: &str) -> bool {
    let index = |name: &str| seen.columns.iter().position(|column| column.name == name);
    let (Some(first), Some(second)) = (index(first), index(second)) else { return false };
    let mut pairs = BTreeSet::new();
    let is_new = |row: &Vec<String>| {
        let pair = (row[first].trim(), row[second].trim());
        !pair.0.is_empty() && !pair.1.is_empty()
    };
    seen.rows.iter().all(|row| is_new(row) && pairs.insert((row[first].clone(), row[second].clone())))
}

/// In a table without a header, a column that could be a number, and holds no people.
fn nameless(seen: &Seen) -> Option<&Column> {
    let could_be = |column: &&Column| {
        column.is_unique() && !column.looks.is_dates && !column.values().any(|(value, _)| private::is_personal(value))
    };
    seen.columns.iter().filter(|_| !seen.header).find(could_be)
}
