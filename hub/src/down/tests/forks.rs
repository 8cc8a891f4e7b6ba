//! Branches of an agent's journal and its sessions: who is told what the others hold.

use super::*;

/// Proves R-FENCE-1, R-BEAT-1.
#[test]
fn a_session_that_lost_the_downward_journal_unchallenged_is_asked_to_greet() {
    let (mut hub, mut agent) = (Hub::open(), Agent::new(1, &["3702"]));
    agent.survey(80);
    hub.take_all(&agent);
    let mut clone = agent.clone();
    clone.session = SessionId::from_bytes([44; 16]);
    let asks = |hub: &mut Hub, agent: &Agent| {
        hub.forget_replies();
        hub.send(agent, &agent.heartbeat(1));
        hub.barrier();
        std::iter::from_fn(|| hub.replies.try_recv().ok())
            .any(|reply| matches!(reply, Reply::Ack(ack) if ack.session == agent.session && ack.stored == Mark::ZERO))
    };
    hub.forget_replies();
    assert!(hub.greet(&clone).challenge.is_some());
    assert_eq!((asks(&mut hub, &agent), asks(&mut hub, &clone)), (false, false), "one holds it, the other was told so");
    // the wrong one is admitted: whoever is alive comes back by itself
    hub.store.admit(agent.id, None).unwrap().expect("one was challenged");
    assert_eq!((asks(&mut hub, &agent), asks(&mut hub, &clone)), (true, false));
}

#[test]
fn a_fork_is_told_what_the_other_branch_holds_and_then_that_this_was_all() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    agent.survey(2);
    hub.take_all(&agent);
    let mut fork = agent.clone();
    agent.survey(3);
    hub.take_all(&agent);
    fork.stream = StreamId::from_bytes([0x22; 16]);
    let at = agent.mark(2);
    let hello = fork.hello_knowing(2);
    hub.send(&fork, &hello);
    let mut builder = Builder::new();
    let count = builder.count();
    let register = Batch {
        stream: fork.stream,
        parent: Some(Parent { stream: agent.stream, at }),
        first_seq: Seq(3),
        count,
        prev_hash: at.hash,
        base: None,
        payload: builder.finish().into(),
    };
    let register = fork.seal(&register);
    hub.send(&fork, &register);
    hub.barrier();
    hub.wait("the fork is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "survey answer, rehydrated done");
    assert_eq!(told.entries[0], agent.entry(3));
    assert_eq!(Rehydrated::read(&told.read()[1]), Some(Rehydrated { stream: fork.stream, at }));
}

/// A copy wrote while the original was away; when that is back it has the downward journal again.
/// Proves R-FORK-6.
#[test]
fn who_has_the_downward_journal_again_is_told_what_its_copy_wrote_meanwhile() {
    let (mut hub, mut told) = (Hub::open(), Told::default());
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(1);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    let mut copy = agent.fork(0x22, 1);
    copy.survey(2);
    let take_over = |who: &Agent, from: &Agent, stored| {
        let hello = Hello { last_session: Some(from.session), down: told.held(), ..who.plain_hello(stored) };
        who.seal(&hello)
    };
    let hello = take_over(&copy, &agent, 1);
    hub.send(&copy, &hello);
    hub.send(&copy, &copy.fork_batch(2, 2));
    hub.wait("the copy's entry is processed", |hub| hub.store.totals().unwrap().processed == 2);
    hub.wait("the copy is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    assert_eq!(hub.number("SELECT count(*) FROM down_entry WHERE on_document = 1"), 0, "its own is nothing new");
    let hello = take_over(&agent, &copy, 1);
    hub.send(&agent, &hello);
    hub.barrier();
    hub.wait("the original is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    let sql = "SELECT entry FROM down_entry WHERE on_document = 1";
    let conn = hub.store.reader().unwrap();
    let news: Vec<Vec<u8>> = conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().flatten().collect();
    assert_eq!(news, [copy.entry(2)]);
}

/// An empty batch that opens a fork which left its parent at `at`.
fn register(fork: &Agent, parent: &Agent, at: Mark) -> Vec<u8> {
    let mut builder = Builder::new();
    let count = builder.count();
    fork.seal(&Batch {
        stream: fork.stream,
        parent: Some(Parent { stream: parent.stream, at }),
        first_seq: at.seq.next(),
        count,
        prev_hash: at.hash,
        base: None,
        payload: builder.finish().into(),
    })
}

#[test]
fn a_fork_whose_batch_overtakes_its_hello_is_told_of_the_other_branch_all_the_same() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    hub.take_all(&agent);
    let mut fork = agent.fork(0x22, 1);
    agent.survey(2);
    hub.take_all(&agent);
    let register = register(&fork, &agent, agent.mark(1));
    hub.send(&fork, &register);
    hub.barrier();
    hub.wait("the fork is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    // what the other branch had sent before comes late
    agent.survey(3);
    let late = agent.batch(3, 3);
    hub.send(&agent, &late);
    hub.settle();
    fork.last_session = Some(agent.session);
    hub.tell(&fork, &mut told);
    hub.wait("the fork is told the rest", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "survey answer, rehydrated done, survey answer");
}

#[test]
fn a_late_copy_of_a_hello_does_not_make_the_journal_that_was_left_the_agents_own_again() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    hub.take_all(&agent);
    let hello = agent.hello();
    let mut fork = agent.fork(0x22, 1);
    fork.last_session = Some(agent.session);
    let register = register(&fork, &agent, agent.mark(1));
    let greeting = fork.hello();
    hub.send(&fork, &greeting);
    hub.send(&fork, &register);
    hub.settle();
    hub.wait("the fork is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    hub.send(&agent, &hello);
    agent.survey(2);
    let late = agent.batch(2, 2);
    hub.send(&agent, &late);
    hub.settle();
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "rehydrated done, survey answer");
}

#[test]
fn a_disk_put_back_to_before_its_first_entry_is_told_all_that_it_had_captured() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    agent.survey(2);
    hub.take_all(&agent);
    let mut fork = agent.fork(0x22, 0);
    let mut unknown = Agent::new(2, &["3703"]);
    unknown.survey(1);
    let mut second = unknown.fork(0x33, 0);
    for (fork, parent) in [(&fork, &agent), (&second, &unknown)] {
        let (hello, register) = (fork.hello(), register(fork, parent, Mark::ZERO));
        hub.send(fork, &hello);
        hub.send(fork, &register);
    }
    hub.settle();
    hub.wait("both are told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    fork.last_session = Some(agent.session);
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "survey answer, survey answer, rehydrated done");
    let mut told = Told::default();
    second.last_session = Some(second.session);
    hub.tell(&second, &mut told);
    assert_eq!(told.words(), "rehydrated done", "of what it left nothing had come");
}
