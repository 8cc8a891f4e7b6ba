//! One entry against its document: applied, there before, or set aside with the reason.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::document::fold::{self, Writer};
use waystation_protocol::entry::Entry;
use waystation_protocol::fact::{self, Fact};
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::{self, header};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::{self, Timestamp};
use waystation_protocol::value::Value;

use super::Applier;
use super::history::{self, Record, ShortHash, short_hash};
use super::reason::Reason;
use super::shelf::Card;
use super::slice::{Change, DocumentRow, FactRow, SetAsideRow, SiteUse, Slice, Step};
use super::waiting::SetAside;
use crate::store::{StoreError, raw};

/// Where an entry stands, and when it arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) stream: i64,
    pub(super) seq: Seq,
    pub(super) received_at: Timestamp,
}

/// A slice being put together.
pub(super) struct Draft {
    /// Entries looked at.
    pub(super) entries: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    slice: Slice,
    touched: BTreeMap<DocId, Touched>,
    sites: HashMap<SiteId, (usize, TimeZone)>,
    writers: HashMap<i64, Arc<Sites>>,
}

/// A document this slice changes.
struct Touched {
    is_new: bool,
    facts: Vec<Fact>,
}

/// What an entry makes of its document.
struct Folded {
    document: Document,
    facts: Vec<Fact>,
}

impl Draft {
    pub(super) fn new(generation: u64) -> Draft {
        Draft {
            entries: 0,
            bytes: 0,
            slice: Slice { generation, ..Slice::default() },
            touched: BTreeMap::new(),
            sites: HashMap::new(),
            writers: HashMap::new(),
        }
    }

    /// A stream was judged further. Steps of one stream join.
    pub(super) fn advance(&mut self, step: Step) {
        if step.to == step.from {
            return;
        }
        match self.slice.processed.iter_mut().find(|earlier| earlier.stream == step.stream) {
            Some(earlier) => earlier.to = step.to,
            None => self.slice.processed.push(step),
        }
    }

    /// The sites the stream's agent ever stood for.
    pub(super) fn sites_of(&mut self, conn: &Connection, stream: i64) -> Result<Arc<Sites>, StoreError> {
        if let Some(sites) = self.writers.get(&stream) {
            return Ok(sites.clone());
        }
        let sql = "SELECT stands_for FROM stream JOIN agent ON agent.id = stream.agent WHERE stream.id = ?1";
        let bytes: Vec<u8> = conn.prepare_cached(sql)?.query_row([stream], |row| row.get(0))?;
        let sites: Sites = codec::decode_own(&bytes).map_err(|error| StoreError::damaged(error.to_string()))?;
        let sites = Arc::new(sites);
        self.writers.insert(stream, sites.clone());
        Ok(sites)
    }

    /// The zone of a site, and its place among the slice's sites.
    fn zone(&mut self, conn: &Connection, site: &SiteId) -> Result<(usize, TimeZone), StoreError> {
        if let Some(known) = self.sites.get(site) {
            return Ok(known.clone());
        }
        let sql = "SELECT zone FROM site WHERE site = ?1";
        let name: Option<String> = conn.prepare_cached(sql)?.query_row([site.as_str()], |row| row.get(0)).optional()?;
        let name = name.unwrap_or_else(|| time::DEFAULT_ZONE.to_owned());
        let zone = time::zone(&name).map_err(|_| StoreError::BadZone(name.clone()))?;
        let known = (self.slice.sites.len(), zone);
        self.slice.sites.push(SiteUse { site: site.clone(), zone: name });
        self.sites.insert(site.clone(), known.clone());
        Ok(known)
    }
}

