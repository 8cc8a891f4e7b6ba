//! What the network decides about claims; the hub's configuration sets it.

use crate::kind::Rule;

/// Every one of them. Where a run-in bound is 0, nothing is bounded.
pub(super) static ALL: &[&Rule] = &[
    &MAX_ROUNDS,
    &RESUBMIT_DAYS,
    &RETURN_DAYS,
    &RUN_IN_KM,
    &RUN_IN_DAYS,
    &RUN_IN_FEE,
    &RETURNABLE[0],
    &RETURNABLE[1],
    &RETURNABLE[2],
    &RETURNABLE[3],
    &RETURNABLE[4],
    &RETURNABLE[5],
];

const fn rule(name: &'static str, zh: &'static str, en: &'static str, default: i64, (least, most): (i64, i64)) -> Rule {
    Rule { name, zh, en, default, least, most }
}

/// How often a claim may come to the hub.
pub(super) static MAX_ROUNDS: Rule = rule("claim.max_rounds", "申报次数上限", "Rounds allowed", 3, (1, 99));
/// Within how many days a returned claim comes again.
pub(super) static RESUBMIT_DAYS: Rule =
    rule("claim.resubmit_days", "重报期限（天）", "Days to resubmit", 30, (1, 3_650));
/// Within how many days the old parts of an approved claim come back.
pub(super) static RETURN_DAYS: Rule =
    rule("old_part.return_days", "旧件返回期限（天）", "Days for old parts to come back", 30, (1, 3_650));
/// Up to which odometer reading a run-in service is paid.
pub(super) static RUN_IN_KM: Rule = rule("claim.run_in_km", "走保里程上限", "Run-in limit in km", 0, (0, 1_000_000));
/// Up to which age of the vehicle.
pub(super) static RUN_IN_DAYS: Rule = rule("claim.run_in_days", "走保天数上限", "Run-in limit in days", 0, (0, 36_500));
/// Its fixed fee in minor units.
pub(super) static RUN_IN_FEE: Rule =
    rule("claim.run_in_fee", "走保定额（分）", "Run-in fee in minor units", 0, (0, 1_000_000_000));

const RETURNABLE_ZH: &str = "可退单重报（1 是，0 否）";
const RETURNABLE_EN: &str = "May be returned (1 yes, 0 no)";

/// Whether a variant may be returned and submitted again.
static RETURNABLE: [Rule; 6] = [
    rule("claim.returnable.ordinary", RETURNABLE_ZH, RETURNABLE_EN, 1, (0, 1)),
    rule("claim.returnable.major_assembly", RETURNABLE_ZH, RETURNABLE_EN, 1, (0, 1)),
    rule("claim.returnable.roadside", RETURNABLE_ZH, RETURNABLE_EN, 0, (0, 1)),
    rule("claim.returnable.outside_purchase", RETURNABLE_ZH, RETURNABLE_EN, 0, (0, 1)),
    rule("claim.returnable.run_in", RETURNABLE_ZH, RETURNABLE_EN, 0, (0, 1)),
    rule("claim.returnable.compensation", RETURNABLE_ZH, RETURNABLE_EN, 0, (0, 1)),
];

/// Whether claims of a variant may be returned.
pub(super) fn returnable(variant: &str) -> Option<&'static Rule> {
    RETURNABLE.iter().find(|rule| rule.name.strip_prefix("claim.returnable.") == Some(variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_its_rule() {
        for variant in super::super::VARIANTS {
            assert!(returnable(variant.name).is_some(), "{}", variant.name);
        }
        assert_eq!(RETURNABLE.len(), super::super::VARIANTS.len());
    }
}
