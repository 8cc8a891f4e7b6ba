//! What an agent may delete waits until it was told what became of it.

use super::*;
use crate::store::RETENTION_MS;

/// Proves R-PRUNE-5.
#[test]
fn nothing_may_be_deleted_before_its_agent_has_acknowledged_all_it_is_told() {
    let (mut hub, mut agent, mut told) = (Hub::open(), Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    let prunable = |hub: &Hub| hub.store.agents().unwrap()[0].prunable_seq;
    hub.command(&agent, "清点");
    hub.now = Timestamp(hub.now.0 + RETENTION_MS + 1_000);
    for _ in 0..2 {
        hub.send(&agent, &agent.heartbeat(1));
        hub.barrier();
        assert_eq!(prunable(&hub), Seq(0), "it has not heard of the command");
    }
    hub.meet(&agent, &told);
    assert_eq!(prunable(&hub), Seq(0), "nor by another HELLO");
    hub.tell(&agent, &mut told);
    hub.meet(&agent, &told);
    hub.wait("it may go", |hub| prunable(hub) == Seq(1));

    agent.survey(2);
    hub.send(&agent, &agent.batch(2, 2));
    hub.settle();
    hub.now = Timestamp(hub.now.0 + RETENTION_MS + 1_000);
    let mut copy = agent.clone();
    copy.session = SessionId::from_bytes([44; 16]);
    hub.send(&copy, &copy.heartbeat(2));
    hub.barrier();
    assert_eq!(prunable(&hub), Seq(1), "a copy of its disk has heard nothing");
    hub.send(&agent, &agent.heartbeat(2));
    hub.wait("the second may go too", |hub| prunable(hub) == Seq(2));
}
