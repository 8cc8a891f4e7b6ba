//! The MQTT broker inside the hub: rmqtt on one node, for sites without a broker of their own.
//!
//! It is a pipe and nothing more: it stores nothing on disk, and the hub never takes its PUBACK for proof of anything.
//! It runs on a runtime of its own, because rmqtt has no stop: ending the runtime closes the listener and every session.
//! Who may connect, and which topics they may use, is decided in `register_hooks`; batches and credit do not belong here.

mod drops;
mod share;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use rmqtt::context::ServerContext;
use rmqtt::hook;
use rmqtt::net::{Builder, Listener};
use rmqtt::server::MqttServer;
use tokio::runtime::Runtime;

use self::drops::Drops;
use self::share::ByTopic;

/// Directives for `tracing_subscriber::EnvFilter` that leave what an operator can act on.
///
/// rmqtt speaks through the `log` crate, which the subscriber's `init` forwards to `tracing`. Its server module tells of
/// failing accepts and refused clients at INFO; the rest of its INFO is chatter.
pub const LOG_DIRECTIVES: &str = "rmqtt=warn,rmqtt_net=warn,rmqtt_codec=warn,rmqtt::server=info";

/// How long `stop` waits for the broker's threads before it leaves them behind.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one packet may take to leave for a client that does not read. While the broker waits, messages for that client
/// pile up outside its bounded queue, so this must stay short; but longer than a hub's slow commit.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Our topics have five levels; the rest is room for growth.
const TOPIC_LEVELS: usize = 16;

/// Our client names are a role and a topic-safe id.
const CLIENT_ID_BYTES: usize = 256;

/// An agent needs a handful of subscriptions for each site.
const SUBSCRIPTIONS_PER_SESSION: usize = 1024;

/// Clients in the middle of CONNECT at once; more wait their turn.
const HANDSHAKES: usize = 500;

/// rmqtt wants a number for each listener; we have one.
const LISTENER: u16 = 1;

/// Where the broker listens and how much it holds.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Largest MQTT packet accepted and sent, in bytes, header and topic included. Not 0, which rmqtt reads as no limit.
    pub max_packet_bytes: u32,
    /// Messages that may wait for one subscriber, online or away; above that the oldest is dropped. Not 0.
    pub queue_messages: usize,
    /// Messages sent to one subscriber and not yet acknowledged; also the receive maximum told to publishers.
    pub inflight_messages: NonZeroU16,
    /// Sessions, online or away; a further client is refused. Not 0, which rmqtt reads as no limit.
    pub max_sessions: usize,
    /// Longest time a session outlives its connection, whatever the client asks for. Not 0, which rmqtt reads as no limit.
    pub session_expiry: Duration,
    /// Lets `listen` be reachable from other machines, although the broker asks nobody who they are.
    pub insecure: bool,
}

