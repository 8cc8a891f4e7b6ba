//! The downward journal at the agent's end: what a batch adds, what is acknowledged, and what is returned to a hub that
//! forgot it.
//!
//! Pure: it is told what the store holds and says what is to be stored or sent. Nothing is acknowledged before it is
//! stored, and nothing counts that came outside a session the hub welcomed.

use std::collections::BTreeMap;

use waystation_protocol::batch::Unpacked;
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::id::{SessionId, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::{Ack, Batch, Held, Ladder};
use waystation_protocol::sync::receiver::{Receiver, Verdict};
use waystation_protocol::sync::{AckOutcome, Command, Resume, Sender};
use waystation_protocol::time::Tick;

/// Most batches kept ahead of a gap: what the credit lets the hub have in flight, and some. Those beyond are sent again.
const HELD_BATCHES: usize = 8;

/// What a batch means.
#[derive(Debug)]
pub(super) enum Arrived {
    /// To be stored, then told to [`Down::handle_stored`].
    Store {
        /// The journal they continue, or begin.
        stream: StreamId,
        /// Entries and their marks.
        entries: Vec<(Mark, Vec<u8>)>,
    },
    /// Nothing new: acknowledge.
    Acknowledge,
    /// It contradicts what is here: greet the hub.
    Doubt,
    /// Not of a journal that counts now.
    Dropped,
}

/// How the hub's ladder fits a downward journal here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// The hub holds all that is here, and perhaps more.
    Whole,
    /// The hub holds what is here up to this mark.
    Forgot(Mark),
}

/// What is returned to a hub that forgot it.
#[derive(Debug)]
struct Returning {
    stream: StreamId,
    head: Seq,
    /// Up to where it was deleted here as the returning began.
    pruned: Seq,
    sender: Sender,
    /// The common mark below a range that is deleted here.
    base: Option<Mark>,
}

/// The downward journal's end.
#[derive(Debug)]
pub(super) struct Down {
    session: Option<SessionId>,
    /// The stream the WELCOME named; none while the hub sends nothing.
    welcomed: Option<StreamId>,
    /// How far that went then; none after the hub changed to another.
    told: Option<Seq>,
    has_switched: bool,
    has_doubted: bool,
    stream: Option<StreamId>,
    receiver: Receiver,
    ahead: BTreeMap<Seq, Unpacked>,
    owes_ack: bool,
    returning: Option<Returning>,
}

impl Down {
    /// For the journal of which `held` is here.
    pub(super) fn new(held: Option<&Held>) -> Down {
        Down {
            session: None,
            welcomed: None,
            told: None,
            has_switched: false,
            has_doubted: false,
            stream: held.map(|held| held.stream),
            receiver: Receiver::new(held.map_or(Mark::ZERO, |held| held.head)),
            ahead: BTreeMap::new(),
            owes_ack: false,
            returning: None,
        }
    }

    /// A connection stands, or is gone: what was under way is forgotten.
    pub(super) fn handle_session(&mut self, session: Option<SessionId>) {
        let held = self.stream.map(|stream| Held { stream, head: self.receiver.stored(), pruned: Seq(0) });
        *self = Down { session, ..Down::new(held.as_ref()) };
    }

    /// The hub welcomed this session and speaks of a downward journal, of which `held` is here.
    pub(super) fn handle_welcome(
        &mut self,
        ladder: &Ladder,
        held: Option<&Held>,
        hash_at: &dyn Fn(Seq) -> Option<Hash>,
        credit: u64,
        now: Tick,
    ) {
        self.welcomed = Some(ladder.stream);
        self.told = Some(ladder.rungs.first().map_or(Seq(0), |top| top.seq));
        self.has_switched = false;
        self.returning = None;
        let (Some(held), Some(session)) = (held, self.session) else { return };
        let Fit::Forgot(common) = fit(ladder, held, hash_at) else { return };
        let mut sender = Sender::new(held.head.seq, common);
        sender.handle_connected(session, now);
        sender.handle_hello_sent(now);
        let floor = if held.pruned > common.seq { held.pruned } else { Seq(0) };
        let must_register = floor > Seq(0);
        sender.handle_resume(Resume { stored: common, floor, must_register, credit }, now);
        let base = must_register.then_some(common);
        tracing::warn!(stream = %held.stream, common = common.seq.0, head = held.head.seq.0, "the hub forgot entries it had sent; they are returned");
        let (stream, head, pruned) = (held.stream, held.head.seq, held.pruned);
        self.returning = Some(Returning { stream, head, pruned, sender, base });
    }

