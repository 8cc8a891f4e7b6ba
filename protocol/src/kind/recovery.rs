//! Recovery 追偿: what the maker charges whoever is responsible. It lives at the hub and no outlet is told of it.
//!
//! Suppliers have no account: what they say is entered on their behalf.

use jiff::tz::TimeZone;

use super::{Audience, Kind, settlement};
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::field::Lines;
use crate::document::filling::{Filling, Set};
use crate::document::flow::{Holder, Role, State, VOID, open, state, stay, step};
use crate::document::lines;
use crate::fact::{Fact, Measure};
use crate::value::{self, Choice, Value, choice};

/// Somebody was found responsible.
pub const JUDGED: State = state("judged", "已判定", "Judged");
/// He knows.
pub const NOTIFIED: State = state("notified", "已通知", "Notified");
/// He denies it.
pub const DISPUTED: State = state("disputed", "有异议", "Disputed");
/// A third party has looked at it.
pub const APPRAISED: State = state("appraised", "第三方已鉴定", "Appraised");
/// He admits it.
pub const CONFIRMED: State = state("confirmed", "已确认", "Confirmed");
/// The sum is agreed.
pub const AGREED: State = state("agreed", "已协定", "Agreed");
/// The sum is charged.
pub const INVOICED: State = state("invoiced", "已开票", "Invoiced");
/// It was paid.
pub const PAID: State = state("paid", "已付款", "Paid");
/// Done.
pub const CLOSED: State = state("closed", "已关闭", "Closed");

/// Who may be responsible.
pub const RESPONSIBLE_PARTIES: &[Choice] = &[
    choice("supplier", "供应商", "Supplier"),
    choice("maker", "整车厂", "Maker"),
    choice("station", "服务站", "Station"),
    choice("user", "用户", "User"),
];

crate::fields! {
    pub RESPONSIBLE: Choice(RESPONSIBLE_PARTIES) = "responsible" "责任方" / "Responsible", from JUDGED;
    pub SUPPLIER: Text = "supplier" "供应商" / "Supplier", searched;
    pub BASIS: Text = "basis" "判定依据" / "Basis of judgement", from JUDGED;
    pub CLAIMED: Money = "claimed" "追偿金额" / "Claimed", from JUDGED, filled;
    pub NOTIFIED_ON: Text = "notice_no" "通知书号" / "Notification number";
    pub OBJECTION: Text = "objection" "异议" / "Objection";
    pub THIRD_PARTY: Text = "third_party" "第三方鉴定" / "Third party's appraisal";
    pub FACTOR: Integer = "factor" "技术系数（万分之）" / "Technical factor (basis points)";
    pub AGREED_SUM: Money = "agreed" "协定金额" / "Agreed";
    pub AGREED_AT: Time = "agreed_at" "协定时间" / "Agreed at", filled;
    pub INVOICE_NO: Text = "invoice_no" "发票号" / "Invoice number", searched;
    pub PAID_SUM: Money = "paid" "已付金额" / "Paid";
}

/// The fields of a claim that is charged on.
pub mod claim {
    use super::JUDGED;

    crate::fields! {
        pub CLAIM: Link("claim") = "claim" "鉴定单" / "Claim", from JUDGED;
        pub SITE: Text = "site" "服务站" / "Site";
        pub AMOUNT: Money = "amount" "金额" / "Amount", from JUDGED;
    }
}

/// Recoveries by the day they were judged. `agreed_of` is what was claimed of those agreed, `charged` what was invoiced: agreed
/// ÷ agreed_of and paid ÷ charged are the report's ratios.
pub static RECOVERIES: Measure = Measure {
    name: "recovery",
    keys: &["supplier", "responsible"],
    values: &["recoveries", "disputed", "closed", "claimed", "agreed_of", "agreed", "charged", "paid"],
    is_ledger: false,
};

const CLAIMS: &str = "claim";
const BY: &[Role] = &[Role::Reviewer, Role::SettlementClerk];

/// The declaration.
pub static RECOVERY: Kind = Kind {
    name: "recovery",
    code: "RC",
    zh: "追偿",
    en: "Recovery",
    states: &[JUDGED, NOTIFIED, DISPUTED, APPRAISED, CONFIRMED, AGREED, INVOICED, PAID, CLOSED],
    fields: FIELDS,
    lines: &[Lines { name: CLAIMS, zh: "鉴定单", en: "Claims", fields: claim::FIELDS }],
    flow: &[
        open("judge", "责任判定", "Judge", JUDGED).by(BY).pen(Holder::Hub),
        stay("correct", "更正", "Correct", &[JUDGED]).by(BY),
        step("notify", "通知", "Notify", &[JUDGED], NOTIFIED).by(BY),
        step("confirm", "确认", "Confirm", &[NOTIFIED], CONFIRMED).by(BY),
        step("dispute", "异议", "Dispute", &[NOTIFIED], DISPUTED).by(BY).takes(&[OBJECTION.col()]),
        step("appraise", "第三方鉴定", "Appraise", &[DISPUTED], APPRAISED)
            .by(BY)
            .takes(&[THIRD_PARTY.col(), FACTOR.col()]),
        step("agree", "协定", "Agree", &[CONFIRMED, APPRAISED], AGREED).by(BY).takes(&[AGREED_SUM.col()]),
        step("invoice", "开票", "Invoice", &[AGREED], INVOICED).by(BY).takes(&[INVOICE_NO.col()]),
        step("pay", "付款", "Pay", &[INVOICED], PAID).by(BY).takes(&[PAID_SUM.col()]),
        step("close", "关闭", "Close", &[PAID], CLOSED).by(BY),
    ],
    fill: Some(fill),
    stands_once_ended: true,
    checks: &[names_the_supplier, charges_claims, claims_are_kept, sums_stay_within, is_collected_once],
    audience: |_| Audience::Nobody,
    measures: &[&RECOVERIES],
    facts,
    ..Kind::PLAIN
};

