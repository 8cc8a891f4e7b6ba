//! Sends one journal to one receiver, and believes only its acknowledgements.
//!
//! Bytes in flight are bounded by the receiver's credit and by nothing else; a full batch may overshoot it once.
//! Silence is answered in rounds of a doubling timer: resend, resend, a new HELLO, and at last a new connection.

use std::collections::{BTreeMap, VecDeque};

use crate::chain::{Hash, Mark, Seq, SeqRange};
use crate::id::SessionId;
use crate::limits;
use crate::message::Ack;
use crate::plant::{Plant, is_planted};
use crate::time::Tick;

/// The resend timer before a round trip was measured, and its lower bound: a hub commits within a second.
const RESEND_MIN_MS: u64 = 1_000;
/// Its upper bound, so that a link that comes back is used within half a minute.
const RESEND_MAX_MS: u64 = 30_000;
/// While anything is in flight, fewer new entries than this wait for its acknowledgement: they share a batch.
const COALESCE_ENTRIES: u64 = 256;

/// Entries of a named lost range sent at once, from its end: the receiver takes only those that reach it.
const FILL_ENTRIES: u64 = 256;
/// Most pieces of lost ranges sent in one session; a longer one goes on in the next.
const FILLS: usize = 65_536;

/// What the shell is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Announce the session with a HELLO.
    Hello,
    /// Send one batch beginning at `first`, going no further than `last`, then call [`Sender::handle_sent`].
    Batch(SeqRange),
    /// Send a batch of no entries that begins here, which makes the stream or its lost range known, then call
    /// [`Sender::handle_registration_sent`].
    Register(Seq),
    /// Drop the connection's client and build a new one: it is wedged or half open.
    Rebuild,
}

/// What an acknowledgement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckOutcome {
    /// More is stored than before.
    Progress,
    /// Nothing new, or not for this session.
    Ignored,
    /// The receiver's chain is not ours, or it holds less than it confirmed: a new HELLO follows.
    Doubt,
}

/// What a meeting decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// What the receiver holds, which may be less than before.
    pub stored: Mark,
    /// Entries up to here are deleted here: sending begins after them.
    pub floor: Seq,
    /// Whether the stream, or its lost range, must be made known even if there is nothing to send.
    pub must_register: bool,
    /// Bytes the receiver takes in flight.
    pub credit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offline,
    /// Connected; the HELLO is due, or awaits its WELCOME.
    Greeting {
        sent: bool,
    },
    Open,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    first: Seq,
    /// Before `first` where it carries no entries.
    last: Seq,
    bytes: u64,
    sent_at: Tick,
    /// A resent batch's acknowledgement may answer either copy, so it measures nothing.
    first_try: bool,
}

/// The sender of one stream.
#[derive(Debug)]
pub struct Sender {
    head: Seq,
    stored: Mark,
    floor: Seq,
    /// Entries up to here are deleted by now: no piece of a lost range reaches below.
    pruned: Seq,
    must_register: bool,
    phase: Phase,
    session: Option<SessionId>,
    next: Seq,
    sent_before: Seq,
    flights: VecDeque<Flight>,
    missing: VecDeque<SeqRange>,
    /// Pieces of what the receiver named lost and this journal still holds.
    fills: VecDeque<SeqRange>,
    /// The ends of those queued in this session, and when: each is sent again only if it is still asked for much later.
    filled: BTreeMap<Seq, Tick>,
    credit: u64,
    round_trip_ms: Option<u64>,
    silent_rounds: u32,
    heard_at: Tick,
    hold_until: Tick,
}

impl Sender {
    /// A sender for a journal that goes to `head`, of which the receiver is known to hold `stored`.
    pub fn new(head: Seq, stored: Mark) -> Sender {
        Sender {
            head,
            stored,
            floor: Seq(0),
            pruned: Seq(0),
            must_register: false,
            phase: Phase::Offline,
            session: None,
            next: stored.seq.next(),
            sent_before: stored.seq,
            flights: VecDeque::new(),
            missing: VecDeque::new(),
            fills: VecDeque::new(),
            filled: BTreeMap::new(),
            credit: 0,
            round_trip_ms: None,
            silent_rounds: 0,
            heard_at: Tick(0),
            hold_until: Tick(0),
        }
    }

