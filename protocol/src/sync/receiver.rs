//! Receives one journal: decides what a batch adds, without storing anything itself.
//!
//! Batches ahead of a gap are kept, verified, and joined once the gap closes; `stored` is the contiguous prefix. The
//! shell commits what a verdict says before it sends the acknowledgement.

use std::collections::BTreeMap;

use crate::batch::Unpacked;
use crate::chain::{Hash, Mark, Seq, SeqRange};
use crate::limits;
use crate::plant::{Plant, is_planted};

/// What a batch adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its entries from `first` on continue the prefix, which now ends at `stored`.
    Append {
        /// The first new entry of this batch.
        first: Seq,
        /// The prefix's end, with the batches that joined.
        stored: Mark,
        /// First seqs of kept batches that do not fit after all: delete them, the sender resends.
        dropped: Vec<Seq>,
    },
    /// It lies ahead of a gap: keep it.
    Hold,
    /// Nothing in it is new: acknowledge again.
    Known,
    /// It contradicts what is stored: same seq, other hash. Refused on this stream.
    Conflict {
        /// Where the chains part.
        at: Seq,
    },
    /// It lies ahead of a gap, and enough batches are kept already: the sender resends.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ahead {
    prev: Hash,
    last: Mark,
}

/// The receiver of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    stored: Mark,
    ahead: BTreeMap<Seq, Ahead>,
}

impl Receiver {
    /// A receiver that has committed `stored`.
    pub fn new(stored: Mark) -> Receiver {
        Receiver { stored, ahead: BTreeMap::new() }
    }

    /// Restores a kept batch found in the store at start: its first seq, the hash before it, its last mark.
    pub fn restore_ahead(&mut self, first: Seq, prev: Hash, last: Mark) {
        self.ahead.insert(first, Ahead { prev, last });
    }

    /// The contiguous prefix.
    pub fn stored(&self) -> Mark {
        self.stored
    }

    /// What is missing below what arrived, lowest first.
    pub fn missing(&self) -> Vec<SeqRange> {
        let mut ranges = Vec::new();
        let mut next = self.stored.seq.next();
        for (first, ahead) in &self.ahead {
            if *first > next {
                ranges.push(SeqRange { first: next, last: Seq(first.0 - 1) });
            }
            next = next.max(ahead.last.seq.next());
        }
        ranges.truncate(limits::MISSING_RANGES);
        ranges
    }

    /// Passes over a range its sender has lost: from `base`, which must be the stored mark still, to `to`. Gives the
    /// first seqs of kept batches to delete, or none where nothing was passed over.
    pub fn pass_over(&mut self, base: Mark, to: Mark) -> Option<Vec<Seq>> {
        if self.stored != base || to.seq <= base.seq {
            return None;
        }
        self.stored = to;
        Some(self.join())
    }

    /// Judges a verified batch and moves on as if the verdict were committed.
    pub fn handle_batch(&mut self, batch: &Unpacked) -> Verdict {
        let (before, last) = (batch.before(), batch.last());
        if last.seq < self.stored.seq || batch.is_empty() {
            return Verdict::Known;
        }
        if before.seq > self.stored.seq {
            if is_planted(Plant::GapIsStored) {
                self.stored = last;
            }
            return self.hold(batch);
        }
        let Some(common) = batch.mark_at(self.stored.seq) else { return Verdict::Known };
        if common.hash != self.stored.hash {
            return Verdict::Conflict { at: self.stored.seq };
        }
        if last.seq == self.stored.seq {
            return Verdict::Known;
        }
        let first = self.stored.seq.next();
        self.stored = last;
        let dropped = self.join();
        Verdict::Append { first, stored: self.stored, dropped }
    }

    fn hold(&mut self, batch: &Unpacked) -> Verdict {
        let first = batch.before().seq.next();
        if self.ahead.contains_key(&first) {
            return Verdict::Known;
        }
        if self.ahead.len() >= limits::AHEAD_BATCHES {
            return Verdict::Refused;
        }
        self.ahead.insert(first, Ahead { prev: batch.before().hash, last: batch.last() });
        Verdict::Hold
    }

