//! The stage: acts captured for the next commit, one after the other, each on the documents as those before it left
//! them.
//!
//! Nothing is written here. An act goes onto the stage together with all its effects, or not at all; if the commit
//! fails the stage is dropped and nothing has happened.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::document::capture::{Books, Captured, Effect, Moment, Problem, Wish, capture};
use waystation_protocol::document::fold::Writer;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::{self, header, stock_movement};
use waystation_protocol::number::Series;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;
use waystation_protocol::value::Value;

use super::At;
use super::cache::Snapshot;
use super::error::{CaptureError, StoreError};
use super::journal::Progress;
use super::numbers::Leases;
use super::overlay::{Held, Overlay, balance_key, import_key};
use super::shared::Shared;
use super::tables::{JOURNAL, Row};

/// Most entries one act may bring about. A repair order of 500 parts posts 500 movements.
const ACT_ENTRIES: usize = 4_096;

/// A captured act, durable.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Its entry.
    pub entry: EntryId,
    /// Where that stands in the journal.
    pub seq: Seq,
    /// The document as it then is.
    pub document: waystation_protocol::document::Document,
}

/// One row of someone else's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRow {
    /// The kind's name.
    pub kind: String,
    /// The outlet it belongs to.
    pub site: String,
    /// The state it goes to.
    pub state: String,
    /// Its fields.
    pub set: BTreeMap<String, Value>,
    /// What its keys are unique within; the kind's name if empty.
    pub source: String,
    /// What tells it from other rows.
    pub key: String,
    /// Which row with this key, from 1.
    pub occurrence: u32,
    /// Who imports.
    pub author: String,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It opened this document.
    Captured(DocId),
    /// It was imported before.
    Duplicate,
    /// Everything that is wrong with it.
    Refused(Vec<Problem>),
}

/// Acts waiting for their commit.
pub(super) struct Stage<'a> {
    shared: &'a Shared,
    snapshot: Snapshot,
    leases: &'a mut Leases,
    rows: Vec<StagedRow>,
    gained: Overlay,
    /// How far the journal goes once this is committed.
    progress: Progress,
}

struct StagedRow {
    seq: Seq,
    hash: Hash,
    total: u64,
    bytes: Vec<u8>,
}

/// One entry of an act, not yet on the stage.
struct Act {
    captured: Captured,
    before: Option<Arc<Held>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(shared: &'a Shared, snapshot: Snapshot, leases: &'a mut Leases, progress: Progress) -> Stage<'a> {
        Stage { shared, snapshot, leases, rows: Vec::new(), gained: Overlay::default(), progress }
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Captures a wish and its effects. `seen` is the document's head as its author saw it, where that matters.
    pub(super) fn capture(&mut self, wish: Wish, seen: Option<EntryId>, at: At) -> Result<Receipt, CaptureError> {
        if let (Some(id), Some(seen)) = (wish.document, seen)
            && self.held(id)?.is_some_and(|held| held.document.head != seen)
        {
            return Err(CaptureError::Superseded);
        }
        if let Some(problem) = reserved(&wish) {
            return Err(CaptureError::Problems(vec![problem]));
        }
        let mut acts = self.act_and_effects(wish, at)?;
        if is_planted(Plant::EffectsLeftOut) {
            acts.truncate(1);
        }
        let mut receipt = None;
        for act in acts {
            let (entry, held) = self.put(act);
            receipt.get_or_insert_with(|| Receipt {
                entry,
                seq: self.progress.head.seq,
                document: held.document.clone(),
            });
        }
        Ok(receipt.expect("an act is one entry or more"))
    }

    /// Captures a row, unless it was imported before.
    pub(super) fn import(&mut self, row: ImportRow, at: At) -> Result<ImportOutcome, CaptureError> {
        let source_key = match row.source.as_str() {
            "" => row.key,
            source if source == row.kind => row.key,
            source => format!("{source}/{}", row.key),
        };
        let occurrence = i64::from(row.occurrence.max(1));
        let key = import_key(&row.kind, &source_key, occurrence);
        let is_blind = is_planted(Plant::ImportTwice);
        if is_blind {
        } else if self.gained.imported.contains_key(&key)
            || self.shared.overlay().imported.contains_key(&key)
            || self.snapshot.is_imported(&key)?
        {
            return Ok(ImportOutcome::Duplicate);
        }
        // A document that an export wrote and its own agent reads again.
        if let Ok(id) = source_key.parse::<DocId>()
            && self.held(id)?.is_some()
        {
            return Ok(ImportOutcome::Duplicate);
        }
        let mut set = row.set;
        set.insert(header::SOURCE_KEY.name().to_owned(), Value::Text(source_key));
        if occurrence > 1 {
            set.insert(header::SOURCE_OCCURRENCE.name().to_owned(), Value::Int(occurrence));
        }
        set.insert(header::SITE.name().to_owned(), Value::Text(row.site));
        set.insert(header::STATE.name().to_owned(), Value::Text(row.state));
        let act = header::IMPORTED.to_owned();
        let wish = Wish { document: None, kind: row.kind, act, set, author: row.author, cause: None };
        match self.attempt(wish, None, at, self.progress.head.seq) {
            Ok(act) => Ok(ImportOutcome::Captured(self.put(act).1.document.id)),
            Err(CaptureError::Problems(problems)) => Ok(ImportOutcome::Refused(problems)),
            Err(error) => Err(error),
        }
    }

