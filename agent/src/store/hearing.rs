//! The stage's other half: entries of the downward journal, and answers to what the hub told.
//!
//! What a batch brings is folded onto the documents as captures left them, and written in one commit with its rows: an
//! acknowledgement never speaks of what is not here.

use std::collections::BTreeMap;

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::down::{self, CommandResult, Outcome, Rehydrated, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::EntryId;
use waystation_protocol::plant::{Plant, is_planted};

use super::At;
use super::error::{CaptureError, StoreError};
use super::stage::Stage;
use super::timepiece::Reading;
use super::told::{Answered, Told, is_told};

/// Who is named as the author of what the agent itself says.
pub(super) const AGENT_AUTHOR: &str = "agent";

/// What is answered to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) text: String,
    /// Whether the document cache is to be built anew from now on.
    pub(super) rebuilds: bool,
}

/// What the stage takes in besides captures.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Rows of the present downward journal.
    pub(super) rows: Vec<(Mark, Vec<u8>)>,
    pub(super) told: BTreeMap<EntryId, Told>,
    /// Whether the copy that a fork waits for is complete.
    pub(super) is_rehydrated: bool,
    pub(super) disowns_cache: bool,
}

impl Stage<'_> {
    /// Takes in entries that continue the present downward journal.
    pub(super) fn hear(&mut self, entries: Vec<(Mark, Vec<u8>)>) -> Result<(), StoreError> {
        for (mark, bytes) in entries {
            let entry = Entry::from_bytes(&bytes);
            self.heard.rows.push((mark, bytes));
            self.gained.heard += 1;
            match entry {
                Ok(entry) => self.hear_entry(mark.seq, entry)?,
                Err(error) => {
                    tracing::warn!(seq = mark.seq.0, %error, "an entry of the hub's cannot be read; a newer build may")
                }
            }
        }
        Ok(())
    }

    fn hear_entry(&mut self, seq: Seq, entry: Entry) -> Result<(), StoreError> {
        let Some(entry) = self.folding(|ground, gained| ground.hear(gained, seq, entry))? else { return Ok(()) };
        if let Some(marker) = Rehydrated::read(&entry) {
            self.heard.is_rehydrated |= self.down.waits.is_some_and(|waits| waits.stream == marker.stream);
        } else if is_told(&entry) && self.told(entry.id)?.is_none() {
            self.heard.told.insert(entry.id, Told { entry, answer: None });
        } else {
            tracing::debug!(kind = entry.kind, seq = seq.0, "an entry of the hub's is known, or of no use here");
        }
        Ok(())
    }

    /// Captures the answer to a command, unless it was given before.
    pub(super) fn answer(&mut self, id: EntryId, answer: Answer, at: At) -> Result<bool, CaptureError> {
        let Some(mut told) = self.told(id)? else { return Err(CaptureError::NotFound) };
        if told.answer.is_some() && !is_planted(Plant::CommandAgain) {
            return Ok(false);
        }
        let Reading { at, clock } = self.read_clock(at);
        let stamp = Stamp { id: self.shared.draw_entry(), now: at.now };
        if told.entry.kind != down::COMMAND {
            return Err(CaptureError::NotFound);
        }
        let Answer { outcome, text, rebuilds } = answer;
        self.heard.disowns_cache |= rebuilds;
        let mut entry = CommandResult { command: id, outcome, text }.entry(stamp);
        let author = AGENT_AUTHOR.to_owned();
        entry.author.clone_from(&author);
        (entry.mono_ms, entry.boot, entry.clock) = (at.mono_ms, self.shared.boot, clock);
        entry.cause = Some(id);
        self.push_row(&entry);
        self.gained.entries += 1;
        told.answer = Some(Answered { entry: entry.id, author, at: at.now });
        self.heard.told.insert(id, told);
        Ok(true)
    }

    fn told(&self, id: EntryId) -> Result<Option<Told>, StoreError> {
        match self.heard.told.get(&id) {
            Some(told) => Ok(Some(told.clone())),
            None => self.snapshot.told(id),
        }
    }
}
