//! One stream up: devices of one agent, their disks and copies of them, a hub and its copies, and a network that keeps
//! every message for ever and delivers any of them at any time, any number of times, or never.
//!
//! Asks: is every confirmed capture at the hub, kept aside visibly, or in a named lost range, once faults end; is there
//! never a silent gap, nor a mix of two branches, nor a lost range for what the hub holds; does a healthy agent never
//! fork; does every state settle.

mod device;
mod hub;
mod settle;

use std::collections::BTreeSet;

use stateright::{Model, Property};

use crate::journal::{Chain, Set};
pub use device::{Device, Disk};
pub use hub::{Hub, Lane};

/// How it begins: the device's disk, the hub, and perhaps an older copy of the disk. Journals are entries' names.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start {
    /// The device's journal.
    pub disk: &'static [u8],
    /// How far the device believes it stored.
    pub stored: u8,
    /// How far it is pruned.
    pub pruned: u8,
    /// Ends of batches that it sent and never saw acknowledged.
    pub sent: &'static [u8],
    /// The hub's journal of its stream.
    pub hub: &'static [u8],
    /// Devices with this same disk that are connected and have met the hub already.
    pub twins: u8,
    /// The journal on the copy of the disk, all of it stored when it was copied.
    pub copy: Option<&'static [u8]>,
}

/// How many of each thing may happen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Captures.
    pub captures: u8,
    /// HELLOs.
    pub hellos: u8,
    /// Different batches.
    pub sends: u8,
    /// Disks put back from an earlier copy.
    pub restores: u8,
    /// Devices made from a copy of a disk.
    pub clones: u8,
    /// Prunings.
    pub prunes: u8,
    /// Hubs put back from an earlier copy.
    pub hub_restores: u8,
}

/// The rules, each of which can be bent.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The ladder also answers the marks HELLO names: stored and pruned.
    pub ladder_answers_hello: bool,
    /// For a stream the hub does not know, WELCOME speaks of the nearest ancestor HELLO names.
    pub ladder_through_line: bool,
    /// Where the hub holds another branch, what is pruned beyond the common mark is named on a new stream.
    pub lost_on_a_fork: bool,
    /// A BATCH with base counts only on the mark its meeting found.
    pub base_compares: bool,
    /// Entries of a valid batch that its stream cannot take are kept aside, visibly.
    pub keeps_aside: bool,
    /// An announced head stands until the chain has passed it; a higher one of another session does not replace it.
    pub announced_stand: bool,
    /// A heartbeat whose stored mark is not the hub's is answered.
    pub heartbeat_answers: bool,
    /// The agent keeps the hash of every end of a batch it sent, not only of acknowledged marks.
    pub keeps_sent_hashes: bool,
    /// Planted: the hub appends whatever comes at the next seq.
    pub appends_any_hash: bool,
    /// Bent: an ACK of any session counts. Its hash and the heartbeat protect without the session.
    pub trusts_any_session: bool,
    /// Planted: an ACK counts whatever its hash.
    pub trusts_any_hash: bool,
    /// Planted: the hub forks a stream on a HELLO that is behind it.
    pub hello_forks: bool,
    /// Planted: a diverged agent goes on in its stream after the common mark.
    pub never_forks: bool,
    /// Planted: the first rung missing from the own chain counts as common.
    pub gap_is_common: bool,
    /// Planted: the lost range is passed over without a name.
    pub gaps_are_silent: bool,
}

impl Rules {
    /// SYNC.md, word for word.
    pub const WRITTEN: Rules = Rules {
        ladder_answers_hello: false,
        ladder_through_line: false,
        lost_on_a_fork: false,
        base_compares: false,
        keeps_aside: false,
        announced_stand: false,
        heartbeat_answers: false,
        keeps_sent_hashes: false,
        appends_any_hash: false,
        trusts_any_session: false,
        trusts_any_hash: false,
        hello_forks: false,
        never_forks: false,
        gap_is_common: false,
        gaps_are_silent: false,
    };

    /// With what the model found.
    pub const PROPOSED: Rules = Rules {
        ladder_answers_hello: true,
        ladder_through_line: true,
        lost_on_a_fork: true,
        base_compares: true,
        keeps_aside: true,
        announced_stand: true,
        heartbeat_answers: true,
        keeps_sent_hashes: true,
        ..Rules::WRITTEN
    };
}

