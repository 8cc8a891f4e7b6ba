//! Loading: what lies above the cache's watermarks is folded from both journals, and all of it where there is no cache.
//!
//! The journal here comes first, then receipts of earlier downward journals, then the present one. The order plays no part
//! in the outcome; it only keeps documents settled less often. Long stretches go to the cache as they come.

use std::sync::Arc;

use jiff::tz::TimeZone;
use redb::{Database, ReadableDatabase};

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::down::{RECEIPT, is_on_document};
use waystation_protocol::id::{DocId, StreamId};
use waystation_protocol::site::Sites;

use super::cache::{self, Snapshot};
use super::down::{self, DownState, DownStream};
use super::error::StoreError;
use super::ground::Ground;
use super::held::Held;
use super::journal::{self, Progress};
use super::open;
use super::overlay::Overlay;
use super::rebuild::rebuild;
use super::settle::{Known, Origin};
use super::tables::{JOURNAL, Row, follow};
use super::writer::CACHE_ENTRIES_MOST;

/// While rebuilding, the cache is written each time this many entries have gathered …
const REBUILD_ENTRIES: u64 = 4_000;
/// … but what a running store leaves uncached at most, and an import on top, opens without any writing: a full disk
/// does not keep the store closed.
const UNCACHED_ENTRIES: u64 = 4 * CACHE_ENTRIES_MOST as u64;

/// What an opened store knows.
pub(super) struct Loaded {
    pub(super) overlay: Overlay,
    pub(super) progress: Progress,
    pub(super) down: DownState,
}

/// Up to where the cache goes: in the journal here, and in the present downward journal.
#[derive(Debug, Clone, Copy)]
struct Cached {
    own: Seq,
    down: Seq,
    /// Whether what earlier downward journals said is in it: not where it goes nowhere in the present one.
    has_earlier: bool,
}

/// One loading.
struct Loading<'a> {
    database: &'a Database,
    zone: &'a TimeZone,
    progress: Progress,
    down: DownState,
    /// This journal's stream and those it came from, each with the seq up to which it is shared.
    line: Vec<(StreamId, Seq)>,
}

/// Folds what lies above the cache's watermarks; all that is left of the journals if the cache cannot be used.
pub(super) fn load(database: &Database, zone: &TimeZone) -> Result<Loaded, StoreError> {
    let loading = Loading::of(database, zone)?;
    let cached = match loading.usable() {
        Ok(Some(cached)) => cached,
        Ok(None) | Err(StoreError::Damaged(_)) => {
            tracing::warn!(head = loading.progress.head.seq.0, "the document cache is rebuilt from the journal");
            loading.begin_anew()?
        }
        Err(error) => return Err(error),
    };
    let overlay = match loading.refold(cached) {
        Err(StoreError::Damaged(what)) if loading.is_beyond_pruned(cached) => {
            tracing::warn!(what, "the document cache is damaged and is rebuilt from the journal");
            loading.refold(loading.begin_anew()?)?
        }
        refolded => refolded?,
    };
    Ok(Loaded { overlay, progress: loading.progress, down: loading.down })
}

/// Moves the cache's watermark over at most `entries` entries of the journal here; false where there are none.
pub(super) fn fold_some(
    database: &Database,
    entries: u64,
    zone: &TimeZone,
    write: impl FnOnce(&Overlay, Seq, Option<(StreamId, Seq)>) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let loading = Loading::of(database, zone)?;
    let (through, down) = cache::watermarks(database)?.unwrap_or((Seq(0), None));
    let left = loading.progress.head.seq.0.saturating_sub(through.0);
    if left == 0 {
        return Ok(false);
    }
    let mut overlay = Overlay::default();
    let reached = loading.fold_stretch(loading.mark(through)?, left.min(entries), &mut overlay)?;
    write(&overlay, reached.seq, down)?;
    Ok(true)
}

