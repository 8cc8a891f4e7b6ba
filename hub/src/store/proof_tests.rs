//! What a HELLO may claim, and what the hub believes of it.

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::StreamId;
use waystation_protocol::message::{Held, Hello};

use super::fixture::{Agent, Hub, hub_key, proof};
use super::meeting_tests::{agent, seqs};
use crate::ingest::Rejected;

/// Proves R-OLDER-6.
#[test]
fn that_more_was_stored_than_is_here_counts_only_with_the_hubs_own_word() {
    let (agent, other) = (agent(6), Agent::new(2, &["3702"]).fork(3, 0));
    let said = |stream, mark| Some(proof(stream, mark, &hub_key()));
    let elsewhere = Mark { seq: Seq(5), ..agent.mark(6) };
    for (what, proof, is_believed) in [
        ("nothing", None, false),
        ("its own word", Some(proof(agent.stream, agent.mark(5), &agent.key)), false),
        ("of another journal", said(other.stream, agent.mark(5)), false),
        ("of less", said(agent.stream, agent.mark(4)), false),
        ("of another chain", said(agent.stream, elsewhere), false),
        ("of as much", said(agent.stream, agent.mark(5)), true),
        ("of more", said(agent.stream, agent.mark(6)), true),
    ] {
        let mut hub = Hub::open();
        let hello = Hello { proof, ..agent.plain_hello(5) };
        hub.send(&agent, &agent.seal(&hello));
        assert_eq!(seqs(&hub.welcome().ladder), [0], "{what}");
        assert_eq!(hub.store.restore_report().unwrap().is_some(), is_believed, "{what}");
    }
}

/// Proves R-OLDER-6.
#[test]
fn a_downward_journal_that_is_not_here_counts_only_from_whom_the_hub_once_welcomed() {
    let agent = agent(1);
    let down = Some(Held { stream: StreamId::from_bytes([77; 16]), head: agent.mark(1), pruned: Seq(0) });
    for is_welcomed in [false, true] {
        let mut hub = Hub::open();
        let mut hello = Hello { down: down.clone(), ..agent.plain_hello(0) };
        if !is_welcomed {
            hello.proof = None;
        }
        hub.send(&agent, &agent.seal(&hello));
        let greeting = hub.welcome();
        assert_eq!((greeting.down.is_some(), greeting.meeting), (is_welcomed, None));
        assert_eq!(hub.store.restore_report().unwrap().is_some(), is_welcomed);
    }
}

#[test]
fn nobody_stands_for_the_hubs_own_site() {
    let (agent, mut hub) = (Agent::new(1, &["3702", "hub"]), Hub::open());
    let refused = hub.try_send(agent.id, &agent.hello()).unwrap_err();
    assert!(matches!(refused, Rejected::ReservedSite), "{refused}");
}
