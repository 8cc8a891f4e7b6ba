//! One MQTT 5 connection: made, subscribed, polled in a task of its own, and never used again once it broke.
//!
//! rumqttc forgets pending publishes when the broker lost the session and can wedge; so nothing is expected of its
//! queue. Publishing never blocks: what does not fit is lost here and sent again from the journal.

use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, PubAckReason, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use waystation_protocol::id::AgentId;
use waystation_protocol::topic;

use crate::config::Broker;

/// A frame and its topic; a hub that sends more than this is not ours.
const PACKET_BYTES: u32 = 2 * 1024 * 1024;
const CONNECT_TIMEOUT_S: u64 = 20;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Publishes the broker has not confirmed. The client reserves room for all of them at once: 65,535, its default, cost
/// 14 MiB. Credit bounds what is really under way.
const INFLIGHT_PUBLISHES: u16 = 256;
/// Publishes waiting for the socket. Credit keeps far fewer in flight.
const QUEUE_PUBLISHES: usize = 256;
/// Frames waiting for the driver. Acknowledgements are cumulative, so one that does not fit may be dropped.
const QUEUE_FRAMES: usize = 1024;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection tells.
#[derive(Debug)]
pub(super) enum Happened {
    /// The broker took the subscription: a WELCOME cannot be missed any more.
    Ready,
    /// A frame on the down topic.
    Frame(Vec<u8>),
    /// The broker refused a publish.
    Refused(String),
    /// It is gone; nothing follows.
    Lost(String),
}

/// A connection being made, or standing.
pub(super) struct Connection {
    client: AsyncClient,
    up: String,
    happened: mpsc::Receiver<Happened>,
    polling: JoinHandle<()>,
}

impl Connection {
    /// Begins to connect. `death` is the frame the broker publishes if this connection dies.
    pub(super) fn open(broker: &Broker, agent: AgentId, death: Vec<u8>) -> Connection {
        let up = topic::up(agent);
        let mut options = MqttOptions::new(format!("ws-{agent}"), broker.host.clone(), broker.port);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options
            .set_clean_start(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(CONNECT_TIMEOUT_S)
            .set_max_packet_size(Some(PACKET_BYTES))
            .set_outgoing_inflight_upper_limit(INFLIGHT_PUBLISHES)
            .set_network_options(network)
            .set_last_will(LastWill::new(up.clone(), death, QoS::AtLeastOnce, false, None));
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user, password);
        }
        let (client, event_loop) = AsyncClient::new(options, QUEUE_PUBLISHES);
        let (tell, happened) = mpsc::channel(QUEUE_FRAMES);
        let polling = tokio::spawn(poll(event_loop, client.clone(), topic::down(agent), tell));
        Connection { client, up, happened, polling }
    }

    /// Hands a frame to the client. False where its queue is full: the frame is lost.
    pub(super) fn publish(&self, frame: Vec<u8>) -> bool {
        self.client.try_publish(self.up.clone(), QoS::AtLeastOnce, false, frame).is_ok()
    }

    /// The next thing that happens.
    pub(super) async fn next(&mut self) -> Happened {
        let lost = || Happened::Lost("the client ended".to_owned());
        self.happened.recv().await.unwrap_or_else(lost)
    }

    /// What has already happened, if anything.
    pub(super) fn try_next(&mut self) -> Option<Happened> {
        self.happened.try_recv().ok()
    }

    /// Says farewell, so that the broker does not publish the last will.
    pub(super) async fn close(mut self) {
        if self.client.try_disconnect().is_ok() {
            let _ = tokio::time::timeout(FAREWELL, &mut self.polling).await;
        }
    }
}

impl Drop for Connection {
    /// Cuts the line without a farewell.
    fn drop(&mut self) {
        self.polling.abort();
    }
}

async fn poll(mut event_loop: EventLoop, client: AsyncClient, down: String, tell: mpsc::Sender<Happened>) {
    loop {
        let happened = match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let is_queued = client.try_subscribe(down.clone(), QoS::AtLeastOnce).is_ok();
                if is_queued { None } else { Some(Happened::Lost("the client's queue is full".to_owned())) }
            }
            Ok(Event::Incoming(packet)) => meaning(packet),
            Ok(Event::Outgoing(_)) => None,
            Err(error) => Some(Happened::Lost(error.to_string())),
        };
        match happened {
            None => {}
            Some(Happened::Frame(frame)) => {
                let _ = tell.try_send(Happened::Frame(frame));
            }
            Some(last @ Happened::Lost(_)) => {
                let _ = tell.send(last).await;
                return;
            }
            Some(other) => {
                let _ = tell.send(other).await;
            }
        }
    }
}

fn meaning(packet: Packet) -> Option<Happened> {
    match packet {
        Packet::Publish(publish) => Some(Happened::Frame(publish.payload.to_vec())),
        Packet::SubAck(ack) => match ack.return_codes.first() {
            Some(SubscribeReasonCode::Success(_)) => Some(Happened::Ready),
            refused => Some(Happened::Lost(format!("the broker refused the subscription: {refused:?}"))),
        },
        Packet::PubAck(ack) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
            reason => Some(Happened::Refused(format!("{reason:?}"))),
        },
        Packet::Disconnect(farewell) => {
            Some(Happened::Lost(format!("the broker ended it: {:?}", farewell.reason_code)))
        }
        _ => None,
    }
}
