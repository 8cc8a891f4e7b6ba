//! What people at the hub were told, and what outlets have seen of it, against what the hub holds in the end.

use std::collections::BTreeSet;

use ciborium::Value;
use rusqlite::Connection;

use super::journal::{decode, field};
use super::papers::Act;
use super::sql;
use crate::device::Device;
use crate::people::People;
use crate::violation::{Violation, broken};

type Id = [u8; 16];

/// How late after its last moment a command may be carried out all the same: so far a clock may be off that was compared
/// with the hub's over a bad line.
const CLOCK_MS: i64 = 6 * 60_000;

/// What excuses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstances {
    /// The hub came back older at some time.
    pub(crate) has_restores: bool,
    /// Ops waited no longer for what agents were to bring back.
    pub(crate) was_released: bool,
    /// Some device's disk was put back, copied or damaged.
    pub(crate) has_branches: bool,
}

/// A decision that some site has seen stands at the hub, and so does an act whose author was told; unless the hub came
/// back older and nobody had heard of it. `applied`: the entries that made the hub's documents; `waiting`: those that wait,
/// visibly, for an entry of their document that is named lost.
pub(crate) fn decisions(
    people: &People,
    devices: &[&Device],
    (applied, waiting): (&BTreeSet<Id>, &BTreeSet<Id>),
    given: Circumstances,
) -> Result<(), Violation> {
    let seen: BTreeSet<Id> = devices.iter().flat_map(|device| &device.desk.seen).map(|seen| *seen.as_bytes()).collect();
    let may_be_gone = given.has_restores && (given.was_released || devices.iter().any(|device| has_deleted(device)));
    let stands = |entry: &Id| applied.contains(entry) || waiting.contains(entry);
    if let Some(decision) = seen.iter().find(|decision| !stands(decision) && !may_be_gone) {
        return Err(broken("I8", format!("a site has seen decision {}, and the hub has another", hex(decision))));
    }
    let told = people.told.iter().map(|entry| *entry.as_bytes());
    let lost =
        told.filter(|entry| !stands(entry)).find(|entry| !given.has_restores || !may_be_gone && seen.contains(entry));
    match lost {
        Some(entry) => Err(broken("I1", format!("the author of act {} was told that it stands", hex(&entry)))),
        None => Ok(()),
    }
}

/// Whether a device has deleted something of this or an earlier downward journal: that it cannot bring back.
pub(crate) fn has_deleted(device: &Device) -> bool {
    let down = device.store.as_ref().and_then(waystation_agent::store::Store::down);
    device.has_deleted || down.is_some_and(|down| down.pruned.0 > 0)
}

/// Commands are carried out once and not too late; in the end each has its result, and every notice has arrived. `applied`: the entries
/// that made the hub's documents.
pub(crate) fn words(
    books: &Connection,
    people: &People,
    devices: &[&Device],
    applied: &BTreeSet<Id>,
    given: Circumstances,
) -> Result<(), Violation> {
    // one of two clones speaks with the hub at a time; a hub that came back older may have forgotten what it had not told
    if given.has_restores || given.has_branches {
        return Ok(());
    }
    if let Some(command) = unanswered(books, people)? {
        return Err(broken("liveness", format!("command {command} was never answered")));
    }
    for device in devices {
        let shown = device.shown().map_err(|error| broken("I7", format!("a device cannot be read: {error}")))?;
        let published = people.notices.iter().filter(|notice| applied.contains(notice.as_bytes()));
        if let Some(notice) = published.into_iter().find(|notice| !shown.contains_key(notice)) {
            return Err(broken("I4", format!("device {} lacks notice {notice}", device.index)));
        }
    }
    Ok(())
}

/// A command that has no result yet.
pub(crate) fn unanswered(books: &Connection, people: &People) -> Result<Option<String>, Violation> {
    let query = "SELECT outcome IS NOT NULL FROM down_command WHERE entry = ?1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    for command in people.commands.keys() {
        if !query.query_row([&command[..]], |row| row.get::<_, bool>(0)).map_err(sql)? {
            return Ok(Some(hex(command)));
        }
    }
    Ok(None)
}

