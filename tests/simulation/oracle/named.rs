//! Ranges that the hub names as lost, and whether an entry lies in one: by its own journal and seq, or by those of a
//! journal that shares it.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::papers::Act;
use super::sql;
use crate::device::{Device, Written};
use crate::violation::Violation;

type Id = [u8; 16];

/// Lost ranges, and what devices wrote.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// By journal: first and last seq of each range.
    ranges: BTreeMap<Id, Vec<(u64, u64)>>,
    /// From which journal each came, and up to which seq they are one.
    parents: BTreeMap<Id, (Id, u64)>,
    /// By device, the journal its disk wrote before it began this one, where it was never put back: there a fork holds every
    /// entry that the device wrote at its seq, also where hub and agent know no mark in common any more and it branches off at
    /// nothing. So does a salvaged journal what was deleted before; what it holds otherwise counts as written there.
    lines: Vec<BTreeMap<Id, Id>>,
    /// What could not be read from a damaged file, as its salvage said.
    gone: BTreeSet<Id>,
    /// Every place at which an entry was written, and by which device.
    written: BTreeMap<Id, Vec<(usize, Written)>>,
    /// Whether something that agents were told is named lost, or may be lost on both sides: what it was is not known, but no
    /// device wrote it.
    pub(super) has_lost_told: bool,
}

impl Named {
    /// As the hub and the devices have it.
    pub(crate) fn read(books: &Connection, devices: &[&Device]) -> Result<Named, Violation> {
        let mut named = Named::default();
        let query =
            "SELECT stream.stream, first_seq, open_last FROM lost_range JOIN stream ON stream.id = lost_range.stream
                     WHERE filled_at IS NULL";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let (first, last): (i64, i64) = (row.get(1).map_err(sql)?, row.get(2).map_err(sql)?);
            let ranges = named.ranges.entry(row.get(0).map_err(sql)?).or_default();
            ranges.push((first.unsigned_abs(), last.unsigned_abs()));
        }
        let query = "SELECT EXISTS (SELECT 1 FROM restore_down)";
        named.has_lost_told =
            books.prepare_cached(query).and_then(|mut query| query.query_row([], |row| row.get(0))).map_err(sql)?;
        named.gone = devices.iter().flat_map(|device| device.gone.iter().copied()).collect();
        if named.is_empty() {
            return Ok(named);
        }
        let query =
            "SELECT stream, parent_stream, floor_seq FROM stream WHERE parent_stream IS NOT NULL AND is_aside = 0";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let floor: i64 = row.get(2).map_err(sql)?;
            let (stream, parent) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            named.parents.insert(stream, (parent, floor.unsigned_abs()));
        }
        for (index, device) in devices.iter().enumerate() {
            named.add_line(device);
            for (id, written) in &device.written {
                named.written.entry(*id).or_default().push((index, *written));
            }
        }
        Ok(named)
    }

    /// The line of a device's journal, which the hub may not know all of.
    fn add_line(&mut self, device: &Device) {
        let mut line = BTreeMap::new();
        let Some(store) = &device.store else { return self.lines.push(line) };
        let mut stream = *store.identity().stream.as_bytes();
        for parent in store.line() {
            let above = *parent.stream.as_bytes();
            self.parents.insert(stream, (above, parent.at.seq.0));
            if !device.was_put_back {
                line.insert(stream, above);
            }
            stream = above;
        }
        self.lines.push(line);
    }

    fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.gone.is_empty() && !self.has_lost_told
    }

    /// Whether an entry lies within a named lost range of its journal's line.
    pub(crate) fn is_lost(&self, entry: &Id) -> bool {
        self.gone.contains(entry)
            || self.written.get(entry).is_some_and(|places| places.iter().any(|place| self.covers(place)))
    }

    /// Whether any entry of a document does.
    pub(crate) fn has_lost_of(&self, document: &Id) -> bool {
        let is_of = |places: &Vec<(usize, Written)>| places.iter().any(|(_, place)| place.document == *document);
        self.written.iter().any(|(entry, places)| is_of(places) && self.is_lost(entry))
    }

    /// Whether an effect of an act does.
    pub(crate) fn has_lost_effect(&self, act: &Id) -> bool {
        let is_effect = |places: &Vec<(usize, Written)>| places.iter().any(|(_, place)| place.cause == Some(*act));
        self.written.iter().any(|(entry, places)| is_effect(places) && self.is_lost(entry))
    }

    fn covers(&self, (device, place): &(usize, Written)) -> bool {
        let line = &self.lines[*device];
        let is_one = |below, above| self.shares(line, below, above, place.seq);
        self.ranges.iter().any(|(stream, ranges)| {
            let is_within = ranges.iter().any(|(first, last)| *first <= place.seq && place.seq <= *last);
            is_within && (is_one(*stream, place.stream) || is_one(place.stream, *stream))
        })
    }

    /// Whether the entry at `seq` of `stream` is the one at `seq` of `above`, from which it came.
    fn shares(&self, line: &BTreeMap<Id, Id>, mut stream: Id, above: Id, seq: u64) -> bool {
        // a line is short; a ring would be a fault that others find
        for _ in 0..self.parents.len() + line.len() + 1 {
            if stream == above {
                return true;
            }
            match self.parents.get(&stream) {
                Some((parent, floor)) if seq <= *floor => stream = *parent,
                Some(_) | None => match line.get(&stream) {
                    Some(before) => stream = *before,
                    None => return false,
                },
            }
        }
        false
    }

    /// Documents that wait for a named lost entry, given what arrived and the acts that are set aside: what they follow, what
    /// opened them or what caused them is one; or rests on such a document.
    pub(crate) fn waiting(&self, arrived: &BTreeSet<Id>, aside: &[Act]) -> BTreeSet<Id> {
        let mut waiting: BTreeSet<Id> = BTreeSet::new();
        if self.is_empty() {
            return waiting;
        }
        let is_told_lost = |entry: &Id| self.has_lost_told && !self.written.contains_key(entry);
        let is_lost = |entry: &Id| !arrived.contains(entry) && (self.is_lost(entry) || is_told_lost(entry));
        let mut entries: BTreeSet<Id> = BTreeSet::new();
        loop {
            let before = waiting.len();
            for act in aside {
                let opening = (!act.is_opening).then_some(act.document);
                let mut needed = [act.after, act.cause, opening].into_iter().flatten();
                let rests = |needed: Id| is_lost(&needed) || entries.contains(&needed);
                if waiting.contains(&act.document) || needed.any(rests) {
                    waiting.insert(act.document);
                }
            }
            entries.extend(aside.iter().filter(|act| waiting.contains(&act.document)).map(|act| act.id));
            if waiting.len() == before {
                return waiting;
            }
        }
    }
}
