//! One act of the hub's with all it brings about, captured and not yet stored.
//!
//! Every document it touches is read once and then is as the act leaves it. Nothing is written here.

use std::cell::RefCell;
use std::collections::VecDeque;

use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::{self, Captured, Effect, Moment, Problem, Wish};
use waystation_protocol::document::fold::Writer;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::{self, header};
use waystation_protocol::number::Series;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;
use waystation_protocol::time::{self, ClockQuality, Timestamp};
use waystation_protocol::value::Value;

use super::act::ActError;
use super::books::HubBooks;
use super::freeze;
use super::readers::Readers;
use crate::clock;
use crate::rules::Rules;
use crate::store::numbers::{self, Counters};
use crate::store::{StoreError, read_document};

/// No act brings about more than this, directly or by its effects.
const ENTRIES: usize = 4_096;

/// An act in the making.
pub(super) struct Stage<'a> {
    pub(super) conn: &'a Connection,
    pub(super) rules: &'a Rules,
    /// How far the hub's own journal goes.
    pub(super) head: Seq,
    pub(super) now: Timestamp,
    documents: Vec<Document>,
    pub(super) counters: Counters,
    /// What was captured, in the order of causes.
    pub(super) entries: Vec<Vec<u8>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(conn: &'a Connection, rules: &'a Rules, head: Seq, now: Timestamp) -> Stage<'a> {
        Stage { conn, rules, head, now, documents: Vec::new(), counters: Counters::default(), entries: Vec::new() }
    }

    /// A document as the act leaves it so far. One that is read-only for now is refused.
    pub(super) fn document(&mut self, id: DocId) -> Result<&Document, ActError> {
        let at = match self.documents.iter().position(|document| document.id == id) {
            Some(at) => at,
            None => {
                let document = read_document(self.conn, id)?.ok_or(ActError::NotFound(id))?;
                self.check_free(&document.site)?;
                self.documents.push(document);
                self.documents.len() - 1
            }
        };
        Ok(&self.documents[at])
    }

    /// Captures an act and all its effects. Gives the document acted on, and the act's entry.
    pub(super) fn capture(&mut self, wish: Wish) -> Result<(DocId, EntryId), ActError> {
        if let Some(problem) = reserved(&wish) {
            return Err(ActError::Problems(vec![problem]));
        }
        let author = wish.author.clone();
        let mut wishes = VecDeque::from([wish]);
        let mut first = None;
        while let Some(wish) = wishes.pop_front() {
            if self.entries.len() == ENTRIES {
                return Err(ActError::Problems(vec![Problem::whole(
                    "此操作牵涉过多",
                    "the act brings about too much",
                )]));
            }
            let Captured { entry, document, effects } = self.capture_one(wish)?;
            self.entries.push(entry.to_bytes());
            first.get_or_insert((document.id, entry.id));
            let is_left_out = |effect: &Effect| match effect {
                Effect::Open { .. } => is_planted(Plant::HubEffectsLeftOut),
                Effect::Note { .. } => is_planted(Plant::DirectiveLeftOut),
            };
            for effect in effects.into_iter().filter(|effect| !is_left_out(effect)) {
                wishes.push_back(self.wish_of(effect, &document.site, entry.id, &author)?);
            }
            match self.documents.iter_mut().find(|known| known.id == document.id) {
                Some(known) => *known = document,
                None => self.documents.push(document),
            }
        }
        Ok(first.expect("an act is one entry or more"))
    }

    fn capture_one(&mut self, mut wish: Wish) -> Result<Captured, ActError> {
        let before = wish.document.map(|id| self.document(id).cloned()).transpose()?;
        let series = match &before {
            Some(before) => {
                wish.kind.clone_from(&before.kind);
                None
            }
            None => self.prepare_opening(&mut wish)?,
        };
        let id = EntryId::from_bytes(clock::random_id().map_err(StoreError::from)?);
        let (now, clock) = (self.now, ClockQuality::Compared.code());
        let moment = Moment { id, now, mono_ms: clock::tick().0, boot: 0, clock };
        let document = before.as_ref().map(|document| document.id);
        let failure = RefCell::new(None);
        let books = HubBooks { conn: self.conn, rules: self.rules, head: self.head, document, failure };
        let captured = capture::capture(before.as_ref(), wish, moment, Writer::Hub, &books);
        if let Some(error) = books.failure.into_inner() {
            return Err(error.into());
        }
        let captured = captured.map_err(ActError::Problems)?;
        check_readers(self.conn, &captured)?;
        if let Some((series, counter)) = series {
            self.counters.take(series, counter);
        }
        Ok(captured)
    }

    /// Gives an opening its number; its site must be one that the hub knows.
    fn prepare_opening(&mut self, wish: &mut Wish) -> Result<Option<(Series, u64)>, ActError> {
        let named = wish.set.entry(header::SITE.name().to_owned()).or_insert_with(|| SiteId::hub().as_str().into());
        let site: Option<SiteId> = named.as_text().and_then(|site| site.parse().ok());
        // what names no kind or no site is refused by the capture
        let (Some(site), Some(kind)) = (site, kind::find(&wish.kind)) else { return Ok(None) };
        let Some(zone) = zone_of(self.conn, &site)? else {
            return Err(unknown_site(Some(header::SITE.name().to_owned()), &site));
        };
        self.check_free(&site)?;
        let series = Series::new(kind.code, &site, numbers::TAG, self.now.day(&zone));
        let counter = self.counters.peek(self.conn, &series)?;
        wish.set.insert(header::NUMBER.name().to_owned(), Value::Text(series.number(counter)));
        Ok(Some((series, counter)))
    }

    fn check_free(&self, site: &SiteId) -> Result<(), ActError> {
        if freeze::is_frozen(self.conn, site.as_str())? { Err(ActError::Frozen(site.to_string())) } else { Ok(()) }
    }

    fn wish_of(&mut self, effect: Effect, site: &SiteId, cause: EntryId, author: &str) -> Result<Wish, ActError> {
        let (author, cause) = (author.to_owned(), Some(cause));
        match effect {
            Effect::Open { kind, act, mut set } => {
                set.entry(header::SITE.name().to_owned()).or_insert_with(|| Value::from(site.as_str()));
                Ok(Wish { document: None, kind: kind.to_owned(), act: act.to_owned(), set, author, cause })
            }
            Effect::Note { document, set } => {
                let kind = self.document(document)?.kind.clone();
                let act = header::NOTE.to_owned();
                Ok(Wish { document: Some(document), kind, act, set, author, cause })
            }
        }
    }
}

