//! Storing, through frames as agents make them.

use waystation_protocol::chain::Seq;
use waystation_protocol::id::SessionId;
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

use super::fixture::{Agent, Hub, START};
use super::{Options, RETENTION_MS, Store, StoreError};
use crate::ingest::{Rejected, Reply};

/// An agent whose journal is ten surveys, and one whose second half is another branch under the same stream.
fn branches() -> (Agent, Agent) {
    let (mut main, mut other) = (Agent::new(1, &["3702"]), Agent::new(1, &["3702"]));
    for n in 0..10 {
        main.survey(n);
        other.survey(if n < 2 { n } else { 100 - n });
    }
    (main, other)
}

/// Sends batches written `1-3` (or `1-3!` of the other branch, or `1-3~` with a bad signature), one commit each, and
/// states the last acknowledgement and what was counted.
fn check(batches: &str, expected: &str) {
    let (main, other) = branches();
    let mut hub = Hub::open();
    hub.send(&main, &main.hello());
    let mut said = "nothing".to_owned();
    for word in batches.split_whitespace() {
        let (range, agent) = match word.strip_suffix('!') {
            Some(range) => (range, &other),
            None => (word.trim_end_matches('~'), &main),
        };
        let (first, last) = range.split_once('-').unwrap();
        let mut frame = agent.batch(first.parse().unwrap(), last.parse().unwrap());
        if word.ends_with('~') {
            let last = frame.len() - 1;
            frame[last] ^= 1;
            let rejected = hub.try_send(agent.id, &frame).unwrap_err();
            assert!(matches!(rejected, Rejected::Frame(_)), "{rejected}");
            rejected.count(hub.store.counters());
            continue;
        }
        hub.send(agent, &frame);
        hub.barrier();
    }
    while let Ok(reply) = hub.replies.try_recv() {
        if let Reply::Ack(ack) = reply {
            let missing: Vec<String> =
                ack.missing.iter().map(|range| format!("{}..{}", range.first, range.last)).collect();
            said = format!("stored {}; asks for {}", ack.stored.seq, missing.join(" "));
            assert_eq!(ack.stored, main.mark(ack.stored.seq.0), "the acknowledged hash is the agent's");
        }
    }
    let counters = hub.store.counters();
    for (name, count) in [
        ("conflicts", counters.batches_conflicting.value()),
        ("known", counters.batches_known.value()),
        ("bad signatures", counters.signatures_refused.value()),
    ] {
        if count > 0 {
            said = format!("{} {name} {count}", said.trim_end_matches("; asks for "));
        }
    }
    assert_eq!(said.trim_end_matches("; asks for "), expected, "{batches}");
    let conflicts = hub.store.agents().unwrap()[0].conflicts;
    assert_eq!(conflicts, counters.batches_conflicting.value(), "the alarm stands in the books");
    let gaps = "SELECT count(*) FROM raw a JOIN stream s ON s.id = a.stream WHERE s.is_aside = 0 AND a.last_seq <= s.stored_seq
                AND a.first_seq > 1 AND NOT EXISTS
                (SELECT 1 FROM raw b WHERE b.last_seq = a.first_seq - 1 AND b.last_hash = a.prev_hash)";
    assert_eq!(hub.number(gaps), 0, "stored rows follow one another: {batches}");
}

/// Proves R-BATCH-5, R-PIPE-2, I3.
#[test]
fn batches_are_stored_in_whatever_order_they_come() {
    check("1-3", "stored 3");
    check("1-3 4-10", "stored 10");
    check("1-3 1-3", "stored 3 known 1");
    check("1-3 2-6", "stored 6");
    check("1-3 2-6 1-10", "stored 10");
    check("4-6", "stored 0; asks for 1..3");
    check("4-6 8-9 1-3", "stored 6; asks for 7..7");
    check("4-6 8-9 1-3 7-7", "stored 9");
    check("4-6 1-4 5-10", "stored 10");
    check("3-5 1-4 5-6", "stored 6");
}

/// Proves R-FRAME-2.
#[test]
fn what_contradicts_or_is_forged_is_refused() {
    check("1-5 4-8!", "stored 5 conflicts 1");

    check("1-3~ 1-3", "stored 3 bad signatures 1");
    check("1-3 4-6~", "stored 3 bad signatures 1");
}

