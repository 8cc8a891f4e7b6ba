//! Every edge of every diagram is taken by a story.

use super::*;

#[test]
fn every_edge_of_every_flow_is_taken_by_a_story() {
    let mut taken: BTreeSet<Edge> = BTreeSet::new();
    for (story, _) in told::TOLD.iter().flat_map(|(_, stories)| *stories) {
        taken.extend(tell(story).map(|world| world.edges).unwrap_or_default());
    }
    let mut missing = Vec::new();
    for kind in KINDS.iter().filter(|kind| told::TOLD.iter().any(|(name, _)| *name == kind.name)) {
        for step in kind.flow {
            let froms = step.from.iter().map(|state| Some(state.name));
            for from in froms.chain(step.is_opening().then_some(None)) {
                let to = step.to.map(|state| state.name).or(from).unwrap_or_default();
                let edge = (kind.name, step.act.to_owned(), from.map(str::to_owned), to.to_owned());
                if !taken.contains(&edge) {
                    missing.push(format!("{}: {} from {} to {to}", kind.name, step.act, from.unwrap_or("nothing")));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no story takes these edges:\n{}", missing.join("\n"));
}
