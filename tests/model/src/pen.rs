//! The pen over both journals: two documents, three devices of two sites, and a hub that may come back older.
//!
//! Document 0 goes to and fro between site 1 and the hub; document 1 goes from site 1 through the hub to site 2 and
//! back to the hub. Devices 0 and 1 stand for site 1, device 2 for site 2. Asks: is one successor accepted per state
//! entry; does the hub never decide again what a device has seen decided; do all agree in the end; is quarantine empty
//! without faults. Journals cross in order and whole here: what may go wrong on the way is asked of `stream`.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// When a restored hub acts on a site's documents again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// When every device that could have seen a decision on the document has returned what it holds: proposed.
    AllWhoMaySee,
    /// When every device of the document's own site has: SYNC.md.
    OwnSite,
    /// When one device of the site has: planted.
    OneDevice,
    /// At once: planted.
    None,
}

/// The rules.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// When a restored hub goes on.
    pub wait: Wait,
    /// The hub knows that it was restored: hub_epoch was raised.
    pub epoch_is_raised: bool,
    /// Planted: a state entry is accepted whatever it follows.
    pub ignores_after: bool,
    /// Planted: devices do not return what the hub forgot.
    pub returns_nothing: bool,
    /// Fault: device 1 is a copy of device 0 and believes that it holds the same pens.
    pub two_hold_the_pen: bool,
    /// Planted: what is superseded is dropped, not quarantined.
    pub drops_superseded: bool,
}

type Id = u8;
type Document = usize;

/// A state entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    document: Document,
    after: Id,
    id: Id,
}

/// The hub's database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Hub {
    accepted: Vec<Entry>,
    /// How many entries of each device's upward journal are processed.
    processed: [usize; 3],
    /// The downward journals.
    down: [Vec<Entry>; 3],
    /// Entries whose `after` is not known yet.
    parked: BTreeSet<Entry>,
    quarantined: BTreeSet<Entry>,
}

/// A device: its upward journal, and the downward one as it holds it, raw. `seen` is for the property.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Device {
    up: Vec<Entry>,
    got: Vec<Entry>,
    seen: BTreeSet<Entry>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    devices: [Device; 3],
    hub: Hub,
    copy: Option<Hub>,
    /// Devices that have not returned what they hold since the hub was restored.
    awaited: BTreeSet<usize>,
    ids: Id,
    restores: u8,
    decided_twice: bool,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A device with the pen acts on a document.
    Act(usize, Document),
    /// The hub processes the next entry of a device.
    Process(usize),
    /// The hub with the pen decides on a document.
    Decide(Document),
    /// A device receives the next entry of its downward journal.
    Receive(usize),
    /// The hub's database is copied.
    Copy,
    /// The hub's database is put back.
    Restore,
    /// A device returns the downward entries the hub forgot; the hub opens a downward journal anew with what it holds.
    Return(usize),
}

/// The model.
#[derive(Debug, Clone)]
pub struct Pen {
    /// By which rules.
    pub rules: Rules,
    /// Acts and decisions in all.
    pub entries: Id,
    /// Hubs put back.
    pub restores: u8,
    /// Whether deciding twice is taken as given, to ask for the rest.
    pub may_decide_twice: bool,
}

/// I8.
pub const ONE_SUCCESSOR: &str = "one accepted successor per state entry";
/// The hub never decides what a device has seen decided.
pub const NEVER_TWICE: &str = "the hub never decides again what a device has seen decided";
/// I1, I4.
pub const AGREES: &str = "once faults end, all agree and nothing vanished";
/// I9.
pub const CLEAN: &str = "without faults nothing is quarantined";

/// The devices that are told of a document's entries.
fn audience(document: Document) -> &'static [usize] {
    if document == 0 { &[0, 1] } else { &[0, 1, 2] }
}

/// Who holds the pen after so many entries: a device's number, or none for the hub.
fn holder(document: Document, entries: usize) -> Option<usize> {
    match (document, entries) {
        (_, 0) | (0, 2) => Some(0),
        (1, 2) => Some(2),
        _ => None,
    }
}

