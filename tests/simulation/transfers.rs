//! Part transfers: what the station that needs a part, the one that may ship it, and the hub between them want next.

use std::collections::BTreeMap;

use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::decisions::{Filed, Order};
use crate::desk::{Desk, Paper};
use crate::flows::{self, Step, TRANSFER};
use crate::wishes::{ITEMS, act_on, fields, opening};

/// With so many transfers of its own open a station asks for nothing more.
const OPEN: usize = 3;
const DAY_MS: i64 = 86_400_000;
/// One piece, in thousandths.
const PIECE: i64 = 1_000;

/// What a clerk wants of a transfer whose pen is here; or another part.
pub(crate) fn wish(desk: &Desk, wall: i64, chance: &mut Chance) -> Option<Wish> {
    let transfers = || desk.papers().filter(|(_, paper)| paper.kind == TRANSFER);
    let is_here = |paper: &Paper| paper.pen().as_deref() == Some(desk.site.as_str());
    let here: Vec<(&DocId, &Paper)> = transfers().filter(|(_, paper)| is_here(paper)).collect();
    let own = transfers().filter(|(_, paper)| paper.site == desk.site && paper.state != "closed").count();
    if here.is_empty() || own < OPEN && chance.percent(25) {
        return (own < OPEN).then(|| opening(TRANSFER, "request", request(wall, chance)));
    }
    let furthest = here.iter().max_by_key(|(_, paper)| flows::progress(TRANSFER, &paper.state));
    let (id, paper) = *furthest.filter(|_| chance.percent(50)).unwrap_or(chance.pick(&here));
    // what was shipped arrives
    if chance.percent(3) && paper.state != "shipped" {
        return Some(act_on(*id, TRANSFER, "void", fields([("void_reason", "重复申请".into())])));
    }
    let (act, set) = next(paper, chance)?;
    Some(act_on(*id, TRANSFER, act, set))
}

/// What nobody here may do with some transfer: a step that is another's or not due, or more than there is. None where the
/// step drawn would be right.
pub(crate) fn wrong(desk: &Desk, chance: &mut Chance) -> Option<Wish> {
    let transfers: Vec<(&DocId, &Paper)> = desk.papers().filter(|(_, paper)| paper.kind == TRANSFER).collect();
    if transfers.is_empty() {
        return None;
    }
    let (id, paper) = *chance.pick(&transfers);
    let is_here = paper.pen().as_deref() == Some(desk.site.as_str());
    if let (true, "accepted" | "shipped") = (is_here, paper.state.as_str()) {
        let is_shipping = paper.state == "accepted";
        let (act, field) = if is_shipping { ("ship", "shipped") } else { ("receive", "received") };
        let most = quantity(paper, if is_shipping { "approved" } else { "shipped" });
        let mut set = fields([(field, pieces(most + PIECE))]);
        set.extend(is_shipping.then(|| ("waybill".to_owned(), "W9".into())));
        return Some(act_on(*id, TRANSFER, act, set));
    }
    let steps: Vec<&Step> = flows::of(TRANSFER).iter().filter(|Step(from, ..)| !from.is_empty()).collect();
    let Step(_, act, ..) = chance.pick(&steps);
    let is_due = flows::step(TRANSFER, &paper.state, act).is_some();
    (!is_here || !is_due).then(|| act_on(*id, TRANSFER, act, of_any(act, &desk.site)))
}

/// What the hub makes of a transfer it holds. `sites`: who could ship.
pub(crate) fn decision(filed: &Filed, sites: &[String], chance: &mut Chance) -> Option<Order> {
    let text = |name: &str, text: &str| (name.to_owned(), Value::from(text));
    match filed.state.as_str() {
        "requested" | "refused" => {
            let others: Vec<&String> = sites.iter().filter(|site| **site != filed.site).collect();
            let granted = share(filed.milli("quantity"), chance);
            if others.is_empty() || chance.percent(30) {
                return Some(match chance.below(6) {
                    0 => Order::new("reject", [text("reject_reason", "停产")]),
                    1 => {
                        let set = [text("mode", "supplier"), text("supplier", "S1"), ("approved".into(), granted)];
                        Order::new("approve", set)
                    }
                    _ => Order::new("approve", [text("mode", "maker"), ("approved".into(), granted)]),
                });
            }
            let source = chance.pick(&others);
            let set = [text("mode", "station"), text("source", source), ("approved".into(), granted)];
            Some(Order::new("assign", set))
        }
        "approved" => {
            let shipped = share(filed.milli("approved"), chance);
            Some(Order::new("ship", [("shipped".into(), shipped), text("waybill", "W1")]))
        }
        "received" => Some(Order::new("close", [])),
        "short" | "damaged" => Some(Order::new("conclude", [text("conclusion", "补发")])),
        _ => None,
    }
}

