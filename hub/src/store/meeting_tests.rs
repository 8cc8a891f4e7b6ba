//! Meeting again, from the hub's side: ladders, forks, lost ranges, heartbeats.

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{SessionId, StreamId};

use super::fixture::{Agent, Hub};
use super::{open_reader, raw};
use crate::ingest::Reply;

/// An agent with as many surveys.
fn agent(surveys: i64) -> Agent {
    let mut agent = Agent::new(1, &["3702"]);
    more(&mut agent, surveys);
    agent
}

fn more(agent: &mut Agent, surveys: i64) {
    for score in 0..surveys {
        agent.survey(score % 100);
    }
}

/// A hub that has stored the agent's entries in batches of `size`.
fn hub_with(agent: &Agent, size: u64) -> Hub {
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

fn seqs(ladder: &[Mark]) -> Vec<u64> {
    ladder.iter().map(|mark| mark.seq.0).collect()
}

/// Every journal recomputed as the check of a backup does.
fn verify(hub: &Hub) -> Result<(), String> {
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
fn rebuilds(hub: &mut Hub) {
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
    assert_eq!((seqs(&greeting.ladder), greeting.processed), (vec![3, 0], Seq(3)));
}

#[test]
fn a_ladder_also_answers_the_seqs_a_hello_names() {
    let mut agent = agent(64);
    let mut hub = hub_with(&agent, 20);
    for (stored, pruned, expected) in [
        (0, 0, "64 60 40 20 0"),
        (37, 13, "64 60 40 37 20 13 0"),
        (64, 60, "64 60 40 20 0"),
        (39, 40, "64 60 40 39 20 0"),
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
    for (left, expected) in [(10, vec![10, 8, 4, 0]), (7, vec![7, 4, 0]), (8, vec![8, 4, 0]), (0, vec![0])] {
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
    for (branch, expected) in [(&fork, vec![7, 5, 3, 0]), (&second, vec![4, 2, 0]), (&main, vec![6, 4, 0])] {
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
        let prunable = hub.greet(&fork).prunable;
        assert_eq!(prunable, Seq(expected));
    }
}

/// What a heartbeat about `stored` is answered with, at a hub that stored 3 entries.
fn check_heartbeat(stored: u64, is_known: bool, expected: Option<u64>) {
    let mut agent = agent(5);
    let mut hub = Hub::open();
    hub.send(&agent, &agent.hello());
    hub.send(&agent, &agent.batch(1, 3));
    hub.settle();
    while hub.replies.try_recv().is_ok() {}
    if !is_known {
        agent.stream = StreamId::from_bytes([99; 16]);
    }
    agent.session = SessionId::from_bytes([77; 16]);
    hub.send(&agent, &agent.heartbeat(stored));
    hub.barrier();
    let said = hub.replies.try_recv().ok().map(|reply| match reply {
        Reply::Ack(ack) => {
            assert_eq!((ack.session, ack.stream), (agent.session, agent.stream), "it names the heartbeat's session");
            ack.stored.seq.0
        }
        Reply::Welcome(_) => panic!("nobody said HELLO"),
    });
    assert_eq!(said, expected, "stored {stored}");
}

#[test]
fn a_heartbeat_that_is_not_at_the_hubs_mark_is_answered() {
    check_heartbeat(3, true, None);
    check_heartbeat(2, true, Some(3));
    check_heartbeat(5, true, Some(3));
    check_heartbeat(3, false, Some(0));
    // a hub put back to before the agent's first HELLO
    let mut hub = Hub::open();
    let agent = agent(2);
    hub.send(&agent, &agent.heartbeat(2));
    let ack = hub.ack();
    assert_eq!((ack.session, ack.stream, ack.stored), (agent.session, agent.stream, Mark::ZERO));
    assert!(hub.store.agents().unwrap().is_empty(), "and nothing is believed of it");
}

/// A batch that names what lies between the hub's mark and its first entry as lost.
fn with_base(agent: &Agent, base: u64, first: u64, last: u64) -> Vec<u8> {
    agent.batch_with(first, last, |batch| batch.base = Some(agent.mark(base)))
}

/// The open lost ranges, written `4..6`.
fn open_ranges(hub: &Hub) -> String {
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
    assert_eq!((ack.stored, ack.missing.len()), (agent.mark(7), 0));
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
    assert!(hub.store.ask_replay_all("王芳", "核对过").unwrap().is_empty(), "nobody decides about a branch in bulk");
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
    hub.settle();
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
