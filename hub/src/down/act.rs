//! What people do at the hub: an act on a document, captured as an entry of the hub's own journal.
//!
//! One act at a time: the next is captured only once the one before is processed, so that every act is checked against
//! the document as it is. The call returns when its entry is applied; what it brings about follows in the same commit.

use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::{self, Books, Captured, Effect, Moment, Problem, Wish};
use waystation_protocol::document::fold::Writer;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::header;
use waystation_protocol::time::{ClockQuality, Timestamp};
use waystation_protocol::value::Value;

use super::freeze;
use super::own::{self, Own};
use crate::clock;
use crate::store::{Store, StoreError, read_document};

/// No act brings about more than this, directly or by its effects.
const ENTRIES: usize = 4_096;

/// Why an act was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// There is no such document.
    #[error("there is no document {0}")]
    NotFound(DocId),
    /// The document is not as it was seen any more.
    #[error("the document has changed since it was seen; open it again")]
    Superseded,
    /// The hub came back older, and not every agent of the site has brought back what it holds.
    #[error("site '{0}' is read-only until all its agents brought back what they hold, or the restore is released")]
    Frozen(String),
    /// Everything that is wrong with it.
    #[error("the act has problems")]
    Problems(Vec<Problem>),
    /// Other acts are still being processed.
    #[error("the hub is busy with earlier acts; try again")]
    Busy,
    /// The entry is stored and was set aside: something came in between.
    #[error("the act was set aside: {0}")]
    SetAside(String),
    /// The store failed; whether the act was done is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of an attempt to capture.
enum Attempt {
    Captured(Own),
    /// An earlier act is not processed yet.
    Waits,
}

impl Store {
    /// Acts on a document as the hub. `seen`: the last state entry its author saw. Returns once the act is applied, at
    /// most `patience_ms` after it was stored.
    ///
    /// # Errors
    ///
    /// [`ActError`] says why nothing was done; or the store failed.
    pub fn act(&self, wish: Wish, seen: Option<EntryId>, patience_ms: u64) -> Result<Document, ActError> {
        let Some(id) = wish.document else { return Err(ActError::Problems(vec![no_opening()])) };
        let (mut changes, started) = (self.watch_changes(), clock::tick());
        let own = loop {
            changes.mark_unchanged();
            let (wish, now) = (wish.clone(), clock::now());
            match self.command(Box::new(move |conn| Ok(attempt(conn, &wish, seen, now))))?? {
                Attempt::Captured(own) => break own,
                Attempt::Waits if clock::tick().since(started) >= patience_ms => return Err(ActError::Busy),
                Attempt::Waits => self.wait_for_change(&mut changes)?,
            }
        };
        self.tell_stored(&[own::grown(own)]);
        loop {
            changes.mark_unchanged();
            if processed(&*self.reader()?, own.row)? >= own.stored.seq {
                break;
            }
            if clock::tick().since(started) >= patience_ms {
                return Err(ActError::Busy);
            }
            self.wait_for_change(&mut changes)?;
        }
        let conn = self.reader()?;
        if let Some(reason) = set_aside(&conn, own)? {
            return Err(reason);
        }
        read_document(&conn, id)?.ok_or(ActError::NotFound(id))
    }
}

fn no_opening() -> Problem {
    Problem::at("document", "须指明单据", "an act of the hub names its document")
}

fn processed(conn: &Connection, row: i64) -> Result<Seq, StoreError> {
    let sql = "SELECT processed_seq FROM stream WHERE id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([row], |row| crate::store::seq_at(row, 0))?)
}

