//! A slice: what a run of entries changes, ready to be written in one commit.
//!
//! One row per touched document and one per fact; roll-ups are summed before they are written. Nothing here decides
//! anything.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::down::{ClockStep, CommandResult};
use waystation_protocol::entry::Entry;
use waystation_protocol::fact::Measure;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::{Cross, Trait};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;

use super::aside::{self, Change, Decided, SetAsideRow};
use super::history;
use crate::down;
use crate::down::relay::{Applied, Relay};
use crate::store::lost::{self, Fill, Open};
use crate::store::{Counters, StoreError, clock_step, presence, traits};

/// Facts are held to what thousands of them can be summed to in 64 bits; thousandths reach nine million millions.
const FACT_MAX: i64 = 1 << 53;

/// A stream's processed mark moves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) stream: i64,
    pub(crate) from: Seq,
    pub(crate) to: Seq,
}

/// One slice.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// Slices of one generation stand on each other.
    pub(crate) generation: u64,
    /// Whether it also tells agents of what is due to them.
    pub(super) catches_up: bool,
    /// Marks to move.
    pub(crate) processed: Vec<Step>,
    /// Lost ranges that the steps pass over, by stream: they must still be missing.
    pub(super) passed: Vec<(i64, Open)>,
    /// Fills, each with its last entry judged.
    pub(super) filled: Vec<(Fill, Seq)>,
    pub(super) sites: Vec<SiteUse>,
    pub(super) documents: Vec<DocumentRow>,
    pub(super) facts: Vec<FactRow>,
    pub(super) set_aside: Vec<SetAsideRow>,
    pub(super) changes: Vec<Change>,
    pub(super) decided: Vec<Decided>,
    /// In the order of application.
    pub(super) applied: Vec<Applied>,
    /// What commands came to, with the journal that says so and when it arrived.
    pub(super) results: Vec<(i64, CommandResult, Timestamp)>,
    /// Steps of agents' clocks, with the journal that says so, its entry and when it arrived.
    pub(super) clock_steps: Vec<(i64, Entry, ClockStep, Timestamp)>,
    pub(super) repeated: u64,
}

/// A site that documents of the slice belong to, with the zone their facts were counted in.
#[derive(Debug)]
pub(super) struct SiteUse {
    pub(super) site: SiteId,
    pub(super) zone: String,
}

#[derive(Debug)]
pub(super) struct DocumentRow {
    pub(super) n: i64,
    pub(super) is_new: bool,
    pub(super) id: DocId,
    pub(super) kind: String,
    pub(super) site: usize,
    pub(super) state: String,
    pub(super) number: Option<String>,
    pub(super) opened_at: Timestamp,
    pub(super) changed_at: Timestamp,
    pub(super) search: String,
    pub(super) body: Vec<u8>,
    pub(super) history: Vec<u8>,
    /// What it contributes to each rule across documents that its kind takes part in.
    pub(super) traits: Vec<(&'static Cross, Option<Trait>)>,
}

#[derive(Debug)]
pub(super) struct FactRow {
    pub(super) measure: &'static Measure,
    pub(super) site: usize,
    pub(super) day: i32,
    pub(super) document: i64,
    pub(super) keys: Vec<String>,
    pub(super) values: Vec<i64>,
}

impl Slice {
    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        !self.catches_up
            && self.processed.is_empty()
            && self.filled.is_empty()
            && self.documents.is_empty()
            && self.changes.is_empty()
            && self.decided.is_empty()
    }

    /// Adds to the counters what was committed.
    pub(crate) fn count(&self, counters: &Counters) {
        let set_aside = |is_parked: bool| {
            let is_such = |row: &&SetAsideRow| row.resolved.is_none() && row.reason.is_parked == is_parked;
            self.set_aside.iter().filter(is_such).count() as u64
        };
        counters.entries_applied.add(self.applied.len() as u64);
        counters.entries_repeated.add(self.repeated);
        counters.entries_parked.add(set_aside(true));
        counters.entries_quarantined.add(set_aside(false));
        let released = self.changes.iter().filter(|change| matches!(change, Change::Left { .. })).count();
        counters.entries_released.add(released as u64);
    }
}

