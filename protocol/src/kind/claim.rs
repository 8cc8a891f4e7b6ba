//! Claim 鉴定单: what an outlet asks the maker to pay, and the hub's decision, line by line.
//!
//! Its variants are one flow. 大总成 and 外购 are pre-authorised before the work, and reviewed again on its actuals.
//! Every way to the hub and back is a line of `passage`, so that rounds, sync lag and review turnaround can be read off
//! the document. How often and until when it may be returned, the return itself states: the outlet checks it offline.

mod across;
mod lines;
mod report;
mod rules;
mod variant;

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, charges, old_part, recovery, vehicle};
use crate::document::Document;
use crate::document::capture::{Change, Effect, Problem};
use crate::document::column::Col;
use crate::document::field::{Key, Lines};
use crate::document::filling::{Filling, Set};
use crate::document::flow::{Holder, Role, State, VOID, open, state, stay, step};
use crate::id::DocId;
use crate::site::SiteId;
use crate::value::{Choice, Value, choice};

pub use lines::{labour, other, part, passage, remark};
pub use report::{CLAIM_TIMES, CLAIMS};
pub use variant::VARIANTS;

/// Being written.
pub const DRAFT: State = state("draft", "草稿", "Draft");
/// Back at the outlet with remarks.
pub const RETURNED: State = state("returned", "退单", "Returned");
/// On its way to the hub, or waiting there.
pub const SUBMITTED: State = state("submitted", "已申报", "Submitted");
/// A reviewer has it.
pub const REVIEWING: State = state("reviewing", "审核中", "In review");
/// The work may begin.
pub const PREAUTHORISED: State = state("preauthorised", "已预批", "Pre-authorised");
/// The work is done and stated.
pub const ACTUALS: State = state("actuals", "已报实", "Actuals submitted");
/// A reviewer has the actuals.
pub const FINAL_REVIEW: State = state("final_review", "终审中", "In final review");
/// Nothing is paid.
pub const REJECTED: State = state("rejected", "驳回", "Rejected");
/// What was granted is paid.
pub const APPROVED: State = state("approved", "批准", "Approved");

/// How grave a fault is.
pub const SEVERITIES: &[Choice] = &[
    choice("minor", "轻微", "Minor"),
    choice("major", "严重", "Major"),
    choice("breakdown", "抛锚", "Breakdown"),
    choice("safety", "危及安全", "Safety"),
];

/// What is wrong with a field of a returned claim.
pub const REMARK_REASONS: &[Choice] = &[
    choice("missing", "缺少", "Missing"),
    choice("unclear", "不清楚", "Unclear"),
    choice("wrong", "有误", "Wrong"),
    choice("evidence", "证据不足", "Evidence lacking"),
    choice("not_covered", "不在保修范围", "Not covered"),
    choice("overpriced", "价格过高", "Overpriced"),
    choice("other", "其他", "Other"),
];

