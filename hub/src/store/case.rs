//! A case of quarantine: an entry, its reason, what waits behind it, and what people asked for and why.
//!
//! Plain values without a connection, and the checks a request must pass before it is taken down.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use waystation_protocol::chain::Seq;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{AgentId, DocId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::site::SiteId;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::StoreError;

/// Longest reason a person may give, in bytes.
pub const WHY_BYTES: usize = 2_000;

/// Where an entry stands: written `STREAM.SEQ`, and read so or with a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPlace {
    /// Its journal.
    pub stream: StreamId,
    /// Its place there.
    pub seq: Seq,
}

/// Which rows to list.
#[derive(Debug, Clone, Default)]
pub struct QuarantineFilter {
    /// Of this site.
    pub site: Option<SiteId>,
    /// Of this document.
    pub document: Option<DocId>,
    /// With this reason.
    pub code: Option<String>,
    /// Resolved ones; otherwise those still set aside.
    pub is_resolved: bool,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A reason: a stable name, and a sentence in each language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonText {
    /// The stable name.
    pub code: String,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// One entry that was not applied.
#[derive(Debug, Clone)]
pub struct QuarantineRow {
    /// Its journal.
    pub stream: StreamId,
    /// Its place there.
    pub seq: Seq,
    /// Who captured it.
    pub agent: AgentId,
    /// The site of its document, or the one its opening names.
    pub site: Option<SiteId>,
    /// Its document; none if it could not be read.
    pub document: Option<DocId>,
    /// Why.
    pub reason: ReasonText,
    /// Whether it only waits for another entry or a newer build; otherwise a person must look.
    pub is_parked: bool,
    /// When it arrived here, by the hub's clock.
    pub since: Timestamp,
    /// When it left quarantine, and how: released, replayed, fixed or waived.
    pub resolved: Option<(Timestamp, String)>,
    /// The entry, if it can be read.
    pub entry: Option<Entry>,
    /// Its bytes as captured.
    pub bytes: Vec<u8>,
}

/// A page of them, the latest first.
#[derive(Debug, Clone, Default)]
pub struct QuarantinePage {
    /// The rows.
    pub items: Vec<QuarantineRow>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// One entry with all that is known of its case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The entry.
    pub row: QuarantineRow,
    /// What waits for it, at most 200.
    pub behind: Vec<QuarantineRow>,
    /// What people asked for, in the order of asking.
    pub trail: Vec<ResolutionRow>,
    /// Whether it is read-only for now: the hub came back older, and agents of its site are still awaited.
    pub is_frozen: bool,
}

/// One request, and what it came to.
#[derive(Debug, Clone)]
pub struct ResolutionRow {
    /// Its number in the trail.
    pub id: i64,
    /// fix, replay or waive.
    pub action: String,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// A fix: the act and the fields that stand for the captured ones.
    pub fix: Option<(String, BTreeMap<String, Value>)>,
    /// Why the entry was set aside then.
    pub before: ReasonText,
    /// applied, waived, still, refused or moot; none until the hub came to it.
    pub outcome: Option<String>,
    /// Why it is still set aside, or why the request was refused.
    pub after: Option<ReasonText>,
}

/// A fix as it stands in a document's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// Who gave it.
    pub who: String,
    /// Why.
    pub why: String,
    /// When, by the hub's clock.
    pub at: Timestamp,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Other values stand for the captured ones from now on.
    Fix(Change),
    /// Judge it once more as it is.
    Replay,
    /// Give it up.
    Waive,
}

/// What a fix changes of an entry; whatever it leaves out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Another act.
    pub act: Option<String>,
    /// Fields that are set to something else, or besides.
    pub set: BTreeMap<String, Value>,
    /// Captured fields that were not meant to be set.
    pub drop: Vec<String>,
}

/// A request by a person.
#[derive(Debug, Clone)]
pub struct Ask {
    /// For what.
    pub action: Action,
    /// Who asks.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What came of asking to judge everything again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedAll {
    /// The numbers of the requests.
    pub requests: Vec<i64>,
    /// Entries that are read-only for now: their sites' agents are still awaited after a restore.
    pub frozen: usize,
}

/// Why a request was not taken down.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not in quarantine, and never was.
    #[error("entry {0} is not in quarantine")]
    Unknown(EntryPlace),
    /// It left quarantine.
    #[error("entry {0} left quarantine already: {1}")]
    Resolved(EntryPlace, String),
    /// The hub came back older, and not every agent of its site has brought back what it holds: it may be decided already.
    #[error(
        "entry {0} is read-only until all agents of its site brought back what they hold, or the restore is released"
    )]
    Frozen(EntryPlace),
    /// Nobody.
    #[error("say who asks, in 1 to 128 bytes")]
    NoName,
    /// No reason.
    #[error("say why, in 1 to 2000 bytes")]
    NoReason,
    /// A fix that changes nothing.
    #[error("a fix sets, drops or renames something; to judge the entry as it is, replay it")]
    NoChange,
    /// Nothing can stand for it.
    #[error(
        "the bytes of entry {0} are no entry, so nothing can stand for it; waive it, or replay it after an upgrade"
    )]
    Unreadable(EntryPlace),
    /// No entry may be so large.
    #[error("with this fix the entry would be larger than an entry, or a text larger than a field, may be")]
    TooLarge,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AskError {
    fn from(error: rusqlite::Error) -> AskError {
        AskError::Store(error.into())
    }
}

impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stream, self.seq.0)
    }
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no entry; expected STREAM.SEQ, as `quarantine list` writes it")]
pub struct BadPlace(String);

impl FromStr for EntryPlace {
    type Err = BadPlace;
    fn from_str(text: &str) -> Result<EntryPlace, BadPlace> {
        let bad = || BadPlace(text.to_owned());
        let (stream, seq) = text.rsplit_once(['.', '/']).ok_or_else(bad)?;
        let (stream, seq) = (stream.parse().map_err(|_| bad())?, seq.parse().map_err(|_| bad())?);
        Ok(EntryPlace { stream, seq: Seq(seq) })
    }
}

impl QuarantineRow {
    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> EntryPlace {
        EntryPlace { stream: self.stream, seq: self.seq }
    }
}

impl Ask {
    pub(super) fn check(&self) -> Result<(), AskError> {
        let is_within = |text: &str, most: usize| !text.trim().is_empty() && text.len() <= most;
        if !is_within(&self.who, limits::AUTHOR_BYTES) {
            return Err(AskError::NoName);
        }
        if !is_within(&self.why, WHY_BYTES) {
            return Err(AskError::NoReason);
        }
        match &self.action {
            Action::Fix(change) if *change == Change::default() => Err(AskError::NoChange),
            Action::Fix(_) | Action::Replay | Action::Waive => Ok(()),
        }
    }
}

impl Action {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Action::Fix(_) => "fix",
            Action::Replay => "replay",
            Action::Waive => "waive",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_and_read() {
        let place = EntryPlace { stream: StreamId::from_bytes([7; 16]), seq: Seq(12) };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!(place.to_string().replace('.', "/").parse(), Ok(place));
        for bad in ["", "x.1", "07070707-0707-0707-0707-070707070707", "07070707-0707-0707-0707-070707070707.x"] {
            assert!(bad.parse::<EntryPlace>().is_err(), "{bad}");
        }
    }
}
