//! A running agent: the store, the API and the link, started together and stopped in the opposite order.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waystation_protocol::id::IdSource;

use crate::api::{Shared, Work, router};
use crate::clock::{Clock, build_time};
use crate::config::Config;
use crate::link::{Link, LinkOptions, LinkStatus, NetworkSwitch};
use crate::presence::Presence;
use crate::store::{OpenOptions, Store, StoreError};

/// An agent that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its store could not be opened.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// Its address is taken, or not ours.
    #[error("cannot listen on {address}: choose another --http address, or port 0 for a free one")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file or a thread was refused.
    #[error("cannot start")]
    Io(#[from] std::io::Error),
}

/// A running agent.
pub struct Running {
    /// Where the API listens.
    pub http: SocketAddr,
    /// The store.
    pub store: Store,
    /// The network plug.
    pub network: NetworkSwitch,
    /// The link as it stands.
    pub link: LinkStatus,
    presence: Presence,
    config: Config,
    linked: Option<Link>,
    stop_server: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// Starts an agent on the current tokio runtime.
pub async fn run(config: Config) -> Result<Running, StartError> {
    let clock = clock(&config);
    let opening = config.clone();
    let opened = tokio::task::spawn_blocking(move || open_store(&opening)).await.map_err(std::io::Error::other)?;
    let store = opened?;
    let listen = |source| StartError::Listen { address: config.http, source };
    let listener = TcpListener::bind(config.http).await.map_err(listen)?;
    let http = listener.local_addr()?;
    let identity = store.identity();
    let zone = config.zone.iana_name().unwrap_or_default().to_owned();
    let presence =
        Presence { http: Some(format!("http://{http}")), agent: identity.agent, sites: identity.sites, zone };
    presence.write(&config.data)?;
    let status = LinkStatus::new(config.broker.is_some());
    let network = NetworkSwitch::new();
    let linked = start_link(&config, &store, clock, &network, &status)?;
    let work = Work { store: store.clone(), clock, zone: config.zone.clone() };
    let switch = config.network_switch.then(|| network.clone());
    let app = router(Shared { work, link: status.clone(), switch });
    let (stop_server, stopped) = oneshot::channel();
    let server = tokio::spawn(async move {
        let serving = axum::serve(listener, app).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        if let Err(error) = serving.await {
            tracing::error!(%error, "the API ended");
        }
    });
    Ok(Running { http, store, network, link: status, presence, config, linked, stop_server, server })
}

fn start_link(
    config: &Config,
    store: &Store,
    clock: Clock,
    network: &NetworkSwitch,
    status: &LinkStatus,
) -> std::io::Result<Option<Link>> {
    let Some(broker) = config.broker.clone() else { return Ok(None) };
    let options = LinkOptions {
        broker,
        reconnect_max_ms: config.reconnect_max_ms,
        random: derive(&config.seed, "link"),
        store: store.clone(),
        clock,
    };
    Link::start(options, network, status.clone(), Handle::current()).map(Some)
}

/// Opens the store as `config` says.
pub fn open_store(config: &Config) -> Result<Store, StoreError> {
    let random = |purpose: &str| {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&derive(&config.seed, purpose)[..10]);
        bytes
    };
    let new_id = |purpose: &str| IdSource::new(random(purpose)).draw();
    let options = OpenOptions {
        sites: config.sites.clone(),
        letter: config.letter,
        random: random("entries"),
        boot: clock(config).boot(),
        new_ids: [new_id("agent"), new_id("stream")],
        new_key: derive(&config.seed, "signing key"),
        zone: config.zone.clone(),
        reserve_bytes: config.reserve_bytes,
    };
    let store = Store::open(&config.data, options)?;
    store.set_build_time(build_time());
    Ok(store)
}

/// The clock of this process start.
pub(crate) fn clock(config: &Config) -> Clock {
    let boot = derive(&config.seed, "boot");
    Clock::start(u32::from_le_bytes([boot[0], boot[1], boot[2], boot[3]]))
}

/// Independent random bytes for one purpose.
fn derive(seed: &[u8; 32], purpose: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

impl Running {
    /// Stops the API, says farewell to the broker, and closes the store.
    pub async fn stop(self) {
        let Running { store, mut presence, config, linked, stop_server, mut server, network: _network, .. } = self;
        let _ = stop_server.send(());
        // Keep-alive connections may linger; what they asked for is answered by now.
        if tokio::time::timeout(std::time::Duration::from_secs(2), &mut server).await.is_err() {
            tracing::debug!("connections were still open");
            server.abort();
        }
        let closing = tokio::task::spawn_blocking(move || {
            if let Some(link) = linked {
                link.stop();
            }
            presence.http = None;
            if let Err(error) = presence.write(&config.data) {
                tracing::warn!(%error, "agent.json could not be written");
            }
            store.close();
        });
        if closing.await.is_err() {
            tracing::error!("the store could not be closed");
        }
    }
}
