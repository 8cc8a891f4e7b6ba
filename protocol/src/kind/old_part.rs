//! Old part 旧件: one removed part each, from its tag 挂签 to 核销, the last step.
//!
//! What becomes of it, the approval of its claim says, as a note: nothing is boxed or discounted without that directive.
//! A part for the maker comes back to the hub; one that goes straight to its supplier only the hub's record follows.

use jiff::tz::TimeZone;

use super::Kind;
use crate::document::capture::{Change, Problem};
use crate::document::filling::{Filling, Set};
use crate::document::flow::{Holder, Role, State, VOID, open, state, stay, step};
use crate::document::{Document, Party};
use crate::fact::{Fact, Measure};
use crate::value::{Choice, Value, choice};

/// Removed and tagged.
pub const TAGGED: State = state("tagged", "已挂签", "Tagged");
/// In a box.
pub const BOXED: State = state("boxed", "已装箱", "Boxed");
/// On its way.
pub const SHIPPED: State = state("shipped", "已发运", "Shipped");
/// Another part came than the tag says.
pub const MISMATCH: State = state("mismatch", "不符", "Mismatch");
/// The box came without it.
pub const SHORT: State = state("short", "缺件", "Short");
/// At the maker's.
pub const RECEIVED: State = state("received", "已收件", "Received");
/// At the supplier's.
pub const FORWARDED: State = state("forwarded", "已交供应商", "Forwarded");
/// Kept by the outlet at a price.
pub const DISCOUNTED: State = state("discounted", "已折价", "Discounted");
/// Done with.
pub const WRITTEN_OFF: State = state("written_off", "已核销", "Written off");

/// What becomes of an old part.
pub const DISPOSITIONS: &[Choice] = &[
    choice("maker", "返回整车厂", "Back to the maker"),
    choice("supplier", "返回供应商", "Straight to the supplier"),
    choice("discount", "折价处理", "Discount"),
];

/// What was wrong as it came, or should have.
pub const ARRIVALS: &[Choice] = &[choice("mismatch", "不符", "Mismatch"), choice("short", "缺件", "Short")];

crate::fields! {
    pub CLAIM: Link("claim") = "claim" "鉴定单" / "Claim", from TAGGED;
    pub REPAIR_ORDER: Link("repair_order") = "repair_order" "维修工单" / "Repair order";
    pub PART: Text = "part" "配件" / "Part", from TAGGED, searched;
    pub SERIAL: Text = "serial" "序列号" / "Serial number", searched;
    pub TAG_NO: Text = "tag_no" "旧件标签号" / "Tag number", from TAGGED, searched;
    pub REMOVED_AT: Time = "removed_at" "拆下时间" / "Removed at", from TAGGED;
    pub PHOTO: Text = "photo" "照片" / "Photo";
    pub SUPPLIER: Text = "supplier" "供应商" / "Supplier";
    pub RETENTION_UNTIL: Date = "retention_until" "保存至" / "Keep until";
    /// Stands in a note: the claim's approval writes it.
    pub DIRECTIVE: Choice(DISPOSITIONS) = "directive" "处理方式" / "Disposition", filled;
    /// Stands in a note, beside the directive.
    pub RETURN_DUE: Due = "return_due" "返回期限" / "Return by", filled;
    pub BOX_NO: Text = "box_no" "箱号" / "Box number", searched;
    pub WEIGHT: Integer = "weight" "重量（克）" / "Weight (g)";
    pub WAYBILL: Text = "waybill" "运单号" / "Waybill", searched;
    pub DISCOUNT: Money = "discount" "折价金额" / "Discount";
    pub DISCREPANCY: Text = "discrepancy" "差异说明" / "Discrepancy";
    pub ARRIVAL: Choice(ARRIVALS) = "arrival" "到件情况" / "Arrival", filled;
    pub RECEIVED_AT: Time = "received_at" "收件时间" / "Received at", filled;
    pub FORWARDED_TO: Text = "forwarded_to" "接收供应商" / "Forwarded to";
    pub WRITE_OFF_NO: Text = "write_off_no" "核销单号" / "Write-off number";
}

/// Old parts by the day they were removed. `returned` of those ordered back are at the maker's or the supplier's; `in_time`
/// by when they were due.
pub static OLD_PARTS: Measure = Measure {
    name: "old_part",
    keys: &["part", "supplier"],
    values: &[
        "tagged",
        "ordered",
        "shipped",
        "returned",
        "in_time",
        "mismatch",
        "short",
        "discounted",
        "written_off",
        "discount",
    ],
    is_ledger: false,
};

const AT_SITE: &[Role] = &[Role::PartsClerk];
const AT_HUB: &[Role] = &[Role::Reviewer, Role::SpotChecker];

