//! What the hub counts while it runs, for `/metrics`: plain atomics, from 0 at each start.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter or gauge.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// So many fewer: only for gauges.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        /// Everything counted.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$meta])* pub $name: Count,)*
        }

        impl Counters {
            /// Every counter by name, in a fixed order.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.value())),*]
            }
        }
    };
}

counters! {
    /// Frames that arrived.
    frames_received,
    /// Their bytes.
    bytes_received,
    /// Gauge: bytes of frames that arrived and are not yet committed or refused.
    queued_bytes,
    /// Frames dropped because too much was queued; their agents resend.
    frames_dropped,
    /// Frames that are no frame, or whose body does not decode.
    frames_malformed,
    /// Frames of agents that never said HELLO.
    frames_unknown_key,
    /// Frames whose signature is not their agent's.
    signatures_refused,
    /// Frames not taken because the disk is short of room; their agents resend.
    frames_put_off,
    /// HELLOs with another key than the one pinned.
    keys_refused,
    /// HELLOs that speak no protocol of ours.
    protocols_refused,
    /// Batches whose payload does not unpack to what the envelope says.
    batches_malformed,
    /// Batches that added entries.
    batches_stored,
    /// Batches kept ahead of a gap.
    batches_held,
    /// Batches that held nothing new.
    batches_known,
    /// Batches that contradict what is stored.
    batches_conflicting,
    /// Batches kept aside because their journal went on without them.
    batches_aside,
    /// Batches of a newer protocol that cannot be read yet; they are kept and not acknowledged.
    batches_newer,
    /// Batches refused because too many wait ahead of a gap already.
    batches_refused,
    /// Batches on a stream of another agent.
    batches_misplaced,
    /// Batches of a fork whose branch point is not here.
    batches_unrooted,
    /// Forks opened: disks that were put back or copied.
    forks_opened,
    /// Entries named lost: deleted at their agent and not here.
    entries_named_lost,
    /// Entries named lost before that came all the same.
    entries_filled,
    /// Entries added to the contiguous prefix of their stream.
    entries_stored,
    /// Entries applied to their document.
    entries_applied,
    /// Entries that had been applied or set aside before, with the same bytes.
    entries_repeated,
    /// Entries put into quarantine.
    entries_quarantined,
    /// Entries parked.
    entries_parked,
    /// Entries that left quarantine: parked ones applied later, and those that people resolved.
    entries_released,
    /// Commits of received frames.
    commits_stored,
    /// Commits of processed entries.
    commits_applied,
    /// Commits that failed; nothing in them was acknowledged.
    commits_failed,
    /// WELCOMEs sent.
    welcomes_sent,
    /// HELLOs that were not taken in for want of room, and told when to come back.
    hellos_put_off,
    /// ACKs sent.
    acks_sent,
    /// Connections to the broker that stood.
    connections,
}