/// Proves R-BATCH-3, R-ACK-1, I5.
#[test]
fn an_acknowledgement_never_precedes_its_commit() {
    let mut agent = Agent::new(1, &["3702"]);
    for n in 0..200 {
        agent.survey(n % 100);
    }
    let mut hub = Hub::open();
    hub.send(&agent, &agent.hello());
    for seq in 1..=200 {
        hub.send(&agent, &agent.batch(seq, seq));
    }
    loop {
        let ack = hub.ack();
        // another connection sees at least what was acknowledged, the moment the reply is there
        let committed = hub.number("SELECT stored_seq FROM stream");
        let raw = hub.number("SELECT coalesce(max(last_seq), 0) FROM raw");
        assert!(committed as u64 >= ack.stored.seq.0 && raw as u64 >= ack.stored.seq.0, "{committed} {raw} {ack:?}");
        if ack.stored.seq == Seq(200) {
            return;
        }
    }
}

#[test]
fn agents_of_two_sites_share_a_commit_and_each_is_acknowledged_once() {
    let (mut east, mut west) = (Agent::new(1, &["城东站"]), Agent::new(2, &["城西站"]));
    for n in 0..6 {
        east.survey(n);
        west.survey(n);
    }
    let mut hub = Hub::open();
    hub.send(&east, &east.hello());
    hub.send(&west, &west.hello());
    hub.wait("both are welcome", |hub| hub.store.agents().unwrap().len() == 2);
    while hub.replies.try_recv().is_ok() {}
    let before = hub.store.counters().commits_stored.value();
    let frames =
        [(&east, east.batch(1, 3)), (&west, west.batch(1, 6)), (&east, east.batch(4, 5)), (&east, east.batch(6, 6))];
    hub.send_together(&frames);
    let mut acks = [hub.ack(), hub.ack()];
    acks.sort_by_key(|ack| ack.agent);
    assert_eq!(hub.store.counters().commits_stored.value(), before + 1);
    assert_eq!([acks[0].stored, acks[1].stored], [east.head(), west.head()]);
    assert_eq!([acks[0].session, acks[1].session], [east.session, west.session]);
    hub.wait("both are processed", |hub| hub.store.totals().unwrap().processed == 12);
    assert_eq!(hub.store.sites().unwrap().iter().map(|site| site.documents).collect::<Vec<_>>(), [6, 6]);
}

#[test]
fn a_hub_opened_again_goes_on_where_it_was() {
    let (main, _) = branches();
    let mut hub = Hub::open();
    hub.send(&main, &main.hello());
    hub.send(&main, &main.batch(1, 3));
    hub.send(&main, &main.batch(6, 8));
    hub.wait("one is held", |hub| hub.store.counters().batches_held.value() == 1);
    hub.settle();
    let mut hub = hub.reopen();
    // no new HELLO: key, session and the batch ahead of the gap are in the books
    hub.send(&main, &main.batch(4, 5));
    let ack = hub.ack();
    assert_eq!((ack.stored, ack.session), (main.mark(8), main.session));
    hub.wait("all is processed", |hub| hub.store.totals().unwrap().processed == 8);
    assert_eq!(hub.store.totals().unwrap().documents, 8);
}

#[test]
fn a_folder_serves_one_hub_and_its_visitors() {
    let hub = Hub::open();
    let again = Store::open(hub.dir.path(), Options::new([8; 16]));
    assert!(matches!(again, Err(StoreError::InUse { .. })));
    let visitor = Store::open(hub.dir.path(), Options { is_visitor: true, ..Options::new([8; 16]) }).unwrap();
    visitor.add_site(&"3702".parse().unwrap(), "城东站", "").unwrap();
    assert_eq!(visitor.identity(), hub.store.identity());
    assert!(matches!(visitor.rebuild(&mut |_, _| {}), Err(StoreError::Closed)));
    visitor.close();
    let sites = hub.store.sites().unwrap();
    assert_eq!((sites[0].name.as_str(), sites[0].zone.as_str()), ("城东站", "Asia/Shanghai"));
}

#[test]
fn in_another_zone_a_sites_documents_count_for_its_days() {
    let mut hub = Hub::open();
    let site = "3702".parse().unwrap();
    assert!(matches!(hub.store.add_site(&site, "", "Mars/Base"), Err(StoreError::BadZone(_))));
    hub.store.add_site(&site, "", "Europe/Madrid").unwrap();
    hub.store.add_site(&site, "", "Europe/Berlin").unwrap();
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(5);
    hub.take_all(&agent);
    let counted = |hub: &Hub| {
        let conn = rusqlite::Connection::open(hub.dir.path().join(super::DATABASE)).unwrap();
        let sql = "SELECT day, v1 FROM rollup WHERE measure = 'satisfaction' AND v1 <> 0";
        let of = |table: &str| sql.replace("rollup", table);
        let row = |sql: String| conn.query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
        let (sum, fact) = (row(of("rollup")).unwrap(), row(of("fact")).unwrap());
        assert_eq!(sum.0, fact.0);
        sum
    };
    let berlin = counted(&hub);
    hub.store.add_site(&site, "Office", "Pacific/Kiritimati").unwrap();
    assert_eq!(counted(&hub), (berlin.0 + 1, berlin.1));
    hub.store.add_site(&site, "Shop", "").unwrap();
    let row = &hub.store.sites().unwrap()[0];
    assert_eq!((row.name.as_str(), row.zone.as_str()), ("Shop", "Pacific/Kiritimati"));
    agent.survey(7);
    hub.take_all(&agent);
    assert_eq!(counted(&hub).0, berlin.0 + 1);
}

