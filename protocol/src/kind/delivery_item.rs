//! Delivery item 投递件: one letter, parcel or consignment from its arrival at the site to its delivery, and the way
//! back of its receipt 回执.

use jiff::tz::TimeZone;

use super::Kind;
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::field::Lines;
use crate::document::flow::{Role, State, open, state, stay, step};
use crate::fact::{Fact, Measure};
use crate::value::{Choice, choice};

/// Arrived and sorted.
pub const AT_SITE: State = state("at_site", "在网点", "At site");
/// On a carrier's run.
pub const OUT: State = state("out", "投递中", "Out for delivery");
/// Tried in vain; will be tried again.
pub const ATTEMPTED: State = state("attempted", "已试投", "Attempted");
/// Handed over.
pub const DELIVERED: State = state("delivered", "妥投", "Delivered");
/// Handed over; the signed receipt is awaited.
pub const RECEIPT_DUE: State = state("receipt_due", "待回执", "Receipt due");
/// The signed receipt is at the site.
pub const COLLECTED: State = state("collected", "回执已收", "Receipt collected");
/// The signed receipt went back to the sender.
pub const SENT_BACK: State = state("sent_back", "回执已寄", "Receipt sent back");
/// Given up.
pub const UNDELIVERABLE: State = state("undeliverable", "无法投递", "Undeliverable");
/// The sender took it back before delivery.
pub const CANCELLED: State = state("cancelled", "寄件人撤回", "Cancelled by sender");

/// Kinds of mail.
pub const CLASSES: &[Choice] = &[
    choice("letter", "信函", "Letter"),
    choice("parcel", "包裹", "Parcel"),
    choice("bill", "账单", "Bill"),
    choice("direct_mail", "数据库商函", "Direct mail"),
    choice("bank_statement", "银企账单", "Bank–enterprise statement"),
    choice("express", "速递", "Express"),
    choice("goods", "货物", "Goods"),
];

/// What came of an attempt.
pub const RESULTS: &[Choice] = &[choice("delivered", "妥投", "Delivered"), choice("failed", "未妥投", "Failed")];

/// Why an attempt failed.
pub const REASONS: &[Choice] = &[
    choice("absent", "收件人不在", "Addressee absent"),
    choice("moved", "迁移新址", "Moved"),
    choice("unknown_address", "地址不详", "Address unknown"),
    choice("refused", "拒收", "Refused"),
    choice("closed", "单位休息", "Closed"),
    choice("other", "其他", "Other"),
];

crate::fields! {
    pub BARCODE: Text = "barcode" "条码" / "Barcode", from AT_SITE, searched;
    pub CLASS: Choice(CLASSES) = "class" "邮件种类" / "Class", from AT_SITE;
    pub ROUTE: Text = "route" "段道" / "Route", from AT_SITE;
    pub ADDRESSEE: Text = "addressee" "收件人" / "Addressee", from AT_SITE, searched;
    pub ADDRESS: Text = "address" "地址" / "Address", from AT_SITE;
    pub DUE_AT: Due = "due_at" "时限" / "Due at", from AT_SITE;
    pub DELIVERED_AT: Time = "delivered_at" "妥投时间" / "Delivered at", from DELIVERED;
    pub RECORDED_AT: Time = "recorded_at" "录入时间" / "Recorded at";
    pub SIGNED_BY: Text = "signed_by" "签收人" / "Signed by";
    pub RECEIPT_REQUIRED: Flag = "receipt_required" "须回执" / "Receipt required";
    pub RECEIPT_DUE_AT: Due = "receipt_due_at" "回执时限" / "Receipt due at";
    pub RECEIPT_RETURNED_AT: Time = "receipt_returned_at" "回执寄回时间" / "Receipt returned at";
    pub ITEM: Text = "item" "内件" / "Contents";
    pub QUANTITY: Quantity = "quantity" "数量" / "Quantity";
    pub VALUE: Money = "value" "价值" / "Value";
    pub SENDER: Text = "sender" "寄件人" / "Sender";
    pub REFERENCE: Text = "reference" "参考号" / "Reference", searched;
}

/// The fields of an attempt.
pub mod attempt {
    use super::{OUT, REASONS, RESULTS};

    crate::fields! {
        pub TRIED_AT: Time = "tried_at" "试投时间" / "Tried at", from OUT;
        pub RESULT: Choice(RESULTS) = "result" "结果" / "Result", from OUT;
        pub REASON: Choice(REASONS) = "reason" "原因" / "Reason";
        pub PROOF: Text = "proof" "凭证" / "Proof";
        pub GPS: Text = "gps" "位置" / "Position";
    }
}

/// Items by the day they are due; the reason is that of the last attempt that failed.
pub static DELIVERY: Measure = Measure {
    name: "delivery",
    keys: &["route", "class", "reason"],
    values: &[
        "items",
        "delivered",
        "on_time",
        "late_days",
        "attempted",
        "first_attempt",
        "receipts_due",
        "receipts_back",
    ],
    is_ledger: false,
};

