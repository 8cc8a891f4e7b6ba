//! Printed numbers of one site: letters granted by the hub, counters persisted on disks that may be copied.
//!
//! Asks: is a number ever printed twice by three devices, one of which may be put back or copied, while the hub may be
//! put back too. A meeting is one step here: what may go wrong on the way is asked of `stream`.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// The rules.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// A store that finds itself copied or put back gives no number before it has met the hub, forks there, and gets a
    /// letter, whatever the ladder says. It compares a token kept outside what a copy takes along.
    pub copies_are_noticed: bool,
    /// The letters granted are kept with hub_epoch, outside what a restore puts back.
    pub letters_outlive_restore: bool,
    /// Planted: a fork keeps its letter.
    pub fork_keeps_letter: bool,
    /// Planted: the letter of a device that is gone is given again.
    pub letters_are_reused: bool,
    /// Planted: the next number is one more than the highest in the journal, which may be pruned.
    pub counts_journal: bool,
}

type Letter = u8;

/// A device's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Disk {
    letter: Letter,
    counter: u8,
    /// Entries in its journal, one per number.
    head: u8,
    /// What the hub stored of them when they last met.
    stored: u8,
    /// How many of them are pruned.
    pruned: u8,
    stream: u8,
}

/// A device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Device {
    disk: Disk,
    is_copied: bool,
    is_gone: bool,
}

/// The hub's database: letters granted, and each stream's head.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Hub {
    granted: BTreeSet<Letter>,
    heads: [u8; 8],
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    devices: Vec<Device>,
    hub: Hub,
    hub_copy: Option<Hub>,
    disk_copy: Option<Disk>,
    granted_ever: BTreeSet<Letter>,
    printed: BTreeSet<(Letter, u8)>,
    printed_twice: bool,
    streams: u8,
    copies: u8,
    hub_restores: u8,
    prints: u8,
    prunes: u8,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A device of this site is set up anew.
    Install,
    /// A device breaks for good.
    Break(usize),
    /// A device prints a number.
    Print(usize),
    /// A device deletes what it may.
    Prune(usize),
    /// A device meets the hub and sends all it has.
    Meet(usize),
    /// A disk is copied.
    CopyDisk(usize),
    /// A disk is put back.
    RestoreDisk(usize),
    /// The copy begins a device of its own.
    Clone,
    /// The hub's database is copied.
    CopyHub,
    /// The hub's database is put back with its restore tool.
    RestoreHub,
}

/// The model.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// By which rules.
    pub rules: Rules,
    /// Devices that have their letters at the start.
    pub begun: usize,
    /// Devices in all.
    pub devices: usize,
    /// Numbers printed in all.
    pub prints: u8,
    /// Whether one device may break for good, and one may prune.
    pub ends: bool,
    /// Letters there are; 26 in the field.
    pub letters: Letter,
}

/// No printed number twice.
pub const UNIQUE: &str = "no number is printed twice";

impl Model for Numbers {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::default();
        for index in 0..self.begun {
            state.streams += 1;
            state.devices.push(Device { disk: Disk { stream: state.streams, ..Disk::default() }, ..Device::default() });
            self.meet(&mut state, index);
        }
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.devices.len() < self.devices {
            steps.push(Step::Install);
            if state.copies == 0 && state.disk_copy.is_some() {
                steps.push(Step::Clone);
            }
        }
        for (index, device) in state.devices.iter().enumerate().filter(|(_, device)| !device.is_gone) {
            steps.push(Step::Meet(index));
            if self.ends && !state.devices.iter().any(|device| device.is_gone) {
                steps.push(Step::Break(index));
            }
            if state.prints < self.prints && device.disk.letter != 0 {
                steps.push(Step::Print(index));
            }
            if self.ends && state.prunes == 0 && device.disk.pruned < device.disk.stored {
                steps.push(Step::Prune(index));
            }
            if state.copies == 0 {
                steps.push(if state.disk_copy.is_some() { Step::RestoreDisk(index) } else { Step::CopyDisk(index) });
            }
        }
        if state.hub_restores == 0 {
            steps.push(if state.hub_copy.is_some() { Step::RestoreHub } else { Step::CopyHub });
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Install => {
                state.streams += 1;
                let disk = Disk { stream: state.streams, ..Disk::default() };
                state.devices.push(Device { disk, ..Device::default() });
            }
            Step::Break(index) => state.devices[index] = Device { is_gone: true, ..state.devices[index] },
            Step::Print(index) => self.print(&mut state, index),
            Step::Prune(index) => {
                let disk = &mut state.devices[index].disk;
                disk.pruned = disk.stored;
                state.prunes += 1;
            }
            Step::Meet(index) => self.meet(&mut state, index),
            Step::CopyDisk(index) => state.disk_copy = Some(state.devices[index].disk),
            Step::RestoreDisk(index) => {
                state.devices[index] = Device { disk: state.disk_copy?, is_copied: true, is_gone: false };
                state.copies += 1;
            }
            Step::Clone => {
                state.devices.push(Device { disk: state.disk_copy?, is_copied: true, is_gone: false });
                state.copies += 1;
            }
            Step::CopyHub => state.hub_copy = Some(state.hub.clone()),
            Step::RestoreHub => {
                state.hub = state.hub_copy.clone()?;
                state.hub_restores += 1;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(UNIQUE, |_, state: &State| !state.printed_twice),
            Property::sometimes("two letters print", |_, state: &State| {
                (1..=2).all(|letter| state.printed.contains(&(letter, 1)))
            }),
        ]
    }
}

impl Numbers {
    fn print(&self, state: &mut State, index: usize) {
        let device = &mut state.devices[index];
        if self.rules.copies_are_noticed && device.is_copied {
            return;
        }
        let disk = &mut device.disk;
        let is_forgotten = self.rules.counts_journal && disk.pruned == disk.head;
        disk.counter = if is_forgotten { 1 } else { disk.counter + 1 };
        disk.head += 1;
        state.prints += 1;
        state.printed_twice |= !state.printed.insert((disk.letter, disk.counter));
    }

    /// The hub's ladder tells a fork by its head; a new device and a fork get a letter.
    fn meet(&self, state: &mut State, index: usize) {
        let device = &mut state.devices[index];
        let stream = usize::from(device.disk.stream);
        let has_diverged = state.hub.heads[stream] > device.disk.head;
        let is_fork = has_diverged || (self.rules.copies_are_noticed && device.is_copied);
        if is_fork {
            state.streams += 1;
            device.disk.stream = state.streams;
        }
        let wants_letter = device.disk.letter == 0 || (is_fork && !self.rules.fork_keeps_letter);
        device.is_copied = false;
        let (stream, head) = (usize::from(device.disk.stream), device.disk.head);
        device.disk.stored = head;
        state.hub.heads[stream] = state.hub.heads[stream].max(head);
        if wants_letter {
            self.grant(state, index);
        }
        let letter = state.devices[index].disk.letter;
        state.hub.granted.insert(letter);
    }

    fn grant(&self, state: &mut State, index: usize) {
        let known = if self.rules.letters_outlive_restore { &state.granted_ever } else { &state.hub.granted };
        let in_use = |letter: &Letter| state.devices.iter().any(|d| !d.is_gone && d.disk.letter == *letter);
        let is_free = |letter: &Letter| !known.contains(letter) || (self.rules.letters_are_reused && !in_use(letter));
        let letter = (1..=self.letters).find(is_free).unwrap_or(0);
        let disk = &mut state.devices[index].disk;
        (disk.letter, disk.counter) = (letter, 0);
        state.granted_ever.insert(letter);
    }
}
