//! Commands of the hub, each carried out at most once.
//!
//! The result is an entry of the journal here and is written first: whatever follows cannot happen twice. What a crash
//! may then leave undone is asked for again by people, who see the result and what came of it.

use waystation_protocol::chain::Seq;
use waystation_protocol::down::Outcome;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::engine::{Engine, Now};
use crate::store::{At, CaptureError, Due, StoreError};

/// What a command is to have done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Deed {
    outcome: Outcome,
    text: String,
    must_greet: bool,
    rebuilds: bool,
    prunes: bool,
}

impl Deed {
    fn of(outcome: Outcome, text: impl Into<String>) -> Deed {
        Deed { outcome, text: text.into(), must_greet: false, rebuilds: false, prunes: false }
    }
}

impl Engine {
    /// Carries out what waits. Without the hub's clock nothing is: a command may be out of date.
    pub(super) fn obey(&mut self, now: Now) {
        let Some(offset_ms) = self.driver.clock_offset_ms() else { return };
        let hub_now = Timestamp(now.wall.0.saturating_sub(offset_ms));
        let due = self.store.commands().unwrap_or_else(|error| {
            self.has_undone = true;
            tracing::error!(%error, "commands could not be read; they will be tried again");
            Vec::new()
        });
        for command in due {
            if let Err(error) = self.carry_out(&command, hub_now, now) {
                self.has_undone = true;
                tracing::error!(%error, command = %command.id, "a command is not carried out; it will be tried again");
            }
        }
    }

    fn carry_out(&mut self, due: &Due, hub_now: Timestamp, now: Now) -> Result<(), CaptureError> {
        let name = due.command.name.as_str();
        let deed = if hub_now > due.command.not_after && !is_planted(Plant::CommandTooLate) {
            Deed::of(Outcome::Expired, "it came too late")
        } else {
            match name {
                "resend" => Deed { must_greet: true, ..Deed::of(Outcome::Done, "the hub is greeted again") },
                "report" => Deed::of(Outcome::Done, self.counts()?),
                "prune" => Deed { prunes: true, ..Deed::of(Outcome::Done, "what the hub lets go will be deleted") },
                "rebuild_cache" => Deed { rebuilds: true, ..Deed::of(Outcome::Done, "documents are folded anew") },
                name => Deed::of(Outcome::Refused, format!("this build does not know the command '{name}'")),
            }
        };
        let at = At { now: now.wall, mono_ms: now.tick.0 };
        if self.store.answer_command(due.id, deed.outcome, &deed.text, deed.rebuilds, at)? {
            tracing::info!(command = name, outcome = deed.outcome.name(), text = deed.text, "a command of the hub's");
            self.must_greet |= deed.must_greet;
            if deed.prunes {
                self.store.prune();
            }
        }
        Ok(())
    }

    /// Counts for people, in one line.
    fn counts(&self) -> Result<String, StoreError> {
        let (store, made) = (&self.store, self.store.counts());
        Ok(format!(
            "head {} stored {} processed {} pruned {} down {} captured {} commits {} set aside {} free {}",
            store.head().seq,
            store.stored().seq,
            store.processed_and_prunable().0,
            store.pruned(),
            store.down().map_or(Seq(0), |down| down.head.seq),
            made.entries,
            made.commits,
            store.count_set_aside()?,
            store.disk_free()?,
        ))
    }
}
