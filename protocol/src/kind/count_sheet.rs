//! Count sheet 盘点单: what was counted where, against the stock as it stood at that moment.
//!
//! Each line keeps the journal positions at which it was counted and the quantity then expected, so later movements
//! do not disturb it. A sheet shows the expectation only once it is locked, and hides it again in a recount. The hub
//! decides on a locked sheet: approving posts each line's difference as a movement, so that movements since then stay.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::{Kind, stock_movement};
use crate::document::capture::{Change, Effect, Problem};
use crate::document::field::{Key, Lines};
use crate::document::filling::Filling;
use crate::document::flow::{Holder, Role, State, open, state, stay, step};
use crate::document::{Document, Line};
use crate::fact::{Fact, Measure};
use crate::value::{Choice, Value, choice};

/// Being counted.
pub const OPEN: State = state("open", "盘点中", "Counting");
/// To be counted once more, by another person.
pub const RECOUNT: State = state("recount", "复盘中", "Recounting");
/// Finished at the site; the hub decides.
pub const LOCKED: State = state("locked", "已锁定", "Locked");
/// Accepted; the differences are posted.
pub const APPROVED: State = state("approved", "已批准", "Approved");
/// The site has put things right.
pub const ADJUSTED: State = state("adjusted", "已调整", "Adjusted");
/// Not accepted; nothing is posted.
pub const REJECTED: State = state("rejected", "已驳回", "Rejected");

/// How a line came about.
pub const FOUND: &[Choice] = &[
    choice("scanned", "扫码", "Scanned"),
    choice("typed", "手工录入", "Typed"),
    choice("empty", "确认为空", "Confirmed empty"),
];

crate::fields! {
    pub ZONE: Text = "zone" "区域" / "Zone", from OPEN, searched;
    pub COUNTER: Text = "counter" "盘点人" / "Counter", from OPEN;
    pub BLIND: Flag = "blind" "盲盘" / "Blind";
    /// In thousandths of the line's unit.
    pub TOLERANCE: Quantity = "tolerance" "允差" / "Tolerance";
    pub RECOUNTER: Text = "recounter" "复盘人" / "Recounter";
    pub DECISION_REASON: Text = "decision_reason" "处理意见" / "Reason for the decision";
}

/// The fields of a counted line.
pub mod item {
    use super::{FOUND, LOCKED, OPEN};

    crate::fields! {
        pub ITEM: Text = "item" "物料" / "Item", from OPEN;
        pub LOCATION: Text = "location" "库位" / "Location", from OPEN;
        pub LOT: Text = "lot" "批次/序列号" / "Lot or serial";
        pub COUNTED: Quantity = "counted" "实盘数" / "Counted", from OPEN;
        pub EXPECTED: Quantity = "expected" "账面数" / "Expected", hidden_until LOCKED, filled;
        pub UNIT_COST: Money = "unit_cost" "单位成本" / "Unit cost";
        pub FOUND_BY: Choice(FOUND) = "found" "来源" / "Found by";
        pub AT_UP: Integer = "at_up" "上行位置" / "Upward position", filled;
        pub AT_DOWN: Integer = "at_down" "下行位置" / "Downward position", filled;
    }
}

/// Counted lines by zone. Quantities in thousandths; costs in minor units, summed over lines that state one.
pub static COUNT: Measure = Measure {
    name: "count",
    keys: &["zone"],
    values: &[
        "lines",
        "within",
        "net",
        "gross",
        "expected",
        "costed",
        "net_cost",
        "gross_cost",
        "expected_cost",
        "sheets",
    ],
    is_ledger: false,
};

const ITEMS: &str = "item";

/// The declaration.
pub static COUNT_SHEET: Kind = Kind {
    name: "count_sheet",
    code: "CS",
    zh: "盘点单",
    en: "Count sheet",
    form: 2,
    states: &[OPEN, RECOUNT, LOCKED, APPROVED, ADJUSTED, REJECTED],
    fields: FIELDS,
    lines: &[Lines { name: ITEMS, zh: "明细", en: "Items", fields: item::FIELDS }],
    flow: &[
        open("open", "开始盘点", "Open", OPEN).by(&[Role::Counter]),
        stay("count", "录入", "Count", &[OPEN, RECOUNT]).by(&[Role::Counter]),
        step("lock", "锁定", "Lock", &[OPEN, RECOUNT], LOCKED).by(&[Role::Counter]).pen(Holder::Hub),
        step("approve", "批准", "Approve", &[LOCKED], APPROVED).by(&[Role::Reviewer]).pen(Holder::Origin),
        step("recount", "退回复盘", "Recount", &[LOCKED], RECOUNT)
            .by(&[Role::Reviewer])
            .pen(Holder::Origin)
            .takes(&[DECISION_REASON.col()])
            .next_round(),
        step("reject", "驳回", "Reject", &[LOCKED], REJECTED).by(&[Role::Reviewer]).takes(&[DECISION_REASON.col()]),
        step("adjust", "调整完毕", "Adjust", &[APPROVED], ADJUSTED).by(&[Role::Counter]),
    ],
    fill: Some(fill),
    checks: &[locks_what_was_counted, recounted_by_another, each_refusal_has_its_reason],
    effects: Some(effects),
    measures: &[&COUNT],
    facts,
    ..Kind::PLAIN
};

