//! Delivery run 段道任务: a carrier's day on a route, scanned out and scanned in; what was loaded must be accounted for.

use jiff::tz::TimeZone;

use super::Kind;
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::field::Lines;
use crate::document::flow::{Role, State, open, state, stay, step};
use crate::fact::{Fact, Measure};
use crate::value::{Choice, choice};

/// Being put together.
pub const PLANNED: State = state("planned", "已计划", "Planned");
/// Every item is scanned out.
pub const LOADED: State = state("loaded", "已装车", "Loaded");
/// On the way.
pub const OUT: State = state("out", "出班", "Out");
/// Back; every item is accounted for.
pub const RECONCILED: State = state("reconciled", "已核对", "Reconciled");
/// Done.
pub const CLOSED: State = state("closed", "已关闭", "Closed");

/// What became of an item on this run.
pub const FATES: &[Choice] = &[
    choice("delivered", "妥投", "Delivered"),
    choice("returned", "带回", "Returned"),
    choice("retained", "留存", "Retained"),
];

crate::fields! {
    pub DATE: Date = "date" "日期" / "Date", from PLANNED;
    pub ROUTE: Text = "route" "段道" / "Route", from PLANNED, searched;
    pub CARRIER: Text = "carrier" "投递员" / "Carrier", from PLANNED, searched;
    pub VEHICLE: Text = "vehicle" "车辆" / "Vehicle";
}

/// The fields of an item on a run.
pub mod item {
    use super::{FATES, LOADED, PLANNED, RECONCILED};

    crate::fields! {
        pub BARCODE: Text = "barcode" "条码" / "Barcode", from PLANNED;
        pub ITEM: Link("delivery_item") = "item" "投递件" / "Delivery item";
        pub LOADED_AT: Time = "loaded_at" "扫出时间" / "Scanned out", from LOADED;
        pub BACK_AT: Time = "back_at" "扫入时间" / "Scanned in";
        pub FATE: Choice(FATES) = "fate" "去向" / "Fate", from RECONCILED;
    }
}

/// Items of runs, by route.
pub static RUN: Measure = Measure {
    name: "run",
    keys: &["route"],
    values: &["runs", "loaded", "delivered", "returned", "retained"],
    is_ledger: false,
};

const ITEMS: &str = "item";

/// The declaration.
pub static DELIVERY_RUN: Kind = Kind {
    name: "delivery_run",
    code: "DR",
    zh: "段道任务",
    en: "Delivery run",
    states: &[PLANNED, LOADED, OUT, RECONCILED, CLOSED],
    fields: FIELDS,
    lines: &[Lines { name: ITEMS, zh: "邮件", en: "Items", fields: item::FIELDS }],
    flow: &[
        open("plan", "计划", "Plan", PLANNED).by(&[Role::Carrier]),
        stay("add", "加件", "Add", &[PLANNED]).by(&[Role::Carrier]),
        step("load", "装车", "Load", &[PLANNED], LOADED).by(&[Role::Carrier]),
        step("leave", "出班", "Leave", &[LOADED], OUT).by(&[Role::Carrier]),
        stay("result", "录入结果", "Record result", &[OUT]).by(&[Role::Carrier]),
        step("reconcile", "核对", "Reconcile", &[OUT], RECONCILED).by(&[Role::Carrier, Role::Counter]),
        step("close", "关闭", "Close", &[RECONCILED], CLOSED).by(&[Role::Counter]),
    ],
    checks: &[loads_something],
    measures: &[&RUN],
    facts,
    ..Kind::PLAIN
};

/// Required fields see to loaded = delivered + returned + retained: each loaded line states one fate.
fn loads_something(change: &Change<'_>) -> Vec<Problem> {
    if change.act == "load" && change.after.lines(ITEMS).is_empty() {
        return vec![Problem::whole("没有邮件", "the run has no items")];
    }
    Vec::new()
}

fn facts(document: &Document, _zone: &TimeZone) -> Vec<Fact> {
    let (Some(day), true) = (document.get(DATE), [RECONCILED.name, CLOSED.name].contains(&document.state.as_str()))
    else {
        return Vec::new();
    };
    let lines = document.lines(ITEMS);
    let count = |fate: &str| lines.iter().filter(|line| line.get(item::FATE) == Some(fate)).count() as i64;
    vec![Fact {
        measure: &RUN,
        day,
        keys: vec![document.get(ROUTE).unwrap_or_default().to_owned()],
        values: vec![1, lines.len() as i64, count("delivered"), count("returned"), count("retained")],
    }]
}