/// What nobody may wish for: a number, and the act that skips the checks.
fn reserved(wish: &Wish) -> Option<Problem> {
    if wish.act == header::IMPORTED {
        return Some(Problem::at("act", "导入须由采集端进行", "only agents import"));
    }
    let is_numbered = wish.set.contains_key(header::NUMBER.name());
    is_numbered.then(|| Problem::at(header::NUMBER.name(), "单号由系统编制", "the hub gives numbers"))
}

/// Nothing goes to a site that the hub does not know.
fn check_readers(conn: &Connection, captured: &Captured) -> Result<(), ActError> {
    for site in Readers::of(&captured.document).others() {
        if zone_of(conn, site)?.is_none() {
            let names =
                |(_, value): &(&String, &Value)| value.as_text().is_some_and(|text| text.contains(site.as_str()));
            let field = captured.entry.set.iter().find(names).map(|(key, _)| key.clone());
            return Err(unknown_site(field, site));
        }
    }
    Ok(())
}

fn unknown_site(field: Option<String>, site: &SiteId) -> ActError {
    let (zh, en) = (format!("没有网点“{site}”"), format!("there is no site '{site}'"));
    ActError::Problems(vec![Problem { field, zh, en }])
}

/// A site's zone; none where the hub knows no such site.
fn zone_of(conn: &Connection, site: &SiteId) -> Result<Option<TimeZone>, StoreError> {
    let sql = "SELECT zone FROM site WHERE site = ?1";
    let name: Option<String> = conn.prepare_cached(sql)?.query_row([site.as_str()], |row| row.get(0)).optional()?;
    let name = name.or_else(|| site.is_hub().then(|| time::DEFAULT_ZONE.to_owned()));
    name.map(|name| time::zone(&name).map_err(|_| StoreError::BadZone(name))).transpose()
}
