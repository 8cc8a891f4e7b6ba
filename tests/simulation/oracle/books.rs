//! The last judgement: everything the hub holds when the faults have ended, against what clerks were told and what the
//! devices show.

use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;
use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::document::Document;
use waystation_protocol::id::DocId;

use super::journal::{decode, entries, field, follow};
use super::named::Named;
use super::papers::{Act, Fix, Paper};
use super::promises::{self, Circumstances};
use super::sql;
use crate::desk::Confirmed;
use crate::device::Device;
use crate::people::People;
use crate::violation::{Violation, broken};

/// Bytes of a record in a document's history: entry id, stream row, seq, start of the hash.
const RECORD: usize = 36;

type Id = [u8; 16];
type Mark = (i64, [u8; 32]);

/// A kind of entries that stand on no document.
const CLOCK_STEP: &str = "clock_step";

/// A document as the hub keeps it: encoded, and the entries that made it with their places.
type Kept = (Value, Vec<(Id, i64, i64)>);

/// What the hub holds.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Entries by stream row and seq.
    raw: BTreeMap<(i64, i64), Vec<u8>>,
    /// Documents.
    documents: BTreeMap<Id, Kept>,
    /// What is set aside, and why.
    aside: BTreeMap<(i64, i64), String>,
    /// Streams whose entries nobody promised to apply.
    strangers: BTreeSet<i64>,
    /// Streams that are branches kept aside.
    branches: BTreeSet<i64>,
    /// How many journals each agent has.
    journals: Vec<i64>,
    /// What is named lost.
    named: Named,
    /// What people let stand for entries, by document and entry.
    fixes: BTreeMap<(Id, Id), Fix>,
    /// Entries that people or time have brought out of quarantine.
    resolved: BTreeSet<(i64, i64)>,
    /// Commands that have a result.
    answered: BTreeSet<Id>,
    /// Whether some journal may have two branches.
    has_branches: bool,
    /// Whether two devices may act on one document.
    is_shared: bool,
    /// Whether the hub came back older.
    has_restores: bool,
    /// What devices wrote.
    written: BTreeSet<Id>,
    /// Devices that have deleted something of their downward journal. Of copies of one disk each speaks for all.
    have_deleted: BTreeSet<usize>,
}

/// The ids of all entries the hub holds.
pub(crate) fn ids(books: &Connection) -> Result<BTreeSet<Id>, Violation> {
    let mut query = books.prepare_cached("SELECT payload FROM raw").map_err(sql)?;
    let mut rows = query.query([]).map_err(sql)?;
    let mut ids = BTreeSet::new();
    while let Some(row) = rows.next().map_err(sql)? {
        let entries = entries(&row.get::<_, Vec<u8>>(0).map_err(sql)?)?;
        ids.extend(entries.iter().filter_map(|bytes| Act::read(bytes)).map(|act| act.id));
    }
    Ok(ids)
}

/// How many journals are not processed to their end, those of strangers aside.
pub(crate) fn unprocessed(books: &Connection, strangers: &[Id]) -> Result<i64, Violation> {
    let query = "SELECT count(*) FROM stream LEFT JOIN agent ON agent.id = stream.agent
                 WHERE is_aside = 0 AND processed_seq < stored_seq AND agent.agent IS NOT ?1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    query.query_row([&strangers[0][..]], |row| row.get(0)).map_err(sql)
}

/// What is set aside, line by line for people: journal, place, why, and which act on which document.
pub(crate) fn aside(books: &Connection) -> Result<Vec<String>, Violation> {
    let query = "SELECT stream, seq, code, entry FROM quarantine WHERE resolved_at IS NULL ORDER BY stream, seq";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([], |row| {
        let (stream, seq, code): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let act = Act::read(&row.get::<_, Vec<u8>>(3)?);
        let act = act.map(|act| format!("{} on {}", act.act, DocId::from_bytes(act.document)));
        Ok(format!("set aside: {stream}/{seq}: {code}: {}", act.unwrap_or_default()))
    });
    rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)
}

