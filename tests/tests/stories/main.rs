//! The stories of the kinds, told by real agents and a real hub: each act is taken while nobody can reach anybody, and whoever
//! acts next learns of it afterwards. Every edge of every diagram is taken so.

mod edges;
mod network;
mod teller;
#[allow(dead_code, reason = "the end of a story is checked here, what is refused where the kinds are")]
#[path = "../../../protocol/src/kind/stories/told/mod.rs"]
mod told;

use std::collections::{BTreeMap, BTreeSet};

use network::Network;
use teller::Telling;

/// Proves R-DOWN-1, R-PEN-1.
#[test]
fn every_story_comes_to_its_end_between_real_agents_and_a_real_hub_and_takes_every_edge() {
    let stories: Vec<&told::Story> = told::TOLD.iter().flat_map(|(_, stories)| *stories).collect();
    let spelled: Vec<String> = stories.iter().map(|(story, _)| told::spelled(story)).collect();
    let mut tellings: Vec<Telling<'_>> =
        spelled.iter().enumerate().map(|(number, story)| Telling::new(number + 1, told::lines(story))).collect();
    let mut network = Network::start(tellings.len(), &rules(&spelled));
    let mut taken = BTreeSet::new();
    let mut turns = 0;
    while tellings.iter().any(|telling| !telling.is_over()) {
        network.cut();
        tellings.iter_mut().for_each(|telling| taken.extend(telling.turn(&network)));
        match turns {
            1 => network.kill_hub(),
            2 => network.kill_outlets(),
            _ => {}
        }
        network.plug_in();
        network.agree();
        turns += 1;
    }
    for (telling, (story, end)) in tellings.iter().zip(&stories) {
        assert_eq!(telling.end(&network), *end, "{story}");
    }
    assert_eq!(network.quarantined(), Vec::<serde_json::Value>::new());
    settlements_balance(&network);
    let missing = edges::missing(&taken);
    assert!(missing.is_empty(), "no real agents and hub take these edges:\n{}", missing.join("\n"));
}

/// The rules of the network that stories state: one hub tells them all, so no two state one rule otherwise.
fn rules(spelled: &[String]) -> BTreeMap<String, i64> {
    let mut rules = BTreeMap::new();
    for line in spelled.iter().flat_map(|story| told::lines(story)) {
        if let told::Line::Rule(name, value) = line {
            let before = rules.insert(name.to_owned(), value);
            assert!(before.is_none_or(|before| before == value), "two stories state {name} otherwise");
        }
    }
    rules
}

/// opening + approved − deductions ± adjustments − paid = closing, of stations and suppliers alike, by the lines themselves.
fn settlements_balance(network: &Network) {
    let settlements: Vec<_> = network.at_hub().into_iter().filter(|found| found["kind"] == "settlement").collect();
    let suppliers = settlements.iter().filter(|found| found["site"] == "hub").count();
    assert!(suppliers > 1 && settlements.len() > suppliers + 1, "{suppliers} of {}", settlements.len());
    for found in settlements {
        let fields = found["fields"].as_object().expect("a document has fields");
        let minor = |key: &str| fields.get(key).map_or(0, network::minor);
        let sum = |group: &str| -> i64 {
            let of_group = fields.iter().filter(|(key, _)| key.starts_with(group) && key.ends_with(".amount"));
            of_group.map(|(_, amount)| network::minor(amount)).sum()
        };
        let moved = sum("claim#") + sum("recovery#") - sum("deduction#") + sum("adjustment#");
        assert!(moved != 0, "it gathered something: {found}");
        assert_eq!(minor("opening") + moved - minor("paid"), minor("closing"), "{found}");
    }
}
