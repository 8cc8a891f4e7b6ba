//! Part transfer 紧急调件: a station needs a part, and the maker's warehouse, a supplier or another station ships it.
//!
//! 应发货 is what the maker's own warehouse owes; 代发货 is what a supplier or another station ships for it. The pen follows
//! the part: in transit the receiver has it. What leaves one station's stock and enters another's, the acting station posts.

use jiff::tz::TimeZone;

use super::{Kind, header, stock_movement};
use crate::document::Document;
use crate::document::capture::{Change, Effect, Problem};
use crate::document::column::{Col, Quantity};
use crate::document::filling::{Filling, Set};
use crate::document::flow::{Holder, Role, State, VOID, open, state, step};
use crate::fact::{self, Fact, Measure};
use crate::value::{Choice, Value, choice};

/// Waiting for the hub.
pub const REQUESTED: State = state("requested", "已申请", "Requested");
/// The other station cannot ship.
pub const REFUSED: State = state("refused", "代发站拒绝", "Refused");
/// Nobody ships.
pub const REJECTED: State = state("rejected", "驳回", "Rejected");
/// The hub ships, or a supplier does at its word.
pub const APPROVED: State = state("approved", "已批准", "Approved");
/// Another station is asked to ship.
pub const ASSIGNED: State = state("assigned", "已指派代发", "Assigned");
/// It will.
pub const ACCEPTED: State = state("accepted", "代发站已接受", "Accepted");
/// On its way to who asked.
pub const SHIPPED: State = state("shipped", "已发货", "Shipped");
/// All of it arrived.
pub const RECEIVED: State = state("received", "已收货", "Received");
/// Less arrived.
pub const SHORT: State = state("short", "短少", "Short");
/// Some of it arrived broken.
pub const DAMAGED: State = state("damaged", "破损", "Damaged");
/// Done.
pub const CLOSED: State = state("closed", "已关闭", "Closed");

/// Who ships.
pub const MODES: &[Choice] = &[
    choice("maker", "应发货", "The maker's warehouse"),
    choice("supplier", "代发货（供应商）", "A supplier for it"),
    choice("station", "代发货（服务站）", "Another station for it"),
];

crate::fields! {
    pub CLAIM: Link("claim") = "claim" "鉴定单" / "Claim";
    pub REPAIR_ORDER: Link("repair_order") = "repair_order" "维修工单" / "Repair order";
    pub PART: Text = "part" "配件" / "Part", from REQUESTED, searched;
    pub REQUESTED_Q: Quantity = "quantity" "申请数量" / "Quantity", from REQUESTED;
    pub NEED_BY: Due = "need_by" "需用时间" / "Needed by", from REQUESTED;
    pub LOCATION: Text = "location" "收货库位" / "Location";
    pub MODE: Choice(MODES) = "mode" "发货方式" / "Mode";
    pub SUPPLIER: Text = "supplier" "供应商" / "Supplier";
    pub SOURCE: Text = "source" "代发站" / "Shipping station";
    pub SOURCE_LOCATION: Text = "source_location" "发货库位" / "Shipped from";
    pub APPROVED_Q: Quantity = "approved" "批准数量" / "Approved";
    pub APPROVED_AT: Time = "approved_at" "批准时间" / "Approved at", filled;
    pub REJECT_REASON: Text = "reject_reason" "驳回原因" / "Reason for rejection";
    pub REFUSAL: Text = "refusal" "拒绝原因" / "Reason for refusal";
    pub SHIPPED_Q: Quantity = "shipped" "发货数量" / "Shipped";
    pub WAYBILL: Text = "waybill" "运单号" / "Waybill", searched;
    pub RECEIVED_Q: Quantity = "received" "完好收货数量" / "Received in good order";
    pub DAMAGED_Q: Quantity = "damaged" "破损数量" / "Damaged";
    pub RECEIVED_AT: Time = "received_at" "收货时间" / "Received at", filled;
    pub CONCLUSION: Text = "conclusion" "处理结论" / "Conclusion";
}

