//! What must be said of single fields whenever they are proposed.

use super::plan::{Note, note, open};

/// The remark on a field, if there is one. `is_hint` tells that the column's name only perhaps means it.
pub(super) fn of(kind: &str, key: &str, is_hint: bool) -> Option<Note> {
    match (kind, key) {
        ("stock_movement", "quantity") => {
            Some(open("plus comes in, minus goes out: add negate = true if the file counts what is sold or issued"))
        }
        ("stock_movement", "unit_cost") if is_hint => Some(open("a selling price is no cost: drop it then")),
        ("stock_movement", "number") => Some(note("the document's own number; several rows may share one")),
        ("delivery_item", "sender") if is_hint => Some(note("the supplier, as who sends it")),
        _ => None,
    }
}
