//! Old parts: tagged at the outlet, directed by the approval of their claim, and then on their way until they are written off.

use std::collections::BTreeMap;

use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::decisions::{Filed, Order};
use crate::desk::Paper;
use crate::flows::{self, OLD_PART, Step};
use crate::wishes::{act_on, fields};

const HOUR_MS: i64 = 3_600_000;

/// What tags a part that was removed for a claim.
pub(crate) fn tag(claim: &DocId, wall: i64, chance: &mut Chance) -> BTreeMap<String, Value> {
    fields([
        ("claim", claim.to_string().into()),
        ("part", "P1".into()),
        ("tag_no", format!("T{}", chance.below(1_000)).into()),
        ("removed_at", Value::Int(wall - HOUR_MS)),
    ])
}

/// The outlet's next step with a part that was directed.
pub(crate) fn next(id: &DocId, paper: &Paper, chance: &mut Chance) -> Option<Wish> {
    let (act, set) = match (paper.state.as_str(), paper.directive.as_deref()?) {
        ("tagged", "discount") => ("discount", fields([("discount", Value::measured(500, "CNY"))])),
        ("tagged" | "boxed", _) if chance.percent(15) => ("correct", fields([("weight", Value::Int(900))])),
        ("tagged", _) => ("box", fields([("box_no", "B1".into())])),
        ("boxed", _) => ("ship", fields([("waybill", "W1".into())])),
        _ => return None,
    };
    Some(act_on(*id, OLD_PART, act, set))
}

/// What the hub makes of a part that came, or should have.
pub(crate) fn decision(filed: &Filed, chance: &mut Chance) -> Option<Order> {
    let arrived = match filed.directive().as_deref() {
        Some("maker") => Order::new("receive", []),
        Some("supplier") => Order::new("record", [("forwarded_to".into(), "S1".into())]),
        _ => Order::new("write_off", [write_off()]),
    };
    let discrepancy = |text: &str| [("discrepancy".to_owned(), Value::from(text))];
    match filed.state.as_str() {
        "shipped" => Some(match chance.below(6) {
            0 => Order::new("mismatch", discrepancy("型号不符")),
            1 => Order::new("short", discrepancy("箱内无件")),
            _ => arrived,
        }),
        "mismatch" | "short" if chance.percent(60) => Some(arrived),
        "received" if chance.percent(50) => Some(Order::new("forward", [("forwarded_to".into(), "S1".into())])),
        "mismatch" | "short" | "received" | "forwarded" | "discounted" => Some(Order::new("write_off", [write_off()])),
        _ => None,
    }
}

/// What the hub may not do with a part; none where the step drawn would be right.
pub(crate) fn wrong_decision(filed: &Filed, chance: &mut Chance) -> Option<Order> {
    let steps: Vec<&Step> = flows::of(OLD_PART).iter().filter(|Step(from, ..)| !from.is_empty()).collect();
    let Step(_, act, ..) = chance.pick(&steps);
    let is_due = filed.is_at_hub() && flows::step(OLD_PART, &filed.state, act).is_some();
    (!is_due).then(|| Order::new(act, of_any(act)))
}

/// Whatever an act takes, so that nothing but its time and its author is wrong.
pub(crate) fn of_any(act: &str) -> BTreeMap<String, Value> {
    match act {
        "discount" => fields([("discount", Value::measured(500, "CNY"))]),
        "box" => fields([("box_no", "B9".into())]),
        "ship" => fields([("waybill", "W9".into())]),
        "mismatch" | "short" => fields([("discrepancy", "不符".into())]),
        "forward" | "record" => fields([("forwarded_to", "S1".into())]),
        "write_off" => fields([("write_off_no", "H9".into())]),
        _ => BTreeMap::new(),
    }
}

fn write_off() -> (String, Value) {
    ("write_off_no".into(), "H1".into())
}
