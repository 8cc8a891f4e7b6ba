//! What can still be read of a damaged file, and a sound store made of it.
//!
//! Entries count only where their hash follows from the entry before, documents and all else only with their check: a
//! flipped bit is never read as data. Entries up to the first gap keep their seqs. Those behind it are appended again in
//! their order, in a new stream that leaves the old one at the gap: seqs stand outside an entry's bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

use redb::{Database, WriteTransaction};

use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{IdSource, StreamId};
use waystation_protocol::kind::header;
use waystation_protocol::message::Parent;
use waystation_protocol::number::Series;
use waystation_protocol::value::Value;

use super::cache;
use super::damage::{self, NOTE_RANGES, Salvage};
use super::debris::{Closed, Debris, Found};
use super::disk::{Folder, Opener};
use super::drafts;
use super::error::StoreError;
use super::held::Held;
use super::numbers::BLOCK;
use super::open::{self, Birth};
use super::place::{self, Meet, PLACE, Standing, TURN};
use super::prune::{self, PRUNED};
use super::sealed::{self, Sealed};
use super::tables::{COUNTERS, DOCUMENTS, JOURNAL, KEPT, META, Row, STREAMS, document_row, kept_row};
use super::turn::{self, TurnFile};

/// Stands in a document's row for entries that are neither here nor named by a seq any more: all of them are earlier.
pub(super) const GONE: Seq = Seq(0);

/// Makes a sound store of what the damaged one still says, in its place. The damaged file stays, under another name.
pub(super) fn salvage(folder: &Folder, opener: &Opener, birth: &Birth, reason: &str) -> Result<Database, StoreError> {
    let (aside, report, written_at) = damage::names(folder);
    let doing = || StoreError::io(format!("read {}", folder.database().display()));
    let file = fs::read(folder.database()).map_err(doing())?;
    let debris = Debris::gather(&file);
    let plan = Plan::of(&debris, folder);
    let name = |path: &std::path::Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let full = Salvage {
        damaged: name(&aside),
        report: name(&report),
        written_at,
        reason: reason.to_owned(),
        kept: plan.kept() as u64,
        moved: (plan.entries.len() - plan.kept()) as u64,
        lost: ranges(plan.lost.iter().copied()),
        without_document: plan.without_document.clone(),
        is_new_agent: debris.sealed.is_none(),
    };
    let mut note = full.clone();
    note.lost.truncate(NOTE_RANGES);
    note.without_document.truncate(NOTE_RANGES);
    let database = folder.create_beside(opener, |database| {
        let write = database.begin_write()?;
        open::put_birth(&write, birth)?;
        plan.write(&write, &debris, birth, &full)?;
        damage::put_note(&write, Some(&note))?;
        sealed::seal(&write)?;
        Ok(write.commit()?)
    })?;
    let text = serde_json::to_vec_pretty(&full).map_err(std::io::Error::other);
    let written = text.and_then(|text| turn::replace(folder.dir(), &full.report, &text));
    written.map_err(StoreError::io(format!("write {}", report.display())))?;
    folder.replace_database(&aside, &folder.unnamed())?;
    tell(&full);
    Ok(database)
}

fn tell(salvage: &Salvage) {
    let Salvage { damaged, report, kept, moved, is_new_agent, .. } = salvage;
    let (lost, without) = (salvage.lost_entries(), salvage.entries_without_document());
    if salvage.is_complete() {
        tracing::error!(damaged, report, kept, "the store was damaged; all of it could be salvaged");
    } else {
        tracing::error!(
            damaged,
            report,
            kept,
            moved,
            lost,
            without_document = without,
            is_new_agent,
            "the store was damaged, and not all of it could be read: the report names what is missing"
        );
    }
}

/// What becomes of what was found.
struct Plan<'a> {
    /// Up to where the old journal was pruned, as far as its hash is known.
    base: Mark,
    base_total: u64,
    /// The entries that were read, in their order, as they were numbered.
    entries: Vec<(Seq, &'a Found<'a>)>,
    /// Entries above `base` that could not be read.
    lost: BTreeSet<Seq>,
    /// Documents some of whose entries are not here.
    documents: Vec<Held>,
    without_document: Vec<SeqRange>,
    /// Whether the file may be an older one that was put back, or one that lay elsewhere: a twin may write its stream.
    may_have_twin: bool,
}

