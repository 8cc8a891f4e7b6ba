//! Claims: what an outlet asks for, and what the reviewer at the hub makes of it, round after round.

use std::collections::{BTreeMap, BTreeSet};

use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::decisions::{Filed, Order};
use crate::desk::{Desk, Paper};
use crate::flows::{self, CLAIM, OLD_PART, ORDER, SETTLEMENT, Step};
use crate::old_parts;
use crate::settlements;
use crate::wishes::{ITEMS, Task, act_on, fields, opening};

/// With so many claims in hand an outlet drafts no other.
const IN_HAND: usize = 2;
/// How often a claim may come to the hub: the network's rule where nothing else is configured.
const ROUNDS: i64 = 3;
/// The lines of a claim, at most.
const LINES: u64 = 2;
const HOUR_MS: i64 = 3_600_000;
/// When the vehicle was sold, in days since 1970: early in 2026.
const SOLD: i64 = 20_470;

/// What a clerk wants of a claim, or of what comes of claims, whose pen is here; or another claim. `wall` is the device's clock.
pub(crate) fn wish(desk: &Desk, wall: i64, chance: &mut Chance) -> Option<Wish> {
    let is_in_time = |paper: &Paper| {
        let due = paper.fields.get("resubmit_due").and_then(Value::as_int);
        due.is_none_or(|due| due > wall.max(desk.hub_wall))
    };
    let is_here = |paper: &Paper| paper.pen().as_deref() == Some(desk.site.as_str());
    let is_due = |paper: &Paper| match paper.kind {
        CLAIM => is_here(paper) && is_in_time(paper),
        OLD_PART => is_here(paper) && paper.directive.is_some(),
        SETTLEMENT => is_here(paper),
        _ => false,
    };
    let due: Vec<(&DocId, &Paper)> = desk.papers().filter(|(_, paper)| is_due(paper)).collect();
    let in_hand = due.iter().filter(|(_, paper)| paper.kind == CLAIM).count();
    if due.is_empty() || in_hand < IN_HAND && chance.percent(8) {
        let orders: Vec<DocId> = desk.papers().filter(|(_, paper)| paper.kind == ORDER).map(|(id, _)| *id).collect();
        // a claim is about a repair
        return match orders.is_empty() {
            true => desk.wish(Task::CheckIn, wall, chance),
            false => Some(opening(CLAIM, "draft", draft(chance.pick(&orders), wall, chance))),
        };
    }
    // what is further on first, so that some things come to their end
    let furthest = due.iter().max_by_key(|(_, paper)| (paper.kind, flows::progress(paper.kind, &paper.state)));
    let (id, paper) = *furthest.filter(|_| chance.percent(60)).unwrap_or(chance.pick(&due));
    match paper.kind {
        OLD_PART => return old_parts::next(id, paper, chance),
        SETTLEMENT => return settlements::next(id, paper, chance),
        _ => {}
    }
    let (act, set) = match paper.state.as_str() {
        "draft" if chance.percent(4) => ("void", fields([("void_reason", "重复申报".into())])),
        "draft" => {
            let of_claim = |paper: &Paper| paper.kind == OLD_PART && paper.text("claim") == id.to_string();
            let tagged: Vec<&DocId> =
                desk.papers().filter(|(_, paper)| of_claim(paper)).map(|(part, _)| part).collect();
            let lines: Vec<&str> = paper.fields.keys().filter_map(|field| field.strip_suffix(".price")).collect();
            if tagged.len() < lines.len() && chance.percent(65) {
                return Some(opening(OLD_PART, "tag", old_parts::tag(id, wall, chance)));
            }
            let named = lines.iter().zip(tagged);
            ("submit", named.map(|(line, part)| (format!("{line}.old_part"), part.to_string().into())).collect())
        }
        _ if chance.percent(20) => ("edit", fields([("part#1.price", money(chance))])),
        _ => ("resubmit", fields([("place", format!("{} 号门", chance.below(90)).into())])),
    };
    Some(act_on(*id, CLAIM, act, set))
}

/// What nobody at an outlet may do with a claim or what comes of it; none where the step drawn would be right.
pub(crate) fn wrong(desk: &Desk, chance: &mut Chance) -> Option<Wish> {
    let found: Vec<(&DocId, &Paper)> =
        desk.papers().filter(|(_, paper)| [CLAIM, OLD_PART, SETTLEMENT].contains(&paper.kind)).collect();
    if found.is_empty() {
        return None;
    }
    let (id, paper) = *chance.pick(&found);
    let steps: Vec<&Step> = flows::of(paper.kind).iter().filter(|Step(from, ..)| !from.is_empty()).collect();
    let Step(_, act, ..) = chance.pick(&steps);
    let is_here = paper.pen().as_deref() == Some(desk.site.as_str());
    let is_due = is_here && flows::step(paper.kind, &paper.state, act).is_some();
    let is_undirected = paper.kind == OLD_PART && paper.directive.is_none() && *act == "box";
    (!is_due || is_undirected).then(|| act_on(*id, paper.kind, act, of_any(paper.kind, act)))
}

