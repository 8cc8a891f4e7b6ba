//! Meeting again, what is kept and shown: branches aside, announced heads, doubled agents, the fence, letters, damage.

use waystation_protocol::chain::Seq;
use waystation_protocol::id::{SessionId, StreamId};

use super::fixture::{Agent, Hub};
use super::meeting_tests::{agent, hub_with, more, open_ranges, rebuilds, verify, with_base};

/// Two journals of one stream that part after their second entry, ten entries each.
fn branches() -> (Agent, Agent) {
    let main = agent(10);
    let mut other = main.fork(9, 2);
    (other.stream, other.session, other.line) = (main.stream, main.session, Vec::new());
    more(&mut other, 8);
    (main, other)
}

/// Entries shown as those of a branch, by seq, and those that were and are stored now.
fn aside(hub: &Hub) -> String {
    let list = |is_resolved| {
        let code = Some("branch".to_owned());
        let filter = super::QuarantineFilter { code, is_resolved, limit: 100, ..super::QuarantineFilter::default() };
        let mut items = hub.store.quarantine_page(&filter).unwrap().items;
        items.sort_by_key(|row| row.seq);
        let word = |row: &super::QuarantineRow| match &row.resolved {
            Some((_, word)) => format!("{}:{word}", row.seq),
            None => row.seq.to_string(),
        };
        items.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    format!("{} | {}", list(false), list(true)).trim().to_owned()
}

/// Processes also what is kept aside, which no total counts.
fn settle_all(hub: &mut Hub) {
    hub.settle();
    hub.wait("all is judged", |hub| hub.number("SELECT count(*) FROM stream WHERE processed_seq < stored_seq") == 0);
}

/// Sends batches written `1-3`, or `1-3!` of the other branch, and states what is shown aside.
fn check_aside(batches: &str, expected: &str) {
    let (main, other) = branches();
    let mut hub = Hub::open();
    hub.greet(&main);
    for word in batches.split_whitespace() {
        let (range, agent) = word.strip_suffix('!').map_or((word, &main), |range| (range, &other));
        let (first, last) = range.split_once('-').unwrap();
        hub.send(agent, &agent.batch(first.parse().unwrap(), last.parse().unwrap()));
        settle_all(&mut hub);
    }
    assert_eq!(aside(&hub), expected, "{batches}");
    assert_eq!(verify(&hub), Ok(()), "{batches}");
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    settle_all(&mut hub);
    let open = |text: &str| text.split('|').next().unwrap_or_default().trim().to_owned();
    assert_eq!(open(&aside(&hub)), open(expected), "{batches}, derived anew");
}

#[test]
fn entries_their_journal_cannot_take_are_kept_aside_and_shown_once() {
    check_aside("1-5 3-6!", "3 4 5 6 |");
    check_aside("1-5 1-4!", "3 4 |");
    check_aside("1-5 1-4! 1-4! 3-4! 2-3!", "3 4 |");
    check_aside("1-5 1-5 2-3 1-2!", "|");
    check_aside("1-2 4-6 4-5 4-7 3-3", "|");
    check_aside("1-2 4-6 4-6!", "4 5 6 |");
    check_aside("1-2 4-6! 1-4", "4 5 6 |");
    check_aside("1-2 5-6! 4-5 3-3", "5 6 |");
    check_aside("1-2 5-6! 5-7 3-4", "5 5 6 6 7 |");
    check_aside("1-2 5-6 4-5 3-3", "|");
}

#[test]
fn a_branch_is_resolved_once_a_journal_of_its_agent_holds_it() {
    let (main, other) = branches();
    let mut hub = Hub::open();
    hub.greet(&main);
    hub.send(&main, &main.batch(1, 5));
    hub.send(&main, &other.batch(3, 6));
    settle_all(&mut hub);
    assert_eq!(hub.store.totals().unwrap().documents, 5);
    let mut fork = other.clone();
    fork.line = main.fork(7, 2).line;
    fork.stream = StreamId::from_bytes([7; 16]);
    hub.send(&fork, &fork.fork_batch(3, 5));
    settle_all(&mut hub);
    assert_eq!(aside(&hub), "6 | 3:stored 4:stored 5:stored");
    let mut hub = hub.reopen();
    hub.send(&fork, &fork.batch(6, 10));
    settle_all(&mut hub);
    assert_eq!(aside(&hub), "| 3:stored 4:stored 5:stored 6:stored");
    assert_eq!(hub.store.totals().unwrap().documents, 13);
    assert_eq!(verify(&hub), Ok(()));
}

#[test]
fn people_decide_about_entries_of_a_branch_as_about_any_other() {
    use super::{Action, Ask, EntryPlace};
    let (main, other) = branches();
    let mut hub = Hub::open();
    hub.greet(&main);
    hub.send(&main, &main.batch(1, 5));
    hub.send(&main, &other.batch(3, 4));
    settle_all(&mut hub);
    let ask = |action| Ask { action, who: "王芳".into(), why: "核对过".into() };
    assert!(
        hub.store.ask_replay_all("王芳", "核对过").unwrap().requests.is_empty(),
        "nobody decides about a branch in bulk"
    );
    let rows = hub.store.quarantine(10).unwrap();
    for (row, action) in rows.iter().zip([Action::Replay, Action::Waive]) {
        let place = EntryPlace { stream: row.stream, seq: row.seq };
        let id = hub.store.ask(place, ask(action)).unwrap();
        assert!(hub.store.wait_decided(id, 30_000).unwrap().outcome.is_some());
    }
    assert_eq!((hub.store.totals().unwrap().documents, hub.store.totals().unwrap().quarantined), (6, 0));
    rebuilds(&mut hub);
    settle_all(&mut hub);
    assert_eq!(hub.store.totals().unwrap().quarantined, 0);
}

#[test]
fn what_was_kept_aside_fills_a_lost_range_once_its_end_is_known() {
    let main = agent(10);
    let mut hub = hub_with(&main.fork(1, 2), 2);
    hub.send(&main, &with_base(&main, 2, 8, 10));
    // the beginning of the range comes first, and proves nothing by itself
    hub.send(&main, &main.batch(3, 5));
    settle_all(&mut hub);
    assert_eq!((aside(&hub).as_str(), open_ranges(&hub).as_str()), ("3 4 5 |", "3..7"));
    hub.send(&main, &main.batch(6, 7));
    settle_all(&mut hub);
    assert_eq!((aside(&hub).as_str(), open_ranges(&hub).as_str()), ("| 3:stored 4:stored 5:stored", ""));
    assert_eq!(hub.store.totals().unwrap().documents, 10);
    assert_eq!(verify(&hub), Ok(()));
}

/// What the hub says of heads announced and not here, per journal: `5–6`, or `…6` where no branch point is known.
fn absent(hub: &Hub) -> String {
    let journals = hub.store.journals().unwrap();
    let absent = journals.iter().filter_map(|journal| journal.absent);
    absent.map(|gap| format!("{}–{}", gap.first.map_or("…".to_owned(), |seq| seq.to_string()), gap.last)).collect()
}

#[test]
fn an_announced_head_stands_until_a_journal_holds_it() {
    let (main, other) = branches();
    let mut hub = hub_with(&main.fork(1, 4), 4);
    // another session announced 10, then its disk was put back and went on with another entry 5
    hub.send(&main, &main.heartbeat(4));
    let mut later = other.clone();
    later.session = SessionId::from_bytes([5; 16]);
    hub.greet(&later);
    assert_eq!((absent(&hub).as_str(), hub.number("SELECT count(*) FROM announced")), ("", 2), "it may still come");
    let mut fork = main.fork(7, 3);
    fork.session = later.session;
    more(&mut fork, 2);
    hub.send(&fork, &fork.fork_batch(4, 5));
    hub.send(&fork, &fork.heartbeat(5));
    hub.now.0 += 100_000;
    hub.send(&fork, &fork.heartbeat(5));
    hub.settle();
    assert_eq!(absent(&hub), "4–10");
    let row = hub.store.agents().unwrap().remove(0);
    assert_eq!(row.absent.len(), 1, "the board knows");
    // all of it comes after all, in another fork
    let mut rest = main.clone();
    (rest.line, rest.stream) = (main.fork(8, 4).line, StreamId::from_bytes([8; 16]));
    hub.send(&rest, &rest.fork_batch(5, 10));
    hub.settle();
    assert_eq!(
        hub.number("SELECT count(*) FROM announced WHERE seq = 10 AND session = x'01010101010101010101010101010101'"),
        0
    );
}

#[test]
fn an_announced_head_its_journal_passed_with_another_hash_is_shown() {
    let (main, other) = branches();
    let mut hub = hub_with(&main.fork(1, 2), 2);
    hub.send(&other, &other.heartbeat(2));
    hub.send(&main, &main.batch(3, 10));
    hub.settle();
    assert_eq!(absent(&hub), "…–10");
    // kept aside is not held; in a journal it is
    hub.send(&main, &other.batch(3, 10));
    settle_all(&mut hub);
    assert_eq!(absent(&hub), "…–10");
    let mut fork = other.clone();
    (fork.line, fork.stream) = (main.fork(7, 2).line, StreamId::from_bytes([7; 16]));
    hub.send(&fork, &fork.fork_batch(3, 10));
    settle_all(&mut hub);
    assert_eq!(absent(&hub), "");
}

#[test]
fn journals_show_their_branches_and_what_is_lost() {
    let main = agent(6);
    let mut hub = hub_with(&main.fork(1, 2), 2);
    hub.send(&main, &with_base(&main, 2, 5, 6));
    let mut fork = main.fork(7, 6);
    more(&mut fork, 1);
    hub.send(&fork, &fork.fork_batch(7, 7));
    hub.greet(&fork);
    hub.settle();
    let journals = hub.store.journals().unwrap();
    let shown: Vec<_> = journals
        .iter()
        .map(|journal| (journal.parent.map(|(_, seq)| seq.0), journal.is_current, journal.stored.0, journal.lost.len()))
        .collect();
    assert_eq!(shown, [(None, false, 6, 1), (Some(6), true, 7, 0)]);
    let agent = hub.store.agents().unwrap().remove(0);
    assert_eq!(agent.lost, [journals[0].lost[0].open.unwrap()], "the board names it");
}

#[test]
fn two_sessions_that_speak_at_once_are_a_doubled_agent() {
    let (first, mut second) = (agent(1), agent(1));
    second.session = SessionId::from_bytes([9; 16]);
    second.last_session = Some(first.session);
    let mut hub = Hub::open();
    let is_doubled = |hub: &Hub| hub.store.agents().unwrap()[0].is_doubled;
    hub.greet(&first);
    hub.send(&first, &first.heartbeat(0));
    hub.greet(&second);
    hub.send(&second, &second.heartbeat(0));
    hub.barrier();
    assert!(!is_doubled(&hub), "a device that reconnects is one");
    hub.send(&first, &first.heartbeat(0));
    hub.barrier();
    assert!(is_doubled(&hub));
    hub.now.0 += 100_000;
    hub.send(&second, &second.heartbeat(0));
    hub.barrier();
    assert!(!is_doubled(&hub), "the other has fallen silent");
}

/// HELLOs written `session<last`, with `?` for one that answers the challenge its device was given last; devices are
/// letters, so `a2<a1?` is the second session of `a`. States who was admitted.
fn check_fence(hellos: &str, expected: &str) {
    let mut hub = Hub::open();
    let mut challenges = std::collections::HashMap::new();
    let mut said = Vec::new();
    for word in hellos.split_whitespace() {
        let (text, answers) = word.strip_suffix('?').map_or((word, false), |text| (text, true));
        let (session, last) = text.split_once('<').unwrap_or((text, ""));
        let id = |name: &str| {
            let mut bytes = [0; 16];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            SessionId::from_bytes(bytes)
        };
        let mut device = agent(0);
        device.session = id(session);
        device.last_session = (!last.is_empty()).then(|| id(last));
        device.answer = if answers { challenges.get(&session[..1]).cloned() } else { None };
        if word.starts_with('!') {
            hub.store.admit(device.id, None).unwrap();
            continue;
        }
        let greeting = hub.greet(&device);
        said.push(if greeting.challenge.is_none() { session.to_owned() } else { format!("-{session}") });
        if let Some(challenge) = greeting.challenge {
            challenges.insert(session[..1].to_owned(), challenge);
        }
    }
    assert_eq!(said.join(" "), expected, "{hellos}");
}

#[test]
fn only_a_successor_or_an_answer_takes_the_downward_journal_over() {
    check_fence("a1 a1 a2<a1 a3<a2", "a1 a1 a2 a3");
    check_fence("a1 b1 b1 b2", "a1 -b1 -b1 -b2");
    check_fence("a1 b1 b2? b3<b2", "a1 -b1 b2 b3");
    // a late copy of the hello that was superseded
    check_fence("a1 a2<a1 a3<a2 a2<a1 a3<a2", "a1 a2 a3 -a2 a3");
    // an answer given before another took over counts no more
    check_fence("a1 b1 c1 c2? b2? b3?", "a1 -b1 -c1 c2 -b2 b3");
    // it may come in a later session than the next
    check_fence("a1 b1 b2 b3?", "a1 -b1 -b2 b3");
    check_fence("a1 b1 ! b1 b2<b1 a2<a1", "a1 -b1 b1 b2 -a2");
}

#[test]
fn who_has_the_downward_journal_is_remembered_over_a_restart() {
    let mut first = agent(1);
    let mut hub = Hub::open();
    hub.greet(&first);
    let mut hub = hub.reopen();
    first.session = SessionId::from_bytes([9; 16]);
    let challenge = hub.greet(&first).challenge;
    assert!(challenge.is_some());
    let mut hub = hub.reopen();
    first.answer = challenge;
    first.session = SessionId::from_bytes([10; 16]);
    assert_eq!(hub.greet(&first).challenge, None);
    let stranger = waystation_protocol::id::AgentId::from_bytes([77; 16]);
    assert!(matches!(hub.store.admit(stranger, None), Err(super::StoreError::UnknownAgent { .. })));
    assert_eq!(hub.store.admit(first.id, None).unwrap(), None, "nobody was challenged");
}

#[test]
fn each_accepted_fork_gets_a_letter_that_a_restored_hub_grants_no_more() {
    let main = agent(4);
    let mut hub = Hub::open();
    assert_eq!(hub.greet(&main).letter, Some('A'));
    hub.send(&main, &main.batch(1, 4));
    hub.settle();
    let copy = tempfile::tempdir().unwrap();
    hub.store.close();
    std::fs::copy(hub.dir.path().join("hub.sqlite"), copy.path().join("hub.sqlite")).unwrap();
    let mut hub = hub.reopen();

    let mut fork = main.fork(7, 2);
    more(&mut fork, 1);
    assert_eq!(hub.greet(&fork).letter, None, "it must not print with its parent's");
    hub.send(&fork, &fork.fork_batch(3, 3));
    hub.settle();
    assert_eq!((hub.greet(&fork).letter, hub.greet(&main).letter), (Some('B'), Some('A')), "each branch its own");

    hub.store.close();
    std::fs::copy(copy.path().join("hub.sqlite"), hub.dir.path().join("hub.sqlite")).unwrap();
    let mut hub = hub.reopen();
    let mut other = main.fork(8, 2);
    more(&mut other, 1);
    hub.send(&other, &other.fork_batch(3, 3));
    hub.barrier();
    assert_eq!(hub.greet(&other).letter, Some('C'), "B was granted before the hub was put back");
    assert_eq!(hub.greet(&fork).letter, Some('B'), "and is the other fork's still");
}

#[test]
fn an_envelope_of_a_newer_protocol_is_kept_and_not_acknowledged() {
    let main = agent(2);
    let mut hub = hub_with(&main, 2);
    let frame = main.unreadable_frame(9);
    hub.send(&main, &frame);
    hub.send(&main, &frame);
    hub.barrier();
    assert!(hub.replies.try_recv().is_err());
    assert_eq!((hub.number("SELECT count(*) FROM envelope"), hub.store.counters().batches_newer.value()), (1, 1));
    assert!(hub.try_send(main.id, &main.unreadable_frame(1)).is_err(), "of our own protocol it is malformed");
    // a newer build can read what this one kept: here a batch of this protocol stands for it
    let mut later = main.clone();
    more(&mut later, 1);
    let readable = later.batch(3, 3);
    hub.store.close();
    let conn = rusqlite::Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
    super::envelope::keep(&conn, later.id, &readable, hub.now).unwrap();
    drop(conn);
    let mut hub = hub.reopen();
    hub.settle();
    assert_eq!((hub.stored(&later), hub.number("SELECT count(*) FROM envelope")), (Seq(3), 1));
}

#[test]
fn a_parked_entry_whose_stored_bytes_are_damaged_does_not_stop_the_others() {
    let (mut first, mut second) = (agent(1), Agent::new(2, &["3702"]));
    let id = *first.documents.keys().next().unwrap();
    let void = second.survey_entry(|entry| {
        entry.document = Some(id);
        entry.after = Some(id.opening());
        entry.act = "void".into();
        entry.set = [("void_reason".to_owned(), "重复".into())].into();
    });
    second.push(void.to_bytes());
    let mut hub = Hub::open();
    hub.take_all(&second);
    let conn = rusqlite::Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
    conn.execute("UPDATE raw SET payload = zeroblob(length(payload))", []).unwrap();
    hub.take_all(&first);
    more(&mut first, 2);
    hub.take_all(&first);
    let totals = hub.store.totals().unwrap();
    assert_eq!((totals.documents, totals.parked), (3, 1));
    assert!(hub.store.damage().unwrap().is_some_and(|damage| damage.contains("does not unpack")));
}
