//! What the link tells the rest of the agent about itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use waystation_protocol::time::Timestamp;

use super::trouble::Trouble;

/// The link as it stands.
#[derive(Debug, Clone, Default)]
pub struct LinkState {
    /// Whether a broker is configured at all.
    pub is_configured: bool,
    /// Whether the network switch is plugged in.
    pub is_plugged: bool,
    /// Whether an MQTT connection stands.
    pub is_connected: bool,
    /// Whether the hub welcomed this session.
    pub is_open: bool,
    /// When the hub last acknowledged something.
    pub last_ack_at: Option<Timestamp>,
    /// This clock minus the hub's, in milliseconds, as last compared.
    pub clock_offset_ms: Option<i64>,
    /// Why nothing is sent although the hub answers.
    pub trouble: Option<Trouble>,
    /// Why the connection last ended or failed; none while one stands.
    pub last_error: Option<String>,
    /// Counters since the agent started.
    pub counts: Counts,
}

/// Counters since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that stood.
    pub connections: u64,
    /// Attempts that failed and connections that broke.
    pub losses: u64,
    /// Clients rebuilt because nothing was acknowledged.
    pub rebuilds: u64,
    /// Sessions the hub welcomed.
    pub sessions: u64,
    /// Acknowledgements of the current session.
    pub acks: u64,
    /// Batches sent, resent ones included.
    pub batches: u64,
    /// Bytes of frames sent.
    pub bytes_sent: u64,
    /// Frames that were damaged, wrongly signed or out of place.
    pub frames_dropped: u64,
    /// New streams begun, because this disk or its copy had gone another way.
    pub forks: u64,
    /// Entries of the downward journal taken in.
    pub heard: u64,
    /// Publishes the broker refused.
    pub refusals: u64,
}

/// Shared access to the link's state. Clones share it.
#[derive(Debug, Clone)]
pub struct LinkStatus(Arc<watch::Sender<LinkState>>);

impl LinkStatus {
    /// The state of a link that has not begun.
    pub fn new(is_configured: bool) -> LinkStatus {
        let state = LinkState { is_configured, is_plugged: true, ..LinkState::default() };
        LinkStatus(Arc::new(watch::Sender::new(state)))
    }

    /// The state now.
    pub fn snapshot(&self) -> LinkState {
        self.0.borrow().clone()
    }

    /// Waits until `is_met`, at most for `patience`; gives the last state seen either way.
    pub async fn wait_for(
        &self,
        patience: Duration,
        is_met: impl FnMut(&LinkState) -> bool,
    ) -> Result<LinkState, LinkState> {
        let mut changes = self.0.subscribe();
        if let Ok(Ok(state)) = tokio::time::timeout(patience, changes.wait_for(is_met)).await {
            return Ok(state.clone());
        }
        Err(self.snapshot())
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut LinkState)) {
        self.0.send_modify(change);
    }
}
