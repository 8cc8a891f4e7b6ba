//! What people do at the hub: acts on documents, captured as entries of the hub's own journal.
//!
//! One act at a time: the next is captured only once the one before is processed, so that every act is checked against
//! the document as it is. The call returns when its entry is applied; what it brings about follows in the same commit.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::{Problem, Wish};
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::time::Timestamp;

use super::freeze;
use super::own::{self, Own};
use super::stage::Stage;
use crate::clock;
use crate::rules::Rules;
use crate::store::{Store, StoreError, read_document};

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

/// An act that is stored, on its way to its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    /// The journal it stands in.
    own: Own,
    document: DocId,
    entry: EntryId,
}

impl Deed {
    /// Its entry; those of its effects follow it.
    #[must_use]
    pub fn entry(&self) -> EntryId {
        self.entry
    }

    /// The document acted on.
    #[must_use]
    pub fn document(&self) -> DocId {
        self.document
    }

    /// How far its journal is stored with it, for whoever processes it.
    pub(crate) fn grown(&self) -> (i64, Seq) {
        own::grown(self.own)
    }
}

impl Store {
    /// Acts as the hub on the document named, or opens one. `seen`: the last state entry its author saw. Returns once the
    /// act is applied, at most `patience_ms` after it was stored.
    ///
    /// # Errors
    ///
    /// [`ActError`] says why nothing was done; or the store failed.
    pub fn act(&self, wish: Wish, seen: Option<EntryId>, patience_ms: u64) -> Result<Document, ActError> {
        let (mut changes, started) = (self.watch_changes(), clock::tick());
        let is_late = || clock::tick().since(started) >= patience_ms;
        let deed = loop {
            changes.mark_unchanged();
            let (office, wish, now) = (self.office(), wish.clone(), clock::now());
            match self.command(Box::new(move |conn| Ok(begin(conn, &office, wish, seen, now))))?? {
                Some(deed) => break deed,
                None if is_late() => return Err(ActError::Busy),
                None => self.wait_for_change(&mut changes)?,
            }
        };
        self.tell_stored(&[deed.grown()]);
        loop {
            changes.mark_unchanged();
            match outcome(&*self.reader()?, &deed)? {
                Some(document) => return Ok(document),
                None if is_late() => return Err(ActError::Busy),
                None => self.wait_for_change(&mut changes)?,
            }
        }
    }
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

/// Captures and stores, within the writer's transaction; nothing is written unless all of it can be. None while an earlier
/// act, or what agents brought back after a restore, is not processed: the document is not yet as it will be.
pub(crate) fn begin(
    conn: &Connection,
    (dir, rules): &(PathBuf, Rules),
    wish: Wish,
    seen: Option<EntryId>,
    now: Timestamp,
) -> Result<Option<Deed>, ActError> {
    let own = own::acts(conn, now)?;
    let mut stage = Stage::new(conn, rules, own.stored.seq, now);
    let head = wish.document.map(|id| stage.document(id).map(|document| document.head)).transpose()?;
    if own.processed < own.stored.seq || freeze::is_returning(conn)? {
        return Ok(None);
    }
    if seen.is_some() && seen != head {
        return Err(ActError::Superseded);
    }
    let (document, entry) = stage.capture(wish)?;
    stage.counters.save(conn, dir)?;
    let own = own::append(conn, own, &stage.entries, now)?;
    Ok(Some(Deed { own, document, entry }))
}

/// The document once the act is applied; none before that.
pub(crate) fn outcome(conn: &Connection, deed: &Deed) -> Result<Option<Document>, ActError> {
    if processed(conn, deed.own.row)? < deed.own.stored.seq {
        return Ok(None);
    }
    if let Some(reason) = set_aside(conn, deed.own)? {
        return Err(reason);
    }
    read_document(conn, deed.document)?.ok_or(ActError::NotFound(deed.document)).map(Some)
}
