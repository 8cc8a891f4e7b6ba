//! What the writer keeps in memory of each stream: its receiver and what the database held when it was read.
//!
//! Several workers may share the database. Before a transaction first uses a lane, the stream's revision is compared
//! with the one it was read at, and a lane that was overtaken is read again; every change raises the revision. A failed
//! commit clears everything, because receivers move on before it.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::message::Parent;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::sync::Receiver;

use super::error::StoreError;
use super::{array_at, hash_at, int, raw, seq_at};

/// One stream.
pub(crate) struct Lane {
    /// Its row.
    pub(crate) row: i64,
    /// Its agent.
    pub(crate) agent: AgentId,
    /// Decides what a batch adds.
    pub(crate) receiver: Receiver,
    /// What the database holds: the receiver runs ahead of it within a commit.
    pub(crate) committed: Mark,
    /// Whether rows, mark or ranges changed in this transaction.
    pub(crate) is_changed: bool,
    /// The stream's revision in the database as it was read.
    revision: i64,
}

/// Every stream used since the last failure.
#[derive(Default)]
pub(crate) struct Lanes {
    by_stream: HashMap<StreamId, Lane>,
    /// Lanes whose revision was compared in this transaction.
    compared: HashSet<StreamId>,
}

impl Lanes {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Lanes::default();
    }

    /// A transaction begins: what is in memory may be old.
    pub(crate) fn begin(&mut self) {
        self.compared.clear();
    }

    /// The lane of a stream that the hub knows, as it is in this transaction.
    pub(crate) fn find(&mut self, conn: &Connection, stream: StreamId) -> Result<Option<&mut Lane>, StoreError> {
        if self.compared.insert(stream) {
            let sql = "SELECT revision FROM stream WHERE stream = ?1 AND is_aside = 0";
            let now = conn.prepare_cached(sql)?.query_row([stream.as_bytes()], |row| row.get::<_, i64>(0));
            let now = now.optional()?;
            let is_blind = is_planted(Plant::NoCompareAndSet) || is_planted(Plant::KeepLanes);
            if self.by_stream.get(&stream).map(|lane| lane.revision) != now && !is_blind {
                self.by_stream.remove(&stream);
            }
            if now.is_some()
                && !self.by_stream.contains_key(&stream)
                && let Some(lane) = load(conn, stream)?
            {
                self.by_stream.insert(stream, lane);
            }
        }
        Ok(self.by_stream.get_mut(&stream))
    }

    /// Opens a lane: empty, or at the mark where it left its parent.
    pub(crate) fn create(
        &mut self,
        conn: &Connection,
        stream: StreamId,
        (agent, agent_row): (AgentId, i64),
        parent: Option<&Parent>,
    ) -> Result<&mut Lane, StoreError> {
        let floor = parent.map_or(Mark::ZERO, |parent| parent.at);
        let sql = "INSERT INTO stream (stream, agent, parent_stream, parent_seq, parent_hash, floor_seq, stored_seq,
                   stored_hash, processed_seq, head_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?6, ?7)";
        conn.prepare_cached(sql)?.execute(params![
            stream.as_bytes(),
            agent_row,
            parent.map(|parent| *parent.stream.as_bytes()),
            parent.map(|parent| int(parent.at.seq)),
            parent.map(|parent| *parent.at.hash.as_bytes()),
            int(floor.seq),
            floor.hash.as_bytes()
        ])?;
        let row = conn.last_insert_rowid();
        let receiver = Receiver::new(floor);
        let lane = Lane { row, agent, receiver, committed: floor, is_changed: false, revision: 0 };
        self.compared.insert(stream);
        self.by_stream.insert(stream, lane);
        Ok(self.by_stream.get_mut(&stream).expect("it has just been put there"))
    }
}

impl Lane {
    /// Writes the stored mark by compare-and-set, and raises the revision. Whether the mark moved.
    pub(crate) fn commit(&mut self, conn: &Connection) -> Result<bool, StoreError> {
        let (from, to) = (self.committed, self.receiver.stored());
        if from == to && !self.is_changed {
            return Ok(false);
        }
        let sql = "UPDATE stream SET stored_seq = ?2, stored_hash = ?3, revision = revision + 1
                   WHERE id = ?1 AND stored_seq = ?4 AND stored_hash = ?5 AND revision = ?6";
        let sql = if is_planted(Plant::NoCompareAndSet) {
            "UPDATE stream SET stored_seq = ?2, stored_hash = ?3, revision = revision + 1
             WHERE id = ?1 AND ?4 = ?4 AND ?5 = ?5 AND ?6 = ?6"
        } else {
            sql
        };
        let (old, new) = ((int(from.seq), from.hash), (int(to.seq), to.hash));
        let row = params![self.row, new.0, new.1.as_bytes(), old.0, old.1.as_bytes(), self.revision];
        if conn.prepare_cached(sql)?.execute(row)? != 1 {
            return Err(StoreError::Overtaken { stream: self.row });
        }
        self.revision += 1;
        self.is_changed = false;
        self.committed = to;
        Ok(from != to)
    }
}

fn load(conn: &Connection, stream: StreamId) -> Result<Option<Lane>, StoreError> {
    let sql = "SELECT stream.id, agent.agent, stored_seq, stored_hash, revision
               FROM stream JOIN agent ON agent.id = stream.agent WHERE stream.stream = ?1";
    let found = conn.prepare_cached(sql)?.query_row([stream.as_bytes()], |row| {
        let committed = Mark { seq: seq_at(row, 2)?, hash: hash_at(row, 3)? };
        Ok(Lane {
            row: row.get(0)?,
            agent: AgentId::from_bytes(array_at(row, 1)?),
            receiver: Receiver::new(committed),
            committed,
            is_changed: false,
            revision: row.get(4)?,
        })
    });
    let Some(mut lane) = found.optional()? else { return Ok(None) };
    for kept in raw::ahead(conn, lane.row, lane.committed.seq)? {
        lane.receiver.restore_ahead(kept.first, kept.prev, kept.last);
    }
    Ok(Some(lane))
}

/// Moves a stream's processed mark by compare-and-set, and with it how far the stream is complete.
pub(crate) fn move_processed(conn: &Connection, row: i64, from: Seq, to: Seq) -> Result<(), StoreError> {
    let sql = "UPDATE stream SET processed_seq = ?2 WHERE id = ?1 AND processed_seq = ?3";
    match conn.prepare_cached(sql)?.execute(params![row, int(to), int(from)])? {
        1 => super::heard::complete(conn, row, to),
        _ => Err(StoreError::Overtaken { stream: row }),
    }
}

/// Raises the alarm of a stream: a batch contradicts what is stored.
pub(crate) fn note_conflict(conn: &Connection, row: i64) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE stream SET conflicts = conflicts + 1 WHERE id = ?1")?.execute([row])?;
    Ok(())
}
