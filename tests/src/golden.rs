//! One frame of every message of this build, every optional field present and once more without them, for golden files.
//!
//! The shape of a message is its keys and the types of its values, in the order of the wire.

use std::fmt::Write as _;

use ciborium::Value as Cbor;
use ed25519_dalek::SigningKey;
use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::entry::Entry;
use waystation_protocol::frame;
use waystation_protocol::id::{AgentId, EntryId, SessionId, StreamId};
use waystation_protocol::message::{
    Ack, Batch, Bytes, Death, Heartbeat, Held, Hello, Ladder, Message, Parent, Welcome,
};
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

/// A message of this build, ready to be compared.
pub struct Sample {
    /// The name of its golden file.
    pub name: &'static str,
    /// The body of its frame; an entry's bytes where it is one.
    pub body: Vec<u8>,
    /// The frame; none for an entry.
    pub frame: Option<Vec<u8>>,
}

const SESSION: SessionId = SessionId::from_bytes([5; 16]);
const STREAM: StreamId = StreamId::from_bytes([6; 16]);
const DOWN: StreamId = StreamId::from_bytes([7; 16]);

/// Signs every golden frame.
#[must_use]
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// Every message, whole and bare.
#[must_use]
pub fn samples() -> Vec<Sample> {
    vec![
        sealed("hello", &hello()),
        sealed(
            "hello-bare",
            &Hello { line: Vec::new(), proof: None, down: None, last_session: None, challenge_answer: None, ..hello() },
        ),
        sealed("welcome", &welcome()),
        sealed("welcome-bare", &Welcome { down: None, letter: None, challenge: None, ..welcome() }),
        sealed("batch", &batch()),
        sealed(
            "batch-bare",
            &Batch { parent: None, base: None, count: 0, payload: Builder::new().finish().into(), ..batch() },
        ),
        sealed("ack", &ack()),
        sealed("ack-bare", &Ack { missing: Vec::new(), ..ack() }),
        sealed("heartbeat", &heartbeat()),
        sealed("heartbeat-bare", &Heartbeat { down: None, clock_offset_ms: None, ..heartbeat() }),
        sealed("death", &Death { session: SESSION }),
        Sample { name: "entry", body: entry().to_bytes(), frame: None },
        Sample { name: "entry-opening", body: opening().to_bytes(), frame: None },
    ]
}

/// The shape of all samples, one line each.
#[must_use]
pub fn shapes() -> String {
    let mut text = String::new();
    for sample in samples() {
        let cbor: Cbor = ciborium::from_reader(sample.body.as_slice()).expect("a sample is CBOR");
        let _ = write!(text, "{} ", sample.name);
        describe(&cbor, &mut text);
        text.push('\n');
    }
    text
}