impl<'a> Plan<'a> {
    fn of(debris: &'a Debris<'a>, folder: &Folder) -> Plan<'a> {
        let (base, base_total) = base(debris);
        let walk = debris.walk(base, closed(debris.turn(), folder.turn_file()));
        let good: BTreeSet<Seq> = walk.entries.iter().map(|(seq, _)| *seq).collect();
        let is_gone = |seq: &Seq| !good.contains(seq);
        let documents: Vec<Held> =
            debris.documents.values().filter(|held| held.seqs.iter().any(is_gone)).cloned().collect();
        let told: BTreeSet<Seq> = documents.iter().flat_map(|held| held.seqs.iter().copied()).collect();
        // What an earlier salvage could not place is in no document by its seq; it was named then.
        let is_told = told.contains(&GONE);
        let untold = (1..=base.seq.0).map(Seq).filter(|seq| !told.contains(seq));
        let without_document = if is_told { Vec::new() } else { ranges(untold) };
        let may_have_twin = matches!(debris.standing(folder), Standing::Copy(_));
        Plan { base, base_total, entries: walk.entries, lost: walk.lost, documents, without_document, may_have_twin }
    }

    /// How many entries stand before the first gap.
    fn kept(&self) -> usize {
        let first_lost = self.lost.first().copied().unwrap_or(Seq(u64::MAX));
        self.entries.partition_point(|(seq, _)| *seq < first_lost)
    }

    fn write(
        &self,
        write: &WriteTransaction,
        debris: &Debris<'_>,
        birth: &Birth,
        told: &Salvage,
    ) -> Result<(), StoreError> {
        if let Some(sealed) = &debris.sealed {
            put_sealed(write, sealed)?;
        }
        prune::put(write, self.base.seq)?;
        let (renumbered, fork) = self.write_journal(write)?;
        self.write_kept(write, debris, fork)?;
        if !self.lost.is_empty() {
            let mut random = [0; 10];
            random.copy_from_slice(&birth.draw("salvaged stream")[..10]);
            let stream = StreamId::from_bytes(IdSource::new(random).draw());
            open::put_fork(write, stream, &Parent { stream: open::stream_in(write)?, at: fork })?;
        }
        if !told.is_complete() || self.may_have_twin {
            // What is missing may have printed numbers, so none of this agent's series goes on until the hub was met.
            let [a, b, c, ..] = birth.draw("tag");
            let due = debris.meet();
            let must_fork = self.may_have_twin || due.is_some_and(|meet| meet.must_fork);
            let is_copy = due.is_some_and(|meet| meet.is_copy);
            place::put_meet(write, Some(Meet { tag: [a, b, c], must_fork, is_copy }))?;
        }
        self.write_documents(write, &renumbered)?;
        self.write_counters(write)?;
        // One that was dropped lately may come back; people drop it again.
        for (id, draft) in debris.drafts.values() {
            drafts::put(write, *id, Some(draft))?;
        }
        Ok(())
    }

    /// Writes the entries; gives the new seqs, and the mark at which the first gap begins.
    fn write_journal(&self, write: &WriteTransaction) -> Result<(HashMap<Seq, Seq>, Mark), StoreError> {
        let mut journal = write.open_table(JOURNAL)?;
        let (mut mark, mut total, mut fork) = (self.base, self.base_total, self.base);
        let mut renumbered = HashMap::new();
        for (index, (seq, found)) in self.entries.iter().enumerate() {
            if index == self.kept() {
                fork = mark;
            }
            mark = mark.extend(found.entry);
            total += found.entry.len() as u64;
            renumbered.insert(*seq, mark.seq);
            let row = Row { hash: mark.hash, total, entry: found.entry };
            row.put(journal.insert_reserve(mark.seq.0, row.length())?.as_mut());
        }
        if self.kept() == self.entries.len() {
            fork = mark;
        }
        Ok((renumbered, fork))
    }

    /// Keeps the marks up to where both streams are one.
    fn write_kept(&self, write: &WriteTransaction, debris: &Debris<'_>, fork: Mark) -> Result<(), StoreError> {
        let mut kept = write.open_table(KEPT)?;
        for (seq, known) in debris.kept.range(..=fork.seq) {
            kept.insert(seq.0, &kept_row(Mark { seq: *seq, hash: known.0 }, known.1))?;
        }
        Ok(())
    }

    fn write_documents(&self, write: &WriteTransaction, renumbered: &HashMap<Seq, Seq>) -> Result<(), StoreError> {
        let mut table = write.open_table(DOCUMENTS)?;
        for held in &self.documents {
            let place = |seq: &Seq| match renumbered.get(seq) {
                Some(now) => *now,
                None if *seq <= self.base.seq => *seq,
                None => GONE,
            };
            let seqs: BTreeSet<Seq> = held.seqs.iter().map(place).collect();
            let held = held.renumbered(seqs.into_iter().collect());
            table.insert(held.id.as_bytes(), document_row(&held).as_slice())?;
        }
        Ok(())
    }

    /// Every series goes on above whatever any entry or document used, and above what the missing ones can have used.
    fn write_counters(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        let spare = self.lost.len() as u64 + BLOCK;
        let mut next: BTreeMap<Series, u64> = BTreeMap::new();
        let mut note = |number: &str| {
            if let Some((series, counter)) = Series::of_number(number) {
                let next = next.entry(series).or_default();
                *next = counter.saturating_add(1 + spare).max(*next);
            }
        };
        for document in self.documents.iter().filter_map(|held| held.document.as_ref()) {
            document.number().into_iter().for_each(&mut note);
        }
        for (_, found) in &self.entries {
            let entry: Option<Entry> = codec::decode_own(found.entry).ok();
            let number = entry.as_ref().and_then(|entry| entry.set.get(header::NUMBER.name()));
            number.and_then(Value::as_text).into_iter().for_each(&mut note);
        }
        let mut counters = write.open_table(COUNTERS)?;
        for (series, next) in &next {
            counters.insert(series.as_str(), next)?;
        }
        Ok(())
    }
}

