//! The agent's end of the protocol: store and driver together, without a network and without a clock.
//!
//! It is told of connections and frames and asked for the next frame; every reading of time is handed in. What a
//! meeting decides is on the disk before anything is sent that relies on it.

use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::id::{SessionId, StreamId};
use waystation_protocol::kind::KINDS;
use waystation_protocol::message::{Batch, Bytes, Death, Heartbeat, Hello, Message, Parent};
use waystation_protocol::number::Tag;
use waystation_protocol::time::{Tick, Timestamp};
use waystation_protocol::{PROTOCOL_VERSION, batch, frame, limits};

use super::BUILD;
use super::chance::Chance;
use super::down::Down;
use super::downward::DOWN_CREDIT_BYTES;
use super::driver::{Driver, Journal, Order};
use super::heard::{Heard, Met, Welcomed};
use super::status::LinkStatus;
use super::trouble::Trouble;
use crate::store::{At, Filled, Identity, Store, StoreError};

/// Both readings of the clock at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Wall time.
    pub wall: Timestamp,
    /// Monotonic time.
    pub tick: Tick,
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish this frame; if it is lost, it is sent again.
    Publish(Vec<u8>),
    /// Drop the client and build a new one.
    Rebuild,
}

/// The agent's end.
pub struct Engine {
    pub(super) store: Store,
    pub(super) identity: Identity,
    pub(super) status: LinkStatus,
    pub(super) driver: Driver,
    pub(super) down: Down,
    builder: batch::Builder,
    chance: Chance,
    /// A meeting that needs a person is tried again after each heartbeat; and a command may ask for one.
    pub(super) must_greet: bool,
    /// Whether a letter was asked for in this connection.
    has_asked: bool,
    /// Whether a challenge is answered at once: one per heartbeat, so that two that answer do not chase each other.
    may_answer: bool,
    /// A WELCOME was heard in this process.
    has_met: bool,
    /// Steps of the clock that are known here.
    clock_steps: u64,
    /// What the hub lets this session delete, once the session has been told all.
    prunable: Seq,
    /// Whether the hub keeps a downward journal.
    has_down: bool,
    /// Whether a command could not be carried out: it is tried again with the next heartbeat.
    pub(super) has_undone: bool,
}

impl Engine {
    /// For the journal in `store`. `seed` is any random bits: heartbeats vary by them.
    pub fn new(store: Store, status: LinkStatus, seed: u64) -> Engine {
        let identity = store.identity();
        let driver = Driver::new(identity.stream, store.head().seq, store.stored(), store.hub_key());
        let down = Down::new(store.down().as_ref());
        Engine {
            store,
            identity,
            status,
            driver,
            down,
            builder: batch::Builder::new(),
            chance: Chance::new(seed),
            must_greet: false,
            has_asked: false,
            may_answer: true,
            has_met: false,
            clock_steps: 0,
            prunable: Seq(0),
            has_down: true,
            has_undone: false,
        }
    }

    /// The last will of a connection for `session`.
    pub fn death(&self, session: SessionId) -> Vec<u8> {
        frame::seal(Death::FRAME, &Death { session }.to_body(), &self.identity.key)
    }

    /// Who speaks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether a connection stands.
    pub fn is_connected(&self) -> bool {
        self.driver.session().is_some()
    }

    /// A connection stands; `session` is new.
    pub fn handle_connected(&mut self, session: SessionId, now: Now) {
        self.must_greet = false;
        self.has_asked = false;
        self.may_answer = true;
        (self.prunable, self.has_down) = (Seq(0), true);
        self.driver.handle_head(self.store.head().seq);
        self.driver.handle_connected(session, now.tick);
        self.down.handle_session(Some(session));
    }

    /// The connection is gone, with all that was under way.
    pub fn handle_disconnected(&mut self) {
        self.driver.handle_disconnected();
        self.down.handle_session(None);
    }

    /// The journal grew.
    pub fn handle_head(&mut self, head: Seq) {
        self.driver.handle_head(head);
    }

    /// A frame arrived on the down topic.
    pub fn handle_frame(&mut self, bytes: &[u8], now: Now) {
        self.observe_clock(now);
        let store = self.store.clone();
        let hash_at = |seq| store.hash_at(seq);
        let line = store.line();
        let journal = Journal { pruned: store.pruned(), line: &line, must_fork: store.must_fork(), hash_at: &hash_at };
        let before = self.driver.trouble();
        let heard = self.driver.handle_frame(bytes, &journal, now.wall, now.tick);
        self.heed(heard, bytes, now);
        let trouble = self.driver.trouble();
        if let (Some(trouble), true) = (trouble, before != trouble) {
            tracing::error!(stream = %self.identity.stream, "{}", trouble.en());
        }
        let (is_open, offset) = (self.driver.is_open(), self.driver.clock_offset_ms());
        self.status.update(|state| {
            state.is_open = is_open && trouble.is_none();
            state.trouble = trouble;
            state.clock_offset_ms = offset;
        });
    }

