//! Repair order 维修工单: from the booking 预约 to the hand-over 提车, of a vehicle or of another product.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::{Cross, Kind, Trait, stock_movement, vehicle};
use crate::document::Document;
use crate::document::capture::{Change, Effect, Problem};
use crate::document::field::Lines;
use crate::document::filling::{Filling, Set};
use crate::document::flow::{Role, State, open, state, stay, step};
use crate::document::lines;
use crate::fact::{self, Fact, Measure};
use crate::value::{Choice, Value, choice};

/// Agreed for a slot.
pub const BOOKED: State = state("booked", "已预约", "Booked");
/// The customer said no to the estimate.
pub const DECLINED: State = state("declined", "客户拒绝", "Declined");
/// Handed in and looked at.
pub const CHECKED_IN: State = state("checked_in", "已接车", "Checked in");
/// Work and parts are estimated.
pub const ESTIMATED: State = state("estimated", "已估价", "Estimated");
/// The customer agreed.
pub const CONFIRMED: State = state("confirmed", "客户已确认", "Confirmed");
/// A technician has it.
pub const ASSIGNED: State = state("assigned", "已派工", "Assigned");
/// Parts are handed out.
pub const PARTS_ISSUED: State = state("parts_issued", "已派料", "Parts issued");
/// Being worked on.
pub const WORKING: State = state("working", "维修中", "Working");
/// Work is done and being inspected.
pub const QC: State = state("qc", "完工检验", "Quality check");
/// Handed over to the customer.
pub const RELEASED: State = state("released", "已提车", "Released");
/// Done.
pub const CLOSED: State = state("closed", "已关闭", "Closed");

/// What came of it.
pub const OUTCOMES: &[Choice] = &[
    choice("fixed", "已修复", "Fixed"),
    choice("repairable", "可修复", "Repairable"),
    choice("end_of_life", "报废", "End of life"),
    choice("unknown", "不明", "Unknown"),
];

/// How the inspection ended.
pub const QC_RESULTS: &[Choice] = &[choice("pass", "合格", "Pass"), choice("fail", "不合格", "Fail")];

crate::fields! {
    pub VIN: Text = "vin" "车架号" / "VIN", searched;
    pub PLATE: Text = "plate" "车牌" / "Plate", searched;
    pub MODEL: Text = "model" "车型" / "Model";
    pub ENGINE_NO: Text = "engine_no" "发动机号" / "Engine number";
    pub SALE_DATE: Date = "sale_date" "销售日期" / "Sale date";
    pub ODOMETER: Km = "odometer" "里程" / "Odometer";
    pub METER_REPLACED: Flag = "meter_replaced" "更换里程表" / "Meter replaced";
    pub METER_PHOTO: Text = "meter_photo" "里程表照片" / "Photo of the meter";
    pub CATEGORY: Text = "category" "产品类别" / "Product category";
    pub BRAND: Text = "brand" "品牌" / "Brand";
    pub SERIAL: Text = "serial" "序列号" / "Serial number", searched;
    pub YEAR: Text = "year" "制造年份" / "Year of manufacture";
    pub CUSTOMER: Text = "customer" "客户" / "Customer", searched;
    pub PHONE: Text = "phone" "电话" / "Phone";
    pub SLOT: Time = "slot" "预约时间" / "Booked slot";
    pub CHECKED_IN_AT: Time = "checked_in_at" "接车时间" / "Checked in at", from CHECKED_IN;
    pub PRE_INSPECTION: Text = "pre_inspection" "初检" / "Pre-inspection", from CHECKED_IN;
    pub PROMISED_AT: Due = "promised_at" "承诺交车" / "Promised at", from ESTIMATED;
    pub CONSENT_BY: Text = "consent_by" "确认人" / "Consent by", from CONFIRMED;
    pub TECHNICIAN: Text = "technician" "技师" / "Technician", from ASSIGNED;
    pub BAY: Text = "bay" "工位" / "Bay";
    pub FAILED_AT: Time = "failed_at" "故障时间" / "Failed at";
    pub SYMPTOM: Text = "symptom" "故障现象" / "Symptom", from CHECKED_IN;
    pub CAUSAL_PART: Text = "causal_part" "祸首件" / "Causal part";
    pub FAULT: Text = "fault" "故障代码" / "Fault code";
    pub SUPPLIER: Text = "supplier" "供应商" / "Supplier";
    pub OUTCOME: Choice(OUTCOMES) = "outcome" "结果" / "Outcome", from QC;
    pub REASON: Text = "reason" "未修复原因" / "Reason";
    pub QC_RESULT: Choice(QC_RESULTS) = "qc_result" "检验结果" / "Quality check", from RELEASED;
    pub ODOMETER_OUT: Km = "odometer_out" "出厂里程" / "Odometer out";
    pub RELEASED_AT: Time = "released_at" "提车时间" / "Released at", from RELEASED;
}

