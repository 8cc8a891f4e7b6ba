//! Survey 满意度调查: one immutable event: a form, its answers, a score of 0 to 100.

use jiff::tz::TimeZone;

use super::Kind;
use crate::document::Document;
use crate::document::capture::{Change, Problem};
use crate::document::field::Lines;
use crate::document::flow::{State, open, state};
use crate::fact::{Fact, Measure};

/// Answered; nothing follows.
pub const ANSWERED: State = state("answered", "已答", "Answered");

crate::fields! {
    pub FORM: Text = "form" "问卷" / "Form", from ANSWERED, searched;
    pub SUBJECT: Text = "subject" "对象" / "Subject", searched;
    pub ABOUT: Link("repair_order") = "about" "相关工单" / "About";
    pub SCORE: Integer = "score" "得分" / "Score";
    pub WEIGHT: Integer = "weight" "权重" / "Weight";
    pub COMMENT: Text = "comment" "意见" / "Comment";
}

/// The fields of an answer.
pub mod answer {
    use super::ANSWERED;

    crate::fields! {
        pub QUESTION: Text = "question" "问题" / "Question", from ANSWERED;
        pub ANSWER: Text = "answer" "回答" / "Answer", from ANSWERED;
    }
}

/// Answers by form; the score of a period is `weighted ÷ weight`.
pub static SATISFACTION: Measure =
    Measure { name: "satisfaction", keys: &["form"], values: &["n", "weighted", "weight"], is_ledger: false };

/// The declaration.
pub static SURVEY: Kind = Kind {
    name: "survey",
    code: "SV",
    zh: "满意度调查",
    en: "Survey",
    states: &[ANSWERED],
    fields: FIELDS,
    lines: &[Lines { name: "answer", zh: "回答", en: "Answers", fields: answer::FIELDS }],
    flow: &[open("answer", "提交", "Answer", ANSWERED)],
    bounds: &[in_range],
    measures: &[&SATISFACTION],
    facts,
    ..Kind::PLAIN
};

fn in_range(change: &Change<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if change.after.get(SCORE).is_some_and(|score| !(0..=100).contains(&score)) {
        problems.push(Problem::at(SCORE.name(), "得分须在 0 到 100 之间", "the score lies between 0 and 100"));
    }
    if change.after.get(WEIGHT).is_some_and(|weight| !(1..=1000).contains(&weight)) {
        problems.push(Problem::at(WEIGHT.name(), "权重须在 1 到 1000 之间", "the weight lies between 1 and 1000"));
    }
    problems
}

fn facts(document: &Document, zone: &TimeZone) -> Vec<Fact> {
    let Some(score) = document.get(SCORE) else { return Vec::new() };
    let weight = document.get(WEIGHT).unwrap_or(1);
    vec![Fact {
        measure: &SATISFACTION,
        day: document.occurred_at().day(zone),
        keys: vec![document.get(FORM).unwrap_or_default().to_owned()],
        values: vec![1, weight.saturating_mul(score), weight],
    }]
}