    /// What to do now, if anything. Call again until it says none.
    ///
    /// # Errors
    ///
    /// The journal cannot be read; the connection is to be given up and tried again.
    pub fn poll(&mut self, now: Now) -> Result<Option<Action>, StoreError> {
        self.observe_clock(now);
        if self.must_greet && now.tick >= self.driver.hold_until() {
            self.must_greet = false;
            return Ok(self.greet(now).map(Action::Publish));
        }
        if let Some(frame) = self.poll_down(now)? {
            return Ok(Some(Action::Publish(frame)));
        }
        self.driver.handle_pruned(self.store.pruned());
        Ok(match self.driver.poll_order(now.tick) {
            None => None,
            Some(Order::Rebuild) => Some(Action::Rebuild),
            Some(Order::Hello) => self.greet(now).map(Action::Publish),
            Some(Order::Heartbeat) => {
                if std::mem::take(&mut self.has_undone) {
                    self.obey(now);
                }
                let must_answer = self.driver.is_challenged() && self.may_answer;
                // a clock that is not compared yet is compared by the next HELLO: the last one, or its answer, was lost
                let is_uncompared = self.driver.clock_offset_ms().is_none();
                self.must_greet |= self.driver.trouble().is_some() || must_answer || is_uncompared;
                self.may_answer = !must_answer;
                self.beat(now).map(Action::Publish)
            }
            Some(Order::Register(first)) => Some(Action::Publish(self.register(first, now)?)),
            Some(Order::Batch(range)) => Some(Action::Publish(self.batch(range, now)?)),
        })
    }

    /// When to ask again at the latest, absent other events.
    pub fn poll_timer(&self) -> Option<Tick> {
        let greeting = self.must_greet.then(|| self.driver.hold_until());
        [self.driver.poll_timer(), self.down.poll_timer(), greeting].into_iter().flatten().min()
    }

    /// A step of the clock makes what was compared worthless: it is journalled, and compared again by a new HELLO.
    fn observe_clock(&mut self, now: Now) {
        if let Err(error) = self.store.observe_clock(At { now: now.wall, mono_ms: now.tick.0 }) {
            tracing::debug!(%error, "a step of the clock is not journalled yet");
        }
        let steps = self.store.clock_steps();
        if std::mem::replace(&mut self.clock_steps, steps) != steps {
            self.driver.handle_clock_step();
            self.status.update(|state| state.clock_offset_ms = None);
            self.must_greet = self.is_connected();
        }
    }

    /// Keeps and counts what was heard in `frame`.
    fn heed(&mut self, heard: Heard, frame: &[u8], now: Now) {
        match heard {
            Heard::Welcomed(welcomed) => {
                match self.meet(&welcomed, now) {
                    Ok(()) => {
                        self.store.keep_proof(frame);
                        self.meet_down(&welcomed, now);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the store could not keep what the meeting decided; it will be tried again");
                        self.driver.handle_trouble(Trouble::Store);
                    }
                }
                self.must_greet |= self.driver.is_challenged() && std::mem::take(&mut self.may_answer);
                self.status.update(|state| state.counts.sessions += 1);
            }
            Heard::Batch(batch) => self.heed_batch(&batch, now),
            Heard::Returned(ack) => self.heed_returned(&ack, now),
            Heard::Acked { stored, processed, prunable, down_prunable } => {
                self.prunable = prunable;
                if stored == self.driver.stored() {
                    self.store.keep_proof(frame);
                }
                note(self.record_stored(stored, processed));
                self.store.record_down_prunable(down_prunable);
                self.status.update(|state| {
                    state.last_ack_at = Some(now.wall);
                    state.counts.acks += 1;
                });
                self.ask_for_letter();
            }
            Heard::Busy => tracing::debug!("the hub asks for a pause before the next HELLO"),
            Heard::Doubt => tracing::warn!("an acknowledgement contradicts this journal; greeting the hub again"),
            Heard::Stale => tracing::debug!("a frame of an earlier session"),
            Heard::Dropped(reason) => {
                tracing::warn!(reason, "a frame was dropped");
                self.status.update(|state| state.counts.frames_dropped += 1);
            }
        }
    }