fn describe(cbor: &Cbor, text: &mut String) {
    match cbor {
        Cbor::Map(pairs) => {
            text.push('{');
            for (key, value) in pairs {
                let _ = write!(text, "{}:", key.as_text().expect("keys are text"));
                describe(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Cbor::Array(items) => {
            text.push('[');
            for item in items {
                describe(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Cbor::Bytes(_) => text.push_str("bytes"),
        Cbor::Text(_) => text.push_str("text"),
        Cbor::Integer(_) => text.push_str("int"),
        Cbor::Bool(_) => text.push_str("bool"),
        Cbor::Null => text.push_str("null"),
        other => panic!("{other:?} is not of the wire"),
    }
}

fn sealed<M: Message>(name: &'static str, message: &M) -> Sample {
    let body = message.to_body();
    let frame = frame::seal(M::FRAME, &body, &key());
    Sample { name, body, frame: Some(frame) }
}

fn opening() -> Entry {
    Entry {
        id: EntryId::from_bytes([1; 16]),
        document: None,
        after: None,
        kind: "stock_movement".into(),
        form: 1,
        act: "post".into(),
        set: [("item".to_owned(), Value::from("轮胎")), ("quantity".to_owned(), Value::measured(-38_000, "件"))].into(),
        author: "王芳".into(),
        cause: None,
        occurred_at: Timestamp(1_795_000_000_000),
        mono_ms: 5,
        boot: 9,
        clock: 2,
    }
}

fn entry() -> Entry {
    Entry {
        id: EntryId::from_bytes([2; 16]),
        document: Some(EntryId::from_bytes([1; 16]).opens()),
        after: Some(EntryId::from_bytes([1; 16])),
        act: "void".into(),
        set: [("void_reason".to_owned(), Value::from("错录")), ("custom.x".to_owned(), Value::Flag(true))].into(),
        cause: Some(EntryId::from_bytes([3; 16])),
        ..opening()
    }
}

fn marks() -> [Mark; 2] {
    let first = Mark::ZERO.extend(&opening().to_bytes());
    [first, first.extend(&entry().to_bytes())]
}

fn hello() -> Hello {
    let [first, last] = marks();
    Hello {
        agent: AgentId::from_bytes([9; 16]),
        public_key: key().verifying_key().as_bytes().to_vec().into(),
        session: SESSION,
        sites: Sites::Only(vec!["3702".parse().expect("a site's name")]),
        stream: STREAM,
        line: vec![Parent { stream: StreamId::from_bytes([8; 16]), at: first }],
        head: last,
        stored: first,
        proof: Some(Bytes(vec![3; 16])),
        pruned: Seq(1),
        down: Some(Held { stream: DOWN, head: first, pruned: Seq(0) }),
        last_session: Some(SessionId::from_bytes([4; 16])),
        challenge_answer: Some(Bytes(vec![1; 16])),
        credit: 65_536,
        forms: [("survey".to_owned(), 1)].into(),
        protocols: (1, 1),
        capabilities: vec!["later".into()],
        build: "waystation-agent 0.1.0".into(),
        t1: Timestamp(1_795_000_000_001),
    }
}

fn welcome() -> Welcome {
    let [first, last] = marks();
    Welcome {
        session: SESSION,
        hub: vec![1; 16].into(),
        public_key: key().verifying_key().as_bytes().to_vec().into(),
        hub_epoch: 3,
        stream: STREAM,
        ladder: vec![last, first, Mark::ZERO],
        processed: Seq(1),
        prunable: Seq(1),
        down: Some(Ladder { stream: DOWN, rungs: vec![first, Mark::ZERO] }),
        down_prunable: Seq(1),
        credit: 1 << 20,
        letter: Some('B'),
        challenge: Some(Bytes(vec![2; 16])),
        protocol: 1,
        capabilities: vec!["later".into()],
        t1: Timestamp(1_795_000_000_001),
        t2: Timestamp(1_795_000_000_002),
        t3: Timestamp(1_795_000_000_003),
    }
}

fn batch() -> Batch {
    let [first, _] = marks();
    let mut builder = Builder::new();
    assert!(builder.push(&entry().to_bytes()), "one entry fits");
    Batch {
        stream: STREAM,
        parent: Some(Parent { stream: StreamId::from_bytes([8; 16]), at: first }),
        first_seq: Seq(2),
        count: 1,
        prev_hash: first.hash,
        base: Some(Mark::ZERO),
        payload: builder.finish().into(),
    }
}

fn ack() -> Ack {
    let [first, _] = marks();
    Ack {
        session: SESSION,
        stream: STREAM,
        stored: first,
        processed: Seq(1),
        prunable: Seq(1),
        down_prunable: Seq(1),
        missing: vec![SeqRange { first: Seq(2), last: Seq(3) }],
        credit: 1 << 20,
        retry_after_ms: 250,
    }
}

fn heartbeat() -> Heartbeat {
    let [first, last] = marks();
    Heartbeat {
        session: SESSION,
        stream: STREAM,
        head: last,
        stored: Seq(1),
        down: Some(Held { stream: DOWN, head: first, pruned: Seq(0) }),
        oldest_unsent_ms: 60_000,
        backlog_entries: 1,
        backlog_bytes: 200,
        disk_free: 1 << 33,
        clock_offset_ms: Some(-250),
        build: "waystation-agent 0.1.0".into(),
    }
}