impl Applier {
    /// Judges one entry as it comes in its stream's order.
    pub(super) fn judge(
        &mut self,
        draft: &mut Draft,
        place: Place,
        sites: &Sites,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        draft.entries += 1;
        draft.bytes += bytes.len();
        let entry = match Entry::from_bytes(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                set_aside(draft, place, None, None, Reason::undecodable(&error), bytes);
                return Ok(());
            }
        };
        let (id, hash) = (entry.document(), short_hash(bytes));
        let card = self.shelf.card(&self.conn, id)?;
        let known = history::find(&card.history, entry.id).or_else(|| self.waiting.find(id, entry.id));
        let refused = match known {
            Some(known) if known == hash => {
                draft.slice.repeated += 1;
                return Ok(());
            }
            Some(_) => Some(Reason::same_id()),
            None if self.waiting.is_behind(id, place.stream) => Some(Reason::behind()),
            None if entry.cause.is_some_and(|cause| self.waiting.holds(cause)) => Some(Reason::cause()),
            None => self.try_apply(draft, place, sites, &entry, hash)?,
        };
        let Some(reason) = refused else {
            return self.release(draft, id, Some(place.received_at));
        };
        let site = self.site_of(id, &entry);
        // an id that is taken says nothing about the entry that has it
        if known.is_none() {
            let item = SetAside::new(place.stream, place.seq, &entry, hash, reason.is_parked);
            self.waiting.add(item, &entry);
        }
        set_aside(draft, place, Some(id), site, reason, bytes);
        Ok(())
    }

    /// Applies the entry, or says why not.
    fn try_apply(
        &mut self,
        draft: &mut Draft,
        place: Place,
        sites: &Sites,
        entry: &Entry,
        hash: ShortHash,
    ) -> Result<Option<Reason>, StoreError> {
        let id = entry.document();
        let site = self.site_of(id, entry);
        // a document without a site is refused by the fold, whatever the zone
        let (_, zone) = match &site {
            Some(site) => draft.zone(&self.conn, site)?,
            None => (0, TimeZone::UTC),
        };
        let card = self.shelf.card(&self.conn, id)?;
        let folded = match fold_safely(card, entry, sites, &zone) {
            Ok(folded) => folded,
            Err(reason) => return Ok(Some(reason)),
        };
        let is_new = card.document.is_none();
        card.document = Some(folded.document);
        history::push(&mut card.history, Record { entry: entry.id, stream: place.stream, seq: place.seq, hash });
        if is_new {
            let n = self.shelf.next_n(id);
            self.shelf.card(&self.conn, id)?.n = n;
        }
        let touched = draft.touched.entry(id).or_insert(Touched { is_new, facts: Vec::new() });
        merge(&mut touched.facts, folded.facts);
        draft.slice.applied += 1;
        self.retry.extend(self.waiting.take_caused(entry.id));
        Ok(None)
    }

    /// Tries what is parked on a document, until nothing more passes. `at`: the arrival that may have helped.
    pub(super) fn release(&mut self, draft: &mut Draft, id: DocId, at: Option<Timestamp>) -> Result<(), StoreError> {
        let mut tried: Vec<(i64, Seq)> = Vec::new();
        loop {
            let head = self.shelf.card(&self.conn, id)?.document.as_ref().map(|document| document.head);
            let Some(item) = self.waiting.candidate(id, head, &tried) else { return Ok(()) };
            tried.push((item.stream, item.seq));
            let (bytes, received_at) = raw::entry(&self.conn, item.stream, item.seq)?;
            let entry = Entry::from_bytes(&bytes).map_err(|error| StoreError::damaged(error.to_string()))?;
            draft.entries += 1;
            draft.bytes += bytes.len();
            let sites = draft.sites_of(&self.conn, item.stream)?;
            let place = Place { stream: item.stream, seq: item.seq, received_at };
            match self.try_apply(draft, place, &sites, &entry, item.hash)? {
                None => {
                    self.waiting.remove(id, &item);
                    let at = at.unwrap_or(received_at);
                    draft.slice.changes.push(Change::Released { stream: item.stream, seq: item.seq, at });
                }
                Some(reason) => {
                    if !reason.is_parked {
                        self.waiting.harden(id, &item);
                    }
                    draft.slice.changes.push(Change::Judged { stream: item.stream, seq: item.seq, reason });
                }
            }
        }
    }

    fn site_of(&mut self, id: DocId, entry: &Entry) -> Option<SiteId> {
        let document = self.shelf.at_hand(id).and_then(|card| card.document.as_ref());
        match document {
            Some(document) => Some(document.site.clone()),
            None => entry.set.get(header::SITE.name()).and_then(Value::as_text).and_then(|text| text.parse().ok()),
        }
    }

    /// Makes the rows of everything touched.
    pub(super) fn finish(&mut self, mut draft: Draft) -> Result<Slice, StoreError> {
        for (id, touched) in std::mem::take(&mut draft.touched) {
            let Some(card) = self.shelf.at_hand(id) else { continue };
            let Some(document) = &card.document else { continue };
            let (site, _) = draft.zone(&self.conn, &document.site)?;
            let body = codec::encode(document);
            let row = DocumentRow {
                n: card.n,
                is_new: touched.is_new,
                id,
                kind: document.kind.clone(),
                site,
                state: document.state.clone(),
                number: document.number().map(str::to_owned),
                opened_at: document.opened_at,
                changed_at: document.changed_at,
                search: searched(document),
                body,
                history: card.history.clone(),
            };
            let document = card.n;
            self.shelf.weigh(id, row.body.len() + row.history.len());
            draft.slice.documents.push(row);
            draft.slice.facts.extend(touched.facts.into_iter().map(|fact| FactRow {
                measure: fact.measure,
                site,
                day: fact.day.0,
                document,
                keys: fact.keys,
                values: fact.values,
            }));
        }
        // rows in the order they were given, so that a fresh run is appended and not scattered
        draft.slice.documents.sort_unstable_by_key(|row| row.n);
        Ok(draft.slice)
    }
}

