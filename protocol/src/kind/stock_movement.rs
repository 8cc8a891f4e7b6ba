//! Stock movement 出入库: posted once, immutable; only a reversal undoes it.

use jiff::tz::TimeZone;

use super::Kind;
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::flow::{Role, State, open, state};
use crate::fact::{Fact, Measure};
use crate::value::{Choice, choice};

/// Posted; nothing follows.
pub const POSTED: State = state("posted", "已过账", "Posted");

/// Why stock moved.
pub const REASONS: &[Choice] = &[
    choice("receipt", "入库", "Receipt"),
    choice("issue", "领用", "Issue"),
    choice("sale", "销售", "Sale"),
    choice("return", "退货", "Return"),
    choice("exchange", "换货", "Exchange"),
    choice("transfer", "调拨", "Transfer"),
    choice("count_adjustment", "盘点调整", "Count adjustment"),
    choice("scrap", "报废", "Scrap"),
    choice("reversal", "冲销", "Reversal"),
];

crate::fields! {
    pub ITEM: Text = "item" "物料" / "Item", from POSTED, searched;
    pub DESCRIPTION: Text = "description" "名称" / "Description";
    pub LOCATION: Text = "location" "库位" / "Location", from POSTED;
    pub LOT: Text = "lot" "批次/序列号" / "Lot or serial";
    pub QUANTITY: Quantity = "quantity" "数量" / "Quantity", from POSTED;
    pub REASON: Choice(REASONS) = "reason" "原因" / "Reason", from POSTED;
    pub UNIT_COST: Money = "unit_cost" "单位成本" / "Unit cost";
    pub PARTNER: Text = "partner" "往来单位" / "Customer or supplier";
    pub SOURCE_DOCUMENT: Text = "source_document" "来源单据" / "Source document", searched;
    pub REVERSES: Link("stock_movement") = "reverses" "冲销单据" / "Reverses";
}

/// Signed quantity in thousandths, by item and location: its sum is the stock on hand.
pub static STOCK: Measure =
    Measure { name: "stock", keys: &["item", "location"], values: &["quantity", "movements"], is_ledger: true };

/// The declaration.
pub static STOCK_MOVEMENT: Kind = Kind {
    name: "stock_movement",
    code: "SM",
    zh: "出入库",
    en: "Stock movement",
    states: &[POSTED],
    fields: FIELDS,
    flow: &[open("post", "过账", "Post", POSTED).by(&[Role::PartsClerk, Role::Counter])],
    checks: &[moves_something, names_what_it_reverses],
    measures: &[&STOCK],
    facts,
    ..Kind::PLAIN
};

fn moves_something(change: &Change<'_>) -> Vec<Problem> {
    match change.after.get(QUANTITY) {
        Some(0) => vec![Problem::at(QUANTITY.name(), "数量不能为零", "the quantity must not be zero")],
        Some(_) | None => Vec::new(),
    }
}

fn names_what_it_reverses(change: &Change<'_>) -> Vec<Problem> {
    let is_reversal = change.after.get(REASON) == Some("reversal");
    if is_reversal == change.after.get(REVERSES).is_some() {
        return Vec::new();
    }
    vec![Problem::at(
        REVERSES.name(),
        "冲销须且只有冲销注明原单据",
        "a reversal, and nothing else, names the movement it reverses",
    )]
}

fn facts(document: &Document, zone: &TimeZone) -> Vec<Fact> {
    let Some(quantity) = document.get(QUANTITY) else { return Vec::new() };
    let key = |text: Option<&str>| text.unwrap_or_default().to_owned();
    vec![Fact {
        measure: &STOCK,
        day: document.occurred_at().day(zone),
        keys: vec![key(document.get(ITEM)), key(document.get(LOCATION))],
        values: vec![quantity, 1],
    }]
}