/// A stream's name.
pub type Stream = u8;
/// A session's name; later ones are higher.
pub type Session = u8;

/// A message. The network keeps every one that was sent. Fields are those of the product's messages.
#[expect(missing_docs, reason = "the fields are those of waystation_protocol::message")]
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// Agent to hub.
    Hello { session: Session, stream: Stream, head: Chain, stored: u8, pruned: u8, line: Vec<(Stream, Chain)> },
    /// Hub to agent.
    Welcome { session: Session, stream: Stream, ladder: Vec<Chain> },
    /// Agent to hub: the entries between two marks; `base` is the common mark below a lost range.
    Batch { stream: Stream, parent: Option<(Stream, Chain)>, before: Chain, last: Chain, base: Option<Chain> },
    /// Hub to agent.
    Ack { session: Session, stream: Stream, stored: Chain },
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A clerk's entry is confirmed at a device.
    Capture(usize),
    /// A device connects and greets.
    Connect(usize),
    /// A device greets again on the same connection.
    Greet(usize),
    /// A device sends the entries from the first seq to the last.
    Send(usize, u8, u8),
    /// The hub reads a message.
    ToHub(Message),
    /// A device reads a message.
    ToDevice(usize, Message),
    /// A device's disk is copied.
    CopyDisk(usize),
    /// A device's disk is replaced by the copy.
    RestoreDisk(usize),
    /// Another device begins with the copy.
    Clone,
    /// A device deletes its entries up to a seq.
    Prune(usize, u8),
    /// The hub's database is copied.
    CopyHub,
    /// The hub's database is replaced by the copy.
    RestoreHub,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) devices: Vec<Device>,
    pub(crate) disk_copy: Option<Disk>,
    pub(crate) hub: Hub,
    pub(crate) hub_copy: Option<Hub>,
    pub(crate) network: BTreeSet<Message>,
    pub(crate) captures: u8,
    pub(crate) sessions: Session,
    pub(crate) hellos: u8,
    pub(crate) sends: u8,
    pub(crate) streams: Stream,
    restores: u8,
    clones: u8,
    prunes: u8,
    hub_restores: u8,
}

/// The model.
#[derive(Debug, Clone)]
pub struct OneStream {
    /// From where.
    pub start: Start,
    /// How far it goes.
    pub bounds: Bounds,
    /// By which rules.
    pub rules: Rules,
}

impl Model for OneStream {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let start = &self.start;
        let first = Device::new(Disk::begin(start, self.rules.keeps_sent_hashes));
        let twins = (1..=start.twins).map(|session| Device { session, is_open: true, ..first.clone() });
        let devices = if start.twins == 0 { vec![first.clone()] } else { twins.collect() };
        vec![State {
            devices,
            disk_copy: start.copy.map(Disk::copied),
            hub: Hub::begin(Chain::of(start.hub)),
            hub_copy: None,
            network: BTreeSet::new(),
            captures: 0,
            sessions: start.twins,
            hellos: 0,
            sends: 0,
            streams: 1,
            restores: 0,
            clones: 0,
            prunes: 0,
            hub_restores: 0,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let bounds = &self.bounds;
        for (index, device) in state.devices.iter().enumerate() {
            if state.captures < bounds.captures {
                steps.push(Step::Capture(index));
            }
            if state.hellos < bounds.hellos {
                steps.push(Step::Connect(index));
                if device.is_doubtful() {
                    steps.push(Step::Greet(index));
                }
            }
            if state.sends < bounds.sends {
                steps.extend(device.ranges().map(|(first, last)| Step::Send(index, first, last)));
            }
            if state.restores < bounds.restores && state.disk_copy.is_some() {
                steps.push(Step::RestoreDisk(index));
            }
            if state.restores + state.clones < bounds.restores + bounds.clones && state.disk_copy.is_none() {
                steps.push(Step::CopyDisk(index));
            }
            if state.prunes < bounds.prunes {
                let disk = &device.disk;
                steps.extend((disk.pruned + 1..=disk.stored).map(|seq| Step::Prune(index, seq)));
            }
        }
        if state.clones < bounds.clones && state.disk_copy.is_some() {
            steps.push(Step::Clone);
        }
        if state.hub_restores < bounds.hub_restores {
            steps.push(if state.hub_copy.is_some() { Step::RestoreHub } else { Step::CopyHub });
        }
        self.deliveries(state, steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Capture(index) => self.capture(&mut state, index),
            Step::Connect(index) => self.greet(&mut state, index, true),
            Step::Greet(index) => self.greet(&mut state, index, false),
            Step::Send(index, first, to) => self.send(&mut state, index, first, to),
            Step::ToHub(message) => self.hub_reads(&mut state, &message),
            Step::ToDevice(index, message) => self.device_reads(&mut state, index, &message),
            Step::CopyDisk(index) => state.disk_copy = Some(state.devices[index].disk.clone()),
            Step::RestoreDisk(index) => {
                state.devices[index] = Device::new(state.disk_copy.clone()?);
                state.restores += 1;
            }
            Step::Clone => {
                state.devices.push(Device::new(state.disk_copy.clone()?));
                state.clones += 1;
            }
            Step::Prune(index, seq) => {
                state.devices[index].disk.pruned = seq;
                state.prunes += 1;
            }
            Step::CopyHub => state.hub_copy = Some(state.hub.clone()),
            Step::RestoreHub => {
                state.hub = state.hub_copy.clone()?;
                state.hub_restores += 1;
            }
        }
        self.forget_unreadable(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_GAP, |_, state: &State| state.hub.lanes.values().all(Lane::has_no_silent_gap)),
            Property::always(NO_MIX, |_, state: &State| !state.hub.is_mixed),
            Property::always(LOST_IS_LOST, |_, state: &State| !state.hub.named_what_it_held),
            Property::always(HEALTHY_STAYS, |model: &OneStream, state: &State| {
                state.restores + state.clones > 0
                    || !model.begins_healthy()
                    || state.devices.iter().all(|device| device.disk.stream == 1)
            }),
            Property::always(SETTLES, |model: &OneStream, state: &State| model.settles(state).is_ok()),
        ]
    }
}

