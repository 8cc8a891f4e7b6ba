//! The sync report: one row per agent, from what it said and what arrived.

use waystation_protocol::site::Sites;
use waystation_protocol::time::{self, Timestamp};

use super::Cell;
use crate::board;
use crate::store::{AgentRow, SiteRow};

/// The rows, in the order the report declares its columns.
pub(super) fn rows(sites: &[SiteRow], agents: &[AgentRow], now: Timestamp) -> Vec<Vec<Cell>> {
    agents.iter().map(|agent| row(sites, agent, now)).collect()
}

fn row(sites: &[SiteRow], agent: &AgentRow, now: Timestamp) -> Vec<Cell> {
    let named: Vec<&str> = match &agent.sites {
        Sites::All => vec!["*"],
        Sites::Only(sites) => sites.iter().map(waystation_protocol::site::SiteId::as_str).collect(),
    };
    let own = sites.iter().find(|site| named.contains(&site.site.as_str()));
    let zone = own.map(board::zone_of).or_else(|| time::zone("").ok()).unwrap_or(jiff::tz::TimeZone::UTC);
    let whole = |count: u64| Cell::Whole(i64::try_from(count).unwrap_or(i64::MAX));
    vec![
        Cell::Text(agent.agent.to_string()),
        Cell::Text(named.join(" ")),
        Cell::Text(board::state_of(agent, now).name().to_owned()),
        whole(board::backlog(agent)),
        whole(board::oldest_unsent_ms(agent, now) / 1000),
        Cell::Text(agent.last_seen.rfc3339(&zone)),
        whole(agent.quarantined),
        Cell::Text(agent.build.clone()),
        agent.clock_offset_ms.map_or(Cell::Empty, Cell::Whole),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;
    use crate::board::tests::{NOW, agent, row as site_row};

    #[test]
    fn every_agent_has_a_row_of_the_declared_columns() {
        let sites = Sites::Only(vec!["east".parse().unwrap(), "west".parse().unwrap()]);
        let rows = rows(&[site_row("east", &[1])], &[agent(1, sites), agent(2, Sites::All)], NOW);
        let report = find("sync").unwrap();
        assert!(rows.iter().all(|row| row.len() == report.keys.len() + report.columns.len()));
        assert_eq!(
            rows[0][1..5],
            [Cell::Text("east west".into()), Cell::Text("online".into()), Cell::Whole(0), Cell::Whole(0)]
        );
        assert_eq!(rows[1][1], Cell::Text("*".into()));
    }
}
