//! The loop around the driver: connect, feed, do what it says, and begin again after every loss.
//!
//! It blocks where the store does; it has a thread of its own for that.

use std::time::Duration;

use tokio::sync::watch;
use waystation_protocol::chain::Seq;
use waystation_protocol::id::{IdSource, SessionId};
use waystation_protocol::message::{Death, Message};
use waystation_protocol::sync::Backoff;
use waystation_protocol::time::{ClockQuality, Tick, Timestamp};
use waystation_protocol::{batch, frame};

use super::LinkOptions;
use super::connection::{Connection, Happened};
use super::driver::{Driver, Heard, Journal, Order};
use super::status::LinkStatus;
use crate::store::{Identity, Store, StoreError};

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
    pub(super) options: LinkOptions,
    pub(super) identity: Identity,
    pub(super) status: LinkStatus,
    plugged: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    head: watch::Receiver<Seq>,
    pub(super) driver: Driver,
    backoff: Backoff,
    sessions: IdSource,
    chance: u64,
    pub(super) builder: batch::Builder,
}

impl Runner {
    pub(super) fn new(
        options: LinkOptions,
        status: LinkStatus,
        plugged: watch::Receiver<bool>,
        stop: watch::Receiver<bool>,
    ) -> Runner {
        let identity = options.store.identity();
        let mut session_seed = [0; 10];
        session_seed.copy_from_slice(&options.random[..10]);
        let mut chance = [0; 8];
        chance.copy_from_slice(&options.random[10..18]);
        let store = &options.store;
        let driver = Driver::new(identity.stream, store.head().seq, store.stored(), store.hub_key());
        Runner {
            head: store.watch_head(),
            driver,
            backoff: Backoff::new(BACKOFF_BASE_MS, options.reconnect_max_ms),
            sessions: IdSource::new(session_seed),
            chance: u64::from_le_bytes(chance),
            builder: batch::Builder::new(),
            identity,
            options,
            status,
            plugged,
            stop,
        }
    }

    pub(super) async fn run(mut self) {
        while self.wait_for_the_plug().await {
            let random = self.random();
            let pause_ms = self.backoff.next_ms(random);
            if !self.pause(pause_ms).await {
                self.backoff.reset();
                continue;
            }
            let began = self.now();
            let ended = self.session().await;
            let was_open = self.status.snapshot().is_open;
            self.driver.handle_disconnected();
            self.report_end(&ended);
            match ended {
                Ended::Stopped => return,
                Ended::Unplugged => self.backoff.reset(),
                Ended::Wedged | Ended::Lost(_) => {
                    if was_open && self.now().since(began) >= PROVEN_MS {
                        self.backoff.reset();
                    }
                }
            }
        }
    }

