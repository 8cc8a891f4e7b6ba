//! What a frame of the hub's meant.

use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::id::StreamId;
use waystation_protocol::message::{Ack, Batch, Ladder};
use waystation_protocol::time::Timestamp;

/// What a meeting decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Met {
    /// The last mark both hold.
    pub(super) common: Mark,
    /// Up to where entries are deleted here and absent there; 0 where nothing is lost.
    pub(super) floor: Seq,
    /// Whether this journal goes on in a new stream.
    pub(super) must_fork: bool,
    /// Whether the hub holds less than it once confirmed.
    pub(super) is_rolled_back: bool,
    /// The stream the hub spoke of.
    pub(super) spoken_of: StreamId,
}

/// A WELCOME to this session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcomed {
    /// What follows from it; none where a person must look. To be done, then told to [`Driver::handle_met`].
    pub(super) met: Option<Met>,
    /// Where the hub's journal and the one here agree, of what it showed.
    pub(super) shared: Vec<Seq>,
    /// The hub's clock as it left.
    pub(super) hub_time: Timestamp,
    /// How far the hub has processed the stream it spoke of.
    pub(super) processed: Seq,
    /// What may be deleted.
    pub(super) prunable: Seq,
    /// Its key, where it is to be pinned now.
    pub(super) pin: Option<[u8; 32]>,
    /// The letter it assigned.
    pub(super) letter: Option<char>,
    /// Bytes it takes in flight.
    pub(super) credit: u64,
    /// The downward journal as it holds it; none for a session that must first answer the challenge.
    pub(super) down: Option<Ladder>,
    /// What of that may be deleted here.
    pub(super) down_prunable: Seq,
    /// Whether it speaks of a downward journal, now or once the challenge is answered.
    pub(super) has_down: bool,
}

/// What a frame meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The hub welcomed this session.
    Welcomed(Box<Welcomed>),
    /// The hub acknowledged.
    Acked {
        /// What it holds.
        stored: Mark,
        /// How far it has processed.
        processed: Seq,
        /// What may be deleted.
        prunable: Seq,
        /// What of the downward journal may be deleted.
        down_prunable: Seq,
    },
    /// The hub acknowledged entries of another journal than this one: of a downward one, returned to it.
    Returned(Box<Ack>),
    /// A batch of a downward journal, in a session the hub welcomed.
    Batch(Box<Batch>),
    /// The hub has no room for a HELLO now; it is said again after a pause.
    Busy,
    /// An acknowledgement contradicts this journal; a HELLO follows.
    Doubt,
    /// Of an earlier session, or late: no harm.
    Stale,
    /// Damaged, wrongly signed, or out of place.
    Dropped(String),
}

impl Met {
    /// The range that nobody may have any more.
    pub(super) fn lost(&self) -> Option<SeqRange> {
        let first = self.common.seq.next();
        (first <= self.floor).then_some(SeqRange { first, last: self.floor })
    }
}
