//! A running hub: broker, store, link and pages, started in this order and stopped in the reverse.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{App, Drops};
#[cfg(feature = "embedded-broker")]
use crate::broker::{Broker, BrokerConfig, BrokerError};
use crate::clock::{self, NoRandom};
use crate::config::{BrokerChoice, Config};
use crate::events::Feed;
use crate::keys::{self, KeyError};
use crate::link::{Link, LinkConfig, LinkError};
use crate::router;
use crate::store::{Options, Store, StoreError};

/// How long answers under way may take once the hub stops.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far `hub.heads` may lag behind the database after a crash.
const HEADS_EVERY: Duration = Duration::from_secs(60);

/// Why the hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The embedded broker.
    #[cfg(feature = "embedded-broker")]
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// This build has no broker of its own.
    #[cfg(not(feature = "embedded-broker"))]
    #[error("this build has no embedded broker; name one with --broker mqtt://HOST:PORT")]
    NoBroker,
    /// The link to the broker.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The pages' address.
    #[error("could not listen on {addr}")]
    Http {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// A running hub.
pub struct Running {
    /// Where API and pages are, with the real port.
    pub http: SocketAddr,
    /// Where the embedded broker listens; none if another is used.
    pub mqtt: Option<SocketAddr>,
    /// The books.
    pub store: Store,
    link: Held<Link>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    #[cfg(feature = "embedded-broker")]
    broker: Held<Broker>,
}

/// What handlers look at and `stop` takes.
type Held<T> = Arc<Mutex<Option<T>>>;

/// Where the link connects to.
struct Pipe {
    host: String,
    port: u16,
    mqtt: Option<SocketAddr>,
    drops: Option<Drops>,
    #[cfg(feature = "embedded-broker")]
    broker: Held<Broker>,
}

/// Starts a hub; it answers and takes entries once this returns.
///
/// # Errors
///
/// Something it needs is not there: the folder, the key, an address.
pub async fn run(config: Config) -> Result<Running, RunError> {
    config.log_effective();
    let listener = TcpListener::bind(config.http).await;
    let listener = listener.map_err(|source| RunError::Http { addr: config.http, source })?;
    let http = listener.local_addr().map_err(|source| RunError::Http { addr: config.http, source })?;
    let (store, key) = {
        let (data, fresh_id, fresh_key) = (config.data.clone(), clock::random()?, clock::random()?);
        let (retention, rules) = (config.retention(), config.rules.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(&data, Options { retention, rules, ..Options::new(fresh_id) })?;
            Ok::<_, RunError>((store, keys::load_or_create(&data, fresh_key)?))
        });
        opened.await.map_err(|_| StoreError::Closed)??
    };
    let pipe = pipe(&config).await?;
    let random = u64::from_be_bytes(clock::random()?);
    let link = Link::start(LinkConfig::new(pipe.host, pipe.port, random), &store, key)?;
    let link = Arc::new(Mutex::new(Some(link)));
    let (stop, stopping) = watch::channel(false);
    let app = App {
        store: store.clone(),
        link: link.clone(),
        feed: Feed::start(store.clone(), stopping.clone()),
        stopping: stopping.clone(),
        drops: pipe.drops,
        insecure: config.insecure,
    };
    tokio::spawn(keep_heads(store.clone(), stopping.clone()));
    let server = tokio::spawn(serve(listener, app, stopping));
    tracing::info!(%http, mqtt = ?pipe.mqtt, "hub runs");
    Ok(Running {
        http,
        mqtt: pipe.mqtt,
        store,
        link,
        stop,
        server,
        #[cfg(feature = "embedded-broker")]
        broker: pipe.broker,
    })
}

async fn pipe(config: &Config) -> Result<Pipe, RunError> {
    match &config.broker {
        BrokerChoice::Remote { host, port } => Ok(Pipe {
            host: host.clone(),
            port: *port,
            mqtt: None,
            drops: None,
            #[cfg(feature = "embedded-broker")]
            broker: Held::default(),
        }),
        BrokerChoice::Embedded => embedded(config).await,
    }
}

