//! A device: what is on its disk, what its process knows, and what it concludes from the hub's words.
//!
//! The conclusions are the product's: `meet` reads the ladder, `Sender` reads the acknowledgement.

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{SessionId, StreamId};
use waystation_protocol::message::Ack;
use waystation_protocol::sync::meeting::OwnJournal;
use waystation_protocol::sync::{AckOutcome, Meeting, Resume, Sender, meet};
use waystation_protocol::time::Tick;

use super::{Message, OneStream, Rules, Session, Start, State, Stream};
use crate::journal::{Chain, Set, hash_at, mark};

/// What survives a crash, and what a copy copies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    pub(crate) stream: Stream,
    /// The streams it came from, nearest last, each with the mark it left it at.
    pub(crate) line: Vec<(Stream, Chain)>,
    pub(crate) journal: Chain,
    pub(crate) stored: u8,
    pub(crate) pruned: u8,
    /// Seqs whose hash is kept after pruning.
    pub(crate) kept: Set,
}

/// A disk and the process on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    pub(crate) disk: Disk,
    /// 0 while offline.
    pub(crate) session: Session,
    pub(crate) is_open: bool,
    /// Where its stream begins at the hub, until the hub acknowledges the stream.
    pub(crate) parent: Option<(Stream, Chain)>,
    /// The common mark below a range that is deleted here and absent there.
    pub(crate) base: Option<Chain>,
}

impl Disk {
    /// The disk at the start. Hashes kept below the pruned mark: of what was acknowledged, and by rule of what was sent.
    pub(crate) fn begin(start: &Start, keeps_sent: bool) -> Disk {
        let sent = start.sent.iter().filter(|_| keeps_sent).fold(0, |set, seq| set | 1 << seq);
        let kept = sent | 1 | 1 << start.pruned | 1 << start.stored;
        let (journal, stored, pruned) = (Chain::of(start.disk), start.stored, start.pruned);
        Disk { stream: 1, line: Vec::new(), journal, stored, pruned, kept }
    }

    /// An older copy, taken when all of it was stored.
    pub(crate) fn copied(names: &[u8]) -> Disk {
        let journal = Chain::of(names);
        let stored = journal.len();
        Disk { stream: 1, line: Vec::new(), journal, stored, pruned: 0, kept: 1 | 1 << stored }
    }

    fn knows(&self, seq: u8) -> bool {
        seq >= self.pruned || self.kept & 1 << seq != 0
    }

    fn hash_at(&self, seq: Seq) -> Option<waystation_protocol::chain::Hash> {
        let seq = u8::try_from(seq.0).ok().filter(|seq| *seq <= self.journal.len())?;
        self.knows(seq).then(|| hash_at(self.journal, seq))
    }
}

impl Device {
    pub(crate) fn new(disk: Disk) -> Device {
        Device { disk, session: 0, is_open: false, parent: None, base: None }
    }

    /// Whether it is connected and waits for a meeting.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.session != 0 && !self.is_open
    }

    /// The first seq it may send.
    pub(crate) fn next(&self) -> u8 {
        self.disk.stored.max(self.disk.pruned) + 1
    }

    /// The ranges it may send: any that is not stored; an empty one to register a fork or name a lost range.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u8, u8)> + use<> {
        let (next, head) = (self.next(), self.disk.journal.len());
        let is_open = self.is_open;
        let empty = (self.is_open && (self.parent.is_some() || self.base.is_some())).then_some((next, next - 1));
        let ranges = (next..=head).flat_map(move |first| (first..=head).map(move |last| (first, last)));
        ranges.filter(move |_| is_open).chain(empty)
    }

    fn meeting(&self, ladder: &[Chain], rules: &Rules) -> Meeting {
        let ladder: Vec<Mark> = ladder.iter().map(|chain| mark(*chain)).collect();
        let hash_at = |seq| self.disk.hash_at(seq);
        let own = OwnJournal {
            head: Seq(u64::from(self.disk.journal.len())),
            stored: Seq(u64::from(self.disk.stored)),
            pruned: Seq(u64::from(self.disk.pruned)),
            hash_at: &hash_at,
        };
        match meet(&ladder, &own) {
            Meeting::Diverged(common) if rules.gap_is_common => {
                let higher = ladder.iter().rev().find(|rung| rung.seq > common.seq && rung.seq <= own.head);
                Meeting::Resume(higher.copied().unwrap_or(common))
            }
            Meeting::Diverged(common) if rules.never_forks => Meeting::Resume(common),
            met => met,
        }
    }

    fn handle_ack(&mut self, session: Session, stored: Chain, rules: &Rules) {
        let disk = &mut self.disk;
        let session = if rules.trusts_any_session { self.session } else { session };
        let seq = stored.len().min(disk.journal.len());
        if rules.trusts_any_hash {
            disk.stored = disk.stored.max(seq);
            return;
        }
        let mut sender = Sender::new(Seq(u64::from(disk.journal.len())), mark(disk.journal.upto(disk.stored)));
        sender.handle_connected(session_id(self.session), Tick(0));
        let resume = Resume { stored: sender.stored(), floor: Seq(0), must_register: false, credit: 0 };
        sender.handle_resume(resume, Tick(0));
        let ack = Ack {
            session: session_id(session),
            stream: StreamId::from_bytes([0; 16]),
            stored: mark(stored),
            processed: Seq(0),
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing: Vec::new(),
            credit: 0,
            retry_after_ms: 0,
        };
        let outcome = sender.handle_ack(&ack, disk.hash_at(ack.stored.seq), Tick(0));
        if session != self.session {
            return;
        }
        match outcome {
            AckOutcome::Doubt => self.is_open = false,
            AckOutcome::Progress | AckOutcome::Ignored => {
                disk.stored = seq;
                disk.kept |= 1 << seq;
                (self.parent, self.base) = (None, None);
            }
        }
    }
}

