//! For tests: an agent that captures and makes frames, and a hub in a temporary folder.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::{self, Books, Moment, Wish};
use waystation_protocol::document::fold::Writer;
use waystation_protocol::entry::Entry;
use waystation_protocol::frame;
use waystation_protocol::id::{AgentId, DocId, IdSource, SessionId, StreamId};
use waystation_protocol::message::{Ack, Batch, Bytes, Death, Heartbeat, Hello, Message, Parent};
use waystation_protocol::site::{SiteId, Sites};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::{Options, Store};
use crate::ingest::{self, Acknowledgement, Greeting, Incoming, Keys, Rejected, Reply};

/// The time at which tests begin.
pub(crate) const START: Timestamp = Timestamp(1_790_000_000_000);

/// Version, type, key id and signature.
const HEADER_BYTES: usize = 2 + 8 + 64;

/// No test waits longer for a condition.
const PATIENCE: Duration = Duration::from_secs(30);

/// The hub's.
pub(crate) fn hub_key() -> SigningKey {
    SigningKey::from_bytes(&[0xb5; 32])
}

/// An acknowledgement signed with `key`.
pub(crate) fn proof(stream: StreamId, stored: Mark, key: &SigningKey) -> Bytes {
    let ack = Ack {
        session: SessionId::from_bytes([0; 16]),
        stream,
        stored,
        processed: stored.seq,
        prunable: Seq(0),
        down_prunable: Seq(0),
        missing: Vec::new(),
        credit: 0,
        retry_after_ms: 0,
    };
    Bytes(frame::seal(Ack::FRAME, &ack.to_body(), key))
}

struct NoBooks;

impl Books for NoBooks {
    fn on_hand_milli(&self, _item: &str, _location: &str) -> i64 {
        5_000
    }
    fn positions(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// An agent without a disk.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) key: SigningKey,
    pub(crate) stream: StreamId,
    pub(crate) session: SessionId,
    pub(crate) sites: Sites,
    /// The streams its own came from, the nearest first.
    pub(crate) line: Vec<Parent>,
    /// Up to where it deleted its entries.
    pub(crate) pruned: u64,
    pub(crate) last_session: Option<SessionId>,
    pub(crate) answer: Option<Bytes>,
    pub(crate) documents: BTreeMap<DocId, Document>,
    entries: Vec<Vec<u8>>,
    marks: Vec<Mark>,
    ids: IdSource,
}

impl Agent {
    pub(crate) fn new(n: u8, sites: &[&str]) -> Agent {
        let mut random = [n; 10];
        random[0] = 0xa0;
        Agent {
            id: AgentId::from_bytes([n; 16]),
            key: SigningKey::from_bytes(&[n; 32]),
            stream: StreamId::from_bytes([n; 16]),
            session: SessionId::from_bytes([n; 16]),
            sites: Sites::Only(sites.iter().map(|site| site.parse().unwrap()).collect()),
            line: Vec::new(),
            pruned: 0,
            last_session: None,
            answer: None,
            documents: BTreeMap::new(),
            entries: Vec::new(),
            marks: vec![Mark::ZERO],
            ids: IdSource::new(random),
        }
    }

    pub(crate) fn head(&self) -> Mark {
        self.marks[self.marks.len() - 1]
    }

    /// The bytes of the entry at a place.
    pub(crate) fn entry(&self, seq: u64) -> Vec<u8> {
        self.entries[seq as usize - 1].clone()
    }

    pub(crate) fn mark(&self, seq: u64) -> Mark {
        self.marks[seq as usize]
    }

    /// Appends bytes to the journal, whatever they are.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) -> Seq {
        self.marks.push(self.head().extend(&bytes));
        self.entries.push(bytes);
        self.head().seq
    }

