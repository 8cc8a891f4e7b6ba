//! What a claim adds to the reports.

use jiff::tz::TimeZone;

use super::*;
use crate::fact::{self, Fact, Measure};

/// Claims by the day they were first submitted; `fault`, `part` and `supplier` make the fault Pareto, with money.
pub static CLAIMS: Measure = Measure {
    name: "claim",
    keys: &["variant", "fault", "part", "supplier"],
    values: &["submitted", "approved", "returned", "rejected", "decided", "first_pass", "claimed", "granted"],
    is_ledger: false,
};

/// How long things took, by the day of the submission, so that percentiles can be read off sums: `span` is `review` (from
/// the hub's receipt to its decision, in minutes) or `sync_lag` (from the submission to the receipt, in seconds), each as
/// [`fact::bucket`] counts.
pub static CLAIM_TIMES: Measure =
    Measure { name: "claim_time", keys: &["span", "variant", "units"], values: &["count"], is_ledger: false };

pub(super) fn facts(claim: &Document, zone: &TimeZone) -> Vec<Fact> {
    if claim.state == DRAFT.name {
        return Vec::new();
    }
    let text = |column: Col<crate::document::column::Text>| claim.get(column).unwrap_or_default().to_owned();
    let variant = claim.get(VARIANT).unwrap_or_default().to_owned();
    let passages = claim.lines(PASSAGES);
    let first = passages.first().and_then(|line| line.get(passage::SUBMITTED_AT));
    let (is_approved, is_rejected) = (claim.state == APPROVED.name, claim.state == REJECTED.name);
    let mut facts = vec![Fact {
        measure: &CLAIMS,
        day: first.unwrap_or_else(|| claim.occurred_at()).day(zone),
        keys: vec![variant.clone(), text(FAULT), text(CAUSAL_PART), text(SUPPLIER)],
        values: vec![
            1,
            i64::from(is_approved),
            i64::from(claim.round > 1),
            i64::from(is_rejected),
            i64::from(is_approved || is_rejected),
            i64::from(is_approved && claim.round == 1),
            claim.get(CLAIMED).unwrap_or(0),
            claim.get(GRANTED).unwrap_or(0),
        ],
    }];
    for line in &passages {
        let Some(submitted) = line.get(passage::SUBMITTED_AT) else { continue };
        let received = line.get(passage::RECEIVED_AT);
        let mut add = |span: &str, units: i64| {
            let keys = vec![span.to_owned(), variant.clone(), fact::bucket(units)];
            facts.push(Fact { measure: &CLAIM_TIMES, day: submitted.day(zone), keys, values: vec![1] });
        };
        if let Some(received) = received {
            add("sync_lag", (received.0 - submitted.0) / 1_000);
        }
        if let Some((received, decided)) = received.zip(line.get(passage::DECIDED_AT)) {
            add("review", (decided.0 - received.0) / 60_000);
        }
    }
    facts
}
