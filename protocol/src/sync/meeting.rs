//! Meeting again: what the agent concludes from the hub's ladder, on its own journal.
//!
//! The table of SYNC.md, as a pure function. c is the last seq at which both chains agree; where several rows of the
//! table fit, the later one counts. HELLO changes nothing at the hub; this decision, taken by the agent, does.

use crate::chain::{Hash, Mark, Seq};

/// What the agent knows when a WELCOME arrives.
pub struct OwnJournal<'a> {
    /// How far its journal goes.
    pub head: Seq,
    /// The mark it knew the hub to have stored.
    pub stored: Seq,
    /// Up to where its own copy is deleted.
    pub pruned: Seq,
    /// The chain's hash at a seq, where it is still known.
    pub hash_at: &'a dyn Fn(Seq) -> Option<Hash>,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// The hub holds a prefix of this journal: go on after it.
    Resume(Mark),
    /// The hub holds less than it once confirmed: go on after what it holds now.
    HubRolledBack(Mark),
    /// The hub holds entries this journal lacks: the disk was restored, or a clone wrote.
    Diverged(Mark),
    /// Entries after the common mark are deleted here and absent there: the range is named, and what follows it sent.
    Lost {
        /// The last common mark.
        common: Mark,
        /// What is deleted here.
        pruned: Seq,
        /// The hub holds entries this journal lacks, too: the range goes on a new stream.
        is_diverged: bool,
    },
    /// Nothing in common is known.
    Strangers,
}

/// Decides which row of the table holds. The ladder's first rung is the hub's stored mark.
pub fn meet(ladder: &[Mark], own: &OwnJournal<'_>) -> Meeting {
    let Some(hub) = ladder.first() else { return Meeting::Strangers };
    let agrees = |rung: &&Mark| rung.seq <= own.head && (own.hash_at)(rung.seq) == Some(rung.hash);
    let Some(common) = ladder.iter().find(agrees).copied() else { return Meeting::Strangers };
    if own.pruned > common.seq {
        return Meeting::Lost { common, pruned: own.pruned, is_diverged: common.seq < hub.seq };
    }
    if common.seq < hub.seq {
        return Meeting::Diverged(common);
    }
    if own.stored > common.seq { Meeting::HubRolledBack(common) } else { Meeting::Resume(common) }
}

/// The seqs a ladder should show for a stored mark: itself, then 1, 2, 4, … before it, and 0.
pub fn rungs(stored: Seq) -> Vec<Seq> {
    let mut seqs = vec![stored];
    let mut back = 1;
    while back < stored.0 && seqs.len() + 1 < crate::limits::LADDER_RUNGS {
        seqs.push(Seq(stored.0 - back));
        back *= 2;
    }
    if stored.0 > 0 {
        seqs.push(Seq(0));
    }
    seqs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(entries: &str) -> Vec<Mark> {
        let mut marks = vec![Mark::ZERO];
        for byte in entries.bytes() {
            let last = marks[marks.len() - 1];
            marks.push(last.extend(&[byte]));
        }
        marks
    }

    /// `ours` and `hub` are journals written as letters; stored and pruned are seqs of ours.
    fn check(ours: &str, stored: u64, pruned: u64, hub: &str, expected: &str) {
        let (own_marks, hub_marks) = (chain(ours), chain(hub));
        let ladder: Vec<Mark> = rungs(Seq(hub.len() as u64)).into_iter().map(|seq| hub_marks[seq.0 as usize]).collect();
        let hash_at = |seq: Seq| own_marks.get(seq.0 as usize).map(|mark| mark.hash);
        let own =
            OwnJournal { head: Seq(ours.len() as u64), stored: Seq(stored), pruned: Seq(pruned), hash_at: &hash_at };
        let found = match meet(&ladder, &own) {
            Meeting::Resume(mark) => format!("resume after {}", mark.seq),
            Meeting::HubRolledBack(mark) => format!("rolled back to {}", mark.seq),
            Meeting::Diverged(mark) => format!("diverged at {}", mark.seq),
            Meeting::Lost { common, pruned, is_diverged } => {
                format!("lost {}..={pruned}{}", common.seq.next(), if is_diverged { " on a fork" } else { "" })
            }
            Meeting::Strangers => "strangers".to_owned(),
        };
        assert_eq!(found, expected, "ours {ours} hub {hub}");
    }

    /// Proves R-MEET-1.
    #[test]
    fn every_row_of_the_table_is_told_apart() {
        check("", 0, 0, "", "resume after 0");
        check("abc", 0, 0, "", "resume after 0");
        check("abc", 2, 0, "ab", "resume after 2");
        check("abc", 1, 0, "abc", "resume after 3");
        check("abc", 3, 0, "ab", "rolled back to 2");
        check("ab", 2, 0, "abc", "diverged at 2");
        check("abX", 3, 0, "abc", "diverged at 2");
        check("abc", 3, 2, "a", "lost 2..=2");
        check("abc", 3, 2, "aX", "lost 2..=2 on a fork");
    }

    /// Proves R-HELLO-3.
    #[test]
    fn rungs_are_exponentially_spaced_and_end_at_nothing() {
        assert_eq!(rungs(Seq(0)), [Seq(0)]);
        assert_eq!(rungs(Seq(10)).iter().map(|s| s.0).collect::<Vec<_>>(), [10, 9, 8, 6, 2, 0]);
        assert!(rungs(Seq(u64::MAX / 2)).len() <= crate::limits::LADDER_RUNGS);
    }
}
