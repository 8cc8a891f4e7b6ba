//! `GET /sites` and `GET /agents`: the sync board for programs.

use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;
use waystation_protocol::site::Sites;

use super::App;
use super::problem::Problem;
use super::restore::RangeJson;
use super::restore::range_json;
use crate::board;
use crate::clock;
use crate::store::{AgentRow, ClockStepRow};

/// One site as its agents' evidence shows it. Marks and counts are sums over its agents; a migration agent counts for
/// each of its sites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SiteJson {
    /// Its id.
    pub site: String,
    /// Its name for people.
    pub name: String,
    /// online, late, silent or never.
    pub state: &'static str,
    /// Whether its agent's session was not reported dead.
    pub session_open: bool,
    /// When it was last heard, in its zone.
    pub last_seen: Option<String>,
    /// Entries announced.
    pub head_seq: u64,
    /// Entries committed at the hub.
    pub stored_seq: u64,
    /// Entries applied, quarantined or parked.
    pub processed_seq: u64,
    /// Entries its agents may delete.
    pub prunable_seq: u64,
    /// Entries announced and not yet at the hub.
    pub backlog: u64,
    /// Age of the oldest of them in seconds; 0 without a backlog.
    pub oldest_unsent_age_s: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Entries that wait for another.
    pub parked: u64,
    /// Ranges of its agents' journals that were named lost and are missing still; which journals, /api/v1/journals says.
    pub lost: Vec<RangeJson>,
    /// What its agents announced and went on without; none of it is here.
    pub announced_not_here: Vec<RangeJson>,
    /// Whether two sessions of one of its agents speak at the same time: a disk was copied.
    pub doubled: bool,
    /// Its agent's clock minus the hub's.
    pub clock_offset_ms: Option<i64>,
    /// How often its agents' clocks made a step of more than two seconds.
    pub clock_steps: u64,
    /// The step the hub heard of last.
    pub last_clock_step: Option<ClockStepJson>,
    /// Its documents at the hub.
    pub documents: u64,
    /// Its agents' ids.
    pub agents: Vec<String>,
}

/// One agent with its upward journal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentJson {
    /// Its id.
    pub agent: String,
    /// The sites it captures for; `*` for any.
    pub sites: Vec<String>,
    /// Its journal.
    pub stream: String,
    /// online, late or silent.
    pub state: &'static str,
    /// Whether its session was not reported dead.
    pub session_open: bool,
    /// When it was first heard, in UTC.
    pub first_seen: String,
    /// When it was last heard, in UTC.
    pub last_seen: String,
    /// The highest head it announced.
    pub head_seq: u64,
    /// Committed at the hub.
    pub stored_seq: u64,
    /// Applied, quarantined or parked.
    pub processed_seq: u64,
    /// What it may delete.
    pub prunable_seq: u64,
    /// Entries announced and not yet at the hub.
    pub backlog: u64,
    /// Age of the oldest of them in seconds; 0 without a backlog.
    pub oldest_unsent_age_s: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Entries that wait for another.
    pub parked: u64,
    /// Batches refused because they contradict what is stored.
    pub conflicts: u64,
    /// Ranges of its journals that were named lost and are missing still; which journals, /api/v1/journals says.
    pub lost: Vec<RangeJson>,
    /// What it announced and went on without; none of it is here.
    pub announced_not_here: Vec<RangeJson>,
    /// Whether two of its sessions speak at the same time: its disk was copied.
    pub doubled: bool,
    /// Its clock minus the hub's.
    pub clock_offset_ms: Option<i64>,
    /// How often its clock made a step of more than two seconds.
    pub clock_steps: u64,
    /// The step the hub heard of last.
    pub last_clock_step: Option<ClockStepJson>,
    /// Bytes free on its disk; 0 before its first heartbeat.
    pub disk_free: u64,
    /// Its build.
    pub build: String,
    /// Its letter in printed numbers.
    pub letter: String,
    /// The hub's time up to which everything it captured is known to be processed, in UTC.
    pub caught_up_at: Option<String>,
}

/// A step of an agent's clock: a jump against its monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClockStepJson {
    /// What the clock showed after it.
    pub at: String,
    /// By how many milliseconds it went forward; back if negative.
    pub by_ms: i64,
    /// By how much it then was thought to be ahead of the hub's clock.
    pub offset_ms: Option<i64>,
    /// When the hub heard of it.
    pub received_at: String,
}

