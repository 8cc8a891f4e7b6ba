//! Several hub workers on one database that send one agent's downward journal: whichever of them is asked, and however
//! often, the agent takes every entry once, in order, and the journal holds nothing twice.

use std::sync::Barrier;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use rusqlite::{Connection, TransactionBehavior};
use waystation_protocol::batch::Unpacked;
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::frame::{Frame, FrameType};
use waystation_protocol::id::{AgentId, StreamId};
use waystation_protocol::message::{Ack, Batch, Heartbeat, Held, Hello, Message};
use waystation_protocol::time::{Tick, Timestamp};

use super::journal::{self, Item};
use crate::store::fixture::{Agent, START};
use crate::store::stepped::Stepped;
use crate::store::{Options, open_writer};

const CREDIT: u64 = 1 << 20;

/// An agent that takes the downward journal and acknowledges it.
struct Outlet {
    agent: Agent,
    stream: Option<StreamId>,
    head: Mark,
    held: Vec<Vec<u8>>,
    batches: usize,
}

impl Outlet {
    fn held(&self) -> Option<Held> {
        self.stream.map(|stream| Held { stream, head: self.head, pruned: Seq(0) })
    }

    fn hello(&self) -> Vec<u8> {
        self.agent.seal(&Hello { down: self.held(), credit: CREDIT, ..self.agent.plain_hello(0) })
    }

    fn heartbeat(&self) -> Vec<u8> {
        let beat = self.agent.heartbeat(0);
        let beat = Heartbeat::from_body(Frame::parse(&beat).unwrap().unverified_body()).unwrap();
        self.agent.seal(&Heartbeat { down: self.held(), ..beat })
    }

    fn ack(&self) -> Option<Vec<u8>> {
        let ack = Ack {
            session: self.agent.session,
            stream: self.stream?,
            stored: self.head,
            processed: self.head.seq,
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing: Vec::new(),
            credit: CREDIT,
            retry_after_ms: 0,
        };
        Some(self.agent.seal(&ack))
    }

    /// Takes what a frame adds; what lies ahead comes again.
    fn take(&mut self, frame: &[u8]) {
        let frame = Frame::parse(frame).unwrap();
        if frame.kind != FrameType::Batch {
            return;
        }
        let batch = Batch::from_body(frame.unverified_body()).unwrap();
        self.batches += 1;
        assert_eq!(*self.stream.get_or_insert(batch.stream), batch.stream, "one journal");
        let entries = Unpacked::open(&batch).unwrap();
        if entries.before().seq > self.head.seq || entries.last().seq <= self.head.seq {
            return;
        }
        assert_eq!(entries.mark_at(self.head.seq), Some(self.head), "one chain, whoever sends it");
        for (mark, bytes) in entries.entries_from(self.head.seq.next()) {
            self.head = mark;
            self.held.push(bytes.to_vec());
        }
    }
}

/// Two workers, an agent that listens, and another whose entries it is told.
struct Hubs {
    workers: [Stepped; 2],
    outlet: Outlet,
    other: Agent,
    sent: u64,
    tick: u64,
    dir: tempfile::TempDir,
}

impl Hubs {
    fn open() -> Hubs {
        let dir = tempfile::tempdir().unwrap();
        let worker = |is_visitor| {
            let options = Options { is_visitor, ..Options::new([7; 16]) };
            Stepped::open(dir.path(), &options, SigningKey::from_bytes(&[42; 32]), START).unwrap()
        };
        let (agent, other) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
        let outlet = Outlet { agent, stream: None, head: Mark::ZERO, held: Vec::new(), batches: 0 };
        let mut hubs = Hubs { workers: [worker(false), worker(true)], outlet, other, sent: 0, tick: 0, dir };
        for worker in 0..2 {
            let hello = hubs.other.hello();
            hubs.deliver(worker, hubs.other.id, &hello);
            hubs.greet(worker);
        }
        hubs
    }

    fn deliver(&mut self, worker: usize, agent: AgentId, frame: &[u8]) {
        let worker = &mut self.workers[worker];
        let incoming = worker.verify(agent, frame, START).unwrap();
        worker.store(vec![incoming]);
    }

    fn greet(&mut self, worker: usize) {
        let (id, hello) = (self.outlet.agent.id, self.outlet.hello());
        self.deliver(worker, id, &hello);
    }

    /// The other agent captures; one worker stores it, and the hub that processes applies it.
    fn capture(&mut self, worker: usize, count: u64) {
        for _ in 0..count {
            self.other.survey(self.sent as i64 % 100);
            self.sent += 1;
        }
        let batch = self.other.batch(self.sent + 1 - count, self.sent);
        self.deliver(worker, self.other.id, &batch);
        self.workers[0].restart();
        while self.workers[0].build().unwrap() {
            self.workers[0].apply();
        }
    }

    /// What a worker sends to the agent that listens, after so long.
    fn frames(&mut self, worker: usize, wait_ms: u64) -> Vec<Vec<u8>> {
        self.tick += wait_ms;
        let now = Timestamp(START.0 + self.tick as i64);
        let frames = self.workers[worker].frames(CREDIT, now, Tick(self.tick));
        frames.into_iter().filter(|(agent, _)| *agent == self.outlet.agent.id).map(|(_, frame)| frame).collect()
    }

    fn acknowledge(&mut self, worker: usize) {
        if let Some(ack) = self.outlet.ack() {
            let id = self.outlet.agent.id;
            self.deliver(worker, id, &ack);
        }
    }