/// Proves R-KEY-1, R-FRAME-4.
#[test]
fn the_first_key_is_pinned_and_frames_before_a_hello_are_dropped() {
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(5);
    let mut hub = Hub::open();
    assert!(matches!(hub.try_send(agent.id, &agent.batch(1, 1)), Err(Rejected::UnknownKey)));
    hub.take_all(&agent);
    let mut thief = Agent::new(1, &["3702"]);
    thief.key = Agent::new(9, &[]).key;
    assert!(matches!(hub.try_send(thief.id, &thief.hello()), Err(Rejected::KeyMismatch)));
    let mut hub = hub.reopen();
    assert!(matches!(hub.try_send(thief.id, &thief.hello()), Err(Rejected::KeyMismatch)));
    // on the topic of another agent, and on the stream of another agent
    assert!(matches!(hub.try_send(Agent::new(3, &[]).id, &agent.hello()), Err(Rejected::WrongTopic)));
    let mut other = Agent::new(2, &["3702"]);
    hub.take_all(&other);
    other.survey(1);
    other.stream = agent.stream;
    hub.send(&other, &other.batch(1, 1));
    hub.wait("it is refused", |hub| hub.store.counters().batches_misplaced.value() == 1);
    assert_eq!(hub.stored(&agent), Seq(1));
}

/// Proves R-FORK-5.
#[test]
fn letters_differ_between_agents_of_one_site() {
    let mut hub = Hub::open();
    let mut letters = String::new();
    for (n, sites) in [(1, &["a"][..]), (2, &["a"]), (3, &["b"]), (4, &["a", "b"]), (2, &["a"]), (5, &[]), (6, &["b"])]
    {
        let mut agent = Agent::new(n, sites);
        if sites.is_empty() {
            agent.sites = Sites::All;
        }
        hub.send(&agent, &agent.hello());
        let Reply::Welcome(greeting) = hub.reply() else { panic!("a HELLO is answered by a WELCOME") };
        assert_eq!(greeting.session, agent.session);
        letters.extend(greeting.letter);
    }
    assert_eq!(letters, "ABACBDB");
}

/// Proves R-HELLO-3.
#[test]
fn a_ladder_climbs_down_batch_by_batch() {
    let mut agent = Agent::new(1, &["3702"]);
    for n in 0..64 {
        agent.survey(n);
    }
    let mut hub = Hub::open();
    hub.send(&agent, &agent.hello());
    for first in (1..=64).step_by(4) {
        hub.send(&agent, &agent.batch(first, first + 3));
    }
    hub.wait("all is stored", |hub| hub.stored(&agent) == Seq(64));
    while hub.replies.try_recv().is_ok() {}
    hub.send(&agent, &agent.hello());
    let greeting = loop {
        if let Reply::Welcome(greeting) = hub.reply() {
            break greeting;
        }
    };
    assert_eq!(greeting.ladder.iter().map(|mark| mark.seq.0).collect::<Vec<_>>(), [64, 63, 62, 60, 56, 48, 32, 0]);
    assert!(greeting.ladder.iter().all(|mark| *mark == agent.mark(mark.seq.0)));
}

/// Proves R-DEATH-1, R-HELLO-1.
#[test]
fn evidence_of_life_is_kept_and_only_the_current_session_dies() {
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(5);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let row = |hub: &Hub| hub.store.agents().unwrap().remove(0);
    hub.send(&agent, &agent.death(SessionId::from_bytes([99; 16])));
    hub.send(&agent, &agent.heartbeat(0));
    hub.wait("the heartbeat", |hub| row(hub).disk_free == 11);
    let beating = row(&hub);
    assert_eq!((beating.session_open, beating.died_at), (true, None));
    assert_eq!((beating.backlog_entries, beating.clock_offset_ms, beating.last_seen), (1, Some(-3), hub.now));
    // it said the hub stores nothing, which is wrong, so it is told again
    assert_eq!(hub.ack().stored, agent.head());
    hub.send(&agent, &agent.death(agent.session));
    hub.wait("it died", |hub| row(hub).died_at == Some(hub.now));
    assert!(!row(&hub).session_open);
    agent.survey(6);
    hub.send(&agent, &agent.batch(2, 2));
    hub.wait("a batch shows that it lives", |hub| row(hub).session_open);
}

