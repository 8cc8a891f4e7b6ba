//! The pen over both journals.

use waystation_model::check::{breaks, holds};
use waystation_model::pen::{AGREES, CLEAN, NEVER_TWICE, ONE_SUCCESSOR, Pen, Rules, Wait};

const PROPOSED: Rules = Rules {
    wait: Wait::AllWhoMaySee,
    epoch_is_raised: true,
    ignores_after: false,
    returns_nothing: false,
    two_hold_the_pen: false,
    drops_superseded: false,
};
const UNNOTICED: Rules = Rules { epoch_is_raised: false, ..PROPOSED };
const COPIED: Rules = Rules { two_hold_the_pen: true, ..PROPOSED };

fn model(rules: Rules) -> Pen {
    Pen { rules, entries: 5, restores: 1, may_decide_twice: false }
}

/// Proves R-OLDER-2, R-ENTRY-2, I8.
#[test]
fn the_pen_holds_by_the_proposed_rules() {
    holds("two documents, three devices, five entries, one restore", model(PROPOSED));
    holds("eight entries without faults", Pen { entries: 8, restores: 0, ..model(PROPOSED) });
}

#[test]
fn a_restore_that_nobody_notices_decides_twice_and_says_so() {
    breaks("epoch not raised", model(UNNOTICED), NEVER_TWICE);
    holds("epoch not raised, the rest", Pen { may_decide_twice: true, entries: 4, ..model(UNNOTICED) });
}

#[test]
fn each_rule_is_missed_where_it_is_taken_away_or_bent() {
    breaks("the own site alone is awaited", model(Rules { wait: Wait::OwnSite, ..PROPOSED }), NEVER_TWICE);
    breaks("one device of the site is enough", model(Rules { wait: Wait::OneDevice, ..PROPOSED }), NEVER_TWICE);
    breaks("nobody is awaited", model(Rules { wait: Wait::None, ..PROPOSED }), NEVER_TWICE);
    breaks("nothing is returned", model(Rules { returns_nothing: true, ..PROPOSED }), NEVER_TWICE);
    breaks("after is ignored", model(Rules { ignores_after: true, ..COPIED }), ONE_SUCCESSOR);
    breaks("two hold the pen", model(COPIED), CLEAN);
    breaks("what is superseded is dropped", model(Rules { drops_superseded: true, ..COPIED }), AGREES);
}
