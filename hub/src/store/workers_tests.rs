//! Two workers on one database, each with its own connection and memory: whatever order batches come in, everything is
//! stored once, in one chain, and every acknowledgement is backed.

use std::sync::OnceLock;

use proptest::prelude::*;
use rusqlite::{Connection, TransactionBehavior};
use waystation_protocol::chain::Mark;

use super::connection::open_writer;
use super::fixture::{Agent, Hub};
use super::lane::Lanes;
use super::{Retention, line, raw};
use crate::ingest::{self, Incoming, Keys, Reply};

const ENTRIES: u64 = 8;

struct Worker {
    conn: Connection,
    lanes: Lanes,
}

/// Both branches of one stream, the other leaving the main one after its second entry.
fn branches() -> &'static [Agent; 2] {
    static BRANCHES: OnceLock<[Agent; 2]> = OnceLock::new();
    BRANCHES.get_or_init(|| {
        let (mut main, mut other) = (Agent::new(1, &["3702"]), Agent::new(1, &["3702"]));
        for score in 0..ENTRIES as i64 {
            main.survey(score);
            other.survey(if score < 2 { score } else { 90 - score });
        }
        [main, other]
    })
}

impl Worker {
    fn store(&mut self, keys: &Keys, agent: &Agent, frame: &[u8]) -> Vec<Reply> {
        let message = ingest::verify(agent.id, frame, keys).expect("the frame is the agent's");
        let incoming =
            Incoming { agent: agent.id, message, received_at: super::fixture::START, wire_bytes: frame.len() };
        let retention = Retention { ms: 1, needs_backup: false };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).expect("the lock is free");
        let outcome = ingest::store_group(&tx, &mut self.lanes, &[incoming], retention).expect("it is stored");
        tx.commit().expect("it commits");
        outcome.replies
    }
}

/// Every acknowledgement is what the database holds when it leaves.
fn is_backed(conn: &Connection, agent: &Agent, replies: &[Reply]) {
    let held = line::find(conn, agent.stream).expect("it can be read").map_or(Mark::ZERO, |extent| extent.stored);
    for reply in replies {
        match reply {
            Reply::Ack(ack) => assert_eq!(ack.stored, held),
            Reply::Welcome(greeting) => assert_eq!(greeting.ladder[0], held),
            Reply::Down(_) => {}
        }
    }
}

/// What is delivered: to which worker, of which branch, which entries; an empty batch is a HELLO.
type Delivery = (bool, bool, u64, u64);

fn run(deliveries: &[Delivery]) {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = Keys::new([], None);
    let worker = || Worker { conn: open_writer(dir.path()).expect("it opens"), lanes: Lanes::default() };
    let mut workers = [worker(), worker()];
    let [main, other] = branches();
    workers[0].store(&keys, main, &main.hello());
    let whole = [(false, false, 1, ENTRIES), (true, false, 1, ENTRIES)];
    for (which, is_other, first, last) in deliveries.iter().chain(&whole) {
        let agent = if *is_other { other } else { main };
        let frame = if last < first { agent.hello() } else { agent.batch(*first, *last) };
        let replies = workers[usize::from(*which)].store(&keys, agent, &frame);
        is_backed(&workers[usize::from(!which)].conn, main, &replies);
    }
    let conn = &workers[0].conn;
    let extent = line::find(conn, main.stream).expect("it can be read").expect("the stream is there");
    assert!([main.head(), other.head()].contains(&extent.stored) || extent.stored.seq.0 < ENTRIES, "{extent:?}");
    raw::verify(conn, extent.row, extent.stored, &mut |_| {}).expect("one chain, nothing twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn two_workers_store_once_in_one_chain_and_acknowledge_only_what_is_there(
        deliveries in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.2), 1..=ENTRIES, 0..=ENTRIES), 1..24)
    ) {
        run(&deliveries);
    }
}

#[test]
fn a_worker_notices_what_another_holds_ahead() {
    // one reads the stream, the other holds 2–3 ahead, and the first appends 1–3 on what it remembers
    run(&[(false, false, 8, 8), (true, false, 2, 3), (false, false, 1, 3), (true, false, 4, 8)]);
}

#[test]
fn a_worker_whose_database_was_put_back_acknowledges_only_what_is_there() {
    let [main, _] = branches();
    let mut hub = Hub::open();
    hub.greet(main);
    hub.send(main, &main.batch(1, 3));
    hub.settle();
    hub.send(main, &main.batch(4, 6));
    hub.settle();
    while hub.replies.try_recv().is_ok() {}
    let other = open_writer(hub.dir.path()).unwrap();
    let mark = main.mark(3);
    let put_back = "DELETE FROM raw WHERE first_seq > 3";
    other.execute(put_back, []).unwrap();
    let put_back = "UPDATE stream SET stored_seq = 3, stored_hash = ?1, processed_seq = 3, revision = revision - 1";
    other.execute(put_back, [mark.hash.as_bytes()]).unwrap();
    let acks = [(4, 5), (1, 3)].map(|(first, last)| {
        hub.send(main, &main.batch(first, last));
        hub.ack().stored
    });
    assert!(acks.iter().all(|mark| *mark == main.mark(mark.seq.0) && mark.seq.0 <= 5), "{acks:?}");
    assert_eq!(hub.store.counters().commits_failed.value(), 0, "nothing failed: the lane was read again");
}
