//! Settlement 结算: what the maker owes a station for a period, or a supplier the maker.
//!
//! The hub gathers what was granted and not settled before. At every act
//! opening + approved − deductions ± adjustments − paid = closing, and a settlement begins with the closing of the one before
//! it, which must be closed. A supplier's version belongs to no outlet and stays at the hub.

mod gather;

use jiff::tz::TimeZone;

use super::{Audience, Kind};
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::column::{self, Col};
use crate::document::field::{Key, Lines};
use crate::document::filling::{Filling, Set};
use crate::document::flow::{Holder, Role, State, VOID, open, state, stay, step};
use crate::document::lines;
use crate::fact::{Fact, Measure};
use crate::site::SiteId;
use crate::value::{Choice, Value, choice};

/// Gathered, and still to be looked at.
pub const GENERATED: State = state("generated", "已生成", "Generated");
/// Sent to the other party.
pub const ISSUED: State = state("issued", "已下发", "Issued");
/// The other party denies lines of it.
pub const DISPUTED: State = state("disputed", "有异议", "Disputed");
/// The other party agrees, and has invoiced it.
pub const CONFIRMED: State = state("confirmed", "已确认开票", "Confirmed and invoiced");
/// It was paid.
pub const PAID: State = state("paid", "已付款", "Paid");
/// Done; the next may begin.
pub const CLOSED: State = state("closed", "已关闭", "Closed");

/// Why something is deducted.
pub const DEDUCTIONS: &[Choice] = &[
    choice("old_part", "旧件折价", "Discounted old part"),
    choice("old_part_missing", "旧件未返回", "Old part not returned"),
    choice("penalty", "考核扣款", "Penalty"),
    choice("other", "其他", "Other"),
];

crate::fields! {
    pub PERIOD: Text = "period" "结算期间" / "Period", from GENERATED, searched;
    pub UNTIL: Date = "until" "截止日期" / "Until", from GENERATED;
    pub PARTY: Text = "party" "结算对象" / "Party", from GENERATED, searched;
    pub CURRENCY: Text = "currency" "币种" / "Currency", from GENERATED;
    pub PREVIOUS: Link("settlement") = "previous" "上期结算单" / "Previous settlement", filled;
    pub OPENING: Money = "opening" "期初余额" / "Opening balance", filled;
    pub APPROVED: Money = "approved" "核定合计" / "Approved", from GENERATED, filled;
    pub DEDUCTED: Money = "deducted" "扣款合计" / "Deductions", from GENERATED, filled;
    pub ADJUSTED: Money = "adjusted" "调整合计" / "Adjustments", from GENERATED, filled;
    pub TOTAL: Money = "total" "本期应付" / "Total", from GENERATED, filled;
    pub PAID_SUM: Money = "paid" "已付金额" / "Paid";
    pub CLOSING: Money = "closing" "期末余额" / "Closing balance", filled;
    pub INVOICE_NO: Text = "invoice_no" "发票号" / "Invoice number", searched;
}

/// The fields of a claim that is settled.
pub mod claim {
    crate::fields! {
        pub CLAIM: Link("claim") = "claim" "鉴定单" / "Claim", filled;
        pub NUMBER: Text = "number" "单号" / "Number", filled;
        pub AMOUNT: Money = "amount" "金额" / "Amount", filled;
        pub DISPUTE: Text = "dispute" "异议" / "Dispute";
    }
}

/// The fields of a recovery that is settled.
pub mod recovery {
    crate::fields! {
        pub RECOVERY: Link("recovery") = "recovery" "追偿" / "Recovery", filled;
        pub AMOUNT: Money = "amount" "金额" / "Amount", filled;
        pub DISPUTE: Text = "dispute" "异议" / "Dispute";
    }
}

/// The fields of a deduction.
pub mod deduction {
    use super::{DEDUCTIONS, GENERATED};