#[cfg(feature = "embedded-broker")]
async fn embedded(config: &Config) -> Result<Pipe, RunError> {
    let broker = Broker::start(BrokerConfig { insecure: config.insecure, ..BrokerConfig::new(config.mqtt) }).await?;
    let mqtt = broker.addr();
    let host = if mqtt.ip().is_unspecified() { "127.0.0.1".to_owned() } else { mqtt.ip().to_string() };
    let broker = Arc::new(Mutex::new(Some(broker)));
    let counted = broker.clone();
    let drops: Drops = Arc::new(move || {
        let broker = counted.lock().unwrap_or_else(PoisonError::into_inner);
        broker.as_ref().map_or(0, Broker::dropped_messages)
    });
    Ok(Pipe { host, port: mqtt.port(), mqtt: Some(mqtt), drops: Some(drops), broker })
}

#[cfg(not(feature = "embedded-broker"))]
async fn embedded(_: &Config) -> Result<Pipe, RunError> {
    Err(RunError::NoBroker)
}

/// Writes down every minute how far the journals go, where anything was committed since.
async fn keep_heads(store: Store, mut stopping: watch::Receiver<bool>) {
    let mut changes = store.watch_changes();
    loop {
        tokio::select! {
            () = tokio::time::sleep(HEADS_EVERY) => {}
            // an error means that nobody is left to stop it, which comes to the same
            _ = stopping.changed() => return,
        }
        if !changes.has_changed().unwrap_or(false) {
            continue;
        }
        changes.mark_unchanged();
        let store = store.clone();
        match tokio::task::spawn_blocking(move || store.keep_heads()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "how far the journals go was not written down"),
            Err(error) => tracing::error!(%error, "how far the journals go could not be asked"),
        }
    }
}

async fn serve(listener: TcpListener, app: App, mut stopping: watch::Receiver<bool>) {
    let stopped = async move {
        // an error means that nobody is left to stop it, which comes to the same
        let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
    };
    if let Err(error) = axum::serve(listener, router::router(app)).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the pages' server ended");
    }
}

impl Running {
    /// Stops taking entries, finishes what was taken, and closes everything.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let link = taken(&self.link);
        if let Some(link) = link {
            link.stop().await;
        }
        let abort = self.server.abort_handle();
        match tokio::time::timeout(PATIENCE, self.server).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the pages' server failed"),
            Err(_) => {
                abort.abort();
                tracing::warn!("answers still under way were cut off");
            }
        }
        #[cfg(feature = "embedded-broker")]
        if let Some(broker) = taken(&self.broker) {
            broker.stop().await;
        }
        let store = self.store;
        if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
            tracing::error!(%error, "the store was not closed cleanly");
        }
        tracing::info!("hub stopped");
    }
}

fn taken<T>(held: &Held<T>) -> Option<T> {
    held.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
#[cfg(feature = "embedded-broker")]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(addr: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn answer(addr: SocketAddr, path: &str) -> String {
        let mut text = String::new();
        ask(addr, path).await.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hub_becomes_ready_keeps_its_folder_and_stops_under_a_listener() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::local(dir.path().to_owned());
        let running = run(config.clone()).await.unwrap();
        assert!(running.mqtt.is_some());
        let ready = async {
            while !answer(running.http, "/readyz").await.starts_with("HTTP/1.1 200") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("ready in time");
        let second = run(config.clone()).await.err().expect("one hub per folder");
        assert!(second.to_string().ends_with("is in use by another hub"), "{second}");
        let mut listener = ask(running.http, "/api/v1/events").await;
        listener.read_exact(&mut [0; 15]).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), running.stop()).await.expect("stopped in time");
        run(config).await.unwrap().stop().await;
    }
}
