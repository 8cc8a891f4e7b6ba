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
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::{Captured, Effect, Moment, Problem, Wish, capture};
use waystation_protocol::document::fold::Writer;
use waystation_protocol::down::Stamp;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::{self, header};
use waystation_protocol::number::Series;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;
use waystation_protocol::value::Value;

use super::At;
use super::books::StageBooks;
use super::cache::{self, Snapshot};
use super::down::{self, DownState, DownStream};
use super::error::{CaptureError, StoreError};
use super::ground::Ground;
use super::hearing::{AGENT_AUTHOR, Heard};
use super::held::Held;
use super::journal::Progress;
use super::numbers::Leases;
use super::overlay::{ImportKey, Overlay, import_key};
use super::sealed;
use super::settle::{Known, Origin};
use super::shared::Shared;
use super::tables::{JOURNAL, Row};
use super::timepiece::{Reading, Timepiece};
use super::told;

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
    pub document: Document,
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
    pub(super) shared: &'a Shared,
    pub(super) snapshot: Snapshot,
    leases: &'a mut Leases,
    rows: Vec<StagedRow>,
    pub(super) gained: Overlay,
    /// How far the journal goes once this is committed.
    progress: Progress,
    /// The downward journal as it is before.
    pub(super) down: DownState,
    pub(super) heard: Heard,
    /// The clock as it is before.
    timepiece: Timepiece,
    /// A reading whose step is on the stage.
    clock_read: Option<At>,
}

