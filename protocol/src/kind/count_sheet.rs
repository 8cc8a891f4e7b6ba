//! Count sheet 盘点单: what was counted where, against the stock as it stood at that moment.
//!
//! Each line keeps the journal positions at which it was counted and the quantity then expected, so later movements
//! do not disturb it. A blind sheet shows the expectation only once it is locked. The hub's decision follows with
//! the downward journal.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::Kind;
use crate::document::Document;
use crate::document::capture::{Books, Change, Problem};
use crate::document::field::{Key, Lines};
use crate::document::flow::{Holder, Role, State, open, state, stay, step};
use crate::fact::{Fact, Measure};
use crate::value::{Choice, Value, choice};

/// Being counted.
pub const OPEN: State = state("open", "盘点中", "Counting");
/// Finished at the site; the hub decides.
pub const LOCKED: State = state("locked", "已锁定", "Locked");

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
}

/// The fields of a counted line.
pub mod item {
    use super::{FOUND, LOCKED, OPEN};

    crate::fields! {
        pub ITEM: Text = "item" "物料" / "Item", from OPEN;
        pub LOCATION: Text = "location" "库位" / "Location", from OPEN;
        pub LOT: Text = "lot" "批次/序列号" / "Lot or serial";
        pub COUNTED: Quantity = "counted" "实盘数" / "Counted", from OPEN;
        pub EXPECTED: Quantity = "expected" "账面数" / "Expected", hidden_until LOCKED;
        pub UNIT_COST: Money = "unit_cost" "单位成本" / "Unit cost";
        pub FOUND_BY: Choice(FOUND) = "found" "来源" / "Found by";
        pub AT_UP: Integer = "at_up" "上行位置" / "Upward position";
        pub AT_DOWN: Integer = "at_down" "下行位置" / "Downward position";
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
    form: 1,
    states: &[OPEN, LOCKED],
    fields: FIELDS,
    lines: &[Lines { name: ITEMS, zh: "明细", en: "Items", fields: item::FIELDS }],
    flow: &[
        open("open", "开始盘点", "Open", OPEN).by(&[Role::Counter]),
        stay("count", "录入", "Count", &[OPEN]).by(&[Role::Counter]),
        step("lock", "锁定", "Lock", &[OPEN], LOCKED).by(&[Role::Counter]).pen(Holder::Hub),
    ],
    fill: Some(fill),
    checks: &[only_the_store_states_expectations, locks_what_was_counted],
    effects: None,
    measures: &[&COUNT],
    facts,
};

/// Every line whose count is set gets what was expected, and the journal positions, at this moment.
fn fill(before: Option<&Document>, set: &mut BTreeMap<String, Value>, books: &dyn Books) {
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

fn only_the_store_states_expectations(change: &Change<'_>) -> Vec<Problem> {
    let reserved = [item::EXPECTED.name(), item::AT_UP.name(), item::AT_DOWN.name()];
    let mut problems = Vec::new();
    for key in change.set.keys() {
        let Some(Key::Line { group: ITEMS, number, field }) = Key::parse(key) else { continue };
        let is_counted = change.set.contains_key(&format!("{ITEMS}#{number}.{}", item::COUNTED.name()));
        if reserved.contains(&field) && !is_counted {
            problems.push(Problem::at(key, "账面数由系统填写", "the store states this, not the counter"));
        }
    }
    problems
}

fn locks_what_was_counted(change: &Change<'_>) -> Vec<Problem> {
    if change.act == "lock" && change.after.lines(ITEMS).is_empty() {
        return vec![Problem::whole("没有盘点任何明细", "nothing has been counted yet")];
    }
    Vec::new()
}

fn facts(document: &Document, zone: &TimeZone) -> Vec<Fact> {
    if document.state == OPEN.name {
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