    /// Whether all is here that there was to be told when the hub welcomed this session.
    pub(super) fn is_whole(&self) -> bool {
        let reaches = |told| self.receiver.stored().seq >= told;
        let is_here = self.told == Some(Seq(0)) || self.welcomed == self.stream && self.told.is_some_and(reaches);
        is_here && self.returning.is_none()
    }

    /// So much of the journal is deleted here. Whether the hub must be greeted: it let go what it had seemed to have forgotten,
    /// which so cannot be returned as it was to be.
    pub(super) fn handle_pruned(&mut self, held: &Held) -> bool {
        let is_overtaken = |returning: &mut Returning| {
            returning.stream == held.stream
                && held.pruned > returning.pruned
                && held.pruned > returning.sender.stored().seq
        };
        self.returning.take_if(is_overtaken).is_some()
    }

    /// A verified batch arrived. `is_known`: whether anything of its stream is here, be it an earlier one.
    pub(super) fn handle_batch(&mut self, batch: &Batch, is_known: bool) -> Result<Arrived, String> {
        let Some(welcomed) = self.welcomed else { return Ok(Arrived::Dropped) };
        let unpacked = Unpacked::open(batch).map_err(|error| error.to_string())?;
        if self.stream != Some(batch.stream) {
            return Ok(self.begin(batch.stream, unpacked, welcomed, is_known));
        }
        let first = unpacked.before().seq.next();
        let is_ahead = first > self.receiver.stored().seq.next();
        if is_ahead && self.ahead.len() >= HELD_BATCHES && !self.ahead.contains_key(&first) {
            self.owes_ack = true;
            return Ok(Arrived::Acknowledge);
        }
        Ok(match self.receiver.handle_batch(&unpacked) {
            Verdict::Append { first, stored, dropped } => {
                dropped.iter().for_each(|first| drop(self.ahead.remove(first)));
                Arrived::Store { stream: batch.stream, entries: self.joined(&unpacked, first, stored) }
            }
            Verdict::Hold => {
                self.ahead.insert(first, unpacked);
                self.owes_ack = true;
                Arrived::Acknowledge
            }
            Verdict::Known | Verdict::Refused => {
                self.owes_ack = true;
                Arrived::Acknowledge
            }
            Verdict::Conflict { at } => {
                tracing::warn!(stream = %batch.stream, seq = at.0, "the hub's downward journal contradicts what is here");
                // Once per session: what the hub decides then comes with its WELCOME.
                if std::mem::replace(&mut self.has_doubted, true) { Arrived::Dropped } else { Arrived::Doubt }
            }
        })
    }

    /// A journal other than the present one begins. An earlier one does not begin again, and the hub changes its mind at
    /// most once between two greetings: a late batch is not taken for news.
    fn begin(&mut self, stream: StreamId, unpacked: Unpacked, welcomed: StreamId, is_known: bool) -> Arrived {
        let is_announced = welcomed == stream || (Some(welcomed) == self.stream && !self.has_switched);
        let is_beginning = unpacked.before() == Mark::ZERO && !unpacked.is_empty();
        if is_known || !is_announced || !is_beginning {
            return Arrived::Dropped;
        }
        if welcomed != stream {
            (self.has_switched, self.told) = (true, None);
        }
        self.welcomed = Some(stream);
        self.stream = Some(stream);
        self.ahead.clear();
        self.receiver = Receiver::new(Mark::ZERO);
        match self.receiver.handle_batch(&unpacked) {
            Verdict::Append { first, stored, .. } => {
                Arrived::Store { stream, entries: self.joined(&unpacked, first, stored) }
            }
            Verdict::Hold | Verdict::Known | Verdict::Conflict { .. } | Verdict::Refused => Arrived::Dropped,
        }
    }

    /// The new entries of a batch, and of those kept ahead that joined it.
    fn joined(&mut self, batch: &Unpacked, first: Seq, stored: Mark) -> Vec<(Mark, Vec<u8>)> {
        let mut entries: Vec<(Mark, Vec<u8>)> =
            batch.entries_from(first).map(|(mark, bytes)| (mark, bytes.to_vec())).collect();
        while let Some(kept) = self.ahead.first_entry().filter(|kept| *kept.key() <= stored.seq) {
            let kept = kept.remove();
            entries.extend(kept.entries_from(Seq(0)).map(|(mark, bytes)| (mark, bytes.to_vec())));
        }
        entries
    }