    /// Captures an act as an outlet would, effects included, and appends it.
    pub(crate) fn act(&mut self, document: Option<DocId>, kind: &str, act: &str, set: &[(&str, Value)]) -> DocId {
        let mut set: BTreeMap<String, Value> =
            set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        if document.is_none() && !set.contains_key("site") {
            let site = self.sites.default_site().map_or("", SiteId::as_str);
            set.insert("site".into(), Value::from(site));
        }
        let wish = Wish { document, kind: kind.into(), act: act.into(), set, author: "李娜".into(), cause: None };
        self.capture(wish)
    }

    fn capture(&mut self, wish: Wish) -> DocId {
        let now = Timestamp(START.0 + self.entries.len() as i64 * 1000);
        let moment = Moment { id: self.ids.entry(), now, mono_ms: 0, boot: 1, clock: 0 };
        let before = wish.document.and_then(|id| self.documents.get(&id));
        let captured = capture::capture(before, wish, moment, Writer::Agent(&self.sites), &NoBooks).unwrap();
        let (id, site) = (captured.document.id, captured.document.site.clone());
        self.documents.insert(id, captured.document);
        self.push(captured.entry.to_bytes());
        for effect in captured.effects {
            let capture::Effect::Open { kind, act, mut set } = effect else { panic!("only openings are expected") };
            set.insert("site".into(), Value::from(site.as_str()));
            let cause = Some(captured.entry.id);
            self.capture(Wish {
                document: None,
                kind: kind.into(),
                act: act.into(),
                set,
                author: "李娜".into(),
                cause,
            });
        }
        id
    }

    /// A survey with this score.
    pub(crate) fn survey(&mut self, score: i64) -> DocId {
        self.act(None, "survey", "answer", &[("form", "回访".into()), ("score", score.into())])
    }

    /// An entry of our making on a survey, valid unless changed.
    pub(crate) fn survey_entry(&mut self, change: impl FnOnce(&mut Entry)) -> Entry {
        let site = self.sites.default_site().map_or("", SiteId::as_str);
        let mut entry = Entry {
            id: self.ids.entry(),
            document: None,
            after: None,
            kind: "survey".into(),
            form: 1,
            act: "answer".into(),
            set: BTreeMap::from([("site".to_owned(), site.into()), ("form".to_owned(), "回访".into())]),
            author: "王芳".into(),
            cause: None,
            occurred_at: START,
            mono_ms: 0,
            boot: 1,
            clock: 0,
        };
        change(&mut entry);
        entry
    }

    pub(crate) fn seal<M: Message>(&self, message: &M) -> Vec<u8> {
        frame::seal(M::FRAME, &message.to_body(), &self.key)
    }

    pub(crate) fn hello(&self) -> Vec<u8> {
        self.hello_knowing(0)
    }

    /// A HELLO of an agent that was acknowledged up to `stored`.
    pub(crate) fn hello_knowing(&self, stored: u64) -> Vec<u8> {
        self.seal(&self.plain_hello(stored))
    }

    /// The same, as a message.
    pub(crate) fn plain_hello(&self, stored: u64) -> Hello {
        Hello {
            agent: self.id,
            public_key: self.key.verifying_key().as_bytes().to_vec().into(),
            session: self.session,
            sites: self.sites.clone(),
            stream: self.stream,
            line: self.line.clone(),
            head: self.head(),
            stored: self.mark(stored),
            proof: Some(proof(self.stream, self.mark(stored), &hub_key())),
            pruned: Seq(self.pruned),
            down: None,
            last_session: self.last_session,
            challenge_answer: self.answer.clone(),
            credit: 0,
            forms: [("survey".to_owned(), 1)].into(),
            protocols: (1, 1),
            capabilities: Vec::new(),
            build: "test".into(),
            t1: START,
        }
    }

    pub(crate) fn batch(&self, first: u64, last: u64) -> Vec<u8> {
        self.batch_with(first, last, |_| {})
    }