fn head(entries: &[Entry], document: Document) -> (Id, usize) {
    let mut of_it = entries.iter().filter(|entry| entry.document == document);
    let count = of_it.clone().count();
    (of_it.next_back().map_or(0, |entry| entry.id), count)
}

impl Device {
    /// What it shows: what the hub accepted, then its own pending entries that extend it.
    fn fold(&self) -> Vec<Entry> {
        let mut fold = self.got.clone();
        for entry in &self.up {
            if !fold.contains(entry) && head(&fold, entry.document).0 == entry.after {
                fold.push(*entry);
            }
        }
        fold
    }
}

impl Hub {
    /// Accepts, parks or quarantines an entry, then whatever was parked for it.
    fn take(&mut self, entry: Entry, rules: &Rules) {
        if self.accepted.contains(&entry) || self.quarantined.contains(&entry) {
            return;
        }
        let is_known = entry.after == 0 || self.accepted.iter().any(|known| known.id == entry.after);
        if head(&self.accepted, entry.document).0 == entry.after || (rules.ignores_after && is_known) {
            self.accept(entry);
        } else if is_known {
            if !rules.drops_superseded {
                self.quarantined.insert(entry);
            }
        } else {
            self.parked.insert(entry);
            return;
        }
        let next: Vec<Entry> = self.parked.iter().copied().filter(|parked| parked.after == entry.id).collect();
        for parked in next {
            self.parked.remove(&parked);
            self.take(parked, rules);
        }
    }

    fn accept(&mut self, entry: Entry) {
        self.accepted.push(entry);
        for index in audience(entry.document) {
            if !self.down[*index].contains(&entry) {
                self.down[*index].push(entry);
            }
        }
    }
}

impl Model for Pen {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for document in [0, 1] {
            if state.ids < self.entries {
                let acting = (0..3).filter(|index| self.may_act(&state.devices[*index], *index, document));
                steps.extend(acting.map(|index| Step::Act(index, document)));
                if self.may_decide(state, document) {
                    steps.push(Step::Decide(document));
                }
            }
        }
        for index in 0..3 {
            if self.may_process(state, index) {
                steps.push(Step::Process(index));
            }
            let got = &state.devices[index].got;
            if state.hub.down[index].starts_with(got) && state.hub.down[index].len() > got.len() {
                steps.push(Step::Receive(index));
            }
            if state.awaited.contains(&index) || !state.hub.down[index].starts_with(got) {
                steps.push(Step::Return(index));
            }
        }
        if state.restores < self.restores {
            steps.push(if state.copy.is_some() { Step::Restore } else { Step::Copy });
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Act(index, document) => {
                state.ids += 1;
                let after = head(&state.devices[index].fold(), document).0;
                let entry = Entry { document, after, id: state.ids };
                state.devices[index].up.push(entry);
            }
            Step::Process(index) => self.process(&mut state, index),
            Step::Decide(document) => {
                state.ids += 1;
                let after = head(&state.hub.accepted, document).0;
                let seen = |entry: &Entry| entry.document == document && entry.after == after;
                state.decided_twice |= state.devices.iter().any(|device| device.seen.iter().any(seen));
                let entry = Entry { document, after, id: state.ids };
                state.hub.take(entry, &self.rules);
            }
            Step::Receive(index) => receive(&mut state, index),
            Step::Copy => state.copy = Some(state.hub.clone()),
            Step::Restore => {
                state.hub = state.copy.clone()?;
                state.restores += 1;
                if self.rules.epoch_is_raised {
                    state.awaited = (0..3).collect();
                }
            }
            Step::Return(index) => self.give_back(&mut state, index),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_SUCCESSOR, |_, state: &State| {
                let places: BTreeSet<_> = state.hub.accepted.iter().map(|e| (e.document, e.after)).collect();
                places.len() == state.hub.accepted.len()
            }),
            Property::always(NEVER_TWICE, |model: &Pen, state: &State| model.may_decide_twice || !state.decided_twice),
            Property::always(CLEAN, |_, state: &State| {
                state.restores > 0 || (state.hub.quarantined.is_empty() && state.hub.parked.is_empty())
            }),
            Property::always(AGREES, |model: &Pen, state: &State| model.agrees(state)),
            Property::sometimes("the second site acts", |_, state: &State| !state.devices[2].up.is_empty()),
        ]
    }
}