    /// What the receiver has confirmed.
    pub fn stored(&self) -> Mark {
        self.stored
    }

    /// Entries up to here are deleted at the sender.
    pub fn floor(&self) -> Seq {
        self.floor
    }

    /// How far the journal goes.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Whether a WELCOME opened the current session.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Bytes sent and not yet acknowledged.
    pub fn in_flight_bytes(&self) -> u64 {
        self.flights.iter().map(|flight| flight.bytes).sum()
    }

    /// The journal grew.
    pub fn handle_head(&mut self, head: Seq) {
        assert!(head >= self.head, "a journal only grows");
        self.head = head;
    }

    /// Entries up to `pruned` are deleted; they are all stored at the receiver.
    pub fn handle_pruned(&mut self, pruned: Seq) {
        self.pruned = pruned;
        self.fills.retain(|piece| piece.last > pruned);
        self.fills.iter_mut().for_each(|piece| piece.first = piece.first.max(pruned.next()));
    }

    /// A connection stands; `session` is new.
    pub fn handle_connected(&mut self, session: SessionId, now: Tick) {
        self.session = Some(session);
        self.filled.clear();
        self.greet(now);
        self.silent_rounds = 0;
    }

    /// The connection is gone, with all that was in flight.
    pub fn handle_disconnected(&mut self) {
        self.phase = Phase::Offline;
        self.session = None;
        self.forget_flights();
    }

    /// The HELLO left.
    pub fn handle_hello_sent(&mut self, now: Tick) {
        if let Phase::Greeting { sent } = &mut self.phase {
            *sent = true;
            self.heard_at = now;
        }
    }

    /// The meeting was decided.
    pub fn handle_resume(&mut self, resume: Resume, now: Tick) {
        if !is_planted(Plant::KeepOwnMark) || resume.stored.seq > self.stored.seq {
            self.stored = resume.stored;
        }
        self.floor = resume.floor;
        self.must_register = resume.must_register;
        self.credit = resume.credit;
        self.phase = Phase::Open;
        self.silent_rounds = 0;
        self.heard_at = now;
        self.forget_flights();
    }

    /// A batch left: its seqs and its bytes on the wire.
    pub fn handle_sent(&mut self, range: SeqRange, bytes: u64, now: Tick) {
        if self.flights.is_empty() {
            self.heard_at = now;
        }
        let first_try = range.first > self.sent_before;
        self.flights.push_back(Flight { first: range.first, last: range.last, bytes, sent_at: now, first_try });
        if let Some(front) = self.missing.front_mut().filter(|front| front.first == range.first) {
            if range.last < front.last {
                front.first = range.last.next();
            } else {
                self.missing.pop_front();
            }
        }
        if let Some(piece) = self.fills.front().copied().filter(|piece| piece.first == range.first) {
            self.fills.pop_front();
            // what did not fit one batch: the part that reaches the end comes last
            if range.last < piece.last {
                self.fills.push_front(SeqRange { first: range.last.next(), ..piece });
            }
        }
        self.next = self.next.max(range.last.next());
        self.sent_before = self.sent_before.max(range.last);
    }

    /// A batch of no entries left, before `first`.
    pub fn handle_registration_sent(&mut self, first: Seq, bytes: u64, now: Tick) {
        if self.flights.is_empty() {
            self.heard_at = now;
        }
        let last = Seq(first.0.saturating_sub(1));
        self.flights.push_back(Flight { first, last, bytes, sent_at: now, first_try: true });
    }