/// What a durable stage leaves behind.
pub(super) struct Committed {
    pub(super) gained: Overlay,
    pub(super) progress: Progress,
    /// The downward journal, where it grew.
    pub(super) down: Option<DownStream>,
    pub(super) is_rehydrated: bool,
    pub(super) disowns_cache: bool,
    /// A reading whose step is in the journal.
    pub(super) clock_read: Option<At>,
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
        let (rows, gained, heard) = (Vec::new(), Overlay::default(), Heard::default());
        let (down, timepiece) = (shared.down().clone(), *shared.timepiece());
        Stage { shared, snapshot, leases, rows, gained, progress, down, heard, timepiece, clock_read: None }
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.heard.rows.is_empty()
    }

    /// Captures a wish and its effects. `seen` is the document's head as its author saw it, where that matters.
    pub(super) fn capture(&mut self, wish: Wish, seen: Option<EntryId>, at: At) -> Result<Receipt, CaptureError> {
        if let (Some(id), Some(seen)) = (wish.document, seen)
            && let Some(held) = self.held(id)?
            && held.document.as_ref().is_none_or(|document| document.head != seen)
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
            let (entry, document) = self.put(act)?;
            receipt.get_or_insert(Receipt { entry, seq: self.progress.head.seq, document });
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
        if !is_planted(Plant::ImportTwice) && self.is_imported(&key)? {
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
            Ok(act) => Ok(ImportOutcome::Captured(self.put(act)?.1.id)),
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
        if let (Some(current), false) = (self.down.current, self.heard.rows.is_empty()) {
            down::append(write, current, &self.heard.rows)?;
        }
        for told in self.heard.told.values() {
            told::put(write, told)?;
        }
        if self.heard.is_rehydrated {
            down::put_waits(write, None)?;
            sealed::seal(write)?;
        }
        if self.heard.disowns_cache {
            cache::disown(write)?;
        }
        self.leases.save(write)
    }

    /// The stage is durable: gives what it gained, and how far the journals now go.
    pub(super) fn handle_committed(self) -> Committed {
        self.leases.handle_saved();
        let Heard { rows, is_rehydrated, disowns_cache, .. } = self.heard;
        let down = self.down.current.map(|current| current.after(&rows));
        Committed {
            gained: self.gained,
            progress: self.progress,
            down,
            is_rehydrated,
            disowns_cache,
            clock_read: self.clock_read,
        }
    }

    fn is_imported(&self, key: &ImportKey) -> Result<bool, StoreError> {
        let recent = || self.shared.overlay().imported.get(key).copied();
        match self.gained.imported.get(key).copied().or_else(recent) {
            Some(document) => Ok(document.is_some()),
            None => self.snapshot.is_imported(key),
        }
    }

    fn act_and_effects(&mut self, wish: Wish, at: At) -> Result<Vec<Act>, CaptureError> {
        let author = wish.author.clone();
        let before = wish.document.map(|id| self.held(id)).transpose()?;
        let before = match before {
            Some(None) => return Err(CaptureError::NotFound),
            found => found.flatten(),
        };
        if let Some(held) = before.as_deref() {
            self.check_free(held, &wish.act)?;
        }
        let mut act = self.attempt(wish, before, at, self.progress.head.seq)?;
        let mut causes = VecDeque::from([(act.captured.entry.id, std::mem::take(&mut act.captured.effects))]);
        let site = act.captured.document.site.clone();
        let mut acts = vec![act];
        while let Some((cause, mut effects)) = causes.pop_front() {
            if is_planted(Plant::EffectsTwice) {
                effects.extend(effects.clone());
            }
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
                set.entry(header::SITE.name().to_owned()).or_insert_with(|| Value::from(site.as_str()));
                Ok((Wish { document: None, kind: kind.to_owned(), act: act.to_owned(), set, author, cause }, None))
            }
            Effect::Note { document, set } => {
                let within = acts.iter().rev().find(|act| act.captured.document.id == document);
                let before = match within {
                    Some(act) => act.before_next(),
                    None => self.held(document)?.ok_or(CaptureError::NotFound)?,
                };
                let kind = before.document.as_ref().ok_or(CaptureError::NotFound)?.kind.clone();
                let act = header::NOTE.to_owned();
                Ok((Wish { document: Some(document), kind, act, set, author, cause }, Some(before)))
            }
        }
    }

    /// A reading as it is captured: never below the floor.
    pub(super) fn read_clock(&self, at: At) -> Reading {
        self.timepiece.read(at)
    }

    /// Puts the step that a reading shows into the journal; false where it shows none any more.
    pub(super) fn note_step(&mut self, at: At) -> bool {
        let Some(step) = self.timepiece.step(at) else { return false };
        self.timepiece.handle_read(at);
        self.clock_read = Some(at);
        tracing::warn!(by_ms = step.by_ms, offset_ms = step.offset_ms, "the clock made a step");
        let Reading { at, clock } = self.read_clock(at);
        let mut entry = step.entry(Stamp { id: self.shared.draw_entry(), now: at.now });
        entry.author = AGENT_AUTHOR.to_owned();
        (entry.mono_ms, entry.boot, entry.clock) = (at.mono_ms, self.shared.boot, clock);
        self.push_row(&entry);
        self.gained.entries += 1;
        true
    }

    /// One entry, as it would stand after `up`.
    fn attempt(&mut self, mut wish: Wish, before: Option<Arc<Held>>, at: At, up: Seq) -> Result<Act, CaptureError> {
        let Reading { at, clock } = self.read_clock(at);
        let document = before.as_deref().and_then(|held| held.document.as_ref());
        if let (Some(document), true) = (document, wish.kind.is_empty()) {
            wish.kind = document.kind.clone();
        }
        let is_numbered = before.is_none() && wish.act != header::IMPORTED;
        let series = if is_numbered { self.prepare_opening(&mut wish, at)? } else { None };
        let moment =
            Moment { id: self.shared.draw_entry(), now: at.now, mono_ms: at.mono_ms, boot: self.shared.boot, clock };
        let site = document.map(|document| document.site.clone()).or_else(|| named_site(&wish));
        let books = StageBooks { stage: self, site, up, failure: RefCell::new(None) };
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
        let (Some(site), Some(kind)) = (named_site(wish), kind::find(&wish.kind)) else { return Ok(None) };
        let series = Series::new(kind.code, &site, self.shared.tag(), at.now.day(&self.shared.zone));
        let number = series.number(self.leases.peek(&series, &self.snapshot)?);
        wish.set.insert(header::NUMBER.name().to_owned(), Value::Text(number));
        Ok(Some(series))
    }

    /// Puts an act's entry onto the stage.
    fn put(&mut self, act: Act) -> Result<(EntryId, Document), StoreError> {
        let Captured { entry, document, effects: _ } = act.captured;
        let seq = self.push_row(&entry);
        self.gained.entries += 1;
        let known = Known { origin: Origin::Own(seq), entry };
        self.folding(|ground, gained| ground.take_in(gained, &known, Some(&document)))?;
        Ok((known.entry.id, document))
    }

    /// Puts an entry into the journal.
    pub(super) fn push_row(&mut self, entry: &Entry) -> Seq {
        let bytes = entry.to_bytes();
        let progress = &mut self.progress;
        progress.head = progress.head.extend(&bytes);
        progress.head_total += bytes.len() as u64;
        progress.oldest_at = progress.oldest_at.or(Some(entry.occurred_at));
        let Mark { seq, hash } = progress.head;
        self.rows.push(StagedRow { seq, hash, total: progress.head_total, bytes });
        seq
    }

    /// An entry by its place, those on the stage included.
    pub(super) fn entry_at(&self, origin: Origin) -> Result<Option<Entry>, StoreError> {
        let staged = match origin {
            Origin::Own(seq) => {
                let first = self.rows.first().map(|row| row.seq);
                place(first, seq).and_then(|at| self.rows.get(at)).map(|row| row.bytes.as_slice())
            }
            Origin::Down(seq) => {
                let first = self.heard.rows.first().map(|(mark, _)| mark.seq);
                place(first, seq).and_then(|at| self.heard.rows.get(at)).map(|(_, bytes)| bytes.as_slice())
            }
        };
        match staged {
            Some(bytes) => Ok(Entry::from_bytes(bytes).ok()),
            None => self.snapshot.entry(origin),
        }
    }

    /// Folds onto what the stage gained.
    pub(super) fn folding<T>(
        &mut self,
        fold: impl FnOnce(&Ground<'_>, &mut Overlay) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut gained = std::mem::take(&mut self.gained);
        let ground = Ground {
            zone: &self.shared.zone,
            own_pruned: self.progress.pruned.mark.seq,
            decided: self.progress.decided(),
            stream: self.down.stream(),
            down_pruned: self.down.pruned(),
            is_own: &|stream, seq| self.shared.is_own(stream, seq),
            entry_at: &|origin| self.entry_at(origin),
            below: &|id| self.held(id),
        };
        let folded = fold(&ground, &mut gained);
        self.gained = gained;
        folded
    }

    /// Refuses what the hub would only set aside. Notes follow nothing and wait for nothing.
    fn check_free(&self, held: &Held, act: &str) -> Result<(), CaptureError> {
        let is_waiting = || self.down.waits.is_some_and(|waits| held.is_older_than(waits.at));
        let problem = match held.aside().iter().find(|aside| aside.is_in_the_way()) {
            _ if act == header::NOTE && held.document.is_some() => return Ok(()),
            Some(aside) => aside.hindrance(),
            None if is_waiting() => Problem::whole(
                "本机数据来自较旧的副本，须等中心送来此单据的最新内容",
                "this store went on from an older copy and waits for the hub's copy of the document",
            ),
            None if held.document.is_none() => return Err(CaptureError::NotFound),
            None => return Ok(()),
        };
        Err(CaptureError::Problems(vec![problem]))
    }

    /// A document as the stage leaves it.
    pub(super) fn held(&self, id: DocId) -> Result<Option<Arc<Held>>, StoreError> {
        if let Some(held) = self.gained.documents.get(&id) {
            return Ok(Some(Arc::clone(held)));
        }
        if let Some(held) = self.shared.overlay().documents.get(&id) {
            return Ok(Some(Arc::clone(held)));
        }
        Ok(self.snapshot.held(id)?.map(Arc::new))
    }
}

impl Act {
    /// What a later entry of the same act finds: the document as this one leaves it.
    fn before_next(&self) -> Arc<Held> {
        let document = Some(self.captured.document.clone());
        let held = self.before.as_deref().cloned().unwrap_or_else(|| Held::empty(self.captured.document.id));
        Arc::new(Held { document, ..held })
    }
}

/// Where `seq` stands among rows that begin at `first`.
fn place(first: Option<Seq>, seq: Seq) -> Option<usize> {
    usize::try_from(seq.0.checked_sub(first?.0)?).ok()
}

/// The site that an opening names.
fn named_site(wish: &Wish) -> Option<SiteId> {
    wish.set.get(header::SITE.name()).and_then(Value::as_text).and_then(|site| site.parse().ok())
}

/// What nobody may wish for: a number, and the act that skips the checks.
fn reserved(wish: &Wish) -> Option<Problem> {
    if wish.act == header::IMPORTED {
        return Some(Problem::at("act", "导入须通过导入功能", "only an import imports"));
    }
    let is_numbered = wish.set.contains_key(header::NUMBER.name());
    is_numbered.then(|| Problem::at(header::NUMBER.name(), "单号由系统编制", "the store gives numbers"))
}