/// Every line whose count is set gets what was expected, and the journal positions, at this moment.
fn fill(filling: &Filling<'_>, set: &mut BTreeMap<String, Value>) {
    let Filling { before, books, .. } = *filling;
    let counted: BTreeSet<u32> = set
        .keys()
        .filter_map(|key| match Key::parse(key) {
            Some(Key::Line { group: ITEMS, number, field }) if field == item::COUNTED.name() => Some(number),
            _ => None,
        })
        .collect();
    let (up, down) = books.positions();
    for number in counted {
        let key = |field: &str| format!("{ITEMS}#{number}.{field}");
        let stated = |field: &str| {
            let key = key(field);
            let value = set.get(&key).or_else(|| before.and_then(|document| document.fields.get(&key)));
            value.and_then(Value::as_text).unwrap_or_default().to_owned()
        };
        let (name, location) = (stated(item::ITEM.name()), stated(item::LOCATION.name()));
        let unit = set.get(&key(item::COUNTED.name())).and_then(Value::as_measured).map_or("", |(_, unit)| unit);
        let expected = Value::measured(books.on_hand_milli(&name, &location), unit);
        set.insert(key(item::EXPECTED.name()), expected);
        set.insert(key(item::AT_UP.name()), Value::Int(i64::try_from(up).unwrap_or(i64::MAX)));
        set.insert(key(item::AT_DOWN.name()), Value::Int(i64::try_from(down).unwrap_or(i64::MAX)));
    }
}

fn locks_what_was_counted(change: &Change<'_>) -> Vec<Problem> {
    if change.act == "lock" && change.after.lines(ITEMS).is_empty() {
        return vec![Problem::whole("没有盘点任何明细", "nothing has been counted yet")];
    }
    Vec::new()
}

fn recounted_by_another(change: &Change<'_>) -> Vec<Problem> {
    if change.act != "lock" || change.before.is_none_or(|before| before.state != RECOUNT.name) {
        return Vec::new();
    }
    match change.after.get(RECOUNTER) {
        None => vec![Problem::at(RECOUNTER.name(), "复盘须填写复盘人", "a recount names who recounted")],
        Some(recounter) if Some(recounter) == change.after.get(COUNTER) => {
            vec![Problem::at(RECOUNTER.name(), "复盘人须不同于盘点人", "another person than the counter recounts")]
        }
        Some(_) => Vec::new(),
    }
}

/// The reason of an earlier recount does not do.
fn each_refusal_has_its_reason(change: &Change<'_>) -> Vec<Problem> {
    let is_earlier = change.before.is_some_and(|before| before.get(DECISION_REASON).is_some());
    if !["recount", "reject"].contains(&change.act) || !is_earlier || change.set.contains_key(DECISION_REASON.name()) {
        return Vec::new();
    }
    vec![Problem::at(DECISION_REASON.name(), "处理意见必填", "Reason for the decision is required")]
}

/// Approval posts what each line differs by, not what was counted: stock that moved since then stays moved.
fn effects(change: &Change<'_>) -> Vec<Effect> {
    if change.act != "approve" {
        return Vec::new();
    }
    let source = change.after.number().map_or_else(|| change.after.id.to_string(), str::to_owned);
    let post = |line: Line<'_>| {
        let key = format!("{ITEMS}#{}.{}", line.number, item::COUNTED.name());
        let (counted, unit) = change.after.fields.get(&key)?.as_measured()?;
        let difference = counted - line.get(item::EXPECTED)?;
        let set = BTreeMap::from([
            (stock_movement::ITEM.name().to_owned(), Value::from(line.get(item::ITEM)?)),
            (stock_movement::LOCATION.name().to_owned(), Value::from(line.get(item::LOCATION)?)),
            (stock_movement::QUANTITY.name().to_owned(), Value::measured(difference, unit)),
            (stock_movement::REASON.name().to_owned(), Value::from("count_adjustment")),
            (stock_movement::SOURCE_DOCUMENT.name().to_owned(), Value::from(source.as_str())),
        ]);
        (difference != 0).then_some(Effect::Open { kind: "stock_movement", act: "post", set })
    };
    change.after.lines(ITEMS).into_iter().filter_map(post).collect()
}

fn facts(document: &Document, zone: &TimeZone) -> Vec<Fact> {
    if document.state == REJECTED.name || !COUNT_SHEET.has_reached(&document.state, LOCKED) {
        return Vec::new();
    }
    let tolerance = document.get(TOLERANCE).unwrap_or(0);
    let mut values = [0i64; 10];
    values[9] = 1;
    for line in document.lines(ITEMS) {
        let (counted, expected) = (line.get(item::COUNTED).unwrap_or(0), line.get(item::EXPECTED).unwrap_or(0));
        let variance = counted - expected;
        values[0] += 1;
        values[1] += i64::from(variance.abs() <= tolerance);
        values[2] += variance;
        values[3] += variance.abs();
        values[4] += expected;
        if let Some(cost) = line.get(item::UNIT_COST) {
            let worth = |milli: i64| crate::value::Money::of(milli, cost).unwrap_or(0);
            values[5] += 1;
            values[6] += worth(variance);
            values[7] += worth(variance.abs());
            values[8] += worth(expected);
        }
    }
    let keys = vec![document.get(ZONE).unwrap_or_default().to_owned()];
    vec![Fact { measure: &COUNT, day: document.occurred_at().day(zone), keys, values: values.to_vec() }]
}
