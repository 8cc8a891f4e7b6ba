//! The engine's other half: the downward journal between the hub and the store.
//!
//! A batch is on the disk before its acknowledgement leaves, and what it asks for is done after that.

use waystation_protocol::batch;
use waystation_protocol::chain::Seq;
use waystation_protocol::limits;
use waystation_protocol::message::{Ack, Batch};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::sync::{AckOutcome, Command};

use super::down::Arrived;
use super::engine::{Engine, Now};
use super::heard::Welcomed;
use crate::store::StoreError;

/// What the hub may have in flight: a page of a large document, and what a day away brought.
pub(super) const DOWN_CREDIT_BYTES: u64 = limits::FIRST_CREDIT_BYTES;

impl Engine {
    /// Finds out what the hub has of the downward journal.
    pub(super) fn meet_down(&mut self, welcomed: &Welcomed, now: Now) {
        let Some(ladder) = &welcomed.down else { return };
        let held = match self.store.down_of(ladder.stream) {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(%error, "the downward journal could not be read");
                return;
            }
        };
        let store = self.store.clone();
        let hash_at = |seq| store.down_hash_at(ladder.stream, seq);
        self.down.handle_welcome(ladder, held.as_ref(), &hash_at, welcomed.credit, now.tick);
        if self.store.down().is_some_and(|down| down.stream == ladder.stream) {
            self.store.record_down_prunable(welcomed.down_prunable);
        }
        self.let_go();
        self.obey(now);
    }

    /// Takes in a batch of the hub's.
    pub(super) fn heed_batch(&mut self, batch: &Batch, now: Now) {
        let known = self.store.down_of(batch.stream);
        let arrived = known.map_err(|error| error.to_string());
        let arrived = arrived.and_then(|known| self.down.handle_batch(batch, known.is_some()));
        match arrived {
            Ok(Arrived::Store { stream, entries }) => {
                let count = entries.len() as u64;
                let stored = self.store.hear(stream, entries);
                self.down
                    .handle_stored(stored.is_ok() || is_planted(Plant::AckDownUnstored), self.store.down().as_ref());
                match stored {
                    Ok(()) => {
                        tracing::debug!(%stream, count, "the hub's entries are stored");
                        self.status.update(|state| state.counts.heard += count);
                        self.let_go();
                        self.obey(now);
                    }
                    Err(error) => tracing::error!(%error, "what the hub sent is not stored, and not acknowledged"),
                }
            }
            Ok(Arrived::Acknowledge) => {}
            Ok(Arrived::Doubt) => self.must_greet = true,
            Ok(Arrived::Dropped) => tracing::debug!(stream = %batch.stream, "a batch of no present journal"),
            Err(reason) => {
                tracing::warn!(reason, "a batch of the hub's was dropped");
                self.status.update(|state| state.counts.frames_dropped += 1);
            }
        }
    }

    /// The hub acknowledged what was returned to it.
    pub(super) fn heed_returned(&mut self, ack: &Ack, now: Now) {
        let own_hash = self.store.down_hash_at(ack.stream, ack.stored.seq);
        match self.down.handle_ack(ack, own_hash, now.tick) {
            Some(AckOutcome::Doubt) => self.must_greet = true,
            Some(AckOutcome::Progress | AckOutcome::Ignored) => {}
            None => tracing::debug!(stream = %ack.stream, "an acknowledgement of no present journal"),
        }
    }

    /// The next frame about the downward journal, if one is due.
    pub(super) fn poll_down(&mut self, now: Now) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(ack) = self.down.take_ack(DOWN_CREDIT_BYTES) {
            return Ok(Some(self.seal(&ack)));
        }
        if self.store.down().is_some_and(|held| self.down.handle_pruned(&held)) {
            self.must_greet = true;
        }
        let Some((stream, command, base)) = self.down.poll_return(now.tick) else { return Ok(None) };
        let store = self.store.clone();
        match command {
            Command::Batch(range) => {
                let fill = |range, builder: &mut batch::Builder| store.fill_down_batch(stream, range, builder);
                let (frame, sent) = self.seal_batch(stream, None, base, range, &fill)?;
                self.down.handle_sent(sent, frame.len() as u64, now.tick);
                Ok(Some(frame))
            }
            Command::Register(first) => {
                let prev_hash = store.down_hash_at(stream, Seq(first.0 - 1));
                let frame = self.seal_registration(stream, None, base, first, prev_hash)?;
                self.down.handle_registration_sent(first, frame.len() as u64, now.tick);
                Ok(Some(frame))
            }
            Command::Hello | Command::Rebuild => Ok(None),
        }
    }
}