/// What the hub may not do with a transfer, whoever holds it; none where the step drawn would be right.
pub(crate) fn wrong_decision(filed: &Filed, chance: &mut Chance) -> Option<Order> {
    if filed.state == "requested" {
        // more than was asked for, or the station that asks is to ship to itself
        let (granted, source) = match chance.percent(50) {
            true => (filed.milli("quantity") + PIECE, "9999"),
            false => (PIECE, filed.site.as_str()),
        };
        let set = [("mode", "station".into()), ("source", Value::from(source)), ("approved", pieces(granted))];
        return Some(Order::new("assign", set.map(|(name, value)| (name.to_owned(), value))));
    }
    let steps: Vec<&Step> = flows::of(TRANSFER).iter().filter(|Step(from, ..)| !from.is_empty()).collect();
    let Step(_, act, ..) = chance.pick(&steps);
    let is_due = filed.is_at_hub() && flows::step(TRANSFER, &filed.state, act).is_some();
    (!is_due).then(|| Order::new(act, of_any(act, &filed.site)))
}

/// The next step with a transfer whose pen is here.
fn next(paper: &Paper, chance: &mut Chance) -> Option<(&'static str, BTreeMap<String, Value>)> {
    let refusal = ("refusal", Value::from("无货"));
    let shipped = quantity(paper, "shipped");
    let fewer = |chance: &mut Chance| i64::try_from(chance.below(shipped.unsigned_abs() / 1_000)).unwrap_or(0) * PIECE;
    Some(match paper.state.as_str() {
        "assigned" if chance.percent(75) => ("accept", BTreeMap::new()),
        "accepted" if chance.percent(85) => {
            let mut set = fields([("shipped", share(quantity(paper, "approved"), chance)), ("waybill", "W1".into())]);
            set.extend(chance.percent(40).then(|| ("source_location".to_owned(), "back".into())));
            ("ship", set)
        }
        "assigned" | "accepted" => ("refuse", fields([refusal])),
        "shipped" => match chance.below(5) {
            0 => ("receive_short", fields([("received", pieces(fewer(chance)))])),
            1 => {
                let whole = fewer(chance);
                let set = [("received", pieces(whole)), ("damaged", pieces(shipped - whole))];
                ("receive_damaged", fields(set))
            }
            _ => ("receive", fields([("received", pieces(shipped))])),
        },
        _ => return None,
    })
}

fn request(wall: i64, chance: &mut Chance) -> BTreeMap<String, Value> {
    let asked = i64::try_from(chance.within(1, 5)).expect("a quantity is small") * PIECE;
    let mut set = fields([
        ("part", Value::from(*chance.pick(ITEMS))),
        ("quantity", pieces(asked)),
        ("need_by", Value::Int(wall + DAY_MS)),
    ]);
    set.extend(chance.percent(40).then(|| ("location".to_owned(), "back".into())));
    set
}

/// Whatever an act takes, so that nothing but its time and its author is wrong.
fn of_any(act: &str, site: &str) -> BTreeMap<String, Value> {
    let (text, one) = (|text: &str| Value::from(text), pieces(PIECE));
    match act {
        "approve" => fields([("mode", text("maker")), ("approved", one)]),
        "assign" => fields([("mode", text("station")), ("source", text(site)), ("approved", one)]),
        "reject" => fields([("reject_reason", text("停产"))]),
        "refuse" => fields([("refusal", text("无货"))]),
        "ship" => fields([("shipped", one), ("waybill", text("W9"))]),
        "receive" | "receive_short" => fields([("received", one)]),
        "receive_damaged" => fields([("received", pieces(0)), ("damaged", one)]),
        "conclude" => fields([("conclusion", text("补发"))]),
        _ => BTreeMap::new(),
    }
}

/// All of a quantity, or less, but something.
fn share(milli: i64, chance: &mut Chance) -> Value {
    let most = milli.unsigned_abs() / PIECE.unsigned_abs();
    let some = if chance.percent(60) { most } else { chance.within(1, most.max(1)) };
    pieces(i64::try_from(some).expect("a quantity is small") * PIECE)
}

fn pieces(milli: i64) -> Value {
    Value::measured(milli, "件")
}

fn quantity(paper: &Paper, field: &str) -> i64 {
    paper.fields.get(field).and_then(Value::as_measured).map_or(0, |(milli, _)| milli)
}
