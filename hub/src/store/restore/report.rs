//! What came back since the hub came back older, and what did not, for people.

use rusqlite::{Connection, OptionalExtension, Row, params};
use waystation_protocol::chain::{Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

use crate::store::{StoreError, array_at, int, seq_at};

/// How the hub learned that it came back older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `restore` put a backup in place.
    Restored,
    /// The database found at the start is older than what was last run here.
    Copied,
    /// An agent knows more to have been stored than there is.
    Agent,
}

/// How a restore ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// By the hub's clock.
    pub at: Timestamp,
    /// Released by ops before everything was back; otherwise repaired.
    pub is_release: bool,
    /// Who released it.
    pub by: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// An agent known when the hub came back older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedAgent {
    /// Which.
    pub agent: AgentId,
    /// Its sites.
    pub sites: Sites,
    /// When it said HELLO since.
    pub greeted_at: Option<Timestamp>,
    /// When its downward journal was known to be back, whole.
    pub returned_at: Option<Timestamp>,
    /// What it was told, has deleted and cannot bring back. Nobody else can: until ops releases the restore, its sites'
    /// documents may have been decided already.
    pub lost: Vec<SeqRange>,
}

/// What an agent still owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// To say HELLO.
    Hello,
    /// To bring back what it was told.
    Downward,
    /// What it cannot bring back: only ops ends the wait.
    Release,
}

/// A journal of which there was more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedStream {
    /// Which.
    pub stream: StreamId,
    /// Whose.
    pub agent: AgentId,
    /// Its agent's sites.
    pub sites: Sites,
    /// What the database held as it came back.
    pub from: Seq,
    /// The highest seq stored or announced before.
    pub had: Seq,
    /// What is stored now.
    pub stored: Seq,
    /// Where it left the journal it came from: entries up to here are that one's.
    pub floor: Seq,
    /// What was named lost of it since, lowest first.
    pub named: Vec<SeqRange>,
    /// What its agent has deleted.
    pub pruned: Seq,
    /// Whether what came has another hash where the journal ended before.
    pub is_other: bool,
    /// When it was whole again.
    pub settled_at: Option<Timestamp>,
}

/// The last time the hub came back older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// The epoch it began.
    pub epoch: u64,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// How the hub learned of it.
    pub cause: Cause,
    /// What it saw, in words.
    pub detail: String,
    /// The backup put in place, and when that was taken.
    pub backup: Option<(String, Timestamp)>,
    /// How it ended; none while it is open and prunable marks are frozen.
    pub ending: Option<Ending>,
    /// Agents known then.
    pub agents: Vec<AwaitedAgent>,
    /// Journals that had more.
    pub streams: Vec<AwaitedStream>,
    /// Entries of the hub's own journals that the database had forgotten. Those that agents were told of come back with
    /// their downward journals; the others are lost.
    pub own_forgotten: u64,
}

impl Cause {
    /// Its name on the wire and in the books.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Restored => "restored",
            Cause::Copied => "copied",
            Cause::Agent => "agent",
        }
    }

    fn of_name(name: &str) -> Cause {
        match name {
            "restored" => Cause::Restored,
            "agent" => Cause::Agent,
            _ => Cause::Copied,
        }
    }
}

impl AwaitedAgent {
    /// What is still awaited of it.
    #[must_use]
    pub fn owed(&self) -> Option<Owed> {
        match (self.greeted_at, self.returned_at) {
            (None, _) => Some(Owed::Hello),
            (Some(_), None) if self.lost.is_empty() => Some(Owed::Downward),
            (Some(_), None) => Some(Owed::Release),
            (Some(_), Some(_)) => None,
        }
    }
}

impl AwaitedStream {
    /// Entries that came back.
    #[must_use]
    pub fn came_back(&self) -> u64 {
        if self.is_other {
            return 0;
        }
        let (from, to) = (self.from.max(self.floor), self.stored.min(self.had));
        let lost = self.named.iter().filter(|range| range.first <= to);
        let lost: u64 = lost.map(|range| range.last.min(to).0 + 1 - range.first.0).sum();
        to.0.saturating_sub(from.0).saturating_sub(lost)
    }

    /// What did not come back and has no name.
    fn absent(&self) -> Option<SeqRange> {
        let first = if self.is_other { self.from.next() } else { self.stored.next() };
        (self.settled_at.is_none() && first <= self.had).then_some(SeqRange { first, last: self.had })
    }

    /// What did not come back and still may; `is_released` says that ops waits no longer.
    #[must_use]
    pub fn missing(&self, is_released: bool) -> Option<SeqRange> {
        let absent = self.absent().filter(|_| !is_released)?;
        let first = absent.first.max(self.pruned.next());
        (first <= absent.last).then_some(SeqRange { first, ..absent })
    }

    /// What is lost for good, unless a copy turns up: deleted at its agent, or given up by ops. The lowest first.
    #[must_use]
    pub fn lost(&self, is_released: bool) -> Vec<SeqRange> {
        let given_up = self.absent().and_then(|absent| {
            let last = if is_released { absent.last } else { absent.last.min(self.pruned) };
            (absent.first <= last).then_some(SeqRange { last, ..absent })
        });
        self.named.iter().copied().chain(given_up).collect()
    }
}

