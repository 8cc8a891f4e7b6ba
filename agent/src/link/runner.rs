//! The loop around the engine: connect, feed, publish what it says, and begin again after every loss.
//!
//! It blocks where the store does; it has a thread of its own for that.

use std::time::Duration;

use tokio::sync::watch;
use waystation_protocol::chain::Seq;
use waystation_protocol::id::{IdSource, SessionId};
use waystation_protocol::sync::Backoff;
use waystation_protocol::time::Tick;

use super::LinkOptions;
use super::chance::Chance;
use super::connection::{Connection, Happened};
use super::engine::{Action, Engine, Now};
use super::status::LinkStatus;

/// The first pause after a second failure; it doubles from there.
const BACKOFF_BASE_MS: u64 = 500;
/// A session that lasted this long makes the next attempt immediate again.
const PROVEN_MS: u64 = 2_000;
/// A broker that has not taken the subscription by then will not: longer than a client takes to give up connecting.
const READY_MS: u64 = 30_000;

/// Why a session ended.
enum Ended {
    Stopped,
    Unplugged,
    Wedged,
    Lost(String),
}

pub(super) struct Runner {
    options: LinkOptions,
    engine: Engine,
    status: LinkStatus,
    plugged: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    head: watch::Receiver<Seq>,
    backoff: Backoff,
    sessions: IdSource,
    chance: Chance,
}