crate::fields! {
    pub VARIANT: Choice(VARIANTS) = "variant" "单据类别" / "Variant", from DRAFT;
    pub REPAIR_ORDER: Link("repair_order") = "repair_order" "维修工单" / "Repair order", from SUBMITTED;
    pub VIN: Text = "vin" "车架号" / "VIN", from SUBMITTED, searched;
    pub PLATE: Text = "plate" "车牌" / "Plate", searched;
    pub MODEL: Text = "model" "车型" / "Model", from SUBMITTED;
    pub ENGINE_NO: Text = "engine_no" "发动机号" / "Engine number";
    pub SALE_DATE: Date = "sale_date" "销售日期" / "Sale date", from SUBMITTED;
    pub ODOMETER: Km = "odometer" "里程" / "Odometer", from SUBMITTED;
    pub METER_REPLACED: Flag = "meter_replaced" "更换里程表" / "Meter replaced";
    pub METER_PHOTO: Text = "meter_photo" "里程表照片" / "Photo of the meter";
    pub CUSTOMER: Text = "customer" "客户" / "Customer", from SUBMITTED, searched;
    pub PHONE: Text = "phone" "电话" / "Phone";
    pub FAILED_AT: Time = "failed_at" "故障时间" / "Failed at";
    pub SYMPTOM: Text = "symptom" "故障现象" / "Symptom";
    pub CAUSAL_PART: Text = "causal_part" "祸首件" / "Causal part";
    pub FAULT: Text = "fault" "故障代码" / "Fault code";
    pub SEVERITY: Choice(SEVERITIES) = "severity" "严重程度" / "Severity";
    pub SUPPLIER: Text = "supplier" "供应商" / "Supplier";
    pub PHOTOS: Text = "photos" "照片" / "Photos";
    pub ASSEMBLY: Text = "assembly" "大总成" / "Assembly";
    pub SERIAL_OLD: Text = "serial_old" "旧件序列号" / "Old serial number", searched;
    pub SERIAL_NEW: Text = "serial_new" "新件序列号" / "New serial number", searched;
    pub TEARDOWN_PHOTOS: Text = "teardown_photos" "拆解照片" / "Tear-down photos";
    pub CALL_AT: Time = "call_at" "求救时间" / "Called at";
    pub PLACE: Text = "place" "急救地点" / "Place";
    pub DISTANCE: Km = "distance" "路程" / "Distance";
    pub DEPART_AT: Time = "depart_at" "出发时间" / "Departed at";
    pub ARRIVE_AT: Time = "arrive_at" "到达时间" / "Arrived at";
    pub FINISH_AT: Time = "finish_at" "完成时间" / "Finished at";
    pub VENDOR: Text = "vendor" "外购单位" / "Vendor";
    pub PURCHASE_REASON: Text = "purchase_reason" "外购原因" / "Reason for purchase";
    pub INVOICE_NO: Text = "invoice_no" "发票号" / "Invoice number";
    pub CARD_NO: Text = "card_no" "走保卡号" / "Run-in card number", searched;
    pub CHECKLIST: Text = "checklist" "走保项目" / "Checklist";
    pub CLAIMED: Money = "claimed" "申报金额" / "Claimed", from SUBMITTED, filled;
    pub PRICE_CAP: Money = "price_cap" "限价" / "Price cap";
    pub MAX_ROUNDS: Integer = "max_rounds" "申报次数上限" / "Rounds allowed", filled;
    pub RESUBMIT_DUE: Due = "resubmit_due" "重报期限" / "Resubmit by", filled;
    pub RETURNABLE: Flag = "returnable" "可退单重报" / "May be returned", filled;
    pub RUN_IN_KM: Km = "run_in_km" "走保里程上限" / "Run-in limit", filled;
    pub RUN_IN_DAYS: Integer = "run_in_days" "走保天数上限" / "Run-in days", filled;
    pub RUN_IN_FEE: Money = "run_in_fee" "走保定额" / "Run-in fee", filled;
    pub REJECT_REASON: Text = "reject_reason" "驳回原因" / "Reason for rejection";
    pub APPRAISED_BY: Text = "appraised_by" "鉴定单位" / "Appraised by";
    pub RESPONSIBLE: Choice(recovery::RESPONSIBLE_PARTIES) = "responsible" "责任方" / "Responsible";
    pub BASIS: Text = "basis" "判定依据" / "Basis of judgement";
    pub OLD_PARTS_DUE: Due = "old_parts_due" "旧件返回期限" / "Old parts due", filled;
    pub GRANTED: Money = "granted" "核定金额" / "Granted", from APPROVED, filled;
}

const REMARKS: &str = "remark";
const PASSAGES: &str = "passage";
const AT_SITE: &[Role] = &[Role::Advisor];
const REVIEW: &[Role] = &[Role::Reviewer];

