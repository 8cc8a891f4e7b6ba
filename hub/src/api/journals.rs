//! `GET /journals`: every journal of every agent, branches and losses included.

use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::problem::Problem;
use super::restore::{RangeJson, range_json};
use crate::store::JournalRow;

/// One journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct JournalJson {
    /// Its id.
    pub stream: String,
    /// Whose.
    pub agent: String,
    /// The journal it came from: its agent's disk was put back or copied.
    pub parent: Option<String>,
    /// Where it left that; entries up to here are the parent's.
    pub branch_seq: Option<u64>,
    /// Whether its agent named it in its last HELLO.
    pub is_current: bool,
    /// The highest head announced.
    pub head_seq: u64,
    /// Committed at the hub.
    pub stored_seq: u64,
    /// Applied, quarantined or parked.
    pub processed_seq: u64,
    /// What its agent may delete.
    pub prunable_seq: u64,
    /// Batches that contradicted it.
    pub conflicts: u64,
    /// Deleted at its agent, not here, and missing still.
    pub lost: Vec<LostJson>,
    /// Announced and not here: its agent went on without them.
    pub announced_not_here: Option<AbsentJson>,
}

/// A named lost range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LostJson {
    /// What is missing of it.
    pub missing: RangeJson,
    /// As it was named.
    pub named: RangeJson,
    /// When, in UTC.
    pub named_at: String,
}

/// Entries that were announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AbsentJson {
    /// The first that is not here, if known.
    pub first: Option<u64>,
    /// The highest announced.
    pub last: u64,
    /// When, in UTC.
    pub announced_at: String,
}

impl From<&JournalRow> for JournalJson {
    fn from(row: &JournalRow) -> JournalJson {
        let lost = row.lost.iter().filter_map(|range| {
            let named_at = range.named_at.rfc3339(&TimeZone::UTC);
            range.open.map(|open| LostJson { missing: range_json(open), named: range_json(range.named), named_at })
        });
        JournalJson {
            stream: row.stream.to_string(),
            agent: row.agent.to_string(),
            parent: row.parent.map(|(parent, _)| parent.to_string()),
            branch_seq: row.parent.map(|(_, seq)| seq.0),
            is_current: row.is_current,
            head_seq: row.head.0,
            stored_seq: row.stored.0,
            processed_seq: row.processed.0,
            prunable_seq: row.prunable.0,
            conflicts: row.conflicts,
            lost: lost.collect(),
            announced_not_here: row.absent.map(|absent| AbsentJson {
                first: absent.first.map(|seq| seq.0),
                last: absent.last.0,
                announced_at: absent.at.rfc3339(&TimeZone::UTC),
            }),
        }
    }
}

/// Every journal.
#[utoipa::path(get, path = "/api/v1/journals", tag = "sync",
    responses((status = 200, body = Vec<JournalJson>), (status = 503, body = Problem)))]
pub async fn journals(State(app): State<App>) -> Result<Json<Vec<JournalJson>>, Problem> {
    let rows = app.ask(|store| store.journals()).await?;
    Ok(Json(rows.iter().map(JournalJson::from).collect()))
}
