//! What the store tells its readers: rows of the board, of lists and of reports.
//!
//! Plain values without a connection, so that pages and the API can hold them while the store goes on.

use waystation_protocol::chain::{Seq, SeqRange};
use waystation_protocol::document::Document;
use waystation_protocol::entry::Entry;
use waystation_protocol::fact::Measure;
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::{Day, Timestamp};

use super::case::Amendment;
use super::clock_step::ClockStepRow;

/// One agent with its current upward journal.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// Which agent.
    pub agent: AgentId,
    /// The sites it last said it captures for.
    pub sites: Sites,
    /// Its upward journal as of its last HELLO.
    pub stream: StreamId,
    /// Its build, for people.
    pub build: String,
    /// Its letter in printed numbers; `-` where all letters of its sites are taken.
    pub letter: char,
    /// Whether its last session was not reported dead.
    pub session_open: bool,
    /// When its first HELLO arrived, by the hub's clock.
    pub first_seen: Timestamp,
    /// When anything of its was last heard, by the hub's clock.
    pub last_seen: Timestamp,
    /// When its current session's last will arrived; none once any later evidence of life arrived.
    pub died_at: Option<Timestamp>,
    /// The highest head it ever announced.
    pub head_seq: Seq,
    /// Committed here without a gap.
    pub stored_seq: Seq,
    /// Applied, quarantined or parked.
    pub processed_seq: Seq,
    /// What it may delete.
    pub prunable_seq: Seq,
    /// Entries it last said the hub lacks.
    pub backlog_entries: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// Age of the oldest of them in milliseconds as it last said; 0 if none.
    pub oldest_unsent_ms: u64,
    /// Its entries in quarantine.
    pub quarantined: u64,
    /// Its entries that wait for another.
    pub parked: u64,
    /// Batches refused because they contradict what is stored.
    pub conflicts: u64,
    /// Ranges of its journals that were named lost and are missing still.
    pub lost: Vec<SeqRange>,
    /// What it announced and went on without; none of it is here.
    pub absent: Vec<SeqRange>,
    /// Whether two of its sessions speak at the same time: its disk was copied.
    pub is_doubled: bool,
    /// Its clock minus the hub's in milliseconds, as it last compared them.
    pub clock_offset_ms: Option<i64>,
    /// How often its clock made a step.
    pub clock_steps: u64,
    /// The step heard of last.
    pub last_clock_step: Option<ClockStepRow>,
    /// Bytes free on its disk as it last said; 0 before its first heartbeat.
    pub disk_free: u64,
    /// The hub's time of the newest announcement whose head is processed: complete up to here.
    pub caught_up_at: Option<Timestamp>,
}

/// One outlet.
#[derive(Debug, Clone)]
pub struct SiteRow {
    /// Its id.
    pub site: SiteId,
    /// Its name for people; the id where none was given.
    pub name: String,
    /// Its IANA time zone.
    pub zone: String,
    /// The agents that ever captured for it by name.
    pub agents: Vec<AgentId>,
    /// How many documents it has.
    pub documents: u64,
}

/// Which documents to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this site.
    pub site: Option<SiteId>,
    /// In this state.
    pub state: Option<String>,
    /// Only those that clash with another document.
    pub is_flagged: bool,
    /// Whose number or searched fields contain this text.
    pub q: Option<String>,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
    /// At most so many, held within 1..=500; 0 stands for 50.
    pub limit: usize,
}

/// A page of documents, the latest arrivals first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The documents.
    pub items: Vec<Document>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// One applied entry of a document.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// The entry, as captured.
    pub entry: Entry,
    /// Who captured it.
    pub agent: AgentId,
    /// In which journal.
    pub stream: StreamId,
    /// At which place.
    pub seq: Seq,
    /// When it arrived here, by the hub's clock.
    pub received_at: Timestamp,
    /// Whose fix stands for what was captured, if one does; then act and fields are the fix's.
    pub amended: Option<Amendment>,
}

/// By what a report's sums are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The site's id.
    Site,
    /// The civil day, `YYYY-MM-DD`.
    Day,
    /// The month, `YYYY-MM`.
    Month,
    /// The measure's key at this index; a key the measure lacks groups everything under the empty text.
    Key(usize),
}

/// Which facts are meant.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Of this measure.
    pub measure: &'static Measure,
    /// From this day on, if bounded.
    pub from: Option<Day>,
    /// Up to this day, inclusive, if bounded.
    pub to: Option<Day>,
    /// For which all of these hold.
    pub only: Vec<Only>,
}

/// A condition on a fact; texts are those by which sums are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// It belongs to this group.
    Is(Group, String),
    /// It belongs to this day or month, or to an earlier one.
    UpTo(Group, String),
    /// It belongs to one of these groups.
    Among(Group, Vec<String>),
}

/// A sum to take of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The index of the measure's value.
    pub value: usize,
    /// Over the facts for which all of these hold besides.
    pub only: Vec<Only>,
}

/// A question to the roll-ups of one measure.
#[derive(Debug, Clone)]
pub struct Rollup {
    /// Which facts to sum.
    pub scope: Scope,
    /// How to group, in order.
    pub by: Vec<Group>,
}

/// A question to the facts: which documents they come from.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Which facts.
    pub scope: Scope,
    /// What to sum of each document. Documents of which every sum is 0 are left out.
    pub sums: Vec<Sum>,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
    /// At most so many, held within 1..=500; 0 stands for 50.
    pub limit: usize,
}

/// A page of documents that facts come from, the latest arrivals first.
#[derive(Debug, Clone, Default)]
pub struct TracePage {
    /// The documents, each with its own sums in the order they were asked for.
    pub items: Vec<(Document, Vec<i64>)>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// One group of a roll-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupRow {
    /// One text per group asked for.
    pub keys: Vec<String>,
    /// One sum per value of the measure.
    pub values: Vec<i64>,
}

/// What the hub holds altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries committed.
    pub stored: u64,
    /// Entries applied, quarantined or parked.
    pub processed: u64,
    /// Documents.
    pub documents: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Entries that wait for another.
    pub parked: u64,
}