fn receive(state: &mut State, index: usize) {
    let next = state.hub.down[index][state.devices[index].got.len()];
    state.devices[index].got.push(next);
    state.devices[index].seen.insert(next);
}

impl Pen {
    fn may_act(&self, device: &Device, index: usize, document: Document) -> bool {
        let pen = holder(document, head(&device.fold(), document).1);
        pen == Some(index) || (self.rules.two_hold_the_pen && index == 1 && pen == Some(0))
    }

    /// Whether a document may change at the hub: those awaited have returned.
    fn is_free(&self, state: &State, document: Document) -> bool {
        let is_back = |index: &usize| !state.awaited.contains(index);
        match self.rules.wait {
            Wait::AllWhoMaySee => audience(document).iter().all(is_back),
            Wait::OwnSite => [0, 1].iter().all(is_back),
            Wait::OneDevice => [0, 1].iter().any(is_back),
            Wait::None => true,
        }
    }

    fn may_decide(&self, state: &State, document: Document) -> bool {
        let (_, count) = head(&state.hub.accepted, document);
        // a decision ends document 0 at four entries and document 1 at four
        let is_hubs = count < 4 && holder(document, count).is_none();
        is_hubs && self.is_free(state, document)
    }

    fn may_process(&self, state: &State, index: usize) -> bool {
        let next = state.devices[index].up.get(state.hub.processed[index]);
        next.is_some_and(|entry| self.is_free(state, entry.document))
    }

    fn process(&self, state: &mut State, index: usize) {
        let entry = state.devices[index].up[state.hub.processed[index]];
        state.hub.processed[index] += 1;
        state.hub.take(entry, &self.rules);
    }

    /// A device returns what it holds, and takes what the hub accepted in its place.
    fn give_back(&self, state: &mut State, index: usize) {
        state.awaited.remove(&index);
        if !self.rules.returns_nothing {
            for entry in state.devices[index].got.clone() {
                state.hub.take(entry, &self.rules);
            }
        }
        let told = state.hub.accepted.iter().filter(|entry| audience(entry.document).contains(&index));
        let told: Vec<Entry> = told.copied().collect();
        state.hub.down[index].clone_from(&told);
        state.devices[index].seen.extend(&told);
        state.devices[index].got = told;
    }

    /// Everyone returns, everything is processed and received; then all must agree.
    fn agrees(&self, state: &State) -> bool {
        let mut state = state.clone();
        for _ in 0..3 {
            for index in 0..3 {
                if state.awaited.contains(&index) || !state.hub.down[index].starts_with(&state.devices[index].got) {
                    self.give_back(&mut state, index);
                }
            }
            for index in 0..3 {
                while self.may_process(&state, index) {
                    self.process(&mut state, index);
                }
            }
            for index in 0..3 {
                while state.hub.down[index].starts_with(&state.devices[index].got)
                    && state.hub.down[index].len() > state.devices[index].got.len()
                {
                    receive(&mut state, index);
                }
            }
        }
        let hub = &state.hub;
        let shows_hubs = |index: usize, document: Document| {
            let fold = state.devices[index].fold();
            let of_it = |entries: &[Entry]| -> Vec<Entry> {
                entries.iter().copied().filter(|entry| entry.document == document).collect()
            };
            of_it(&fold) == of_it(&hub.accepted)
        };
        let agree = [0, 1].iter().all(|document| audience(*document).iter().all(|index| shows_hubs(*index, *document)));
        let is_kept = |entry: &Entry| {
            hub.accepted.contains(entry) || hub.quarantined.contains(entry) || hub.parked.contains(entry)
        };
        agree && state.devices.iter().flat_map(|device| &device.up).all(is_kept)
    }
}
