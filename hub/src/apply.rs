//! Processing: entries as stored become documents, facts, and what was set aside.
//!
//! A thread of its own reads raw journals from the processed mark on, folds them on documents at hand, and hands the
//! writer finished slices. It never holds up storing. Whatever happens to an entry, the mark passes over it: it was
//! applied, was there before, is in quarantine, or is parked.

mod aside;
mod draft;
mod foreseen;
pub(crate) mod history;
mod judge;
mod mailbox;
pub(crate) mod reason;
mod receipt;
pub(crate) mod recount;
mod resolve;
#[cfg(test)]
mod resolve_tests;
mod shelf;
mod slice;
pub(crate) mod standing;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use waystation_protocol::chain::Seq;
use waystation_protocol::id::DocId;

use crate::down;
use crate::down::freeze::Freeze;
use crate::store::lost::{self, Fill};
use crate::store::queue::SLICES;
use crate::store::{self, Shared, StoreError, raw, seq_at};
use draft::Draft;
use foreseen::Foreseen;
use mailbox::Mail;
use shelf::Shelf;
use standing::Standings;
use waiting::{Try, Waiting};

pub(crate) use mailbox::Mailbox;
pub(crate) use slice::{Slice, Step, write};

/// Most entries in a slice: its commit delays an acknowledgement by some 20 ms at most.
const SLICE_ENTRIES: usize = 2_000;

/// Most bytes of entries in a slice.
const SLICE_BYTES: usize = 4 * 1024 * 1024;

/// Most entries of one stream before another has its turn.
const TURN_ENTRIES: usize = 500;

/// After a failure the disk gets a moment.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// One stream on its way through.
#[derive(Default)]
struct Journal {
    /// The last entry judged; slices on the way included.
    judged: Seq,
    stored: Seq,
    /// Whether its entries are kept aside.
    is_aside: bool,
    open: Option<raw::Stored>,
}

/// The applier's state; all of it can be read from the database again.
pub(crate) struct Applier {
    conn: Connection,
    shared: Arc<Shared>,
    journals: BTreeMap<i64, Journal>,
    /// Streams with entries to judge.
    due: BTreeSet<i64>,
    /// The stream that had the last turn.
    turn: i64,
    /// Documents whose parked entries may pass now.
    retry: VecDeque<DocId>,
    /// Entries below processed marks that came after all, to be judged.
    fills: VecDeque<Fill>,
    /// Entries set aside that this build may understand.
    taken_up: VecDeque<(i64, Seq)>,
    shelf: Shelf,
    waiting: Waiting,
    standings: Standings,
    foreseen: Foreseen,
    generation: u64,
    /// How far streams may be judged now.
    freeze: Freeze,
}

/// Starts the applier.
pub(crate) fn spawn(dir: PathBuf, shared: Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("applier".into()).spawn(move || run(&dir, &shared))
}

/// Works until the store closes; after a failure, from what the database holds.
fn run(dir: &std::path::Path, shared: &Arc<Shared>) {
    let mut generation = 0;
    loop {
        let loaded = store::open_reader(dir).and_then(|conn| Applier::load(conn, shared.clone(), generation));
        let ended = loaded.and_then(|mut applier| applier.work());
        match ended {
            Ok(End::Stopped) => return,
            Ok(End::Restart) => {}
            Err(error) => {
                tracing::error!(%error, "processing failed; it starts again from what is committed");
                std::thread::sleep(AFTER_FAILURE);
                if shared.mailbox.take(false).is_stopping {
                    return;
                }
            }
        }
        generation += 1;
    }
}

enum End {
    Stopped,
    /// A slice failed, or everything derived was dropped.
    Restart,
}

