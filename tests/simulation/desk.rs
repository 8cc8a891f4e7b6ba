//! What a clerk at one device was told: the list of papers, and how what the device shows may differ from it.
//!
//! A call that failed leaves doubt about its act, and only about that: it may stand or not. On what is passed on from party
//! to party others write too, but only while the pen is not here.

use std::collections::{BTreeMap, BTreeSet};

use waystation_agent::store::{ImportRow, Receipt};
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::flows::{self, CLAIM, MOVEMENT, OLD_PART, ORDER, SETTLEMENT, SHEET, Step, TRANSFER, VOID};
use crate::violation::{Violation, broken};
use crate::wishes::movement;

/// Rows of somebody's history that are imported, now and again.
const OLD_ROWS: u64 = 12;
/// Who works at an outlet.
pub(crate) const AUTHOR: &str = "王芳";
/// What the hub makes of a locked sheet.
const DECIDED: [&str; 3] = ["approved", "recount", "rejected"];

/// A document as a clerk knows it.
#[derive(Debug, Clone)]
pub(crate) struct Paper {
    /// Its kind.
    pub kind: &'static str,
    /// The site it belongs to.
    pub site: String,
    /// Its state.
    pub state: String,
    /// Its last state entry.
    pub head: EntryId,
    /// The fields set so far.
    pub fields: BTreeMap<String, Value>,
    /// How many remarks.
    pub notes: usize,
    /// What a remark says is to become of it, where it is an old part.
    pub directive: Option<String>,
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
    /// The site its clerk works at.
    pub(crate) site: String,
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
    /// Whether the hub may have forgotten what it told and let this device delete.
    pub(crate) has_deleted: bool,
    /// How late it is at the hub.
    pub(crate) hub_wall: i64,
    /// Papers that this clerk only heard of.
    heard_of: BTreeSet<DocId>,
    /// Papers of which an entry was set aside when they were last looked at.
    aside: BTreeSet<DocId>,
}

impl Desk {
    /// An empty list at a site.
    pub(crate) fn at(site: &str) -> Desk {
        Desk { site: site.to_owned(), ..Desk::default() }
    }

    /// The papers.
    pub(crate) fn papers(&self) -> impl Iterator<Item = (&DocId, &Paper)> {
        self.papers.iter()
    }

    /// A row of somebody's history, and whether it was imported at this device before.
    pub(crate) fn old_row(&self, chance: &mut Chance) -> (u64, ImportRow, bool) {
        let key = chance.below(OLD_ROWS);
        let row = ImportRow {
            kind: MOVEMENT.into(),
            site: self.site.clone(),
            state: "posted".into(),
            set: movement(&mut Chance::new(key)),
            source: "old".into(),
            key: format!("{}-{key}", self.site),
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
                site: self.site.clone(),
                state: flows::opened_state(&wish.kind).to_owned(),
                head: receipt.entry,
                fields: BTreeMap::new(),
                notes: 0,
                directive: None,
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
            paper.state = flows::state_after(paper.kind, &paper.state, &wish.act).to_owned();
            paper.fields.extend(wish.set.clone());
            if flows::is_passed_on(paper.kind) {
                // sums, times and bounds are filled in, others cleared: the receipt tells it
                paper.fields.clone_from(&receipt.document.fields);
            }
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
            kind: MOVEMENT,
            site: self.site.clone(),
            state: "posted".into(),
            head: id.opening(),
            fields: row.set.clone(),
            notes: 0,
            directive: None,
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
        let may_differ = self.has_twin || self.has_restores && self.has_deleted;
        for (id, paper) in &mut self.papers {
            let Some(document) = shown.get(id) else {
                return Err(broken("I1", format!("document {id} was confirmed and the device lacks it")));
            };
            if flows::is_passed_on(paper.kind) {
                let is_excused = may_differ || aside.contains(id);
                if paper.has_moved_on(document, &self.site, is_excused)? && !is_excused {
                    self.seen.insert(document.head);
                }
                *paper = Paper::of(document);
                continue;
            }
            if paper.is_decided_in(document) {
                // where only this clerk counts, nobody has counted since
                if paper.state == "locked" && document.state == "recount" && !self.has_twin {
                    self.seen.insert(document.head);
                }
                *paper = Paper::of(document);
                continue;
            }
            match paper.compare(document) {
                Err(_) if may_differ || aside.contains(id) => *paper = Paper::of(document),
                compared => compared?,
            }
        }
        let is_taken_up = |document: &Document| {
            document.kind == ORDER || document.kind == SHEET && self.has_twin || flows::is_passed_on(&document.kind)
        };
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
}

impl Paper {
    fn of(document: &Document) -> Paper {
        let directive = document.notes.values().find_map(|note| note.set.get("directive")).and_then(Value::as_text);
        let has_fields = document.kind == SHEET || flows::is_passed_on(&document.kind);
        Paper {
            kind: kind_of(&document.kind),
            site: document.site.to_string(),
            state: document.state.clone(),
            head: document.head,
            fields: if has_fields { document.fields.clone() } else { BTreeMap::new() },
            notes: document.notes.len(),
            directive: directive.map(str::to_owned),
            has_doubt: false,
        }
    }

    /// Who may write on it next, by name; nobody where it is void.
    pub(crate) fn pen(&self) -> Option<String> {
        flows::holder(self.kind, &self.state).map(|who| flows::name(who, &self.site, self.text("source")))
    }

    /// A field's text.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_text).unwrap_or_default()
    }

    /// I8: whether others have written on it since, which they may only while its pen is not at `site`. What a failed call
    /// wanted may stand; where `is_excused`, so may anything.
    fn has_moved_on(&self, document: &Document, site: &str, is_excused: bool) -> Result<bool, Violation> {
        let is_as_told = document.head == self.head && document.state == self.state;
        let is_elsewhere = self.pen().is_some_and(|pen| pen != site);
        let is_on = document.state == VOID || flows::reaches(self.kind, &self.state, &document.state);
        if is_as_told {
            let unlike = self.fields.iter().find(|(field, value)| document.fields.get(*field) != Some(*value));
            return match unlike {
                Some((field, _)) => Err(broken("I1", format!("document {}: {field} is not as told", document.id))),
                None => Ok(false),
            };
        }
        if is_excused || is_on && (is_elsewhere || self.has_doubt) {
            return Ok(is_elsewhere && !self.has_doubt);
        }
        let (told, found) = ((&self.state, self.head), (&document.state, document.head));
        let what = format!("document {}: told {told:?} with the pen here, the device shows {found:?}", document.id);
        Err(broken("I8", what))
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
        let is_one_on = next_step(&self.state).is_some_and(|Step(_, _, _, to, _)| *to == document.state)
            || document.state == VOID
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

/// The line a field stands on: `item#2` of `item#2.counted`; none for a field of the document's own.
fn line_of(field: &str) -> Option<&str> {
    field.split_once('.').map(|(line, _)| line)
}

fn kind_of(name: &str) -> &'static str {
    [ORDER, MOVEMENT, SHEET, TRANSFER, CLAIM, OLD_PART, SETTLEMENT]
        .into_iter()
        .find(|kind| *kind == name)
        .unwrap_or("survey")
}

/// The step that follows a state of a repair order.
pub(crate) fn next_step(state: &str) -> Option<&'static Step> {
    flows::of(ORDER).iter().find(|Step(from, ..)| *from == state)
}
