//! Which edges of the diagrams were taken.

use std::collections::BTreeSet;

use waystation_protocol::kind::find;

use crate::told::TOLD;

/// Kind, act, the state it was taken from (empty: it opened), the state it led to.
pub(crate) type Edge = (String, String, String, String);

/// What no act took, of every kind that stories are told of.
pub(crate) fn missing(taken: &BTreeSet<Edge>) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, _) in TOLD {
        for step in find(name).expect("a kind has the name its stories are listed under").flow {
            let froms = step.from.iter().map(|state| state.name);
            for from in froms.chain(step.is_opening().then_some("")) {
                let to = step.to.map_or(from, |state| state.name);
                let edge = ((*name).to_owned(), step.act.to_owned(), from.to_owned(), to.to_owned());
                if !taken.contains(&edge) {
                    missing.push(format!("{name}: {} from '{from}' to '{to}'", step.act));
                }
            }
        }
    }
    missing
}
