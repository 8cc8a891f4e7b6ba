//! A slice being put together: what was judged so far, and the rows it becomes.
//!
//! Nothing here decides about an entry.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::document::flow::VOID;
use waystation_protocol::document::fold::Writer;
use waystation_protocol::fact::Fact;
use waystation_protocol::id::DocId;
use waystation_protocol::kind::{self, Cross, Trait, header};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time;
use waystation_protocol::value::Value;

use super::Applier;
use super::slice::{DocumentRow, FactRow, SiteUse, Slice, Step};
use crate::store::StoreError;

/// A slice being put together.
pub(super) struct Draft {
    /// Entries looked at.
    pub(super) entries: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    pub(super) slice: Slice,
    /// Entries that left quarantine in this slice.
    pub(super) gone: HashSet<(i64, Seq)>,
    touched: BTreeMap<DocId, Touched>,
    sites: HashMap<SiteId, (usize, TimeZone)>,
    origins: HashMap<i64, Arc<Origin>>,
}

/// Whose the entries of a stream are.
pub(super) enum Origin {
    /// An agent's, with the sites it ever stood for.
    Agent(Sites),
    /// The hub's own.
    Hub,
    /// Others', which a hub had accepted before: agents brought them back.
    Accepted,
}

impl Origin {
    /// As the fold sees it.
    pub(super) fn writer(&self) -> Writer<'_> {
        match self {
            Origin::Agent(sites) => Writer::Agent(sites),
            Origin::Hub => Writer::Hub,
            Origin::Accepted => Writer::Accepted,
        }
    }
}

/// A document this slice changes.
struct Touched {
    is_new: bool,
    facts: Vec<Fact>,
}

impl Draft {
    pub(super) fn new(generation: u64) -> Draft {
        Draft {
            entries: 0,
            bytes: 0,
            slice: Slice { generation, ..Slice::default() },
            gone: HashSet::new(),
            touched: BTreeMap::new(),
            sites: HashMap::new(),
            origins: HashMap::new(),
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

    /// Whose the entries of a stream are.
    pub(super) fn origin_of(&mut self, conn: &Connection, stream: i64) -> Result<Arc<Origin>, StoreError> {
        if let Some(origin) = self.origins.get(&stream) {
            return Ok(origin.clone());
        }
        let sql = "SELECT stands_for, is_hub, is_down FROM stream JOIN agent ON agent.id = stream.agent
                   WHERE stream.id = ?1";
        let (bytes, is_hub, is_down): (Vec<u8>, bool, bool) =
            conn.prepare_cached(sql)?.query_row([stream], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let sites = codec::decode_own(&bytes).map_err(|error| StoreError::damaged(error.to_string()))?;
        let origin = match (is_down, is_hub) {
            (true, _) => Origin::Accepted,
            (false, true) => Origin::Hub,
            (false, false) => Origin::Agent(sites),
        };
        let origin = Arc::new(origin);
        self.origins.insert(stream, origin.clone());
        Ok(origin)
    }

    /// The zone of a site, and its place among the slice's sites.
    pub(super) fn zone(&mut self, conn: &Connection, site: &SiteId) -> Result<(usize, TimeZone), StoreError> {
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

    /// A document changed, with these facts more or less.
    pub(super) fn touch(&mut self, id: DocId, is_new: bool, facts: Vec<Fact>) {
        let touched = self.touched.entry(id).or_insert(Touched { is_new, facts: Vec::new() });
        merge(&mut touched.facts, facts);
    }
}

impl Applier {
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
                traits: traits_of(document),
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

/// What a document contributes to the rules its kind takes part in. A void one contributes nothing.
fn traits_of(document: &Document) -> Vec<(&'static Cross, Option<Trait>)> {
    let rules = kind::find(&document.kind).map_or(&[][..], |kind| kind.cross);
    let is_void = document.state == VOID.name;
    let found = |cross: &'static Cross| {
        if is_void {
            return None;
        }
        // a defect of ours on one document must not stop every other one
        catch_unwind(AssertUnwindSafe(|| (cross.of)(document))).unwrap_or_else(|_| {
            tracing::error!(document = %document.id, rule = cross.name, "comparing panicked");
            None
        })
    };
    rules.iter().map(|cross| (cross, found(cross))).collect()
}

/// What people look a document up by, one per line.
fn searched(document: &Document) -> String {
    let fields = kind::find(&document.kind).map_or(&[][..], |kind| kind.fields);
    let names = header::FIELDS.iter().chain(fields).filter(|field| field.is_searched).map(|field| field.name);
    let texts = names.filter_map(|name| document.fields.get(name).and_then(Value::as_text));
    texts.collect::<Vec<_>>().join("\n")
}