fn session_id(session: Session) -> SessionId {
    SessionId::from_bytes([session; 16])
}

impl OneStream {
    /// A device says HELLO, in a new session or in the one it has.
    pub(crate) fn greet(&self, state: &mut State, index: usize, is_new: bool) {
        state.hellos += 1;
        let device = &mut state.devices[index];
        if is_new {
            state.sessions += 1;
            device.session = state.sessions;
        }
        device.is_open = false;
        let Disk { stream, line, journal: head, stored, pruned, .. } = device.disk.clone();
        state.network.insert(Message::Hello { session: device.session, stream, head, stored, pruned, line });
    }

    /// A device sends entries `first..=last`.
    pub(crate) fn send(&self, state: &mut State, index: usize, first: u8, last: u8) {
        let device = &mut state.devices[index];
        let disk = &mut device.disk;
        let (before, last) = (disk.journal.upto(first - 1), disk.journal.upto(last));
        let base = device.base.filter(|_| first == disk.pruned + 1);
        if self.rules.keeps_sent_hashes {
            disk.kept |= 1 << last.len();
        }
        let (stream, parent) = (disk.stream, device.parent);
        state.sends += u8::from(state.network.insert(Message::Batch { stream, parent, before, last, base }));
    }

    /// A device reads a WELCOME or an ACK.
    pub(crate) fn device_reads(&self, state: &mut State, index: usize, message: &Message) {
        let device = &mut state.devices[index];
        match message {
            Message::Welcome { session, stream, ladder } if *session == device.session => {
                let met = device.meeting(ladder, &self.rules);
                self.conclude(state, index, *stream, ladder[0], met);
            }
            Message::Ack { session, stream, stored } if device.is_open && *stream == device.disk.stream => {
                device.handle_ack(*session, *stored, &self.rules);
            }
            _ => {}
        }
    }

    fn conclude(&self, state: &mut State, index: usize, stream: Stream, hub: Chain, met: Meeting) {
        let device = &mut state.devices[index];
        let (common, is_lost) = match met {
            Meeting::Resume(mark) | Meeting::HubRolledBack(mark) | Meeting::Diverged(mark) => (mark, false),
            Meeting::Lost { common, .. } => (common, true),
            Meeting::Strangers => return,
        };
        let common = device.disk.journal.upto(common.seq.0 as u8);
        let has_diverged =
            matches!(met, Meeting::Diverged(_)) || (is_lost && self.rules.lost_on_a_fork && common != hub);
        let is_own = stream == device.disk.stream;
        if has_diverged && is_own {
            state.streams += 1;
            device.disk.line.push((device.disk.stream, common));
            device.disk.stream = state.streams;
        }
        if has_diverged || !is_own {
            device.parent = Some((stream, common)).filter(|(_, common)| !common.is_empty());
        }
        device.disk.stored = common.len();
        device.disk.kept |= 1 << common.len();
        device.base = is_lost.then_some(common);
        device.is_open = true;
    }
}
