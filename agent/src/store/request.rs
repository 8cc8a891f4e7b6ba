//! What is asked of the writer, and the answers that wait for its commit.
//!
//! Every caller is answered once: at once, or after the commit that holds what it asked for, or with why there was none.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use waystation_protocol::chain::Mark;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::{EntryId, StreamId};

use super::At;
use super::drafts::{Draft, DraftId};
use super::error::{CaptureError, StoreError};
use super::hearing::Answer;
use super::stage::{ImportOutcome, ImportRow, Receipt, Stage};

/// A call, and where its answer goes.
pub(super) enum Request {
    Capture {
        wish: Box<Wish>,
        seen: Option<EntryId>,
        at: At,
        reply: Reply<Result<Receipt, CaptureError>>,
    },
    Import {
        rows: Vec<ImportRow>,
        at: At,
        reply: Reply<Result<Vec<ImportOutcome>, CaptureError>>,
    },
    /// An import that stays on the stage: what would become of these rows.
    Rehearse {
        rows: Vec<ImportRow>,
        at: At,
        reply: Reply<Result<Vec<ImportOutcome>, CaptureError>>,
    },
    Keep {
        what: Keep,
        reply: Reply<Result<(), StoreError>>,
    },
    /// Entries that continue this downward journal.
    Hear {
        stream: StreamId,
        entries: Vec<(Mark, Vec<u8>)>,
        reply: Reply<Result<(), StoreError>>,
    },
    /// Something the hub told is answered, unless it was before.
    Answer {
        id: EntryId,
        answer: Answer,
        at: At,
        reply: Reply<Result<bool, CaptureError>>,
    },
    /// The clock was read and shows a step.
    ClockRead {
        at: At,
        reply: Reply<Result<bool, CaptureError>>,
    },
    /// The hub's marks moved; they are saved at the next pause.
    Progressed,
    /// To rest at once.
    #[cfg(test)]
    Rest {
        reply: Reply<()>,
    },
    Close,
}

/// What is kept beside the journal, durably.
pub(super) enum Keep {
    Draft(DraftId, Option<Draft>),
    HubKey([u8; 32]),
    Letter(char),
    /// A new stream that leaves the present one at this mark, and whether older documents wait for the hub's copy.
    Fork(Mark, bool),
    /// The hub was met.
    Met,
    /// People know what was salvaged.
    Dismissal,
}

pub(super) type Reply<T> = SyncSender<T>;

/// An answer that waits for the commit.
#[allow(clippy::large_enum_variant, reason = "a few hundred of them live for one commit")]
pub(super) enum Pending {
    Receipt(Reply<Result<Receipt, CaptureError>>, Result<Receipt, CaptureError>),
    Outcomes(Reply<Result<Vec<ImportOutcome>, CaptureError>>, Result<Vec<ImportOutcome>, CaptureError>),
    Answered(Reply<Result<bool, CaptureError>>, Result<bool, CaptureError>),
}

impl Request {
    pub(super) fn refuse(self, error: &Arc<StoreError>) {
        match self {
            Request::Capture { reply, .. } => answer(&reply, Err(not_captured(error))),
            Request::Import { reply, .. } | Request::Rehearse { reply, .. } => answer(&reply, Err(not_captured(error))),
            Request::Keep { reply, .. } | Request::Hear { reply, .. } => answer(&reply, Err(StoreError::Closed)),
            Request::Answer { reply, .. } | Request::ClockRead { reply, .. } => {
                answer(&reply, Err(not_captured(error)))
            }
            #[cfg(test)]
            Request::Rest { reply } => answer(&reply, ()),
            Request::Progressed | Request::Close => {}
        }
    }
}

impl Pending {
    /// Puts an act onto the stage; none where the request is no act.
    pub(super) fn stage(act: Request, stage: &mut Stage<'_>) -> Option<Pending> {
        match act {
            Request::Capture { wish, seen, at, reply } => Some(Pending::Receipt(reply, stage.capture(*wish, seen, at))),
            Request::Import { rows, at, reply } => {
                let outcomes = rows.into_iter().map(|row| stage.import(row, at)).collect();
                Some(Pending::Outcomes(reply, outcomes))
            }
            Request::Answer { id, answer, at, reply } => Some(Pending::Answered(reply, stage.answer(id, answer, at))),
            Request::ClockRead { at, reply } => Some(Pending::Answered(reply, Ok(stage.note_step(at)))),
            #[cfg(test)]
            Request::Rest { .. } => None,
            Request::Hear { .. }
            | Request::Keep { .. }
            | Request::Rehearse { .. }
            | Request::Progressed
            | Request::Close => None,
        }
    }

    pub(super) fn confirm(self) {
        match self {
            Pending::Receipt(reply, result) => answer(&reply, result),
            Pending::Outcomes(reply, result) => answer(&reply, result),
            Pending::Answered(reply, result) => answer(&reply, result),
        }
    }

    /// What was wrong with an act stays the answer; what would have been confirmed is not.
    pub(super) fn fail(self, error: &Arc<StoreError>) {
        match self {
            Pending::Receipt(reply, result) => answer(&reply, result.and_then(|_| Err(not_captured(error)))),
            Pending::Outcomes(reply, result) => answer(&reply, result.and_then(|_| Err(not_captured(error)))),
            Pending::Answered(reply, result) => answer(&reply, result.and_then(|_| Err(not_captured(error)))),
        }
    }
}

fn not_captured(error: &Arc<StoreError>) -> CaptureError {
    match **error {
        StoreError::DiskFull => CaptureError::DiskFull,
        _ => CaptureError::Failed(Arc::clone(error)),
    }
}

/// A caller that went away needs no answer.
pub(super) fn answer<T>(reply: &Reply<T>, value: T) {
    let _ = reply.send(value);
}
