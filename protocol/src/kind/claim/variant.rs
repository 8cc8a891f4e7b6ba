//! What each variant of a claim needs and how it goes.

use super::*;
use crate::time::{self, Timestamp};

const ORDINARY: &str = "ordinary";
const MAJOR_ASSEMBLY: &str = "major_assembly";
const ROADSIDE: &str = "roadside";
const OUTSIDE_PURCHASE: &str = "outside_purchase";
const RUN_IN: &str = "run_in";
const COMPENSATION: &str = "compensation";

/// The variants.
pub const VARIANTS: &[Choice] = &[
    choice(ORDINARY, "鉴定单", "Ordinary"),
    choice(MAJOR_ASSEMBLY, "大总成单", "Major assembly"),
    choice(ROADSIDE, "外出急救单", "Roadside rescue"),
    choice(OUTSIDE_PURCHASE, "外购申请单", "Outside purchase"),
    choice(RUN_IN, "走保单", "Run-in service"),
    choice(COMPENSATION, "赔偿鉴定单", "Compensation"),
];

const FAULT_FIELDS: &[&str] = &[FAILED_AT.col(), SYMPTOM.col(), CAUSAL_PART.col(), FAULT.col(), SEVERITY.col()];
const RESCUE_FIELDS: &[&str] =
    &[CALL_AT.col(), PLACE.col(), DISTANCE.col(), DEPART_AT.col(), ARRIVE_AT.col(), FINISH_AT.col()];

const ASSEMBLY_FIELDS: &[&str] = &[ASSEMBLY.col(), SERIAL_OLD.col(), TEARDOWN_PHOTOS.col()];
const PURCHASE_FIELDS: &[&str] = &[VENDOR.col(), PURCHASE_REASON.col()];
const RUN_IN_FIELDS: &[&str] = &[CARD_NO.col(), CHECKLIST.col()];
const JUDGEMENT: &[&str] = &[RESPONSIBLE.col(), BASIS.col()];

/// What a submission and the other acts need beyond what they do of every claim.
fn needs(variant: &str, act: &str) -> Vec<&'static str> {
    let (is_first, is_last) = (["submit", "resubmit"].contains(&act), act == "submit_actuals");
    let of_variant: &[&str] = match (variant, act) {
        (MAJOR_ASSEMBLY, _) if is_first => ASSEMBLY_FIELDS,
        (MAJOR_ASSEMBLY, _) if is_last => const { &[SERIAL_NEW.col()] },
        (ROADSIDE, _) if is_first => RESCUE_FIELDS,
        (OUTSIDE_PURCHASE, _) if is_first => PURCHASE_FIELDS,
        (OUTSIDE_PURCHASE, _) if is_last => const { &[INVOICE_NO.col()] },
        (OUTSIDE_PURCHASE, "preauthorise") => const { &[PRICE_CAP.col()] },
        (RUN_IN, _) if is_first => RUN_IN_FIELDS,
        (COMPENSATION, "approve") => JUDGEMENT,
        _ => &[],
    };
    let has_fault = (is_first || is_last) && variant != RUN_IN;
    [if has_fault { FAULT_FIELDS } else { &[] }, of_variant].concat()
}

/// What is missing of what the variant needs.
pub(super) fn has_what_it_needs(change: &Change<'_>) -> Vec<Problem> {
    let variant = change.after.get(VARIANT).unwrap_or_default();
    let missing = needs(variant, change.act).into_iter().filter(|name| !change.after.fields.contains_key(*name));
    let label =
        |name: &str| CLAIM.field(name).map_or((name.to_owned(), name.to_owned()), |f| (f.zh.into(), f.en.into()));
    missing
        .map(|name| {
            let (zh, en) = label(name);
            Problem::at(name, format!("{zh}必填"), format!("{en} is required"))
        })
        .collect()
}

