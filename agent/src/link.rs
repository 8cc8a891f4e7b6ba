//! The link to the hub: drives the [`Engine`] with a real connection and a real clock.
//!
//! It runs on a thread of its own, so reading batches and compressing them holds nobody up. One MQTT client lives per
//! connection: what a broken connection had queued is forgotten and sent again from the journal. Nothing here decides
//! what is stored at the hub; only the hub's acknowledgements do.

mod chance;
mod commands;
mod connection;
mod down;
mod downward;
mod driver;
#[cfg(test)]
mod driver_tests;
mod engine;
#[cfg(test)]
mod engine_tests;
mod heard;
mod heartbeat;
mod runner;
mod status;
mod trouble;

use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Broker;
use crate::store::Store;
use runner::Runner;

pub use engine::{Action, Engine, Now};
pub use status::{Counts, LinkState, LinkStatus};
pub use trouble::Trouble;

/// What this build calls itself on the wire and in the status.
pub const BUILD: &str = concat!("waystation-agent ", env!("CARGO_PKG_VERSION"));

/// The network plug of an agent: pulled, it cuts the connection without a farewell and stays away.
#[derive(Debug, Clone)]
pub struct NetworkSwitch(watch::Sender<bool>);

/// What the link needs.
pub struct LinkOptions {
    /// The hub's broker.
    pub broker: Broker,
    /// The longest pause between two attempts, in milliseconds.
    pub reconnect_max_ms: u64,
    /// Fresh random bytes: session ids and pauses are drawn from them.
    pub random: [u8; 32],
    /// The store whose journal is sent.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
}

/// A running link. Dropping it without [`Link::stop`] leaves the thread running.
pub struct Link {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl NetworkSwitch {
    /// Plugged in.
    pub fn new() -> NetworkSwitch {
        NetworkSwitch(watch::Sender::new(true))
    }

    /// Plugs in, or pulls the plug.
    pub fn set(&self, plugged: bool) {
        self.0.send_if_modified(|is_plugged| std::mem::replace(is_plugged, plugged) != plugged);
    }

    /// Whether it is plugged in.
    pub fn is_plugged(&self) -> bool {
        *self.0.borrow()
    }

    fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

impl Default for NetworkSwitch {
    fn default() -> NetworkSwitch {
        NetworkSwitch::new()
    }
}

impl Link {
    /// Starts the link on a thread of its own; its timers and its socket live on the runtime of `handle`.
    pub fn start(
        options: LinkOptions,
        switch: &NetworkSwitch,
        status: LinkStatus,
        handle: Handle,
    ) -> std::io::Result<Link> {
        let stop = watch::Sender::new(false);
        let runner = Runner::new(options, status, switch.watch(), stop.subscribe());
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || handle.block_on(runner.run()))?;
        Ok(Link { stop, thread })
    }

    /// Says farewell to the broker and ends the thread. Blocks for at most a second or two.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the link had panicked");
        }
    }
}