impl BrokerConfig {
    /// The limits the hub uses unless told otherwise.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            // a payload of 1 MiB and room for its topic and properties
            max_packet_bytes: 1024 * 1024 + 64 * 1024,
            // rmqtt's own 1000 loses under a slow hub; the hub's credit keeps real queues far below this
            queue_messages: 100_000,
            // 128 batches of 256 KiB: 32 MiB on the way to one hub worker
            inflight_messages: const { NonZeroU16::new(128).unwrap() },
            max_sessions: 20_000,
            session_expiry: Duration::from_secs(60 * 60),
            insecure: false,
        }
    }

    fn check(&self) -> Result<(), BrokerError> {
        if !self.insecure && !self.listen.ip().is_loopback() {
            return Err(BrokerError::NotLoopback { listen: self.listen });
        }
        let zero = [
            ("max_packet_bytes", self.max_packet_bytes == 0),
            ("queue_messages", self.queue_messages == 0),
            ("max_sessions", self.max_sessions == 0),
            ("session_expiry", self.session_expiry.is_zero()),
        ];
        match zero.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(BrokerError::ZeroLimit { name }),
            None => Ok(()),
        }
    }
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Without identities the broker stays on this machine.
    #[error("broker address {listen} is reachable from other machines, but the broker has no identities to check")]
    NotLoopback {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// A limit of 0 would mean no limit to rmqtt.
    #[error("broker limit {name} is 0")]
    ZeroLimit {
        /// The field of [`BrokerConfig`].
        name: &'static str,
    },
    /// The threads could not be started.
    #[error("could not start the broker's runtime")]
    Runtime(#[source] std::io::Error),
    /// The address is taken, not ours, or not allowed.
    #[error("broker could not listen on {listen}")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A task panicked on the way.
    #[error("broker start was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// A running broker. Several can run in one process.
///
/// Dropping it closes everything too, but only [`stop`](Broker::stop) waits until that is done.
pub struct Broker {
    addr: SocketAddr,
    drops: Drops,
    runtime: Option<Runtime>,
}

impl Broker {
    /// Starts a broker and returns once clients can connect.
    ///
    /// # Errors
    ///
    /// The configuration is refused, the address cannot be listened on, or the system gives no threads.
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        config.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("broker")
            .enable_all()
            .build()
            .map_err(BrokerError::Runtime)?;
        let drops = Drops::default();
        // from here on the runtime is never dropped in place: that would block, which tokio forbids in async code
        let mut broker = Self { addr: config.listen, drops: drops.clone(), runtime: Some(runtime) };
        broker.addr = broker.runtime().spawn(serve(config, drops)).await.map_err(BrokerError::Interrupted)??;
        tracing::info!(addr = %broker.addr, "broker listens");
        Ok(broker)
    }

    /// The address clients connect to, with the real port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Messages dropped since the start because a subscriber's queue was full.
    #[must_use]
    pub fn dropped_messages(&self) -> u64 {
        self.drops.count()
    }

    /// Closes the listener and every connection, without a DISCONNECT and without publishing last wills, and forgets all
    /// sessions. The port is free again when this returns.
    pub async fn stop(mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let stopped = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_TIMEOUT)).await;
        match stopped {
            Ok(()) => tracing::info!(addr = %self.addr, "broker stopped"),
            Err(error) => tracing::error!(addr = %self.addr, %error, "broker did not stop cleanly"),
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("only `stop` and `drop` take the runtime, and both end the broker")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Listens, and leaves rmqtt serving on the current runtime.
async fn serve(config: BrokerConfig, drops: Drops) -> Result<SocketAddr, BrokerError> {
    let failed = |source: rmqtt::Error| BrokerError::Listen { listen: config.listen, source: source.into() };
    let listener = listen(&config).map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;

    let context = ServerContext::new()
        .mqtt_max_sessions(isize::try_from(config.max_sessions).unwrap_or(isize::MAX))
        // it refuses clients while the machine is over 90 % busy, which an import or a build on the same box is
        .busy_check_enable(false)
        .build()
        .await;
    *context.extends.shared_subscription_mut().await = Box::new(ByTopic);
    register_hooks(&context, drops).await;

    // not `start()`: it ends the whole process on a failure
    let server = MqttServer::new(context).listener_by_id(listener, LISTENER).build();
    tokio::spawn(async move {
        if let Err(error) = server.run().await {
            tracing::error!(%error, "broker ended");
        }
    });
    Ok(addr)
}

fn listen(config: &BrokerConfig) -> rmqtt::Result<Listener> {
    Builder::new()
        .name("hub")
        .laddr(config.listen)
        // elsewhere than on Unix this lets two programs share a port
        .reuseaddr(cfg!(unix).then_some(true))
        .nodelay(true)
        .allow_anonymous(true)
        .max_packet_size(config.max_packet_bytes)
        .max_mqueue_len(config.queue_messages)
        .max_inflight(config.inflight_messages)
        .max_connections(config.max_sessions)
        .max_handshaking_limit(HANDSHAKES)
        .max_clientid_len(CLIENT_ID_BYTES)
        .max_topic_levels(TOPIC_LEVELS)
        .max_subscriptions(SUBSCRIPTIONS_PER_SESSION)
        .session_expiry_interval(config.session_expiry)
        .max_session_expiry_interval(config.session_expiry)
        .send_timeout(SEND_TIMEOUT)
        // 0 is never: MQTT 5 forbids to send again on a live connection, and a late message is better than a lost one
        .message_retry_interval(Duration::ZERO)
        .message_expiry_interval(Duration::ZERO)
        .bind()?
        .tcp()
}

/// Everything that looks at clients and messages on their way.
///
/// This is the place for identities and topic rights: handlers for `ClientAuthenticate`, `ClientSubscribeCheckAcl` and
/// `MessagePublishCheckAcl`, together with `allow_anonymous(false)` above.
async fn register_hooks(context: &ServerContext, drops: Drops) {
    let register = context.extends.hook_mgr().register();
    register.add(hook::Type::MessageDropped, Box::new(drops)).await;
    register.start().await;
}