/// What an agent is to be told.
#[derive(Debug)]
pub(crate) struct Untold {
    /// Whom.
    pub(crate) agent: Id,
    stream: Id,
    head: u64,
    /// Whether more waits to be appended.
    is_growing: bool,
}

impl Untold {
    /// Whether an agent that holds so much of this journal has all.
    pub(crate) fn is_told(&self, held: (Id, u64)) -> bool {
        !self.is_growing && (self.head == 0 || held == (self.stream, self.head))
    }
}

/// How far every agent's downward journal goes.
pub(crate) fn untold(books: &Connection) -> Result<Vec<Untold>, Violation> {
    let query = "SELECT agent.agent, down_stream.stream, head_seq,
                 EXISTS (SELECT 1 FROM down_pending WHERE down_pending.agent = agent.id)
                 OR EXISTS (SELECT 1 FROM down_due WHERE down_due.agent = agent.id)
                 FROM down_stream JOIN agent ON agent.id = down_stream.agent WHERE is_current = 1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([], |row| {
        let (agent, stream, head): (Id, Id, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Untold { agent, stream, head: head.unsigned_abs(), is_growing: row.get(3)? })
    });
    rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)
}

/// How far the hub has stored a journal.
pub(crate) fn stored(books: &Connection, stream: &Id) -> Result<u64, Violation> {
    let query = "SELECT stored_seq FROM stream WHERE stream = ?1";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let found = query.query_row([&stream[..]], |row| row.get::<_, i64>(0)).optional().map_err(sql)?;
    Ok(found.map_or(0, i64::unsigned_abs))
}

/// Reads everything and judges it. `is_shared`: two devices stand at one site.
pub(crate) fn check(
    books: &Connection,
    devices: &[&Device],
    people: &People,
    strangers: &[Id],
    given: Circumstances,
    is_shared: bool,
) -> Result<(), Violation> {
    let mut found = Books::read(books, strangers)?;
    (found.has_branches, found.is_shared, found.has_restores) = (given.has_branches, is_shared, given.has_restores);
    found.written = devices.iter().flat_map(|device| device.written.keys().copied()).collect();
    let have_deleted = devices.iter().filter(|device| promises::has_deleted(device));
    found.have_deleted = have_deleted.map(|device| device.index).collect();
    found.named = Named::read(books, devices)?;
    let papers = found.each_once()?;
    found.nothing_lost(devices)?;
    promises::decisions(people, devices, (&found.applied(), &found.waiting_entries()), given)?;
    promises::words(books, people, devices, &found.applied(), given)?;
    promises::receipts(books)?;
    found.nothing_aside()?;
    found.as_folded(&papers)?;
    ledgers(books, &papers)?;
    found.effects(&papers)?;
    devices.iter().try_for_each(|device| found.same_at(device))
}

