//! MQTT topics: one up and one down per agent, so that a broker's access list is a pattern on the agent's name.

use crate::id::AgentId;

/// What every hub worker subscribes to: the share spreads agents' frames over the workers.
pub const HUB_SUBSCRIPTION: &str = "$share/hub/waystation/v1/+/up";

/// Where an agent publishes.
pub fn up(agent: AgentId) -> String {
    format!("waystation/v1/{agent}/up")
}

/// Where the hub publishes to one agent.
pub fn down(agent: AgentId) -> String {
    format!("waystation/v1/{agent}/down")
}

/// The agent whose upward topic this is.
pub fn sender(topic: &str) -> Option<AgentId> {
    topic.strip_prefix("waystation/v1/")?.strip_suffix("/up")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_names_its_agent() {
        let agent = AgentId::from_bytes([7; 16]);
        assert_eq!(sender(&up(agent)), Some(agent));
        for other in [down(agent), "waystation/v1/x/up".into(), "waystation/v1//up".into(), String::new()] {
            assert_eq!(sender(&other), None, "{other}");
        }
    }
}
