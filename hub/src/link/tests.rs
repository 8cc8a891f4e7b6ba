//! The link against the embedded broker, with an agent made by hand.

#![cfg(feature = "embedded-broker")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use waystation_protocol::batch::Unpacked;
use waystation_protocol::chain::Seq;
use waystation_protocol::down::Command;
use waystation_protocol::frame::{Frame, FrameType};
use waystation_protocol::id::SessionId;
use waystation_protocol::message::{Ack, Batch, Held, Hello, Message, Welcome};
use waystation_protocol::time::Timestamp;
use waystation_protocol::topic;

use super::{Link, LinkConfig};
use crate::broker::{Broker, BrokerConfig};
use crate::store::fixture::Agent;
use crate::store::{Options, Store};

/// No test waits longer for a frame.
const PATIENCE: Duration = Duration::from_secs(30);

async fn connect(agent: &Agent, port: u16) -> (AsyncClient, EventLoop) {
    let options = MqttOptions::new(format!("ws-{}", agent.id), "127.0.0.1", port);
    let (client, mut events) = AsyncClient::new(options, 64);
    client.subscribe(topic::down(agent.id), QoS::AtLeastOnce).await.unwrap();
    let subscribed = async { while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {} };
    tokio::time::timeout(PATIENCE, subscribed).await.unwrap();
    (client, events)
}

/// The next frame of a type, opened with the hub's key.
async fn next<M: Message>(events: &mut EventLoop, kind: FrameType, key: &SigningKey) -> M {
    let arriving = async {
        loop {
            let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() else { continue };
            let frame = Frame::parse(&publish.payload).unwrap();
            let body = frame.verified_body(&key.verifying_key()).unwrap();
            if frame.kind == kind {
                return M::from_body(body).unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, arriving).await.unwrap()
}

/// A HELLO, repeated until it is heard: the hub may not have subscribed yet, and the broker keeps nothing.
async fn greet(
    client: &AsyncClient,
    events: &mut EventLoop,
    agent: &Agent,
    down: Option<Held>,
    key: &SigningKey,
) -> Welcome {
    loop {
        let hello = Hello { down: down.clone(), credit: 1 << 20, ..agent.plain_hello(0) };
        client.publish(topic::up(agent.id), QoS::AtLeastOnce, false, agent.seal(&hello)).await.unwrap();
        let heard = next(events, FrameType::Welcome, key);
        if let Ok(welcome) = tokio::time::timeout(Duration::from_millis(500), heard).await {
            return welcome;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downward_journal_is_sent_acknowledged_sent_again_and_resumed() {
    let broker = Broker::start(BrokerConfig::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::new([7; 16])).unwrap();
    let key = SigningKey::from_bytes(&[42; 32]);
    let link = Link::start(LinkConfig::new("127.0.0.1", broker.addr().port(), 1), &store, key.clone()).unwrap();
    let mut agent = Agent::new(1, &["3702"]);
    let (client, mut events) = connect(&agent, broker.addr().port()).await;
    let welcome = greet(&client, &mut events, &agent, None, &key).await;
    let stream = welcome.down.unwrap().stream;
    let agent_id = agent.id;
    let publish = async |title: &str| {
        let (store, title) = (store.clone(), title.to_owned());
        let (id, not_after) = (agent_id, Timestamp(i64::MAX));
        let command = Command { name: title, args: String::new(), not_after };
        tokio::task::spawn_blocking(move || store.give_command(id, command, "王芳")).await.unwrap().unwrap();
    };
    publish("一").await;
    let first: Batch = next(&mut events, FrameType::Batch, &key).await;
    assert_eq!((first.stream, first.first_seq, first.count), (stream, Seq(1), 1));
    let again: Batch = next(&mut events, FrameType::Batch, &key).await;
    assert_eq!(again, first, "nothing was acknowledged, so it comes again");
    let stored = Unpacked::open(&first).unwrap().last();
    let ack = Ack {
        session: agent.session,
        stream,
        stored,
        processed: Seq(1),
        prunable: Seq(0),
        down_prunable: Seq(0),
        missing: Vec::new(),
        credit: 1 << 20,
        retry_after_ms: 0,
    };
    client.publish(topic::up(agent.id), QoS::AtLeastOnce, false, agent.seal(&ack)).await.unwrap();
    publish("二").await;
    let second = loop {
        let batch: Batch = next(&mut events, FrameType::Batch, &key).await;
        if batch.first_seq != Seq(1) {
            break batch;
        }
    };
    assert_eq!((second.first_seq, second.prev_hash), (Seq(2), stored.hash));

    // its acknowledgement is lost with the connection; the next session says what is held
    agent.last_session = Some(agent.session);
    agent.session = SessionId::from_bytes([0x77; 16]);
    let head = Unpacked::open(&second).unwrap().last();
    let held = Held { stream, head, pruned: Seq(0) };
    let welcome = greet(&client, &mut events, &agent, Some(held), &key).await;
    assert_eq!(welcome.down.unwrap().rungs[0], head);
    publish("三").await;
    let third: Batch = next(&mut events, FrameType::Batch, &key).await;
    assert_eq!((third.first_seq, third.prev_hash), (Seq(3), head.hash));
    link.stop().await;
    store.close();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_welcome_and_its_batches_are_acknowledged() {
    let broker = Broker::start(BrokerConfig::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::new([7; 16])).unwrap();
    let key = SigningKey::from_bytes(&[42; 32]);
    let link = Link::start(LinkConfig::new("127.0.0.1", broker.addr().port(), 1), &store, key.clone()).unwrap();

    let mut agent = Agent::new(1, &["3702"]);
    for n in 0..10 {
        agent.survey(n);
    }
    let (client, mut events) = connect(&agent, broker.addr().port()).await;
    let publish = |bytes: Vec<u8>| client.publish(topic::up(agent.id), QoS::AtLeastOnce, false, bytes);
    // the hub may not have subscribed yet, and the broker keeps nothing: an agent repeats its HELLO until it is heard
    let welcome: Welcome = loop {
        publish(agent.hello()).await.unwrap();
        let heard = next(&mut events, FrameType::Welcome, &key);
        if let Ok(welcome) = tokio::time::timeout(Duration::from_millis(500), heard).await {
            break welcome;
        }
    };
    assert_eq!((welcome.session, welcome.stream, welcome.letter), (agent.session, agent.stream, Some('A')));
    assert_eq!(welcome.hub.as_slice(), store.identity().id);
    assert_eq!(welcome.public_key.as_slice(), key.verifying_key().as_bytes());
    assert!(welcome.credit > 0 && welcome.t3 >= welcome.t2);

    publish(agent.batch(1, 4)).await.unwrap();
    publish(agent.batch(5, 10)).await.unwrap();
    loop {
        let ack: Ack = next(&mut events, FrameType::Ack, &key).await;
        assert_eq!((ack.session, ack.stored), (agent.session, agent.mark(ack.stored.seq.0)));
        if ack.processed == agent.head().seq {
            break;
        }
    }
    assert!(link.is_connected());
    link.stop().await;
    assert_eq!(store.totals().unwrap().documents, 10);
    store.close();
    broker.stop().await;
}
