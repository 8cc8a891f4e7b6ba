//! The last judgement: everything the hub holds when the faults have ended, against what clerks were told and what the
//! devices show.

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;
use rusqlite::Connection;
use waystation_protocol::document::Document;
use waystation_protocol::id::{DocId, EntryId};

use super::balances;
use super::books::{Books, Id, Kept};
use super::effects::{self, Moved};
use super::named::Named;
use super::papers::{Act, Paper};
use super::promises::{self, Circumstances};
use crate::desk::Confirmed;
use crate::device::Device;
use crate::flows::{self, VOID};
use crate::people::People;
use crate::violation::{Violation, broken};

/// A kind of entries that stand on no document.
const CLOCK_STEP: &str = "clock_step";

/// What the applied entries come to.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// Every document.
    pub(super) papers: BTreeMap<Id, Paper>,
    /// What acts must have moved.
    pub(super) moved: Vec<Moved>,
}

/// Reads everything and judges it. `is_shared`: two devices stand at one site.
pub(crate) fn check(
    books: &Connection,
    devices: &[&Device],
    people: &People,
    strangers: &[Id],
    given: Circumstances,
    is_shared: bool,
) -> Result<(), Violation> {
    let mut found = Books::read(books, devices, strangers)?;
    (found.has_branches, found.is_shared, found.has_restores) = (given.has_branches, is_shared, given.has_restores);
    found.written = devices.iter().flat_map(|device| device.written.keys().copied()).collect();
    let have_deleted = devices.iter().filter(|device| promises::has_deleted(device));
    found.have_deleted = have_deleted.map(|device| device.index).collect();
    found.named = Named::read(books, devices)?;
    // what a restore lost, a disk put back or a damaged file may have lost too
    found.named.has_lost_told |= given.has_restores && given.has_branches;
    let folded = found.each_once()?;
    found.nothing_lost(devices)?;
    promises::decisions(people, devices, (&found.applied(), &found.waiting_entries()), given)?;
    promises::words(books, people, devices, &found.applied(), given)?;
    promises::receipts(books)?;
    found.nothing_aside()?;
    found.as_folded(&folded.papers)?;
    effects::ledgers(books, &folded.papers)?;
    effects::quantities_fall(&folded.papers)?;
    let waiting = found.waiting();
    // which decisions a lost range of what was told held, nobody knows
    let is_lost =
        |document: &Id| found.named.has_lost_told || waiting.contains(document) || found.named.has_lost_of(document);
    balances::judge(&folded.papers, &is_lost)?;
    found.effects(&folded)?;
    devices.iter().try_for_each(|device| found.same_at(device, &folded.papers))
}

impl Books {
    /// I2 and I8: no entry made two documents or one twice, each document is a chain of state entries, and whatever is
    /// stored was applied or is visibly set aside.
    fn each_once(&self) -> Result<Folded, Violation> {
        let (mut applied, mut folded) = (BTreeSet::new(), Folded::default());
        for (id, (_, records)) in &self.documents {
            let mut paper = Paper::default();
            for (entry, stream, seq) in records {
                let act = self.raw.get(&(*stream, *seq)).and_then(|bytes| Act::read(bytes));
                let act = act.filter(|act| act.id == *entry && act.document == *id);
                let act =
                    act.ok_or_else(|| broken("I3", format!("an applied entry is not at its place {stream}/{seq}")))?;
                let act = match self.fixes.get(&(*id, act.id)) {
                    Some(fix) => act.amended(fix),
                    None => act,
                };
                if !applied.insert(act.id) {
                    return Err(broken("I2", format!("entry {stream}/{seq} was applied twice")));
                }
                let head = (!act.is_opening).then_some(paper.head);
                if act.is_state_entry() && act.after != head {
                    return Err(broken("I8", format!("entry {stream}/{seq} does not follow its document's head")));
                }
                self.judge_step(&paper, &act, *stream)?;
                let from = paper.state.clone();
                paper.fold(&act);
                folded.moved.extend(effects::moved(&from, &paper, &act));
            }
            folded.papers.insert(*id, paper);
        }
        // the same bytes may stand in several branches: once is enough
        let aside = self.aside.keys().chain(&self.resolved);
        let aside: BTreeSet<&Vec<u8>> = aside.filter_map(|place| self.raw.get(place)).collect();
        for (place, bytes) in &self.raw {
            let is_taken = |act: Act| {
                let is_event = act.is_opening && act.kind == CLOCK_STEP;
                is_event || applied.contains(&act.id) || self.is_word(&act)
            };
            let is_applied = Act::read(bytes).is_some_and(is_taken);
            let is_awaited = self.strangers.contains(&place.0);
            if !is_applied && !aside.contains(bytes) && !is_awaited {
                return Err(broken("I1", format!("entry {place:?} is stored, and neither applied nor set aside")));
            }
        }
        Ok(folded)
    }

