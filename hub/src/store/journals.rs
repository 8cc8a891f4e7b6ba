//! The journals of every agent as people see them: branches, lost ranges, and heads announced that are not here.

use rusqlite::{Connection, Row};
use waystation_protocol::chain::{Seq, SeqRange};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::time::Timestamp;

use super::lost::{self, LostRange};
use super::{Store, StoreError, array_at, seq_at};

/// One journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Its id.
    pub stream: StreamId,
    /// Whose.
    pub agent: AgentId,
    /// Where it left the journal it came from.
    pub parent: Option<(StreamId, Seq)>,
    /// Whether its agent named it in its last HELLO.
    pub is_current: bool,
    /// The highest head announced.
    pub head: Seq,
    /// Committed here; up to its branch point in its parent.
    pub stored: Seq,
    /// Applied, quarantined or parked.
    pub processed: Seq,
    /// What its agent may delete.
    pub prunable: Seq,
    /// Batches that contradicted it.
    pub conflicts: u64,
    /// Ranges of it that were named lost and are missing still.
    pub lost: Vec<LostRange>,
    /// What was announced, is not here, and can hardly come any more.
    pub absent: Option<Absent>,
}

/// Entries that an agent announced and went on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// The first one that is not here, where the journal was left by a fork.
    pub first: Option<Seq>,
    /// The highest announced.
    pub last: Seq,
    /// When it was announced, by the hub's clock.
    pub at: Timestamp,
}

impl Store {
    /// Every journal of every agent, also one that was only announced.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn journals(&self) -> Result<Vec<JournalRow>, StoreError> {
        all(&*self.inner.pool.lend()?)
    }
}

pub(super) fn all(conn: &Connection) -> Result<Vec<JournalRow>, StoreError> {
    let absent = absent(conn)?;
    let lost: Vec<LostRange> = lost::all(conn)?.into_iter().filter(|range| range.open.is_some()).collect();
    let sql = "SELECT heard.stream, agent.agent, parent_stream, floor_seq, heard.stream = agent.journal,
                   max(head_seq_heard, coalesce(stored_seq, 0)), coalesce(stored_seq, 0), coalesce(processed_seq, 0),
                   coalesce(prunable_seq, 0), coalesce(conflicts, 0)
                   FROM (SELECT stream, agent, head_seq AS head_seq_heard FROM heard) AS heard
                   JOIN agent ON agent.id = heard.agent
                   LEFT JOIN stream ON stream.stream = heard.stream ORDER BY agent.id, stream.id";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| journal(row, &lost, &absent))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn journal(row: &Row<'_>, lost: &[LostRange], absent: &[(StreamId, Absent)]) -> rusqlite::Result<JournalRow> {
    let stream = StreamId::from_bytes(array_at(row, 0)?);
    let parent = row.get::<_, Option<[u8; 16]>>(2)?.map(StreamId::from_bytes);
    let floor = row.get::<_, Option<i64>>(3)?.map_or(Seq(0), |seq| Seq(seq.max(0).unsigned_abs()));
    Ok(JournalRow {
        stream,
        agent: AgentId::from_bytes(array_at(row, 1)?),
        parent: parent.map(|parent| (parent, floor)),
        is_current: row.get(4)?,
        head: seq_at(row, 5)?,
        stored: seq_at(row, 6)?,
        processed: seq_at(row, 7)?,
        prunable: seq_at(row, 8)?,
        conflicts: seq_at(row, 9)?.0,
        lost: lost.iter().rev().filter(|range| range.stream == stream).cloned().collect(),
        absent: absent.iter().find(|(of, _)| *of == stream).map(|(_, absent)| *absent),
    })
}

/// Announced heads that no journal holds although theirs has passed them with another hash, or was left below them by a
/// fork and nobody speaks of it any more.
fn absent(conn: &Connection) -> Result<Vec<(StreamId, Absent)>, StoreError> {
    let sql = "SELECT told.stream, max(told.seq), told.at,
               (SELECT max(floor_seq) FROM stream AS fork WHERE fork.parent_stream = told.stream
                AND fork.is_aside = 0 AND fork.floor_seq < told.seq) AS branch
               FROM announced AS told JOIN agent ON agent.id = told.agent
               LEFT JOIN stream ON stream.stream = told.stream
               WHERE (coalesce(stored_seq, 0) >= told.seq OR (branch IS NOT NULL AND NOT EXISTS
                   (SELECT 1 FROM session WHERE session.agent = told.agent AND session.stream = told.stream
                    AND died_at IS NULL AND session.last_seen >= agent.last_seen - 90000)))
               AND NOT EXISTS (SELECT 1 FROM lost_range WHERE lost_range.stream = stream.id AND filled_at IS NULL
                    AND told.seq BETWEEN first_seq AND open_last)
               GROUP BY told.stream";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let branch = row.get::<_, Option<i64>>(3)?;
        let first = branch.map(|seq| Seq(seq.max(0).unsigned_abs()).next());
        let absent = Absent { first, last: seq_at(row, 1)?, at: Timestamp(row.get(2)?) };
        Ok((StreamId::from_bytes(array_at(row, 0)?), absent))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a site's report of completeness must know of an agent.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub(super) lost: Vec<SeqRange>,
    pub(super) absent: Vec<SeqRange>,
}

/// The gaps of an agent's journals.
pub(super) fn gaps(journals: &[JournalRow], agent: AgentId) -> Gaps {
    let mut gaps = Gaps::default();
    for journal in journals.iter().filter(|journal| journal.agent == agent) {
        gaps.lost.extend(journal.lost.iter().filter_map(|range| range.open));
        let absent =
            journal.absent.map(|absent| SeqRange { first: absent.first.unwrap_or(absent.last), last: absent.last });
        gaps.absent.extend(absent);
    }
    gaps
}
