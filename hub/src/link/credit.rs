//! Credit: how many bytes an agent may have in flight. Nothing else limits what the hub is sent.

use std::collections::HashMap;

use waystation_protocol::id::AgentId;
use waystation_protocol::time::Tick;

/// What all agents together may have in flight, in bytes; also where the hub stops granting.
pub(super) const BUDGET: u64 = 64 * 1024 * 1024;

/// Frames beyond this many queued bytes are dropped. Twice the budget: an agent may overshoot its credit by one batch.
pub(super) const QUEUE_LIMIT: u64 = 2 * BUDGET;

/// The least an agent is granted while anything is: a quarter of a full batch, which may overshoot.
const LEAST: u64 = 64 * 1024;

/// The most: 64 k entries on the way hide a round trip of a fifth of a second.
const MOST: u64 = 4 * 1024 * 1024;

/// An agent that was answered within this time shares the budget.
const ACTIVE_MS: u64 = 10_000;

/// How often those who fell silent are forgotten.
const SWEEP_MS: u64 = 1_000;

/// Shares the budget among the agents that are sending.
#[derive(Debug, Default)]
pub(super) struct Shares {
    active: HashMap<AgentId, Tick>,
    swept_at: Tick,
}

impl Shares {
    /// What `agent`, which is being answered now, may have in flight.
    pub(super) fn grant(&mut self, agent: AgentId, queued_bytes: u64, now: Tick) -> u64 {
        self.active.insert(agent, now);
        if now.since(self.swept_at) >= SWEEP_MS {
            self.swept_at = now;
            self.active.retain(|_, answered_at| now.since(*answered_at) < ACTIVE_MS);
        }
        if queued_bytes >= BUDGET {
            return 0;
        }
        let sharing = self.active.len().max(1) as u64;
        (BUDGET / sharing).clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(n: u16) -> AgentId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        AgentId::from_bytes(bytes)
    }

    /// The credit of one more agent while `others` are active and `queued` bytes wait.
    fn check(others: u16, queued: u64, expected: u64) {
        let mut shares = Shares::default();
        for n in 1..=others {
            shares.grant(agent(n), 0, Tick(0));
        }
        assert_eq!(shares.grant(agent(0), queued, Tick(1)), expected, "{others} others, {queued} bytes");
    }

    #[test]
    fn the_budget_is_shared_within_bounds() {
        check(0, 0, MOST);
        check(31, 0, BUDGET / 32);
        check(5_000, 0, LEAST);
        check(0, BUDGET - 1, MOST);
        check(0, BUDGET, 0);
    }

    #[test]
    fn the_silent_give_their_share_back() {
        let mut shares = Shares::default();
        for n in 0..100 {
            shares.grant(agent(n), 0, Tick(0));
        }
        assert_eq!(shares.grant(agent(0), 0, Tick(ACTIVE_MS)), MOST);
    }
}
