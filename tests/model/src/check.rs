//! Runs a model to its end and says what was walked.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, DiscoveryClassification, HasDiscoveries, Model, Path};

/// The machines this is meant for have two cores.
const THREADS: usize = 2;

/// Walks every state within the model's bounds, prints what was walked, and panics at the first broken property.
pub fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Hash + PartialEq + Clone + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let since = Instant::now();
    let checker = model.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, depth {depth}, {:.1} s", since.elapsed().as_secs_f64());
    for (property, path) in checker.discoveries() {
        let is_example = matches!(checker.discovery_classification(property), DiscoveryClassification::Example);
        assert!(is_example, "{name}: broken: {property}\n{}", in_words(path));
    }
    checker.assert_properties();
}

/// Walks until `property` breaks, prints a way there that no step can be left out of, and panics if there is none.
pub fn breaks<M>(name: &str, model: M, property: &'static str)
where
    M: Model + Clone + Send + Sync + 'static,
    M::State: Debug + Hash + PartialEq + Clone + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = model.clone().checker().threads(1).finish_when(wanted).spawn_bfs().join();
    let found = checker.discovery(property);
    let path = found.unwrap_or_else(|| panic!("{name}: nothing breaks: {property}"));
    let steps = without_idle_steps(&model, property, path.into_actions());
    let words: String = steps.iter().map(|step| format!("    {step:?}\n")).collect();
    println!("{name}: breaks: {property}\n{words}");
}

/// Leaves out every step without which the property still breaks.
fn without_idle_steps<M: Model>(model: &M, property: &'static str, mut steps: Vec<M::Action>) -> Vec<M::Action>
where
    M::State: Clone,
    M::Action: Clone + PartialEq,
{
    let mut at = 0;
    while at < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match breaks_after(model, property, &fewer) {
            Some(enough) => {
                fewer.truncate(enough);
                (steps, at) = (fewer, 0);
            }
            None => at += 1,
        }
    }
    steps
}

/// After how many of these steps the property is broken, if all up to there are possible.
fn breaks_after<M: Model>(model: &M, property: &'static str, steps: &[M::Action]) -> Option<usize>
where
    M::Action: Clone + PartialEq,
{
    let property = model.property(property);
    let mut state = model.init_states().into_iter().next()?;
    for (index, step) in steps.iter().enumerate() {
        let mut possible = Vec::new();
        model.actions(&state, &mut possible);
        if !possible.contains(step) {
            return None;
        }
        state = model.next_state(&state, step.clone())?;
        if !(property.condition)(model, &state) {
            return Some(index + 1);
        }
    }
    None
}

fn in_words<S: Clone + Debug + PartialEq + Hash, A: Clone + Debug + PartialEq>(path: Path<S, A>) -> String {
    path.into_actions().iter().map(|step| format!("    {step:?}\n")).collect()
}
