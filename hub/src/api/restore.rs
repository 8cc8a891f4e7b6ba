//! `GET /restore`: what came back since the hub came back older.

use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;
use waystation_protocol::chain::SeqRange;
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

use super::App;
use super::problem::Problem;
use crate::store::{AwaitedStream, Owed, RestoreReport};

/// The last time the hub came back older.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RestoreJson {
    /// The epoch it began.
    pub epoch: u64,
    /// When, in UTC.
    pub at: String,
    /// restored (by the tool), copied (an older database was found) or agent (one knew of more).
    pub cause: &'static str,
    /// What the hub saw.
    pub detail: String,
    /// The backup put in place.
    pub backup: Option<String>,
    /// When that was taken, in UTC.
    pub backup_taken_at: Option<String>,
    /// Whether prunable marks are frozen: somebody is still awaited, or something is missing.
    pub frozen: bool,
    /// Whether everything known to have been there is back.
    pub whole: bool,
    /// When it ended, in UTC.
    pub ended_at: Option<String>,
    /// Who released it before everything was back.
    pub released_by: Option<String>,
    /// Why.
    pub released_why: Option<String>,
    /// Agents known then that have not brought back everything.
    pub awaited_agents: Vec<AwaitedAgentJson>,
    /// What agents were told, have deleted, and nobody can bring back: their documents may have been decided already.
    pub lost_downward: Vec<LostDownwardJson>,
    /// Entries of the hub's own journals that the database had forgotten; those that agents were told of come back.
    pub own_entries_forgotten: u64,
    /// Journals of which there was more.
    pub streams: Vec<AwaitedStreamJson>,
}

/// An agent that has not brought back everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AwaitedAgentJson {
    /// Its id.
    pub agent: String,
    /// Its sites; `*` for any.
    pub sites: Vec<String>,
    /// hello (not heard since), downward (it is bringing back what it was told) or release (some of that is lost: only ops
    /// ends the wait).
    pub waits_for: &'static str,
}

/// What an agent was told and cannot bring back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LostDownwardJson {
    /// Its id.
    pub agent: String,
    /// Its sites; `*` for any.
    pub sites: Vec<String>,
    /// Of its downward journal.
    pub range: RangeJson,
}

/// A journal of which there was more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AwaitedStreamJson {
    /// Its id.
    pub stream: String,
    /// Whose.
    pub agent: String,
    /// Its agent's sites; `*` for any.
    pub sites: Vec<String>,
    /// What the database held as it came back.
    pub from_seq: u64,
    /// The highest seq stored or announced before.
    pub had_seq: u64,
    /// What is stored now.
    pub stored_seq: u64,
    /// Entries that came back.
    pub came_back: u64,
    /// What is still missing.
    pub missing: Option<RangeJson>,
    /// What is lost for good unless a copy turns up.
    pub lost: Vec<RangeJson>,
}

/// Entries of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct RangeJson {
    /// The lowest seq.
    pub first: u64,
    /// The highest seq.
    pub last: u64,
}

/// A range as JSON.
pub(super) fn range_json(range: SeqRange) -> RangeJson {
    RangeJson { first: range.first.0, last: range.last.0 }
}

fn utc(at: Timestamp) -> String {
    at.rfc3339(&TimeZone::UTC)
}

fn names(sites: &Sites) -> Vec<String> {
    match sites {
        Sites::All => vec!["*".to_owned()],
        Sites::Only(sites) => sites.iter().map(ToString::to_string).collect(),
    }
}

impl From<&RestoreReport> for RestoreJson {
    fn from(report: &RestoreReport) -> RestoreJson {
        let released = report.ending.as_ref().filter(|ending| ending.is_release);
        let awaited = report.agents.iter().filter_map(|agent| Some((agent, agent.owed()?)));
        let lost_downward = report.agents.iter().flat_map(|agent| agent.lost.iter().map(move |range| (agent, *range)));
        RestoreJson {
            epoch: report.epoch,
            at: utc(report.at),
            cause: report.cause.name(),
            detail: report.detail.clone(),
            backup: report.backup.as_ref().map(|(folder, _)| folder.clone()),
            backup_taken_at: report.backup.as_ref().map(|(_, at)| utc(*at)),
            frozen: report.is_open(),
            whole: report.is_whole(),
            ended_at: report.ending.as_ref().map(|ending| utc(ending.at)),
            released_by: released.and_then(|ending| ending.by.clone()),
            released_why: released.and_then(|ending| ending.why.clone()),
            awaited_agents: awaited
                .map(|(agent, owed)| AwaitedAgentJson {
                    agent: agent.agent.to_string(),
                    sites: names(&agent.sites),
                    waits_for: match owed {
                        Owed::Hello => "hello",
                        Owed::Downward => "downward",
                        Owed::Release => "release",
                    },
                })
                .collect(),
            lost_downward: lost_downward
                .map(|(agent, range)| LostDownwardJson {
                    agent: agent.agent.to_string(),
                    sites: names(&agent.sites),
                    range: range_json(range),
                })
                .collect(),
            own_entries_forgotten: report.own_forgotten,
            streams: report.streams.iter().map(|stream| stream_json(stream, report.is_released())).collect(),
        }
    }
}

fn stream_json(stream: &AwaitedStream, is_released: bool) -> AwaitedStreamJson {
    AwaitedStreamJson {
        stream: stream.stream.to_string(),
        agent: stream.agent.to_string(),
        sites: names(&stream.sites),
        from_seq: stream.from.0,
        had_seq: stream.had.0,
        stored_seq: stream.stored.0,
        came_back: stream.came_back(),
        missing: stream.missing(is_released).map(range_json),
        lost: stream.lost(is_released).into_iter().map(range_json).collect(),
    }
}

/// The last time the hub came back older; null if it never did.
#[utoipa::path(get, path = "/api/v1/restore", tag = "sync",
    responses((status = 200, body = Option<RestoreJson>), (status = 503, body = Problem)))]
pub async fn restore(State(app): State<App>) -> Result<Json<Option<RestoreJson>>, Problem> {
    let report = app.ask(|store| store.restore_report()).await?;
    Ok(Json(report.as_ref().map(RestoreJson::from)))
}