impl Runner {
    pub(super) fn new(
        options: LinkOptions,
        status: LinkStatus,
        plugged: watch::Receiver<bool>,
        stop: watch::Receiver<bool>,
    ) -> Runner {
        let mut session_seed = [0; 10];
        session_seed.copy_from_slice(&options.random[..10]);
        let seed = |at: usize| options.random[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        Runner {
            head: options.store.watch_head(),
            engine: Engine::new(options.store.clone(), status.clone(), seed(10)),
            backoff: Backoff::new(BACKOFF_BASE_MS, options.reconnect_max_ms),
            sessions: IdSource::new(session_seed),
            chance: Chance::new(seed(18)),
            options,
            status,
            plugged,
            stop,
        }
    }

    pub(super) async fn run(mut self) {
        while self.wait_for_the_plug().await {
            let pause_ms = self.backoff.next_ms(self.chance.next());
            if !self.pause(pause_ms).await {
                self.backoff.reset();
                continue;
            }
            let began = self.tick();
            let ended = self.session().await;
            let was_open = self.status.snapshot().is_open;
            self.engine.handle_disconnected();
            self.report_end(&ended);
            match ended {
                Ended::Stopped => return,
                Ended::Unplugged => self.backoff.reset(),
                Ended::Wedged | Ended::Lost(_) => {
                    if was_open && self.tick().since(began) >= PROVEN_MS {
                        self.backoff.reset();
                    }
                }
            }
        }
    }

    /// One connection, from its first byte to its last.
    async fn session(&mut self) -> Ended {
        let session = SessionId::from_bytes(self.sessions.draw());
        let agent = self.engine.identity().agent;
        let mut connection = Connection::open(&self.options.broker, agent, self.engine.death(session));
        let ready_by = self.tick().plus(READY_MS);
        loop {
            while let Some(happened) = connection.try_next() {
                if let Some(ended) = self.handle(happened, session) {
                    return ended;
                }
            }
            let is_called_off = *self.stop.borrow() || !*self.plugged.borrow();
            let action = if is_called_off { Ok(None) } else { self.engine.poll(self.now()) };
            let ended = match action {
                Ok(Some(action)) => self.act(action, &connection),
                Ok(None) => self.rest(&mut connection, session, ready_by).await,
                Err(error) => {
                    tracing::error!(%error, "the journal could not be read for sending");
                    Some(Ended::Lost(format!("the journal could not be read: {error}")))
                }
            };
            match ended {
                Some(Ended::Stopped) => {
                    connection.close().await;
                    return Ended::Stopped;
                }
                Some(ended) => return ended,
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Waits for the next thing to do.
    async fn rest(&mut self, connection: &mut Connection, session: SessionId, ready_by: Tick) -> Option<Ended> {
        let is_ready = self.engine.is_connected();
        if !is_ready && self.tick() >= ready_by {
            return Some(Ended::Lost("the broker does not answer".to_owned()));
        }
        let due = if is_ready { self.engine.poll_timer() } else { Some(ready_by) };
        let rest = due.map(|due| due.since(self.tick()));
        tokio::select! {
            happened = connection.next() => self.handle(happened, session),
            changed = self.head.changed() => {
                if changed.is_err() {
                    return Some(Ended::Stopped);
                }
                self.engine.handle_head(*self.head.borrow_and_update());
                None
            }
            () = rest_for(rest) => None,
            _ = becomes(&mut self.plugged, false) => Some(Ended::Unplugged),
            _ = becomes(&mut self.stop, true) => Some(Ended::Stopped),
        }
    }

    fn handle(&mut self, happened: Happened, session: SessionId) -> Option<Ended> {
        match happened {
            Happened::Ready => {
                tracing::info!(broker = ?self.options.broker, "connected to the broker");
                let now = self.now();
                self.engine.handle_connected(session, now);
                self.status.update(|state| {
                    state.is_connected = true;
                    state.last_error = None;
                    state.counts.connections += 1;
                });
                None
            }
            Happened::Frame(bytes) => {
                let now = self.now();
                self.engine.handle_frame(&bytes, now);
                None
            }
            Happened::Refused(reason) => {
                tracing::warn!(reason, "the broker refused a frame");
                self.status.update(|state| {
                    state.counts.refusals += 1;
                    state.last_error = Some(format!("the broker refused a frame: {reason}"));
                });
                None
            }
            Happened::Lost(reason) => Some(Ended::Lost(reason)),
        }
    }

    fn act(&mut self, action: Action, connection: &Connection) -> Option<Ended> {
        match action {
            Action::Rebuild => Some(Ended::Wedged),
            Action::Publish(frame) => {
                if !connection.publish(frame) {
                    tracing::warn!("the client's queue is full; the frame is lost and will be sent again");
                }
                None
            }
        }
    }

    /// Waits until the network is plugged in. False when the agent stops.
    async fn wait_for_the_plug(&mut self) -> bool {
        if *self.stop.borrow() {
            return false;
        }
        let is_plugged = *self.plugged.borrow();
        self.status.update(|state| state.is_plugged = is_plugged);
        tokio::select! {
            is_there = becomes(&mut self.plugged, true) => {
                self.status.update(|state| state.is_plugged = is_there);
                is_there
            }
            _ = becomes(&mut self.stop, true) => false,
        }
    }

    /// Waits. False if the plug was pulled or the agent stops meanwhile.
    async fn pause(&mut self, ms: u64) -> bool {
        if ms == 0 {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => true,
            _ = becomes(&mut self.plugged, false) => false,
            _ = becomes(&mut self.stop, true) => false,
        }
    }

    fn report_end(&self, ended: &Ended) {
        let error = match ended {
            Ended::Stopped => None,
            Ended::Unplugged => {
                tracing::info!("the network is unplugged");
                None
            }
            Ended::Wedged => {
                tracing::warn!("nothing is acknowledged; building a new client");
                Some("nothing was acknowledged".to_owned())
            }
            Ended::Lost(reason) => {
                // Once per cause: an outlet may be offline for days.
                if self.status.snapshot().last_error.as_ref() == Some(reason) {
                    tracing::debug!(reason, "still no connection to the broker");
                } else {
                    tracing::warn!(reason, "no connection to the broker");
                }
                Some(reason.clone())
            }
        };
        self.status.update(|state| {
            state.is_connected = false;
            state.is_open = false;
            state.counts.rebuilds += u64::from(matches!(ended, Ended::Wedged));
            state.counts.losses += u64::from(error.is_some());
            state.last_error = error;
        });
    }

    fn tick(&self) -> Tick {
        self.options.clock.tick()
    }

    fn now(&self) -> Now {
        let (wall, tick) = self.options.clock.both();
        Now { wall, tick }
    }
}

/// Waits until `switch` is `wanted`. False if nobody can change it any more.
async fn becomes(switch: &mut watch::Receiver<bool>, wanted: bool) -> bool {
    switch.wait_for(|is_on| *is_on == wanted).await.is_ok()
}

async fn rest_for(ms: Option<u64>) {
    match ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}
