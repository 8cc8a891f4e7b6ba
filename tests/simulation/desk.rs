//! What a clerk at one device was told: the list of papers, and what may be done to each next.
//!
//! The flow of a repair order is written down here once more, so that nothing rests on the product's own. A call that
//! failed leaves doubt about its act, and only about that: it may stand or not.

use std::collections::{BTreeMap, BTreeSet};

use waystation_agent::store::{ImportRow, Receipt};
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::violation::{Violation, broken};

/// Items that stock moves of.
pub(crate) const ITEMS: &[&str] = &["滤芯", "机油", "刹车片"];
/// Rows of somebody's history that are imported, now and again.
const OLD_ROWS: u64 = 12;
const AUTHOR: &str = "王芳";
const HOUR_MS: i64 = 3_600_000;

/// Repair orders, by their wire name.
const ORDER: &str = "repair_order";

/// The steps of a repair order: from, act, to.
pub(crate) const ORDER_STEPS: &[(&str, &str, &str)] = &[
    ("checked_in", "estimate", "estimated"),
    ("estimated", "confirm", "confirmed"),
    ("confirmed", "assign", "assigned"),
    ("assigned", "issue_parts", "parts_issued"),
    ("parts_issued", "work", "working"),
    ("working", "finish", "qc"),
    ("qc", "release", "released"),
    ("released", "close", "closed"),
];

/// Count sheets, by their wire name.
pub(crate) const SHEET: &str = "count_sheet";
/// What the hub makes of a locked sheet.
const DECIDED: [&str; 3] = ["approved", "recount", "rejected"];
/// Most lines of a sheet.
const SHEET_LINES: u64 = 3;

/// What moves a count sheet from state to state; counting leaves it where it is.
const SHEET_STEPS: &[(&str, &str, &str)] = &[
    ("open", "lock", "locked"),
    ("recount", "lock", "locked"),
    ("locked", "approve", "approved"),
    ("locked", "recount", "recount"),
    ("locked", "reject", "rejected"),
    ("approved", "adjust", "adjusted"),
];

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
}

/// A document as a clerk knows it.
#[derive(Debug, Clone)]
pub(crate) struct Paper {
    /// Its kind.
    pub kind: &'static str,
    /// Its state.
    pub state: String,
    /// Its last state entry.
    pub head: EntryId,
    /// The fields set so far.
    pub fields: BTreeMap<String, Value>,
    /// How many remarks.
    pub notes: usize,
    /// Whether an act on it failed, so that it may stand or not.
    pub has_doubt: bool,
}

/// An act that was confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Confirmed {
    /// Its entry.
    pub entry: EntryId,
}

/// A clerk's list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    papers: BTreeMap<DocId, Paper>,
    imported: BTreeMap<u64, DocId>,
    /// Decisions of the hub's that were seen here.
    pub(crate) seen: BTreeSet<EntryId>,
    /// Marks that the hub acknowledged: their hashes outlive the entries.
    pub(crate) marks: BTreeMap<u64, [u8; 32]>,
    /// Commands carried out here.
    pub(crate) carried_out: BTreeSet<[u8; 16]>,
    /// Whether another device may work on the same documents: its disk was put back or copied.
    pub(crate) has_twin: bool,
    /// Whether the hub came back older.
    pub(crate) has_restores: bool,
    /// Papers that this clerk only heard of.
    heard_of: BTreeSet<DocId>,
    /// Papers of which an entry was set aside when they were last looked at.
    aside: BTreeSet<DocId>,
}

impl Desk {
    /// The papers.
    pub(crate) fn papers(&self) -> impl Iterator<Item = (&DocId, &Paper)> {
        self.papers.iter()
    }

    /// A wish for `task`; none where nothing on the list allows it. `wall` is the device's clock.
    pub(crate) fn wish(&self, task: Task, wall: i64, chance: &mut Chance) -> Option<Wish> {
        match task {
            Task::Survey => Some(opening("survey", "answer", survey(chance))),
            Task::Move => Some(opening("stock_movement", "post", movement(chance))),
            Task::CheckIn => Some(opening("repair_order", "check_in", check_in(wall, chance))),
            Task::Step => {
                let (id, paper) = self.order(chance, |paper| next_step(&paper.state).is_some())?;
                let (_, act, _) = next_step(&paper.state)?;
                Some(act_on(id, ORDER, act, step_fields(act, wall, chance)))
            }
            Task::Note => {
                let (id, _) = self.order(chance, |_| true)?;
                Some(act_on(id, ORDER, "note", fields([("note_text", Value::from("已联系客户"))])))
            }
            Task::Void => {
                let (id, _) = self.order(chance, |paper| paper.state != "void")?;
                Some(act_on(id, ORDER, "void", fields([("void_reason", Value::from("重复开单"))])))
            }
            Task::Sheet => Some(self.sheet(chance)),
        }
    }