impl Applier {
    /// As the database has it, read through `conn`.
    pub(crate) fn load(conn: Connection, shared: Arc<Shared>, generation: u64) -> Result<Applier, StoreError> {
        let standings = Standings::load(&conn)?;
        let (waiting, taken_up) = Waiting::load(&conn, standings.waived())?;
        let shelf = Shelf::new(&conn)?;
        let mut journals = BTreeMap::new();
        {
            let mut statement = conn.prepare("SELECT id, processed_seq, stored_seq, is_aside FROM stream")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (judged, stored) = (seq_at(row, 1)?, seq_at(row, 2)?);
                let journal = Journal { judged, stored, is_aside: row.get(3)?, open: None };
                journals.insert(row.get::<_, i64>(0)?, journal);
            }
        }
        let due = journals.iter().filter(|(_, journal)| journal.judged < journal.stored).map(|(row, _)| *row).collect();
        let (retry, taken_up, freeze) = (VecDeque::new(), taken_up.into(), Freeze::load(&conn)?);
        let fills = lost::fills(&conn)?.into();
        Ok(Applier {
            conn,
            shared,
            journals,
            due,
            turn: 0,
            retry,
            fills,
            taken_up,
            shelf,
            waiting,
            standings,
            foreseen: Foreseen::default(),
            generation,
            freeze,
        })
    }

    /// What it read through, for the next one.
    pub(crate) fn into_reader(self) -> Connection {
        self.conn
    }

    /// The next slice, where no thread works and so many are on the way. None where the applier must be loaded anew: an
    /// earlier slice failed, or what came must not meet those on the way.
    pub(crate) fn step(&mut self, on_the_way: usize) -> Result<Option<Slice>, StoreError> {
        self.freeze = Freeze::load(&self.conn)?;
        let is_due = down::is_due(&self.conn)?;
        let mail = self.shared.mailbox.take(false);
        let is_asked = self.taken_up.is_empty() && resolve::is_asked(&self.conn)?;
        if mail.has_failed || (on_the_way > 0 && (mail.is_filled || is_asked)) {
            return Ok(None);
        }
        if mail.is_filled {
            self.fills = lost::fills(&self.conn)?.into();
        }
        self.note_grown(&mail)?;
        if on_the_way == 0 && self.shelf.is_full() {
            self.shelf.clear();
        }
        let mut slice = if is_asked { self.resolve()? } else { self.build()? };
        slice.catches_up = is_due;
        Ok(Some(slice))
    }

    /// Every error leaves with no slice of ours on the way.
    fn work(&mut self) -> Result<End, StoreError> {
        let mut on_the_way = 0;
        let ended = self.build_and_send(&mut on_the_way);
        self.settle(&mut on_the_way);
        ended
    }

    fn build_and_send(&mut self, on_the_way: &mut usize) -> Result<End, StoreError> {
        loop {
            self.freeze = Freeze::load(&self.conn)?;
            let must_wait = *on_the_way >= SLICES || (*on_the_way > 0 && self.shelf.is_full());
            let is_due = down::is_due(&self.conn)?;
            let is_idle = must_wait || (self.has_nothing_to_judge() && !is_due);
            let mail = self.shared.mailbox.take(is_idle);
            *on_the_way -= mail.settled.min(*on_the_way);
            if mail.has_failed {
                return Ok(End::Restart);
            }
            if mail.is_stopping {
                return Ok(End::Stopped);
            }
            if mail.is_filled {
                // fills are read anew: none of them may be on the way
                self.settle(on_the_way);
                self.fills = lost::fills(&self.conn)?.into();
            }
            self.note_grown(&mail)?;
            if let Some(reply) = mail.rebuild {
                self.settle(on_the_way);
                let dropped = store::run_on_writer(&self.shared.queues, Box::new(drop_derived));
                // whoever asked may be gone
                let _ = reply.send(dropped);
                return Ok(End::Restart);
            }
            if *on_the_way >= SLICES || (*on_the_way > 0 && self.shelf.is_full()) {
                continue;
            }
            if self.shelf.is_full() {
                self.shelf.clear();
            }
            let mut slice = if self.taken_up.is_empty() && resolve::is_asked(&self.conn)? {
                self.settle(on_the_way);
                self.resolve()?
            } else {
                self.build()?
            };
            slice.catches_up = is_due;
            if !slice.is_empty() {
                self.shared.queues.push_slice(Box::new(slice));
                *on_the_way += 1;
            }
        }
    }

    fn has_nothing_to_judge(&self) -> bool {
        let may_judge = |stream: &i64| self.may_judge(*stream);
        !self.due.iter().any(may_judge) && self.retry.is_empty() && self.fills.is_empty() && self.taken_up.is_empty()
    }

    /// Waits until no slice is on the way. Mail about growth may be passed over: the caller starts afresh.
    fn settle(&self, on_the_way: &mut usize) {
        while *on_the_way > 0 {
            *on_the_way -= self.shared.mailbox.take_settled().min(*on_the_way);
        }
    }

    fn note_grown(&mut self, mail: &Mail) -> Result<(), StoreError> {
        if !mail.grown.is_empty() {
            // a journal that was opened meanwhile may have to stand still
            self.freeze = Freeze::load(&self.conn)?;
        }
        for (row, stored) in &mail.grown {
            let journal = match self.journals.entry(*row) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    // a fork begins at its floor
                    let sql = "SELECT processed_seq, is_aside FROM stream WHERE id = ?1";
                    new.insert(self.conn.prepare_cached(sql)?.query_row([row], |row| {
                        Ok(Journal { judged: seq_at(row, 0)?, is_aside: row.get(1)?, ..Journal::default() })
                    })?)
                }
            };
            journal.stored = journal.stored.max(*stored);
            // an applier loaded anew may have judged already what its mail tells late
            if journal.judged < journal.stored {
                self.due.insert(*row);
            }
        }
        Ok(())
    }

    fn build(&mut self) -> Result<Slice, StoreError> {
        let mut draft = Draft::new(self.generation);
        while draft.entries < SLICE_ENTRIES && draft.bytes < SLICE_BYTES {
            if let Some((stream, seq)) = self.taken_up.pop_front() {
                self.take_up(&mut draft, stream, seq)?;
                continue;
            }
            if let Some(document) = self.retry.pop_front() {
                self.release(&mut draft, document, None, Try::Fitting)?;
                continue;
            }
            let before = draft.entries;
            let (stream, judged) = if let Some(fill) = self.fills.pop_front() {
                (fill.stream, self.judge_fill(&mut draft, fill))
            } else {
                let Some(stream) = self.next_turn() else { break };
                (stream, self.judge_some(&mut draft, stream))
            };
            match judged {
                Ok(()) => {}
                Err(StoreError::Damaged(damage)) if draft.entries == before => self.set_damaged(stream, &damage)?,
                Err(error) => return Err(error),
            }
        }
        self.finish(draft)
    }

    /// Whether a stream that is due does not stand still.
    fn may_judge(&self, stream: i64) -> bool {
        self.journals.get(&stream).is_none_or(|journal| journal.judged < self.freeze.limit(stream))
    }

    /// The next stream with something to do, in turn.
    fn next_turn(&mut self) -> Option<i64> {
        let mut in_turn = self.due.range(self.turn + 1..).chain(self.due.range(..=self.turn));
        let after = in_turn.find(|stream| self.may_judge(**stream)).copied()?;
        self.turn = after;
        Some(after)
    }

    /// Judges entries of one stream, up to the end of a batch, of its turn or of the slice; passes over a lost range.
    fn judge_some(&mut self, draft: &mut Draft, stream: i64) -> Result<(), StoreError> {
        let Some(journal) = self.journals.get_mut(&stream) else { return Ok(()) };
        let from = journal.judged;
        let open = match journal.open.take() {
            Some(open) if open.entries.last().seq > from => open,
            Some(_) | None => match lost::beginning_at(&self.conn, stream, from.next())? {
                Some(range) => {
                    journal.judged = range.end.seq;
                    draft.advance(Step { stream, from, to: range.end.seq });
                    draft.slice.passed.push((stream, range));
                    self.rest(stream);
                    return Ok(());
                }
                None => raw::containing(&self.conn, stream, from.next())?,
            },
        };
        let last = open.entries.last().seq.min(self.freeze.limit(stream));
        let to = self.judge_open(draft, stream, &open, from, last)?;
        draft.advance(Step { stream, from, to });
        let Some(journal) = self.journals.get_mut(&stream) else { return Ok(()) };
        journal.judged = to;
        if open.entries.last().seq > to {
            journal.open = Some(open);
        }
        self.rest(stream);
        Ok(())
    }

    /// A stream without entries to judge is due no more.
    fn rest(&mut self, stream: i64) {
        if self.journals.get(&stream).is_some_and(|journal| journal.judged >= journal.stored) {
            self.due.remove(&stream);
        }
    }

    /// Judges entries of a lost range that came after processing had passed over it.
    fn judge_fill(&mut self, draft: &mut Draft, fill: Fill) -> Result<(), StoreError> {
        let open = raw::containing(&self.conn, fill.stream, fill.judged.next())?;
        let to = self.judge_open(draft, fill.stream, &open, fill.judged, fill.last)?;
        draft.slice.filled.push((fill, to));
        if to < fill.last {
            self.fills.push_front(Fill { judged: to, ..fill });
        }
        Ok(())
    }

    /// Judges entries of a batch after `from`, not beyond `last`. Gives the last one judged.
    fn judge_open(
        &mut self,
        draft: &mut Draft,
        stream: i64,
        open: &raw::Stored,
        from: Seq,
        last: Seq,
    ) -> Result<Seq, StoreError> {
        let origin = draft.origin_of(&self.conn, stream)?;
        let is_aside = self.journals.get(&stream).is_some_and(|journal| journal.is_aside);
        let mut left = TURN_ENTRIES.min(SLICE_ENTRIES - draft.entries);
        let mut to = from;
        for (mark, bytes) in open.entries.entries_from(from.next()).take_while(|(mark, _)| mark.seq <= last) {
            if left == 0 || draft.bytes >= SLICE_BYTES {
                break;
            }
            let place = judge::Place { stream, seq: mark.seq, received_at: open.received_at, protocol: open.protocol };
            if is_aside {
                self.judge_aside(draft, place, origin.writer(), bytes)?;
            } else {
                self.judge(draft, place, origin.writer(), bytes)?;
            }
            to = mark.seq;
            left -= 1;
        }
        Ok(to)
    }

    /// A journal whose stored bytes are damaged stops; every other goes on.
    fn set_damaged(&mut self, stream: i64, damage: &str) -> Result<(), StoreError> {
        tracing::error!(stream, "a journal is no longer processed");
        self.due.remove(&stream);
        self.note_damage(stream, damage)
    }

    /// Writes down that stored bytes of a journal are damaged.
    fn note_damage(&self, stream: i64, damage: &str) -> Result<(), StoreError> {
        tracing::error!(stream, damage, "stored bytes are damaged; restore a backup");
        let damage = damage.to_owned();
        let job = move |conn: &Connection| {
            let sql = "UPDATE stream SET damage = ?2 WHERE id = ?1 AND damage IS NULL";
            conn.execute(sql, rusqlite::params![stream, damage])?;
            Ok(())
        };
        store::run_on_writer(&self.shared.queues, Box::new(job))
    }
}

/// Drops everything that raw journals and the trail of resolutions give again.
fn drop_derived(conn: &Connection) -> Result<(), StoreError> {
    standing::remember_outranked(conn)?;
    conn.execute_batch(
        "DELETE FROM document; DELETE FROM fact; DELETE FROM rollup; DELETE FROM quarantine;
         DELETE FROM document_reader; DELETE FROM document_untold; DELETE FROM trait; DELETE FROM fill; UPDATE site SET documents = 0; UPDATE stream SET processed_seq = floor_seq, damage = NULL;",
    )?;
    Ok(())
}
