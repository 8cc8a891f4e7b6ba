//! A fleet that comes back at once, under virtual time: real senders and signed frames on one side; admission, the writer's
//! path and its replies on the other. Only the writer's speed is made up.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::SigningKey;
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::frame::{Frame, FrameType};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::message::{Ack, Message, Welcome};
use waystation_protocol::sync::{Command, Resume, Sender};
use waystation_protocol::time::{Tick, Timestamp};

use super::admission::{Admission, WAITING};
use super::outbox;
use crate::ingest::{Incoming, Reply, Upward};
use crate::store::Options;
use crate::store::fixture::{Agent, START};
use crate::store::stepped::Stepped;

const AGENTS: usize = 4_000;
/// The writer commits so many messages in so long: a disk slower than any we met.
const COMMIT: (usize, u64) = (50, 250);
const STEP_MS: u64 = 50;
const CREDIT: u64 = 1 << 20;

struct Fleet {
    hub: Stepped,
    admission: Admission,
    queue: VecDeque<Incoming>,
    agents: BTreeMap<AgentId, (Agent, Sender)>,
    now: Tick,
    random: u64,
    /// HELLOs per second.
    hellos: Vec<usize>,
    longest_queue: usize,
    put_off: usize,
}

impl Fleet {
    fn new(dir: &std::path::Path) -> Fleet {
        let hub = Stepped::open(dir, &Options::new([7; 16]), SigningKey::from_bytes(&[42; 32]), START).unwrap();
        let agents = (0..AGENTS).map(|n| {
            let mut agent = Agent::new(1, &["3702"]);
            let id = |salt: u8| {
                let mut id = [salt; 16];
                id[..4].copy_from_slice(&(n as u32).to_be_bytes());
                id
            };
            (agent.id, agent.stream) = (AgentId::from_bytes(id(1)), StreamId::from_bytes(id(2)));
            agent.session = SessionId::from_bytes(id(3));
            let mut sender = Sender::new(Seq(0), Mark::ZERO);
            sender.handle_connected(agent.session, Tick(0));
            (agent.id, (agent, sender))
        });
        let agents = agents.collect();
        let admission = Admission::default();
        let (queue, hellos) = (VecDeque::new(), Vec::new());
        let (longest_queue, put_off) = (0, 0);
        Fleet { hub, admission, queue, agents, now: Tick(0), random: 1, hellos, longest_queue, put_off }
    }

    fn wall(&self) -> Timestamp {
        Timestamp(START.0 + self.now.0 as i64)
    }

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 16
    }

    fn open(&self) -> usize {
        self.agents.values().filter(|(_, sender)| sender.is_open()).count()
    }

    /// Every agent says what is due; what finds no room is told when to come back.
    fn agents_speak(&mut self) {
        let mut said = Vec::new();
        for (id, (agent, sender)) in &mut self.agents {
            match sender.poll_command(self.now) {
                Some(Command::Hello) => {
                    sender.handle_hello_sent(self.now);
                    said.push((*id, agent.hello()));
                }
                // a new client, and a new session in it
                Some(Command::Rebuild) => sender.handle_connected(agent.session, self.now),
                Some(Command::Batch(_) | Command::Register(_)) | None => {}
            }
        }
        self.hellos.resize((self.now.0 / 1_000 + 1) as usize, 0);
        *self.hellos.last_mut().unwrap() += said.len();
        for (id, frame) in said {
            let incoming = self.hub.verify(id, &frame, self.wall()).unwrap();
            let Upward::Hello(hello, _) = &incoming.message else { panic!("agents say HELLO only") };
            let random = self.draw();
            match self.admission.handle_hello(self.queue.len(), self.now, random) {
                None => self.queue.push_back(incoming),
                Some(retry_after_ms) => {
                    self.put_off += 1;
                    let Reply::Ack(ack) = Reply::come_back(hello, retry_after_ms) else { panic!("an ACK") };
                    let ack = outbox::acknowledgement(*ack, 0, retry_after_ms);
                    self.hear(id, FrameType::Ack, &ack.to_body());
                }
            }
        }
        self.longest_queue = self.longest_queue.max(self.queue.len());
    }

    fn hear(&mut self, id: AgentId, kind: FrameType, body: &[u8]) {
        let (_, sender) = self.agents.get_mut(&id).unwrap();
        match kind {
            FrameType::Welcome => {
                let welcome = Welcome::from_body(body).unwrap();
                let resume = Resume { stored: Mark::ZERO, floor: Seq(0), must_register: false, credit: welcome.credit };
                sender.handle_resume(resume, self.now);
            }
            FrameType::Ack => sender.handle_busy(Ack::from_body(body).unwrap().retry_after_ms, self.now),
            FrameType::Hello | FrameType::Batch | FrameType::Heartbeat | FrameType::Death => {}
        }
    }

    fn commit(&mut self) {
        let group: Vec<Incoming> = self.queue.drain(..COMMIT.0.min(self.queue.len())).collect();
        if group.is_empty() {
            return;
        }
        self.hub.store(group);
        for (id, bytes) in self.hub.frames(CREDIT, self.wall(), self.now) {
            let frame = Frame::parse(&bytes).unwrap();
            self.hear(id, frame.kind, frame.unverified_body());
        }
    }

    /// Until every session is open, or so long. Gives how long it took.
    fn run(&mut self, most_ms: u64) -> u64 {
        while self.open() < AGENTS && self.now.0 < most_ms {
            self.agents_speak();
            if self.now.0.is_multiple_of(COMMIT.1) {
                self.commit();
            }
            self.now = self.now.plus(STEP_MS);
        }
        self.now.0
    }
}

/// Proves R-FLOW-5, R-FLOW-6.
#[test]
fn a_fleet_that_greets_at_once_is_cleared_and_its_greetings_are_spread() {
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(dir.path());
    let took_ms = fleet.run(600_000);
    let (total, served_s) = (fleet.hellos.iter().sum::<usize>(), AGENTS * COMMIT.1 as usize / COMMIT.0 / 1_000);
    let told = format!(
        "{AGENTS} sessions in {took_ms} ms (the writer alone needs {served_s} s), {total} HELLOs, {} put off, longest queue {}; per second {:?}",
        fleet.put_off, fleet.longest_queue, fleet.hellos
    );
    println!("{told}");
    assert_eq!(fleet.open(), AGENTS, "all are cleared: {told}");
    assert!(took_ms / 1_000 <= 3 * served_s as u64 + 10, "{told}");
    assert!(fleet.longest_queue <= WAITING, "{told}");
    assert!(fleet.put_off > AGENTS / 2 && total <= 6 * AGENTS, "{told}");
    let busiest = fleet.hellos[1..].iter().max().unwrap();
    assert!(*busiest <= 700, "no second has a storm of its own: {told}");
}
