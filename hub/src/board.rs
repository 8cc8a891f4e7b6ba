//! The sync board: what the evidence says of each site, and what has arrived from it.
//!
//! Nothing here is stored. A state follows from when an agent was last heard and what it said, so it changes with
//! time alone.

use jiff::tz::TimeZone;
use waystation_protocol::chain::SeqRange;
use waystation_protocol::id::AgentId;
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::{self, Timestamp};

use crate::store::{AgentRow, ClockStepRow, SiteRow};

/// An agent speaks at least every 66 seconds; after this long without a word it is silent.
pub const SILENT_AFTER_MS: i64 = 90_000;

/// A backlog is late once its oldest entry has waited this long.
pub const LATE_AFTER_MS: u64 = 5 * 60_000;

/// What the evidence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Heard lately, and nothing waits for long.
    Online,
    /// Heard lately, but what it captured is not all here.
    Late,
    /// Not heard lately.
    Silent,
    /// Never heard.
    Never,
}

/// What the board says of one site. Marks and counts are sums over its agents.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its id.
    pub site: SiteId,
    /// Its name for people.
    pub name: String,
    /// Its zone.
    pub zone: TimeZone,
    /// What the evidence says of the agent that stands for it now.
    pub state: State,
    /// Whether that agent's session was not reported dead.
    pub session_open: bool,
    /// When anything of its agents was last heard.
    pub last_seen: Option<Timestamp>,
    /// Entries its agents announced.
    pub head_seq: u64,
    /// Entries committed here.
    pub stored_seq: u64,
    /// Entries applied, quarantined or parked.
    pub processed_seq: u64,
    /// Entries its agents may delete.
    pub prunable_seq: u64,
    /// Entries announced and not yet here.
    pub backlog: u64,
    /// Age of the oldest of them in milliseconds; 0 without a backlog.
    pub oldest_unsent_ms: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Entries that wait for another.
    pub parked: u64,
    /// Ranges of its agents' journals that were named lost and are missing still.
    pub lost: Vec<SeqRange>,
    /// What its agents announced and went on without; none of it is here.
    pub absent: Vec<SeqRange>,
    /// Whether two sessions of one of its agents speak at the same time: a disk was copied.
    pub is_doubled: bool,
    /// The clock of the agent that stands for it now, minus the hub's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// How often its agents' clocks made a step.
    pub clock_steps: u64,
    /// The step heard of last.
    pub last_clock_step: Option<ClockStepRow>,
    /// Its agents.
    pub agents: Vec<AgentId>,
    /// How many documents it has.
    pub documents: u64,
}

impl State {
    /// Every state, the best first.
    pub const ALL: [State; 4] = [State::Online, State::Late, State::Silent, State::Never];

    /// The wire name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Online => "online",
            State::Late => "late",
            State::Silent => "silent",
            State::Never => "never",
        }
    }
}

/// What the evidence says of an agent.
#[must_use]
pub fn state_of(agent: &AgentRow, now: Timestamp) -> State {
    let heard_before = now.0.saturating_sub(agent.last_seen.0);
    let dead_for = agent.died_at.map_or(0, |at| now.0.saturating_sub(at.0));
    if heard_before > SILENT_AFTER_MS || dead_for > SILENT_AFTER_MS {
        return State::Silent;
    }
    let waits_long = backlog(agent) > 0 && oldest_unsent_ms(agent, now) > LATE_AFTER_MS;
    if waits_long || agent.processed_seq < agent.head_seq { State::Late } else { State::Online }
}

/// Entries an agent announced that are not yet here.
#[must_use]
pub fn backlog(agent: &AgentRow) -> u64 {
    agent.head_seq.0.saturating_sub(agent.stored_seq.0)
}

/// Age of the oldest of them: what the agent last said, and the time since then.
#[must_use]
pub fn oldest_unsent_ms(agent: &AgentRow, now: Timestamp) -> u64 {
    if backlog(agent) == 0 {
        return 0;
    }
    agent.oldest_unsent_ms.saturating_add(u64::try_from(now.0 - agent.last_seen.0).unwrap_or(0))
}

/// The agents that stand for a site: those that name it, and migration agents that captured for it.
pub fn agents_of<'a>(site: &'a SiteRow, agents: &'a [AgentRow]) -> impl Iterator<Item = &'a AgentRow> {
    agents.iter().filter(|agent| site.agents.contains(&agent.agent) || names(agent, &site.site))
}

fn names(agent: &AgentRow, site: &SiteId) -> bool {
    matches!(&agent.sites, Sites::Only(sites) if sites.contains(site))
}

/// A site's zone; the default where the stored name is none this build knows.
#[must_use]
pub fn zone_of(site: &SiteRow) -> TimeZone {
    time::zone(&site.zone).or_else(|_| time::zone("")).unwrap_or(TimeZone::UTC)
}

/// The board, in the order of the sites' ids.
#[must_use]
pub fn sites(rows: &[SiteRow], agents: &[AgentRow], now: Timestamp) -> Vec<Site> {
    // nothing arrives from the hub's own site
    let outlets = rows.iter().filter(|row| !row.site.is_hub());
    let mut board: Vec<Site> = outlets.map(|row| site(row, agents, now)).collect();
    board.sort_by(|a, b| a.site.cmp(&b.site));
    board
}