/// The declaration.
pub static CLAIM: Kind = Kind {
    name: "claim",
    code: "WC",
    zh: "鉴定单",
    en: "Claim",
    states: &[DRAFT, RETURNED, SUBMITTED, REVIEWING, PREAUTHORISED, ACTUALS, FINAL_REVIEW, REJECTED, APPROVED],
    fields: FIELDS,
    lines: &[
        Lines { name: "labour", zh: "工时", en: "Labour", fields: labour::FIELDS },
        Lines { name: PARTS, zh: "配件", en: "Parts", fields: part::FIELDS },
        Lines { name: "other", zh: "其他费用", en: "Other charges", fields: other::FIELDS },
        Lines { name: REMARKS, zh: "退单意见", en: "Remarks", fields: remark::FIELDS },
        Lines { name: PASSAGES, zh: "申报记录", en: "Passages", fields: passage::FIELDS },
    ],
    flow: &[
        open("draft", "开单", "Draft", DRAFT).by(AT_SITE),
        stay("edit", "修改", "Edit", &[DRAFT, RETURNED, PREAUTHORISED]).by(AT_SITE),
        step("submit", "申报", "Submit", &[DRAFT], SUBMITTED).by(AT_SITE).pen(Holder::Hub),
        step("resubmit", "退单重报", "Resubmit", &[RETURNED], SUBMITTED).by(AT_SITE).pen(Holder::Hub),
        step("review", "受理", "Review", &[SUBMITTED], REVIEWING).by(REVIEW),
        step("review", "受理", "Review", &[ACTUALS], FINAL_REVIEW).by(REVIEW),
        step("preauthorise", "预批", "Pre-authorise", &[REVIEWING], PREAUTHORISED).by(REVIEW).pen(Holder::Origin),
        step("submit_actuals", "报实", "Submit actuals", &[PREAUTHORISED], ACTUALS).by(AT_SITE).pen(Holder::Hub),
        step("return", "退单", "Return", &[REVIEWING], RETURNED).by(REVIEW).pen(Holder::Origin).next_round(),
        step("return", "退单", "Return", &[FINAL_REVIEW], PREAUTHORISED).by(REVIEW).pen(Holder::Origin).next_round(),
        step("approve", "批准", "Approve", &[REVIEWING, FINAL_REVIEW], APPROVED).by(REVIEW),
        step("reject", "驳回", "Reject", &[REVIEWING, FINAL_REVIEW], REJECTED).by(REVIEW).takes(&[REJECT_REASON.col()]),
    ],
    fill: Some(fill),
    stands_once_ended: true,
    checks: &[
        vehicle::vin_is_sound,
        vehicle::phone_is_sound,
        charges::nothing_negative,
        charges::granted_within_claimed,
        vehicle::odometer_stands,
        vehicle::new_meter_is_shown,
        each_side_states_its_own,
        decided_by_another,
        what_was_preauthorised_stands,
        old_parts_are_its_own,
        returned_with_remarks,
        resubmitted_in_time,
        old_parts_are_disposed_of,
        variant::has_what_it_needs,
        variant::goes_its_way,
    ],
    effects: Some(effects),
    odd: &[vehicle::vin_is_odd],
    cross: across::RULES,
    rules: rules::ALL,
    measures: &[&CLAIMS, &CLAIM_TIMES],
    facts: report::facts,
    ..Kind::PLAIN
};

const PARTS: &str = "part";

fn fill(filling: &Filling<'_>, set: &mut Set) {
    vehicle::fill(filling, set);
    charges::fill_amounts(filling, set);
    let fields = filling.fields(set);
    filling.state(set, CLAIMED.name(), charges::sum(&fields, charges::claimed));
    fill_passage(filling, set);
    match filling.act {
        "return" => fill_return(filling, set),
        "resubmit" | "submit_actuals" => filling.state(set, RESUBMIT_DUE.name(), None),
        "review" if filling.text(set, VARIANT.name()) == Some("run_in") => variant::fill_run_in(filling, set),
        "approve" => {
            filling.state(set, GRANTED.name(), charges::sum(&fields, charges::granted));
            let days = filling.rule(&rules::RETURN_DAYS);
            filling.state(set, OLD_PARTS_DUE.name(), Some(filling.in_days(days)));
        }
        _ => {}
    }
}