fn fill(filling: &Filling<'_>, set: &mut Set) {
    let fields = filling.fields(set);
    let claims = lines(&fields, CLAIMS);
    let amounts = claims.iter().filter_map(|line| line.measured(claim::AMOUNT));
    let sum = amounts.fold(None, |sum: Option<(i64, &str)>, (minor, currency)| {
        Some((sum.map_or(0, |(sum, _)| sum).saturating_add(minor), currency))
    });
    filling.state(set, CLAIMED.name(), sum.map(|(minor, currency)| Value::measured(minor, currency)));
    if filling.act == "agree" {
        filling.state(set, AGREED_AT.name(), Some(Value::Int(filling.now.0)));
    }
}

/// It charges claims that there are, and nothing less than nothing.
fn charges_claims(change: &Change<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for line in change.after.lines(CLAIMS) {
        let key = |column: &str| format!("{CLAIMS}#{}.{column}", line.number);
        let link = key(claim::CLAIM.name());
        let named = line.get(claim::CLAIM).filter(|_| change.set.contains_key(&link));
        if named.is_some_and(|id| change.books.find(id).is_none_or(|found| found.kind != "claim")) {
            problems.push(Problem::at(link, "没有这张鉴定单", "there is no such claim"));
        }
        if line.get(claim::AMOUNT) < Some(0) && line.get(claim::AMOUNT).is_some() {
            problems.push(Problem::at(key(claim::AMOUNT.name()), "不能为负数", "this is not negative"));
        }
    }
    problems
}

/// What a settlement of its supplier's has gathered is paid there; and what was paid, or is settled, is not voided.
fn is_collected_once(change: &Change<'_>) -> Vec<Problem> {
    let is_voided = change.after.state == VOID.name;
    if !is_voided && change.act != "pay" {
        return Vec::new();
    }
    let settlements = change.books.documents(settlement::SETTLEMENT.name, &change.after.site);
    let id = change.after.id.to_string();
    let gathers = |found: &&Document| found.state != VOID.name && settlement::names(found, &id);
    if let Some(found) = settlements.iter().find(gathers) {
        let number = found.number().unwrap_or_default();
        return vec![Problem::whole(
            format!("供应商结算单 {number} 已含此追偿，请在该结算单处理"),
            format!("settlement {number} of its supplier has gathered it: go on there"),
        )];
    }
    let is_paid = change.before.is_some_and(|before| before.state == PAID.name);
    if is_voided && is_paid {
        return vec![Problem::whole("已付款的追偿不能作废", "a recovery that was paid is not voided")];
    }
    Vec::new()
}

fn names_the_supplier(change: &Change<'_>) -> Vec<Problem> {
    if change.after.get(RESPONSIBLE) == Some("supplier") && change.after.get(SUPPLIER).is_none() {
        return vec![Problem::at(SUPPLIER.name(), "须注明供应商", "the supplier is required")];
    }
    Vec::new()
}

/// Once the responsible party was told of them, the charges stand.
fn claims_are_kept(change: &Change<'_>) -> Vec<Problem> {
    let may_change = ["judge", "correct"].contains(&change.act);
    let fixed = [RESPONSIBLE.name(), SUPPLIER.name(), BASIS.name()];
    let is_kept = |key: &&String| !may_change && (key.starts_with("claim#") || fixed.contains(&key.as_str()));
    let kept = change.set.keys().filter(is_kept);
    kept.map(|key| Problem::at(key, "此步骤不能填写该字段", "this act does not set this field")).collect()
}

/// 0 ≤ paid ≤ agreed ≤ claimed × factor, half to even.
fn sums_stay_within(change: &Change<'_>) -> Vec<Problem> {
    let recovery = change.after;
    let mut problems = Vec::new();
    let factor = recovery.get(FACTOR).unwrap_or(10_000);
    if !(0..=10_000).contains(&factor) {
        problems.push(Problem::at(FACTOR.name(), "须在 0 与 10000 之间", "this lies between 0 and 10000"));
    }
    let most = value::half_even(i128::from(recovery.get(CLAIMED).unwrap_or(0)) * i128::from(factor), 10_000);
    if recovery.get(AGREED_SUM).is_some_and(|agreed| agreed < 0 || i128::from(agreed) > most) {
        problems.push(Problem::at(
            AGREED_SUM.name(),
            "超出追偿金额",
            "more than is claimed, or than the factor leaves of it",
        ));
    }
    if recovery.get(PAID_SUM).is_some_and(|paid| paid < 0 || Some(paid) > recovery.get(AGREED_SUM)) {
        problems.push(Problem::at(PAID_SUM.name(), "超出协定金额", "more than is agreed"));
    }
    problems
}

fn facts(recovery: &Document, zone: &TimeZone) -> Vec<Fact> {
    let key = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let (claimed, agreed) = (recovery.get(CLAIMED).unwrap_or(0), recovery.get(AGREED_SUM));
    let is_charged = recovery.get(INVOICE_NO).is_some();
    vec![Fact {
        measure: &RECOVERIES,
        day: recovery.occurred_at().day(zone),
        keys: vec![key(recovery.get(SUPPLIER)), key(recovery.get(RESPONSIBLE))],
        values: vec![
            1,
            i64::from(recovery.get(OBJECTION).is_some()),
            i64::from(recovery.state == CLOSED.name),
            claimed,
            agreed.map_or(0, |_| claimed),
            agreed.unwrap_or(0),
            if is_charged { agreed.unwrap_or(0) } else { 0 },
            recovery.get(PAID_SUM).unwrap_or(0),
        ],
    }]
}