/// The declaration.
pub static OLD_PART: Kind = Kind {
    name: "old_part",
    code: "OP",
    zh: "旧件",
    en: "Old part",
    states: &[TAGGED, BOXED, SHIPPED, MISMATCH, SHORT, RECEIVED, FORWARDED, DISCOUNTED, WRITTEN_OFF],
    fields: FIELDS,
    flow: &[
        open("tag", "挂签", "Tag", TAGGED).by(AT_SITE),
        stay("correct", "更正", "Correct", &[TAGGED, BOXED]).by(AT_SITE),
        step("discount", "折价", "Discount", &[TAGGED], DISCOUNTED)
            .by(AT_SITE)
            .pen(Holder::Hub)
            .takes(&[DISCOUNT.col()]),
        step("box", "装箱", "Box", &[TAGGED], BOXED).by(AT_SITE).takes(&[BOX_NO.col()]),
        step("ship", "发运", "Ship", &[BOXED], SHIPPED).by(AT_SITE).pen(Holder::Hub).takes(&[WAYBILL.col()]),
        step("receive", "收件", "Receive", &[SHIPPED, MISMATCH, SHORT], RECEIVED).by(AT_HUB),
        step("mismatch", "不符", "Mismatch", &[SHIPPED], MISMATCH).by(AT_HUB).takes(&[DISCREPANCY.col()]),
        step("short", "缺件", "Short", &[SHIPPED], SHORT).by(AT_HUB).takes(&[DISCREPANCY.col()]),
        step("forward", "交供应商", "Forward", &[RECEIVED], FORWARDED).by(AT_HUB).takes(&[FORWARDED_TO.col()]),
        step("record", "登记直返", "Record", &[SHIPPED, MISMATCH, SHORT], FORWARDED)
            .by(AT_HUB)
            .takes(&[FORWARDED_TO.col()]),
        step("write_off", "核销", "Write off", &[DISCOUNTED, RECEIVED, FORWARDED, MISMATCH, SHORT], WRITTEN_OFF)
            .by(AT_HUB)
            .takes(&[WRITE_OFF_NO.col()]),
    ],
    fill: Some(fill),
    stands_once_ended: true,
    checks: &[goes_as_directed, worth_something, stays_what_it_is],
    measures: &[&OLD_PARTS],
    facts,
    ..Kind::PLAIN
};

fn fill(filling: &Filling<'_>, set: &mut Set) {
    match filling.act {
        "receive" | "record" => {
            filling.state(set, RECEIVED_AT.name(), Some(Value::Int(filling.now.0)));
            // it came after all
            filling.state(set, ARRIVAL.name(), None);
        }
        "mismatch" | "short" => filling.state(set, ARRIVAL.name(), Some(Value::from(filling.act))),
        _ => {}
    }
}

/// The directive decides the way.
fn goes_as_directed(change: &Change<'_>) -> Vec<Problem> {
    let fits: &[&str] = match change.act {
        "discount" => &["discount"],
        "box" | "ship" => &["maker", "supplier"],
        "receive" | "forward" => &["maker"],
        "record" => &["supplier"],
        _ => return Vec::new(),
    };
    match change.after.noted(DIRECTIVE) {
        None => {
            vec![Problem::at(DIRECTIVE.name(), "鉴定单尚未批准，不能处理旧件", "its claim has not been approved yet")]
        }
        Some(directive) if !fits.contains(&directive) => {
            vec![Problem::at(DIRECTIVE.name(), "与核定的处理方式不符", "this is not what the approval directs")]
        }
        Some(_) => Vec::new(),
    }
}

/// A part that was directed is the one that comes back: it is neither another one now, nor void. The hub may void what lies at an outlet
/// that cannot act any more, once it has taken the pen.
fn stays_what_it_is(change: &Change<'_>) -> Vec<Problem> {
    let Some(before) = change.before else { return Vec::new() };
    let is_directed = before.noted(DIRECTIVE).is_some();
    let is_there = [TAGGED.name, BOXED.name].contains(&before.state.as_str());
    if change.after.state == VOID.name && (!is_there || is_directed && before.pen != Party::Hub) {
        return vec![Problem::whole(
            "已核定去向的旧件不能作废",
            "what becomes of this part was decided: it is not voided",
        )];
    }
    let kept = [CLAIM.name(), PART.name(), SERIAL.name()];
    let is_changed = |name: &&&str| before.fields.get(**name) != change.after.fields.get(**name);
    let changed = kept.iter().filter(|name| is_directed && before.fields.contains_key(**name)).filter(is_changed);
    changed
        .map(|name| Problem::at(*name, "已核定去向，不能更改", "what becomes of this part was decided: it stays"))
        .collect()
}

fn worth_something(change: &Change<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if change.after.get(DISCOUNT).is_some_and(|discount| discount < 0) {
        problems.push(Problem::at(DISCOUNT.name(), "不能为负数", "this is not negative"));
    }
    if change.after.get(WEIGHT).is_some_and(|weight| weight <= 0) {
        problems.push(Problem::at(WEIGHT.name(), "须大于零", "this is more than 0"));
    }
    problems
}

fn facts(part: &Document, zone: &TimeZone) -> Vec<Fact> {
    let key = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let is_ordered = part.noted(DIRECTIVE).is_some_and(|directive| directive != "discount");
    let received = part.get(RECEIVED_AT);
    let due = part.noted(RETURN_DUE);
    let in_time = received.is_some_and(|at| due.is_none_or(|due| at <= due));
    let came = |how: &str| i64::from(part.get(ARRIVAL) == Some(how));
    let is_in = |state: State| i64::from(part.state == state.name);
    vec![Fact {
        measure: &OLD_PARTS,
        day: part.get(REMOVED_AT).unwrap_or_else(|| part.occurred_at()).day(zone),
        keys: vec![key(part.get(PART)), key(part.get(SUPPLIER))],
        values: vec![
            1,
            i64::from(is_ordered),
            i64::from(part.get(WAYBILL).is_some()),
            i64::from(received.is_some()),
            i64::from(in_time),
            came("mismatch"),
            came("short"),
            i64::from(part.get(DISCOUNT).is_some()),
            is_in(WRITTEN_OFF),
            part.get(DISCOUNT).unwrap_or(0),
        ],
    }]
}
