//! Which member of a `$share` group gets a message: always the same one for a topic, while the group stays the same.
//!
//! rmqtt's default refuses shared subscriptions. Keeping a site with one hub worker saves reordering and double work; it
//! is not needed for correctness, which comes from the database.

use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use rmqtt::context::ServerContext;
use rmqtt::subscribe::SharedSubscription;
use rmqtt::types::{
    ClientId, Id, IsOnline, NodeId, SharedGroup, SubscriptionIdentifier, SubscriptionOptions, TopicName,
};

type Member = (NodeId, ClientId, SubscriptionOptions, Option<Vec<SubscriptionIdentifier>>, Option<IsOnline>);

pub(super) struct ByTopic;

#[async_trait]
impl SharedSubscription for ByTopic {
    fn is_supported(&self) -> bool {
        true
    }

    async fn choice(
        &self,
        _context: &ServerContext,
        _group: &SharedGroup,
        _publisher: &Id,
        topic: &TopicName,
        members: &[Member],
    ) -> Option<(usize, IsOnline)> {
        choose(topic, members.iter().map(|(_, client, _, _, online)| (client.as_ref(), online.unwrap_or(false))))
    }
}

/// Rendezvous hashing over the members that are online, or over all when none is: one that leaves moves only its own
/// topics.
fn choose<'a>(topic: &str, members: impl Iterator<Item = (&'a str, IsOnline)>) -> Option<(usize, IsOnline)> {
    members
        .enumerate()
        .max_by_key(|&(_, (client, online))| (online, weight(topic, client)))
        .map(|(index, (_, online))| (index, online))
}

fn weight(topic: &str, client: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, client).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::choose;

    fn chosen<'a>(topic: &str, members: &[(&'a str, bool)]) -> Option<&'a str> {
        choose(topic, members.iter().copied()).map(|(index, _)| members[index].0)
    }

    #[test]
    fn order_of_members_does_not_matter() {
        let (there, back) = ([("a", true), ("b", true), ("c", true)], [("c", true), ("b", true), ("a", true)]);
        for topic in 0..100 {
            let topic = topic.to_string();
            assert_eq!(chosen(&topic, &there), chosen(&topic, &back), "topic {topic}");
        }
    }

    #[test]
    fn every_member_gets_topics() {
        let members = [("a", true), ("b", true), ("c", true)];
        for (name, _) in members {
            let count = (0..300).filter(|topic: &u32| chosen(&topic.to_string(), &members) == Some(name)).count();
            assert!(count > 50, "{name} got {count} of 300");
        }
    }

    #[test]
    fn online_members_come_first() {
        for topic in 0..100 {
            assert_eq!(chosen(&topic.to_string(), &[("a", false), ("b", true), ("c", false)]), Some("b"));
        }
        assert!(chosen("t", &[("a", false)]).is_some(), "an absent member keeps the message in its session");
        assert_eq!(chosen("t", &[]), None);
    }
}
