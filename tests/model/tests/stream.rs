//! One stream up: every scenario holds by the proposed rules; every rule taken away, and every rule bent, is missed.

use waystation_model::check::{breaks, holds};
use waystation_model::stream::{Bounds, HEALTHY_STAYS, LOST_IS_LOST, NO_GAP, NO_MIX, OneStream, Rules, SETTLES, Start};

const EMPTY: Start = Start { disk: &[], stored: 0, pruned: 0, sent: &[], hub: &[], twins: 0, copy: None };
const ONE: Start = Start { disk: &[1], stored: 1, hub: &[1], ..EMPTY };
const SOME: Bounds = Bounds { captures: 1, hellos: 2, sends: 2, restores: 0, clones: 0, prunes: 0, hub_restores: 0 };

#[rustfmt::skip]
const SCENARIOS: &[(&str, Start, Bounds)] = &[
    ("healthy", EMPTY, Bounds { captures: 3, ..SOME }),
    ("hub restored", EMPTY, Bounds { hub_restores: 1, ..SOME }),
    ("hub restored, pruned", ONE, Bounds { prunes: 1, hub_restores: 1, ..SOME }),
    ("disk restored", EMPTY, Bounds { captures: 2, restores: 1, ..SOME }),
    ("disk restored, many captures", EMPTY, Bounds { captures: 3, sends: 1, restores: 1, ..SOME }),
    ("three devices", Start { twins: 3, ..ONE }, Bounds { captures: 3, hellos: 1, ..SOME }),
    ("two devices meet again", Start { twins: 2, ..ONE }, Bounds { captures: 2, ..SOME }),
    ("a clone from an older copy", Start { disk: &[1, 2], stored: 2, hub: &[1, 2], copy: Some(&[1]), ..EMPTY },
        Bounds { clones: 1, ..SOME }),
    ("a clone while the hub is older", Start { disk: &[1, 2], stored: 2, pruned: 2, copy: Some(&[]), ..EMPTY },
        Bounds { clones: 1, ..SOME }),
    ("ladder gap", Start { disk: &[1, 2], stored: 2, pruned: 2, hub: &[1, 2, 3, 4, 5], ..EMPTY }, SOME),
    ("ladder gap, nothing pruned", Start { disk: &[1, 2], stored: 2, hub: &[1, 2, 3, 4, 5], ..EMPTY },
        Bounds { captures: 2, ..SOME }),
    ("pruned beyond another branch", Start { disk: &[1, 2, 3], stored: 3, pruned: 2, sent: &[1], hub: &[1, 4], ..EMPTY },
        SOME),
    ("an ACK never seen", Start { disk: &[1, 2], stored: 2, pruned: 2, sent: &[1], hub: &[1], ..EMPTY }, SOME),
    ("a fork, then the hub restored", Start { disk: &[1], stored: 1, pruned: 1, hub: &[1, 2], ..EMPTY },
        Bounds { hub_restores: 1, ..SOME }),
];

fn model(name: &str, rules: Rules) -> OneStream {
    let found = SCENARIOS.iter().find(|(scenario, ..)| *scenario == name);
    let (_, start, bounds) = found.expect("the scenario is in the table");
    OneStream { start: *start, bounds: *bounds, rules }
}

fn check(scenario: &str, property: &'static str, bend: fn(&mut Rules)) {
    let mut rules = Rules::PROPOSED;
    bend(&mut rules);
    breaks(scenario, model(scenario, rules), property);
}

/// Proves R-MEET-1, R-HELLO-2, R-HELLO-4, R-LOST-1, R-LOST-3, R-BATCH-6, I3, I9.
#[test]
fn every_scenario_holds_by_the_proposed_rules() {
    for (name, ..) in SCENARIOS {
        let model = model(name, Rules::PROPOSED);
        println!("{:?}", model.bounds);
        holds(name, model);
    }
}

#[test]
fn each_proposed_rule_is_missed_where_it_is_taken_away() {
    check("ladder gap", LOST_IS_LOST, |rules| rules.ladder_answers_hello = false);
    check("a fork, then the hub restored", LOST_IS_LOST, |rules| rules.ladder_through_line = false);
    check("pruned beyond another branch", SETTLES, |rules| rules.lost_on_a_fork = false);
    check("a clone while the hub is older", NO_MIX, |rules| rules.base_compares = false);
    check("disk restored", SETTLES, |rules| rules.keeps_aside = false);
    check("disk restored", SETTLES, |rules| rules.announced_stand = false);
    check("hub restored", SETTLES, |rules| rules.heartbeat_answers = false);
    check("an ACK never seen", LOST_IS_LOST, |rules| rules.keeps_sent_hashes = false);
    check("an ACK never seen", HEALTHY_STAYS, |rules| rules.keeps_sent_hashes = false);
}

#[test]
fn each_planted_wrong_rule_is_caught() {
    check("two devices meet again", SETTLES, |rules| rules.trusts_any_hash = true);
    check("hub restored", HEALTHY_STAYS, |rules| rules.hello_forks = true);
    check("a clone from an older copy", SETTLES, |rules| rules.never_forks = true);
    check("ladder gap, nothing pruned", SETTLES, |rules| rules.gap_is_common = true);
    check("an ACK never seen", NO_GAP, |rules| rules.gaps_are_silent = true);
    check("three devices", NO_MIX, |rules| rules.appends_any_hash = true);
}

#[test]
fn the_hash_and_the_heartbeat_protect_where_the_session_is_not_compared() {
    let rules = Rules { trusts_any_session: true, ..Rules::PROPOSED };
    holds("any session, hub restored", model("hub restored", rules));
    holds("any session, clone", model("a clone from an older copy", rules));
}
