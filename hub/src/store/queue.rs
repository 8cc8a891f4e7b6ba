//! What waits for the writer: verified messages, finished slices and single commands.
//!
//! Messages come first, because agents wait for their acknowledgement; but after each commit of messages one slice has
//! its turn, so that processing never starves. Both queues are bounded, and who pushes waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::error::StoreError;
use crate::apply::Slice;
use crate::ingest::{Incoming, Upward};

/// Most messages in one commit: enough to hide the sync, few enough to answer within a second.
const GROUP_MESSAGES: usize = 512;

/// Most memory of the messages in one commit, in bytes, unpacked payloads included.
const GROUP_BYTES: usize = 64 * 1024 * 1024;

/// Messages waiting beyond this many bytes of memory hold back the threads that verify; frames then wait packed.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Slices finished and not yet committed: one being written, one ready.
pub(crate) const SLICES: usize = 2;

/// A job for the writer's connection.
pub(crate) type Command = Box<dyn FnOnce(&mut Connection) + Send>;

/// What the writer does next.
pub(crate) enum Work {
    /// Commits these messages together.
    Store(Vec<Incoming>),
    /// Commits a slice.
    Apply(Box<Slice>),
    /// Runs a job.
    Run(Command),
    /// Everything is done and the store is closing.
    Stop,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Incoming>,
    message_bytes: usize,
    hellos: usize,
    slices: VecDeque<Box<Slice>>,
    commands: VecDeque<Command>,
    stored_last: bool,
    is_stopping: bool,
}

/// The writer's queues.
#[derive(Default)]
pub(crate) struct Queues {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    drained: Condvar,
}

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queues").field("messages", &self.lock().messages.len()).finish_non_exhaustive()
    }
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message; waits while too many bytes wait. After the stop it is dropped: its agent resends.
    pub(crate) fn push_message(&self, incoming: Incoming) {
        let bytes = incoming.memory_bytes();
        let mut waiting = self.lock();
        while waiting.message_bytes > WAITING_BYTES && !waiting.is_stopping {
            waiting = self.drained.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.is_stopping {
            return;
        }
        waiting.message_bytes += bytes;
        waiting.hellos += usize::from(is_hello(&incoming));
        waiting.messages.push_back(incoming);
        self.arrived.notify_one();
    }

    /// How many HELLOs wait.
    pub(crate) fn hellos(&self) -> usize {
        self.lock().hellos
    }

    /// Queues a slice. The applier keeps at most [`SLICES`] on the way.
    pub(crate) fn push_slice(&self, slice: Box<Slice>) {
        self.lock().slices.push_back(slice);
        self.arrived.notify_one();
    }

    /// Queues a job.
    pub(crate) fn push_command(&self, command: Command) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.is_stopping {
            return Err(StoreError::Closed);
        }
        waiting.commands.push_back(command);
        self.arrived.notify_one();
        Ok(())
    }

    /// No more messages or jobs; what waits is still done.
    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
        self.arrived.notify_all();
        self.drained.notify_all();
    }

    /// Waits for work.
    pub(crate) fn next(&self) -> Work {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = waiting.take() {
                self.drained.notify_all();
                return work;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a commit was told on `changes`, or a moment passed.
    pub(crate) fn wait_for_change(&self, changes: &mut watch::Receiver<u64>) -> Result<(), StoreError> {
        if self.lock().is_stopping {
            return Err(StoreError::Closed);
        }
        // a watch channel has no blocking wait outside a runtime; a fifth of a second is what a progress bar needs
        if !changes.has_changed().unwrap_or(false) {
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

fn is_hello(incoming: &Incoming) -> bool {
    matches!(incoming.message, Upward::Hello(..))
}

impl Waiting {
    fn take(&mut self) -> Option<Work> {
        if let Some(command) = self.commands.pop_front() {
            return Some(Work::Run(command));
        }
        let slice_is_due = self.stored_last || self.messages.is_empty();
        if slice_is_due && let Some(slice) = self.slices.pop_front() {
            self.stored_last = false;
            return Some(Work::Apply(slice));
        }
        if self.messages.is_empty() {
            return self.is_stopping.then_some(Work::Stop);
        }
        self.stored_last = true;
        Some(Work::Store(self.take_group()))
    }

    fn take_group(&mut self) -> Vec<Incoming> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < GROUP_MESSAGES && bytes < GROUP_BYTES {
            let Some(incoming) = self.messages.pop_front() else { break };
            bytes += incoming.memory_bytes();
            self.hellos -= usize::from(is_hello(&incoming));
            group.push(incoming);
        }
        self.message_bytes = self.message_bytes.saturating_sub(bytes);
        group
    }
}