/// A submission opens a passage; its review states when the hub had it, its decision when and by whom it was decided.
fn fill_passage(filling: &Filling<'_>, set: &mut Set) {
    let (now, author) = (Value::Int(filling.now.0), Value::from(filling.author));
    let last = filling.last_line(PASSAGES).map_or(0, |line| line.number);
    let mut put = |number: u32, field: &str, value: Value| {
        filling.state(set, format!("{PASSAGES}#{number}.{field}"), Some(value));
    };
    match filling.act {
        "submit" | "resubmit" | "submit_actuals" => {
            put(last + 1, passage::SUBMITTED_AT.name(), now);
            put(last + 1, passage::SUBMITTED_BY.name(), author);
        }
        "review" => {
            // what the hub submitted itself for a dead outlet, it had at once
            let received =
                filling.before.map(|claim| filling.books.received_at(claim.head).unwrap_or(claim.changed_at));
            put(last, passage::RECEIVED_AT.name(), received.map_or(now, |at| Value::Int(at.0)));
        }
        "approve" | "return" | "reject" | "preauthorise" => {
            put(last, passage::DECIDED_AT.name(), now);
            put(last, passage::DECIDED_BY.name(), author);
        }
        _ => {}
    }
}

/// The bounds of the next round, from the network's rules, for the outlet to check without the hub.
fn fill_return(filling: &Filling<'_>, set: &mut Set) {
    let variant = filling.text(set, VARIANT.name()).unwrap_or_default();
    let returnable = rules::returnable(variant).is_some_and(|rule| filling.rule(rule) != 0);
    filling.state(set, RETURNABLE.name(), Some(Value::Flag(returnable)));
    filling.state(set, MAX_ROUNDS.name(), Some(Value::Int(filling.rule(&rules::MAX_ROUNDS))));
    filling.state(set, RESUBMIT_DUE.name(), Some(filling.in_days(filling.rule(&rules::RESUBMIT_DAYS))));
    let round = filling.before.map_or(1, |claim| i64::from(claim.round));
    let numbers: Vec<u32> = remarked(set).collect();
    for number in numbers {
        filling.state(set, format!("{REMARKS}#{number}.{}", remark::ROUND.name()), Some(Value::Int(round)));
    }
}

/// The numbers of the remarks an act sets.
fn remarked(set: &Set) -> impl Iterator<Item = u32> {
    set.keys().filter_map(|key| match Key::parse(key) {
        Some(Key::Line { group: REMARKS, number, field }) if field == remark::FIELD.name() => Some(number),
        _ => None,
    })
}

/// A reviewer decides and changes nothing of what was claimed; nobody else decides.
fn each_side_states_its_own(change: &Change<'_>) -> Vec<Problem> {
    let may = |field: &str| match (field, change.act) {
        ("granted" | "disposition" | "responsible" | "basis", act) => act == "approve",
        ("appraised_by", act) => act == "approve" || act == "reject",
        ("price_cap", act) => act == "preauthorise",
        // whom a compensation is charged to, its approval may be the first to say
        ("supplier", "approve") => change.after.get(VARIANT) == Some("compensation"),
        (_, act) => !["review", "preauthorise", "return", "approve", "reject"].contains(&act),
    };
    let is_foreign = |key: &&String| match Key::parse(key) {
        _ if CLAIM.field_at(key).is_none_or(|field| field.is_filled) => false,
        Some(Key::Line { group: REMARKS, .. }) => change.act != "return",
        Some(Key::Field(field)) if field == REJECT_REASON.name() => false,
        Some(Key::Field(field) | Key::Line { field, .. }) => !may(field),
        Some(Key::Custom(_)) | None => false,
    };
    let foreign = change.set.keys().filter(is_foreign);
    foreign.map(|key| Problem::at(key, "此步骤不能填写该字段", "this act does not set this field")).collect()
}