    crate::fields! {
        pub REASON: Choice(DEDUCTIONS) = "reason" "扣款原因" / "Reason", from GENERATED;
        pub AMOUNT: Money = "amount" "金额" / "Amount", from GENERATED;
        pub OLD_PART: Link("old_part") = "old_part" "旧件" / "Old part", filled;
        pub COMMENT: Text = "comment" "说明" / "Comment";
    }
}

/// The fields of an adjustment, up or down.
pub mod adjustment {
    use super::GENERATED;

    crate::fields! {
        pub AMOUNT: Money = "amount" "金额" / "Amount", from GENERATED;
        pub COMMENT: Text = "comment" "说明" / "Comment", from GENERATED;
    }
}

/// Settlements by the day they run until; balances in minor units.
pub static SETTLEMENTS: Measure = Measure {
    name: "settlement",
    keys: &["party", "period"],
    values: &[
        "settlements",
        "lines",
        "disputed",
        "closed",
        "opening",
        "approved",
        "deducted",
        "adjusted",
        "paid",
        "closing",
    ],
    is_ledger: false,
};

const CLAIMS: &str = "claim";
const RECOVERIES: &str = "recovery";
const DEDUCTED_LINES: &str = "deduction";
const ADJUSTMENTS: &str = "adjustment";
/// What a line of any group comes to.
const AMOUNT: Col<column::Money> = Col::new("amount");
const CLERK: &[Role] = &[Role::SettlementClerk];
const EITHER: &[Role] = &[Role::Advisor, Role::SettlementClerk];

/// The declaration.
pub static SETTLEMENT: Kind = Kind {
    name: "settlement",
    code: "ST",
    zh: "结算单",
    en: "Settlement",
    states: &[GENERATED, ISSUED, DISPUTED, CONFIRMED, PAID, CLOSED],
    fields: FIELDS,
    lines: &[
        Lines { name: CLAIMS, zh: "鉴定单", en: "Claims", fields: claim::FIELDS },
        Lines { name: RECOVERIES, zh: "追偿", en: "Recoveries", fields: recovery::FIELDS },
        Lines { name: DEDUCTED_LINES, zh: "扣款", en: "Deductions", fields: deduction::FIELDS },
        Lines { name: ADJUSTMENTS, zh: "调整", en: "Adjustments", fields: adjustment::FIELDS },
    ],
    flow: &[
        open("generate", "生成结算", "Generate", GENERATED).by(CLERK).pen(Holder::Hub),
        stay("adjust", "调整", "Adjust", &[GENERATED, DISPUTED]).by(CLERK),
        step("issue", "下发", "Issue", &[GENERATED, DISPUTED], ISSUED).by(CLERK).pen(Holder::Origin),
        step("charge", "通知供应商", "Charge the supplier", &[GENERATED, DISPUTED], ISSUED).by(CLERK),
        step("confirm", "确认开票", "Confirm", &[ISSUED], CONFIRMED)
            .by(EITHER)
            .pen(Holder::Hub)
            .takes(&[INVOICE_NO.col()]),
        step("dispute", "异议", "Dispute", &[ISSUED], DISPUTED).by(EITHER).pen(Holder::Hub).next_round(),
        step("pay", "付款", "Pay", &[CONFIRMED], PAID).by(CLERK).takes(&[PAID_SUM.col()]),
        step("close", "关闭", "Close", &[PAID], CLOSED).by(CLERK),
    ],
    fill: Some(fill),
    stands_once_ended: true,
    checks: &[
        balances,
        begins_where_the_last_ended,
        each_act_sets_its_own,
        goes_to_its_party,
        pays_what_is_due,
        paid_stands,
    ],
    audience: |settlement| if is_of_supplier(settlement) { Audience::Nobody } else { Audience::Holders },
    measures: &[&SETTLEMENTS],
    facts,
    ..Kind::PLAIN
};

