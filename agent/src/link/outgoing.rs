//! What the runner sends: HELLO, HEARTBEAT and batches, encoded, sealed and handed to the client.

use waystation_protocol::chain::SeqRange;
use waystation_protocol::kind::KINDS;
use waystation_protocol::message::{Batch, Heartbeat, Hello, Message};
use waystation_protocol::time::Timestamp;
use waystation_protocol::{PROTOCOL_VERSION, batch, frame, limits};

use super::BUILD;
use super::connection::Connection;
use super::runner::Runner;
use crate::store::StoreError;

/// Down entries come with a later version; until then any credit does.
const DOWN_CREDIT_BYTES: u64 = limits::FIRST_CREDIT_BYTES;

impl Runner {
    pub(super) fn send(&mut self, range: SeqRange, frame: Vec<u8>, connection: &Connection) {
        let bytes = frame.len() as u64;
        tracing::debug!(first = range.first.0, last = range.last.0, bytes, "sending a batch");
        if !connection.publish(frame) {
            tracing::warn!("the client's queue is full; the batch will be sent again");
        }
        self.driver.handle_sent(range, bytes, self.now());
        self.status.update(|state| {
            state.counts.batches += 1;
            state.counts.bytes_sent += bytes;
        });
    }

    pub(super) fn greet(&mut self, connection: &Connection) {
        let Some(session) = self.driver.session() else { return };
        let (store, wall) = (&self.options.store, self.options.clock.now());
        let hello = Hello {
            agent: self.identity.agent,
            public_key: self.identity.key.verifying_key().to_bytes().to_vec().into(),
            session,
            sites: self.identity.sites.clone(),
            stream: self.identity.stream,
            line: Vec::new(),
            head: store.head(),
            stored: self.driver.stored(),
            pruned: store.pruned(),
            down: None,
            last_session: self.driver.last_session(),
            challenge_answer: None,
            credit: DOWN_CREDIT_BYTES,
            forms: KINDS.iter().map(|kind| (kind.name.to_owned(), kind.form)).collect(),
            protocols: (PROTOCOL_VERSION, PROTOCOL_VERSION),
            capabilities: Vec::new(),
            build: BUILD.to_owned(),
            t1: wall,
        };
        self.publish(connection, &hello);
        self.driver.handle_hello_sent(wall, self.now());
    }

    pub(super) fn beat(&mut self, connection: &Connection) {
        let Some(session) = self.driver.session() else { return };
        let (store, wall) = (&self.options.store, self.options.clock.now());
        let backlog = store.backlog();
        let heartbeat = Heartbeat {
            session,
            stream: self.identity.stream,
            head: store.head(),
            stored: self.driver.stored().seq,
            down: None,
            oldest_unsent_ms: backlog.oldest_at.map_or(0, |oldest| age_ms(oldest, wall)),
            backlog_entries: backlog.entries,
            backlog_bytes: backlog.bytes,
            disk_free: store.disk_free().unwrap_or_else(|error| {
                tracing::warn!(%error, "the free disk space is not known");
                0
            }),
            clock_offset_ms: self.driver.clock_offset_ms(),
            build: BUILD.to_owned(),
        };
        self.publish(connection, &heartbeat);
        let random = self.random();
        self.driver.handle_heartbeat_sent(self.now(), random);
    }

    fn publish<M: Message>(&self, connection: &Connection, message: &M) {
        let frame = frame::seal(M::FRAME, &message.to_body(), &self.identity.key);
        self.status.update(|state| state.counts.bytes_sent += frame.len() as u64);
        if !connection.publish(frame) {
            tracing::warn!(frame = ?M::FRAME, "the client's queue is full; the frame is lost");
        }
    }

    /// A sealed batch that begins `range`: as many entries as fit, once compressed, into one frame.
    pub(super) fn batch(&mut self, mut range: SeqRange) -> Result<(SeqRange, Vec<u8>), StoreError> {
        loop {
            let filled = match self.options.store.fill_batch(range, &mut self.builder) {
                Ok(filled) => filled,
                Err(error) => {
                    self.builder = batch::Builder::new();
                    return Err(error);
                }
            };
            let count = self.builder.count();
            let payload = self.builder.finish();
            if payload.len() > limits::BATCH_WIRE_BYTES && count > 1 {
                range.last = range.first.plus(u64::from(count / 2) - 1);
                continue;
            }
            let batch = Batch {
                stream: self.identity.stream,
                parent: None,
                first_seq: range.first,
                count,
                prev_hash: filled.prev_hash,
                base: None,
                payload: payload.into(),
            };
            let frame = frame::seal(Batch::FRAME, &batch.to_body(), &self.identity.key);
            return Ok((SeqRange { first: range.first, last: filled.last.max(range.first) }, frame));
        }
    }
}

/// Milliseconds from `earlier` to `later`; 0 if a clock went back.
fn age_ms(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0)
}