    /// I8: a step that counts was due, and who took it held the pen.
    fn judge_step(&self, paper: &Paper, act: &Act, stream: i64) -> Result<(), Violation> {
        if !act.is_state_entry() || act.act == "imported" {
            return Ok(());
        }
        let (kind, state) = if act.is_opening { (&act.kind, "") } else { (&paper.kind, paper.state.as_str()) };
        let is_due = flows::step(kind, state, &act.act).is_some() || act.act == VOID && ![VOID, ""].contains(&state);
        if !is_due {
            return Err(broken("I8", format!("{} of a {kind} in state '{state}' counts", act.act)));
        }
        let writer = self.owners.get(&stream).filter(|_| !self.returned.contains(&stream) && !act.is_opening);
        match writer {
            Some(writer) if *writer != paper.pen => {
                let what = format!("{writer} takes {} of a {kind} whose pen '{}' holds", act.act, paper.pen);
                Err(broken("I8", what))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// I1: every confirmed act arrived, or was deleted at its device and lies within a named lost range.
    fn nothing_lost(&self, devices: &[&Device]) -> Result<(), Violation> {
        let ids: BTreeSet<Id> = self.raw.values().filter_map(|bytes| Act::read(bytes)).map(|act| act.id).collect();
        for device in devices {
            let is_missing = |confirmed: &&Confirmed| {
                !ids.contains(confirmed.entry.as_bytes()) && !self.named.is_lost(confirmed.entry.as_bytes())
            };
            if let Some(confirmed) = device.confirmed.iter().find(is_missing) {
                return Err(broken("I1", format!("entry {} was confirmed and never arrived", confirmed.entry)));
            }
        }
        Ok(())
    }

    /// I9: legal acts are not set aside.
    fn nothing_aside(&self) -> Result<(), Violation> {
        if !self.has_branches && self.journals.iter().any(|count| *count > 1) {
            return Err(broken("I3", "a journal was forked although no disk was put back or copied"));
        }
        let contested = if self.has_branches || self.is_shared { self.contested() } else { BTreeSet::new() };
        let waiting = self.waiting();
        for (place, code) in self.aside.iter().filter(|((stream, _), _)| !self.strangers.contains(stream)) {
            let act = self.raw.get(place).and_then(|bytes| Act::read(bytes));
            let is_branch = self.has_branches && self.branches.contains(&place.0);
            // what follows an entry that is named lost waits for it, visibly
            let is_parked = matches!(code.as_str(), "ahead" | "behind" | "cause");
            let is_excused = |act: Act| {
                // a late copy from a range that is named lost, by itself, proves nothing, and waits beside its journal
                let is_unproven = code == "branch" && self.named.is_lost(&act.id);
                contested.contains(&act.document) || is_parked && waiting.contains(&act.document) || is_unproven
            };
            if !is_branch && !act.is_some_and(is_excused) {
                return Err(broken("I9", format!("a legal entry is set aside: {place:?}: {code}")));
            }
        }
        Ok(())
    }

    /// Documents that wait, visibly, for an entry that is named lost.
    fn waiting(&self) -> BTreeSet<Id> {
        // a copy beside its journal that proves nothing is not that entry
        let stored = self.raw.iter().filter(|((stream, _), _)| !self.branches.contains(stream));
        let mut arrived: BTreeSet<Id> = stored.filter_map(|(_, bytes)| Act::read(bytes)).map(|act| act.id).collect();
        arrived.extend(self.applied());
        let aside = self.aside.keys().filter_map(|place| Act::read(self.raw.get(place)?)).collect::<Vec<_>>();
        self.named.waiting(&arrived, &aside)
    }

    /// Entries set aside whose documents wait so.
    fn waiting_entries(&self) -> BTreeSet<Id> {
        let waiting = self.waiting();
        let acts = self.aside.keys().filter_map(|place| Act::read(self.raw.get(place)?));
        acts.filter(|act| waiting.contains(&act.document)).map(|act| act.id).collect()
    }

    /// Documents on which two branches of one party's acted, and those that came of such acts.
    fn contested(&self) -> BTreeSet<Id> {
        let acts: Vec<(i64, Act)> =
            self.raw.iter().filter_map(|((stream, _), bytes)| Some((*stream, Act::read(bytes)?))).collect();
        let mut streams: BTreeMap<(Id, Option<&String>), BTreeSet<i64>> = BTreeMap::new();
        for (stream, act) in acts.iter().filter(|(stream, _)| !self.returned.contains(stream)) {
            streams.entry((act.document, self.owners.get(stream))).or_default().insert(*stream);
        }
        // what an outlet did may stand only where the other, who was told of it, brought it back
        let at_home: BTreeSet<Id> =
            acts.iter().filter(|(stream, _)| !self.returned.contains(stream)).map(|(_, act)| act.id).collect();
        for (stream, act) in acts.iter().filter(|(_, act)| self.written.contains(&act.id) && !at_home.contains(&act.id))
        {
            let of_document = streams.iter_mut().filter(|((document, _), _)| *document == act.document);
            of_document.for_each(|(_, streams)| {
                streams.insert(*stream);
            });
        }
        let several = streams.into_iter().filter(|(_, streams)| streams.len() > 1);
        let mut contested: BTreeSet<Id> = several.map(|((document, _), _)| document).collect();
        let on: BTreeSet<Id> =
            acts.iter().filter(|(_, act)| contested.contains(&act.document)).map(|(_, act)| act.id).collect();
        let caused = acts.iter().filter(|(_, act)| act.cause.is_some_and(|cause| on.contains(&cause)));
        contested.extend(caused.map(|(_, act)| act.document));
        contested
    }

    /// The hub's documents are what their entries fold to, and no printed number stands on two.
    fn as_folded(&self, papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
        let mut numbers = BTreeSet::new();
        for (id, paper) in papers {
            if let Some(difference) = paper.differs(&self.documents[id].0) {
                return Err(broken("I4", format!("a document of the hub is not what its entries say: {difference}")));
            }
            let number = paper.text("number");
            if !number.is_empty() && !numbers.insert(number.clone()) && !self.has_branches {
                return Err(broken("numbers", format!("{number} was given twice")));
            }
        }
        Ok(())
    }

    /// Whether a device may show a document otherwise than the hub: a branch it does not hold acted on it.
    fn may_differ(&self, document: &Id, own: &BTreeSet<Id>, contested: &BTreeSet<Id>) -> bool {
        let is_beyond = |(_, records): &Kept| records.iter().any(|(id, ..)| !own.contains(id));
        self.has_branches && (contested.contains(document) || self.documents.get(document).is_some_and(is_beyond))
    }

    /// What the hub refused has left its document at the device, which was told so.
    fn refused_is_gone(&self, device: &Device, shown: &BTreeMap<DocId, Document>) -> Result<(), Violation> {
        // one of two clones is told at a time
        if device.desk.has_twin {
            return Ok(());
        }
        let applied = self.applied();
        let is_refused = |code: &str| !matches!(code, "ahead" | "behind" | "cause");
        let refused = self.aside.iter().filter(|(_, code)| is_refused(code));
        let refused: BTreeSet<Id> = refused
            .filter_map(|(place, _)| Act::read(self.raw.get(place)?))
            .filter(|act| act.is_state_entry() && !applied.contains(&act.id))
            // its device has deleted it, and only what came of it is left
            .filter(|act| !self.named.is_lost(&act.id))
            .map(|act| act.id)
            .collect();
        match shown.values().find(|document| refused.contains(document.head.as_bytes())) {
            Some(document) => Err(broken(
                "I4",
                format!("document {} of device {} stands on a refused entry", document.id, device.index),
            )),
            None => Ok(()),
        }
    }

    /// I4: a device shows its documents as the hub does.
    fn same_at(&self, device: &Device, papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
        let shown = device.shown().map_err(|error| broken("I7", format!("a device cannot be read: {error}")))?;
        let (own, contested) = match self.has_branches {
            true => (super::journal::ids(device)?, self.contested()),
            false => Default::default(),
        };
        let waiting = self.waiting();
        let arrived: BTreeSet<Id> = self.raw.values().filter_map(|bytes| Act::read(bytes)).map(|act| act.id).collect();
        // What the hub told, then forgot by a restore, its agent brings back unless the hub had let it delete that (R-OLDER-3,
        // R-PRUNE-2): after the retention period, where no backup covered it. Nobody has it then but as the document it came to.
        let is_forgotten = |document: &Document| {
            // one of two copies of a disk is connected at a time: what the hub told the other, it may not know any more
            let may_be_gone = self.has_restores && (device.is_away || self.have_deleted.contains(&device.index));
            let is_known =
                |entry: &EntryId| arrived.contains(entry.as_bytes()) || self.written.contains(entry.as_bytes());
            may_be_gone && !document.notes.keys().chain([&document.head]).all(is_known)
        };
        for (id, document) in &shown {
            let here = Value::serialized(document).map_err(|error| broken("harness", error.to_string()))?;
            let theirs = self.documents.get(id.as_bytes()).map(|(body, _)| body);
            // what was deleted here and lost at the hub is in a named range there; what came of it waits
            let is_named = self.named.has_lost_of(id.as_bytes())
                || waiting.contains(id.as_bytes())
                || device.undocumented.contains(id.as_bytes())
                || is_forgotten(document);
            if theirs != Some(&here) && !is_named && !self.may_differ(id.as_bytes(), &own, &contested) {
                let what = if theirs.is_some() { "differs at" } else { "is missing at" };
                return Err(broken("I4", format!("document {id} of device {} {what} the hub", device.index)));
            }
        }
        self.refused_is_gone(device, &shown)?;
        let is_told = |paper: &Paper| paper.site == device.site || paper.holders.contains(&device.site);
        let is_missing = |id: &&Id| !shown.contains_key(&DocId::from_bytes(**id));
        let told = papers.iter().filter(|(_, paper)| is_told(paper)).map(|(id, _)| id);
        if let (Some(id), false) = (told.into_iter().find(is_missing), self.has_branches) {
            let (id, kind) = (DocId::from_bytes(*id), &papers[id].kind);
            return Err(broken("I4", format!("device {} lacks {id}, a {kind} of which it is told", device.index)));
        }
        Ok(())
    }
}