/// Whether a line of it stands for this document.
pub fn names(settlement: &Document, document: &str) -> bool {
    gather::linked(std::slice::from_ref(settlement)).contains(document)
}

fn is_of_supplier(settlement: &Document) -> bool {
    settlement.site == SiteId::hub()
}

fn fill(filling: &Filling<'_>, set: &mut Set) {
    if filling.act == "generate" {
        gather::gather(filling, set);
    }
    let fields = filling.fields(set);
    let Some(currency) = filling.text(set, CURRENCY.name()).map(str::to_owned) else { return };
    let sums = Sums::of(&fields);
    let opening = filling.value(set, OPENING.name()).and_then(Value::as_measured).map(|(minor, _)| minor);
    let mut state = |column: Col<column::Money>, minor: Option<i64>| {
        filling.state(set, column.name(), minor.map(|minor| Value::measured(minor, &currency)));
    };
    state(APPROVED, Some(sums.approved));
    state(DEDUCTED, Some(sums.deducted));
    state(ADJUSTED, Some(sums.adjusted));
    state(TOTAL, Some(sums.total()));
    state(CLOSING, opening.map(|opening| opening + sums.total() - sums.paid));
}

/// The sums of a settlement's lines.
struct Sums {
    approved: i64,
    deducted: i64,
    adjusted: i64,
    paid: i64,
}

impl Sums {
    fn of(fields: &Set) -> Sums {
        let sum = |group: &str| {
            let amounts = lines(fields, group).into_iter().filter_map(|line| line.get(AMOUNT));
            amounts.fold(0, i64::saturating_add)
        };
        let paid = fields.get(PAID_SUM.name()).and_then(Value::as_measured).map_or(0, |(minor, _)| minor);
        Sums {
            approved: sum(CLAIMS).saturating_add(sum(RECOVERIES)),
            deducted: sum(DEDUCTED_LINES),
            adjusted: sum(ADJUSTMENTS),
            paid,
        }
    }

    fn total(&self) -> i64 {
        self.approved.saturating_sub(self.deducted).saturating_add(self.adjusted)
    }
}

/// opening + approved − deductions ± adjustments − paid = closing, whatever the act.
fn balances(change: &Change<'_>) -> Vec<Problem> {
    let (settlement, sums) = (change.after, Sums::of(&change.after.fields));
    let (Some(opening), Some(closing)) = (settlement.get(OPENING), settlement.get(CLOSING)) else { return Vec::new() };
    let is_kept = change.before.is_none_or(|before| before.get(OPENING) == Some(opening));
    if is_kept && closing == opening + sums.total() - sums.paid && settlement.get(TOTAL) == Some(sums.total()) {
        return Vec::new();
    }
    vec![Problem::at(CLOSING.name(), "结算不平衡", "the settlement does not balance")]
}

fn begins_where_the_last_ended(change: &Change<'_>) -> Vec<Problem> {
    if change.after.get(OPENING).is_none() && change.after.state != VOID.name {
        return vec![Problem::at(
            PREVIOUS.name(),
            "上期结算尚未关闭",
            "the settlement before this one is not closed yet",
        )];
    }
    Vec::new()
}