impl<'a> Loading<'a> {
    fn of(database: &'a Database, zone: &'a TimeZone) -> Result<Loading<'a>, StoreError> {
        let own = open::identity(database, Sites::All)?.stream;
        let line = open::line(database, own)?.into_iter().map(|parent| (parent.stream, parent.at.seq));
        Ok(Loading {
            database,
            zone,
            progress: Progress::load(database)?,
            down: DownState::load(database)?,
            line: std::iter::once((own, Seq(u64::MAX))).chain(line).collect(),
        })
    }

    fn mark(&self, seq: Seq) -> Result<Mark, StoreError> {
        let hash = journal::hash_at(self.database, seq)?;
        Ok(Mark { seq, hash: hash.ok_or_else(|| StoreError::Damaged(format!("the journal lacks entry {seq}")))? })
    }

    /// The cache's watermarks; none where it has to be rebuilt.
    fn usable(&self) -> Result<Option<Cached>, StoreError> {
        let found = cache::watermarks(self.database)?;
        if Snapshot::open(self.database).is_err() {
            return Ok(None);
        }
        let Some((own, down)) = found else {
            let is_fresh = self.progress.head.seq == Seq(0) && self.down.current.is_none();
            return Ok(is_fresh.then_some(Cached { own: Seq(0), down: Seq(0), has_earlier: true }));
        };
        let has_earlier = down.is_some();
        let down = match (down, self.down.current) {
            (Some((stream, _)), current) if current.is_none_or(|current| current.stream != stream) => return Ok(None),
            (Some((_, seq)), _) => seq,
            (None, _) => self.down.pruned(),
        };
        let is_possible = (self.progress.pruned.mark.seq..=self.progress.head.seq).contains(&own)
            && (self.down.pruned()..=self.down.head().seq).contains(&down);
        Ok(is_possible.then_some(Cached { own, down, has_earlier }))
    }

    fn begin_anew(&self) -> Result<Cached, StoreError> {
        let pruned = self.progress.pruned.mark.seq;
        rebuild(self.database, pruned, &self.down, self.zone)?;
        Ok(Cached { own: pruned, down: self.down.pruned(), has_earlier: false })
    }

    fn is_beyond_pruned(&self, cached: Cached) -> bool {
        cached.own > self.progress.pruned.mark.seq || cached.down > self.down.pruned()
    }

    fn refold(&self, cached: Cached) -> Result<Overlay, StoreError> {
        let mut overlay = self.refold_own(cached)?;
        if !cached.has_earlier {
            self.hear_earlier(&mut overlay)?;
        }
        if let Some(current) = self.down.current {
            self.hear_present(&mut overlay, current, cached.down)?;
        }
        Ok(overlay)
    }

    /// Folds the journal from after the watermark to its head and checks its chain on the way.
    fn refold_own(&self, cached: Cached) -> Result<Overlay, StoreError> {
        let head = self.progress.head;
        let mut mark = self.mark(cached.own)?;
        loop {
            let left = head.seq.0 - mark.seq.0;
            let stretch = if left <= UNCACHED_ENTRIES { left } else { REBUILD_ENTRIES };
            let mut overlay = Overlay::default();
            mark = self.fold_stretch(mark, stretch, &mut overlay)?;
            if mark.seq == head.seq {
                return Ok(overlay);
            }
            let write = self.database.begin_write()?;
            let down = self.down.current.map(|current| (current.stream, cached.down));
            cache::write(&write, &overlay, mark.seq, down.filter(|_| cached.has_earlier))?;
            write.commit()?;
        }
    }

    /// Folds `entries` entries after `mark` and gives the mark reached.
    fn fold_stretch(&self, mut mark: Mark, entries: u64, overlay: &mut Overlay) -> Result<Mark, StoreError> {
        let snapshot = Snapshot::open(self.database)?;
        let rows = self.database.begin_read()?.open_table(JOURNAL)?;
        for row in rows.range(mark.seq.next().0..=mark.seq.0 + entries)? {
            let (seq, row) = row?;
            if seq.value() != mark.seq.next().0 {
                return Err(StoreError::Damaged(format!("the journal lacks entry {}", mark.seq.next())));
            }
            let row = Row::parse(mark.seq.next(), row.value())?;
            mark = follow(mark, &row)?;
            let entry = journal::decode(mark.seq, row.entry)?;
            overlay.entries += 1;
            if is_on_document(&entry.kind) {
                let known = Known { origin: Origin::Own(mark.seq), entry };
                self.with_ground(&snapshot, |ground| ground.take_in(overlay, &known, None))?;
            }
        }
        Ok(mark)
    }

    /// Receipts of earlier downward journals count on; entries do not, for the present one began with all that stand.
    fn hear_earlier(&self, overlay: &mut Overlay) -> Result<(), StoreError> {
        let snapshot = Snapshot::open(self.database)?;
        let mut earlier = down::streams(&self.database.begin_read()?)?;
        earlier.retain(|stream| Some(stream.stream) != self.down.stream());
        earlier.sort_unstable_by_key(DownStream::turn);
        for stream in earlier {
            down::each_after(self.database, &stream, stream.pruned.seq, u64::MAX, |seq, entry| {
                match entry.filter(|entry| entry.kind == RECEIPT) {
                    Some(entry) => self.with_ground(&snapshot, |ground| ground.hear(overlay, seq, entry)).map(|_| ()),
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    fn hear_present(&self, overlay: &mut Overlay, current: DownStream, from: Seq) -> Result<(), StoreError> {
        let mut through = from;
        loop {
            let snapshot = Snapshot::open(self.database)?;
            let left = current.head.seq.0 - through.0;
            let stretch = if left <= UNCACHED_ENTRIES { left } else { REBUILD_ENTRIES };
            let mark = down::each_after(self.database, &current, through, stretch, |seq, entry| {
                overlay.heard += 1;
                let heard = entry.map(|entry| self.with_ground(&snapshot, |ground| ground.hear(overlay, seq, entry)));
                heard.transpose().map(|_| ())
            })?;
            through = mark.seq;
            if through == current.head.seq {
                return Ok(());
            }
            let write = self.database.begin_write()?;
            cache::write(&write, overlay, self.progress.head.seq, Some((current.stream, through)))?;
            write.commit()?;
            *overlay = Overlay::default();
        }
    }

    fn with_ground<T>(
        &self,
        snapshot: &Snapshot,
        fold: impl FnOnce(&Ground<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let below = |id: DocId| -> Result<Option<Arc<Held>>, StoreError> { Ok(snapshot.held(id)?.map(Arc::new)) };
        fold(&Ground {
            zone: self.zone,
            own_pruned: self.progress.pruned.mark.seq,
            decided: self.progress.decided(),
            stream: self.down.stream(),
            down_pruned: self.down.pruned(),
            is_own: &|stream, seq| self.line.iter().any(|(own, last)| *own == stream && seq <= *last),
            entry_at: &|origin| snapshot.entry(origin),
            below: &below,
        })
    }
}