    /// An acknowledgement arrived; `own_hash` is our chain's hash at its stored seq, if we know one.
    pub fn handle_ack(&mut self, ack: &Ack, own_hash: Option<Hash>, now: Tick) -> AckOutcome {
        let is_current = self.session == Some(ack.session) || is_planted(Plant::StaleAck);
        if self.phase != Phase::Open || !is_current {
            return AckOutcome::Ignored;
        }
        let is_ours = own_hash == Some(ack.stored.hash);
        let is_ahead = ack.stored.seq > self.head;
        // where there was nothing to acknowledge, a HELLO is asked for
        let is_asked = self.head == Seq(0) && !self.must_register && self.flights.is_empty();
        if !is_ours || ack.stored.seq < self.stored.seq || is_ahead || is_asked {
            self.greet(now);
            return AckOutcome::Doubt;
        }
        self.must_register &= ack.stored.seq < self.floor;
        self.credit = ack.credit;
        self.heard_at = now;
        self.hold(ack.retry_after_ms, now);
        let progress = ack.stored.seq > self.stored.seq;
        self.stored = ack.stored;
        self.land(ack.stored.seq, now);
        self.next = self.next.max(ack.stored.seq.next());
        self.note_missing(&ack.missing, now);
        self.note_lost(&ack.missing, now);
        if progress {
            self.silent_rounds = 0;
            AckOutcome::Progress
        } else {
            AckOutcome::Ignored
        }
    }

    /// The receiver has no room for a HELLO now, and says nothing else by that: come back after so long.
    pub fn handle_busy(&mut self, retry_after_ms: u64, now: Tick) {
        self.hold(retry_after_ms, now);
        self.silent_rounds = 0;
        self.heard_at = now;
        if self.phase == (Phase::Greeting { sent: true }) {
            self.greet(now);
        }
    }

    /// Until when the receiver wants to hear neither batches nor HELLOs.
    pub fn hold_until(&self) -> Tick {
        self.hold_until
    }

    /// What to do now, if anything. Call again until it says none.
    pub fn poll_command(&mut self, now: Tick) -> Option<Command> {
        match self.phase {
            Phase::Offline => None,
            Phase::Greeting { sent: false } => (now >= self.hold_until).then_some(Command::Hello),
            Phase::Greeting { sent: true } | Phase::Open => {
                if self.timer_due(now) {
                    return self.next_round(now);
                }
                if self.phase == Phase::Open { self.next_batch(now) } else { None }
            }
        }
    }

    /// When to ask again at the latest, absent other events.
    pub fn poll_timer(&self) -> Option<Tick> {
        match self.phase {
            Phase::Offline => None,
            Phase::Greeting { sent: false } => Some(self.heard_at.max(self.hold_until)),
            Phase::Greeting { sent: true } => Some(self.deadline()),
            Phase::Open if !self.flights.is_empty() || self.is_stopped_by_credit() => Some(self.deadline()),
            Phase::Open if self.head >= self.next || self.must_register || !self.fills.is_empty() => {
                Some(self.hold_until)
            }
            Phase::Open => None,
        }
    }

    fn greet(&mut self, now: Tick) {
        self.phase = Phase::Greeting { sent: false };
        self.heard_at = now;
        self.forget_flights();
    }

    fn forget_flights(&mut self) {
        self.flights.clear();
        self.missing.clear();
        self.fills.clear();
        self.next = self.stored.seq.max(self.floor).next().plus(u64::from(is_planted(Plant::SkipOne)));
    }

    fn hold(&mut self, retry_after_ms: u64, now: Tick) {
        self.hold_until = now.plus(retry_after_ms.min(limits::RETRY_AFTER_MS));
    }

    fn is_stopped_by_credit(&self) -> bool {
        self.credit == 0 && (self.head >= self.next || self.must_register)
    }

    fn resend_ms(&self) -> u64 {
        self.round_trip_ms.map_or(RESEND_MIN_MS, |rtt| (3 * rtt).clamp(RESEND_MIN_MS, RESEND_MAX_MS))
    }

    fn deadline(&self) -> Tick {
        let silence = self.heard_at.plus((self.resend_ms() << self.silent_rounds.min(5)).min(RESEND_MAX_MS));
        silence.max(self.hold_until)
    }

