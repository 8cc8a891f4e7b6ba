//! What a clerk at an outlet wants next, by the list of papers.

use std::collections::BTreeMap;

use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::claims;
use crate::desk::{AUTHOR, Desk, Paper, next_step};
use crate::flows::{MOVEMENT, ORDER, SHEET, Step, VOID};
use crate::transfers;

/// Items that stock moves of.
pub(crate) const ITEMS: &[&str] = &["滤芯", "机油", "刹车片"];
/// Most lines of a sheet.
const SHEET_LINES: u64 = 3;
const HOUR_MS: i64 = 3_600_000;

/// What a clerk may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Answers a survey.
    Survey,
    /// Moves stock.
    Move,
    /// Checks something in for repair.
    CheckIn,
    /// Takes the next step of an order.
    Step,
    /// Remarks on an order.
    Note,
    /// Voids an order.
    Void,
    /// Goes on with a count sheet, or opens one.
    Sheet,
    /// Goes on with a part transfer of this site's or of another, or asks for a part.
    Transfer,
    /// Goes on with a claim or an old part, or claims something.
    Claim,
    /// Tries what nobody here may do.
    Wrong,
}

impl Task {
    /// Whether it is about papers that other parties write on too.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Task::Transfer | Task::Claim | Task::Wrong)
    }
}

impl Desk {
    /// A wish for `task`; none where nothing on the list allows it. `wall` is the device's clock.
    pub(crate) fn wish(&self, task: Task, wall: i64, chance: &mut Chance) -> Option<Wish> {
        match task {
            Task::Survey => Some(opening("survey", "answer", survey(chance))),
            Task::Move => Some(opening(MOVEMENT, "post", movement(chance))),
            Task::CheckIn => Some(opening(ORDER, "check_in", check_in(wall, chance))),
            Task::Step => {
                let (id, paper) = self.order(chance, |paper| next_step(&paper.state).is_some())?;
                let Step(_, act, ..) = next_step(&paper.state)?;
                Some(act_on(id, ORDER, act, step_fields(act, wall, chance)))
            }
            Task::Note => {
                let (id, _) = self.order(chance, |_| true)?;
                Some(act_on(id, ORDER, "note", fields([("note_text", Value::from("已联系客户"))])))
            }
            Task::Void => {
                let (id, _) = self.order(chance, |paper| paper.state != VOID)?;
                Some(act_on(id, ORDER, "void", fields([("void_reason", Value::from("重复开单"))])))
            }
            Task::Sheet => Some(self.sheet(chance)),
            Task::Transfer => transfers::wish(self, wall, chance),
            Task::Claim => claims::wish(self, wall, chance),
            Task::Wrong if chance.percent(50) => transfers::wrong(self, chance),
            Task::Wrong => claims::wrong(self, chance),
        }
    }

    /// The next act on a count sheet that is at its site, or another one.
    fn sheet(&self, chance: &mut Chance) -> Wish {
        let is_here = |paper: &&Paper| paper.kind == SHEET && ["open", "recount", "approved"].contains(&&*paper.state);
        let here: Vec<(&DocId, &Paper)> = self.papers().filter(|(_, paper)| is_here(paper)).collect();
        if here.is_empty() || chance.percent(10) {
            return opening(SHEET, "open", fields([("zone", "A".into()), ("counter", AUTHOR.into())]));
        }
        let (id, paper) = *chance.pick(&here);
        if paper.state == "approved" {
            return act_on(*id, SHEET, "adjust", BTreeMap::new());
        }
        let has_lines = paper.fields.keys().any(|field| field.ends_with(".counted"));
        if has_lines && chance.percent(80) {
            let recounter = (paper.state == "recount").then_some(("recounter", Value::from("李雷")));
            return act_on(*id, SHEET, "lock", fields_of(recounter));
        }
        let line = chance.within(1, SHEET_LINES);
        let counted = i64::try_from(chance.below(30)).expect("a quantity is small") * 1_000;
        let set = [
            ("item", Value::from(*chance.pick(ITEMS))),
            ("location", Value::from("main")),
            ("counted", Value::measured(counted, "件")),
        ];
        let named = set.into_iter().map(|(name, value)| (format!("item#{line}.{name}"), value));
        act_on(*id, SHEET, "count", named.collect())
    }

    fn order(&self, chance: &mut Chance, fits: impl Fn(&Paper) -> bool) -> Option<(DocId, &Paper)> {
        let orders: Vec<(&DocId, &Paper)> =
            self.papers().filter(|(_, paper)| paper.kind == ORDER && fits(paper)).collect();
        if orders.is_empty() { None } else { Some(*chance.pick(&orders)).map(|(id, paper)| (*id, paper)) }
    }
}

/// What opens a document.
pub(crate) fn opening(kind: &str, act: &str, set: BTreeMap<String, Value>) -> Wish {
    Wish { document: None, kind: kind.into(), act: act.into(), set, author: AUTHOR.into(), cause: None }
}

/// An act on a document.
pub(crate) fn act_on(id: DocId, kind: &str, act: &str, set: BTreeMap<String, Value>) -> Wish {
    Wish { document: Some(id), kind: kind.into(), act: act.into(), set, author: AUTHOR.into(), cause: None }
}

/// Fields by name.
pub(crate) fn fields<const N: usize>(set: [(&str, Value); N]) -> BTreeMap<String, Value> {
    set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn fields_of<'a>(set: impl IntoIterator<Item = (&'a str, Value)>) -> BTreeMap<String, Value> {
    set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn survey(chance: &mut Chance) -> BTreeMap<String, Value> {
    let score = i64::try_from(chance.below(101)).expect("a score is small");
    let comment = "好".repeat(usize::try_from(chance.below(120)).expect("a comment is short"));
    fields([("form", "门店".into()), ("score", Value::Int(score)), ("comment", comment.into())])
}

/// A receipt of goods.
pub(crate) fn movement(chance: &mut Chance) -> BTreeMap<String, Value> {
    let milli = i64::try_from(chance.within(1, 9)).expect("a quantity is small") * 1_000;
    fields([
        ("item", Value::from(*chance.pick(ITEMS))),
        ("location", "main".into()),
        ("quantity", Value::measured(milli, "件")),
        ("reason", "receipt".into()),
    ])
}

fn check_in(wall: i64, chance: &mut Chance) -> BTreeMap<String, Value> {
    fields([
        ("category", Value::from(*chance.pick(&["手机", "电脑"]))),
        ("symptom", format!("不开机 {}", chance.below(1_000)).into()),
        ("pre_inspection", "外观完好".into()),
        ("checked_in_at", Value::Int(wall - HOUR_MS)),
    ])
}

fn step_fields(act: &str, wall: i64, chance: &mut Chance) -> BTreeMap<String, Value> {
    match act {
        "estimate" => fields([("promised_at", Value::Int(wall + 20 * 365 * 24 * HOUR_MS))]),
        "confirm" => fields([("consent_by", "李雷".into())]),
        "assign" => fields([("technician", "韩梅梅".into())]),
        "issue_parts" => fields([
            ("part#1.part", Value::from(*chance.pick(ITEMS))),
            ("part#1.quantity", Value::measured(1_000, "件")),
            ("part#1.price", Value::measured(1_999, "CNY")),
            ("part#1.source", "stock".into()),
            ("part#1.coverage", "customer".into()),
        ]),
        "finish" => fields([("outcome", Value::from(*chance.pick(&["fixed", "repairable"])))]),
        "release" => fields([("qc_result", "pass".into()), ("released_at", Value::Int(wall))]),
        _ => BTreeMap::new(),
    }
}