/// Transfers by the day they were asked for; quantities in thousandths. Fill rate = received_q ÷ approved_q.
pub static TRANSFERS: Measure = Measure {
    name: "transfer",
    keys: &["part", "mode", "source"],
    values: &[
        "transfers",
        "rejected",
        "short",
        "damaged",
        "late",
        "closed",
        "requested_q",
        "approved_q",
        "shipped_q",
        "received_q",
    ],
    is_ledger: false,
};

/// How long from approval to receipt, in minutes as [`fact::bucket`] counts them, by the day of the approval.
pub static TRANSFER_TIMES: Measure =
    Measure { name: "transfer_time", keys: &["mode", "minutes"], values: &["count"], is_ledger: false };

const AT_SITE: &[Role] = &[Role::PartsClerk];
const AT_HUB: &[Role] = &[Role::Reviewer];
const GRANT: &[&str] = &[MODE.col(), APPROVED_Q.col()];
const GRANT_BY_STATION: &[&str] = &[MODE.col(), APPROVED_Q.col(), SOURCE.col()];
const SHIPMENT: &[&str] = &[SHIPPED_Q.col(), WAYBILL.col()];
const RECEIPT: &[&str] = &[RECEIVED_Q.col()];
const DAMAGE: &[&str] = &[RECEIVED_Q.col(), DAMAGED_Q.col()];

/// The declaration.
pub static PART_TRANSFER: Kind = Kind {
    name: "part_transfer",
    code: "PT",
    zh: "调件单",
    en: "Part transfer",
    states: &[REQUESTED, REFUSED, REJECTED, APPROVED, ASSIGNED, ACCEPTED, SHIPPED, RECEIVED, SHORT, DAMAGED, CLOSED],
    fields: FIELDS,
    flow: &[
        open("request", "申请调件", "Request", REQUESTED).by(AT_SITE).pen(Holder::Hub),
        step("approve", "批准发货", "Approve", &[REQUESTED, REFUSED], APPROVED).by(AT_HUB).takes(GRANT),
        step("assign", "指派代发", "Assign", &[REQUESTED, REFUSED], ASSIGNED)
            .by(AT_HUB)
            .pen(Holder::Named(SOURCE.name()))
            .takes(GRANT_BY_STATION),
        step("reject", "驳回", "Reject", &[REQUESTED, REFUSED], REJECTED).by(AT_HUB).takes(&[REJECT_REASON.col()]),
        step("accept", "接受代发", "Accept", &[ASSIGNED], ACCEPTED).by(AT_SITE),
        step("refuse", "拒绝代发", "Refuse", &[ASSIGNED, ACCEPTED], REFUSED)
            .by(AT_SITE)
            .pen(Holder::Hub)
            .takes(&[REFUSAL.col()]),
        step("ship", "发货", "Ship", &[APPROVED], SHIPPED).by(AT_HUB).pen(Holder::Origin).takes(SHIPMENT),
        step("ship", "代发货", "Ship", &[ACCEPTED], SHIPPED).by(AT_SITE).pen(Holder::Origin).takes(SHIPMENT),
        step("receive", "收货", "Receive", &[SHIPPED], RECEIVED).by(AT_SITE).pen(Holder::Hub).takes(RECEIPT),
        step("receive_short", "短少收货", "Receive short", &[SHIPPED], SHORT)
            .by(AT_SITE)
            .pen(Holder::Hub)
            .takes(RECEIPT),
        step("receive_damaged", "破损收货", "Receive damaged", &[SHIPPED], DAMAGED)
            .by(AT_SITE)
            .pen(Holder::Hub)
            .takes(DAMAGE),
        step("close", "关闭", "Close", &[RECEIVED], CLOSED).by(AT_HUB),
        step("conclude", "处理并关闭", "Conclude", &[SHORT, DAMAGED], CLOSED).by(AT_HUB).takes(&[CONCLUSION.col()]),
    ],
    fill: Some(fill),
    stands_once_ended: true,
    checks: &[quantities_fall, somebody_else_ships, received_as_said, request_stands, what_is_on_its_way_arrives],
    effects: Some(effects),
    measures: &[&TRANSFERS, &TRANSFER_TIMES],
    facts,
    ..Kind::PLAIN
};

