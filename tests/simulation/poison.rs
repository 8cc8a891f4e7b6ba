//! A stranger whose journal holds entries that nobody can apply, and one good entry after them.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::entry::Entry;
use waystation_protocol::frame;
use waystation_protocol::id::{AgentId, DocId, EntryId, SessionId, StreamId};
use waystation_protocol::message::{Batch, Held, Hello, Message};
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use crate::chance::Chance;
use crate::network::Way;
use crate::world::World;

/// Strangers: agents whose entries nobody promised to apply.
pub(crate) const STRANGERS: [[u8; 16]; 1] = [[0xee; 16]];

/// Sends a HELLO and a batch.
pub(crate) fn send(world: &mut World, chance: &mut Chance) {
    let key = SigningKey::from_bytes(&[0xee; 32]);
    let agent = AgentId::from_bytes(STRANGERS[0]);
    let has_claim = chance.percent(50);
    let claimed = if has_claim { Mark { seq: Seq(9), hash: Hash::from_bytes(chance.bytes()) } } else { Mark::ZERO };
    let hello = Hello {
        agent,
        public_key: key.verifying_key().to_bytes().to_vec().into(),
        session: SessionId::from_bytes(chance.bytes()),
        sites: Sites::All,
        stream: StreamId::from_bytes(STRANGERS[0]),
        line: Vec::new(),
        head: claimed,
        stored: claimed,
        proof: None,
        pruned: Seq(0),
        down: has_claim.then(|| Held { stream: StreamId::from_bytes(chance.bytes()), head: claimed, pruned: Seq(0) }),
        last_session: None,
        challenge_answer: None,
        credit: 0,
        forms: BTreeMap::new(),
        protocols: (1, 1),
        capabilities: Vec::new(),
        build: "stranger".into(),
        t1: Timestamp(world.wall()),
    };
    let mut builder = Builder::new();
    for bytes in entries(chance) {
        assert!(builder.push(&bytes), "a few small entries fit one batch");
    }
    let batch = Batch {
        stream: hello.stream,
        parent: None,
        first_seq: Seq(1),
        count: builder.count(),
        prev_hash: Mark::ZERO.hash,
        base: None,
        payload: builder.finish().into(),
    };
    let now = world.now;
    for bytes in [frame::seal(Hello::FRAME, &hello.to_body(), &key), frame::seal(Batch::FRAME, &batch.to_body(), &key)]
    {
        world.network.send(Way::Up(agent), bytes, now, &mut world.faults);
    }
}

fn entries(chance: &mut Chance) -> Vec<Vec<u8>> {
    let number: [u8; 8] = chance.bytes();
    let id = |n: u8| {
        let mut bytes: [u8; 16] = [0xee; 16];
        bytes[..8].copy_from_slice(&number);
        bytes[15] = n;
        bytes
    };
    let entry = |n: u8, kind: &str, act: &str, document: Option<[u8; 16]>| Entry {
        id: EntryId::from_bytes(id(n)),
        document: document.map(DocId::from_bytes),
        after: document.map(EntryId::from_bytes),
        kind: kind.into(),
        form: 1,
        act: act.into(),
        set: BTreeMap::new(),
        author: "x".into(),
        cause: None,
        occurred_at: Timestamp(0),
        mono_ms: 0,
        boot: 1,
        clock: 0,
    };
    let mut good = entry(9, "survey", "answer", None);
    good.set.insert("site".into(), Value::from("9999"));
    good.set.insert("form".into(), Value::from("x"));
    good.set.insert("score".into(), Value::Int(1));
    vec![
        b"no entry at all".to_vec(),
        entry(1, "spaceship", "launch", None).to_bytes(),
        entry(2, "survey", "answer", Some([7; 16])).to_bytes(),
        entry(3, "survey", "explode", None).to_bytes(),
        entry(4, "survey", "answer", None).to_bytes(),
        good.to_bytes(),
    ]
}