#[test]
fn completeness_is_the_newest_announcement_that_is_processed() {
    let mut agent = Agent::new(1, &["3702"]);
    let mut hub = Hub::open();
    let caught_up =
        |hub: &Hub| hub.store.agents().unwrap().first().and_then(|row| row.caught_up_at).map(|at| at.0 - START.0);
    hub.send(&agent, &agent.hello());
    hub.wait("an empty journal is complete", |hub| caught_up(hub) == Some(1));
    agent.survey(1);
    hub.now = Timestamp(START.0 + 100);
    hub.send(&agent, &agent.heartbeat(0));
    agent.survey(2);
    hub.now = Timestamp(START.0 + 200);
    hub.send(&agent, &agent.heartbeat(0));
    hub.wait("both are announced", |hub| hub.store.agents().unwrap()[0].head_seq == Seq(2));
    assert_eq!(caught_up(&hub), Some(1));
    hub.send(&agent, &agent.batch(1, 1));
    hub.wait("the first is processed", |hub| caught_up(hub) == Some(101));
    hub.send(&agent, &agent.batch(2, 2));
    hub.wait("the second is processed", |hub| caught_up(hub) == Some(201));
}

/// Proves R-PRUNE-2, R-PRUNE-1.
#[test]
fn what_is_processed_may_be_deleted_after_the_retention_period() {
    let mut agent = Agent::new(1, &["3702"]);
    for n in 0..4 {
        agent.survey(n);
    }
    let mut hub = Hub::open();
    hub.send(&agent, &agent.hello());
    hub.send(&agent, &agent.batch(1, 2));
    hub.now = Timestamp(START.0 + 1000);
    hub.send(&agent, &agent.batch(3, 4));
    hub.wait("all is processed", |hub| hub.store.totals().unwrap().processed == 4);
    let prunable = |hub: &Hub| hub.store.agents().unwrap()[0].prunable_seq;
    hub.now = Timestamp(START.0 + RETENTION_MS + 500);
    hub.send(&agent, &agent.heartbeat(4));
    hub.wait("the first batch may go", |hub| prunable(hub) == Seq(2));
    hub.now = Timestamp(START.0 + RETENTION_MS + 1500);
    hub.send(&agent, &agent.heartbeat(4));
    hub.wait("the second may too", |hub| prunable(hub) == Seq(4));
    let last = std::iter::from_fn(|| Some(hub.ack())).find(|ack| ack.prunable == Seq(4));
    assert!(last.is_some(), "a moved mark is told");
}

/// Proves R-BATCH-8.
#[test]
fn a_commit_that_finds_a_mark_moved_is_undone_and_not_acknowledged() {
    let (agent, _) = branches();
    let mut hub = Hub::open();
    hub.send(&agent, &agent.hello());
    hub.send(&agent, &agent.batch(1, 3));
    while hub.ack().processed != Seq(3) {}
    let other = rusqlite::Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
    let set_stored = |seq: u64| {
        let mark = agent.mark(seq);
        let row = rusqlite::params![super::int(mark.seq), mark.hash.as_bytes()];
        other.execute("UPDATE stream SET stored_seq = ?1, stored_hash = ?2", row).unwrap();
    };
    set_stored(2);
    hub.send(&agent, &agent.batch(4, 5));
    hub.wait("the commit fails", |hub| hub.store.counters().commits_failed.value() == 1);
    assert!(hub.replies.try_recv().is_err());
    assert_eq!(hub.number("SELECT count(*) FROM raw"), 1);
    set_stored(3);

    // another process processed entry 3 too: ours is undone, and judged again from what the books hold
    other.execute("UPDATE stream SET processed_seq = 2", []).unwrap();
    hub.send(&agent, &agent.batch(4, 5));
    assert_eq!(hub.ack().stored, agent.mark(5));
    hub.wait("all is processed", |hub| hub.store.totals().unwrap().processed == 5);
    // what the commit counts is counted after it
    hub.barrier();
    assert_eq!(hub.store.counters().commits_failed.value(), 2);
    assert_eq!(hub.store.counters().entries_repeated.value(), 1);
    assert_eq!(hub.store.totals().unwrap().documents, 5);
    assert_eq!(hub.number("SELECT count(*) FROM fact"), 5);
}
