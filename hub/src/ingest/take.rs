//! What a batch adds to its journal: opened as a fork, appended, held ahead of a gap, filled into a lost range.
//!
//! The rules are the model's (`tests/model`, stream). Entries are never decoded here.

use waystation_protocol::batch::Unpacked;
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::message::{Batch, Parent};
use waystation_protocol::sync::Verdict;
use waystation_protocol::time::Timestamp;

use super::group::Group;
use crate::store::lane;
use crate::store::raw::{self, Arrival, Part, Stored};
use crate::store::{StoreError, branch, line, lost, presence};

/// A verified batch, as it came or as it was kept.
struct Came {
    entries: Unpacked,
    payload: Vec<u8>,
    arrival: Arrival,
}

/// The same on loan.
#[derive(Clone, Copy)]
struct Coming<'a> {
    entries: &'a Unpacked,
    payload: &'a [u8],
    arrival: Arrival,
}

impl Came {
    fn kept(stored: Stored, payload: Vec<u8>) -> Came {
        let arrival = Arrival { received_at: stored.received_at, protocol: stored.protocol };
        Came { entries: stored.entries, payload, arrival }
    }

    fn coming(&self) -> Coming<'_> {
        Coming { entries: &self.entries, payload: &self.payload, arrival: self.arrival }
    }
}

