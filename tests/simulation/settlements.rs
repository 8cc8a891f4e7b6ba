//! Settlements: the hub gathers what it granted an outlet, and the outlet confirms or disputes it.

use std::collections::{BTreeMap, BTreeSet};

use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::decisions::{Filed, Order};
use crate::desk::Paper;
use crate::flows::{self, CLAIM, SETTLEMENT, Step};
use crate::wishes::{act_on, fields};

const DAY_MS: i64 = 86_400_000;

/// What the outlet says of a settlement that was issued to it.
pub(crate) fn next(id: &DocId, paper: &Paper, chance: &mut Chance) -> Option<Wish> {
    let is_about_claims = paper.fields.contains_key("claim#1.amount");
    let (act, set) = match paper.state.as_str() {
        "issued" if is_about_claims && chance.percent(25) => {
            ("dispute", fields([("claim#1.dispute", "少算工时".into())]))
        }
        "issued" => ("confirm", fields([("invoice_no", "F1".into())])),
        _ => return None,
    };
    Some(act_on(*id, SETTLEMENT, act, set))
}

/// What the hub's clerk does with a settlement.
pub(crate) fn decision(filed: &Filed, chance: &mut Chance) -> Option<Order> {
    let money = |minor: i64| Value::measured(minor, "CNY");
    let some = i64::try_from(chance.within(1, 500)).expect("an amount is small");
    // beyond the lines that are gathered
    let line = chance.within(700, 799);
    match filed.state.as_str() {
        "generated" | "disputed" => Some(match chance.below(6) {
            0 => {
                let (amount, comment) = (format!("adjustment#{line}.amount"), format!("adjustment#{line}.comment"));
                let signed = if chance.percent(50) { some } else { -some };
                Order::new("adjust", [(amount, money(signed)), (comment, "尾差".into())])
            }
            1 => {
                let (amount, reason) = (format!("deduction#{line}.amount"), format!("deduction#{line}.reason"));
                Order::new("adjust", [(amount, money(some)), (reason, "penalty".into())])
            }
            _ => Order::new("issue", []),
        }),
        "confirmed" => {
            let due = due(filed).max(0);
            let paid = if chance.percent(60) { due } else { due / 2 };
            Some(Order::new("pay", [("paid".to_owned(), money(paid))]))
        }
        "paid" => Some(Order::new("close", [])),
        _ => None,
    }
}

/// The settlement of an outlet that was granted something which none has yet; none where one is still open. `all`: what the
/// hub has, in its order.
pub(crate) fn generate(all: &[Filed], wall: i64, chance: &mut Chance) -> Option<Order> {
    let settled: BTreeSet<String> =
        of_kind(all, SETTLEMENT).flat_map(|found| found.fields_ending(".claim")).map(|(_, claim)| claim).collect();
    let is_due = |claim: &&Filed| claim.state == "approved" && !settled.contains(&claim.document.to_string());
    let is_free = |site: &&str| {
        let last = of_kind(all, SETTLEMENT).filter(|found| found.site == *site).last();
        last.is_none_or(|last| last.state == "closed")
    };
    let sites: Vec<&str> =
        of_kind(all, CLAIM).filter(is_due).map(|claim| claim.site.as_str()).filter(is_free).collect();
    if sites.is_empty() {
        return None;
    }
    let site: &&str = chance.pick(&sites);
    Some(opening(site, wall))
}

/// What the clerk may not do: begin a settlement while one is open, pay more than is due, decide what is not here. Whether
/// it is about a document, or opens one.
pub(crate) fn wrong_decision(filed: &Filed, wall: i64, chance: &mut Chance) -> Option<(bool, Order)> {
    if filed.state != "closed" && chance.percent(30) {
        return Some((false, opening(&filed.site, wall)));
    }
    if filed.state == "confirmed" {
        let paid = Value::measured(due(filed).max(0) + 1, "CNY");
        return Some((true, Order::new("pay", [("paid".to_owned(), paid)])));
    }
    let steps: Vec<&Step> = flows::of(SETTLEMENT).iter().filter(|Step(from, ..)| !from.is_empty()).collect();
    let Step(_, act, ..) = chance.pick(&steps);
    let is_due = filed.is_at_hub() && flows::step(SETTLEMENT, &filed.state, act).is_some();
    (!is_due).then(|| (true, Order::new(act, of_any(act))))
}

/// Whatever an act takes, so that nothing but its time and its author is wrong.
pub(crate) fn of_any(act: &str) -> BTreeMap<String, Value> {
    match act {
        "confirm" => fields([("invoice_no", "F9".into())]),
        "dispute" => fields([("claim#1.dispute", "不符".into())]),
        "pay" => fields([("paid", Value::measured(0, "CNY"))]),
        _ => BTreeMap::new(),
    }
}

fn opening(site: &str, wall: i64) -> Order {
    let until = Value::Int(wall / DAY_MS + 1);
    Order::new("generate", fields([("site", site.into()), ("period", "11月".into()), ("until", until)]))
}

fn due(filed: &Filed) -> i64 {
    filed.milli("opening") + filed.milli("total")
}

fn of_kind<'a>(all: &'a [Filed], kind: &'a str) -> impl Iterator<Item = &'a Filed> {
    all.iter().filter(move |found| found.kind == kind)
}