    /// One connection, from its first byte to its last.
    async fn session(&mut self) -> Ended {
        let session = SessionId::from_bytes(self.sessions.draw());
        let death = frame::seal(Death::FRAME, &Death { session }.to_body(), &self.identity.key);
        let mut connection = Connection::open(&self.options.broker, self.identity.agent, death);
        let ready_by = self.now().plus(READY_MS);
        loop {
            while let Some(happened) = connection.try_next() {
                if let Some(ended) = self.handle(happened, session) {
                    return ended;
                }
            }
            let is_called_off = *self.stop.borrow() || !*self.plugged.borrow();
            let order = if is_called_off { None } else { self.driver.poll_order(self.now()) };
            let ended = match order {
                Some(order) => self.obey(order, &connection),
                None => self.rest(&mut connection, session, ready_by).await,
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
        let is_ready = self.driver.session().is_some();
        if !is_ready && self.now() >= ready_by {
            return Some(Ended::Lost("the broker does not answer".to_owned()));
        }
        let due = if is_ready { self.driver.poll_timer() } else { Some(ready_by) };
        let rest = due.map(|due| due.since(self.now()));
        tokio::select! {
            happened = connection.next() => self.handle(happened, session),
            changed = self.head.changed() => {
                if changed.is_err() {
                    return Some(Ended::Stopped);
                }
                self.driver.handle_head(*self.head.borrow_and_update());
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
                self.driver.handle_head(self.options.store.head().seq);
                self.driver.handle_connected(session, now);
                self.status.update(|state| {
                    state.is_connected = true;
                    state.last_error = None;
                    state.counts.connections += 1;
                });
                None
            }
            Happened::Frame(bytes) => {
                self.hear(&bytes);
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

    fn hear(&mut self, bytes: &[u8]) {
        let store = self.options.store.clone();
        let hash_at = |seq| store.hash_at(seq);
        let journal = Journal { pruned: store.pruned(), hash_at: &hash_at };
        let (wall, now) = (self.options.clock.now(), self.now());
        let before = self.driver.trouble();
        let heard = self.driver.handle_frame(bytes, &journal, wall, now);
        let trouble = self.driver.trouble();
        if let (Some(trouble), true) = (trouble, before != trouble) {
            tracing::error!(stream = %self.identity.stream, "{}", trouble.en());
        }
        self.heed(heard, &store, wall);
        let (is_open, offset) = (self.driver.is_open(), self.driver.clock_offset_ms());
        self.status.update(|state| {
            state.is_open = is_open && trouble.is_none();
            state.trouble = trouble;
            state.clock_offset_ms = offset;
        });
    }

    /// Keeps and counts what was heard.
    fn heed(&self, heard: Heard, store: &Store, wall: Timestamp) {
        match heard {
            Heard::Welcomed { stored, processed, prunable, pin, letter, is_rolled_back } => {
                if is_rolled_back {
                    tracing::warn!(?stored, "the hub holds less than it once confirmed; sending again");
                }
                self.keep(store, pin, letter);
                if let Some(mark) = stored {
                    note(store.record_stored(mark, processed, prunable));
                    tracing::info!(stored = mark.seq.0, head = store.head().seq.0, "the hub welcomed this session");
                }
                self.status.update(|state| state.counts.sessions += 1);
            }
            Heard::Acked { stored, processed, prunable } => {
                note(store.record_stored(stored, processed, prunable));
                self.status.update(|state| {
                    state.last_ack_at = Some(wall);
                    state.counts.acks += 1;
                });
            }
            Heard::Doubt => tracing::warn!("an acknowledgement contradicts this journal; greeting the hub again"),
            Heard::Stale => tracing::debug!("a frame of an earlier session"),
            Heard::Dropped(reason) => {
                tracing::warn!(reason, "a frame was dropped");
                self.status.update(|state| state.counts.frames_dropped += 1);
            }
        }
    }

    /// Keeps what a WELCOME brought for good.
    fn keep(&self, store: &Store, pin: Option<[u8; 32]>, letter: Option<char>) {
        store.set_clock_quality(ClockQuality::Compared);
        if let Some(key) = pin {
            tracing::info!("the hub's key is trusted from now on");
            note(store.pin_hub_key(key));
        }
        if let Some(letter) = letter.filter(char::is_ascii_uppercase) {
            note(store.adopt_letter(letter));
        }
    }

    fn obey(&mut self, order: Order, connection: &Connection) -> Option<Ended> {
        match order {
            Order::Rebuild => return Some(Ended::Wedged),
            Order::Hello => self.greet(connection),
            Order::Heartbeat => {
                self.beat(connection);
                if self.driver.trouble().is_some() {
                    self.greet(connection);
                }
            }
            Order::Batch(range) => match self.batch(range) {
                Ok((range, frame)) => self.send(range, frame, connection),
                Err(error) => {
                    tracing::error!(%error, stream = %self.identity.stream, "the journal could not be read for sending");
                    return Some(Ended::Lost(format!("the journal could not be read: {error}")));
                }
            },
        }
        None
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

    pub(super) fn now(&self) -> Tick {
        self.options.clock.tick()
    }

    /// SplitMix64: enough chance for pauses.
    pub(super) fn random(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn note(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the store could not keep what the hub said");
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