impl Group<'_> {
    /// Takes a batch. Whether its journal is the agent's and is to be acknowledged.
    pub(super) fn batch(
        &mut self,
        agent: (AgentId, i64),
        batch: &Batch,
        entries: &Unpacked,
        arrival: Arrival,
    ) -> Result<bool, StoreError> {
        let stream = batch.stream;
        let owner = self.lanes.find(self.conn, stream)?.map(|lane| lane.agent);
        if owner.is_some_and(|owner| owner != agent.0) {
            self.tally.misplaced += 1;
            tracing::error!(agent = %agent.0, %stream, "batch refused: its stream is another agent's");
            return Ok(false);
        }
        if owner.is_none() && !self.open(agent, batch, arrival.received_at)? {
            self.tally.unrooted += 1;
            tracing::warn!(agent = %agent.0, %stream, "batch not taken: its fork's branch point is not here; the agent will meet again");
            return Ok(false);
        }
        let mut left = Vec::new();
        if let Some(base) = batch.base {
            self.pass_over(batch, base, entries.before(), arrival.received_at, &mut left)?;
        }
        self.take(batch, Coming { entries, payload: &batch.payload, arrival }, &mut left)?;
        // kept batches that overlapped or lie in a lost range: their other entries still count
        while let Some(kept) = left.pop() {
            self.take(batch, kept.coming(), &mut left)?;
        }
        Ok(true)
    }

    /// Opens a lane for a journal the hub does not know, if it may begin where the batch says.
    fn open(&mut self, agent: (AgentId, i64), batch: &Batch, now: Timestamp) -> Result<bool, StoreError> {
        let parent = match &batch.parent {
            // a disk put back to before its first entry: it may have left a journal of which nothing came here
            Some(parent) if parent.at == Mark::ZERO => {
                let known = line::find(self.conn, parent.stream)?;
                batch.parent.as_ref().filter(|_| known.is_none_or(|extent| extent.agent == agent.1))
            }
            parent => parent.as_ref(),
        };
        if let Some(parent) = parent {
            // what this group added to the parent is not in its row yet
            self.commit(parent.stream, now)?;
            if parent.at != Mark::ZERO && !self.is_held(agent.1, parent)? {
                return Ok(false);
            }
            self.tally.forks += 1;
            tracing::warn!(agent = %agent.0, stream = %batch.stream, parent = %parent.stream, seq = %parent.at.seq,
                "a fork: its agent's disk was put back or copied; both branches are kept");
        }
        // what was announced of it may lie below its floor
        self.lanes.create(self.conn, batch.stream, agent, parent)?.is_changed = true;
        if let Some(parent) = parent {
            presence::goes_on(self.conn, agent.1, (parent.stream, batch.stream))?;
            self.is_granted |= presence::letter_of_fork(self.conn, agent, batch.stream)?;
        }
        Ok(true)
    }

    /// Whether a journal of this agent holds a branch point.
    fn is_held(&self, agent: i64, parent: &Parent) -> Result<bool, StoreError> {
        match line::find(self.conn, parent.stream)? {
            Some(extent) if extent.agent == agent => {
                Ok(line::mark_at(self.conn, &extent, parent.at.seq)? == Some(parent.at))
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Names what the agent deleted and the hub lacks, and goes on after it; only from the mark its meeting found.
    fn pass_over(
        &mut self,
        batch: &Batch,
        base: Mark,
        to: Mark,
        now: Timestamp,
        left: &mut Vec<Came>,
    ) -> Result<(), StoreError> {
        let Some(lane) = self.lanes.find(self.conn, batch.stream)? else { return Ok(()) };
        let Some(dropped) = lane.receiver.pass_over(base, to) else { return Ok(()) };
        lane.is_changed = true;
        let row = lane.row;
        lost::name(self.conn, row, base, to, now)?;
        self.tally.lost += to.seq.0 - base.seq.0;
        tracing::error!(agent = %lane.agent, stream = %batch.stream, first = %base.seq.next(), last = %to.seq,
            "entries are named lost: their agent deleted them and the hub does not hold them");
        self.take_out(row, dropped, left)
    }

    fn take_out(&mut self, row: i64, dropped: Vec<Seq>, left: &mut Vec<Came>) -> Result<(), StoreError> {
        for first in dropped {
            if let Some((stored, payload)) = raw::take_out(self.conn, row, first)? {
                left.push(Came::kept(stored, payload));
            }
        }
        Ok(())
    }

    fn take(&mut self, batch: &Batch, coming: Coming<'_>, left: &mut Vec<Came>) -> Result<(), StoreError> {
        let Some(lane) = self.lanes.find(self.conn, batch.stream)? else { return Ok(()) };
        let (row, before, entries) = (lane.row, lane.receiver.stored(), coming.entries);
        let part = |first| {
            let range = SeqRange { first, last: entries.last().seq };
            Part { entries, payload: coming.payload, range, arrival: coming.arrival }
        };
        match lane.receiver.handle_batch(entries) {
            Verdict::Append { first, stored, dropped } => {
                lane.is_changed = true;
                self.take_out(row, dropped, left)?;
                raw::insert(self.conn, row, &part(first))?;
                self.tally.stored += 1;
                self.tally.entries += stored.seq.0 - before.seq.0;
                self.fill(batch, coming, left)?;
            }
            Verdict::Hold => {
                lane.is_changed = true;
                raw::insert(self.conn, row, &part(entries.before().seq.next()))?;
                self.tally.held += 1;
            }
            Verdict::Known => {
                self.tally.known += 1;
                if !entries.is_empty() {
                    self.fill(batch, coming, left)?;
                    self.compare(batch, coming)?;
                }
            }
            Verdict::Refused => self.tally.refused += 1,
            Verdict::Conflict { at } => {
                self.tally.conflicting += 1;
                lane::note_conflict(self.conn, row)?;
                tracing::error!(agent = %lane.agent, stream = %batch.stream, seq = %at,
                    "batch kept aside: it contradicts what is stored");
                self.keep_aside(batch, coming)?;
            }
        }
        Ok(())
    }

    /// A batch that adds nothing to the prefix may still be another branch, or more of what is held ahead.
    fn compare(&mut self, batch: &Batch, coming: Coming<'_>) -> Result<(), StoreError> {
        let (entries, last) = (coming.entries, coming.entries.last());
        self.commit(batch.stream, coming.arrival.received_at)?;
        let Some(own) = line::find(self.conn, batch.stream)? else { return Ok(()) };
        if last.seq <= own.stored.seq {
            let is_here = line::mark_at(self.conn, &own, last.seq)? == Some(last);
            return if is_here { Ok(()) } else { self.keep_aside(batch, coming) };
        }
        let first = entries.before().seq.next();
        let held = match raw::containing(self.conn, own.row, first) {
            Ok(held) => held.entries,
            Err(StoreError::Damaged(_)) => return self.keep_aside(batch, coming),
            Err(error) => return Err(error),
        };
        if held.before() == entries.before() && held.mark_at(last.seq) == Some(last) {
            return Ok(());
        }
        if held.before() != entries.before() || entries.mark_at(held.last().seq) != Some(held.last()) {
            return self.keep_aside(batch, coming);
        }
        let Some(lane) = self.lanes.find(self.conn, batch.stream)? else { return Ok(()) };
        lane.is_changed = true;
        lane.receiver.restore_ahead(first, entries.before().hash, last);
        raw::take_out(self.conn, own.row, first)?;
        let range = SeqRange { first, last: last.seq };
        let part = Part { entries, payload: coming.payload, range, arrival: coming.arrival };
        raw::insert(self.conn, own.row, &part)?;
        Ok(())
    }

    /// Keeps aside what the journal cannot take: perhaps no disk has it any more.
    fn keep_aside(&mut self, batch: &Batch, coming: Coming<'_>) -> Result<(), StoreError> {
        let Some(own) = line::find(self.conn, batch.stream)? else { return Ok(()) };
        let range = SeqRange { first: coming.entries.before().seq.next(), last: coming.entries.last().seq };
        let part = Part { entries: coming.entries, payload: coming.payload, range, arrival: coming.arrival };
        if let Some(row) = branch::keep(self.conn, batch.stream, own.agent, &part)? {
            self.tally.aside += 1;
            self.grown.insert(row, range.last);
        }
        Ok(())
    }

    /// Fills lost ranges whose ends a batch knows: then its entries are the true ones.
    fn fill(&mut self, batch: &Batch, coming: Coming<'_>, left: &mut Vec<Came>) -> Result<(), StoreError> {
        let Some(own) = line::find(self.conn, batch.stream)? else { return Ok(()) };
        let entries = coming.entries;
        for (row, open) in lost::of_line(self.conn, &own)? {
            if entries.mark_at(open.end.seq) != Some(open.end) || entries.before().seq >= open.end.seq {
                continue;
            }
            let first = entries.before().seq.max(open.before.seq).next();
            let range = SeqRange { first, last: open.end.seq };
            let Some(after) = entries.mark_at(Seq(first.0 - 1)) else { continue };
            let part = Part { entries, payload: coming.payload, range, arrival: coming.arrival };
            raw::insert(self.conn, row, &part)?;
            let is_whole = lost::shrink(self.conn, row, &open, after, coming.arrival.received_at)?;
            let stream = line::id_of(self.conn, row)?;
            let Some(lane) = self.lanes.find(self.conn, stream)? else { continue };
            lane.is_changed = true;
            let agent = lane.agent;
            self.commit_elsewhere(batch.stream, stream, coming.arrival.received_at)?;
            self.is_filled = true;
            self.tally.filled += range.last.0 + 1 - range.first.0;
            tracing::info!(%agent, %stream, first = %range.first, last = %range.last, is_whole,
                "entries that were named lost came back");
            if is_whole {
                continue;
            }
            let rest = lost::Open { end: after, ..open };
            if let Some((stored, payload)) = branch::reaching(self.conn, stream, &rest)? {
                left.push(Came::kept(stored, payload));
            }
        }
        Ok(())
    }

    /// Writes what changed of a journal that a batch of another one filled.
    fn commit_elsewhere(&mut self, own: StreamId, stream: StreamId, now: Timestamp) -> Result<(), StoreError> {
        if own == stream { Ok(()) } else { self.commit(stream, now) }
    }
}
