//! The hub's database as far as storing goes: lanes, announced heads, lost ranges, what is kept aside.
//!
//! What a batch adds is decided by the product's `Receiver`, rebuilt from the database as at start.

use std::collections::{BTreeMap, BTreeSet};

use waystation_protocol::chain::Seq;
use waystation_protocol::sync::meeting::rungs;
use waystation_protocol::sync::{Receiver, Verdict};

use super::{Message, OneStream, Session, State, Stream};
use crate::journal::{self, Chain, Set, mark, unpacked};

/// A stream at the hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lane {
    /// The stored mark.
    pub(crate) stored: Chain,
    /// Where it left its parent.
    floor: u8,
    /// Seqs above the floor whose entries are here.
    held: Set,
    /// Seqs in a named lost range.
    lost: Set,
    /// Seqs whose hash is known: the ends of what arrived.
    ends: Set,
    /// Batches ahead of a gap.
    ahead: BTreeSet<(Chain, Chain)>,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hub {
    pub(crate) lanes: BTreeMap<Stream, Lane>,
    /// The session of the last HELLO, which an ACK names.
    pub(crate) session: Session,
    /// The highest head announced, by rule per session, that is not stored.
    announced: BTreeMap<(Stream, Session), Chain>,
    /// Entries kept aside, visibly.
    aside: Set,
    /// Entries named lost, each until it is stored.
    lost: Set,
    /// Every entry that was announced or arrived.
    seen: Set,
    /// A stream went on from a mark that is not its own.
    pub(crate) is_mixed: bool,
    /// An entry was named lost that was here.
    pub(crate) named_what_it_held: bool,
}

struct Arrived {
    stream: Stream,
    parent: Option<(Stream, Chain)>,
    before: Chain,
    last: Chain,
    base: Option<Chain>,
}

impl Lane {
    /// Whether every seq is here or named.
    pub(crate) fn has_no_silent_gap(&self) -> bool {
        (self.floor + 1..=self.stored.len()).all(|seq| (self.held | self.lost) & 1 << seq != 0)
    }

    fn entries(&self) -> Set {
        let own = (self.floor + 1..=self.stored.len()).filter(|seq| self.held & 1 << seq != 0);
        let ahead = self.ahead.iter().fold(0, |set, (before, last)| set | last.entries_after(before.len()));
        own.fold(ahead, |set, seq| set | 1 << self.stored.entry(seq))
    }

    /// The end of a batch at or below each rung, highest first; it ends with nothing.
    fn ladder(&self, top: u8, also: &[u8]) -> Vec<Chain> {
        let rungs = rungs(Seq(u64::from(top))).into_iter().map(|seq| seq.0 as u8);
        let mut seqs: Vec<u8> = rungs.filter(|seq| self.ends & 1 << seq != 0 || *seq == 0).collect();
        seqs.extend(also.iter().filter(|seq| **seq <= top && self.ends & 1 << **seq != 0));
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        seqs.dedup();
        seqs.into_iter().map(|seq| self.stored.upto(seq)).collect()
    }

    fn hold(&mut self, from: u8, to: u8) {
        for seq in from + 1..=to {
            self.held |= 1 << seq;
            self.lost &= !(1 << seq);
            self.ends |= 1 << seq;
        }
        self.ends |= 1 << from;
    }
}

impl Hub {
    pub(crate) fn begin(journal: Chain) -> Hub {
        let mut lane = Lane { stored: journal, ..Lane::default() };
        lane.hold(0, journal.len());
        Hub {
            lanes: [(1, lane)].into_iter().filter(|_| !journal.is_empty()).collect(),
            session: 0,
            announced: BTreeMap::new(),
            aside: 0,
            lost: 0,
            seen: journal.entries(),
            is_mixed: false,
            named_what_it_held: false,
        }
    }

    /// Entries in some stream.
    pub(crate) fn entries(&self) -> Set {
        self.lanes.values().fold(0, |set, lane| set | lane.entries())
    }

    /// Entries that are here, or whose absence is shown.
    pub(crate) fn accounted(&self) -> Set {
        self.announced.values().fold(self.entries() | self.aside | self.lost, |set, head| set | head.entries())
    }

    /// Entries the hub ever heard of.
    pub(crate) fn seen(&self) -> Set {
        self.seen
    }

    fn announce(&mut self, stream: Stream, session: Session, head: Chain, stand: bool) {
        let key = if stand { (stream, session) } else { (stream, 0) };
        let highest = self.announced.entry(key).or_default();
        if head.len() > highest.len() {
            *highest = head;
        }
    }

    /// The planted append. Whether it applied.
    fn append_anything(&mut self, arrived: &Arrived) -> bool {
        let lane = self.lanes.entry(arrived.stream).or_default();
        let fits = arrived.before.len() == lane.stored.len() && arrived.last.len() > lane.stored.len();
        if fits {
            self.is_mixed |= !lane.stored.is_prefix_of(arrived.last);
            let from = lane.stored.len();
            lane.stored = arrived.last;
            lane.hold(from, arrived.last.len());
        }
        fits
    }

