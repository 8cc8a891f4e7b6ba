//! What the applier is told: streams that grew, slices that were committed or not, and requests.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use waystation_protocol::chain::Seq;

use crate::store::StoreError;

/// Another process (a command beside a running hub) cannot ring here; an idle applier looks this often into the trail.
const LOOK: Duration = Duration::from_millis(500);

/// Where a request for a rebuild waits for its answer.
pub(crate) type RebuildReply = SyncSender<Result<(), StoreError>>;

/// What was told since the last look.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Streams whose stored prefix grew, by row: looked at in this order, so that a simulation's seed decides everything.
    pub(crate) grown: BTreeMap<i64, Seq>,
    /// Whether a lost range was filled below a processed mark.
    pub(crate) is_filled: bool,
    /// Slices that are no longer on the way.
    pub(crate) settled: usize,
    /// Whether one of them was not committed.
    pub(crate) has_failed: bool,
    /// Someone asks to derive everything again.
    pub(crate) rebuild: Option<RebuildReply>,
    /// Someone asks for a resolution: a row of the trail waits.
    pub(crate) is_asked: bool,
    /// The store is closing.
    pub(crate) is_stopping: bool,
}

/// The applier's mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams grew: rows and stored seqs; perhaps a lost range was filled.
    pub(crate) fn tell_stored(&self, grown: &[(i64, Seq)], is_filled: bool) {
        let mut mail = self.lock();
        mail.grown.extend(grown.iter().copied());
        mail.is_filled |= is_filled;
        drop(mail);
        self.arrived.notify_one();
    }

    /// A slice was committed, or failed.
    pub(crate) fn tell_applied(&self, is_committed: bool) {
        let mut mail = self.lock();
        mail.settled += 1;
        mail.has_failed |= !is_committed;
        self.arrived.notify_one();
    }

    /// Asks for a rebuild and waits until everything derived is dropped.
    pub(crate) fn request_rebuild(&self) -> Result<(), StoreError> {
        let (sender, receiver) = sync_channel(1);
        {
            let mut mail = self.lock();
            if mail.is_stopping || mail.rebuild.is_some() {
                return Err(StoreError::Closed);
            }
            mail.rebuild = Some(sender);
            self.arrived.notify_one();
        }
        receiver.recv().map_err(|_| StoreError::Closed)?
    }

    /// The store is closing: finish what is on the way, begin nothing.
    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
        self.arrived.notify_one();
    }

    /// Someone asked for a resolution in this process; those of others are found within [`LOOK`].
    pub(crate) fn tell_asked(&self) {
        self.lock().is_asked = true;
        self.arrived.notify_one();
    }

    /// Waits until slices are no longer on the way, and gives how many.
    pub(crate) fn take_settled(&self) -> usize {
        let mut mail = self.lock();
        while mail.settled == 0 {
            mail = self.arrived.wait(mail).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut mail.settled)
    }

    /// Takes the mail; waits for some if `is_idle`, but never longer than [`LOOK`].
    pub(crate) fn take(&self, is_idle: bool) -> Mail {
        let mut mail = self.lock();
        if is_idle && mail.is_empty() {
            (mail, _) = self.arrived.wait_timeout(mail, LOOK).unwrap_or_else(PoisonError::into_inner);
        }
        let is_stopping = mail.is_stopping;
        std::mem::replace(&mut *mail, Mail { is_stopping, ..Mail::default() })
    }
}

impl Mail {
    fn is_empty(&self) -> bool {
        let is_bidden = self.rebuild.is_some() || self.is_asked || self.is_filled || self.is_stopping;
        self.grown.is_empty() && self.settled == 0 && !is_bidden
    }
}