/// I3: every seq of a stream is stored or in a named lost range.
pub const NO_GAP: &str = "no silent gap";
/// I3, I7: a stream holds one branch.
pub const NO_MIX: &str = "no stream mixes two branches";
/// I9: a lost range names nothing the hub holds.
pub const LOST_IS_LOST: &str = "what is named lost is lost";
/// A repeated HELLO, a late message or a restored hub forks nobody whose own disk is sound.
pub const HEALTHY_STAYS: &str = "a healthy agent never forks";
/// I1 and no livelock: once faults end, all is settled and every capture is accounted for.
pub const SETTLES: &str = "settles with every capture accounted for";

impl OneStream {
    fn deliveries(&self, state: &State, steps: &mut Vec<Step>) {
        for message in &state.network {
            match message {
                Message::Hello { .. } | Message::Batch { .. } => steps.push(Step::ToHub(message.clone())),
                Message::Welcome { .. } | Message::Ack { .. } => {
                    for (index, device) in state.devices.iter().enumerate() {
                        if device.session != 0 {
                            steps.push(Step::ToDevice(index, message.clone()));
                        }
                    }
                }
            }
        }
    }

    /// Drops what no device will ever read: words to sessions that are over.
    fn forget_unreadable(&self, state: &mut State) {
        let State { devices, network, .. } = state;
        if self.rules.trusts_any_session {
            return;
        }
        network.retain(|message| match message {
            Message::Hello { .. } | Message::Batch { .. } => true,
            Message::Welcome { session, .. } => devices.iter().any(|device| device.session == *session),
            Message::Ack { session, stream, .. } => {
                devices.iter().any(|device| device.session == *session && device.disk.stream == *stream)
            }
        });
    }

    fn capture(&self, state: &mut State, index: usize) {
        state.captures += 1;
        let name = self.before() + state.captures;
        let disk = &mut state.devices[index].disk;
        disk.journal = disk.journal.push(name);
    }

    /// Every capture so far.
    pub(crate) fn captured(&self, state: &State) -> Set {
        (1 << (self.before() + state.captures + 1)) - 2
    }

    /// Whether one device alone has written what the hub holds.
    fn begins_healthy(&self) -> bool {
        self.start.twins < 2 && Chain::of(self.start.hub).is_prefix_of(Chain::of(self.start.disk))
    }

    /// The highest name at the start.
    fn before(&self) -> u8 {
        self.start.disk.iter().chain(self.start.hub).copied().max().unwrap_or(0)
    }
}
