//! A device with its link: the agent's end of the protocol, its connection and its clocks.

use waystation_agent::link::{Engine, Now};
use waystation_protocol::id::{AgentId, SessionId, StreamId};
use waystation_protocol::time::{Tick, Timestamp};

use crate::desk::{Confirmed, Desk};
use crate::device::Device;
use crate::disk::Image;
use crate::violation::{Violation, broken};

/// Wall time at the beginning: 2026-11-23T02:40:00Z.
pub(crate) const START_MS: i64 = 1_795_401_600_000;

/// A device with its link.
pub(crate) struct Station {
    /// The device.
    pub(crate) device: Device,
    /// Its end of the protocol, while the agent runs.
    pub(crate) engine: Option<Engine>,
    /// Its connection.
    pub(crate) session: Option<SessionId>,
    /// When it connects or starts again, in virtual milliseconds.
    pub(crate) back_at: u64,
    /// Until when frames to it vanish.
    pub(crate) deaf_until: u64,
    /// Until when its own do.
    pub(crate) mute_until: u64,
    /// How far its clock is off.
    pub(crate) clock_ms: i64,
    /// When its agent started.
    pub(crate) booted_at: u64,
    /// The stream it last spoke for from this disk.
    pub(crate) spoke_for: Option<StreamId>,
    /// Copies of its disk, with what its clerk knew then.
    pub(crate) copies: Vec<(Image, Desk, Vec<Confirmed>)>,
}

impl Station {
    /// A device that starts at `back_at`.
    pub(crate) fn new(device: Device, back_at: u64) -> Station {
        Station {
            device,
            engine: None,
            session: None,
            back_at,
            deaf_until: 0,
            mute_until: 0,
            clock_ms: 0,
            booted_at: 0,
            spoke_for: None,
            copies: Vec::new(),
        }
    }

    /// Its agent's id, while the agent runs.
    pub(crate) fn agent(&self) -> Option<AgentId> {
        self.engine.as_ref().map(|engine| engine.identity().agent)
    }

    /// I3: the stream it spoke for is the one on its disk.
    pub(crate) fn judge_stream(&self) -> Result<(), Violation> {
        let Some(store) = &self.device.store else { return Ok(()) };
        match self.spoke_for.filter(|spoke_for| *spoke_for != store.identity().stream) {
            Some(stream) => Err(broken("I3", format!("an agent spoke for stream {stream}, which is not on its disk"))),
            None => Ok(()),
        }
    }

    /// Its clocks.
    pub(crate) fn now(&self, now: u64) -> Now {
        let wall = START_MS + i64::try_from(now).expect("a schedule is short") + self.clock_ms;
        Now { wall: Timestamp(wall), tick: Tick(now - self.booted_at) }
    }
}