/// Writes a slice within the caller's transaction.
pub(crate) fn write(conn: &Connection, slice: &Slice, now: Timestamp) -> Result<(), StoreError> {
    for (stream, open) in &slice.passed {
        if !lost::stands(conn, open)? {
            return Err(StoreError::Overtaken { stream: *stream });
        }
    }
    for (fill, to) in &slice.filled {
        lost::advance(conn, fill, *to)?;
    }
    let sites = sites(conn, slice)?;
    write_documents(conn, slice, &sites)?;
    write_counted(conn, slice, &sites)?;
    for row in &slice.documents {
        row.traits.iter().try_for_each(|(cross, found)| traits::put(conn, cross, row.n, found.as_ref()))?;
    }
    aside::write(conn, slice, now)?;
    for (stream, result, at) in &slice.results {
        down::note_result(conn, *stream, result, *at)?;
    }
    for (stream, entry, step, at) in &slice.clock_steps {
        clock_step::note(conn, *stream, entry, *step, *at)?;
    }
    let mut relay = Relay::new(conn, now);
    slice.applied.iter().try_for_each(|applied| relay.spread(applied))?;
    if down::trail::is_any_back(conn)? {
        slice.applied.iter().try_for_each(|applied| down::trail::let_in(conn, &applied.entry, now))?;
    }
    if slice.catches_up { down::catch_up(conn, now) } else { Ok(()) }
}