    /// Entries `first..=last` as an agent sends them, changed.
    pub(crate) fn batch_with(&self, first: u64, last: u64, change: impl FnOnce(&mut Batch)) -> Vec<u8> {
        let mut builder = Builder::new();
        for entry in &self.entries[first as usize - 1..last as usize] {
            assert!(builder.push(entry));
        }
        let count = builder.count();
        let mut batch = Batch {
            stream: self.stream,
            parent: None,
            first_seq: Seq(first),
            count,
            prev_hash: self.mark(first - 1).hash,
            base: None,
            payload: builder.finish().into(),
        };
        change(&mut batch);
        self.seal(&batch)
    }

    /// The disk goes on in a stream of its own after `at`. Its random ids are its own from here on.
    pub(crate) fn fork(&self, stream: u8, at: u64) -> Agent {
        let mut fork = self.clone();
        fork.line.insert(0, Parent { stream: self.stream, at: self.mark(at) });
        fork.stream = StreamId::from_bytes([stream; 16]);
        fork.session = SessionId::from_bytes([stream; 16]);
        fork.ids = IdSource::new([stream; 10]);
        fork.entries.truncate(at as usize);
        fork.marks.truncate(at as usize + 1);
        fork
    }

    /// A batch of a fork that is not acknowledged yet.
    pub(crate) fn fork_batch(&self, first: u64, last: u64) -> Vec<u8> {
        self.batch_with(first, last, |batch| batch.parent = self.line.first().cloned())
    }

    /// The whole journal in one batch, in a frame as protocol `version` would make it.
    pub(crate) fn batch_of_protocol(&self, version: u8) -> Vec<u8> {
        let mut frame = self.batch(1, self.head().seq.0);
        let body = frame.split_off(HEADER_BYTES);
        self.sealed_as(version, &frame, &body)
    }

    /// A signed frame of protocol `version` that says it is a batch, and is none that this build can read.
    pub(crate) fn unreadable_frame(&self, version: u8) -> Vec<u8> {
        let frame = self.batch(1, 1);
        self.sealed_as(version, &frame[..HEADER_BYTES], b"\xa1\x61x\x01")
    }

    fn sealed_as(&self, version: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
        let mut frame = header.to_vec();
        frame[0] = version;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"waystation frame v1").update(&frame[..2]).update(&frame[2..10]).update(body);
        let signature = self.key.sign(hasher.finalize().as_bytes());
        [&frame[..10], &signature.to_bytes(), body].concat()
    }

    pub(crate) fn heartbeat(&self, stored: u64) -> Vec<u8> {
        self.seal(&self.plain_heartbeat(stored))
    }

    pub(crate) fn plain_heartbeat(&self, stored: u64) -> Heartbeat {
        Heartbeat {
            session: self.session,
            stream: self.stream,
            head: self.head(),
            stored: Seq(stored),
            down: None,
            oldest_unsent_ms: 7,
            backlog_entries: self.head().seq.0 - stored,
            backlog_bytes: 9,
            disk_free: 11,
            clock_offset_ms: Some(-3),
            build: "test".into(),
        }
    }

    pub(crate) fn death(&self, session: SessionId) -> Vec<u8> {
        self.seal(&Death { session })
    }
}

/// A hub without a broker.
pub(crate) struct Hub {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) replies: UnboundedReceiver<Reply>,
    pub(crate) now: Timestamp,
}

impl Hub {
    pub(crate) fn open() -> Hub {
        Hub::open_in(tempfile::tempdir().unwrap(), START)
    }

    pub(crate) fn open_in(dir: TempDir, now: Timestamp) -> Hub {
        let store = Store::open(dir.path(), Options::new([7; 16])).unwrap();
        let keys = Keys::new(store.keys().unwrap(), Some(hub_key().verifying_key()));
        let replies = store.replies();
        Hub { dir, store, keys, replies, now }
    }

    /// Closes and opens again.
    pub(crate) fn reopen(self) -> Hub {
        self.store.close();
        Hub::open_in(self.dir, self.now)
    }

    /// Verifies and submits a frame as the link does.
    pub(crate) fn try_send(&mut self, agent: AgentId, frame: &[u8]) -> Result<(), Rejected> {
        self.now.0 += 1;
        let message = ingest::verify(agent, frame, &self.keys)?;
        self.store.counters().queued_bytes.add(frame.len() as u64);
        self.store.submit(Incoming { agent, message, received_at: self.now, wire_bytes: frame.len() });
        Ok(())
    }