fn decided_by_another(change: &Change<'_>) -> Vec<Problem> {
    let is_review = ["review", "preauthorise", "return", "approve", "reject"].contains(&change.act);
    let submitter = change.after.lines(PASSAGES).pop().and_then(|line| line.get(passage::SUBMITTED_BY));
    let authors = submitter.into_iter().chain([change.after.opened_by.as_str()]);
    if is_review && authors.map(visible).any(|author| author == visible(change.author)) {
        return vec![Problem::at(
            "author",
            "审核人须不同于申报人",
            "another person than the one who submitted it reviews",
        )];
    }
    Vec::new()
}

/// A name as people read it: without blanks, and without what takes no room.
fn visible(name: &str) -> String {
    let is_unseen =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    name.chars().filter(|c| !is_unseen(*c)).collect()
}

/// What was pre-authorised is what is then claimed: the same vehicle, the same assembly, from the same vendor.
fn what_was_preauthorised_stands(change: &Change<'_>) -> Vec<Problem> {
    let Some(before) = change.before.filter(|before| before.get(PRICE_CAP).is_some() || is_preauthorised(before))
    else {
        return Vec::new();
    };
    let kept = [VIN.name(), ASSEMBLY.name(), SERIAL_OLD.name(), VENDOR.name()];
    let is_changed = |name: &&&str| before.fields.get(**name) != change.after.fields.get(**name);
    let changed = kept.iter().filter(is_changed);
    changed.map(|name| Problem::at(*name, "已预批，不能更改", "what was pre-authorised stays as it is")).collect()
}

fn is_preauthorised(claim: &Document) -> bool {
    [PREAUTHORISED.name, ACTUALS.name].contains(&claim.state.as_str())
}

/// An old part on a line was tagged for this claim, and is on no other line.
fn old_parts_are_its_own(change: &Change<'_>) -> Vec<Problem> {
    let is_due = ["submit", "resubmit", "submit_actuals", "approve"].contains(&change.act);
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for line in change.after.lines(PARTS) {
        let key = format!("{PARTS}#{}.{}", line.number, part::OLD_PART.name());
        let Some(id) = line.get(part::OLD_PART).filter(|_| is_due || change.set.contains_key(&key)) else { continue };
        let found =
            change.books.find(id).filter(|found| found.kind == old_part::OLD_PART.name && found.state != VOID.name);
        let problem = match found {
            None => Some(("没有这件旧件，请先挂签", "there is no such old part here: tag it first")),
            Some(found) if found.get(old_part::CLAIM) != Some(change.after.id) => {
                Some(("此旧件是为另一鉴定单挂签的", "this old part was tagged for another claim"))
            }
            Some(_) if !seen.insert(id) => Some(("此旧件已在另一行", "this old part is on another line already")),
            Some(_) => None,
        };
        problems.extend(problem.map(|(zh, en)| Problem::at(key, zh, en)));
    }
    problems
}

