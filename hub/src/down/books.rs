//! What the hub knows where it acts: the network's rules, when things arrived, and every document.

use std::cell::RefCell;

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Books;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::stock_movement;
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;

use crate::apply::history;
use crate::rules::Rules;
use crate::store::{StoreError, document_at, int};

/// The books as one act finds them. A failed read is kept for after the capture.
pub(super) struct HubBooks<'a> {
    pub(super) conn: &'a Connection,
    pub(super) rules: &'a Rules,
    /// How far the hub's own journal goes.
    pub(super) head: Seq,
    /// The document acted on.
    pub(super) document: Option<DocId>,
    pub(super) failure: RefCell<Option<StoreError>>,
}

impl HubBooks<'_> {
    fn kept<T: Default>(&self, found: Result<T, StoreError>) -> T {
        found.unwrap_or_else(|error| {
            self.failure.replace(Some(error));
            T::default()
        })
    }

    /// Entries are looked for on the document acted on alone.
    fn arrival(&self, entry: EntryId) -> Result<Option<Timestamp>, StoreError> {
        let Some(document) = self.document else { return Ok(None) };
        let sql = "SELECT history FROM document WHERE id = ?1";
        let history: Option<Vec<u8>> =
            self.conn.prepare_cached(sql)?.query_row([document.as_bytes()], |row| row.get(0)).optional()?;
        let records = history.map(|history| history::read(&history)).unwrap_or_default();
        let Some(record) = records.into_iter().find(|record| record.entry == entry) else { return Ok(None) };
        let sql = "SELECT received_at FROM raw WHERE stream = ?1 AND first_seq <= ?2 AND last_seq >= ?2
                   ORDER BY first_seq DESC LIMIT 1";
        let place = params![record.stream, int(record.seq)];
        Ok(self.conn.prepare_cached(sql)?.query_row(place, |row| row.get(0).map(Timestamp)).optional()?)
    }

    /// The stock of the site whose document is acted on, as far as its journals are processed.
    fn on_hand(&self, item: &str, location: &str) -> Result<i64, StoreError> {
        let Some(document) = self.document else { return Ok(0) };
        let sql = "SELECT coalesce(sum(v1), 0) FROM rollup WHERE measure = ?1 AND k1 = ?2 AND k2 = ?3
                   AND site = (SELECT site FROM document WHERE id = ?4)";
        let of = params![stock_movement::STOCK.name, item, location, document.as_bytes()];
        Ok(self.conn.prepare_cached(sql)?.query_row(of, |row| row.get(0))?)
    }

    fn one(&self, id: DocId) -> Result<Option<Document>, StoreError> {
        let mut statement = self.conn.prepare_cached("SELECT body FROM document WHERE id = ?1")?;
        let mut rows = statement.query([id.as_bytes()])?;
        rows.next()?.map(|row| document_at(row, 0)).transpose()
    }

    fn of_site(&self, kind: &str, site: &SiteId) -> Result<Vec<Document>, StoreError> {
        let sql =
            "SELECT body FROM document WHERE kind = ?1 AND site = (SELECT id FROM site WHERE site = ?2) ORDER BY n";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([kind, site.as_str()])?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            documents.push(document_at(row, 0)?);
        }
        Ok(documents)
    }
}

impl Books for HubBooks<'_> {
    /// Where it counts, it goes on with the sheet of an outlet whose pen it took.
    fn on_hand_milli(&self, item: &str, location: &str) -> i64 {
        self.kept(self.on_hand(item, location))
    }

    fn positions(&self) -> (u64, u64) {
        (self.head.0, 0)
    }

    fn rule(&self, name: &str) -> Option<i64> {
        self.rules.find(name)
    }

    fn received_at(&self, entry: EntryId) -> Option<Timestamp> {
        self.kept(self.arrival(entry))
    }

    fn find(&self, document: DocId) -> Option<Document> {
        self.kept(self.one(document))
    }

    fn documents(&self, kind: &str, site: &SiteId) -> Vec<Document> {
        self.kept(self.of_site(kind, site))
    }
}
