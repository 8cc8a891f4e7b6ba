//! What the agent concludes from each frame and does next, without I/O: the sender, the meeting, the pinned key.
//!
//! Frames count only if the hub's key signed them and they answer this very session. The first WELCOME's key is
//! trusted and pinned. What a meeting decides is done by the engine, on disk, before the driver goes on. A meeting that
//! needs a person stops sending on this stream, and is tried again with each heartbeat.

use ed25519_dalek::VerifyingKey;
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::frame::{Frame, FrameError, FrameType};
use waystation_protocol::id::{SessionId, StreamId};
use waystation_protocol::message::{Ack, Batch, Bytes, Message, Parent, Welcome};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::sync::meeting::OwnJournal;
use waystation_protocol::sync::{AckOutcome, Command, Meeting, Resume, Sender, meet};
use waystation_protocol::time::{Tick, Timestamp};
use waystation_protocol::{PROTOCOL_VERSION, frame};

use super::heard::{Heard, Met, Welcomed};
use super::heartbeat::Timetable;
use super::trouble::Trouble;

/// What the engine is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Send a HELLO, then call [`Driver::handle_hello_sent`].
    Hello,
    /// Send one batch beginning here, then call [`Driver::handle_sent`].
    Batch(SeqRange),
    /// Send a batch of no entries beginning here, then call [`Driver::handle_registration_sent`].
    Register(Seq),
    /// Send a heartbeat, then call [`Driver::handle_heartbeat_sent`].
    Heartbeat,
    /// Drop the client and build a new one.
    Rebuild,
}

/// The journal as the driver needs it.
pub(super) struct Journal<'a> {
    /// Up to where it is deleted here.
    pub(super) pruned: Seq,
    /// The streams its stream came from.
    pub(super) line: &'a [Parent],
    /// Whether it goes on in a new stream whatever the hub holds.
    pub(super) must_fork: bool,
    /// The chain's hash at a seq.
    pub(super) hash_at: &'a dyn Fn(Seq) -> Option<Hash>,
}

/// The agent's end of the protocol.
#[derive(Debug)]
pub(super) struct Driver {
    stream: StreamId,
    sender: Sender,
    session: Option<SessionId>,
    last_session: Option<SessionId>,
    hub_key: Option<VerifyingKey>,
    hello_left_at: Option<Timestamp>,
    clock_offset_ms: Option<i64>,
    trouble: Option<Trouble>,
    heartbeats: Option<Timetable>,
    /// Where a new stream branched off, until the hub acknowledges it.
    parent: Option<Parent>,
    /// The common mark below a lost range, until the hub acknowledges what follows.
    base: Option<Mark>,
    /// To be answered in every HELLO until the hub admits this session.
    challenge: Option<Bytes>,
}

impl Driver {
    /// For the journal `stream` that goes to `head`, of which the hub holds `stored`.
    pub(super) fn new(stream: StreamId, head: Seq, stored: Mark, hub_key: Option<[u8; 32]>) -> Driver {
        Driver {
            stream,
            sender: Sender::new(head, stored),
            session: None,
            last_session: None,
            hub_key: hub_key.and_then(|key| VerifyingKey::from_bytes(&key).ok()),
            hello_left_at: None,
            clock_offset_ms: None,
            trouble: None,
            heartbeats: None,
            parent: None,
            base: None,
            challenge: None,
        }
    }

    /// The current session.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The last session the hub acknowledged anything in.
    pub(super) fn last_session(&self) -> Option<SessionId> {
        self.last_session
    }

    /// What the hub is known to hold.
    pub(super) fn stored(&self) -> Mark {
        self.sender.stored()
    }

    /// Whether the hub welcomed this session and entries flow.
    pub(super) fn is_open(&self) -> bool {
        self.sender.is_open()
    }

    /// Why nothing is sent although the hub answers.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// This clock minus the hub's, in milliseconds.
    pub(super) fn clock_offset_ms(&self) -> Option<i64> {
        self.clock_offset_ms
    }

    /// The wall time at which the last HELLO left, if no step followed.
    #[cfg(test)]
    pub(super) fn hello_left_at(&self) -> Option<Timestamp> {
        self.hello_left_at
    }

