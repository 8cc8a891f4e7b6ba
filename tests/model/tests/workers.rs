//! Two hub workers.

use waystation_model::check::{breaks, holds};
use waystation_model::workers::{BACKED, Compare, ONCE, ONE_CHAIN, Rules, Workers};

const PROPOSED: Rules = Rules { compare: Compare::Lane, acks_from_database: true, acks_early: false };

fn model(rules: Rules) -> Workers {
    Workers { rules, main: &[1, 2, 3], other: &[1, 4], restores: 1 }
}

/// Proves R-BATCH-8, R-ACK-1, I5.
#[test]
fn two_workers_hold_by_the_proposed_rules() {
    holds("two workers, batches of abc and ad, one restore", model(PROPOSED));
}

#[test]
fn each_rule_is_missed_where_it_is_taken_away_or_bent() {
    breaks("the mark alone", model(Rules { compare: Compare::Mark, ..PROPOSED }), ONCE);
    breaks("ACK from memory", model(Rules { acks_from_database: false, ..PROPOSED }), BACKED);
    breaks("no compare-and-set", model(Rules { compare: Compare::Nothing, ..PROPOSED }), ONE_CHAIN);
    breaks("the seq alone", model(Rules { compare: Compare::Seq, ..PROPOSED }), ONE_CHAIN);
    breaks("ACK before commit", model(Rules { acks_early: true, ..PROPOSED }), BACKED);
}