    /// Takes a batch's entries into its lane, and gives the rest back.
    fn take(&mut self, arrived: &Arrived) {
        let lane = self.lanes.entry(arrived.stream).or_default();
        let mut receiver = Receiver::new(mark(lane.stored));
        for (before, last) in &lane.ahead {
            receiver.restore_ahead(mark(*before).seq.next(), mark(*before).hash, mark(*last));
        }
        let from = lane.stored.len();
        match receiver.handle_batch(&unpacked(arrived.before, arrived.last)) {
            Verdict::Append { stored, .. } => {
                lane.stored = journal::chain(stored);
                lane.hold(from, lane.stored.len());
                lane.ends |= 1 << arrived.last.len();
                let now = lane.stored.len();
                lane.ahead.retain(|(before, _)| before.len() > now);
            }
            Verdict::Hold => {
                lane.ahead.insert((arrived.before, arrived.last));
            }
            Verdict::Known if arrived.last.is_prefix_of(lane.stored) && arrived.before.len() >= lane.floor => {
                lane.hold(arrived.before.len(), arrived.last.len());
            }
            Verdict::Known | Verdict::Conflict { .. } | Verdict::Refused => {}
        }
    }

    /// Begins a lane at its parent's mark, if the parent holds it. Whether there is a lane to go on with.
    fn open(&mut self, arrived: &Arrived) -> bool {
        if self.lanes.contains_key(&arrived.stream) {
            return true;
        }
        let Some((parent, at)) = arrived.parent else {
            self.lanes.entry(arrived.stream).or_default().ends = 1;
            return true;
        };
        let holds = self.lanes.get(&parent).is_some_and(|lane| at.is_prefix_of(lane.stored));
        if holds {
            let lane = Lane { stored: at, floor: at.len(), ends: 1 | 1 << at.len(), ..Lane::default() };
            self.lanes.insert(arrived.stream, lane);
        }
        holds
    }
}

impl OneStream {
    /// The hub reads a HELLO or a BATCH.
    pub(crate) fn hub_reads(&self, state: &mut State, message: &Message) {
        match message.clone() {
            Message::Hello { session, stream, head, stored, pruned, line } => {
                let hub = &mut state.hub;
                hub.session = session;
                hub.seen |= head.entries();
                hub.announce(stream, session, head, self.rules.announced_stand);
                if self.rules.hello_forks && hub.lanes.get(&stream).is_some_and(|lane| lane.stored.len() > stored) {
                    state.streams += 1;
                    for device in state.devices.iter_mut().filter(|device| device.disk.stream == stream) {
                        device.disk.stream = state.streams;
                    }
                }
                let (stream, ladder) = self.ladder(&state.hub, stream, &line, [stored, pruned]);
                state.network.insert(Message::Welcome { session, stream, ladder });
            }
            Message::Batch { stream, parent, before, last, base } => {
                let arrived = Arrived { stream, parent, before, last, base };
                self.store(&mut state.hub, &arrived);
                let stored = state.hub.lanes.get(&stream).map(|lane| lane.stored).unwrap_or_default();
                let session = state.hub.session;
                state.network.insert(Message::Ack { session, stream, stored });
            }
            Message::Welcome { .. } | Message::Ack { .. } => {}
        }
    }

    fn ladder(&self, hub: &Hub, stream: Stream, line: &[(Stream, Chain)], also: [u8; 2]) -> (Stream, Vec<Chain>) {
        let also: &[u8] = if self.rules.ladder_answers_hello { &also } else { &[] };
        if let Some(lane) = hub.lanes.get(&stream) {
            return (stream, lane.ladder(lane.stored.len(), also));
        }
        if self.rules.ladder_through_line {
            for (ancestor, left) in line.iter().rev() {
                if let Some(lane) = hub.lanes.get(ancestor) {
                    return (*ancestor, lane.ladder(lane.stored.len().min(left.len()), also));
                }
            }
        }
        (stream, vec![Chain::EMPTY])
    }

    fn store(&self, hub: &mut Hub, arrived: &Arrived) {
        let brought = arrived.last.entries_after(arrived.before.len()) | hub.entries();
        hub.seen |= brought;
        if self.rules.appends_any_hash && hub.append_anything(arrived) {
            return;
        }
        if hub.open(arrived) {
            if let Some(base) = arrived.base {
                self.pass_over(hub, arrived, base);
            }
            hub.take(arrived);
        }
        let here = hub.entries();
        if self.rules.keeps_aside {
            hub.aside |= brought & !here;
        }
        hub.aside &= !here;
        hub.lost &= !here;
        if self.rules.announced_stand {
            hub.announced.retain(|_, head| head.entries() & !here != 0);
        }
    }

    /// Names what its agent has pruned and the hub lacks, and goes on after it.
    fn pass_over(&self, hub: &mut Hub, arrived: &Arrived, base: Chain) {
        let before = arrived.before;
        let lane = hub.lanes.entry(arrived.stream).or_default();
        let from = lane.stored.len();
        if before.len() <= from || (self.rules.base_compares && lane.stored != base) {
            return;
        }
        let is_own = lane.stored.is_prefix_of(before);
        lane.stored = before;
        lane.ahead.retain(|(ahead, _)| ahead.len() >= before.len());
        lane.ends |= 1 << before.len();
        if !self.rules.gaps_are_silent {
            for seq in from + 1..=before.len() {
                lane.lost |= 1 << seq;
            }
        }
        hub.is_mixed |= !is_own;
        let named = before.entries_after(from);
        let here = hub.entries();
        hub.named_what_it_held |= named & here != 0;
        if !self.rules.gaps_are_silent {
            hub.lost |= named & !here;
        }
    }
}