    /// A connection stands; `session` is new.
    pub(super) fn handle_connected(&mut self, session: SessionId, now: Tick) {
        self.session = Some(session);
        self.challenge = None;
        self.trouble = None;
        self.heartbeats = None;
        self.sender.handle_connected(session, now);
    }

    /// The connection is gone.
    pub(super) fn handle_disconnected(&mut self) {
        self.session = None;
        self.heartbeats = None;
        self.sender.handle_disconnected();
    }

    /// Entries up to `pruned` are deleted here.
    pub(super) fn handle_pruned(&mut self, pruned: Seq) {
        self.sender.handle_pruned(pruned);
    }

    /// The journal grew.
    pub(super) fn handle_head(&mut self, head: Seq) {
        self.sender.handle_head(head.max(self.sender.head()));
    }

    /// The HELLO left, at this wall time.
    pub(super) fn handle_hello_sent(&mut self, t1: Timestamp, now: Tick) {
        self.hello_left_at = Some(t1);
        self.sender.handle_hello_sent(now);
    }

    /// The clock made a step: what was compared before says nothing, nor does a HELLO that is under way.
    pub(super) fn handle_clock_step(&mut self) {
        (self.hello_left_at, self.clock_offset_ms) = (None, None);
    }

    /// What a WELCOME led to is on the disk: entries flow, in `stream`.
    pub(super) fn handle_met(&mut self, met: &Met, stream: StreamId, parent: Option<Parent>, credit: u64, now: Tick) {
        self.trouble = None;
        let must_register = stream != met.spoken_of || met.floor > Seq(0);
        self.base = met.lost().map(|_| met.common);
        (self.stream, self.parent) = (stream, parent);
        self.sender.handle_resume(Resume { stored: met.common, floor: met.floor, must_register, credit }, now);
    }

    /// Until when the hub wants to hear no HELLO.
    pub(super) fn hold_until(&self) -> Tick {
        self.sender.hold_until()
    }

    /// Nothing is sent until the next meeting.
    pub(super) fn handle_trouble(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
    }

    /// Where this stream branched off, while the hub may not know it.
    pub(super) fn parent(&self) -> Option<Parent> {
        self.parent.clone()
    }

    /// The common mark to name in a batch that begins at `first`: only the one after a lost range names it.
    pub(super) fn base_before(&self, first: Seq) -> Option<Mark> {
        self.base.filter(|_| first == self.sender.floor().next())
    }

    /// Whether the hub waits for an answer before it gives this session its downward journal.
    pub(super) fn is_challenged(&self) -> bool {
        self.challenge.is_some()
    }

    /// The answer to the last challenge, until a WELCOME comes without one.
    pub(super) fn challenge(&self) -> Option<Bytes> {
        self.challenge.clone()
    }

    /// A batch of no entries left, before `first`.
    pub(super) fn handle_registration_sent(&mut self, first: Seq, bytes: u64, now: Tick) {
        self.sender.handle_registration_sent(first, bytes, now);
    }

    /// A batch left: its seqs and its bytes on the wire.
    pub(super) fn handle_sent(&mut self, range: SeqRange, bytes: u64, now: Tick) {
        self.sender.handle_sent(range, bytes, now);
    }

    /// A heartbeat left. `random` is any random bits.
    pub(super) fn handle_heartbeat_sent(&mut self, now: Tick, random: u64) {
        let has_backlog = self.has_backlog();
        if let Some(heartbeats) = &mut self.heartbeats {
            heartbeats.sent(has_backlog, now, random);
        }
    }

    /// A frame arrived on the down topic, at wall time `t4`.
    pub(super) fn handle_frame(&mut self, bytes: &[u8], journal: &Journal<'_>, t4: Timestamp, now: Tick) -> Heard {
        let frame = match Frame::parse(bytes) {
            Ok(frame) => frame,
            Err(error) => return Heard::Dropped(error.to_string()),
        };
        let heard = match frame.kind {
            FrameType::Welcome => self.handle_welcome(&frame, journal, t4, now),
            FrameType::Ack => self.handle_ack(&frame, journal, now),
            FrameType::Batch => self.handle_batch(&frame),
            FrameType::Hello | FrameType::Heartbeat | FrameType::Death => {
                return Heard::Dropped(format!("a {:?} frame does not travel down", frame.kind));
            }
        };
        heard.unwrap_or_else(Heard::Dropped)
    }