impl Books {
    fn read(books: &Connection, strangers: &[Id]) -> Result<Books, Violation> {
        let mut found = Books::default();
        let mut streams = books
            .prepare(
                "SELECT stream.id, agent.agent, stored_seq, stored_hash, processed_seq, floor_seq, parent_hash, is_aside
                 FROM stream LEFT JOIN agent ON agent.id = stream.agent",
            )
            .map_err(sql)?;
        let mut rows = streams.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let (id, agent): (i64, Option<Id>) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            let stored: Mark = (row.get(2).map_err(sql)?, row.get(3).map_err(sql)?);
            let processed: i64 = row.get(4).map_err(sql)?;
            let is_stranger = agent.is_some_and(|agent| strangers.contains(&agent));
            if is_stranger {
                found.strangers.insert(id);
            }
            if row.get(7).map_err(sql)? {
                found.read_branch(books, id)?;
                continue;
            }
            if processed != stored.0 && !is_stranger {
                return Err(broken("liveness", format!("{} entries are stored, {processed} processed", stored.0)));
            }
            let hash: Option<[u8; 32]> = row.get(6).map_err(sql)?;
            let floor = (row.get(5).map_err(sql)?, hash.unwrap_or_default());
            found.read_stream(books, id, floor, stored)?;
        }
        found.read_agents(books)?;
        found.read_documents(books)?;
        found.read_aside(books)?;
        found.read_words(books)?;
        Ok(found)
    }

    /// The entries that made documents.
    fn applied(&self) -> BTreeSet<Id> {
        self.documents.values().flat_map(|(_, records)| records.iter().map(|(entry, ..)| *entry)).collect()
    }

    /// What people resolved, and what agents answered to commands.
    fn read_words(&mut self, books: &Connection) -> Result<(), Violation> {
        let query = "SELECT document, entry, act, fields FROM resolution WHERE action = 'fix' AND outcome = 'applied'";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let place = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            let (act, fields): (String, Vec<u8>) = (row.get(2).map_err(sql)?, row.get(3).map_err(sql)?);
            let fix = Fix::read(act, &fields).ok_or_else(|| broken("I7", "the fields of a fix do not decode"))?;
            self.fixes.insert(place, fix);
        }
        let query = "SELECT stream, seq FROM quarantine WHERE resolved_at IS NOT NULL";
        let mut query = books.prepare_cached(query).map_err(sql)?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql)?;
        self.resolved = rows.collect::<Result<_, _>>().map_err(sql)?;
        let mut query =
            books.prepare_cached("SELECT entry FROM down_command WHERE outcome IS NOT NULL").map_err(sql)?;
        let rows = query.query_map([], |row| row.get(0)).map_err(sql)?;
        self.answered = rows.collect::<Result<_, _>>().map_err(sql)?;
        Ok(())
    }

    /// Whether an entry stands on no document: the result of a command, which the books keep.
    fn is_word(&self, act: &Act) -> bool {
        act.kind == "command_result" && act.cause.is_some_and(|command| self.answered.contains(&command))
    }

    /// How many journals each agent has.
    fn read_agents(&mut self, books: &Connection) -> Result<(), Violation> {
        let query = "SELECT count(*) FROM stream JOIN agent ON agent.id = stream.agent
                     WHERE is_aside = 0 AND is_hub = 0 GROUP BY stream.agent";
        let mut query = books.prepare(query).map_err(sql)?;
        let rows = query.query_map([], |row| row.get::<_, i64>(0)).map_err(sql)?;
        self.journals = rows.collect::<Result<_, _>>().map_err(sql)?;
        Ok(())
    }

    /// I3: rows follow one another, and the chain over all entries ends at the stored mark.
    fn read_stream(&mut self, books: &Connection, id: i64, floor: Mark, stored: Mark) -> Result<(), Violation> {
        let mut lost = lost(books, id)?;
        let query = "SELECT first_seq, last_seq, prev_hash, payload FROM raw WHERE stream = ?1 AND last_seq <= ?2
                     ORDER BY first_seq";
        let mut raw = books.prepare_cached(query).map_err(sql)?;
        let mut rows = raw.query(rusqlite::params![id, stored.0]).map_err(sql)?;
        let mut at = floor;
        while let Some(row) = rows.next().map_err(sql)? {
            let (first, last): (i64, i64) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            let prev: [u8; 32] = row.get(2).map_err(sql)?;
            if let Some(end) = lost.remove(&at) {
                at = end;
            }
            if first != at.0 + 1 || prev != at.1 {
                return Err(broken("I3", format!("journal {id}: the batch at {first} does not follow {}", at.0)));
            }
            for bytes in entries(&row.get::<_, Vec<u8>>(3).map_err(sql)?)? {
                at = (at.0 + 1, follow(at.1, &bytes));
                self.raw.insert((id, at.0), bytes);
            }
            if at.0 != last {
                return Err(broken("I3", format!("journal {id}: a batch ends at {}, its row says {last}", at.0)));
            }
        }
        if let Some(end) = lost.remove(&at) {
            at = end;
        }
        if at == stored {
            Ok(())
        } else {
            Err(broken("I3", format!("journal {id} ends at {}, its mark says {}", at.0, stored.0)))
        }
    }

    /// What a journal could not take: rows by themselves.
    fn read_branch(&mut self, books: &Connection, id: i64) -> Result<(), Violation> {
        self.branches.insert(id);
        let mut raw = books.prepare_cached("SELECT first_seq, payload FROM raw WHERE stream = ?1").map_err(sql)?;
        let mut rows = raw.query([id]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let first: i64 = row.get(0).map_err(sql)?;
            let entries = entries(&row.get::<_, Vec<u8>>(1).map_err(sql)?)?;
            self.raw.extend((first..).zip(entries).map(|(seq, bytes)| ((id, seq), bytes)));
        }
        Ok(())
    }

    fn read_documents(&mut self, books: &Connection) -> Result<(), Violation> {
        let mut query = books.prepare("SELECT id, body, history FROM document").map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let (id, body, history): (Id, Vec<u8>, Vec<u8>) =
                (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?, row.get(2).map_err(sql)?);
            let body = decode(&body).ok_or_else(|| broken("I7", "a document of the hub does not decode"))?;
            let records = history.chunks_exact(RECORD).filter_map(|record| {
                let stream = u32::from_le_bytes(record[16..20].try_into().ok()?);
                let seq = i64::from_le_bytes(record[20..28].try_into().ok()?);
                Some((record[..16].try_into().ok()?, i64::from(stream), seq))
            });
            self.documents.insert(id, (body, records.collect()));
        }
        Ok(())
    }

    fn read_aside(&mut self, books: &Connection) -> Result<(), Violation> {
        let query = "SELECT stream, seq, code FROM quarantine WHERE resolved_at IS NULL";
        let mut query = books.prepare(query).map_err(sql)?;
        let mut rows = query.query([]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let place = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
            self.aside.insert(place, row.get(2).map_err(sql)?);
        }
        Ok(())
    }

    /// I2 and I8: no entry made two documents or one twice, each document is a chain of state entries, and whatever is
    /// stored was applied or is visibly set aside.
    fn each_once(&self) -> Result<BTreeMap<Id, Paper>, Violation> {
        let (mut applied, mut papers) = (BTreeSet::new(), BTreeMap::new());
        for (id, (_, records)) in &self.documents {
            let mut paper = Paper::default();
            for (entry, stream, seq) in records {
                let act = self.raw.get(&(*stream, *seq)).and_then(|bytes| Act::read(bytes));
                let act = act.filter(|act| act.id == *entry && act.document == *id);
                let act =
                    act.ok_or_else(|| broken("I3", format!("an applied entry is not at its place {stream}/{seq}")))?;
                let act = match self.fixes.get(&(*id, act.id)) {
                    Some(fix) => act.amended(fix),
                    None => act,
                };
                if !applied.insert(act.id) {
                    return Err(broken("I2", format!("entry {stream}/{seq} was applied twice")));
                }
                let head = (!act.is_opening).then_some(paper.head);
                if act.is_state_entry() && act.after != head {
                    return Err(broken("I8", format!("entry {stream}/{seq} does not follow its document's head")));
                }
                paper.fold(&act);
            }
            papers.insert(*id, paper);
        }
        // the same bytes may stand in several branches: once is enough
        let aside = self.aside.keys().chain(&self.resolved);
        let aside: BTreeSet<&Vec<u8>> = aside.filter_map(|place| self.raw.get(place)).collect();
        for (place, bytes) in &self.raw {
            let is_taken = |act: Act| {
                let is_event = act.is_opening && act.kind == CLOCK_STEP;
                is_event || applied.contains(&act.id) || self.is_word(&act)
            };
            let is_applied = Act::read(bytes).is_some_and(is_taken);
            let is_awaited = self.strangers.contains(&place.0);
            if !is_applied && !aside.contains(bytes) && !is_awaited {
                return Err(broken("I1", format!("entry {place:?} is stored, and neither applied nor set aside")));
            }
        }
        Ok(papers)
    }

    /// I1: every confirmed act arrived, or was deleted at its device and lies within a named lost range.
    fn nothing_lost(&self, devices: &[&Device]) -> Result<(), Violation> {
        let ids: BTreeSet<Id> = self.raw.values().filter_map(|bytes| Act::read(bytes)).map(|act| act.id).collect();
        for device in devices {
            let is_missing = |confirmed: &&Confirmed| {
                !ids.contains(confirmed.entry.as_bytes()) && !self.named.is_lost(confirmed.entry.as_bytes())
            };
            if let Some(confirmed) = device.confirmed.iter().find(is_missing) {
                return Err(broken("I1", format!("entry {} was confirmed and never arrived", confirmed.entry)));
            }
        }
        Ok(())
    }

    /// I9: legal acts are not set aside.
    fn nothing_aside(&self) -> Result<(), Violation> {
        if !self.has_branches && self.journals.iter().any(|count| *count > 1) {
            return Err(broken("I3", "a journal was forked although no disk was put back or copied"));
        }
        let contested = if self.has_branches || self.is_shared { self.contested() } else { BTreeSet::new() };
        let waiting = self.waiting();
        for (place, code) in self.aside.iter().filter(|((stream, _), _)| !self.strangers.contains(stream)) {
            let act = self.raw.get(place).and_then(|bytes| Act::read(bytes));
            let is_branch = self.has_branches && self.branches.contains(&place.0);
            // what follows an entry that is named lost waits for it, visibly
            let is_parked = matches!(code.as_str(), "ahead" | "behind" | "cause");
            let is_excused = |act: Act| {
                // a late copy from a range that is named lost, by itself, proves nothing, and waits beside its journal
                let is_unproven = code == "branch" && self.named.is_lost(&act.id);
                contested.contains(&act.document) || is_parked && waiting.contains(&act.document) || is_unproven
            };
            if !is_branch && !act.is_some_and(is_excused) {
                return Err(broken("I9", format!("a legal entry is set aside: {place:?}: {code}")));
            }
        }
        Ok(())
    }

    /// Documents that wait, visibly, for an entry that is named lost.
    fn waiting(&self) -> BTreeSet<Id> {
        let arrived: BTreeSet<Id> = self.raw.values().filter_map(|bytes| Act::read(bytes)).map(|act| act.id).collect();
        let aside = self.aside.keys().filter_map(|place| Act::read(self.raw.get(place)?)).collect::<Vec<_>>();
        self.named.waiting(&arrived, &aside)
    }

    /// Entries set aside whose documents wait so.
    fn waiting_entries(&self) -> BTreeSet<Id> {
        let waiting = self.waiting();
        let acts = self.aside.keys().filter_map(|place| Act::read(self.raw.get(place)?));
        acts.filter(|act| waiting.contains(&act.document)).map(|act| act.id).collect()
    }

    /// Documents on which two branches acted, and those that came of such acts.
    fn contested(&self) -> BTreeSet<Id> {
        let acts: Vec<(i64, Act)> =
            self.raw.iter().filter_map(|((stream, _), bytes)| Some((*stream, Act::read(bytes)?))).collect();
        let mut streams: BTreeMap<Id, BTreeSet<i64>> = BTreeMap::new();
        for (stream, act) in &acts {
            streams.entry(act.document).or_default().insert(*stream);
        }
        let mut contested: BTreeSet<Id> =
            streams.into_iter().filter(|(_, streams)| streams.len() > 1).map(|(document, _)| document).collect();
        let on: BTreeSet<Id> =
            acts.iter().filter(|(_, act)| contested.contains(&act.document)).map(|(_, act)| act.id).collect();
        let caused = acts.iter().filter(|(_, act)| act.cause.is_some_and(|cause| on.contains(&cause)));
        contested.extend(caused.map(|(_, act)| act.document));
        contested
    }

    /// The hub's documents are what their entries fold to, and no printed number stands on two.
    fn as_folded(&self, papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
        let mut numbers = BTreeSet::new();
        for (id, paper) in papers {
            if let Some(difference) = paper.differs(&self.documents[id].0) {
                return Err(broken("I4", format!("a document of the hub is not what its entries say: {difference}")));
            }
            let number = paper.text("number");
            if !number.is_empty() && !numbers.insert(number.clone()) && !self.has_branches {
                return Err(broken("numbers", format!("{number} was given twice")));
            }
        }
        Ok(())
    }

    /// What an act brings about is there, once.
    fn effects(&self, papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
        let acts: Vec<Act> = self.raw.values().filter_map(|bytes| Act::read(bytes)).collect();
        let is_applied = |act: &&Act| papers.contains_key(&act.document);
        for issued in acts.iter().filter(is_applied).filter(|act| act.act == "issue_parts") {
            let caused: BTreeSet<Id> =
                acts.iter().filter(|act| act.cause == Some(issued.id)).map(|act| act.id).collect();
            let is_lost = caused.is_empty() && self.named.has_lost_effect(&issued.id);
            if caused.len() != 1 && !is_lost {
                return Err(broken("I6", format!("parts were issued once and moved stock {} times", caused.len())));
            }
        }
        let applied = self.applied();
        for (id, (_, records)) in &self.documents {
            let decisions = records.iter().filter_map(|(_, stream, seq)| Act::read(self.raw.get(&(*stream, *seq))?));
            for approved in decisions.filter(|act| act.act == "approve") {
                let is_caused = |act: &&Act| act.cause == Some(approved.id) && applied.contains(&act.id);
                let mut posted: Vec<(String, i64)> = acts.iter().filter(is_caused).map(Act::moved).collect();
                // the same entry may stand in the hub's journal and among what an agent brought back
                posted.sort();
                posted.dedup();
                let mut expected = papers.get(id).map(Paper::differences).unwrap_or_default();
                expected.sort();
                expected.dedup();
                if posted != expected {
                    return Err(broken(
                        "I6",
                        format!("a count differs by {expected:?}, its approval posts {posted:?}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether a device may show a document otherwise than the hub: a branch it does not hold acted on it.
    fn may_differ(&self, document: &Id, own: &BTreeSet<Id>, contested: &BTreeSet<Id>) -> bool {
        let is_beyond = |(_, records): &Kept| records.iter().any(|(id, ..)| !own.contains(id));
        self.has_branches && (contested.contains(document) || self.documents.get(document).is_some_and(is_beyond))
    }

    /// What the hub refused has left its document at the device, which was told so.
    fn refused_is_gone(&self, device: &Device, shown: &BTreeMap<DocId, Document>) -> Result<(), Violation> {
        // one of two clones is told at a time
        if device.desk.has_twin {
            return Ok(());
        }
        let applied = self.applied();
        let is_refused = |code: &str| !matches!(code, "ahead" | "behind" | "cause");
        let refused = self.aside.iter().filter(|(_, code)| is_refused(code));
        let refused: BTreeSet<Id> = refused
            .filter_map(|(place, _)| Act::read(self.raw.get(place)?))
            .filter(|act| act.is_state_entry() && !applied.contains(&act.id))
            .map(|act| act.id)
            .collect();
        match shown.values().find(|document| refused.contains(document.head.as_bytes())) {
            Some(document) => Err(broken(
                "I4",
                format!("document {} of device {} stands on a refused entry", document.id, device.index),
            )),
            None => Ok(()),
        }
    }

    /// I4: a device shows its documents as the hub does.
    fn same_at(&self, device: &Device) -> Result<(), Violation> {
        let shown = device.shown().map_err(|error| broken("I7", format!("a device cannot be read: {error}")))?;
        let (own, contested) = match self.has_branches {
            true => (super::journal::ids(device)?, self.contested()),
            false => Default::default(),
        };
        let waiting = self.waiting();
        let arrived: BTreeSet<Id> = self.raw.values().filter_map(|bytes| Act::read(bytes)).map(|act| act.id).collect();
        // What the hub told, then forgot by a restore, its agent brings back unless the hub had let it delete that (R-OLDER-3,
        // R-PRUNE-2): after the retention period, where no backup covered it. Nobody has it then but as the document it came to.
        let is_forgotten = |head: &Id| {
            // one of two copies of a disk is connected at a time: what the hub told the other, it may not know any more
            let may_be_gone = self.has_restores && (device.is_away || self.have_deleted.contains(&device.index));
            may_be_gone && !arrived.contains(head) && !self.written.contains(head)
        };
        for (id, document) in &shown {
            let here = Value::serialized(document).map_err(|error| broken("harness", error.to_string()))?;
            let theirs = self.documents.get(id.as_bytes()).map(|(body, _)| body);
            // what was deleted here and lost at the hub is in a named range there; what came of it waits
            let is_named = self.named.has_lost_of(id.as_bytes())
                || waiting.contains(id.as_bytes())
                || is_forgotten(document.head.as_bytes());
            if theirs != Some(&here) && !is_named && !self.may_differ(id.as_bytes(), &own, &contested) {
                let what = if theirs.is_some() { "differs at" } else { "is missing at" };
                return Err(broken("I4", format!("document {id} of device {} {what} the hub", device.index)));
            }
        }
        self.refused_is_gone(device, &shown)?;
        let own_site = |body: &&Value| field(body, "site").and_then(Value::as_text) == Some(device.site.as_str());
        let at_hub = self.documents.values().map(|(body, _)| body).filter(own_site).count();
        if at_hub > shown.len() && !self.has_branches {
            return Err(broken(
                "I4",
                format!("device {} shows {} documents, the hub {at_hub}", device.index, shown.len()),
            ));
        }
        Ok(())
    }
}

/// Ranges named lost and not filled: from the mark before each to the one at its end.
fn lost(books: &Connection, stream: i64) -> Result<BTreeMap<Mark, Mark>, Violation> {
    let query = "SELECT first_seq - 1, prev_hash, open_last, open_hash FROM lost_range
                 WHERE stream = ?1 AND filled_at IS NULL";
    let mut query = books.prepare_cached(query).map_err(sql)?;
    let rows = query.query_map([stream], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?))));
    rows.map_err(sql)?.collect::<Result<_, _>>().map_err(sql)
}

/// I6: sums of facts and roll-ups are what the documents add up to.
fn ledgers(books: &Connection, papers: &BTreeMap<Id, Paper>) -> Result<(), Violation> {
    let mut stock: BTreeMap<(String, String), i64> = BTreeMap::new();
    let (mut orders, mut surveys) = (0, 0);
    for paper in papers.values().filter(|paper| paper.state != "void") {
        match paper.kind.as_str() {
            "stock_movement" => {
                *stock.entry((paper.text("item"), paper.text("location"))).or_default() += paper.measured("quantity");
            }
            "repair_order" => orders += 1,
            "survey" => surveys += 1,
            _ => {}
        }
    }
    for table in ["fact", "rollup"] {
        let query = format!("SELECT k1, k2, sum(v1) FROM {table} WHERE measure = 'stock' GROUP BY k1, k2");
        let mut query = books.prepare(&query).map_err(sql)?;
        let rows = query.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).map_err(sql)?;
        let mut found: BTreeMap<(String, String), i64> = rows.collect::<Result<_, _>>().map_err(sql)?;
        found.retain(|_, sum| *sum != 0);
        stock.retain(|_, sum| *sum != 0);
        if found != stock {
            return Err(broken("I6", format!("stock by {table} is {found:?}, expected {stock:?}")));
        }
        for (measure, expected) in [("repair", orders), ("satisfaction", surveys)] {
            let query = format!("SELECT coalesce(sum(v1), 0) FROM {table} WHERE measure = ?1");
            let sum: i64 = books.query_row(&query, [measure], |row| row.get(0)).map_err(sql)?;
            if sum != expected {
                return Err(broken("I6", format!("{measure} by {table} is {sum}, expected {expected}")));
            }
        }
    }
    Ok(())
}
