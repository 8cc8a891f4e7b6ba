//! The broker as its clients see it, over real sockets.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use tokio::time::Instant;

use super::{Broker, BrokerConfig, BrokerError};

const PATIENCE: Duration = Duration::from_secs(60);
const UP: &str = "waystation/v1/x/up";
const SHARED_UP: &str = "$share/hub/waystation/v1/+/up";

fn config() -> BrokerConfig {
    BrokerConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)))
}

async fn start(config: BrokerConfig) -> Broker {
    Broker::start(config).await.unwrap()
}

fn options(broker: &Broker, name: &str) -> MqttOptions {
    let mut options = MqttOptions::new(name, broker.addr().ip().to_string(), broker.addr().port());
    options.set_connection_timeout(20).set_max_packet_size(Some(2 * 1024 * 1024));
    options
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

struct Client {
    sender: AsyncClient,
    events: EventLoop,
}

impl Client {
    async fn connect(options: MqttOptions) -> Self {
        let (sender, events) = AsyncClient::new(options, 1000);
        let mut client = Self { sender, events };
        client.until("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(())).await;
        client
    }

    async fn subscribe(options: MqttOptions, filter: &str) -> Self {
        let mut client = Self::connect(options).await;
        client.sender.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let answers = client
            .until("SUBACK", |packet| match packet {
                Packet::SubAck(ack) => Some(ack.return_codes),
                _ => None,
            })
            .await;
        assert_eq!(answers, [SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
        client
    }

    async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(Packet) -> Option<T>) -> T {
        within(what, async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.unwrap()
                    && let Some(found) = wanted(packet)
                {
                    return found;
                }
            }
        })
        .await
    }

    async fn message(&mut self) -> Publish {
        self.until("message", |packet| match packet {
            Packet::Publish(publish) => Some(publish),
            _ => None,
        })
        .await
    }

    async fn publish(&mut self, topic: &str, payload: Vec<u8>) {
        self.sender.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        self.until("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    }

    async fn failure(&mut self) -> ConnectionError {
        within("failure", async {
            loop {
                if let Err(error) = self.events.poll().await {
                    return error;
                }
            }
        })
        .await
    }
}

/// Publishes `count` numbered messages and returns once the broker acknowledged all.
async fn publish_numbered(options: MqttOptions, count: u32, payload_bytes: usize) {
    let mut publisher = Client::connect(options).await;
    let sender = publisher.sender.clone();
    let feed = tokio::spawn(async move {
        for number in 0..count {
            let mut payload = vec![b'x'; payload_bytes];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            sender.publish(UP, QoS::AtLeastOnce, false, payload).await.unwrap();
        }
    });
    let mut acknowledged = 0;
    publisher
        .until("PUBACK of every message", |packet| {
            acknowledged += u32::from(matches!(packet, Packet::PubAck(_)));
            (acknowledged == count).then_some(())
        })
        .await;
    feed.await.unwrap();
}

fn number(publish: &Publish) -> u32 {
    u32::from_be_bytes(publish.payload[..4].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_hub_receives_every_message() {
    const COUNT: u32 = 20_000;
    let broker = start(config()).await;
    let mut hub = Client::subscribe(options(&broker, "hub"), SHARED_UP).await;
    let publisher = tokio::spawn(publish_numbered(options(&broker, "agent"), COUNT, 1024));

    let slow_until = Instant::now() + Duration::from_secs(3);
    let mut received = BTreeSet::new();
    let mut received_slowly = 0;
    while received.len() < COUNT as usize {
        let publish = hub.message().await;
        assert_eq!(publish.payload.len(), 1024);
        received.insert(number(&publish));
        if Instant::now() < slow_until {
            received_slowly += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    within("publisher's end", publisher).await.unwrap();
    assert!(received_slowly < COUNT / 2, "the hub was not slow: {received_slowly} messages in 3 s");
    assert_eq!(broker.dropped_messages(), 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_drops_and_counts() {
    let broker = start(BrokerConfig { queue_messages: 10, ..config() }).await;
    // this hub never reads again, so its queue fills behind the messages in flight
    let hub = Client::subscribe(options(&broker, "hub"), SHARED_UP).await;
    publish_numbered(options(&broker, "agent"), 1000, 16).await;
    let mut dropped = broker.dropped_messages();
    let deadline = Instant::now() + PATIENCE;
    while dropped == 0 && Instant::now() < deadline {
        tokio::task::yield_now().await;
        dropped = broker.dropped_messages();
    }
    assert!(dropped > 0, "1000 messages went into a queue of 10");
    drop(hub);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_a_session_that_is_away() {
    let broker = start(config()).await;
    let mut persistent = options(&broker, "hub");
    persistent.set_clean_start(false).set_session_expiry_interval(Some(600));
    let hub = Client::subscribe(persistent.clone(), SHARED_UP).await;
    drop(hub);
    let mut agent = Client::connect(options(&broker, "agent")).await;
    agent.publish(UP, b"while you were out".to_vec()).await;
    let mut hub = Client::connect(persistent).await;
    assert_eq!(hub.message().await.payload.as_ref(), b"while you were out");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_message_passes() {
    let broker = start(config()).await;
    let mut hub = Client::subscribe(options(&broker, "hub"), SHARED_UP).await;
    let mut agent = Client::connect(options(&broker, "agent")).await;
    for payload_bytes in [900 * 1024, 1024 * 1024] {
        let payload: Vec<u8> = (0..payload_bytes).map(|at: u32| at as u8).collect();
        agent.publish(UP, payload.clone()).await;
        assert!(hub.message().await.payload == payload, "{payload_bytes} bytes came out changed");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packet_above_the_limit_ends_its_connection() {
    let broker = start(BrokerConfig { max_packet_bytes: 1024, ..config() }).await;
    let mut hub = Client::subscribe(options(&broker, "hub"), SHARED_UP).await;
    let mut agent = Client::connect(options(&broker, "agent")).await;
    agent.sender.publish(UP, QoS::AtLeastOnce, false, vec![0; 1024]).await.unwrap();
    agent.failure().await;
    let mut agent = Client::connect(options(&broker, "agent")).await;
    agent.publish(UP, b"small".to_vec()).await;
    assert_eq!(hub.message().await.payload.as_ref(), b"small");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_will_arrives_when_the_connection_drops() {
    let broker = start(config()).await;
    let mut hub = Client::subscribe(options(&broker, "hub"), SHARED_UP).await;
    let mut with_will = options(&broker, "agent");
    with_will.set_last_will(LastWill::new(UP, "gone", QoS::AtLeastOnce, false, None));
    let agent = Client::connect(with_will).await;
    drop(agent);
    assert_eq!(hub.message().await.payload.as_ref(), b"gone");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_group_gets_each_message_once() {
    let broker = start(config()).await;
    let mut first = Client::subscribe(options(&broker, "hub-1"), SHARED_UP).await;
    let mut second = Client::subscribe(options(&broker, "hub-2"), SHARED_UP).await;
    let mut agent = Client::connect(options(&broker, "agent")).await;
    let sites: BTreeSet<String> = (0..40).map(|site| format!("waystation/v1/{site}/up")).collect();
    for topic in &sites {
        agent.publish(topic, Vec::new()).await;
    }
    let mut received = Vec::new();
    let (mut by_first, mut by_second) = (0, 0);
    while received.len() < sites.len() {
        let publish = tokio::select! {
            publish = first.message() => { by_first += 1; publish }
            publish = second.message() => { by_second += 1; publish }
        };
        received.push(String::from_utf8(publish.topic.to_vec()).unwrap());
    }
    received.sort();
    assert!(received.iter().eq(sites.iter()), "{received:?}");
    assert!(by_first > 0 && by_second > 0, "{by_first} and {by_second}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_in_one_process_do_not_meet() {
    let (left, right) = (start(config()).await, start(config()).await);
    assert_ne!(left.addr(), right.addr());
    let mut left_hub = Client::subscribe(options(&left, "hub"), SHARED_UP).await;
    let mut right_hub = Client::subscribe(options(&right, "hub"), SHARED_UP).await;
    Client::connect(options(&left, "agent")).await.publish(UP, b"left".to_vec()).await;
    Client::connect(options(&right, "agent")).await.publish(UP, b"right".to_vec()).await;
    assert_eq!(left_hub.message().await.payload.as_ref(), b"left");
    assert_eq!(right_hub.message().await.payload.as_ref(), b"right");
    left.stop().await;
    Client::connect(options(&right, "agent")).await.publish(UP, b"still here".to_vec()).await;
    assert_eq!(right_hub.message().await.payload.as_ref(), b"still here");
    right.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_sessions_and_frees_the_port() {
    let broker = start(config()).await;
    let addr = broker.addr();
    let mut agent = Client::connect(options(&broker, "agent")).await;
    broker.stop().await;
    agent.failure().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "{addr} still accepts");
    let again = start(BrokerConfig::new(addr)).await;
    assert_eq!(again.addr(), addr);
    Client::connect(options(&again, "agent")).await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_configurations_are_refused() {
    let taken = start(config()).await;
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let check = async |config: BrokerConfig, message: String| {
        let error: BrokerError = Broker::start(config).await.err().expect("an error");
        assert_eq!(error.to_string(), message);
    };
    let addr = taken.addr();
    check(BrokerConfig::new(addr), format!("broker could not listen on {addr}")).await;
    check(
        BrokerConfig::new(anywhere),
        "broker address 0.0.0.0:0 is reachable from other machines, but the broker has no identities to check".into(),
    )
    .await;
    check(BrokerConfig { queue_messages: 0, ..config() }, "broker limit queue_messages is 0".into()).await;
    check(BrokerConfig { max_packet_bytes: 0, ..config() }, "broker limit max_packet_bytes is 0".into()).await;
    Broker::start(BrokerConfig { insecure: true, ..BrokerConfig::new(anywhere) }).await.unwrap().stop().await;
    taken.stop().await;
}