/// The fields of a labour line.
pub mod labour {
    use super::super::charges::COVERAGES;
    use super::ESTIMATED;

    crate::fields! {
        pub OPERATION: Text = "operation" "工时项目" / "Operation", from ESTIMATED;
        pub HOURS: Labour = "hours" "工时" / "Hours", from ESTIMATED;
        pub RATE: Money = "rate" "工时单价" / "Rate", from ESTIMATED;
        pub COVERAGE: Choice(COVERAGES) = "coverage" "费用承担" / "Coverage", from ESTIMATED;
    }
}

/// The fields of a part line.
pub mod part {
    use super::super::charges::{COVERAGES, SOURCES};
    use super::{ESTIMATED, PARTS_ISSUED};

    crate::fields! {
        pub PART: Text = "part" "配件" / "Part", from ESTIMATED;
        pub QUANTITY: Quantity = "quantity" "数量" / "Quantity", from ESTIMATED;
        pub PRICE: Money = "price" "单价" / "Price", from ESTIMATED;
        pub SOURCE: Choice(SOURCES) = "source" "来源" / "Source", from PARTS_ISSUED;
        pub LOCATION: Text = "location" "库位" / "Location";
        pub SERIAL: Text = "serial" "序列号" / "Serial number";
        pub OLD_PART: Link("old_part") = "old_part" "旧件" / "Old part";
        pub COVERAGE: Choice(COVERAGES) = "coverage" "费用承担" / "Coverage", from ESTIMATED;
        pub ISSUED_AT: Time = "issued_at" "派料时间" / "Issued at", filled;
    }
}

/// The fields of any other charge.
pub mod other {
    use super::super::charges::COVERAGES;
    use super::ESTIMATED;

    crate::fields! {
        pub CHARGE: Text = "charge" "项目" / "Charge", from ESTIMATED;
        pub AMOUNT: Money = "amount" "金额" / "Amount", from ESTIMATED;
        pub COVERAGE: Choice(COVERAGES) = "coverage" "费用承担" / "Coverage", from ESTIMATED;
    }
}

/// Orders by the day they were opened.
pub static REPAIR: Measure = Measure {
    name: "repair",
    keys: &["category", "reason", "fault"],
    values: &["orders", "fixed", "repairable", "end_of_life", "unknown"],
    is_ledger: false,
};

/// Faults by the day their order was opened.
pub static FAULTS: Measure =
    Measure { name: "fault", keys: &["fault", "part", "supplier", "category"], values: &["count"], is_ledger: false };

/// Orders by the day they were released: how long each took from check-in, in minutes as [`fact::bucket`] counts them,
/// and whether the promise was kept.
pub static TURNAROUND: Measure =
    Measure { name: "turnaround", keys: &["minutes"], values: &["released", "promised", "kept"], is_ledger: false };

const ODOMETER_FALLS: Cross = vehicle::odometer_falls(odometer_at_check_in);

const PARTS: &str = "part";