    /// Does what a WELCOME leads to. The new stream of a fork is on the disk before it is used.
    fn meet(&mut self, welcomed: &Welcomed, now: Now) -> Result<(), StoreError> {
        self.store.handle_compared(welcomed.hub_time, self.driver.clock_offset_ms());
        if let Some(key) = welcomed.pin {
            tracing::info!("the hub's key is trusted from now on");
            self.store.pin_hub_key(key)?;
        }
        if let Some(letter) = welcomed.letter.filter(char::is_ascii_uppercase) {
            self.store.adopt_letter(letter)?;
        }
        let Some(met) = welcomed.met else { return Ok(()) };
        let parent = self.fork_if_told(&met, welcomed.has_down)?;
        let common = met.common;
        // a crash may have taken what the process before this one noted as it sent these
        if !std::mem::replace(&mut self.has_met, true) {
            welcomed.shared.iter().for_each(|seq| self.store.keep_hash_at(*seq));
        }
        (self.prunable, self.has_down) = (welcomed.prunable.min(common.seq), welcomed.has_down);
        self.record_stored(common, welcomed.processed.min(common.seq))?;
        // A letter belongs to the stream of the HELLO: it is this one's where no fork was due.
        if parent.is_none() && !met.must_fork && welcomed.letter.is_some() {
            self.store.handle_met()?;
        }
        tracing::info!(stored = common.seq.0, head = self.store.head().seq.0, "the hub welcomed this session");
        self.driver.handle_met(&met, self.identity.stream, parent, welcomed.credit, now.tick);
        Ok(())
    }

    /// Notes the hub's marks. Nothing is let go before the downward journal is here as far as the hub welcomed the session
    /// with: it may tell what became of an entry, which then must be here still.
    fn record_stored(&self, stored: Mark, processed: Seq) -> Result<(), StoreError> {
        let before = self.store.processed_and_prunable().1;
        let is_told = !self.has_down || self.down.is_whole();
        let prunable = if is_told { self.prunable } else { self.prunable.min(before) };
        self.store.record_stored(stored, processed, prunable)
    }

    /// The downward journal grew, or was met: what the hub lets go may go now.
    pub(super) fn let_go(&self) {
        note(self.record_stored(self.store.stored(), self.store.processed_and_prunable().0));
    }

    /// A new stream is known at the hub now: the next WELCOME grants it a letter. Asked once per connection, since none may
    /// be left.
    fn ask_for_letter(&mut self) {
        let is_due = matches!(self.store.tag(), Tag::Provisional(_)) && !self.store.must_fork();
        self.must_greet |= is_due && !std::mem::replace(&mut self.has_asked, is_due);
    }

    /// Begins a new stream where the meeting wants one, and gives the parent to name until it is known at the hub.
    /// Where the hub keeps a downward journal, older documents wait for its copy.
    fn fork_if_told(&mut self, met: &Met, has_down: bool) -> Result<Option<Parent>, StoreError> {
        let common = met.common;
        if met.is_rolled_back {
            tracing::warn!(common = common.seq.0, "the hub holds less than it once confirmed; sending again");
        }
        if let Some(lost) = met.lost() {
            tracing::error!(first = lost.first.0, last = lost.last.0, "entries are deleted here and absent at the hub");
        }
        let is_own = met.spoken_of == self.identity.stream;
        if met.must_fork && (is_own || self.store.must_fork()) {
            if has_down {
                self.store.fork_and_wait(common)?;
            } else {
                self.store.fork(common)?;
            }
            self.identity = self.store.identity();
            tracing::warn!(from = %met.spoken_of, to = %self.identity.stream, common = common.seq.0, "going on in a new stream");
            self.status.update(|state| state.counts.forks += 1);
        }
        // also where nothing is in common: the hub tells a fork what it left, and that this was all
        Ok((met.must_fork || !is_own).then_some(Parent { stream: met.spoken_of, at: common }))
    }

    fn greet(&mut self, now: Now) -> Option<Vec<u8>> {
        let session = self.driver.session()?;
        let hello = Hello {
            agent: self.identity.agent,
            public_key: self.identity.key.verifying_key().to_bytes().to_vec().into(),
            session,
            sites: self.identity.sites.clone(),
            stream: self.identity.stream,
            line: self.store.line(),
            head: self.store.head(),
            stored: self.driver.stored(),
            proof: self.store.proof().map(Bytes),
            pruned: self.store.pruned(),
            down: self.store.down(),
            last_session: self.driver.last_session(),
            challenge_answer: self.driver.challenge(),
            credit: DOWN_CREDIT_BYTES,
            forms: KINDS.iter().map(|kind| (kind.name.to_owned(), kind.form)).collect(),
            protocols: (PROTOCOL_VERSION, PROTOCOL_VERSION),
            capabilities: Vec::new(),
            build: BUILD.to_owned(),
            t1: now.wall,
        };
        self.driver.handle_hello_sent(now.wall, now.tick);
        Some(self.seal(&hello))
    }