    /// A row of somebody's history, and whether it was imported at this device before.
    pub(crate) fn old_row(&self, site: &str, chance: &mut Chance) -> (u64, ImportRow, bool) {
        let key = chance.below(OLD_ROWS);
        let row = ImportRow {
            kind: "stock_movement".into(),
            site: site.into(),
            state: "posted".into(),
            set: movement(&mut Chance::new(key)),
            source: "old".into(),
            key: format!("{site}-{key}"),
            occurrence: 1,
            author: AUTHOR.into(),
        };
        (key, row, self.imported.contains_key(&key))
    }

    /// An act was confirmed.
    pub(crate) fn note_confirmed(&mut self, wish: &Wish, receipt: &Receipt) -> Result<Confirmed, Violation> {
        let confirmed = Confirmed { entry: receipt.entry };
        let is_note = wish.act == "note";
        let paper = match wish.document {
            None => self.papers.entry(receipt.document.id).or_insert(Paper {
                kind: kind_of(&wish.kind),
                state: opened_state(&wish.kind).to_owned(),
                head: receipt.entry,
                fields: BTreeMap::new(),
                notes: 0,
                has_doubt: false,
            }),
            Some(id) => match self.papers.get_mut(&id) {
                Some(paper) => paper,
                None => return Err(broken("I4", format!("an act on {id} was confirmed that nobody opened"))),
            },
        };
        if is_note {
            paper.notes += 1;
        } else {
            paper.head = receipt.entry;
            paper.state = state_after(&paper.state, &wish.act).to_owned();
            paper.fields.extend(wish.set.clone());
            if wish.act == "count" {
                // counted again, a line states anew where the journals stood and what was expected: the receipt tells it
                let is_counted = |field: &str| wish.set.keys().any(|set| line_of(set) == line_of(field));
                let told = receipt.document.fields.iter().filter(|(field, _)| is_counted(field));
                paper.fields.extend(told.map(|(field, value)| (field.clone(), value.clone())));
            }
        }
        Ok(confirmed)
    }

    /// Rows were imported.
    pub(crate) fn note_imported(&mut self, key: u64, row: &ImportRow, id: DocId) -> Confirmed {
        self.imported.insert(key, id);
        let paper = Paper {
            kind: "stock_movement",
            state: "posted".into(),
            head: id.opening(),
            fields: row.set.clone(),
            notes: 0,
            has_doubt: false,
        };
        self.papers.insert(id, paper);
        Confirmed { entry: id.opening() }
    }

    /// An act failed: it is not known whether it stands.
    pub(crate) fn note_doubt(&mut self, document: Option<DocId>) {
        if let Some(paper) = document.and_then(|id| self.papers.get_mut(&id)) {
            paper.has_doubt = true;
        }
    }

    /// Compares the list with what the device shows now, and takes over what became of acts in doubt. What the device
    /// shows beyond the list is an opening in doubt, or the effect of an act. Where it shows that an entry is set aside, or is
    /// so no more, the clerk knows; whether that is right, the hub's books tell in the end.
    pub(crate) fn compare(
        &mut self,
        shown: &BTreeMap<DocId, Document>,
        aside: &BTreeSet<DocId>,
    ) -> Result<(), Violation> {
        let was_aside = std::mem::replace(&mut self.aside, aside.clone());
        let aside = &was_aside.union(aside).copied().collect::<BTreeSet<_>>();
        // what a restore lost and its author has deleted, in a named range, is told to nobody any more: a downward journal that
        // begins anew holds what the hub accepted (R-DOWN-6)
        let may_go = |id: &DocId| aside.contains(id) || self.has_restores && self.heard_of.contains(id);
        self.papers.retain(|id, _| shown.contains_key(id) || !may_go(id));
        for (id, paper) in &mut self.papers {
            let Some(document) = shown.get(id) else {
                return Err(broken("I1", format!("document {id} was confirmed and the device lacks it")));
            };
            if paper.is_decided_in(document) {
                // where only this clerk counts, nobody has counted since
                if paper.state == "locked" && document.state == "recount" && !self.has_twin {
                    self.seen.insert(document.head);
                }
                *paper = Paper::of(document);
                continue;
            }
            match paper.compare(document) {
                Err(_) if self.has_twin || aside.contains(id) => *paper = Paper::of(document),
                compared => compared?,
            }
        }
        let is_taken_up = |document: &Document| document.kind == ORDER || document.kind == SHEET && self.has_twin;
        for (id, document) in shown.iter().filter(|(_, document)| is_taken_up(document)) {
            self.papers.entry(*id).or_insert_with(|| {
                self.heard_of.insert(*id);
                Paper::of(document)
            });
        }
        let is_decided = |document: &&Document| {
            document.kind == SHEET && ["approved", "rejected"].contains(&document.state.as_str())
        };
        self.seen.extend(shown.values().filter(is_decided).map(|document| document.head));
        Ok(())
    }