/// The declaration.
pub static REPAIR_ORDER: Kind = Kind {
    name: "repair_order",
    code: "RO",
    zh: "维修工单",
    en: "Repair order",
    states: &[
        BOOKED,
        DECLINED,
        CHECKED_IN,
        ESTIMATED,
        CONFIRMED,
        ASSIGNED,
        PARTS_ISSUED,
        WORKING,
        QC,
        RELEASED,
        CLOSED,
    ],
    fields: FIELDS,
    lines: &[
        Lines { name: "labour", zh: "工时", en: "Labour", fields: labour::FIELDS },
        Lines { name: PARTS, zh: "配件", en: "Parts", fields: part::FIELDS },
        Lines { name: "other", zh: "其他费用", en: "Other charges", fields: other::FIELDS },
    ],
    flow: &[
        open("check_in", "接车", "Check in", CHECKED_IN).by(&[Role::Advisor]),
        open("book", "预约", "Book", BOOKED).by(&[Role::Advisor]),
        step("check_in", "接车", "Check in", &[BOOKED], CHECKED_IN).by(&[Role::Advisor]),
        step("estimate", "估价", "Estimate", &[CHECKED_IN, ESTIMATED], ESTIMATED).by(&[Role::Advisor]),
        step("confirm", "客户确认", "Confirm", &[ESTIMATED], CONFIRMED).by(&[Role::Advisor]),
        step("decline", "客户拒绝", "Decline", &[BOOKED, CHECKED_IN, ESTIMATED], DECLINED).by(&[Role::Advisor]),
        step("assign", "派工", "Assign", &[CONFIRMED], ASSIGNED).by(&[Role::Advisor]),
        step("issue_parts", "派料", "Issue parts", &[ASSIGNED, WORKING], PARTS_ISSUED).by(&[Role::PartsClerk]),
        step("work", "开工", "Work", &[ASSIGNED, PARTS_ISSUED], WORKING).by(&[Role::Technician]),
        step("finish", "完工", "Finish", &[WORKING], QC).by(&[Role::Technician]),
        step("fail_qc", "返工", "Fail quality check", &[QC], WORKING).by(&[Role::Advisor]),
        step("release", "提车", "Release", &[QC], RELEASED).by(&[Role::Advisor]),
        step("close", "关闭", "Close", &[RELEASED], CLOSED).by(&[Role::Advisor]),
        stay("correct", "更正", "Correct", &[BOOKED, CHECKED_IN, ASSIGNED, WORKING]).by(&[Role::Advisor]),
    ],
    fill: Some(fill),
    checks: &[
        has_one_subject,
        a_booking_has_its_slot,
        vehicle::vin_is_sound,
        vehicle::phone_is_sound,
        vehicle::odometer_stands,
        vehicle::new_meter_is_shown,
        issued_lines_stand,
        odometer_rises,
        promise_follows_check_in,
        passed_to_release,
    ],
    effects: Some(effects),
    odd: &[vehicle::vin_is_odd],
    cross: &[ODOMETER_FALLS],
    measures: &[&REPAIR, &FAULTS, &TURNAROUND],
    facts,
    ..Kind::PLAIN
};

fn fill(filling: &Filling<'_>, set: &mut Set) {
    vehicle::fill(filling, set);
    if filling.act != "issue_parts" {
        return;
    }
    for line in lines(&filling.fields(set), PARTS).iter().filter(|line| line.get(part::ISSUED_AT).is_none()) {
        let key = format!("{PARTS}#{}.{}", line.number, part::ISSUED_AT.name());
        filling.state(set, key, Some(Value::Int(filling.now.0)));
    }
}

fn has_one_subject(change: &Change<'_>) -> Vec<Problem> {
    if change.after.get(VIN).is_some() || change.after.get(CATEGORY).is_some() {
        return Vec::new();
    }
    vec![Problem::at(VIN.name(), "须填车架号或产品类别", "a VIN or a product category is required")]
}

/// A walk-in has no slot, so this is not a matter of the order of states.
fn a_booking_has_its_slot(change: &Change<'_>) -> Vec<Problem> {
    if change.after.state == BOOKED.name && change.after.get(SLOT).is_none() {
        return vec![Problem::at(SLOT.name(), "预约须填预约时间", "a booking states its slot")];
    }
    Vec::new()
}

fn odometer_rises(change: &Change<'_>) -> Vec<Problem> {
    match (change.after.get(ODOMETER), change.after.get(ODOMETER_OUT)) {
        (Some(before), Some(after)) if after < before => {
            vec![Problem::at(ODOMETER_OUT.name(), "出厂里程小于进厂里程", "below the odometer at check-in")]
        }
        _ => Vec::new(),
    }
}

fn promise_follows_check_in(change: &Change<'_>) -> Vec<Problem> {
    match (change.after.get(CHECKED_IN_AT), change.after.get(PROMISED_AT)) {
        (Some(checked_in), Some(promised)) if promised <= checked_in => {
            vec![Problem::at(PROMISED_AT.name(), "承诺交车须晚于接车", "the promise lies before the check-in")]
        }
        _ => Vec::new(),
    }
}

fn passed_to_release(change: &Change<'_>) -> Vec<Problem> {
    if change.act == "release" && change.after.get(QC_RESULT) != Some("pass") {
        return vec![Problem::at(QC_RESULT.name(), "检验合格方可提车", "release needs a passed quality check")];
    }
    Vec::new()
}