fn fill(filling: &Filling<'_>, set: &mut Set) {
    let now = Some(Value::Int(filling.now.0));
    match filling.act {
        "assign" => {
            filling.state(set, MODE.name(), Some(Value::from("station")));
            filling.state(set, APPROVED_AT.name(), now);
        }
        "approve" => filling.state(set, APPROVED_AT.name(), now),
        "receive" | "receive_short" | "receive_damaged" => filling.state(set, RECEIVED_AT.name(), now),
        _ => {}
    }
}

/// 0 ≤ received + damaged ≤ shipped ≤ approved ≤ asked for, all in one unit; nothing but a receipt is 0.
fn quantities_fall(change: &Change<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let measured = |column: Col<Quantity>| change.after.fields.get(column.name()).and_then(Value::as_measured);
    let arrived = |column| if column == RECEIVED_Q.name() { change.after.get(DAMAGED_Q).unwrap_or(0) } else { 0 };
    let unit = measured(REQUESTED_Q).map(|(_, unit)| unit);
    let mut most = i64::MAX;
    for (column, least) in [(REQUESTED_Q, 1), (APPROVED_Q, 1), (SHIPPED_Q, 1), (RECEIVED_Q, 0)] {
        let Some((milli, found)) = measured(column) else { continue };
        if milli < least || milli.saturating_add(arrived(column.name())) > most {
            problems.push(Problem::at(
                column.name(),
                "数量不在允许范围内",
                "more than the step before allows, or too little",
            ));
        }
        if Some(found) != unit {
            problems.push(Problem::at(column.name(), "计量单位不一致", "another unit than was asked for"));
        }
        most = milli;
    }
    if measured(DAMAGED_Q).is_some_and(|(milli, found)| milli <= 0 || Some(found) != unit) {
        problems.push(Problem::at(
            DAMAGED_Q.name(),
            "破损数量须大于零且单位一致",
            "more than 0, in the unit asked for",
        ));
    }
    problems
}

/// An approval names the supplier where one ships; a station is assigned instead, and never ships to itself.
fn somebody_else_ships(change: &Change<'_>) -> Vec<Problem> {
    match (change.act, change.after.get(MODE)) {
        ("approve", Some("station")) => {
            vec![Problem::at(MODE.name(), "由服务站代发请用“指派代发”", "to let a station ship, assign it")]
        }
        ("approve", Some("supplier")) if change.after.get(SUPPLIER).is_none() => {
            vec![Problem::at(SUPPLIER.name(), "须注明供应商", "the supplier is required")]
        }
        ("assign", _) if change.after.get(SOURCE) == Some(change.after.site.as_str()) => {
            vec![Problem::at(SOURCE.name(), "代发站不能是申请站", "the station that asks does not ship to itself")]
        }
        _ => Vec::new(),
    }
}

/// Whole, short or damaged: the act says what the numbers do.
fn received_as_said(change: &Change<'_>) -> Vec<Problem> {
    let (shipped, received) = (change.after.get(SHIPPED_Q), change.after.get(RECEIVED_Q));
    match change.act {
        "receive" if received.is_some() && received < shipped => {
            vec![Problem::at(RECEIVED_Q.name(), "数量不足，请用“短少收货”", "less than was shipped: receive it short")]
        }
        "receive_short" if received >= shipped => {
            vec![Problem::at(RECEIVED_Q.name(), "数量不短少", "this is not short")]
        }
        _ => Vec::new(),
    }
}

/// What was asked for stays as it is.
fn request_stands(change: &Change<'_>) -> Vec<Problem> {
    let asked = [PART.name(), REQUESTED_Q.name(), NEED_BY.name(), CLAIM.name(), REPAIR_ORDER.name()];
    let is_changed = |key: &&String| change.before.is_some() && asked.contains(&key.as_str());
    let changed = change.set.keys().filter(is_changed);
    changed.map(|key| Problem::at(key, "申请内容不能更改", "what was asked for stays as it is")).collect()
}