/// What the reviewer makes of a claim. `parts`: the old parts that the hub knows.
pub(crate) fn decision(filed: &Filed, parts: &BTreeSet<String>, chance: &mut Chance) -> Option<Order> {
    match filed.state.as_str() {
        "submitted" => return Some(Order::new("review", [])),
        "reviewing" => {}
        _ => return None,
    }
    let named: Vec<(String, String)> = filed.fields_ending(".old_part");
    let are_known = named.iter().all(|(_, part)| parts.contains(part));
    match chance.below(10) {
        0 => Some(Order::new("reject", [("reject_reason".into(), "过保".into())])),
        1..5 if filed.round() < ROUNDS => {
            let line = format!("remark#{}", filed.round());
            let set = [("field", "odometer"), ("code", "wrong"), ("comment", "里程与照片不符")];
            Some(Order::new("return", set.map(|(name, text)| (format!("{line}.{name}"), text.into()))))
        }
        // an old part whose tag is lost cannot be directed
        _ if !are_known => Some(Order::new("reject", [("reject_reason".into(), "旧件无标签".into())])),
        _ => Some(Order::new("approve", grant(filed, &named, chance))),
    }
}

/// What the reviewer may not do: grant more than was claimed, leave an old part without a word, decide what is not here.
pub(crate) fn wrong_decision(filed: &Filed, chance: &mut Chance) -> Option<Order> {
    if filed.state == "reviewing" {
        let named = filed.fields_ending(".old_part");
        let mut set: BTreeMap<String, Value> = grant(filed, &named, chance).into_iter().collect();
        match named.first() {
            Some((line, _)) if chance.percent(50) => drop(set.remove(&format!("{line}.disposition"))),
            _ => {
                let most = filed.milli("part#1.amount");
                set.insert("part#1.granted".into(), Value::measured(most + 1, "CNY"));
            }
        }
        return Some(Order::new("approve", set));
    }
    let steps: Vec<&Step> = flows::of(CLAIM).iter().filter(|Step(from, ..)| !from.is_empty()).collect();
    let Step(_, act, ..) = chance.pick(&steps);
    let is_due = filed.is_at_hub() && flows::step(CLAIM, &filed.state, act).is_some();
    (!is_due).then(|| Order::new(act, of_any(CLAIM, act)))
}

/// All or some of every line, and what becomes of each old part.
fn grant(filed: &Filed, named: &[(String, String)], chance: &mut Chance) -> Vec<(String, Value)> {
    let mut set = Vec::new();
    for (line, _) in filed.fields_ending(".price") {
        let amount = filed.milli(&format!("{line}.amount"));
        let granted = if chance.percent(60) { amount } else { amount / 2 };
        set.push((format!("{line}.granted"), Value::measured(granted, "CNY")));
    }
    for (line, _) in named {
        let disposition = *chance.pick(&["maker", "maker", "supplier", "discount"]);
        set.push((format!("{line}.disposition"), disposition.into()));
    }
    set
}

fn draft(order: &DocId, wall: i64, chance: &mut Chance) -> BTreeMap<String, Value> {
    let failed_at = Value::Int(wall - HOUR_MS);
    let mut set = fields([
        ("variant", "ordinary".into()),
        ("repair_order", order.to_string().into()),
        ("vin", "1M8GDM9AXKP042788".into()),
        ("model", "M1".into()),
        ("sale_date", Value::Int(SOLD)),
        ("odometer", Value::Int(9_000)),
        ("customer", "张伟".into()),
        ("failed_at", failed_at),
        ("symptom", "异响".into()),
        ("causal_part", "P1".into()),
        ("fault", "F01".into()),
        ("severity", "major".into()),
        ("supplier", "S1".into()),
    ]);
    for line in 1..=chance.within(1, LINES) {
        let named = [
            ("part", Value::from(*chance.pick(ITEMS))),
            ("quantity", Value::measured(1_000, "件")),
            ("price", money(chance)),
            ("source", "stock".into()),
            ("coverage", "warranty".into()),
        ];
        set.extend(named.into_iter().map(|(name, value)| (format!("part#{line}.{name}"), value)));
    }
    set
}

fn money(chance: &mut Chance) -> Value {
    Value::measured(i64::try_from(chance.within(1, 3_000)).expect("a price is small"), "CNY")
}

/// Whatever an act takes, so that nothing but its time and its author is wrong.
fn of_any(kind: &str, act: &str) -> BTreeMap<String, Value> {
    match (kind, act) {
        (OLD_PART, _) => old_parts::of_any(act),
        (SETTLEMENT, _) => settlements::of_any(act),
        (_, "reject") => fields([("reject_reason", "过保".into())]),
        (_, "return") => fields([
            ("remark#9.field", "odometer".into()),
            ("remark#9.code", "wrong".into()),
            ("remark#9.comment", "不符".into()),
        ]),
        (_, "approve") => fields([("part#1.granted", Value::measured(0, "CNY"))]),
        _ => BTreeMap::new(),
    }
}