/// Why the last entries of the journal were set aside, if one was.
fn set_aside(conn: &Connection, own: Own) -> Result<Option<ActError>, StoreError> {
    let sql = "SELECT code, reason FROM quarantine WHERE stream = ?1 AND seq > ?2 AND resolved_at IS NULL LIMIT 1";
    let after = crate::store::int(own.processed);
    let found = conn
        .prepare_cached(sql)?
        .query_row([own.row, after], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    Ok(found.optional()?.map(|(code, reason)| {
        if code == crate::apply::reason::SUPERSEDED { ActError::Superseded } else { ActError::SetAside(reason) }
    }))
}

/// Captures and stores, within the writer's transaction. Nothing is written unless all of it can be.
fn attempt(conn: &Connection, wish: &Wish, seen: Option<EntryId>, now: Timestamp) -> Result<Attempt, ActError> {
    let id = wish.document.unwrap_or(DocId::from_bytes([0; 16]));
    let document = read_document(conn, id)?.ok_or(ActError::NotFound(id))?;
    if freeze::is_frozen(conn, document.site.as_str())? {
        return Err(ActError::Frozen(document.site.to_string()));
    }
    let own = own::acts(conn, now)?;
    if own.processed < own.stored.seq {
        return Ok(Attempt::Waits);
    }
    if seen.is_some_and(|seen| seen != document.head) {
        return Err(ActError::Superseded);
    }
    let wish = Wish { kind: document.kind.clone(), ..wish.clone() };
    let entries = captured(document, wish, own.stored.seq, now)?;
    let stored = own::append(conn, own, &entries, now)?;
    Ok(Attempt::Captured(stored))
}

/// The act's entry and those of its effects, in the order of their causes.
fn captured(document: Document, wish: Wish, head: Seq, now: Timestamp) -> Result<Vec<Vec<u8>>, ActError> {
    let author = wish.author.clone();
    let mut documents = vec![document];
    let mut wishes = std::collections::VecDeque::from([wish]);
    let mut entries = Vec::new();
    while let Some(wish) = wishes.pop_front() {
        if entries.len() == ENTRIES {
            return Err(ActError::Problems(vec![Problem::whole("此操作牵涉过多", "the act brings about too much")]));
        }
        let before = wish.document.and_then(|id| documents.iter().position(|document| document.id == id));
        let Captured { entry, document, effects } =
            capture_one(before.map(|index| &documents[index]), wish, head, now)?;
        entries.push(entry.to_bytes());
        for effect in effects {
            wishes.push_back(wish_of(effect, &document, entry.id, &author)?);
        }
        match before {
            Some(index) => documents[index] = document,
            None => documents.push(document),
        }
    }
    Ok(entries)
}

fn capture_one(before: Option<&Document>, wish: Wish, head: Seq, now: Timestamp) -> Result<Captured, ActError> {
    let id = EntryId::from_bytes(clock::random_id().map_err(StoreError::from)?);
    let moment = Moment { id, now, mono_ms: clock::tick().0, boot: 0, clock: ClockQuality::Compared.code() };
    capture::capture(before, wish, moment, Writer::Hub, &OwnBooks { head }).map_err(ActError::Problems)
}

fn wish_of(effect: Effect, document: &Document, cause: EntryId, author: &str) -> Result<Wish, ActError> {
    let (author, cause) = (author.to_owned(), Some(cause));
    match effect {
        Effect::Open { kind, act, mut set } => {
            set.entry(header::SITE.name().to_owned()).or_insert_with(|| Value::from(document.site.as_str()));
            Ok(Wish { document: None, kind: kind.to_owned(), act: act.to_owned(), set, author, cause })
        }
        // no act of the hub notes on another document yet
        Effect::Note { document: other, set } if other == document.id => {
            let (kind, act) = (document.kind.clone(), header::NOTE.to_owned());
            Ok(Wish { document: Some(other), kind, act, set, author, cause })
        }
        Effect::Note { document: other, .. } => Err(ActError::NotFound(other)),
    }
}

/// What the hub knows where it acts: it counts nothing itself.
struct OwnBooks {
    head: Seq,
}

impl Books for OwnBooks {
    fn on_hand_milli(&self, _item: &str, _location: &str) -> i64 {
        0
    }

    fn positions(&self) -> (u64, u64) {
        (self.head.0, 0)
    }
}