    fn timer_due(&self, now: Tick) -> bool {
        let waiting = self.phase != Phase::Open || !self.flights.is_empty() || self.is_stopped_by_credit();
        waiting && now >= self.deadline() && !is_planted(Plant::NeverResend)
    }

    /// The timer ran out: resend, resend, HELLO, rebuild.
    fn next_round(&mut self, now: Tick) -> Option<Command> {
        self.silent_rounds += 1;
        if self.silent_rounds > 3 {
            self.handle_disconnected();
            return Some(Command::Rebuild);
        }
        if self.silent_rounds == 3 || self.phase != Phase::Open {
            self.greet(now);
            return Some(Command::Hello);
        }
        self.forget_flights();
        self.heard_at = now;
        let range = SeqRange { first: self.next, last: self.head };
        if range.first <= range.last { Some(Command::Batch(range)) } else { self.registration() }
    }

    fn registration(&self) -> Option<Command> {
        self.must_register.then_some(Command::Register(self.next))
    }

    fn next_batch(&self, now: Tick) -> Option<Command> {
        if now < self.hold_until || self.in_flight_bytes() >= self.credit {
            return None;
        }
        if let Some(range) = self.missing.front().or(self.fills.front()) {
            return Some(Command::Batch(*range));
        }
        let waiting = (self.head.0 + 1).saturating_sub(self.next.0);
        if waiting == 0 && self.flights.is_empty() {
            return self.registration();
        }
        let worth_it = waiting >= COALESCE_ENTRIES || (waiting > 0 && self.flights.is_empty());
        worth_it.then_some(Command::Batch(SeqRange { first: self.next, last: self.head }))
    }

    /// Removes what arrived from what is in flight, and measures the round trip.
    fn land(&mut self, stored: Seq, now: Tick) {
        while let Some(flight) = self.flights.front().copied() {
            if flight.last > stored {
                break;
            }
            self.flights.pop_front();
            if flight.first_try {
                let sample = now.since(flight.sent_at);
                self.round_trip_ms = Some(self.round_trip_ms.map_or(sample, |old| (7 * old + sample) / 8));
            }
        }
        self.missing.retain(|range| range.last > stored);
        if let Some(front) = self.missing.front_mut() {
            front.first = front.first.max(stored.next());
        }
    }

    /// Queues what the receiver lacks and is still here, once per round trip: a copy may be under way already.
    fn note_missing(&mut self, missing: &[SeqRange], now: Tick) {
        let patience = self.round_trip_ms.unwrap_or(RESEND_MIN_MS / 4);
        let deleted = self.floor.max(self.pruned);
        for range in missing.iter().take(limits::MISSING_RANGES) {
            let range = SeqRange { first: range.first.max(deleted.next()), last: range.last };
            let sane = range.first <= range.last && range.first > self.stored.seq && range.last < self.next;
            let under_way = self.flights.iter().any(|flight| {
                flight.first <= range.last && flight.last >= range.first && now.since(flight.sent_at) < patience
            });
            let queued = self.missing.iter().any(|queued| queued.first <= range.last && queued.last >= range.first);
            if sane && !under_way && !queued {
                self.missing.push_back(range);
            }
        }
    }
}

impl Sender {
    /// Queues the end of what the receiver names lost, where it is still held here. As it shrinks, the rest follows.
    fn note_lost(&mut self, missing: &[SeqRange], now: Tick) {
        for range in missing.iter().take(limits::MISSING_RANGES) {
            let held = range.first.max(self.floor.next()).max(self.pruned.next());
            if range.last > self.stored.seq || held > range.last || self.filled.len() >= FILLS {
                continue;
            }
            let first = held.max(Seq(range.last.0.saturating_sub(FILL_ENTRIES - 1)));
            if self.filled.get(&range.last).is_none_or(|queued| now.since(*queued) >= RESEND_MAX_MS) {
                self.filled.insert(range.last, now);
                self.fills.push_back(SeqRange { first, last: range.last });
            }
        }
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
