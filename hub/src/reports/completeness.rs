//! How much of a period's truth has arrived: a figure from half the sites is no figure.
//!
//! A site is complete once every agent of it has told the hub everything up to the period's end. What an agent
//! captured a moment ago cannot have arrived yet, so "now" counts as three minutes ago.

use jiff::tz::TimeZone;
use serde::Serialize;
use waystation_protocol::site::Sites;
use waystation_protocol::time::{self, Day, Timestamp};

use crate::board;
use crate::store::{AgentRow, SiteRow};

/// Agents speak every minute, and soon after each capture; within this time word of the present has come.
pub(super) const PRESENT_LAG_MS: i64 = 180_000;

/// What is known of one site.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Its zone.
    pub zone: TimeZone,
    /// Up to when each of its agents is known to be complete.
    pub caught_up_at: Vec<Option<Timestamp>>,
}

/// The badge on every figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Completeness {
    /// Sites the hub knows.
    pub sites_expected: usize,
    /// Those of them that are complete to the period's end.
    pub sites_complete: usize,
    /// Whether the figures can still change because something is missing or the period goes on.
    pub provisional: bool,
}

/// The badge of the period that ends with `to`, or with the present where there is none.
#[must_use]
pub fn completeness(sites: &[Evidence], to: Option<Day>, now: Timestamp) -> Completeness {
    let present = Timestamp(now.0 - PRESENT_LAG_MS);
    let is_complete = |site: &&Evidence| {
        let needed = to.map_or(present, |to| to.end(&site.zone).min(present));
        !site.caught_up_at.is_empty() && site.caught_up_at.iter().all(|at| at.is_some_and(|at| at >= needed))
    };
    let sites_complete = sites.iter().filter(is_complete).count();
    let goes_on = to.is_some_and(|to| match sites {
        [] => time::zone("").is_ok_and(|zone| to.end(&zone) > now),
        sites => sites.iter().any(|site| to.end(&site.zone) > now),
    });
    let provisional = sites_complete < sites.len() || goes_on;
    Completeness { sites_expected: sites.len(), sites_complete, provisional }
}

/// The evidence as the store has it.
#[must_use]
pub(super) fn evidence(sites: &[SiteRow], agents: &[AgentRow]) -> Vec<Evidence> {
    let of_site = |site: &SiteRow| Evidence {
        zone: board::zone_of(site),
        caught_up_at: board::agents_of(site, agents).map(caught_up_at).collect(),
    };
    // nothing arrives from the hub's own site
    sites.iter().filter(|site| !site.site.is_hub()).map(of_site).collect()
}

/// A migration agent brings history and leaves: with nothing outstanding it never makes a later period incomplete. What
/// is lost, or announced and not here, makes every period incomplete: nobody knows to which it belongs.
fn caught_up_at(agent: &AgentRow) -> Option<Timestamp> {
    if !agent.lost.is_empty() || !agent.absent.is_empty() {
        return None;
    }
    match agent.sites {
        Sites::All if agent.processed_seq >= agent.head_seq => Some(Timestamp(i64::MAX)),
        Sites::All => None,
        Sites::Only(_) => agent.caught_up_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    /// `sites`: minutes before now up to which each agent is complete; `-` for one that never was.
    fn check(sites: &[&str], to: Option<&str>, expected: (usize, usize, bool)) {
        let zone = time::zone("").unwrap();
        let now: Timestamp = "2026-11-23T12:00:00+08:00".parse().unwrap();
        let evidence: Vec<Evidence> = sites
            .iter()
            .map(|site| Evidence {
                zone: zone.clone(),
                caught_up_at: site
                    .split_whitespace()
                    .map(|ago| ago.parse::<i64>().ok().map(|ago| Timestamp(now.0 - ago * MINUTE)))
                    .collect(),
            })
            .collect();
        let to = to.map(|to| to.parse().unwrap());
        let found = completeness(&evidence, to, now);
        let found = (found.sites_expected, found.sites_complete, found.provisional);
        assert_eq!(found, expected, "{sites:?} to {to:?}");
    }

    #[test]
    fn a_site_is_complete_once_each_of_its_agents_is() {
        check(&["1", "2"], None, (2, 2, false));
        check(&["1", "4"], None, (2, 1, true));
        check(&["1 2"], None, (1, 1, false));
        check(&["1 -"], None, (1, 0, true));
        check(&["1", ""], None, (2, 1, true));
        check(&[], None, (0, 0, false));
    }

    #[test]
    fn a_past_period_needs_no_more_than_its_end() {
        check(&["719"], Some("2026-11-22"), (1, 1, false));
        check(&["721"], Some("2026-11-22"), (1, 0, true));
    }

    #[test]
    fn a_period_that_goes_on_is_provisional() {
        check(&["1"], Some("2026-11-23"), (1, 1, true));
        check(&["5"], Some("2026-11-30"), (1, 0, true));
        check(&[], Some("2026-11-30"), (0, 0, true));
    }
}