    pub(crate) fn send(&mut self, agent: &Agent, frame: &[u8]) {
        self.try_send(agent.id, frame).unwrap();
    }

    /// Sends frames so that one commit takes them all.
    pub(crate) fn send_together(&mut self, frames: &[(&Agent, Vec<u8>)]) {
        let (open_gate, gate) = sync_channel::<()>(1);
        let (entered, is_held) = sync_channel::<()>(1);
        let store = self.store.clone();
        let holder = std::thread::spawn(move || {
            store.command(Box::new(move |_| {
                entered.send(()).unwrap();
                gate.recv().unwrap();
                Ok(())
            }))
        });
        is_held.recv().unwrap();
        for (agent, frame) in frames {
            self.send(agent, frame);
        }
        open_gate.send(()).unwrap();
        holder.join().unwrap().unwrap();
    }

    /// Returns once what was sent is committed or refused, and answered.
    pub(crate) fn barrier(&mut self) {
        self.wait("an empty queue", |hub| hub.store.counters().queued_bytes.value() == 0);
        self.store.command(Box::new(|_| Ok(()))).unwrap();
    }

    /// Everything of the agent's journal, in one batch after a HELLO, processed to its end.
    pub(crate) fn take_all(&mut self, agent: &Agent) {
        self.send(agent, &agent.hello());
        let stored = self.stored(agent).0;
        if agent.head().seq.0 > stored {
            self.send(agent, &agent.batch(stored + 1, agent.head().seq.0));
        }
        self.wait("processed to the head", |hub| {
            let totals = hub.store.agents().unwrap();
            let row = totals.iter().find(|row| row.agent == agent.id);
            row.is_some_and(|row| row.processed_seq == agent.head().seq)
        });
        // what the commit counts is counted after it
        self.barrier();
    }

    pub(crate) fn stored(&self, agent: &Agent) -> Seq {
        let agents = self.store.agents().unwrap();
        agents.iter().find(|row| row.agent == agent.id).map_or(Seq(0), |row| row.stored_seq)
    }

    /// The next reply, whatever it is.
    pub(crate) fn reply(&mut self) -> Reply {
        let started = Instant::now();
        loop {
            if let Ok(reply) = self.replies.try_recv() {
                return reply;
            }
            assert!(started.elapsed() < PATIENCE, "no reply; {:?}", self.store.counters().all());
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The next acknowledgement.
    pub(crate) fn ack(&mut self) -> Acknowledgement {
        loop {
            if let Reply::Ack(ack) = self.reply() {
                return *ack;
            }
        }
    }

    /// The next answer to a HELLO.
    pub(crate) fn welcome(&mut self) -> Greeting {
        loop {
            if let Reply::Welcome(greeting) = self.reply() {
                return *greeting;
            }
        }
    }

    /// The answer to this agent's HELLO.
    pub(crate) fn greet(&mut self, agent: &Agent) -> Greeting {
        self.send(agent, &agent.hello());
        self.welcome()
    }

    /// Waits for a condition.
    pub(crate) fn wait(&mut self, what: &str, mut holds: impl FnMut(&mut Hub) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            let state = (self.store.totals().unwrap(), self.store.counters().all());
            assert!(started.elapsed() < PATIENCE, "waited for: {what}; {state:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns once everything stored is processed.
    pub(crate) fn settle(&mut self) {
        self.barrier();
        self.wait("everything processed", |hub| {
            let totals = hub.store.totals().unwrap();
            let aside = "SELECT count(*) FROM stream WHERE is_aside = 1 AND processed_seq < stored_seq";
            totals.processed == totals.stored && hub.number(aside) == 0
        });
        // what its commit answers leaves after it
        self.barrier();
    }

    /// Reads one number from the database.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.store.inner.pool.lend().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}
