//! Applied entries on their way to the agents that must know them.
//!
//! An agent is told, verbatim and in the order of application, every applied entry by others on documents of the sites
//! it ever stood for, on those whose pen such a site holds or held, and on those whose kind says so. A site that comes
//! to be told of a document hears its whole accepted chain first. Of an entry for which a fix stands, the receipt of the
//! fix comes first: the captured bytes alone do not fold.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::down::{Amended, Fate, Receipt, Stamp};
use waystation_protocol::id::{DocId, EntryId, StreamId};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;

use super::journal::{self, Item};
use super::readers::{EVERYONE, Readers};
use crate::apply::history;
use crate::apply::standing::fields;
use crate::store::{StoreError, array_at, raw, seq_at};

/// An entry of a document, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) document: DocId,
    pub(crate) entry: EntryId,
    pub(crate) stream: i64,
    pub(crate) seq: Seq,
}

/// An entry applied just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) entry: Relayed,
    pub(crate) is_opening: bool,
    /// Its document's row and site.
    pub(crate) n: i64,
    pub(crate) site: SiteId,
    /// Who is told of the document as it then is.
    pub(crate) readers: Readers,
}

/// Relays entries within one transaction: remembers who is to be told and which batch was open.
pub(crate) struct Relay<'a> {
    pub(super) conn: &'a Connection,
    now: Timestamp,
    /// The rows of sites.
    pub(super) sites: HashMap<SiteId, i64>,
    audiences: HashMap<i64, Vec<Listener>>,
    /// How far each stream is an agent's own.
    own: HashMap<(i64, i64), Seq>,
    open: Option<(i64, raw::Stored)>,
}

