//! An outlet's device: a disk, the agent's store on it, and a clerk.
//!
//! The store is the product's, without its thread. Whatever fails is either expected of the fault under way or a
//! violation; after each opening the clerk's list is compared with what the store shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use waystation_agent::store::{At, CaptureError, Filter, ImportOutcome, OpenOptions, Store, StoreError};
use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Seq, SeqRange};
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::site::Sites;
use waystation_protocol::time::{self, Timestamp};
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::desk::{Confirmed, Desk};
use crate::disk::Disk;
use crate::hub::prepare;
use crate::oracle::journal;
use crate::oracle::papers::Act;
use crate::violation::{Violation, broken};
use crate::wishes::Task;

/// A device.
pub(crate) struct Device {
    /// Its place among the devices of a run.
    pub index: usize,
    /// Its disk.
    pub disk: Disk,
    /// Its store, while the agent runs.
    pub store: Option<Store>,
    /// Its clerk's list.
    pub desk: Desk,
    /// Every act confirmed here since the beginning, on whatever disk.
    pub confirmed: Vec<Confirmed>,
    /// Every entry written here since the beginning, on whatever disk.
    pub written: BTreeMap<[u8; 16], Written>,
    /// Entries that a salvage named as unreadable.
    pub gone: BTreeSet<[u8; 16]>,
    /// Documents of deleted entries that could not be read from a damaged file, as its salvage said: the hub alone has them whole.
    pub undocumented: BTreeSet<[u8; 16]>,
    /// Whether its clock has jumped since it connected.
    pub has_jumped: bool,
    /// The site it stands for.
    pub site: String,
    /// Whether its disk was put back: what it wrote last may not be on it.
    pub(crate) was_put_back: bool,
    /// Whether it has ever deleted something of a downward journal.
    pub(crate) has_deleted: bool,
    /// Whether it is not connected when all is judged, as one of two copies is.
    pub(crate) is_away: bool,
    folder: PathBuf,
    starts: u32,
    chance: Chance,
}

/// Every document that a store shows, and those of them of which an entry is set aside.
type Shown = (BTreeMap<DocId, Document>, BTreeSet<DocId>);

/// Where an entry was written, and what on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// The journal it was written to.
    pub stream: [u8; 16],
    /// Its place there.
    pub seq: u64,
    /// Its document.
    pub document: [u8; 16],
    /// The act whose effect it is.
    pub cause: Option<[u8; 16]>,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It stands.
    Confirmed,
    /// There was nothing to do.
    Nothing,
    /// The disk was full, or failed, or the power went.
    Failed,
}

impl Device {
    /// A device whose store's folder is `folder`, which is emptied.
    pub(crate) fn new(
        index: usize,
        site: &str,
        folder: &Path,
        disk: Disk,
        chance: Chance,
    ) -> Result<Device, Violation> {
        // the store, what was kept aside and what stands beside it: none of an earlier run's is this one's
        prepare(folder)?;
        Ok(Device {
            index,
            disk,
            store: None,
            desk: Desk::at(site),
            confirmed: Vec::new(),
            written: BTreeMap::new(),
            gone: BTreeSet::new(),
            undocumented: BTreeSet::new(),
            has_jumped: false,
            was_put_back: false,
            has_deleted: false,
            is_away: false,
            site: site.to_owned(),
            folder: folder.to_owned(),
            starts: 0,
            chance,
        })
    }

    /// A device that finds a store on its disk.
    pub(crate) fn with_store(
        index: usize,
        site: &str,
        folder: &Path,
        disk: Disk,
        chance: Chance,
    ) -> Result<Device, Violation> {
        let device = Device::new(index, site, folder, disk, chance)?;
        let made = std::fs::write(folder.join("store.redb"), b"");
        made.map_err(|error| broken("harness", format!("cannot write {}: {error}", folder.display())))?;
        Ok(device)
    }