/// What was handed out stays as it was posted: more of it, or less, is another line.
fn issued_lines_stand(change: &Change<'_>) -> Vec<Problem> {
    let Some(before) = change.before else { return Vec::new() };
    let issued = before.lines(PARTS).into_iter().filter(|line| line.get(part::ISSUED_AT).is_some());
    let posted = [part::PART.name(), part::QUANTITY.name(), part::SOURCE.name(), part::LOCATION.name()];
    let keys = issued.flat_map(|line| posted.map(|field| format!("{PARTS}#{}.{field}", line.number)));
    let changed = keys.filter(|key| before.fields.get(key) != change.after.fields.get(key));
    let stands = |key| Problem::at(key, "该配件已派料，不能更改，请另加一行", "this was handed out: add another line");
    changed.map(stands).collect()
}

/// Whether parts of this source lie in the stock until they are handed out: what was transferred was received into it.
fn is_in_stock(source: &str) -> bool {
    ["stock", "transfer"].contains(&source)
}

/// Handing out parts posts what left the stock: each part line that was not yet issued.
fn effects(change: &Change<'_>) -> Vec<Effect> {
    if change.act != "issue_parts" {
        return Vec::new();
    }
    let issued_before = |number: u32| {
        let key = format!("{PARTS}#{number}.{}", part::ISSUED_AT.name());
        change.before.is_some_and(|document| document.fields.contains_key(&key))
    };
    let lines = change
        .after
        .lines(PARTS)
        .into_iter()
        .filter(|line| line.get(part::SOURCE).is_some_and(is_in_stock) && !issued_before(line.number));
    lines
        .filter_map(|line| {
            let key = format!("{PARTS}#{}.{}", line.number, part::QUANTITY.name());
            let (milli, unit) = change.after.fields.get(&key)?.as_measured()?;
            let set = BTreeMap::from([
                (stock_movement::ITEM.name().to_owned(), Value::from(line.get(part::PART)?)),
                (stock_movement::LOCATION.name().to_owned(), Value::from(line.get(part::LOCATION).unwrap_or("main"))),
                (stock_movement::QUANTITY.name().to_owned(), Value::measured(-milli, unit)),
                (stock_movement::REASON.name().to_owned(), Value::from("issue")),
                (
                    stock_movement::SOURCE_DOCUMENT.name().to_owned(),
                    Value::from(change.after.number().map_or_else(|| change.after.id.to_string(), str::to_owned)),
                ),
            ]);
            Some(Effect::Open { kind: "stock_movement", act: "post", set })
        })
        .collect()
}

fn odometer_at_check_in(document: &Document) -> Option<Trait> {
    vehicle::compared(document, document.get(CHECKED_IN_AT)?)
}

fn facts(document: &Document, zone: &TimeZone) -> Vec<Fact> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let day = document.occurred_at().day(zone);
    let outcome = document.get(OUTCOME);
    let is = |name: &str| i64::from(outcome == Some(name));
    let category = text(document.get(CATEGORY).or(document.get(MODEL)));
    let mut facts = vec![Fact {
        measure: &REPAIR,
        day,
        keys: vec![category.clone(), text(document.get(REASON)), text(document.get(FAULT))],
        values: vec![1, is("fixed"), is("repairable"), is("end_of_life"), is("unknown")],
    }];
    if let Some(fault) = document.get(FAULT) {
        facts.push(Fact {
            measure: &FAULTS,
            day,
            keys: vec![fault.to_owned(), text(document.get(CAUSAL_PART)), text(document.get(SUPPLIER)), category],
            values: vec![1],
        });
    }
    // a clock that was wrong at one of them tells nothing of how long it took
    let times = document.get(CHECKED_IN_AT).zip(document.get(RELEASED_AT)).filter(|(from, to)| from <= to);
    if let Some((checked_in, released)) = times {
        let promised = document.get(PROMISED_AT);
        let kept = promised.is_some_and(|promised| released <= promised);
        facts.push(Fact {
            measure: &TURNAROUND,
            day: released.day(zone),
            keys: vec![fact::bucket((released.0 - checked_in.0) / 60_000)],
            values: vec![1, i64::from(promised.is_some()), i64::from(kept)],
        });
    }
    facts
}
