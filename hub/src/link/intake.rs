//! Frames on their way in: verified off the polling task, in each agent's order, and submitted to the store.
//!
//! One agent always has the same thread, so that its batches are not reordered here. The queues are bounded together
//! by the gauge `queued_bytes`; what exceeds it is dropped.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use waystation_protocol::id::AgentId;
use waystation_protocol::message::Hello;
use waystation_protocol::time::Timestamp;

use super::admission::Admission;
use super::credit::QUEUE_LIMIT;
use super::outbox::any_random;
use crate::clock;
use crate::ingest::{self, Incoming, Keys, Rejected, Reply, Upward};
use crate::store::Store;

struct Arrived {
    agent: AgentId,
    frame: Vec<u8>,
    received_at: Timestamp,
}

/// The verifying threads. They end once this is dropped and their queues are empty.
pub(super) struct Intake {
    queues: Vec<Sender<Arrived>>,
    store: Store,
}

impl Intake {
    pub(super) fn start(threads: usize, store: &Store, keys: &Arc<Keys>) -> std::io::Result<Intake> {
        let mut queues = Vec::new();
        let admission = Arc::new(Mutex::new(Admission::default()));
        for index in 0..threads.max(1) {
            let (sender, receiver) = channel();
            let (store, keys, admission) = (store.clone(), keys.clone(), admission.clone());
            let name = format!("verify-{index}");
            std::thread::Builder::new().name(name).spawn(move || verify_all(&receiver, &store, &keys, &admission))?;
            queues.push(sender);
        }
        Ok(Intake { queues, store: store.clone() })
    }

    /// Queues a frame, or drops it. Never waits.
    pub(super) fn offer(&self, agent: AgentId, frame: &[u8], received_at: Timestamp) {
        let counters = self.store.counters();
        counters.frames_received.one();
        counters.bytes_received.add(frame.len() as u64);
        if counters.queued_bytes.value() + frame.len() as u64 > QUEUE_LIMIT {
            counters.frames_dropped.one();
            return;
        }
        counters.queued_bytes.add(frame.len() as u64);
        let queue = &self.queues[usize::from(agent.as_bytes()[0]) % self.queues.len()];
        if let Err(unsent) = queue.send(Arrived { agent, frame: frame.to_vec(), received_at }) {
            counters.queued_bytes.sub(unsent.0.frame.len() as u64);
            counters.frames_dropped.one();
        }
    }
}

fn verify_all(arriving: &Receiver<Arrived>, store: &Store, keys: &Keys, admission: &Mutex<Admission>) {
    while let Ok(Arrived { agent, frame, received_at }) = arriving.recv() {
        match ingest::verify(agent, &frame, keys) {
            Ok(Upward::Hello(hello, _)) if is_put_off(&hello, store, admission) => {
                store.counters().queued_bytes.sub(frame.len() as u64);
            }
            Ok(message) => store.submit(Incoming { agent, message, received_at, wire_bytes: frame.len() }),
            Err(rejected) => {
                store.counters().queued_bytes.sub(frame.len() as u64);
                rejected.count(store.counters());
                tell(agent, &rejected);
            }
        }
    }
}

/// Whether a HELLO is not taken in for want of room; then its agent is told when to come back.
fn is_put_off(hello: &Hello, store: &Store, admission: &Mutex<Admission>) -> bool {
    let waiting = store.hellos_waiting();
    let verdict =
        admission.lock().unwrap_or_else(PoisonError::into_inner).handle_hello(waiting, clock::tick(), any_random());
    let Some(retry_after_ms) = verdict else { return false };
    store.counters().hellos_put_off.one();
    store.reply(Reply::come_back(hello, retry_after_ms));
    true
}

fn tell(agent: AgentId, rejected: &Rejected) {
    match rejected {
        Rejected::UnknownKey => tracing::debug!(%agent, "frame dropped: no HELLO came before it"),
        Rejected::KeyMismatch => tracing::error!(%agent, "HELLO refused: another key is pinned to this agent"),
        Rejected::Frame(_)
        | Rejected::Body(_)
        | Rejected::Batch(_)
        | Rejected::WrongTopic
        | Rejected::ReservedSite
        | Rejected::WrongDirection(_) => tracing::warn!(%agent, error = %rejected, "frame dropped"),
    }
}