fn returned_with_remarks(change: &Change<'_>) -> Vec<Problem> {
    let Some(before) = change.before.filter(|_| change.act == "return") else { return Vec::new() };
    let mut problems = Vec::new();
    if change.after.get(RETURNABLE) == Some(false) {
        problems.push(Problem::whole("此类单据不能退单重报", "claims of this variant are not returned"));
    }
    if change.after.get(MAX_ROUNDS).is_some_and(|rounds| i64::from(before.round) >= rounds) {
        problems.push(Problem::whole("已达申报次数上限", "this claim has had all its rounds"));
    }
    let known: Vec<u32> = before.lines(REMARKS).iter().map(|line| line.number).collect();
    let mut remarks = remarked(change.set).peekable();
    if remarks.peek().is_none() {
        problems.push(Problem::whole("退单须注明至少一个字段的意见", "a return remarks on at least one field"));
    }
    for number in remarks {
        let key = format!("{REMARKS}#{number}.{}", remark::FIELD.name());
        let names = change.set.get(&key).and_then(Value::as_text).unwrap_or_default();
        if known.contains(&number) {
            problems.push(Problem::at(
                &key,
                "此编号的意见已有，请用下一个编号",
                "this remark was made before: take the next number",
            ));
        } else if CLAIM.field_at(names).is_none_or(|field| field.is_filled) {
            problems.push(Problem::at(key, "没有这个字段", "a remark names a field of the claim"));
        }
    }
    problems
}

fn resubmitted_in_time(change: &Change<'_>) -> Vec<Problem> {
    let is_again = ["resubmit", "submit_actuals"].contains(&change.act);
    let due = change.before.and_then(|before| before.get(RESUBMIT_DUE));
    if is_again && due.is_some_and(|due| change.now > due) {
        return vec![Problem::at(RESUBMIT_DUE.name(), "已过重报期限", "the time to resubmit is over")];
    }
    Vec::new()
}

/// An approval says of every old part what becomes of it.
fn old_parts_are_disposed_of(change: &Change<'_>) -> Vec<Problem> {
    if change.act != "approve" {
        return Vec::new();
    }
    let open = change.after.lines(PARTS).into_iter();
    let open = open.filter(|line| line.get(part::OLD_PART).is_some() && line.get(part::DISPOSITION).is_none());
    let key = |number: u32| format!("{PARTS}#{number}.{}", part::DISPOSITION.name());
    open.map(|line| Problem::at(key(line.number), "旧件处理必填", "what becomes of the old part is required")).collect()
}

/// An approval directs the old parts, and of a compensation it opens the recovery.
fn effects(change: &Change<'_>) -> Vec<Effect> {
    if change.act != "approve" {
        return Vec::new();
    }
    let claim = change.after;
    let direct = |(document, disposition): (DocId, &str)| {
        let mut set = BTreeMap::from([(old_part::DIRECTIVE.name().to_owned(), Value::from(disposition))]);
        if let Some(due) = claim.get(OLD_PARTS_DUE) {
            set.insert(old_part::RETURN_DUE.name().to_owned(), Value::Int(due.0));
        }
        Effect::Note { document, set }
    };
    let parts = claim.lines(PARTS).into_iter();
    let directed = parts.filter_map(|line| line.get(part::OLD_PART).zip(line.get(part::DISPOSITION)));
    let mut effects: Vec<Effect> = directed.map(direct).collect();
    if claim.get(VARIANT) == Some("compensation") && claim.get(GRANTED) > Some(0) {
        effects.push(Effect::Open { kind: "recovery", act: "judge", set: charge(claim) });
    }
    effects
}

/// The recovery of what was granted, from whoever was found responsible.
fn charge(claim: &Document) -> Set {
    let mut set = Set::from([
        (super::header::SITE.name().to_owned(), Value::from(SiteId::hub().as_str())),
        ("claim#1.claim".to_owned(), Value::Text(claim.id.to_string())),
        ("claim#1.site".to_owned(), Value::from(claim.site.as_str())),
    ]);
    let mut copy = |from: &str, to: &str| {
        if let Some(value) = claim.fields.get(from) {
            set.insert(to.to_owned(), value.clone());
        }
    };
    copy(GRANTED.name(), "claim#1.amount");
    copy(RESPONSIBLE.name(), recovery::RESPONSIBLE.name());
    copy(SUPPLIER.name(), recovery::SUPPLIER.name());
    copy(BASIS.name(), recovery::BASIS.name());
    set
}

/// Whether a field is there.
fn is_set<T>(document: &Document, column: Col<T>) -> bool {
    document.fields.contains_key(column.name())
}