    /// Starts the agent's store, and compares.
    ///
    /// # Errors
    ///
    /// What the clerk was told is not there. `Ok(false)` where the disk failed meanwhile.
    pub(crate) fn start(&mut self) -> Result<bool, Violation> {
        self.starts += 1;
        let options = self.options();
        match Store::open_in_place(&self.folder, options, self.disk.opener()) {
            Ok(store) => {
                // those above reached the disk, or did not
                self.desk.marks.retain(|seq, _| *seq <= store.pruned().0);
                self.store = Some(store);
            }
            Err(error) if self.is_to_be_expected(&error) => return Ok(false),
            Err(error) => return Err(broken("I1", format!("the store does not open: {}", describe(&error)))),
        }
        self.compare()
    }

    /// Compares the clerk's list with what the store shows. `Ok(false)` where the disk failed meanwhile.
    pub(crate) fn compare(&mut self) -> Result<bool, Violation> {
        let read = self.read();
        self.take_in(read)
    }

    /// The same, where the store can be looked at: one that is off, or closed itself, shows nothing until it is opened anew.
    fn look(&mut self) -> Result<bool, Violation> {
        match self.read() {
            Err(StoreError::Closed) => Ok(false),
            read => self.take_in(read),
        }
    }

    fn read(&self) -> Result<Shown, StoreError> {
        self.shown().and_then(|shown| Ok((shown, self.set_aside()?)))
    }

    fn take_in(&mut self, read: Result<Shown, StoreError>) -> Result<bool, Violation> {
        match read {
            Ok((shown, aside)) => self.desk.compare(&shown, &aside).map(|()| true),
            Err(error) if self.is_to_be_expected(&error) => Ok(false),
            Err(error) => Err(broken("I7", format!("the store cannot be read: {}", describe(&error)))),
        }
    }

    /// Documents of the clerk's list of which the store shows that an entry is set aside.
    fn set_aside(&self) -> Result<BTreeSet<DocId>, StoreError> {
        let Some(store) = &self.store else { return Err(StoreError::Closed) };
        let mut aside = BTreeSet::new();
        for (id, _) in self.desk.papers() {
            if !store.set_aside(*id)?.is_empty() {
                aside.insert(*id);
            }
        }
        Ok(aside)
    }