    /// Writes the stage's rows, and any lease they use.
    pub(super) fn write(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        let mut journal = write.open_table(JOURNAL)?;
        for staged in &self.rows {
            let row = Row { hash: staged.hash, total: staged.total, entry: &staged.bytes };
            row.put(journal.insert_reserve(staged.seq.0, row.length())?.as_mut());
        }
        drop(journal);
        self.leases.save(write)
    }

    /// The stage is durable: gives what it gained, and how far the journal now goes.
    pub(super) fn handle_committed(self) -> (Overlay, Progress) {
        self.leases.handle_saved();
        (self.gained, self.progress)
    }

    fn act_and_effects(&mut self, wish: Wish, at: At) -> Result<Vec<Act>, CaptureError> {
        let author = wish.author.clone();
        let before = wish.document.map(|id| self.held(id)).transpose()?;
        let before = match before {
            Some(None) => return Err(CaptureError::NotFound),
            found => found.flatten(),
        };
        let mut act = self.attempt(wish, before, at, self.progress.head.seq)?;
        let mut causes = VecDeque::from([(act.captured.entry.id, std::mem::take(&mut act.captured.effects))]);
        let site = act.captured.document.site.clone();
        let mut acts = vec![act];
        while let Some((cause, effects)) = causes.pop_front() {
            for effect in effects {
                if acts.len() == ACT_ENTRIES {
                    let problem = Problem::whole("此操作牵涉过多单据", "the act brings about too many others");
                    return Err(CaptureError::Problems(vec![problem]));
                }
                let (wish, before) = self.wish_of(effect, cause, &author, &site, &acts)?;
                let mut act = self.attempt(wish, before, at, self.progress.head.seq.plus(acts.len() as u64))?;
                causes.push_back((act.captured.entry.id, std::mem::take(&mut act.captured.effects)));
                acts.push(act);
            }
        }
        Ok(acts)
    }

    fn wish_of(
        &self,
        effect: Effect,
        cause: EntryId,
        author: &str,
        site: &SiteId,
        acts: &[Act],
    ) -> Result<(Wish, Option<Arc<Held>>), CaptureError> {
        let (author, cause) = (author.to_owned(), Some(cause));
        match effect {
            Effect::Open { kind, act, mut set } => {
                set.insert(header::SITE.name().to_owned(), Value::from(site.as_str()));
                Ok((Wish { document: None, kind: kind.to_owned(), act: act.to_owned(), set, author, cause }, None))
            }
            Effect::Note { document, set } => {
                let within = acts.iter().rev().find(|act| act.captured.document.id == document);
                let before = match within {
                    Some(act) => act.before_next(),
                    None => self.held(document)?.ok_or(CaptureError::NotFound)?,
                };
                let (kind, act) = (before.document.kind.clone(), header::NOTE.to_owned());
                Ok((Wish { document: Some(document), kind, act, set, author, cause }, Some(before)))
            }
        }
    }

    /// One entry, as it would stand after `up`.
    fn attempt(&mut self, mut wish: Wish, before: Option<Arc<Held>>, at: At, up: Seq) -> Result<Act, CaptureError> {
        if let (Some(held), true) = (&before, wish.kind.is_empty()) {
            wish.kind = held.document.kind.clone();
        }
        let is_numbered = before.is_none() && wish.act != header::IMPORTED;
        let series = if is_numbered { self.prepare_opening(&mut wish, at)? } else { None };
        let moment = Moment {
            id: self.shared.draw_entry(),
            now: at.now,
            mono_ms: at.mono_ms,
            boot: self.shared.boot,
            clock: self.shared.clock_code(),
        };
        let books = StageBooks { stage: self, up, failure: RefCell::new(None) };
        let document = before.as_deref().map(|held| &held.document);
        let captured = capture(document, wish, moment, Writer::Agent(&self.shared.sites), &books);
        if let Some(error) = books.failure.into_inner() {
            return Err(error.into());
        }
        let captured = captured.map_err(CaptureError::Problems)?;
        if let Some(series) = series {
            self.leases.take(&series);
        }
        Ok(Act { captured, before })
    }