    /// What is not shown any more is forgotten: its entries could not be read from a damaged file, as a report says. What
    /// the hub told comes down again.
    pub(crate) fn forget_all_but(&mut self, shown: &BTreeMap<DocId, Document>) {
        self.papers = shown.iter().map(|(id, document)| (*id, Paper::of(document))).collect();
        self.imported.retain(|_, id| shown.contains_key(id));
        self.seen.clear();
        self.carried_out.clear();
        self.marks.clear();
    }

    /// The next act on a count sheet that is at its site, or another one.
    fn sheet(&self, chance: &mut Chance) -> Wish {
        let is_here = |paper: &&Paper| paper.kind == SHEET && ["open", "recount", "approved"].contains(&&*paper.state);
        let here: Vec<(&DocId, &Paper)> = self.papers.iter().filter(|(_, paper)| is_here(paper)).collect();
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
            self.papers.iter().filter(|(_, paper)| paper.kind == ORDER && fits(paper)).collect();
        if orders.is_empty() { None } else { Some(*chance.pick(&orders)).map(|(id, paper)| (*id, paper)) }
    }
}

impl Paper {
    fn of(document: &Document) -> Paper {
        Paper {
            kind: kind_of(&document.kind),
            state: document.state.clone(),
            head: document.head,
            fields: if document.kind == SHEET { document.fields.clone() } else { BTreeMap::new() },
            notes: document.notes.len(),
            has_doubt: false,
        }
    }

    /// Whether this is a sheet that was locked here, or may have been, and the hub has decided since. Whatever became of
    /// an act in doubt on a sheet is taken over too.
    fn is_decided_in(&self, document: &Document) -> bool {
        let is_decided = self.state == "locked" && DECIDED.contains(&document.state.as_str());
        self.kind == SHEET && (is_decided || self.has_doubt)
    }

    fn compare(&mut self, document: &Document) -> Result<(), Violation> {
        let is_as_told = document.state == self.state && document.head == self.head;
        let notes = document.notes.len();
        let is_one_on = next_step(&self.state).is_some_and(|(_, _, to)| *to == document.state)
            || document.state == "void"
            || notes == self.notes + 1;
        let is_sound = is_as_told && notes == self.notes || self.has_doubt && is_one_on;
        if !is_sound {
            let told = (&self.state, self.head, self.notes);
            let found = (&document.state, document.head, notes);
            return Err(broken("I1", format!("document {}: told {told:?}, the device shows {found:?}", document.id)));
        }
        for (field, value) in &self.fields {
            if document.fields.get(field) != Some(value) {
                return Err(broken("I1", format!("document {}: field {field} is not as told", document.id)));
            }
        }
        if self.has_doubt {
            (self.state, self.head, self.notes) = (document.state.clone(), document.head, notes);
            self.has_doubt = false;
        }
        Ok(())
    }
}

/// The step that follows a state of a repair order.
pub(crate) fn next_step(state: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    ORDER_STEPS.iter().find(|(from, _, _)| *from == state)
}

/// The state an act leads to; acts that are not steps leave it.
pub(crate) fn state_after<'a>(state: &'a str, act: &str) -> &'a str {
    let mut steps = ORDER_STEPS.iter().chain(SHEET_STEPS);
    match steps.find(|(from, name, _)| *from == state && *name == act) {
        Some((_, _, to)) => to,
        None if act == "void" => "void",
        None => state,
    }
}

/// The state in which documents of a kind are opened here.
pub(crate) fn opened_state(kind: &str) -> &'static str {
    match kind {
        "repair_order" => "checked_in",
        "stock_movement" => "posted",
        SHEET => "open",
        "notice" => "published",
        _ => "answered",
    }
}

/// The line a field stands on: `item#2` of `item#2.counted`; none for a field of the document's own.
fn line_of(field: &str) -> Option<&str> {
    field.split_once('.').map(|(line, _)| line)
}

fn kind_of(name: &str) -> &'static str {
    [ORDER, "stock_movement", SHEET].into_iter().find(|kind| *kind == name).unwrap_or("survey")
}

fn opening(kind: &str, act: &str, set: BTreeMap<String, Value>) -> Wish {
    Wish { document: None, kind: kind.into(), act: act.into(), set, author: AUTHOR.into(), cause: None }
}

fn act_on(id: DocId, kind: &str, act: &str, set: BTreeMap<String, Value>) -> Wish {
    Wish { document: Some(id), kind: kind.into(), act: act.into(), set, author: AUTHOR.into(), cause: None }
}

fn fields<const N: usize>(set: [(&str, Value); N]) -> BTreeMap<String, Value> {
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

fn movement(chance: &mut Chance) -> BTreeMap<String, Value> {
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