    /// What arrived is stored, or could not be: then it counts as never received. `held` is what is here now.
    pub(super) fn handle_stored(&mut self, is_stored: bool, held: Option<&Held>) {
        if is_stored {
            self.owes_ack = true;
        } else {
            self.ahead.clear();
            self.stream = held.map(|held| held.stream);
            self.receiver = Receiver::new(held.map_or(Mark::ZERO, |held| held.head));
        }
    }

    /// The acknowledgement that is due, if any.
    pub(super) fn take_ack(&mut self, credit: u64) -> Option<Ack> {
        let (session, stream) = (self.session?, self.stream?);
        if self.welcomed.is_none() || !std::mem::take(&mut self.owes_ack) {
            return None;
        }
        let stored = self.receiver.stored();
        let mut missing = self.receiver.missing();
        missing.truncate(limits::MISSING_RANGES);
        Some(Ack {
            session,
            stream,
            stored,
            processed: stored.seq,
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing,
            credit,
            retry_after_ms: 0,
        })
    }

    /// The hub acknowledged entries of this stream. Whether the stream is one that is being returned.
    pub(super) fn handle_ack(&mut self, ack: &Ack, own_hash: Option<Hash>, now: Tick) -> Option<AckOutcome> {
        let returning = self.returning.as_mut().filter(|returning| returning.stream == ack.stream)?;
        let outcome = returning.sender.handle_ack(ack, own_hash, now);
        if returning.sender.stored().seq >= returning.head {
            tracing::info!(stream = %ack.stream, "the hub has again all it had sent");
            self.returning = None;
        } else if outcome == AckOutcome::Doubt {
            self.returning = None;
        }
        Some(outcome)
    }

    /// What of the returned journal is to be sent now. Where the hub stays silent, the main journal's sender greets it.
    pub(super) fn poll_return(&mut self, now: Tick) -> Option<(StreamId, Command, Option<Mark>)> {
        let returning = self.returning.as_mut()?;
        match returning.sender.poll_command(now)? {
            Command::Hello | Command::Rebuild => {
                self.returning = None;
                None
            }
            command @ (Command::Batch(_) | Command::Register(_)) => Some((returning.stream, command, returning.base)),
        }
    }

    /// A batch of the returned journal left.
    pub(super) fn handle_sent(&mut self, range: SeqRange, bytes: u64, now: Tick) {
        if let Some(returning) = &mut self.returning {
            returning.sender.handle_sent(range, bytes, now);
        }
    }

    /// A batch of no entries of the returned journal left.
    pub(super) fn handle_registration_sent(&mut self, first: Seq, bytes: u64, now: Tick) {
        if let Some(returning) = &mut self.returning {
            returning.sender.handle_registration_sent(first, bytes, now);
        }
    }

    /// When to ask again at the latest.
    pub(super) fn poll_timer(&self) -> Option<Tick> {
        self.returning.as_ref().and_then(|returning| returning.sender.poll_timer())
    }
}

/// Compares the hub's ladder with the journal here. The roles are turned: here is the copy, the hub is the sender that
/// may have forgotten.
fn fit(ladder: &Ladder, held: &Held, hash_at: &dyn Fn(Seq) -> Option<Hash>) -> Fit {
    let here = |rung: &Mark| hash_at(rung.seq).filter(|_| rung.seq <= held.head.seq);
    let agrees = |rung: &&Mark| here(rung) == Some(rung.hash);
    let common = ladder.rungs.iter().find(agrees).copied().unwrap_or(Mark::ZERO);
    let top = ladder.rungs.first().map_or(Seq(0), |top| top.seq);
    // A hub that goes further need not show the very rung at which this journal ends: any lower one tells another chain.
    let is_contradicted = ladder.rungs.iter().any(|rung| here(rung).is_some_and(|hash| hash != rung.hash));
    if common.seq == held.head.seq || (top > held.head.seq && !is_contradicted) {
        Fit::Whole
    } else {
        Fit::Forgot(common)
    }
}