    fn handle_welcome(
        &mut self,
        frame: &Frame<'_>,
        journal: &Journal<'_>,
        t4: Timestamp,
        now: Tick,
    ) -> Result<Heard, String> {
        let decode = |body: &[u8]| Welcome::from_body(body).map_err(|error| error.to_string());
        let key = match self.hub_key {
            Some(key) => key,
            None => claimed_key(&decode(frame.unverified_body())?)?,
        };
        let welcome = decode(verified(frame, &key)?)?;
        let is_ours =
            welcome.stream == self.stream || journal.line.iter().any(|parent| parent.stream == welcome.stream);
        let is_current = self.session == Some(welcome.session) || is_planted(Plant::StaleWelcome);
        if !is_current || !is_ours {
            return Ok(Heard::Stale);
        }
        let pin = self.hub_key.is_none().then(|| key.to_bytes());
        self.hub_key = Some(key);
        self.last_session = self.session;
        // an answer to an earlier HELLO, or one that took its time, says nothing of the clock
        let round_trip_ms = (t4.0 - welcome.t1.0).saturating_sub(welcome.t3.0 - welcome.t2.0);
        if self.hello_left_at == Some(welcome.t1)
            && (0..=waystation_protocol::limits::CLOCK_ROUND_TRIP_MS).contains(&round_trip_ms)
        {
            self.clock_offset_ms = Some(offset_ms(welcome.t1, welcome.t2, welcome.t3, t4));
        }
        self.challenge = welcome.challenge.clone();
        let met = if welcome.protocol == PROTOCOL_VERSION {
            self.conclude(&welcome, journal)
        } else {
            Err(Trouble::Protocol { offered: welcome.protocol })
        };
        if let Err(trouble) = met {
            self.trouble = Some(trouble);
        }
        if self.heartbeats.is_none() {
            self.heartbeats = Some(Timetable::begin(now));
        }
        let is_shared = |rung: &&Mark| (journal.hash_at)(rung.seq) == Some(rung.hash);
        Ok(Heard::Welcomed(Box::new(Welcomed {
            met: met.ok(),
            shared: welcome.ladder.iter().filter(is_shared).map(|rung| rung.seq).collect(),
            hub_time: welcome.t3,
            processed: welcome.processed,
            prunable: welcome.prunable,
            pin,
            letter: welcome.letter,
            credit: welcome.credit,
            has_down: welcome.down.is_some() || welcome.challenge.is_some(),
            down: welcome.down,
            down_prunable: welcome.down_prunable,
        })))
    }

    fn conclude(&self, welcome: &Welcome, journal: &Journal<'_>) -> Result<Met, Trouble> {
        let own = OwnJournal {
            head: self.sender.head(),
            stored: self.sender.stored().seq,
            pruned: journal.pruned,
            hash_at: journal.hash_at,
        };
        let met = |common, must_fork| Met {
            common,
            floor: Seq(0),
            must_fork: (must_fork || journal.must_fork || is_planted(Plant::EagerFork))
                && !is_planted(Plant::NeverFork),
            is_rolled_back: false,
            spoken_of: welcome.stream,
        };
        match meet(&welcome.ladder, &own) {
            Meeting::Resume(mark) => Ok(met(mark, false)),
            Meeting::HubRolledBack(mark) => Ok(Met { is_rolled_back: true, ..met(mark, false) }),
            Meeting::Diverged(mark) => Ok(met(mark, true)),
            Meeting::Lost { common, pruned, is_diverged } => Ok(Met { floor: pruned, ..met(common, is_diverged) }),
            Meeting::Strangers => Err(Trouble::Strangers),
        }
    }

