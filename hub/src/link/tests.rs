//! The link against the embedded broker, with an agent made by hand.

#![cfg(feature = "embedded-broker")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use waystation_protocol::frame::{Frame, FrameType};
use waystation_protocol::message::{Ack, Message, Welcome};
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