    /// What the agent holds is what the other captured, each once, in order.
    fn is_whole(&self) {
        assert_eq!(self.outlet.held.len() as u64, self.sent);
        for (n, bytes) in self.outlet.held.iter().enumerate() {
            assert_eq!(*bytes, self.other.entry(n as u64 + 1), "entry {n}");
        }
        let conn = open_writer(self.dir.path()).unwrap();
        assert_eq!(count(&conn, "SELECT count(*) FROM down_stream WHERE head_seq > 0"), 1);
        let stream = journal::find(&conn, self.outlet.stream.unwrap()).unwrap().unwrap();
        journal::verify(&conn, stream.row).unwrap();
        assert_eq!(stream.head, self.outlet.head);
    }
}

fn count(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Proves R-PIPE-2, R-DOWN-1.
#[test]
fn two_workers_asked_by_one_agent_both_send_and_nothing_is_taken_twice() {
    let mut hubs = Hubs::open();
    hubs.capture(1, 5);
    let both = [hubs.frames(0, 30), hubs.frames(1, 30)];
    let batches = |frames: &[Vec<u8>]| {
        frames.iter().filter(|frame| Frame::parse(frame).unwrap().kind == FrameType::Batch).count()
    };
    assert_eq!(both.each_ref().map(|frames| batches(frames)), [1, 1], "each was asked, each sends");
    both.iter().flatten().for_each(|frame| hubs.outlet.take(frame));
    assert_eq!((hubs.outlet.held.len(), hubs.outlet.batches), (5, 2));
    // one hears the acknowledgement; the other asks again until it gives up
    hubs.acknowledge(1);
    assert!(hubs.frames(1, 1).is_empty() && hubs.frames(1, 5_000).is_empty());
    let mut asked_again = 0;
    for _ in 0..9 {
        let again = hubs.frames(0, 60_000);
        asked_again += again.len();
        again.iter().for_each(|frame| hubs.outlet.take(frame));
    }
    assert!((1..=3).contains(&asked_again), "it resends a few times, then waits for the agent: {asked_again}");
    // what comes later goes on from where the agent stands, whoever stored it
    hubs.capture(0, 3);
    for worker in [1, 0] {
        let beat = hubs.outlet.heartbeat();
        hubs.deliver(worker, hubs.outlet.agent.id, &beat);
        hubs.frames(worker, 30).iter().for_each(|frame| hubs.outlet.take(frame));
    }
    hubs.is_whole();
}

/// What happens at one of the workers: 0 the other agent captures, 1 HELLO, 2 heartbeat, 3 ACK, 4 frames reach the agent,
/// 5 frames in the wrong order, 6 frames are lost, 7 frames come late.
type Step = (u8, bool, u8);

fn run(steps: &[Step]) {
    let (mut hubs, mut late) = (Hubs::open(), Vec::new());
    for (what, worker, number) in steps {
        let worker = usize::from(*worker);
        match what {
            0 => hubs.capture(worker, u64::from(*number) % 4 + 1),
            1 => hubs.greet(worker),
            2 => {
                let beat = hubs.outlet.heartbeat();
                hubs.deliver(worker, hubs.outlet.agent.id, &beat);
            }
            3 => hubs.acknowledge(worker),
            4 => hubs.frames(worker, u64::from(*number) * 50).iter().for_each(|frame| hubs.outlet.take(frame)),
            5 => hubs.frames(worker, 1_000).iter().rev().for_each(|frame| hubs.outlet.take(frame)),
            6 => drop(hubs.frames(worker, 1_000)),
            _ => late.extend(hubs.frames(worker, u64::from(*number) * 50)),
        }
    }
    late.iter().for_each(|frame| hubs.outlet.take(frame));
    hubs.capture(0, 1);
    let mut rounds = 0;
    while hubs.outlet.held.len() as u64 != hubs.sent {
        rounds += 1;
        assert!(rounds < 20, "the agent holds {} of {}", hubs.outlet.held.len(), hubs.sent);
        let worker = rounds % 2;
        hubs.greet(worker);
        hubs.frames(worker, 1_000).iter().for_each(|frame| hubs.outlet.take(frame));
        hubs.acknowledge(1 - worker);
    }
    hubs.is_whole();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Proves R-DOWN-1.
    #[test]
    fn whichever_worker_is_asked_the_agent_takes_every_entry_once_and_in_order(
        steps in prop::collection::vec((0..8u8, any::<bool>(), any::<u8>()), 1..40)
    ) {
        run(&steps);
    }
}

#[test]
fn workers_that_tell_the_same_at_once_append_it_once() {
    let hubs = Hubs::open();
    let agent = {
        let conn = open_writer(hubs.dir.path()).unwrap();
        count(&conn, &format!("SELECT id FROM agent WHERE agent = x'{}'", "01".repeat(16)))
    };
    let items: Vec<Item> = (0..100u8).map(|n| Item::verbatim(vec![n; 40])).collect();
    let gate = Barrier::new(2);
    std::thread::scope(|scope| {
        for is_backward in [false, true] {
            let (items, gate, dir) = (&items, &gate, hubs.dir.path());
            scope.spawn(move || {
                let mut conn = open_writer(dir).unwrap();
                gate.wait();
                for n in 0..items.len() {
                    let item = &items[if is_backward { items.len() - 1 - n } else { n }];
                    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
                    journal::tell(&tx, agent, item, START).unwrap();
                    tx.commit().unwrap();
                }
            });
        }
    });
    let conn = open_writer(hubs.dir.path()).unwrap();
    assert_eq!(count(&conn, "SELECT count(*) FROM down_entry"), 100);
    assert_eq!(count(&conn, "SELECT count(DISTINCT key) FROM down_entry"), 100);
    let stream = journal::current(&conn, agent).unwrap().unwrap();
    assert_eq!(stream.head.seq, Seq(100));
    journal::verify(&conn, stream.row).unwrap();
}
