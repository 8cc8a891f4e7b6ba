//! What only the hub can see: claims that clash with others, of whatever site.

use super::*;
use crate::kind::{Clash, Cross, Trait};
use crate::time;

/// The rules.
pub(super) const RULES: &[Cross] = &[ODOMETER_FALLS, ONCE_RUN_IN, SAME_ORDER, SAME_DAY];

const ODOMETER_FALLS: Cross =
    vehicle::odometer_falls(|claim| is_alive(claim).then(|| vehicle::compared(claim, claim.occurred_at())).flatten());

const ONCE_RUN_IN: Cross = Cross {
    name: "run_in_once",
    zh: "该车已有走保单",
    en: "this vehicle has had its run-in service",
    of: |claim| {
        let is_run_in = claim.get(VARIANT) == Some("run_in") && is_alive(claim);
        is_run_in.then(|| compared(claim, claim.get(VIN).map(str::to_owned))).flatten()
    },
    clash: Clash::Same,
};

const SAME_ORDER: Cross = Cross {
    name: "claim_same_order",
    zh: "同一工单、同一祸首件已申报",
    en: "the same causal part of the same order is claimed already",
    of: |claim| {
        let key = claim.get(REPAIR_ORDER).zip(claim.get(CAUSAL_PART)).map(|(order, part)| format!("{order} {part}"));
        is_alive(claim).then(|| compared(claim, key)).flatten()
    },
    clash: Clash::Same,
};

/// Days are those of the outlets' own zone: a rule knows no site's.
const SAME_DAY: Cross = Cross {
    name: "claim_same_day",
    zh: "同车、同件、同日已申报",
    en: "the same part of the same vehicle is claimed for the same day already",
    of: |claim| {
        let day = time::zone("").ok().and_then(|zone| Some(claim.get(FAILED_AT)?.day(&zone)));
        let part = claim.get(VIN).zip(claim.get(CAUSAL_PART));
        let key = part.zip(day).map(|((vin, part), day)| format!("{vin} {part} {day}"));
        is_alive(claim).then(|| compared(claim, key)).flatten()
    },
    clash: Clash::Same,
};

fn compared(claim: &Document, key: Option<String>) -> Option<Trait> {
    Some(Trait { key: key?, at: claim.occurred_at(), value: 0 })
}

/// Submitted and neither rejected nor void.
fn is_alive(claim: &Document) -> bool {
    let is_out = ["draft", "rejected", "void"].contains(&claim.state.as_str());
    !is_out
}