/// A device wrote these entries at the hub's time `wall`: results of commands among them.
pub(crate) fn carried_out(people: &People, device: &mut Device, acts: &[Act], wall: i64) -> Result<(), Violation> {
    for act in acts.iter().filter(|act| act.kind == "command_result") {
        let Some(command) = act.cause else { return Err(broken("I2", "a command's result names no command")) };
        if !device.desk.carried_out.insert(command) {
            return Err(broken("I2", format!("command {} was carried out twice", hex(&command))));
        }
        let Some(given) = people.commands.get(&command) else { continue };
        let is_done = act.set.get("outcome").and_then(Value::as_text) == Some("done");
        if is_done && wall > given.not_after + CLOCK_MS && !device.has_jumped {
            let late = (wall - given.not_after) / 1_000;
            return Err(broken("I2", format!("command {} was carried out {late} s too late", hex(&command))));
        }
    }
    Ok(())
}

/// Whoever captured an entry that is set aside is told so, and of what people resolved.
pub(crate) fn receipts(books: &Connection) -> Result<(), Violation> {
    let told = told(books)?;
    let query = "SELECT stream.agent, stream.stream, coalesce(parent_stream, stream.stream), seq, code, resolution,
                 EXISTS (SELECT 1 FROM resolution WHERE resolution.stream = quarantine.stream
                         AND resolution.seq = quarantine.seq AND outcome IN ('applied', 'waived'))
                 FROM quarantine JOIN stream ON stream.id = quarantine.stream JOIN agent ON agent.id = stream.agent
                 WHERE is_hub = 0";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let mut rows = query.query([]).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        let agent: i64 = row.get(0).map_err(sql)?;
        let streams: [Id; 2] = [row.get(1).map_err(sql)?, row.get(2).map_err(sql)?];
        let (seq, code): (i64, String) = (row.get(3).map_err(sql)?, row.get(4).map_err(sql)?);
        let (resolution, is_resolved): (Option<String>, bool) = (row.get(5).map_err(sql)?, row.get(6).map_err(sql)?);
        let is_told = |fates: &[&str]| {
            streams.iter().any(|stream| {
                fates.iter().any(|fate| told.contains(&(agent, hyphened(stream), seq, (*fate).to_owned())))
            })
        };
        let is_known = match &resolution {
            None => is_told(&["quarantined", "parked"]),
            Some(word) => !is_resolved || is_told(&[word.as_str()]),
        };
        if !is_known {
            return Err(broken("I4", format!("nobody is told that entry {seq} was set aside: {code} {resolution:?}")));
        }
    }
    Ok(())
}

/// Every receipt in a downward journal, or on its way there: agent, stream, seq, fate.
fn told(books: &Connection) -> Result<BTreeSet<(i64, String, i64, String)>, Violation> {
    let query = "SELECT agent, entry FROM down_entry JOIN down_stream ON down_stream.id = down_entry.stream
                 WHERE on_document = 0 UNION ALL SELECT agent, entry FROM down_pending WHERE on_document = 0";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))).map_err(sql)?;
    let mut told = BTreeSet::new();
    for row in rows {
        let (agent, bytes) = row.map_err(sql)?;
        let Some(entry) = decode(&bytes) else { return Err(broken("I7", "what an agent is told does not decode")) };
        let text = |name: &str| field(&entry, name).and_then(Value::as_text).unwrap_or_default().to_owned();
        let set = field(&entry, "set");
        let stream = set.and_then(|set| field(set, "stream")).and_then(Value::as_text);
        let seq =
            set.and_then(|set| field(set, "seq")).and_then(Value::as_integer).and_then(|seq| i64::try_from(seq).ok());
        if let (true, Some(stream), Some(seq)) = (text("kind") == "receipt", stream, seq) {
            told.insert((agent, stream.to_owned(), seq, text("act")));
        }
    }
    Ok(told)
}

/// An id as people write it.
fn hyphened(id: &Id) -> String {
    let text = hex(id);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
