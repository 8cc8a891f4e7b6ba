//! Meeting again, from the hub's side: ladders, forks, lost ranges, heartbeats.

use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::id::{SessionId, StreamId};

use super::fixture::{Agent, Hub};
use super::{DATABASE, open_reader, raw};
use crate::ingest::Reply;

/// An agent with as many surveys.
pub(super) fn agent(surveys: i64) -> Agent {
    let mut agent = Agent::new(1, &["3702"]);
    more(&mut agent, surveys);
    agent
}

pub(super) fn more(agent: &mut Agent, surveys: i64) {
    for score in 0..surveys {
        agent.survey(score % 100);
    }
}

/// A hub that has stored the agent's entries in batches of `size`.
pub(super) fn hub_with(agent: &Agent, size: u64) -> Hub {
    let mut hub = Hub::open();
    hub.send(agent, &agent.hello());
    let head = agent.head().seq.0;
    for first in (1..=head).step_by(size as usize) {
        hub.send(agent, &agent.batch(first, head.min(first + size - 1)));
    }
    hub.settle();
    while hub.replies.try_recv().is_ok() {}
    hub
}

pub(super) fn seqs(ladder: &[Mark]) -> Vec<u64> {
    ladder.iter().map(|mark| mark.seq.0).collect()
}

/// Every journal recomputed as the check of a backup does.
pub(super) fn verify(hub: &Hub) -> Result<(), String> {
    let conn = open_reader(hub.dir.path()).unwrap();
    let mut statement = conn.prepare("SELECT id, stored_seq, stored_hash FROM stream").unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, Mark { seq: super::seq_at(row, 1)?, hash: super::hash_at(row, 2)? })))
        .unwrap();
    for row in rows {
        let (row, stored) = row.unwrap();
        raw::verify(&conn, row, stored, &mut |_| {}).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The documents' digests in the order of their ids.
fn documents(hub: &Hub) -> Vec<String> {
    let filter = super::Filter { limit: 500, ..super::Filter::default() };
    let items = hub.store.documents(&filter).unwrap().items;
    let mut digests: Vec<String> = items.iter().map(crate::view::digest).collect();
    digests.sort();
    digests
}

/// A rebuild gives what was there.
pub(super) fn rebuilds(hub: &mut Hub) {
    let before = (documents(hub), hub.store.totals().unwrap());
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    hub.settle();
    assert_eq!((documents(hub), hub.store.totals().unwrap()), before, "a rebuild gives the same");
}

#[test]
fn a_hello_opens_no_journal() {
    let mut agent = agent(3);
    let mut hub = Hub::open();
    let greeting = hub.greet(&agent);
    assert_eq!((seqs(&greeting.ladder), greeting.stream), (vec![0], agent.stream));
    assert_eq!(hub.number("SELECT count(*) FROM stream"), 0);
    let row = hub.store.agents().unwrap().remove(0);
    assert_eq!(
        (row.head_seq, row.stored_seq, row.stream),
        (Seq(3), Seq(0), agent.stream),
        "the board knows what waits"
    );
    hub.send(&agent, &agent.batch(1, 3));
    hub.settle();
    more(&mut agent, 1);
    let greeting = hub.greet(&agent);
    assert_eq!((seqs(&greeting.ladder), greeting.processed), (vec![3, 2, 1, 0], Seq(3)));
}

#[test]
fn a_ladder_also_answers_the_seqs_a_hello_names() {
    let mut agent = agent(64);
    let mut hub = hub_with(&agent, 20);
    for (stored, pruned, expected) in [
        (0, 0, "64 63 62 60 56 48 40 32 20 0"),
        (37, 13, "64 63 62 60 56 48 40 37 32 20 13 0"),
        (64, 60, "64 60 40 20 0"),
        (39, 40, "64 63 62 60 56 48 40 39 32 20 0"),
    ] {
        agent.pruned = pruned;
        hub.send(&agent, &agent.hello_knowing(stored));
        let ladder = hub.welcome().ladder;
        assert_eq!(seqs(&ladder), expected.split(' ').map(|seq| seq.parse().unwrap()).collect::<Vec<u64>>());
        assert!(ladder.iter().all(|mark| *mark == agent.mark(mark.seq.0)), "stored {stored} pruned {pruned}");
    }
}

#[test]
fn a_journal_the_hub_does_not_know_is_met_at_the_nearest_of_its_line() {
    let agent = agent(10);
    let mut hub = hub_with(&agent, 4);
    for (left, expected) in
        [(10, vec![10, 9, 8, 6, 4, 2, 0]), (7, vec![7, 6, 5, 4, 3, 0]), (8, vec![8, 7, 6, 4, 0]), (0, vec![0])]
    {
        let mut fork = agent.fork(7, left);
        more(&mut fork, 3);
        let greeting = hub.greet(&fork);
        assert_eq!((seqs(&greeting.ladder), greeting.stream), (expected, agent.stream), "left at {left}");
        assert!(greeting.ladder.iter().all(|mark| *mark == agent.mark(mark.seq.0)));
        assert!(greeting.processed <= Seq(left));
        // a grandchild is met there too, and a line of strangers nowhere
        let greeting = hub.greet(&fork.fork(8, left + 2));
        assert_eq!((seqs(&greeting.ladder)[0], greeting.stream), (left, agent.stream));
    }
    let mut stranger = agent.fork(9, 5);
    stranger.line[0].stream = StreamId::from_bytes([99; 16]);
    let greeting = hub.greet(&stranger);
    assert_eq!((seqs(&greeting.ladder), greeting.stream), (vec![0], stranger.stream));
    assert_eq!(hub.number("SELECT count(*) FROM restore"), 0, "nothing of it says that the hub came back older");
}

#[test]
fn a_fork_begins_where_its_parent_holds_its_branch_point_and_both_branches_are_kept() {
    let main = agent(6);
    let mut hub = hub_with(&main, 4);
    let mut fork = main.fork(7, 3);
    more(&mut fork, 4);
    // it registers by a batch of nothing, then sends what is its own
    hub.send(&fork, &fork.fork_batch(4, 3));
    assert_eq!((hub.ack().stored, hub.store.counters().forks_opened.value()), (fork.mark(3), 1));
    hub.send(&fork, &fork.fork_batch(6, 7));
    hub.send(&fork, &fork.fork_batch(4, 5));
    hub.settle();
    let mut second = fork.fork(8, 2);
    more(&mut second, 2);
    hub.send(&second, &second.fork_batch(3, 4));
    hub.settle();
    let totals = hub.store.totals().unwrap();
    assert_eq!((totals.stored, totals.processed, totals.documents), (12, 12, 12), "no entry counts twice");
    assert_eq!(hub.number("SELECT floor_seq FROM stream ORDER BY id DESC"), 2, "below the parent's own floor");
    assert_eq!(verify(&hub), Ok(()));
    for (branch, expected) in [(&fork, vec![7, 6, 5, 3, 0]), (&second, vec![4, 3, 2, 0]), (&main, vec![6, 5, 4, 2, 0])]
    {
        let ladder = hub.greet(branch).ladder;
        assert_eq!(seqs(&ladder), expected);
        assert!(ladder.iter().all(|mark| *mark == branch.mark(mark.seq.0)));
    }
    rebuilds(&mut hub);
    let mut hub = hub.reopen();
    more(&mut fork, 1);
    hub.send(&fork, &fork.batch(8, 8));
    hub.settle();
    assert_eq!(hub.store.totals().unwrap().documents, 13);
}

/// Proves R-OLDER-2.
#[test]
fn a_head_that_was_announced_of_a_journal_is_missing_no_more_once_a_fork_holds_it() {
    let mut agent = agent(2);
    let mut hub = hub_with(&agent, 2);
    more(&mut agent, 2);
    hub.greet(&agent);
    let highest = "SELECT max(head_seq) FROM heard";
    assert_eq!(hub.number(highest), 4);
    // the disk was an older one, put back: what it wrote goes on in a new stream
    let mut fork = agent.fork(7, 2);
    fork.push(agent.entry(3));
    fork.push(agent.entry(4));
    hub.send(&fork, &fork.fork_batch(3, 4));
    hub.settle();
    let is_missing =
        "SELECT count(*) FROM heard JOIN stream ON stream.stream = heard.stream WHERE heard.head_seq > stored_seq";
    assert_eq!(hub.number(is_missing), 0);
    // a late copy of what was said before
    hub.greet(&agent);
    assert_eq!((hub.number(is_missing), hub.number("SELECT count(*) FROM announced")), (0, 0));
    more(&mut agent, 1);
    hub.greet(&agent);
    assert_eq!((hub.number(highest), hub.number(is_missing)), (5, 1), "what no journal holds is missing");
    // a copy that has written nothing yet: that others hold all it has says nothing of where it is
    hub.greet(&fork.fork(8, 4));
    let unknown =
        "SELECT head_seq FROM heard WHERE NOT EXISTS (SELECT 1 FROM stream WHERE stream.stream = heard.stream)";
    assert_eq!(hub.number(unknown), 4);
}

#[test]
fn a_fork_whose_branch_point_is_not_here_is_neither_taken_nor_acknowledged() {
    let main = agent(6);
    let mut hub = hub_with(&main, 6);
    let mut beyond = main.clone();
    more(&mut beyond, 3);
    let mut other = Agent::new(2, &["3702"]);
    more(&mut other, 6);
    hub.take_all(&other);
    while hub.replies.try_recv().is_ok() {}
    let (mut ahead, mut diverged, mut foreign) = (beyond.fork(7, 8), beyond.fork(8, 4), main.fork(9, 4));
    diverged.line[0].at.hash = main.mark(1).hash;
    foreign.line[0].stream = other.stream;
    foreign.line[0].at = other.mark(4);
    for fork in [&mut ahead, &mut diverged, &mut foreign] {
        let first = fork.head().seq.0 + 1;
        more(fork, 1);
        hub.send(fork, &fork.fork_batch(first, first));
    }
    hub.barrier();
    assert!(hub.replies.try_recv().is_err(), "nothing is acknowledged");
    assert_eq!(hub.store.counters().batches_unrooted.value(), 3);
    assert_eq!(hub.number("SELECT count(*) FROM stream"), 2);
}

#[test]
fn a_fork_follows_its_parent_within_one_commit() {
    let main = agent(4);
    let mut hub = Hub::open();
    hub.greet(&main);
    let mut fork = main.fork(7, 4);
    more(&mut fork, 1);
    hub.send_together(&[(&main, main.batch(1, 4)), (&fork, fork.fork_batch(5, 5))]);
    hub.settle();
    assert_eq!(hub.store.totals().unwrap().documents, 5);
    assert_eq!(verify(&hub), Ok(()));
}

/// While a restore is open a journal may stand still that a fork has left.
#[test]
fn below_its_floor_a_fork_is_processed_as_far_as_its_parent() {
    let main = agent(4);
    let mut hub = Hub::open();
    hub.greet(&main);
    hub.send(&main, &main.batch(1, 4));
    let mut fork = main.fork(7, 3);
    more(&mut fork, 1);
    hub.send(&fork, &fork.fork_batch(4, 4));
    hub.settle();
    let conn = rusqlite::Connection::open(hub.dir.path().join(super::DATABASE)).unwrap();
    for (processed, expected) in [(4, 4), (1, 1), (3, 4)] {
        let sql = "UPDATE stream SET processed_seq = ?1 WHERE stream = ?2";
        conn.execute(sql, rusqlite::params![processed, main.stream.as_bytes()]).unwrap();
        assert_eq!(hub.greet(&fork).processed, Seq(expected), "the parent is processed to {processed}");
    }
}

#[test]
fn what_a_fork_may_delete_waits_for_its_parent() {
    let main = agent(4);
    let mut hub = Hub::open();
    hub.greet(&main);
    hub.send(&main, &main.batch(1, 2));
    hub.now.0 += 1_000_000;
    hub.send(&main, &main.batch(3, 4));
    let mut fork = main.fork(7, 3);
    more(&mut fork, 1);
    hub.send(&fork, &fork.fork_batch(4, 4));
    hub.settle();
    for (later, expected) in [(500_000, 2), (1_500_000, 4)] {
        hub.now.0 = super::fixture::START.0 + super::RETENTION_MS + later;
        // as for a session that has acknowledged all it was told
        let conn = rusqlite::Connection::open(hub.dir.path().join(super::DATABASE)).unwrap();
        let own = super::line::find(&conn, fork.stream).unwrap().unwrap();
        let retention = super::Retention { ms: super::RETENTION_MS, needs_backup: false };
        super::prune::advance(&conn, &own, retention, hub.now).unwrap();
        let prunable = hub.greet(&fork).prunable;
        assert_eq!(prunable, Seq(expected));
    }
}

/// What a heartbeat about `stored` is answered with, at a hub that stored 3 entries and knows its session, or does not.
fn check_heartbeat(stored: u64, is_known: bool, has_greeted: bool, expected: Option<u64>) {
    let mut agent = agent(5);
    let mut hub = Hub::open();
    hub.send(&agent, &agent.hello());
    let session = SessionId::from_bytes([77; 16]);
    if has_greeted {
        (agent.last_session, agent.session) = (Some(agent.session), session);
        hub.send(&agent, &agent.hello());
    }
    hub.send(&agent, &agent.batch(1, 3));
    hub.settle();
    while hub.replies.try_recv().is_ok() {}
    if !is_known {
        agent.stream = StreamId::from_bytes([99; 16]);
    }
    agent.session = session;
    hub.send(&agent, &agent.heartbeat(stored));
    hub.barrier();
    let said = hub.replies.try_recv().ok().map(|reply| match reply {
        Reply::Ack(ack) => {
            assert_eq!((ack.session, ack.stream), (agent.session, agent.stream), "it names the heartbeat's session");
            ack.stored.seq.0
        }
        Reply::Welcome(_) => panic!("nobody said HELLO"),
        Reply::Down(_) => panic!("nothing is told"),
    });
    assert_eq!(said, expected, "stored {stored}");
}

/// Proves R-BEAT-1.
#[test]
fn a_heartbeat_that_is_not_at_the_hubs_mark_or_of_no_session_it_knows_is_answered() {
    check_heartbeat(3, true, true, None);
    check_heartbeat(2, true, true, Some(3));
    check_heartbeat(5, true, true, Some(3));
    check_heartbeat(3, false, true, Some(0));
    // a hub put back to before the agent's last HELLO
    check_heartbeat(3, true, false, Some(0));
    // a hub put back to before the agent's first HELLO
    let mut hub = Hub::open();
    let agent = agent(2);
    hub.send(&agent, &agent.heartbeat(2));
    let ack = hub.ack();
    assert_eq!((ack.session, ack.stream, ack.stored), (agent.session, agent.stream, Mark::ZERO));
    assert!(hub.store.agents().unwrap().is_empty(), "and nothing is believed of it");
}

/// A batch that names what lies between the hub's mark and its first entry as lost.
pub(super) fn with_base(agent: &Agent, base: u64, first: u64, last: u64) -> Vec<u8> {
    agent.batch_with(first, last, |batch| batch.base = Some(agent.mark(base)))
}

/// The open lost ranges, written `4..6`.
pub(super) fn open_ranges(hub: &Hub) -> String {
    let ranges = hub.store.lost_ranges().unwrap();
    let open = ranges.into_iter().rev().filter_map(|range| range.open);
    open.map(|range| format!("{}..{}", range.first, range.last)).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_deleted_and_is_not_here_is_named_and_passed_over() {
    let agent = agent(9);
    let mut hub = hub_with(&agent.fork(1, 2), 2);
    hub.send(&agent, &with_base(&agent, 2, 6, 7));
    let ack = hub.ack();
    assert_eq!((ack.stored, ack.missing), (agent.mark(7), vec![SeqRange { first: Seq(3), last: Seq(5) }]));
    hub.send(&agent, &agent.batch(8, 9));
    hub.settle();
    let totals = hub.store.totals().unwrap();
    assert_eq!((totals.stored, totals.processed, totals.documents), (6, 6, 6));
    assert_eq!(open_ranges(&hub), "3..5");
    assert_eq!(verify(&hub), Ok(()));
    // repeated, late, and from another mark: nothing more is named
    hub.send(&agent, &with_base(&agent, 2, 6, 7));
    hub.send(&agent, &with_base(&agent, 7, 9, 9));
    hub.settle();
    assert_eq!(open_ranges(&hub), "3..5");
    let ladder = hub.greet(&agent).ladder;
    assert!(ladder.iter().all(|mark| *mark == agent.mark(mark.seq.0)), "{ladder:?}");
    rebuilds(&mut hub);
    let hub = hub.reopen();
    assert_eq!(hub.store.totals().unwrap().processed, 6);
}

#[test]
fn a_range_may_be_named_to_the_journals_end_and_as_the_first_thing_of_it() {
    let agent = agent(5);
    let mut hub = Hub::open();
    hub.greet(&agent);
    hub.send(&agent, &with_base(&agent, 0, 6, 5));
    assert_eq!(hub.ack().stored, agent.head());
    hub.settle();
    assert_eq!((open_ranges(&hub), hub.store.totals().unwrap().stored), ("1..5".to_owned(), 0));
    assert_eq!(verify(&hub), Ok(()));
    rebuilds(&mut hub);
}

#[test]
fn a_base_that_is_not_the_stored_mark_names_nothing() {
    let (main, mut other) = (agent(6), Agent::new(1, &["3702"]));
    for score in 0..6 {
        other.survey(50 + score);
    }
    let mut hub = hub_with(&other.fork(1, 1), 1);
    // another branch was stored meanwhile: the base is the empty journal
    hub.send(&main, &with_base(&main, 0, 4, 5));
    hub.settle();
    assert_eq!((open_ranges(&hub).as_str(), hub.stored(&other)), ("", Seq(1)));
}

/// Sends batches into a journal of ten entries of which 3..=7 are lost, and states what is still missing and how many
/// documents there are.
fn check_fill(batches: &str, expected: &str) {
    let (main, mut other) = (agent(10), agent(4));
    for score in 0..6 {
        other.survey(90 - score);
    }
    let mut hub = hub_with(&main.fork(1, 2), 2);
    hub.send(&main, &with_base(&main, 2, 8, 10));
    hub.settle();
    for word in batches.split_whitespace() {
        let (range, agent) = word.strip_suffix('!').map_or((word, &main), |range| (range, &other));
        let (first, last) = range.split_once('-').unwrap();
        hub.send(agent, &agent.batch(first.parse().unwrap(), last.parse().unwrap()));
        hub.settle();
    }
    let found = format!("{} missing, {} documents", open_ranges(&hub), hub.store.totals().unwrap().documents);
    assert_eq!(found.trim_start(), expected, "{batches}");
    assert_eq!(verify(&hub), Ok(()), "{batches}");
    assert_eq!(hub.number("SELECT count(*) FROM fill"), 0);
    rebuilds(&mut hub);
}

/// Proves R-LOST-2.
#[test]
fn whoever_holds_the_bytes_fills_a_lost_range_from_its_end() {
    check_fill("", "3..7 missing, 5 documents");
    check_fill("3-7", "missing, 10 documents");
    check_fill("1-10", "missing, 10 documents");
    check_fill("6-8", "3..5 missing, 7 documents");
    check_fill("6-8 2-5", "missing, 10 documents");
    check_fill("6-8 6-8 4-6", "3..3 missing, 9 documents");
    check_fill("3-7!", "3..7 missing, 5 documents");
}

/// Proves R-LOST-4, R-PRUNE-4.
#[test]
fn what_is_named_lost_is_asked_of_all_who_may_hold_it_forks_included_before_they_delete_it() {
    let agent = agent(9);
    let mut hub = hub_with(&agent.fork(1, 2), 2);
    hub.send(&agent, &with_base(&agent, 2, 6, 9));
    let mut fork = agent.fork(7, 8);
    more(&mut fork, 1);
    hub.send(&fork, &fork.fork_batch(9, 9));
    hub.settle();
    let conn = rusqlite::Connection::open(hub.dir.path().join(DATABASE)).unwrap();
    conn.execute("UPDATE stream SET prunable_seq = 8", []).unwrap();
    for asked in [&agent, &fork] {
        assert_eq!(hub.greet(asked).prunable, Seq(2));
        while hub.replies.try_recv().is_ok() {}
        hub.send(asked, &asked.heartbeat(9));
        assert_eq!(hub.ack().missing, [SeqRange { first: Seq(3), last: Seq(5) }]);
    }
    hub.send(&fork, &fork.batch(4, 5));
    assert_eq!(hub.ack().missing, [SeqRange { first: Seq(3), last: Seq(3) }]);
    hub.send(&fork, &fork.batch(1, 3));
    hub.settle();
    assert_eq!((open_ranges(&hub).as_str(), hub.store.totals().unwrap().documents), ("", 10));
    assert_eq!(verify(&hub), Ok(()));
    rebuilds(&mut hub);
    while hub.replies.try_recv().is_ok() {}
    hub.send(&agent, &agent.heartbeat(9));
    hub.barrier();
    let mut replies = std::iter::from_fn(|| hub.replies.try_recv().ok());
    let is_asked = replies.any(|reply| matches!(reply, Reply::Ack(ack) if !ack.missing.is_empty()));
    assert!(!is_asked, "nothing is missing any more");
}

#[test]
fn a_backup_whose_fork_has_no_parent_is_no_backup() {
    let main = agent(4);
    let mut hub = hub_with(&main, 4);
    let mut fork = main.fork(7, 2);
    more(&mut fork, 1);
    hub.send(&fork, &fork.fork_batch(3, 3));
    hub.settle();
    let other = rusqlite::Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
    other.execute("UPDATE stream SET parent_hash = zeroblob(32) WHERE floor_seq = 2", []).unwrap();
    assert_eq!(
        verify(&hub),
        Err("stored data is damaged: its parent does not hold seq 2, where it branched off".into())
    );
}