fn site(row: &SiteRow, agents: &[AgentRow], now: Timestamp) -> Site {
    let own: Vec<&AgentRow> = agents_of(row, agents).collect();
    // an agent of its own stands for it before a migration agent, a later one before one it replaced
    let current = own.iter().max_by_key(|agent| (names(agent, &row.site), agent.last_seen)).copied();
    let sum = |count: fn(&AgentRow) -> u64| own.iter().map(|agent| count(agent)).sum();
    Site {
        site: row.site.clone(),
        name: row.name.clone(),
        zone: zone_of(row),
        state: current.map_or(State::Never, |agent| state_of(agent, now)),
        session_open: current.is_some_and(|agent| agent.session_open),
        last_seen: own.iter().map(|agent| agent.last_seen).max(),
        head_seq: sum(|agent| agent.head_seq.0),
        stored_seq: sum(|agent| agent.stored_seq.0),
        processed_seq: sum(|agent| agent.processed_seq.0),
        prunable_seq: sum(|agent| agent.prunable_seq.0),
        backlog: sum(backlog),
        oldest_unsent_ms: own.iter().map(|agent| oldest_unsent_ms(agent, now)).max().unwrap_or(0),
        quarantined: sum(|agent| agent.quarantined),
        parked: sum(|agent| agent.parked),
        lost: own.iter().flat_map(|agent| agent.lost.iter().copied()).collect(),
        absent: own.iter().flat_map(|agent| agent.absent.iter().copied()).collect(),
        is_doubled: own.iter().any(|agent| agent.is_doubled),
        clock_offset_ms: current.and_then(|agent| agent.clock_offset_ms),
        clock_steps: sum(|agent| agent.clock_steps),
        last_clock_step: own.iter().filter_map(|agent| agent.last_clock_step).max_by_key(|step| step.received_at),
        agents: own.iter().map(|agent| agent.agent).collect(),
        documents: row.documents,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use waystation_protocol::chain::Seq;
    use waystation_protocol::id::StreamId;

    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000);

    pub(crate) fn agent(id: u8, sites: Sites) -> AgentRow {
        AgentRow {
            agent: AgentId::from_bytes([id; 16]),
            sites,
            stream: StreamId::from_bytes([id; 16]),
            build: "0.1.0".into(),
            letter: 'A',
            session_open: true,
            first_seen: Timestamp(NOW.0 - 86_400_000),
            last_seen: NOW,
            died_at: None,
            head_seq: Seq(100),
            stored_seq: Seq(100),
            processed_seq: Seq(100),
            prunable_seq: Seq(0),
            backlog_entries: 0,
            backlog_bytes: 0,
            oldest_unsent_ms: 0,
            quarantined: 0,
            parked: 0,
            conflicts: 0,
            lost: Vec::new(),
            absent: Vec::new(),
            is_doubled: false,
            clock_offset_ms: Some(12),
            clock_steps: 0,
            last_clock_step: None,
            disk_free: 1,
            caught_up_at: Some(NOW),
        }
    }

    pub(crate) fn row(site: &str, agents: &[u8]) -> SiteRow {
        SiteRow {
            site: site.parse().unwrap(),
            name: site.to_owned(),
            zone: "Asia/Shanghai".into(),
            agents: agents.iter().map(|id| AgentId::from_bytes([*id; 16])).collect(),
            documents: 3,
        }
    }

    fn only(site: &str) -> Sites {
        Sites::Only(vec![site.parse().unwrap()])
    }

    #[test]
    fn the_state_follows_from_the_evidence() {
        type Change = fn(&mut AgentRow);
        let table: &[(&str, Change, State)] = &[
            ("all here", |_| {}, State::Online),
            ("heard 90 s ago", |a| a.last_seen.0 -= SILENT_AFTER_MS, State::Online),
            ("heard longer ago", |a| a.last_seen.0 -= SILENT_AFTER_MS + 1, State::Silent),
            ("died just now", |a| a.died_at = Some(NOW), State::Online),
            ("died long ago", |a| a.died_at = Some(Timestamp(NOW.0 - SILENT_AFTER_MS - 1)), State::Silent),
            ("stored, not processed", |a| a.processed_seq = Seq(99), State::Late),
            (
                "an old backlog",
                |a| {
                    a.stored_seq = Seq(99);
                    a.processed_seq = Seq(99);
                    a.oldest_unsent_ms = LATE_AFTER_MS + 1;
                },
                State::Late,
            ),
            ("a clock ahead of ours", |a| a.last_seen.0 += 3_600_000, State::Online),
        ];
        for (name, change, expected) in table {
            let mut agent = agent(1, Sites::All);
            change(&mut agent);
            assert_eq!(state_of(&agent, NOW), *expected, "{name}");
        }
    }

    #[test]
    fn the_age_of_a_backlog_grows_while_nothing_is_heard() {
        let mut silent = agent(1, Sites::All);
        (silent.head_seq, silent.oldest_unsent_ms) = (Seq(130), 5_000);
        silent.last_seen.0 -= 60_000;
        assert_eq!((backlog(&silent), oldest_unsent_ms(&silent, NOW)), (30, 65_000));
        silent.stored_seq = Seq(130);
        assert_eq!((backlog(&silent), oldest_unsent_ms(&silent, NOW)), (0, 0));
    }

    #[test]
    fn a_site_is_judged_by_its_own_agent_and_counts_all() {
        let mut own = agent(1, only("east"));
        own.last_seen.0 -= SILENT_AFTER_MS + 1;
        let migration = agent(2, Sites::All);
        let board = sites(&[row("west", &[]), row("east", &[2]), row("north", &[2])], &[own, migration], NOW);
        let found: Vec<(&str, State, u64)> =
            board.iter().map(|site| (site.site.as_str(), site.state, site.head_seq)).collect();
        assert_eq!(found, [("east", State::Silent, 200), ("north", State::Online, 100), ("west", State::Never, 0)]);
    }
}