    fn beat(&mut self, now: Now) -> Option<Vec<u8>> {
        let session = self.driver.session()?;
        let backlog = self.store.backlog();
        let heartbeat = Heartbeat {
            session,
            stream: self.identity.stream,
            head: self.store.head(),
            stored: self.driver.stored().seq,
            down: self.store.down(),
            oldest_unsent_ms: backlog.oldest_at.map_or(0, |oldest| age_ms(oldest, now.wall)),
            backlog_entries: backlog.entries,
            backlog_bytes: backlog.bytes,
            disk_free: self.store.disk_free().unwrap_or_else(|error| {
                tracing::warn!(%error, "the free disk space is not known");
                0
            }),
            clock_offset_ms: self.driver.clock_offset_ms(),
            build: BUILD.to_owned(),
        };
        self.driver.handle_heartbeat_sent(now.tick, self.chance.next());
        Some(self.seal(&heartbeat))
    }

    pub(super) fn seal<M: Message>(&self, message: &M) -> Vec<u8> {
        let frame = frame::seal(M::FRAME, &message.to_body(), &self.identity.key);
        self.status.update(|state| state.counts.bytes_sent += frame.len() as u64);
        frame
    }

    /// A sealed batch that begins `range`.
    fn batch(&mut self, range: SeqRange, now: Now) -> Result<Vec<u8>, StoreError> {
        let (stream, parent) = (self.identity.stream, self.driver.parent());
        let base = self.driver.base_before(range.first);
        let store = self.store.clone();
        let fill = |range, builder: &mut batch::Builder| store.fill_batch(range, builder);
        let (frame, sent) = self.seal_batch(stream, parent, base, range, &fill)?;
        self.driver.handle_sent(sent, frame.len() as u64, now.tick);
        self.store.keep_hash_at(sent.last);
        Ok(frame)
    }

    /// A sealed batch and the seqs in it: as many entries as fit, once compressed, into one frame.
    pub(super) fn seal_batch(
        &mut self,
        stream: StreamId,
        parent: Option<Parent>,
        base: Option<Mark>,
        mut range: SeqRange,
        fill: &dyn Fn(SeqRange, &mut batch::Builder) -> Result<Filled, StoreError>,
    ) -> Result<(Vec<u8>, SeqRange), StoreError> {
        loop {
            let filled = match fill(range, &mut self.builder) {
                Ok(filled) => filled,
                Err(error) => {
                    self.builder = batch::Builder::new();
                    return Err(error);
                }
            };
            let count = self.builder.count();
            let payload = self.builder.finish();
            if payload.len() > limits::BATCH_WIRE_BYTES && count > 1 {
                range.last = range.first.plus(u64::from(count / 2) - 1);
                continue;
            }
            let sent = SeqRange { first: range.first, last: filled.last.max(range.first) };
            let (first_seq, prev_hash, payload) = (range.first, filled.prev_hash, payload.into());
            let frame = self.seal(&Batch { stream, parent, first_seq, count, prev_hash, base, payload });
            tracing::debug!(%stream, first = sent.first.0, last = sent.last.0, bytes = frame.len(), "sending a batch");
            self.status.update(|state| state.counts.batches += 1);
            return Ok((frame, sent));
        }
    }

    /// A batch of no entries, which makes a new stream or a lost range known.
    fn register(&mut self, first: Seq, now: Now) -> Result<Vec<u8>, StoreError> {
        let (stream, parent) = (self.identity.stream, self.driver.parent());
        let prev_hash = self.store.hash_at(Seq(first.0 - 1));
        let frame = self.seal_registration(stream, parent, self.driver.base_before(first), first, prev_hash)?;
        self.driver.handle_registration_sent(first, frame.len() as u64, now.tick);
        Ok(frame)
    }

    /// A sealed batch of no entries that would begin at `first`.
    pub(super) fn seal_registration(
        &mut self,
        stream: StreamId,
        parent: Option<Parent>,
        base: Option<Mark>,
        first: Seq,
        prev_hash: Option<Hash>,
    ) -> Result<Vec<u8>, StoreError> {
        let absent = || StoreError::Damaged(format!("the hash of the entry before {first} is not known"));
        let (prev_hash, payload) = (prev_hash.ok_or_else(absent)?, self.builder.finish().into());
        Ok(self.seal(&Batch { stream, parent, first_seq: first, count: 0, prev_hash, base, payload }))
    }
}

fn note(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the store could not keep what the hub said");
    }
}

/// Milliseconds from `earlier` to `later`; 0 if a clock went back.
fn age_ms(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0)
}