/// What `agent.turn` says of the end of a file that says it is of `turn`. Where it says another one, or none, either the
/// newest sealed record is lost or an older file was put back: what was captured until that close is missing in both cases.
fn closed(turn: Option<u64>, file: Option<TurnFile>) -> Closed {
    let Some(file) = file else { return Closed::Unknown };
    match file.closed.and_then(|closed| closed.head()) {
        Some(head) if turn == Some(file.turn) => Closed::At(head),
        Some(head) => Closed::AtLeast(head),
        None => Closed::Unknown,
    }
}

/// The pruned mark, or the highest kept one below it where its own hash is gone too.
fn base(debris: &Debris<'_>) -> (Mark, u64) {
    let pruned = debris.pruned();
    let known = debris.kept.range(..=pruned).next_back();
    match known {
        Some((seq, (hash, total))) if pruned > Seq(0) => (Mark { seq: *seq, hash: *hash }, *total),
        Some(_) | None => (Mark::ZERO, 0),
    }
}

/// Puts back who the agent is; what only speaks of the old file stays behind.
fn put_sealed(write: &WriteTransaction, sealed: &Sealed) -> Result<(), StoreError> {
    let mut meta = write.open_table(META)?;
    for (name, row) in &sealed.meta {
        if ![PLACE, TURN, PRUNED, cache::WATERMARK, damage::NOTE].contains(&name.as_str()) {
            meta.insert(name.as_str(), row.as_slice())?;
        }
    }
    let mut streams = write.open_table(STREAMS)?;
    streams.retain(|_, _| false)?;
    for (stream, row) in &sealed.streams {
        if let Some(stream) = StreamId::from_slice(stream.as_slice()) {
            streams.insert(stream.as_bytes(), row.as_slice())?;
        }
    }
    Ok(())
}

/// Ascending seqs as ranges.
fn ranges(seqs: impl Iterator<Item = Seq>) -> Vec<SeqRange> {
    let mut ranges: Vec<SeqRange> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some(range) if range.last.next() == seq => range.last = seq,
            Some(_) | None => ranges.push(SeqRange { first: seq, last: seq }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_are_told_as_ranges() {
        let check = |seqs: &[u64], expected: &[(u64, u64)]| {
            let found = ranges(seqs.iter().copied().map(Seq));
            let found: Vec<(u64, u64)> = found.iter().map(|range| (range.first.0, range.last.0)).collect();
            assert_eq!(found, expected);
        };
        check(&[], &[]);
        check(&[1, 2, 3], &[(1, 3)]);
        check(&[1, 3, 4, 9], &[(1, 1), (3, 4), (9, 9)]);
    }
}
