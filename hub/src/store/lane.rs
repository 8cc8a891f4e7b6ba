//! What the writer keeps in memory of each stream: its receiver, and the marks it acknowledges with.
//!
//! Built from the database on first use. A failed commit clears everything, because receivers move on before it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::message::Parent;
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
    /// How far it is processed.
    pub(crate) processed: Seq,
    /// What its agent may delete.
    pub(crate) prunable: Seq,
}

/// Every stream used since the last failure.
#[derive(Default)]
pub(crate) struct Lanes {
    by_stream: HashMap<StreamId, Lane>,
    by_row: HashMap<i64, StreamId>,
    sessions: HashMap<AgentId, SessionId>,
}

/// Whose a stream is.
pub(crate) enum Owned<'a> {
    /// The agent's own.
    Here(&'a mut Lane),
    /// Another agent's.
    Elsewhere,
}

impl Lanes {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Lanes::default();
    }

    /// The stream's lane, if it is `agent`'s; made where there is none yet.
    pub(crate) fn open(
        &mut self,
        conn: &Connection,
        stream: StreamId,
        agent: AgentId,
        agent_row: i64,
    ) -> Result<Owned<'_>, StoreError> {
        if !self.by_stream.contains_key(&stream) {
            let lane = match load(conn, stream)? {
                Some(lane) => lane,
                None => create(conn, stream, agent, agent_row)?,
            };
            self.by_row.insert(lane.row, stream);
            self.by_stream.insert(stream, lane);
        }
        let lane = self.by_stream.get_mut(&stream).expect("it was there or has just been put there");
        Ok(if lane.agent == agent { Owned::Here(lane) } else { Owned::Elsewhere })
    }

    /// A lane opened before.
    pub(crate) fn lane(&mut self, stream: StreamId) -> Option<&mut Lane> {
        self.by_stream.get_mut(&stream)
    }

    /// A lane opened before, by its row.
    pub(crate) fn by_row(&mut self, row: i64) -> Option<(StreamId, &mut Lane)> {
        let stream = *self.by_row.get(&row)?;
        self.by_stream.get_mut(&stream).map(|lane| (stream, lane))
    }

    /// The session of the agent's last HELLO.
    pub(crate) fn session(&mut self, conn: &Connection, agent: AgentId) -> Result<Option<SessionId>, StoreError> {
        if let Some(session) = self.sessions.get(&agent) {
            return Ok(Some(*session));
        }
        let sql = "SELECT session FROM agent WHERE agent = ?1";
        let found = conn.prepare_cached(sql)?.query_row([agent.as_bytes()], |row| array_at(row, 0)).optional()?;
        let session = found.map(SessionId::from_bytes);
        if let Some(session) = session {
            self.sessions.insert(agent, session);
        }
        Ok(session)
    }

    /// A HELLO began a session.
    pub(crate) fn set_session(&mut self, agent: AgentId, session: SessionId) {
        self.sessions.insert(agent, session);
    }
}

fn load(conn: &Connection, stream: StreamId) -> Result<Option<Lane>, StoreError> {
    let sql = "SELECT stream.id, agent.agent, stored_seq, stored_hash, processed_seq, prunable_seq
               FROM stream JOIN agent ON agent.id = stream.agent WHERE stream.stream = ?1";
    let found = conn.prepare_cached(sql)?.query_row([stream.as_bytes()], |row| {
        let committed = Mark { seq: seq_at(row, 2)?, hash: hash_at(row, 3)? };
        Ok(Lane {
            row: row.get(0)?,
            agent: AgentId::from_bytes(array_at(row, 1)?),
            receiver: Receiver::new(committed),
            committed,
            processed: seq_at(row, 4)?,
            prunable: seq_at(row, 5)?,
        })
    });
    let Some(mut lane) = found.optional()? else { return Ok(None) };
    for kept in raw::ahead(conn, lane.row, lane.committed.seq)? {
        lane.receiver.restore_ahead(kept.first, kept.prev, kept.last);
    }
    Ok(Some(lane))
}

fn create(conn: &Connection, stream: StreamId, agent: AgentId, agent_row: i64) -> Result<Lane, StoreError> {
    let zero = Mark::ZERO;
    let sql = "INSERT INTO stream (stream, agent, stored_hash, head_hash) VALUES (?1, ?2, ?3, ?3)";
    conn.prepare_cached(sql)?.execute(params![stream.as_bytes(), agent_row, zero.hash.as_bytes()])?;
    Ok(Lane {
        row: conn.last_insert_rowid(),
        agent,
        receiver: Receiver::new(zero),
        committed: zero,
        processed: Seq(0),
        prunable: Seq(0),
    })
}

/// Remembers where a stream branched off, once.
pub(crate) fn set_parent(conn: &Connection, row: i64, parent: &Parent) -> Result<(), StoreError> {
    let sql = "UPDATE stream SET parent_stream = ?2, parent_seq = ?3, parent_hash = ?4
               WHERE id = ?1 AND parent_stream IS NULL";
    let parent = params![row, parent.stream.as_bytes(), int(parent.at.seq), parent.at.hash.as_bytes()];
    conn.prepare_cached(sql)?.execute(parent)?;
    Ok(())
}

/// Moves a stream's stored mark by compare-and-set.
pub(crate) fn move_stored(conn: &Connection, row: i64, from: Mark, to: Mark) -> Result<(), StoreError> {
    let sql = "UPDATE stream SET stored_seq = ?2, stored_hash = ?3
               WHERE id = ?1 AND stored_seq = ?4 AND stored_hash = ?5";
    let marks = params![row, int(to.seq), to.hash.as_bytes(), int(from.seq), from.hash.as_bytes()];
    match conn.prepare_cached(sql)?.execute(marks)? {
        1 => Ok(()),
        _ => Err(StoreError::Overtaken { stream: row }),
    }
}

/// Moves a stream's processed mark by compare-and-set, and with it how far the stream is complete.
pub(crate) fn move_processed(conn: &Connection, row: i64, from: Seq, to: Seq) -> Result<(), StoreError> {
    let sql = "UPDATE stream SET processed_seq = ?2,
        caught_up_at = CASE WHEN next_seq <= ?2 THEN next_at WHEN wait_seq <= ?2 THEN wait_at ELSE caught_up_at END,
        wait_seq = CASE WHEN next_seq <= ?2 THEN NULL WHEN wait_seq <= ?2 THEN next_seq ELSE wait_seq END,
        wait_at = CASE WHEN next_seq <= ?2 THEN NULL WHEN wait_seq <= ?2 THEN next_at ELSE wait_at END,
        next_seq = CASE WHEN wait_seq <= ?2 THEN NULL ELSE next_seq END,
        next_at = CASE WHEN wait_seq <= ?2 THEN NULL ELSE next_at END
        WHERE id = ?1 AND processed_seq = ?3";
    match conn.prepare_cached(sql)?.execute(params![row, int(to), int(from)])? {
        1 => Ok(()),
        _ => Err(StoreError::Overtaken { stream: row }),
    }
}

/// Raises the alarm of a stream: a batch contradicts what is stored.
pub(crate) fn note_conflict(conn: &Connection, row: i64) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE stream SET conflicts = conflicts + 1 WHERE id = ?1")?.execute([row])?;
    Ok(())
}