/// The sites' rows. Facts count by days of a zone, so the zone must still be the one they were made with.
fn sites(conn: &Connection, slice: &Slice) -> Result<Vec<i64>, StoreError> {
    let mut rows = Vec::with_capacity(slice.sites.len());
    let is_used = |index| slice.documents.iter().any(|row| row.site == index);
    for (index, used) in slice.sites.iter().enumerate() {
        // A refused entry may name any site: that is no reason to expect one.
        if !is_used(index) {
            rows.push(0);
            continue;
        }
        let row = presence::ensure_site(conn, &used.site)?;
        let zone: Option<String> = conn
            .prepare_cached("SELECT zone FROM site WHERE id = ?1")?
            .query_row([row], |row| row.get(0))
            .optional()?;
        if zone.as_deref() != Some(&used.zone) {
            return Err(StoreError::ZoneMoved(used.site.to_string()));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn write_documents(conn: &Connection, slice: &Slice, sites: &[i64]) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO document (n, id, kind, site, state, number, opened_at, changed_at, search, body, history)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let mut update = conn.prepare_cached(
        "UPDATE document SET state = ?2, number = ?3, changed_at = ?4, search = ?5, body = ?6, history = ?7
         WHERE n = ?1",
    )?;
    let mut opened: HashMap<(i64, Option<i64>), i64> = HashMap::new();
    for row in &slice.documents {
        let site = sites[row.site];
        if row.is_new {
            let stream = history::read(&row.history).first().map(|record| record.stream);
            *opened.entry((site, stream)).or_default() += 1;
            insert.execute(params![
                row.n,
                row.id.as_bytes(),
                row.kind,
                site,
                row.state,
                row.number,
                row.opened_at.0,
                row.changed_at.0,
                row.search,
                row.body,
                row.history
            ])?;
        } else {
            update.execute(params![
                row.n,
                row.state,
                row.number,
                row.changed_at.0,
                row.search,
                row.body,
                row.history
            ])?;
        }
    }
    for ((site, stream), count) in opened {
        conn.prepare_cached("UPDATE site SET documents = documents + ?2 WHERE id = ?1")?.execute([site, count])?;
        // A migration agent names its sites only in its documents.
        let stands_for = "INSERT OR IGNORE INTO agent_site (agent, site) SELECT stream.agent, ?2 FROM stream
                          JOIN agent ON agent.id = stream.agent WHERE stream.id = ?1 AND is_hub = 0";
        conn.prepare_cached(stands_for)?.execute(params![stream, site])?;
    }
    Ok(())
}

/// Writes what the slice's documents count for; `sites`: the rows of their sites.
pub(super) fn write_counted(conn: &Connection, slice: &Slice, sites: &[i64]) -> Result<(), StoreError> {
    write_facts(conn, slice, sites)?;
    write_rollups(conn, slice, sites)
}

fn write_facts(conn: &Connection, slice: &Slice, sites: &[i64]) -> Result<(), StoreError> {
    let mut by_measure: BTreeMap<&str, Vec<&FactRow>> = BTreeMap::new();
    for fact in &slice.facts {
        by_measure.entry(fact.measure.name).or_default().push(fact);
    }
    for (name, facts) in by_measure {
        let measure = facts[0].measure;
        let columns = columns(measure);
        let marks = vec!["?"; 4 + measure.keys.len() + measure.values.len()].join(", ");
        let sql = format!("INSERT INTO fact (measure, site, day, document{columns}) VALUES ({marks})");
        let mut insert = conn.prepare_cached(&sql)?;
        for fact in facts {
            insert.raw_bind_parameter(1, name)?;
            insert.raw_bind_parameter(2, sites[fact.site])?;
            insert.raw_bind_parameter(3, fact.day)?;
            insert.raw_bind_parameter(4, fact.document)?;
            let values: Vec<i64> = fact.values.iter().copied().map(held).collect();
            bind_group(&mut insert, 5, &fact.keys, &values)?;
            insert.raw_execute()?;
        }
    }
    Ok(())
}

/// One addition per group of facts, however many documents share it.
fn write_rollups(conn: &Connection, slice: &Slice, sites: &[i64]) -> Result<(), StoreError> {
    type Groups<'a> = BTreeMap<(i64, i32, &'a [String]), Vec<i64>>;
    let mut measures: BTreeMap<&str, (&'static Measure, Groups<'_>)> = BTreeMap::new();
    for fact in &slice.facts {
        let (_, groups) = measures.entry(fact.measure.name).or_insert_with(|| (fact.measure, Groups::new()));
        let sum = groups
            .entry((sites[fact.site], fact.day, fact.keys.as_slice()))
            .or_insert_with(|| vec![0; fact.values.len()]);
        sum.iter_mut().zip(&fact.values).for_each(|(sum, value)| *sum = sum.saturating_add(held(*value)));
    }
    for (name, (measure, groups)) in measures {
        let marks = vec!["?"; 3 + measure.keys.len() + measure.values.len()].join(", ");
        let adds: Vec<String> = (1..=measure.values.len())
            .map(|index| {
                let kept = if is_planted(Plant::RollupOverwrites) { "0".to_owned() } else { format!("v{index}") };
                format!("v{index} = {kept} + excluded.v{index}")
            })
            .collect();
        let sql = format!(
            "INSERT INTO rollup (measure, site, day{}) VALUES ({marks})
             ON CONFLICT (measure, site, day, k1, k2, k3, k4) DO UPDATE SET {}",
            columns(measure),
            adds.join(", ")
        );
        let mut add = conn.prepare_cached(&sql)?;
        for ((site, day, keys), values) in groups {
            add.raw_bind_parameter(1, name)?;
            add.raw_bind_parameter(2, site)?;
            add.raw_bind_parameter(3, day)?;
            bind_group(&mut add, 4, keys, &values)?;
            add.raw_execute()?;
        }
    }
    Ok(())
}

fn bind_group(
    statement: &mut CachedStatement<'_>,
    first: usize,
    keys: &[String],
    values: &[i64],
) -> Result<(), StoreError> {
    for (index, key) in keys.iter().enumerate() {
        statement.raw_bind_parameter(first + index, key)?;
    }
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(first + keys.len() + index, value)?;
    }
    Ok(())
}

fn columns(measure: &Measure) -> String {
    let keys = (1..=measure.keys.len()).map(|index| format!(", k{index}"));
    keys.chain((1..=measure.values.len()).map(|index| format!(", v{index}"))).collect()
}

fn held(value: i64) -> i64 {
    value.clamp(-FACT_MAX, FACT_MAX)
}