/// Who is pre-authorised, what then is paid at most, and in what order a rescue went.
pub(super) fn goes_its_way(change: &Change<'_>) -> Vec<Problem> {
    let variant = change.after.get(VARIANT).unwrap_or_default();
    let is_preauthorised = [MAJOR_ASSEMBLY, OUTSIDE_PURCHASE].contains(&variant);
    if change.before.is_some_and(|before| before.get(VARIANT) != change.after.get(VARIANT)) {
        return vec![Problem::at(VARIANT.name(), "单据类别不能更改", "a claim keeps its variant")];
    }
    let is_first_review = change.before.is_some_and(|before| before.state == REVIEWING.name);
    match change.act {
        "preauthorise" if !is_preauthorised => {
            vec![Problem::whole("此类单据无须预批", "claims of this variant are not pre-authorised")]
        }
        "preauthorise" if change.after.get(PRICE_CAP).is_some_and(|cap| cap <= 0) => {
            vec![Problem::at(PRICE_CAP.name(), "限价须大于零", "a price cap is more than nothing")]
        }
        "approve" if is_preauthorised && is_first_review => {
            vec![Problem::whole("此类单据须先预批", "claims of this variant are pre-authorised first")]
        }
        "approve" if variant == RUN_IN => run_in_window(change.after),
        "submit_actuals" if variant == OUTSIDE_PURCHASE => within_cap(change.after),
        "submit" | "resubmit" if variant == ROADSIDE => in_order(change.after),
        _ => Vec::new(),
    }
}

fn within_cap(claim: &Document) -> Vec<Problem> {
    if claim.get(CLAIMED) > claim.get(PRICE_CAP) {
        return vec![Problem::at(CLAIMED.name(), "超过限价", "above the price cap")];
    }
    Vec::new()
}

fn in_order(claim: &Document) -> Vec<Problem> {
    let times = [CALL_AT, DEPART_AT, ARRIVE_AT, FINISH_AT];
    let wrong = times.windows(2).filter(|pair| {
        let at = |column| claim.get(column).unwrap_or(Timestamp(i64::MIN));
        is_set(claim, pair[1]) && at(pair[1]) < at(pair[0])
    });
    wrong.map(|pair| Problem::at(pair[1].name(), "早于上一时间", "before what came before it")).collect()
}

/// The window and the fee as the network's rules have them when the review begins.
pub(super) fn fill_run_in(filling: &Filling<'_>, set: &mut Set) {
    let bound = |rule| Some(filling.rule(rule)).filter(|bound| *bound > 0);
    filling.state(set, RUN_IN_KM.name(), bound(&rules::RUN_IN_KM).map(Value::Int));
    filling.state(set, RUN_IN_DAYS.name(), bound(&rules::RUN_IN_DAYS).map(Value::Int));
    let claimed = filling.value(set, CLAIMED.name()).and_then(Value::as_measured);
    let fee = bound(&rules::RUN_IN_FEE).zip(claimed).map(|(fee, (_, currency))| Value::measured(fee, currency));
    filling.state(set, RUN_IN_FEE.name(), fee);
}

fn run_in_window(claim: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    let late = |limit: i64, at: Option<i64>| at.is_some_and(|at| at > limit);
    if claim.get(RUN_IN_KM).is_some_and(|limit| late(limit, claim.get(ODOMETER))) {
        problems.push(Problem::at(ODOMETER.name(), "超出走保里程", "beyond the run-in distance"));
    }
    let day = time::zone("").ok().map(|zone| claim.occurred_at().day(&zone));
    let age = day.zip(claim.get(SALE_DATE)).map(|(day, sold)| i64::from(day.0) - i64::from(sold.0));
    if claim.get(RUN_IN_DAYS).is_some_and(|limit| late(limit, age)) {
        problems.push(Problem::at(SALE_DATE.name(), "超出走保期限", "beyond the run-in period"));
    }
    if claim.get(RUN_IN_FEE).is_some_and(|limit| late(limit, claim.get(GRANTED))) {
        problems.push(Problem::at(GRANTED.name(), "超出走保定额", "above the run-in fee"));
    }
    problems
}