/// Sums are mended by adjusting; the other party says only what it disputes; the period is that it was generated for.
fn each_act_sets_its_own(change: &Change<'_>) -> Vec<Problem> {
    let is_foreign = |key: &&String| match Key::parse(key) {
        _ if SETTLEMENT.field_at(key).is_none_or(|field| field.is_filled) => false,
        Some(Key::Line { group: DEDUCTED_LINES, number, .. }) if is_gathered(change, number) => true,
        Some(Key::Line { group: DEDUCTED_LINES | ADJUSTMENTS, .. }) => !["generate", "adjust"].contains(&change.act),
        Some(Key::Line { group, number, .. }) => {
            let amount = format!("{group}#{number}.{}", AMOUNT.name());
            change.act != "dispute" || !change.after.fields.contains_key(&amount)
        }
        Some(Key::Field(field)) => {
            [PERIOD.name(), UNTIL.name(), PARTY.name(), CURRENCY.name()].contains(&field) && change.act != "generate"
        }
        Some(Key::Custom(_)) | None => false,
    };
    let foreign = change.set.keys().filter(is_foreign);
    let mut problems: Vec<Problem> =
        foreign.map(|key| Problem::at(key, "此步骤不能填写该字段", "this act does not set this field")).collect();
    let says_what = change.set.keys().any(|key| key.ends_with(".dispute"));
    if change.act == "dispute" && !says_what {
        problems.push(Problem::whole("须注明有异议的明细", "a dispute names the lines it is about"));
    }
    let deductions = change.after.lines(DEDUCTED_LINES).into_iter();
    for line in deductions.filter(|line| line.get(AMOUNT) < Some(0) && line.get(AMOUNT).is_some()) {
        let key = format!("{DEDUCTED_LINES}#{}.{}", line.number, AMOUNT.name());
        problems.push(Problem::at(key, "不能为负数", "this is not negative"));
    }
    problems
}

/// Whether a deduction was gathered: it stands, and what is wrong with it is adjusted with a comment.
fn is_gathered(change: &Change<'_>, number: u32) -> bool {
    let link = format!("{DEDUCTED_LINES}#{number}.{}", deduction::OLD_PART.name());
    change.before.is_some_and(|before| before.fields.contains_key(&link))
}

fn goes_to_its_party(change: &Change<'_>) -> Vec<Problem> {
    match (change.act, is_of_supplier(change.after)) {
        ("issue", true) => vec![Problem::whole("供应商结算不下发", "a supplier's settlement stays at the hub")],
        ("charge", false) => vec![Problem::whole("服务站结算请下发", "a station's settlement is issued to it")],
        _ => Vec::new(),
    }
}

/// Nobody pays more than is due, nor less than nothing.
fn pays_what_is_due(change: &Change<'_>) -> Vec<Problem> {
    let due = change.after.get(OPENING).unwrap_or(0) + change.after.get(TOTAL).unwrap_or(0);
    if change.after.get(PAID_SUM).is_some_and(|paid| paid < 0 || paid > due.max(0)) {
        return vec![Problem::at(
            PAID_SUM.name(),
            "付款金额须在零与应付余额之间",
            "more than is due, or less than nothing",
        )];
    }
    Vec::new()
}

/// The next settlement begins with what this one ended with.
fn paid_stands(change: &Change<'_>) -> Vec<Problem> {
    let was = |state: State| change.before.is_some_and(|before| before.state == state.name);
    if change.after.state == VOID.name && was(PAID) {
        return vec![Problem::whole("已付款的结算不能作废", "a settlement that was paid is not voided")];
    }
    if change.after.state == VOID.name && was(ISSUED) {
        return vec![Problem::whole("已下发的结算不能作废，请提出异议", "what was issued is not voided: dispute it")];
    }
    Vec::new()
}

fn facts(settlement: &Document, zone: &TimeZone) -> Vec<Fact> {
    let key = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let amount = |column: Col<column::Money>| settlement.get(column).unwrap_or(0);
    let count = |group: &str| i64::try_from(settlement.lines(group).len()).unwrap_or(i64::MAX);
    vec![Fact {
        measure: &SETTLEMENTS,
        day: settlement.get(UNTIL).unwrap_or_else(|| settlement.occurred_at().day(zone)),
        keys: vec![key(settlement.get(PARTY)), key(settlement.get(PERIOD))],
        values: vec![
            1,
            count(CLAIMS) + count(RECOVERIES),
            i64::from(settlement.round > 1),
            i64::from(settlement.state == CLOSED.name),
            amount(OPENING),
            amount(APPROVED),
            amount(DEDUCTED),
            amount(ADJUSTED),
            amount(PAID_SUM),
            amount(CLOSING),
        ],
    }]
}