    /// Joins kept batches to the prefix. Those that overlap or do not chain are given back to be deleted.
    fn join(&mut self) -> Vec<Seq> {
        let mut dropped = Vec::new();
        while let Some((first, ahead)) = self.ahead.first_key_value().map(|(first, ahead)| (*first, *ahead)) {
            if first > self.stored.seq.next() {
                break;
            }
            self.ahead.pop_first();
            if first == self.stored.seq.next() && ahead.prev == self.stored.hash {
                self.stored = ahead.last;
            } else {
                dropped.push(first);
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Builder;
    use crate::id::StreamId;
    use crate::message::Batch;

    /// A batch of the journal whose entry at seq n is the n-th letter; upper case letters are another branch's.
    fn batch(journal: &str, first: usize, last: usize) -> Unpacked {
        let mut mark = Mark::ZERO;
        for byte in journal.bytes().take(first - 1) {
            mark = mark.extend(&[byte]);
        }
        let mut builder = Builder::new();
        for byte in journal.bytes().take(last).skip(first - 1) {
            assert!(builder.push(&[byte]));
        }
        let count = builder.count();
        Unpacked::open(&Batch {
            stream: StreamId::from_bytes([0; 16]),
            parent: None,
            first_seq: Seq(first as u64),
            count,
            prev_hash: mark.hash,
            base: None,
            payload: builder.finish().into(),
        })
        .unwrap()
    }

    /// Feeds batches written `1-3` (of `journal`) or `1-3!` (of another branch) and states the last verdict.
    fn check(batches: &str, expected: &str) {
        let mut receiver = Receiver::new(Mark::ZERO);
        let mut said = String::new();
        for word in batches.split_whitespace() {
            let (range, journal) = match word.strip_suffix('!') {
                Some(range) => (range, "abXYZXYZXY"),
                None => (word, "abcdefghij"),
            };
            let (first, last) = range.split_once('-').unwrap();
            said = match receiver.handle_batch(&batch(journal, first.parse().unwrap(), last.parse().unwrap())) {
                Verdict::Append { first, dropped, .. } if dropped.is_empty() => format!("append from {first}"),
                Verdict::Append { first, dropped, .. } => format!("append from {first}, drop {dropped:?}"),
                Verdict::Hold => "hold".into(),
                Verdict::Known => "known".into(),
                Verdict::Conflict { at } => format!("conflict at {at}"),
                Verdict::Refused => "refused".into(),
            };
        }
        let missing: Vec<String> =
            receiver.missing().iter().map(|range| format!("{}..{}", range.first, range.last)).collect();
        let state = format!("{said}; stored {}; asks for {}", receiver.stored().seq, missing.join(" "));
        assert_eq!(state.trim_end_matches("; asks for "), expected, "{batches}");
    }

    #[test]
    fn contiguous_batches_append() {
        check("1-3", "append from 1; stored 3");
        check("1-3 4-6", "append from 4; stored 6");
    }

    /// Proves R-BATCH-4.
    #[test]
    fn duplicates_and_overlaps_add_only_what_is_new() {
        check("1-3 1-3", "known; stored 3");
        check("1-3 1-2", "known; stored 3");
        check("1-3 2-6", "append from 4; stored 6");
    }

    /// Proves R-BATCH-5, I3.
    #[test]
    fn what_lies_ahead_is_kept_and_the_gap_named() {
        check("4-6", "hold; stored 0; asks for 1..3");
        check("4-6 8-9", "hold; stored 0; asks for 1..3 7..7");
        check("4-6 8-9 1-3", "append from 1; stored 6; asks for 7..7");
        check("4-6 8-9 1-3 7-7", "append from 7; stored 9");
        check("4-6 4-6", "known; stored 0; asks for 1..3");
    }

    #[test]
    fn a_kept_batch_that_overlaps_or_does_not_chain_is_dropped_and_asked_for_again() {
        check("4-6 1-4", "append from 1, drop [Seq(4)]; stored 4");
        check("4-6! 1-3", "append from 1, drop [Seq(4)]; stored 3");
    }

    #[test]
    fn another_branch_is_refused() {
        check("1-3 1-3!", "conflict at 3; stored 3");
        check("1-3 2-5!", "conflict at 3; stored 3");
        check("1-3 4-5!", "conflict at 3; stored 3");
    }

    /// Proves R-LOST-1.
    #[test]
    fn a_lost_range_is_passed_over_only_from_the_mark_its_meeting_found() {
        let mark = |journal: &str, seq| batch(journal, 1, seq).last();
        let mut receiver = Receiver::new(mark("abcdefghij", 2));
        assert_eq!(receiver.handle_batch(&batch("abcdefghij", 4, 4)), Verdict::Hold);
        assert_eq!(receiver.handle_batch(&batch("abcdefghij", 6, 7)), Verdict::Hold);
        assert_eq!(receiver.pass_over(mark("abcdefghij", 1), mark("abcdefghij", 5)), None);
        assert_eq!(receiver.pass_over(mark("abX", 2), mark("abcdefghij", 2)), None);
        assert_eq!(receiver.pass_over(mark("abcdefghij", 2), mark("abcdefghij", 5)), Some(vec![Seq(4)]));
        assert_eq!(receiver.stored(), mark("abcdefghij", 7));
    }

    /// Proves R-BATCH-5.
    #[test]
    fn the_number_of_kept_batches_is_bounded() {
        let mut receiver = Receiver::new(Mark::ZERO);
        for index in 0..limits::AHEAD_BATCHES as u64 {
            receiver.restore_ahead(
                Seq(2 * index + 100),
                Hash::ZERO,
                Mark { seq: Seq(2 * index + 100), hash: Hash::ZERO },
            );
        }
        assert_eq!(receiver.handle_batch(&batch("abcdefghij", 5, 6)), Verdict::Refused);
        assert_eq!(receiver.missing().len(), limits::MISSING_RANGES);
        assert!(matches!(receiver.handle_batch(&batch("abcdefghij", 1, 3)), Verdict::Append { .. }));
    }
}
