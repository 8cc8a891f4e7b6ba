//! Printed numbers.

use waystation_model::check::{breaks, holds};
use waystation_model::numbers::{Numbers, Rules, UNIQUE};

const PROPOSED: Rules = Rules {
    copies_are_noticed: true,
    letters_outlive_restore: true,
    fork_keeps_letter: false,
    letters_are_reused: false,
    counts_journal: false,
};

fn model(rules: Rules) -> Numbers {
    Numbers { rules, begun: 2, devices: 3, prints: 3, ends: true, letters: 26 }
}

/// Proves R-FORK-5, R-COPY-1.
#[test]
fn no_number_is_printed_twice_by_the_proposed_rules() {
    holds("three devices, three numbers", Numbers { ends: false, ..model(PROPOSED) });
    holds("two devices and a copy, one breaks, one prunes", Numbers { begun: 1, devices: 2, ..model(PROPOSED) });
}

#[test]
fn each_rule_is_missed_where_it_is_taken_away_or_bent() {
    breaks("copies unnoticed", model(Rules { copies_are_noticed: false, ..PROPOSED }), UNIQUE);
    breaks("letters restored", model(Rules { letters_outlive_restore: false, ..PROPOSED }), UNIQUE);
    breaks("fork keeps letter", model(Rules { fork_keeps_letter: true, ..PROPOSED }), UNIQUE);
    breaks("letters reused", model(Rules { letters_are_reused: true, ..PROPOSED }), UNIQUE);
    breaks("the journal is counted", model(Rules { counts_journal: true, ..PROPOSED }), UNIQUE);
}