/// An agent that is told of a site's documents.
#[derive(Debug, Clone, Copy)]
struct Listener {
    agent: i64,
    /// It will be told of documents from this row on when its turn comes.
    due_from: Option<i64>,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(conn: &'a Connection, now: Timestamp) -> Relay<'a> {
        let (sites, audiences, own) = (HashMap::new(), HashMap::new(), HashMap::new());
        Relay { conn, now, sites, audiences, own, open: None }
    }

    /// Tells everyone who must know of an applied entry.
    pub(crate) fn spread(&mut self, applied: &Applied) -> Result<(), StoreError> {
        let circles = self.circles(applied)?;
        for (circle, is_new) in circles {
            let mut audience = self.audience(circle)?;
            if is_planted(Plant::RelaySkipsOne) {
                audience.pop();
            }
            for listener in audience {
                match listener.due_from {
                    Some(from) if applied.n >= from => {}
                    _ if is_new && !applied.is_opening => self.tell_chain(listener.agent, applied)?,
                    _ => self.tell(listener.agent, &applied.entry)?,
                }
            }
        }
        Ok(())
    }

    /// Tells one agent everything that made a document, up to an entry applied just now.
    fn tell_chain(&mut self, agent: i64, applied: &Applied) -> Result<(), StoreError> {
        let sql = "SELECT history FROM document WHERE n = ?1";
        let history: Vec<u8> = self.conn.prepare_cached(sql)?.query_row([applied.n], |row| row.get(0))?;
        for record in history::read(&history) {
            let (document, entry, stream, seq) = (applied.entry.document, record.entry, record.stream, record.seq);
            let told = Relayed { document, entry, stream, seq };
            self.tell(agent, &told)?;
            if told == applied.entry {
                break;
            }
        }
        Ok(())
    }

    /// Tells one agent, unless the entry is its own.
    pub(crate) fn tell(&mut self, agent: i64, applied: &Relayed) -> Result<(), StoreError> {
        if applied.seq <= self.own_up_to(agent, applied.stream)? { Ok(()) } else { self.pass_on(agent, applied) }
    }

    /// Tells one agent, also what another branch of its own journal holds.
    pub(super) fn pass_on(&mut self, agent: i64, applied: &Relayed) -> Result<(), StoreError> {
        if let Some(receipt) = self.fix_of(applied)? {
            journal::tell(self.conn, agent, &receipt, self.now)?;
        }
        match self.bytes(applied.stream, applied.seq) {
            Ok(bytes) => journal::tell(self.conn, agent, &Item::verbatim(bytes), self.now),
            // what cannot be read cannot be told; everything else goes on
            Err(StoreError::Damaged(damage)) => {
                let (stream, seq) = (applied.stream, applied.seq.0);
                tracing::error!(agent, stream, seq, damage, "an applied entry is damaged and cannot be told");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The agents that are told of a site's documents, or of everyone's.
    fn audience(&mut self, circle: i64) -> Result<Vec<Listener>, StoreError> {
        if let Some(known) = self.audiences.get(&circle) {
            return Ok(known.clone());
        }
        let sql = match circle {
            EVERYONE => {
                "SELECT id, (SELECT min(next_n) FROM down_due WHERE agent = agent.id) FROM agent
                 WHERE is_hub = 0 AND ?1 = 0 ORDER BY id"
            }
            _ => {
                "SELECT agent_site.agent, next_n FROM agent_site
                 LEFT JOIN down_due ON down_due.agent = agent_site.agent AND down_due.site = agent_site.site
                 WHERE agent_site.site = ?1 ORDER BY agent_site.agent"
            }
        };
        let mut statement = self.conn.prepare_cached(sql)?;
        let listeners =
            statement.query_map([circle], |row| Ok(Listener { agent: row.get(0)?, due_from: row.get(1)? }))?;
        let listeners: Vec<Listener> = listeners.collect::<Result<_, _>>()?;
        self.audiences.insert(circle, listeners.clone());
        Ok(listeners)
    }

    /// Up to which seq the entries of a stream are on the line of the agent's present stream. What a copy of it wrote
    /// beyond the branching is news to it.
    fn own_up_to(&mut self, agent: i64, stream: i64) -> Result<Seq, StoreError> {
        if let Some(known) = self.own.get(&(agent, stream)) {
            return Ok(*known);
        }
        let up_to = own_up_to(self.conn, agent, stream)?;
        self.own.insert((agent, stream), up_to);
        Ok(up_to)
    }

    fn bytes(&mut self, stream: i64, seq: Seq) -> Result<Vec<u8>, StoreError> {
        let holds = |(of, stored): &(i64, raw::Stored)| {
            *of == stream && seq > stored.entries.before().seq && seq <= stored.entries.last().seq
        };
        if !self.open.as_ref().is_some_and(holds) {
            self.open = Some((stream, raw::containing(self.conn, stream, seq)?));
        }
        let stored = self.open.as_ref().map(|(_, stored)| stored);
        let bytes = stored.and_then(|stored| stored.entries.entries_from(seq).next()).map(|(_, bytes)| bytes.to_vec());
        bytes.ok_or_else(|| StoreError::damaged(format!("no stored batch of stream {stream} holds seq {seq}")))
    }

    /// The receipt of the fix that stands for an entry.
    fn fix_of(&self, applied: &Relayed) -> Result<Option<Item>, StoreError> {
        let sql = "SELECT act, fields, before_code, before_zh, before_reason, stream.stream, seq, at FROM resolution
                   JOIN stream ON stream.id = resolution.stream
                   WHERE document = ?1 AND entry = ?2 AND action = 'fix' AND outcome = 'applied' LIMIT 1";
        let found = self.conn.prepare_cached(sql)?.query_row(
            params![applied.document.as_bytes(), applied.entry.as_bytes()],
            |row| {
                let receipt = Receipt {
                    entry: Some(applied.entry),
                    document: Some(applied.document),
                    stream: StreamId::from_bytes(array_at(row, 5)?),
                    seq: seq_at(row, 6)?,
                    fate: Fate::Fixed,
                    code: row.get(2)?,
                    zh: row.get(3)?,
                    en: row.get(4)?,
                    amended: None,
                };
                Ok((receipt, row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, Timestamp(row.get(7)?)))
            },
        );
        let Some((receipt, act, set, at)) = found.optional()? else { return Ok(None) };
        let receipt = Receipt { amended: Some(Amended { act, set: fields(&set)? }), ..receipt };
        Ok(Some(sealed(&receipt, at)))
    }
}

/// A receipt, to be told. Its id comes from what it speaks of, so that the same receipt written again, by a
/// rebuild, is known as told.
pub(crate) fn sealed(receipt: &Receipt, at: Timestamp) -> Item {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"waystation receipt").update(receipt.stream.as_bytes()).update(&receipt.seq.0.to_le_bytes());
    hasher.update(receipt.fate.name().as_bytes()).update(b" ").update(receipt.code.as_bytes());
    let mut key = journal::short(hasher.finalize().as_bytes());
    key[6] = 0x80 | (key[6] & 0x0f);
    key[8] = 0x80 | (key[8] & 0x3f);
    let entry = receipt.entry(Stamp { id: EntryId::from_bytes(key), now: at });
    Item::of(&entry, entry.to_bytes())
}

fn own_up_to(conn: &Connection, agent: i64, stream: i64) -> Result<Seq, StoreError> {
    let owner: i64 =
        conn.prepare_cached("SELECT agent FROM stream WHERE id = ?1")?.query_row([stream], |row| row.get(0))?;
    if owner != agent {
        return Ok(Seq(0));
    }
    let present = "SELECT stream.id FROM agent JOIN stream ON stream.stream = agent.journal WHERE agent.id = ?1";
    let present: Option<i64> = conn.prepare_cached(present)?.query_row([agent], |row| row.get(0)).optional()?;
    // an agent whose present stream is not known here has only what is
    let Some(mut at) = present else { return Ok(Seq(u64::MAX)) };
    let mut up_to = Seq(u64::MAX);
    let sql = "SELECT parent.id, child.parent_seq FROM stream AS child
               JOIN stream AS parent ON parent.stream = child.parent_stream WHERE child.id = ?1";
    let mut seen = Vec::new();
    while at != stream {
        seen.push(at);
        let parent =
            conn.prepare_cached(sql)?.query_row([at], |row| Ok((row.get::<_, i64>(0)?, seq_at(row, 1)?))).optional()?;
        let Some((parent, branched_at)) = parent.filter(|(parent, _)| !seen.contains(parent)) else {
            return Ok(Seq(0));
        };
        (at, up_to) = (parent, up_to.min(branched_at));
    }
    Ok(up_to)
}

/// Whether an entry of a document at this place was applied, and is not merely a copy of one that was.
pub(crate) fn is_applied(conn: &Connection, document: DocId, stream: i64, seq: Seq) -> Result<bool, StoreError> {
    let sql = "SELECT history FROM document WHERE id = ?1";
    let history: Option<Vec<u8>> =
        conn.prepare_cached(sql)?.query_row([document.as_bytes()], |row| row.get(0)).optional()?;
    let records = history.map(|history| history::read(&history)).unwrap_or_default();
    Ok(records.iter().any(|record| (record.stream, record.seq) == (stream, seq)))
}
