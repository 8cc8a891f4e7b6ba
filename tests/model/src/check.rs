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

/// Walks until `property` breaks, prints the shortest way there, and panics if there is none.
pub fn breaks<M>(name: &str, model: M, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Debug + Hash + PartialEq + Clone + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().threads(1).finish_when(wanted).spawn_bfs().join();
    let found = checker.discovery(property);
    let path = found.unwrap_or_else(|| panic!("{name}: nothing breaks: {property}"));
    println!("{name}: breaks: {property}\n{}", in_words(path));
}

fn in_words<S: Clone + Debug + PartialEq + Hash, A: Clone + Debug + PartialEq>(path: Path<S, A>) -> String {
    path.into_actions().iter().map(|step| format!("    {step:?}\n")).collect()
}