    /// Every document the store shows.
    pub(crate) fn shown(&self) -> Result<BTreeMap<DocId, Document>, StoreError> {
        let Some(store) = &self.store else { return Err(StoreError::Closed) };
        let mut filter = Filter { limit: 500, ..Filter::default() };
        let mut shown = BTreeMap::new();
        loop {
            let page = store.documents(&filter)?;
            shown.extend(page.items.into_iter().map(|document| (document.id, document)));
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => return Ok(shown),
            }
        }
    }

    /// The clerk does something at `at`. What others write on too is looked at first.
    pub(crate) fn work(&mut self, task: Task, at: At, chance: &mut Chance) -> Result<Done, Violation> {
        if task.is_shared() && !self.look()? {
            return Ok(Done::Nothing);
        }
        if task == Task::Wrong {
            return self.try_wrong(at, chance);
        }
        let Some(store) = &self.store else { return Ok(Done::Nothing) };
        let Some(wish) = self.desk.wish(task, at.now.0, chance) else { return Ok(Done::Nothing) };
        let stock = if wish.act == "count" { self.stock() } else { None };
        match store.capture(wish.clone(), at) {
            Ok(receipt) => {
                if let Some(stock) = stock {
                    judge_expected(&wish, &receipt.document, &stock)?;
                }
                self.confirmed.push(self.desk.note_confirmed(&wish, &receipt)?);
                Ok(Done::Confirmed)
            }
            Err(CaptureError::DiskFull | CaptureError::Failed(_)) => {
                self.desk.note_doubt(wish.document);
                Ok(Done::Failed)
            }
            // what another device did has come down, or is waited for; or the clerk is told that an entry is set aside
            Err(CaptureError::Problems(_) | CaptureError::Superseded)
                if self.desk.has_twin || wish.document.is_some_and(|id| self.has_aside(id)) =>
            {
                self.compare()?;
                Ok(Done::Nothing)
            }
            // after a failed call the clerk's list may be behind
            Err(_) if self.is_in_doubt(wish.document) => Ok(Done::Nothing),
            Err(error) => Err(broken("I9", format!("a legal act is refused: {task:?}: {error}"))),
        }
    }

    /// The clerk tries what nobody here may do.
    fn try_wrong(&mut self, at: At, chance: &mut Chance) -> Result<Done, Violation> {
        let wish = self.desk.wish(Task::Wrong, at.now.0, chance);
        let (Some(store), Some(wish)) = (&self.store, wish) else { return Ok(Done::Nothing) };
        let act = wish.act.clone();
        match store.capture(wish, at) {
            Ok(_) => Err(broken("I8", format!("nobody here may {act}, and somebody does"))),
            Err(CaptureError::DiskFull | CaptureError::Failed(_)) => Ok(Done::Failed),
            Err(_) => Ok(Done::Nothing),
        }
    }

    /// The clerk imports some rows in one commit.
    pub(crate) fn import(&mut self, at: At, chance: &mut Chance) -> Result<Done, Violation> {
        let Some(store) = &self.store else { return Ok(Done::Nothing) };
        let mut wanted: Vec<_> = (0..chance.within(1, 4)).map(|_| self.desk.old_row(chance)).collect();
        wanted.sort_by_key(|(key, _, _)| *key);
        wanted.dedup_by_key(|(key, _, _)| *key);
        let rows = wanted.iter().map(|(_, row, _)| row.clone()).collect();
        match store.capture_import(rows, at) {
            Ok(outcomes) => {
                for ((key, row, was_imported), outcome) in wanted.iter().zip(outcomes) {
                    match outcome {
                        ImportOutcome::Captured(_) if *was_imported => {
                            return Err(broken("I2", format!("row {key} was imported twice")));
                        }
                        ImportOutcome::Captured(id) => self.confirmed.push(self.desk.note_imported(*key, row, id)),
                        ImportOutcome::Duplicate => {}
                        ImportOutcome::Refused(problems) => {
                            return Err(broken("I9", format!("a legal row is refused: {problems:?}")));
                        }
                    }
                }
                Ok(Done::Confirmed)
            }
            Err(_) => Ok(Done::Failed),
        }
    }

    /// Writes down what was written since the journal ended at `from`; gives those entries.
    pub(crate) fn note_written(&mut self, from: u64) -> Result<Vec<Act>, Violation> {
        let Some(store) = self.store.as_ref().filter(|store| store.head().seq.0 > from) else { return Ok(Vec::new()) };
        let stream = *store.identity().stream.as_bytes();
        let mut builder = Builder::new();
        let range = SeqRange { first: Seq(from + 1), last: store.head().seq };
        if let Err(error) = store.fill_batch(range, &mut builder) {
            let is_expected = self.is_troubled(&error);
            let read = broken("I7", format!("the journal cannot be read: {}", describe(&error)));
            return if is_expected { Ok(Vec::new()) } else { Err(read) };
        }
        let acts: Vec<Act> = journal::entries(&builder.finish())?.iter().filter_map(|bytes| Act::read(bytes)).collect();
        for (seq, act) in (from + 1..).zip(&acts) {
            self.written.insert(act.id, Written { stream, seq, document: act.document, cause: act.cause });
        }
        Ok(acts)
    }

    /// What the movements shown here add up to, by item and location; none where they cannot be read now.
    fn stock(&self) -> Option<BTreeMap<(String, String), i64>> {
        let mut stock = BTreeMap::new();
        let shown = self.shown().ok()?;
        for document in shown.values().filter(|document| document.kind == "stock_movement" && document.state != "void")
        {
            let text = |name| document.fields.get(name).and_then(Value::as_text).unwrap_or_default().to_owned();
            let quantity = document.fields.get("quantity").and_then(Value::as_measured).map_or(0, |(milli, _)| milli);
            *stock.entry((text("item"), text("location"))).or_default() += quantity;
        }
        Some(stock)
    }

    /// The agent is killed.
    pub(crate) fn kill(&mut self) {
        self.disk.kill();
        self.abandon();
    }

    /// The power of the device is cut.
    pub(crate) fn cut(&mut self) {
        self.disk.cut();
        self.abandon();
    }

    /// The agent ends as it should.
    pub(crate) fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close();
        }
        self.disk.kill();
    }

    fn abandon(&mut self) {
        if let Some(store) = self.store.take() {
            store.abandon();
        }
    }

    /// Whether the device shows that an entry of the document is set aside.
    fn has_aside(&self, document: DocId) -> bool {
        self.set_aside().is_ok_and(|aside| aside.contains(&document))
    }

    fn is_in_doubt(&self, document: Option<DocId>) -> bool {
        self.desk.papers().any(|(id, paper)| Some(*id) == document && paper.has_doubt)
    }

    /// Whether its disk fails now, or did, and the store is not open again yet.
    pub(crate) fn is_troubled(&self, error: &StoreError) -> bool {
        self.disk.is_failing() || matches!(error, StoreError::Closed)
    }

    /// Whether the disk, as it is, may answer so.
    fn is_to_be_expected(&self, error: &StoreError) -> bool {
        match error {
            StoreError::DiskFull | StoreError::Database(_) | StoreError::Closed => self.disk.is_failing(),
            StoreError::Io { .. } | StoreError::Damaged(_) => self.disk.is_cut(),
            StoreError::InUse { .. } | StoreError::BadCursor(_) => false,
        }
    }

    /// I9: whatever was deleted, the hash at every acknowledged mark is known, so that a hub of any age is met where it is.
    pub(crate) fn judge_kept(&self) -> Result<(), Violation> {
        let Some(store) = &self.store else { return Ok(()) };
        let is_kept =
            |(seq, hash): &(&u64, &[u8; 32])| store.hash_at(Seq(**seq)).is_some_and(|kept| kept.as_bytes() == *hash);
        match self.desk.marks.iter().find(|mark| !is_kept(mark)) {
            Some((seq, _)) => Err(broken("I9", format!("the hash at {seq} was acknowledged, and is forgotten"))),
            None => Ok(()),
        }
    }

    /// Whether its store was born: it has its name, whether or not the agent runs.
    pub(crate) fn has_store(&self) -> bool {
        self.folder.join("store.redb").exists()
    }

    /// Where its store's files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn options(&mut self) -> OpenOptions {
        let number = u8::try_from(self.index + 1).expect("there are few devices");
        OpenOptions {
            sites: Sites::Only(vec![self.site.parse().expect("a site's name")]),
            // the hub gives each its own; until then an installer does
            letter: char::from(b'A' + number - 1),
            random: self.chance.bytes(),
            boot: self.starts,
            new_ids: [[number; 16], self.chance.bytes()],
            new_key: [number; 32],
            zone: time::zone("").expect("the default zone is bundled"),
            reserve_bytes: 0,
        }
    }
}

/// I6: a count states what the movements shown at its device add up to.
fn judge_expected(wish: &Wish, document: &Document, stock: &BTreeMap<(String, String), i64>) -> Result<(), Violation> {
    for key in wish.set.keys().filter(|_| wish.act == "count") {
        let Some(line) = key.strip_suffix(".counted") else { continue };
        let text = |name: &str| {
            let value = document.fields.get(&format!("{line}.{name}"));
            value.and_then(Value::as_text).unwrap_or_default().to_owned()
        };
        let expected = stock.get(&(text("item"), text("location"))).copied().unwrap_or_default();
        let stated = document.fields.get(&format!("{line}.expected")).and_then(Value::as_measured);
        if stated.map(|(milli, _)| milli) != Some(expected) {
            let what = format!("a count expects {stated:?} of {}, its device shows {expected}", text("item"));
            return Err(broken("I6", what));
        }
    }
    Ok(())
}

/// When something is recorded: the device's clock, and its time since the start.
pub(crate) fn at(wall: i64, mono_ms: u64) -> At {
    At { now: Timestamp(wall), mono_ms }
}

/// An error with its causes.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