    /// Gives an opening its site, where it names none, and its number.
    fn prepare_opening(&mut self, wish: &mut Wish, at: At) -> Result<Option<Series>, StoreError> {
        if let (false, Some(site)) = (wish.set.contains_key(header::SITE.name()), self.shared.sites.default_site()) {
            wish.set.insert(header::SITE.name().to_owned(), Value::from(site.as_str()));
        }
        let site = wish.set.get(header::SITE.name()).and_then(Value::as_text).and_then(|site| site.parse().ok());
        let (Some(site), Some(kind)) = (site, kind::find(&wish.kind)) else { return Ok(None) };
        let series = Series::new(kind.code, &site, self.shared.tag(), at.now.day(&self.shared.zone));
        let number = series.number(self.leases.peek(&series, &self.snapshot)?);
        wish.set.insert(header::NUMBER.name().to_owned(), Value::Text(number));
        Ok(Some(series))
    }

    /// Puts an act's entry onto the stage.
    fn put(&mut self, act: Act) -> (EntryId, Arc<Held>) {
        let Captured { entry, document, effects: _ } = act.captured;
        let bytes = entry.to_bytes();
        let progress = &mut self.progress;
        progress.head = progress.head.extend(&bytes);
        progress.head_total += bytes.len() as u64;
        progress.oldest_at = progress.oldest_at.or(Some(entry.occurred_at));
        let Mark { seq, hash } = progress.head;
        self.rows.push(StagedRow { seq, hash, total: progress.head_total, bytes });
        let newest = self.gained.documents.get(&document.id).cloned().or(act.before);
        let held = self.gained.absorb(seq, &entry, newest.as_deref(), document, &self.shared.zone);
        (entry.id, held)
    }

    /// A document as the stage leaves it.
    fn held(&self, id: DocId) -> Result<Option<Arc<Held>>, StoreError> {
        if let Some(held) = self.gained.documents.get(&id) {
            return Ok(Some(Arc::clone(held)));
        }
        if let Some(held) = self.shared.overlay().documents.get(&id) {
            return Ok(Some(Arc::clone(held)));
        }
        Ok(self.snapshot.held(id)?.map(Arc::new))
    }

    fn on_hand_milli(&self, item: &str, location: &str) -> Result<i64, StoreError> {
        let key = balance_key(stock_movement::STOCK.name, &[item, location]);
        let staged = self.gained.balances.get(&key).copied().unwrap_or(0);
        let recent = self.shared.overlay().balances.get(&key).copied().unwrap_or(0);
        Ok(self.snapshot.balance(&key)?.saturating_add(recent).saturating_add(staged))
    }
}

impl Act {
    /// What a later entry of the same act finds: the document as this one leaves it.
    fn before_next(&self) -> Arc<Held> {
        let document = self.captured.document.clone();
        let held = self.before.as_deref();
        Arc::new(Held {
            document,
            seqs: held.map_or_else(Vec::new, |held| held.seqs.clone()),
            listed: held.and_then(|held| held.listed.clone()),
        })
    }
}

/// What nobody may wish for: a number, and the act that skips the checks.
fn reserved(wish: &Wish) -> Option<Problem> {
    if wish.act == header::IMPORTED {
        return Some(Problem::at("act", "导入须通过导入功能", "only an import imports"));
    }
    let is_numbered = wish.set.contains_key(header::NUMBER.name());
    is_numbered.then(|| Problem::at(header::NUMBER.name(), "单号由系统编制", "the store gives numbers"))
}

/// The stage as a kind's `fill` sees it. A failed read is kept for after the capture.
struct StageBooks<'a, 'b> {
    stage: &'a Stage<'b>,
    up: Seq,
    failure: RefCell<Option<StoreError>>,
}

impl Books for StageBooks<'_, '_> {
    fn on_hand_milli(&self, item: &str, location: &str) -> i64 {
        self.stage.on_hand_milli(item, location).unwrap_or_else(|error| {
            self.failure.replace(Some(error));
            0
        })
    }

    fn positions(&self) -> (u64, u64) {
        (self.up.0, 0)
    }
}