impl RestoreReport {
    /// Whether prunable marks are frozen.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether ops released it before everything was back.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.is_release)
    }

    /// Whether nothing is left to do or to know.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_back = |stream: &AwaitedStream| stream.absent().is_none() && stream.named.is_empty();
        !self.is_open() && self.streams.iter().all(is_back) && self.agents.iter().all(|agent| agent.lost.is_empty())
    }
}

pub(super) fn report(conn: &Connection) -> Result<Option<RestoreReport>, StoreError> {
    let sql = "SELECT id, epoch, at, cause, detail, folder, taken_at, ended_at, ending, ended_by, why, own_forgotten
               FROM restore ORDER BY id DESC LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row([], |row| {
        let folder: Option<String> = row.get(5)?;
        let taken_at = Timestamp(row.get::<_, Option<i64>>(6)?.unwrap_or_default());
        let ended_at: Option<i64> = row.get(7)?;
        let is_release = row.get::<_, Option<String>>(8)?.as_deref() == Some("released");
        let (by, why) = (row.get(9)?, row.get(10)?);
        let report = RestoreReport {
            epoch: seq_at(row, 1)?.0,
            at: Timestamp(row.get(2)?),
            cause: Cause::of_name(&row.get::<_, String>(3)?),
            detail: row.get(4)?,
            backup: folder.map(|folder| (folder, taken_at)),
            ending: ended_at.map(|at| Ending { at: Timestamp(at), is_release, by, why }),
            agents: Vec::new(),
            streams: Vec::new(),
            own_forgotten: seq_at(row, 11)?.0,
        };
        Ok((row.get::<_, i64>(0)?, report))
    });
    let Some((id, mut report)) = found.optional()? else { return Ok(None) };
    report.agents = awaited_agents(conn, id)?;
    report.streams = awaited_streams(conn, id)?;
    Ok(Some(report))
}

fn sites(bytes: &[u8]) -> Result<Sites, StoreError> {
    codec::decode_own(bytes).map_err(|error| StoreError::damaged(error.to_string()))
}

fn awaited_agents(conn: &Connection, restore: i64) -> Result<Vec<AwaitedAgent>, StoreError> {
    let sql = "SELECT agent, sites, greeted_at, returned_at FROM restore_agent
               WHERE restore = ?1 ORDER BY greeted_at, agent";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([restore])?;
    let mut agents = Vec::new();
    while let Some(row) = rows.next()? {
        let agent = array_at(row, 0)?;
        agents.push(AwaitedAgent {
            agent: AgentId::from_bytes(agent),
            sites: sites(&row.get::<_, Vec<u8>>(1)?)?,
            greeted_at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
            returned_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            lost: lost_downward(conn, restore, &agent)?,
        });
    }
    Ok(agents)
}

fn range_at(row: &Row<'_>) -> rusqlite::Result<SeqRange> {
    Ok(SeqRange { first: seq_at(row, 0)?, last: seq_at(row, 1)? })
}

fn lost_downward(conn: &Connection, restore: i64, agent: &[u8; 16]) -> Result<Vec<SeqRange>, StoreError> {
    let sql =
        "SELECT first_seq, last_seq FROM restore_down WHERE restore = ?1 AND agent = ?2 ORDER BY stream, first_seq";
    let mut statement = conn.prepare_cached(sql)?;
    let ranges = statement.query_map(params![restore, agent], range_at)?;
    Ok(ranges.collect::<Result<_, _>>()?)
}

/// What is missing of lost ranges of a journal between what the database held and what there was.
fn named(conn: &Connection, stream: &[u8; 16], (from, had): (Seq, Seq)) -> Result<Vec<SeqRange>, StoreError> {
    let sql = "SELECT max(first_seq, ?2 + 1), min(open_last, ?3) FROM lost_range
               JOIN stream ON stream.id = lost_range.stream
               WHERE stream.stream = ?1 AND filled_at IS NULL AND open_last > ?2 AND first_seq <= ?3 ORDER BY first_seq";
    let mut statement = conn.prepare_cached(sql)?;
    let ranges = statement.query_map(params![stream, int(from), int(had)], range_at)?;
    Ok(ranges.collect::<Result<_, _>>()?)
}

fn awaited_streams(conn: &Connection, restore: i64) -> Result<Vec<AwaitedStream>, StoreError> {
    let sql = "SELECT kept.stream, kept.agent, sites, from_seq, had_seq, coalesce(stored_seq, 0), pruned_seq, is_other,
               settled_at, coalesce(floor_seq, 0) FROM restore_stream AS kept
               LEFT JOIN stream ON stream.stream = kept.stream
               WHERE restore = ?1 ORDER BY settled_at, kept.agent, kept.stream";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([restore])?;
    let mut streams = Vec::new();
    while let Some(row) = rows.next()? {
        let (stream, from, had) = (array_at(row, 0)?, seq_at(row, 3)?, seq_at(row, 4)?);
        streams.push(AwaitedStream {
            stream: StreamId::from_bytes(stream),
            agent: AgentId::from_bytes(array_at(row, 1)?),
            sites: sites(&row.get::<_, Vec<u8>>(2)?)?,
            from,
            had,
            stored: seq_at(row, 5)?,
            floor: seq_at(row, 9)?,
            named: named(conn, &stream, (from, had))?,
            pruned: seq_at(row, 6)?,
            is_other: row.get(7)?,
            settled_at: row.get::<_, Option<i64>>(8)?.map(Timestamp),
        });
    }
    Ok(streams)
}