/// Folds, and counts the facts. A defect of ours on one entry must not stop every other document.
fn fold_safely(card: &Card, entry: &Entry, sites: &Sites, zone: &TimeZone) -> Result<Folded, Reason> {
    let known = |id: EntryId| history::find(&card.history, id).is_some();
    let folded = catch_unwind(AssertUnwindSafe(|| {
        let before = card.document.as_ref();
        let document = fold::fold(before, entry, Writer::Agent(sites), &known)?;
        let facts = fact::difference(before, Some(&document), zone);
        Ok(Folded { document, facts })
    }));
    match folded {
        Ok(folded) => folded.map_err(|refusal: fold::Refusal| refusal.into()),
        Err(_) => {
            tracing::error!(entry = %entry.id, "folding panicked");
            Err(Reason::defect())
        }
    }
}

fn set_aside(
    draft: &mut Draft,
    place: Place,
    document: Option<DocId>,
    site: Option<SiteId>,
    reason: Reason,
    bytes: &[u8],
) {
    if reason.is_parked {
        tracing::debug!(stream = place.stream, seq = place.seq.0, code = reason.code, "entry parked");
    } else {
        tracing::warn!(stream = place.stream, seq = place.seq.0, code = reason.code, "entry put into quarantine");
    }
    draft.slice.set_aside.push(SetAsideRow {
        stream: place.stream,
        seq: place.seq,
        site,
        document,
        reason,
        since: place.received_at,
        entry: bytes.to_vec(),
    });
}

/// Adds signed rows to signed rows; those that cancel are left out.
fn merge(facts: &mut Vec<Fact>, more: Vec<Fact>) {
    for fact in more {
        let is_same = |other: &&mut Fact| {
            other.measure.name == fact.measure.name && other.day == fact.day && other.keys == fact.keys
        };
        match facts.iter_mut().find(is_same) {
            Some(sum) => {
                sum.values.iter_mut().zip(&fact.values).for_each(|(sum, value)| *sum = sum.saturating_add(*value));
            }
            None => facts.push(fact),
        }
    }
    facts.retain(|fact| fact.values.iter().any(|value| *value != 0));
}

/// What people look a document up by, one per line.
fn searched(document: &Document) -> String {
    let fields = kind::find(&document.kind).map_or(&[][..], |kind| kind.fields);
    let names = header::FIELDS.iter().chain(fields).filter(|field| field.is_searched).map(|field| field.name);
    let texts = names.filter_map(|name| document.fields.get(name).and_then(Value::as_text));
    texts.collect::<Vec<_>>().join("\n")
}
