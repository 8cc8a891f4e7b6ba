//! What must be said of single fields whenever they are proposed.

use super::fit::Candidate;
use super::look::Seen;
use super::plan::{Note, note, open};
use super::write::listed;

/// The remark on a field, if there is one. `is_hint` tells that the column's name only perhaps means it.
pub(super) fn of(kind: &str, key: &str, is_hint: bool) -> Option<Note> {
    match (kind, key) {
        ("stock_movement", "quantity") => {
            Some(open("plus comes in, minus goes out: add negate = true if the file counts what is sold or issued"))
        }
        ("stock_movement", "unit_cost") if is_hint => Some(open("a selling price is no cost: drop it then")),
        ("stock_movement", "number") => Some(note("the document's own number; several rows may share one")),
        ("repair_order", "other#1.amount") if is_hint => {
            Some(open("a total of labour and parts is no other charge: drop it then"))
        }
        ("delivery_item", "sender") if is_hint => Some(note("the supplier, as who sends it")),
        _ => None,
    }
}

/// What is to be done where a ledger tells in from out by its reasons, and not by a sign.
pub(super) fn directions(candidate: &Candidate, seen: &Seen) -> Option<Note> {
    let is_ledger = candidate.kind.name == "stock_movement";
    let (reason, quantity) = (candidate.matched("reason")?, candidate.matched("quantity")?);
    let is_signed = seen.columns[quantity.column].values().any(|(value, _)| value.starts_with(['-', '−', '－', '(']));
    if !is_ledger || is_signed {
        return None;
    }
    let cells = |meanings: &[&str]| {
        let cells = reason.fit.values.iter().filter(|(_, name)| meanings.contains(name));
        cells.map(|(cell, _)| cell.clone()).collect::<Vec<String>>()
    };
    let (incoming, outgoing) = (cells(&["receipt"]), cells(&["issue", "sale", "scrap"]));
    if incoming.is_empty() || outgoing.is_empty() {
        return None;
    }
    let (incoming, outgoing) = (listed(&incoming), listed(&outgoing));
    Some(open(format!(
        "{incoming} and {outgoing} are both positive, and all would count as incoming: import the table by two maps, one \
         that leaves out {outgoing} by [[skip]], and one of another source that leaves out {incoming} and says negate = \
         true here; docs/import.md has both in full"
    )))
}
