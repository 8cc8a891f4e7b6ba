//! The hub's end of the pipe: an MQTT 5 client that takes agents' frames in and sends WELCOMEs and ACKs out.
//!
//! One task polls and never waits for anything else; verification has threads of its own; replies leave from a second
//! task, the downward journals from a third. What cannot be queued is dropped and counted: agents resend. Back-pressure is the credit in each reply.

mod admission;
mod credit;
mod downward;
#[cfg(test)]
mod fleet_tests;
mod intake;
pub(crate) mod outbox;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use waystation_protocol::sync::Backoff;
use waystation_protocol::topic;

use crate::clock;
use crate::ingest::Keys;
use crate::store::{Store, StoreError};
use intake::Intake;

/// Largest MQTT packet taken: a frame and its topic with room to spare.
const PACKET_BYTES: u32 = 2 * 1024 * 1024;
/// Seconds a connection attempt may take.
const CONNECT_TIMEOUT_S: u64 = 20;
/// Silence after which the broker is pinged.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Requests to the client's event loop that may wait: replies, and one subscription.
const REQUESTS: usize = 1024;
/// The ceiling of the first pause between connection attempts.
const RECONNECT_BASE_MS: u64 = 250;

/// Where the broker is, and who the hub is there.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The broker's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `ws-hub-` and something random: two workers never share one.
    pub client_id: String,
    /// Threads that verify frames; at least one.
    pub verifiers: usize,
    /// Longest pause between connection attempts, in milliseconds.
    pub reconnect_max_ms: u64,
}

/// Why the link did not start.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The pinned keys could not be read.
    #[error("could not read the agents' keys")]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("could not start a verifying thread")]
    Thread(#[source] std::io::Error),
}

/// The running link.
#[derive(Debug)]
pub struct Link {
    line: Arc<Line>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the tasks share.
pub(crate) struct Line {
    /// The client of the current event loop.
    client: Mutex<AsyncClient>,
    is_connected: AtomicBool,
    /// Replies do not leave although the connection stands: build a new client.
    stalled: Notify,
}

impl LinkConfig {
    /// The usual configuration; `random` makes the client's name unique.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, random: u64) -> LinkConfig {
        let verifiers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
        let client_id = format!("ws-hub-{random:016x}");
        LinkConfig { host: host.into(), port, client_id, verifiers, reconnect_max_ms: 30_000 }
    }

    fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(self.client_id.clone(), self.host.clone(), self.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_connection_timeout(CONNECT_TIMEOUT_S);
        options.set_max_packet_size(Some(PACKET_BYTES));
        // The client reserves room for all unconfirmed publishes at once; its default of 65,535 costs 14 MiB.
        options.set_outgoing_inflight_upper_limit(4_096);
        options.set_clean_start(true);
        options
    }
}

impl Link {
    /// Starts the link in the current runtime; it connects by itself, and again whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// The agents' keys cannot be read, or the system gives no thread.
    pub fn start(config: LinkConfig, store: &Store, key: SigningKey) -> Result<Link, LinkError> {
        let keys = Arc::new(Keys::new(store.keys()?, Some(key.verifying_key())));
        let intake = Intake::start(config.verifiers, store, &keys).map_err(LinkError::Thread)?;
        let replies = store.replies();
        let (client, events) = AsyncClient::new(config.options(), REQUESTS);
        let line =
            Arc::new(Line { client: Mutex::new(client), is_connected: AtomicBool::new(false), stalled: Notify::new() });
        let (stop, stopping) = watch::channel(false);
        let poller = Poller { config, line: line.clone(), intake, store: store.clone() };
        let (to_down, down) = mpsc::unbounded_channel();
        let post = outbox::Post { key, line: line.clone() };
        let tasks = vec![
            tokio::spawn(poller.run(events, stopping.clone())),
            tokio::spawn(outbox::run(replies, store.clone(), post.clone(), to_down, stopping.clone())),
            tokio::spawn(downward::run(down, store.clone(), post, stopping)),
        ];
        Ok(Link { line, stop, tasks })
    }

    /// Whether the connection to the broker stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.line.is_connected()
    }

    /// Closes the connection; what was taken in is still stored, and its agents hear of it when they meet again.
    pub async fn stop(self) {
        // without receivers the tasks are gone already
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the link failed");
            }
        }
    }
}

impl Line {
    fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    fn client(&self) -> AsyncClient {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("is_connected", &self.is_connected()).finish_non_exhaustive()
    }
}

/// The task that polls.
struct Poller {
    config: LinkConfig,
    line: Arc<Line>,
    intake: Intake,
    store: Store,
}

impl Poller {
    async fn run(self, mut events: EventLoop, mut stopping: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(RECONNECT_BASE_MS, self.config.reconnect_max_ms);
        loop {
            let polled = tokio::select! {
                polled = events.poll() => polled,
                () = self.line.stalled.notified() => {
                    tracing::warn!("replies do not leave; building a new MQTT client");
                    events = self.rebuild();
                    continue;
                }
                _ = stopping.changed() => return,
            };
            match polled {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    backoff.reset();
                    self.connected();
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => self.take(&publish.topic, &publish.payload),
                Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                Err(error) => {
                    let pause = Duration::from_millis(self.lost(&error, &mut backoff));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stopping.changed() => return,
                    }
                }
            }
        }
    }

    fn connected(&self) {
        tracing::info!(host = %self.config.host, port = self.config.port, "connected to the broker");
        self.line.is_connected.store(true, Ordering::Relaxed);
        self.store.counters().connections.one();
        // not awaited: only this task empties the queue that the request goes to
        let client = self.line.client();
        if client.try_subscribe(topic::HUB_SUBSCRIPTION, QoS::AtLeastOnce).is_err() {
            tokio::spawn(async move {
                if let Err(error) = client.subscribe(topic::HUB_SUBSCRIPTION, QoS::AtLeastOnce).await {
                    tracing::error!(%error, "could not subscribe");
                }
            });
        }
    }

    fn take(&self, topic: &[u8], payload: &[u8]) {
        match std::str::from_utf8(topic).ok().and_then(topic::sender) {
            Some(agent) => self.intake.offer(agent, payload, clock::now()),
            None => self.store.counters().frames_malformed.one(),
        }
    }

    /// Milliseconds to wait before the next attempt.
    fn lost(&self, error: &ConnectionError, backoff: &mut Backoff) -> u64 {
        if self.line.is_connected.swap(false, Ordering::Relaxed) {
            tracing::warn!(%error, "connection to the broker lost");
        } else {
            tracing::debug!(%error, "broker not reached");
        }
        // without a random source every hub waits the whole ceiling
        let random = clock::random().map_or(u64::MAX, u64::from_le_bytes);
        backoff.next_ms(random)
    }

    fn rebuild(&self) -> EventLoop {
        let (client, events) = AsyncClient::new(self.config.options(), REQUESTS);
        self.line.is_connected.store(false, Ordering::Relaxed);
        *self.line.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        events
    }
}
