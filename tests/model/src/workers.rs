//! Two hub workers on one database, which may be put back from an earlier copy under them.
//!
//! Asks: is every ACK backed by a committed row; is nothing stored twice; does a stream stay one chain. A worker keeps
//! what it read of the stream in memory, as `Lanes` does; every batch of both branches may arrive at any time.

use std::collections::BTreeMap;

use stateright::{Model, Property};
use waystation_protocol::sync::{Receiver, Verdict};

use crate::journal::{self, Chain, mark, unpacked};

/// What a commit compares with what its worker read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Nothing: planted.
    Nothing,
    /// The stored seq: planted.
    Seq,
    /// The stored seq and hash, as SYNC.md says.
    Mark,
    /// The mark and the batches held ahead, as proposed: a revision that every write of the stream raises.
    Lane,
}

/// The rules.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What a commit compares.
    pub compare: Compare,
    /// Every ACK, also of what is known, speaks of the database as it is now, not of the worker's memory.
    pub acks_from_database: bool,
    /// Planted: the ACK leaves before the commit.
    pub acks_early: bool,
}

/// A stream as read from the database or held in it: the mark, and the rows by first seq.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lane {
    stored: Chain,
    rows: BTreeMap<u8, (Chain, Chain)>,
}

/// A batch between judgement and commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    read: Lane,
    after: Lane,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Worker {
    memory: Option<Lane>,
    writing: Option<Write>,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    database: Lane,
    copy: Option<Lane>,
    workers: [Worker; 2],
    restores: u8,
    acked_what_is_not_there: bool,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A worker judges the batch between two marks.
    Judge(usize, Chain, Chain),
    /// A worker commits.
    Commit(usize),
    /// A worker's commit succeeds, and it dies before it knows.
    CommitUnseen(usize),
    /// A worker dies.
    Crash(usize),
    /// The database is copied.
    Copy,
    /// The database is put back, under the workers.
    Restore,
}

/// The model.
#[derive(Debug, Clone)]
pub struct Workers {
    /// By which rules.
    pub rules: Rules,
    /// The main branch; the other leaves it after its first entry.
    pub main: &'static [u8],
    /// The other branch.
    pub other: &'static [u8],
    /// Databases put back.
    pub restores: u8,
}

/// I5.
pub const BACKED: &str = "every ACK is backed by a committed row";
/// I2.
pub const ONCE: &str = "nothing is stored twice";
/// I3.
pub const ONE_CHAIN: &str = "the rows up to the stored mark are one chain";

impl Lane {
    fn rows_in_order(&self) -> impl Iterator<Item = &(Chain, Chain)> {
        self.rows.values().filter(|(before, _)| before.len() < self.stored.len())
    }

    fn is_one_chain(&self) -> bool {
        let end = self.rows_in_order().try_fold(Chain::EMPTY, |end, (before, last)| {
            (before.is_prefix_of(end) && end.is_prefix_of(*last)).then_some(*last)
        });
        end == Some(self.stored)
    }

    fn overlaps(&self) -> bool {
        let rows: Vec<_> = self.rows_in_order().collect();
        rows.windows(2).any(|pair| pair[1].0.len() < pair[0].1.len())
    }
}

impl Model for Workers {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (index, worker) in state.workers.iter().enumerate() {
            if worker.writing.is_some() {
                steps.extend([Step::Commit(index), Step::CommitUnseen(index)]);
            } else {
                steps.extend(self.batches().map(|(before, last)| Step::Judge(index, before, last)));
            }
            if *worker != Worker::default() {
                steps.push(Step::Crash(index));
            }
        }
        if state.restores < self.restores {
            steps.push(if state.copy.is_some() { Step::Restore } else { Step::Copy });
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Judge(index, before, last) => self.judge(&mut state, index, before, last),
            Step::Commit(index) => self.commit(&mut state, index, true),
            Step::CommitUnseen(index) => self.commit(&mut state, index, false),
            Step::Crash(index) => state.workers[index] = Worker::default(),
            Step::Copy => state.copy = Some(state.database.clone()),
            Step::Restore => {
                state.database = state.copy.clone()?;
                state.restores += 1;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(BACKED, |_, state: &State| !state.acked_what_is_not_there),
            Property::always(ONCE, |_, state: &State| !state.database.overlaps()),
            Property::always(ONE_CHAIN, |_, state: &State| state.database.overlaps() || state.database.is_one_chain()),
            Property::sometimes("a whole branch is stored", |model: &Workers, state: &State| {
                state.database.stored == Chain::of(model.main)
            }),
        ]
    }
}

impl Workers {
    fn batches(&self) -> impl Iterator<Item = (Chain, Chain)> + use<> {
        [self.main, self.other].into_iter().flat_map(|names| {
            let chain = Chain::of(names);
            let ranges = (0..chain.len()).flat_map(move |from| (from + 1..=chain.len()).map(move |to| (from, to)));
            ranges.map(move |(from, to)| (chain.upto(from), chain.upto(to)))
        })
    }

    fn judge(&self, state: &mut State, index: usize, before: Chain, last: Chain) {
        let read = state.workers[index].memory.clone().unwrap_or_else(|| state.database.clone());
        let mut receiver = Receiver::new(mark(read.stored));
        for (before, last) in read.rows.values().filter(|(before, _)| before.len() > read.stored.len()) {
            receiver.restore_ahead(mark(*before).seq.next(), mark(*before).hash, mark(*last));
        }
        let mut after = read.clone();
        match receiver.handle_batch(&unpacked(before, last)) {
            Verdict::Append { first, stored, dropped } => {
                for first in dropped {
                    after.rows.remove(&(first.0 as u8));
                }
                after.rows.insert(first.0 as u8, (last.upto(first.0 as u8 - 1), last));
                after.stored = journal::chain(stored);
            }
            Verdict::Hold => {
                after.rows.insert(before.len() + 1, (before, last));
            }
            Verdict::Known | Verdict::Conflict { .. } | Verdict::Refused => {
                let said = if self.rules.acks_from_database { state.database.stored } else { read.stored };
                acknowledge(state, said);
                state.workers[index].memory = Some(read);
                return;
            }
        }
        if self.rules.acks_early {
            acknowledge(state, after.stored);
        }
        state.workers[index] = Worker { memory: Some(read.clone()), writing: Some(Write { read, after }) };
    }

    /// Writes the rows a worker changed, if what it read still stands; else it forgets all it knew.
    fn commit(&self, state: &mut State, index: usize, is_seen: bool) {
        let Some(Write { read, after }) = state.workers[index].writing.take() else { return };
        let database = &mut state.database;
        let stands = match self.rules.compare {
            Compare::Nothing => true,
            Compare::Seq => database.stored.len() == read.stored.len(),
            Compare::Mark => database.stored == read.stored,
            Compare::Lane => *database == read,
        };
        let added = after.rows.iter().filter(|(first, row)| read.rows.get(first) != Some(row));
        let is_free =
            added.clone().all(|(first, _)| read.rows.contains_key(first) || !database.rows.contains_key(first));
        if !stands || !is_free {
            state.workers[index] = Worker::default();
            return;
        }
        database.rows.retain(|first, _| after.rows.contains_key(first) || !read.rows.contains_key(first));
        database.rows.extend(added.map(|(first, row)| (*first, *row)));
        database.stored = after.stored;
        state.workers[index].memory = is_seen.then_some(after);
        if is_seen {
            let said = state.database.stored;
            acknowledge(state, said);
        }
    }
}

fn acknowledge(state: &mut State, said: Chain) {
    state.acked_what_is_not_there |= !said.is_prefix_of(state.database.stored);
}