/// What was shipped left somebody's stock: it arrives, whole, short or damaged.
fn what_is_on_its_way_arrives(change: &Change<'_>) -> Vec<Problem> {
    let was_shipped = change.before.is_some_and(|before| before.fields.contains_key(SHIPPED_Q.name()));
    if change.after.state == VOID.name && was_shipped {
        return vec![Problem::whole(
            "已发货的调件不能作废，请收货",
            "what was shipped is not voided: receive it, be it short",
        )];
    }
    Vec::new()
}

/// A station that ships posts what left its stock, one that receives what entered it in good order.
fn effects(change: &Change<'_>) -> Vec<Effect> {
    let transfer = change.after;
    let is_from_station = change.before.is_some_and(|before| before.state == ACCEPTED.name);
    let (column, sign, site, location) = match change.act {
        "ship" if is_from_station => (SHIPPED_Q, -1, transfer.get(SOURCE), SOURCE_LOCATION),
        "receive" | "receive_short" | "receive_damaged" => (RECEIVED_Q, 1, Some(transfer.site.as_str()), LOCATION),
        _ => return Vec::new(),
    };
    let moved = transfer.fields.get(column.name()).and_then(Value::as_measured);
    let (Some((milli, unit)), Some(site), Some(part)) = (moved, site, transfer.get(PART)) else { return Vec::new() };
    let source = transfer.number().map_or_else(|| transfer.id.to_string(), str::to_owned);
    let set = Set::from([
        (header::SITE.name().to_owned(), Value::from(site)),
        (stock_movement::ITEM.name().to_owned(), Value::from(part)),
        (stock_movement::LOCATION.name().to_owned(), Value::from(transfer.get(location).unwrap_or("main"))),
        (stock_movement::QUANTITY.name().to_owned(), Value::measured(sign * milli, unit)),
        (stock_movement::REASON.name().to_owned(), Value::from("transfer")),
        (stock_movement::SOURCE_DOCUMENT.name().to_owned(), Value::from(source)),
    ]);
    if milli == 0 { Vec::new() } else { vec![Effect::Open { kind: "stock_movement", act: "post", set }] }
}

fn facts(transfer: &Document, zone: &TimeZone) -> Vec<Fact> {
    let key = |text: Option<&str>| text.unwrap_or_default().to_owned();
    // the station that refused stays named where another ships
    let by_station = transfer.get(SOURCE).filter(|_| transfer.get(MODE) == Some("station"));
    let (received_at, need_by) = (transfer.get(RECEIVED_AT), transfer.get(NEED_BY));
    let damaged = transfer.get(DAMAGED_Q);
    let missing = transfer.get(SHIPPED_Q).zip(transfer.get(RECEIVED_Q));
    let is_short = missing.is_some_and(|(shipped, received)| received + damaged.unwrap_or(0) < shipped);
    let is_late = received_at.zip(need_by).is_some_and(|(at, need_by)| at > need_by);
    let mut facts = vec![Fact {
        measure: &TRANSFERS,
        day: transfer.occurred_at().day(zone),
        keys: vec![key(transfer.get(PART)), key(transfer.get(MODE)), key(by_station.or(transfer.get(SUPPLIER)))],
        values: vec![
            1,
            i64::from(transfer.state == REJECTED.name),
            i64::from(is_short),
            i64::from(damaged.is_some()),
            i64::from(is_late),
            i64::from(transfer.state == CLOSED.name),
            transfer.get(REQUESTED_Q).unwrap_or(0),
            transfer.get(APPROVED_Q).unwrap_or(0),
            transfer.get(SHIPPED_Q).unwrap_or(0),
            transfer.get(RECEIVED_Q).unwrap_or(0),
        ],
    }];
    if let Some((approved, received)) = transfer.get(APPROVED_AT).zip(received_at) {
        let keys = vec![key(transfer.get(MODE)), fact::bucket((received.0 - approved.0) / 60_000)];
        facts.push(Fact { measure: &TRANSFER_TIMES, day: approved.day(zone), keys, values: vec![1] });
    }
    facts
}