const ATTEMPTS: &str = "attempt";

/// The declaration.
pub static DELIVERY_ITEM: Kind = Kind {
    name: "delivery_item",
    code: "DI",
    zh: "投递件",
    en: "Delivery item",
    states: &[AT_SITE, OUT, ATTEMPTED, UNDELIVERABLE, CANCELLED, DELIVERED, RECEIPT_DUE, COLLECTED, SENT_BACK],
    fields: FIELDS,
    lines: &[Lines { name: ATTEMPTS, zh: "试投记录", en: "Attempts", fields: attempt::FIELDS }],
    flow: &[
        open("receive", "到件", "Receive", AT_SITE).by(&[Role::Carrier, Role::Counter]),
        step("load", "出班", "Load", &[AT_SITE, ATTEMPTED], OUT).by(&[Role::Carrier]),
        step("fail", "未妥投", "Fail", &[OUT], ATTEMPTED).by(&[Role::Carrier]),
        step("deliver", "妥投", "Deliver", &[OUT], DELIVERED).by(&[Role::Carrier]),
        step("deliver_with_receipt", "妥投待回执", "Deliver, receipt due", &[OUT], RECEIPT_DUE).by(&[Role::Carrier]),
        step("collect_receipt", "收回执", "Collect receipt", &[RECEIPT_DUE], COLLECTED).by(&[Role::Carrier]),
        step("send_receipt", "寄回执", "Send receipt back", &[COLLECTED], SENT_BACK)
            .by(&[Role::Carrier, Role::Counter])
            .takes(&[RECEIPT_RETURNED_AT.col()]),
        step("give_up", "退回", "Give up", &[AT_SITE, ATTEMPTED], UNDELIVERABLE).by(&[Role::Carrier]),
        step("cancel", "撤回", "Cancel", &[AT_SITE, ATTEMPTED], CANCELLED).by(&[Role::Counter]),
        stay("correct", "更正", "Correct", &[AT_SITE, ATTEMPTED]).by(&[Role::Counter]),
    ],
    checks: &[receipts_go_their_way, a_failure_says_why],
    measures: &[&DELIVERY],
    facts,
    ..Kind::PLAIN
};

fn receipts_go_their_way(change: &Change<'_>) -> Vec<Problem> {
    let required = change.after.get(RECEIPT_REQUIRED).unwrap_or(false);
    match (change.act, required) {
        ("deliver", true) => {
            vec![Problem::whole("此件须回执，请选“妥投待回执”", "a receipt is required: use 'deliver, receipt due'")]
        }
        ("deliver_with_receipt", false) => vec![Problem::whole("此件不须回执", "no receipt is required")],
        _ => Vec::new(),
    }
}

fn a_failure_says_why(change: &Change<'_>) -> Vec<Problem> {
    let last = change.after.lines(ATTEMPTS).pop();
    let says_why = last.is_some_and(|line| line.get(attempt::REASON).is_some());
    if change.act == "fail" && !says_why {
        return vec![Problem::at("attempt#1.reason", "未妥投须填原因", "a failed attempt says why")];
    }
    Vec::new()
}

/// 妥投率, 及时率, 首投率 and 回收率 come from these sums (DOMAIN §3): an item counts on the day it is due, unless the
/// sender cancelled it.
fn facts(document: &Document, zone: &TimeZone) -> Vec<Fact> {
    let (Some(due), false) = (document.get(DUE_AT), document.state == CANCELLED.name) else { return Vec::new() };
    let delivered = document.get(DELIVERED_AT);
    let late_days = delivered.map_or(0, |at| i64::from((at.day(zone).0 - due.day(zone).0).max(0)));
    let attempts = document.lines(ATTEMPTS);
    let failed = attempts.iter().rev().find_map(|line| line.get(attempt::REASON));
    let has_failed = failed.is_some() || attempts.iter().any(|line| line.get(attempt::RESULT) == Some("failed"));
    let attempts = attempts.len();
    let was_tried = attempts > 0 || [ATTEMPTED.name, UNDELIVERABLE.name].contains(&document.state.as_str());
    let receipt_due = document.get(RECEIPT_REQUIRED).unwrap_or(false);
    let returned = document.get(RECEIPT_RETURNED_AT);
    let back_in_time = returned.is_some_and(|at| document.get(RECEIPT_DUE_AT).is_none_or(|due| at <= due));
    let key = |text: Option<&str>| text.unwrap_or_default().to_owned();
    vec![Fact {
        measure: &DELIVERY,
        day: due.day(zone),
        keys: vec![key(document.get(ROUTE)), key(document.get(CLASS)), key(failed)],
        values: vec![
            1,
            i64::from(delivered.is_some()),
            i64::from(delivered.is_some_and(|at| at <= due)),
            late_days,
            i64::from(delivered.is_some() || was_tried),
            i64::from(delivered.is_some() && attempts <= 1 && !has_failed),
            i64::from(receipt_due),
            i64::from(receipt_due && back_in_time),
        ],
    }]
}