fn step_json(step: ClockStepRow, zone: &TimeZone) -> ClockStepJson {
    ClockStepJson {
        at: step.at.rfc3339(zone),
        by_ms: step.by_ms,
        offset_ms: step.offset_ms,
        received_at: step.received_at.rfc3339(zone),
    }
}

impl From<&board::Site> for SiteJson {
    fn from(site: &board::Site) -> SiteJson {
        SiteJson {
            site: site.site.to_string(),
            name: site.name.clone(),
            state: site.state.name(),
            session_open: site.session_open,
            last_seen: site.last_seen.map(|at| at.rfc3339(&site.zone)),
            head_seq: site.head_seq,
            stored_seq: site.stored_seq,
            processed_seq: site.processed_seq,
            prunable_seq: site.prunable_seq,
            backlog: site.backlog,
            oldest_unsent_age_s: site.oldest_unsent_ms / 1000,
            quarantined: site.quarantined,
            parked: site.parked,
            lost: site.lost.iter().copied().map(range_json).collect(),
            announced_not_here: site.absent.iter().copied().map(range_json).collect(),
            doubled: site.is_doubled,
            clock_offset_ms: site.clock_offset_ms,
            clock_steps: site.clock_steps,
            last_clock_step: site.last_clock_step.map(|step| step_json(step, &site.zone)),
            documents: site.documents,
            agents: site.agents.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Every site.
#[utoipa::path(get, path = "/api/v1/sites", tag = "sync",
    responses((status = 200, body = Vec<SiteJson>), (status = 503, body = Problem)))]
pub async fn sites(State(app): State<App>) -> Result<Json<Vec<SiteJson>>, Problem> {
    let now = clock::now();
    let board = app.ask(move |store| Ok::<_, Problem>(board::sites(&store.sites()?, &store.agents()?, now))).await?;
    Ok(Json(board.iter().map(SiteJson::from).collect()))
}

/// Every agent that ever said HELLO.
#[utoipa::path(get, path = "/api/v1/agents", tag = "sync",
    responses((status = 200, body = Vec<AgentJson>), (status = 503, body = Problem)))]
pub async fn agents(State(app): State<App>) -> Result<Json<Vec<AgentJson>>, Problem> {
    let now = clock::now();
    let agents = app.ask(|store| store.agents()).await?;
    Ok(Json(agents.iter().map(|agent| agent_json(agent, now)).collect()))
}

fn agent_json(agent: &AgentRow, now: waystation_protocol::time::Timestamp) -> AgentJson {
    let sites = match &agent.sites {
        Sites::All => vec!["*".to_owned()],
        Sites::Only(sites) => sites.iter().map(ToString::to_string).collect(),
    };
    AgentJson {
        agent: agent.agent.to_string(),
        sites,
        stream: agent.stream.to_string(),
        state: board::state_of(agent, now).name(),
        session_open: agent.session_open,
        first_seen: agent.first_seen.rfc3339(&TimeZone::UTC),
        last_seen: agent.last_seen.rfc3339(&TimeZone::UTC),
        head_seq: agent.head_seq.0,
        stored_seq: agent.stored_seq.0,
        processed_seq: agent.processed_seq.0,
        prunable_seq: agent.prunable_seq.0,
        backlog: board::backlog(agent),
        oldest_unsent_age_s: board::oldest_unsent_ms(agent, now) / 1000,
        quarantined: agent.quarantined,
        parked: agent.parked,
        conflicts: agent.conflicts,
        lost: agent.lost.iter().copied().map(range_json).collect(),
        announced_not_here: agent.absent.iter().copied().map(range_json).collect(),
        doubled: agent.is_doubled,
        clock_offset_ms: agent.clock_offset_ms,
        clock_steps: agent.clock_steps,
        last_clock_step: agent.last_clock_step.map(|step| step_json(step, &TimeZone::UTC)),
        disk_free: agent.disk_free,
        build: agent.build.clone(),
        letter: agent.letter.to_string(),
        caught_up_at: agent.caught_up_at.map(|at| at.rfc3339(&TimeZone::UTC)),
    }
}
