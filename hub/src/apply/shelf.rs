//! Documents at hand: those touched lately, as all entries judged so far make them.
//!
//! The shelf runs ahead of the database by the slices that are not committed yet. It is cleared only when none is on
//! the way, so a document is never read back older than it is.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};
use waystation_protocol::codec;
use waystation_protocol::document::Document;
use waystation_protocol::id::DocId;

use crate::store::StoreError;

/// Most documents at hand: eight slices of fresh ones.
const CARDS: usize = 16_384;

/// Most bytes of them, as encoded.
const BYTES: usize = 64 * 1024 * 1024;

/// One document.
#[derive(Debug, Default)]
pub(super) struct Card {
    /// Its row; 0 before its first entry is applied.
    pub(super) n: i64,
    /// As it is; none before its first entry is applied.
    pub(super) document: Option<Document>,
    /// What made it.
    pub(super) history: Vec<u8>,
    bytes: usize,
}

/// The documents at hand.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    cards: HashMap<DocId, Card>,
    bytes: usize,
    last_n: i64,
    /// The highest document id by its first bytes, slices on the way included.
    highest: HashMap<Prefix, DocId>,
}

/// The random part of an id: one process start of one agent, which then counts upward. An id above the highest of its
/// prefix is a document nobody has, so a fresh one costs no look into the database.
type Prefix = [u8; 10];

/// Most prefixes remembered.
const PREFIXES: usize = 65_536;

impl Shelf {
    /// An empty shelf.
    pub(super) fn new(conn: &Connection) -> Result<Shelf, StoreError> {
        let last_n = conn.query_row("SELECT coalesce(max(n), 0) FROM document", [], |row| row.get(0))?;
        Ok(Shelf { last_n, ..Shelf::default() })
    }

    /// Whether it should be cleared before the next slice.
    pub(super) fn is_full(&self) -> bool {
        self.cards.len() > CARDS || self.bytes > BYTES
    }

    /// Puts everything back. Only while no slice is on the way.
    pub(super) fn clear(&mut self) {
        self.cards.clear();
        self.bytes = 0;
        if self.highest.len() > PREFIXES {
            self.highest.clear();
        }
    }

    /// The document's card, read where it is not at hand.
    pub(super) fn card(&mut self, conn: &Connection, id: DocId) -> Result<&mut Card, StoreError> {
        if !self.cards.contains_key(&id) {
            let card = if self.may_exist(conn, id)? { load(conn, id)? } else { Card::default() };
            self.bytes += card.bytes;
            self.cards.insert(id, card);
        }
        Ok(self.cards.get_mut(&id).expect("it was at hand or has just been put there"))
    }

    /// A card at hand.
    pub(super) fn at_hand(&mut self, id: DocId) -> Option<&mut Card> {
        self.cards.get_mut(&id)
    }

    /// A row for a new document.
    pub(super) fn next_n(&mut self, id: DocId) -> i64 {
        let highest = self.highest.entry(prefix(id)).or_insert(id);
        *highest = (*highest).max(id);
        self.last_n += 1;
        self.last_n
    }

    fn may_exist(&mut self, conn: &Connection, id: DocId) -> Result<bool, StoreError> {
        if let Some(highest) = self.highest.get(&prefix(id)) {
            return Ok(id <= *highest);
        }
        let [mut first, mut last] = [[0; 16], [0xff; 16]];
        first[..10].copy_from_slice(&prefix(id));
        last[..10].copy_from_slice(&prefix(id));
        let sql = "SELECT max(id) FROM document WHERE id BETWEEN ?1 AND ?2";
        let highest: Option<[u8; 16]> = conn.prepare_cached(sql)?.query_row([first, last], |row| row.get(0))?;
        let highest = DocId::from_bytes(highest.unwrap_or(first));
        self.highest.insert(prefix(id), highest);
        Ok(id <= highest)
    }

    /// Notes how large a document became.
    pub(super) fn weigh(&mut self, id: DocId, bytes: usize) {
        if let Some(card) = self.cards.get_mut(&id) {
            self.bytes = self.bytes - card.bytes + bytes;
            card.bytes = bytes;
        }
    }
}

fn prefix(id: DocId) -> Prefix {
    let mut prefix = [0; 10];
    prefix.copy_from_slice(&id.as_bytes()[..10]);
    prefix
}

fn load(conn: &Connection, id: DocId) -> Result<Card, StoreError> {
    let sql = "SELECT n, body, history FROM document WHERE id = ?1";
    let found = conn.prepare_cached(sql)?.query_row([id.as_bytes()], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
    });
    let Some((n, body, history)) = found.optional()? else { return Ok(Card::default()) };
    let document = codec::decode_own(&body)
        .map_err(|error| StoreError::damaged(format!("document {id} cannot be read: {error}")))?;
    Ok(Card { n, document: Some(document), bytes: body.len() + history.len(), history })
}