    fn handle_ack(&mut self, frame: &Frame<'_>, journal: &Journal<'_>, now: Tick) -> Result<Heard, String> {
        let key = self.hub_key.ok_or("an ACK before any WELCOME")?;
        let ack = Ack::from_body(verified(frame, &key)?).map_err(|error| error.to_string())?;
        let is_session = self.session == Some(ack.session) || is_planted(Plant::StaleAck);
        if is_session && is_busy(&ack) {
            self.sender.handle_busy(ack.retry_after_ms, now);
            return Ok(Heard::Busy);
        }
        if is_session && ack.stream != self.stream {
            return Ok(Heard::Returned(Box::new(ack)));
        }
        let is_current = is_session && self.is_open();
        if !is_current || self.trouble.is_some() {
            return Ok(Heard::Stale);
        }
        let own_hash = (journal.hash_at)(ack.stored.seq);
        match self.sender.handle_ack(&ack, own_hash, now) {
            AckOutcome::Doubt => Ok(Heard::Doubt),
            AckOutcome::Progress | AckOutcome::Ignored => {
                if ack.stored.seq >= self.sender.floor() {
                    (self.parent, self.base) = (None, None);
                }
                // what the hub asks for, of what is still here, is not deleted
                let is_here = |range: &&SeqRange| range.last > journal.pruned;
                let asked = ack.missing.iter().filter(is_here).map(|range| Seq(range.first.0.saturating_sub(1))).min();
                let Ack { stored, processed, prunable, down_prunable, .. } = ack;
                let prunable = asked.map_or(prunable, |below| prunable.min(below));
                Ok(Heard::Acked { stored, processed, prunable, down_prunable })
            }
        }
    }

    fn handle_batch(&self, frame: &Frame<'_>) -> Result<Heard, String> {
        let key = self.hub_key.ok_or("a batch before any WELCOME")?;
        let batch = Batch::from_body(verified(frame, &key)?).map_err(|error| error.to_string())?;
        // A batch names no session; it counts only where the hub welcomed the present one.
        let is_welcomed = self.session.is_some() && self.session == self.last_session;
        Ok(if is_welcomed { Heard::Batch(Box::new(batch)) } else { Heard::Stale })
    }

    /// What to do now, if anything. Call again until it says none.
    pub(super) fn poll_order(&mut self, now: Tick) -> Option<Order> {
        self.session?;
        if self.trouble.is_none()
            && let Some(command) = self.sender.poll_command(now)
        {
            return Some(match command {
                Command::Hello => Order::Hello,
                Command::Batch(range) => Order::Batch(range),
                Command::Rebuild => Order::Rebuild,
                Command::Register(first) => Order::Register(first),
            });
        }
        let has_backlog = self.has_backlog();
        let heartbeats = self.heartbeats.as_mut()?;
        heartbeats.note_backlog(has_backlog, now);
        (heartbeats.due() <= now).then_some(Order::Heartbeat)
    }

    /// When to ask again at the latest, absent other events.
    pub(super) fn poll_timer(&self) -> Option<Tick> {
        let sender = self.trouble.is_none().then(|| self.sender.poll_timer()).flatten();
        let heartbeat = self.heartbeats.as_ref().map(Timetable::due);
        match (sender, heartbeat) {
            (Some(sender), Some(heartbeat)) => Some(sender.min(heartbeat)),
            (one, other) => one.or(other),
        }
    }

    fn has_backlog(&self) -> bool {
        self.sender.head() > self.sender.stored().seq
    }
}

/// The key a first WELCOME says it is signed with.
fn claimed_key(welcome: &Welcome) -> Result<VerifyingKey, String> {
    let bytes: [u8; 32] =
        welcome.public_key.as_slice().try_into().map_err(|_| "the hub's key is not 32 bytes".to_owned())?;
    VerifyingKey::from_bytes(&bytes).map_err(|_| "the hub's key is no Ed25519 key".to_owned())
}

fn verified<'a>(frame: &Frame<'a>, key: &VerifyingKey) -> Result<&'a [u8], String> {
    if frame.key_id != frame::key_id(key) {
        return Err(FrameError::Signature.to_string());
    }
    frame.verified_body(key).map_err(|error| error.to_string())
}

/// Whether it only asks for a pause: it acknowledges nothing.
fn is_busy(ack: &Ack) -> bool {
    ack.retry_after_ms > 0 && ack.stored == Mark::ZERO
}

/// This clock minus the hub's: half the difference of the two ways (RFC 5905, section 8), with its sign turned.
fn offset_ms(t1: Timestamp, t2: Timestamp, t3: Timestamp, t4: Timestamp) -> i64 {
    let there = i128::from(t1.0) - i128::from(t2.0);
    let back = i128::from(t4.0) - i128::from(t3.0);
    i64::try_from((there + back) / 2).unwrap_or(i64::MAX)
}
