//! Planted bugs: mistakes one could make in agent and hub, each behind a switch, so that the simulator can show that
//! it would find them.
//!
//! Without the feature `plants` nothing is ever planted and the compiler removes every trace. With it, a bug is planted
//! for one thread of one process, by a call; no file, argument or variable of the environment reaches it.
//!
//! Four were tried and are not here, since no schedule of 2,000 noticed them: a document that keeps an entry the hub refused, returned
//! entries that wait their turn, and an entry that may be deleted, or is, before its agent was told what became of it. Unit tests of
//! `settle`, of `down` and of the engine hold those rules.

#[cfg(feature = "plants")]
use std::cell::Cell;

macro_rules! plants {
    ($($(#[doc = $what:literal])+ $plant:ident = $name:literal, $invariant:literal;)*) => {
        /// A mistake, and what must catch it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Plant { $($(#[doc = $what])+ $plant,)* }

        impl Plant {
            /// All of them.
            pub const ALL: &'static [Plant] = &[$(Plant::$plant,)*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Plant::$plant => $name,)* }
            }

            /// The invariants that it is expected to break.
            pub const fn breaks(self) -> &'static str {
                match self { $(Plant::$plant => $invariant,)* }
            }

            /// What is done wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Plant::$plant => concat!($($what),+),)* }
            }
        }
    };
}

plants! {
    /// The disk says that a sync succeeded and keeps nothing of it.
    LyingFsync = "lying-fsync", "I1";
    /// An agent confirms a commit that was not synced.
    UnsyncedCommit = "unsynced-commit", "I1";
    /// An agent confirms although the commit failed.
    ConfirmFailedCommit = "confirm-failed-commit", "I1";
    /// What was staged for a commit that failed is shown all the same.
    ShowFailedCommit = "show-failed-commit", "I1 I4";
    /// The agent's database is not reopened after a failed commit.
    NoReopen = "no-reopen", "liveness";
    /// The cache leaves out a document and claims to go past it.
    CacheForgets = "cache-forgets", "I1";
    /// The lease of printed numbers is not written before they are used.
    LeaseNotSaved = "lease-not-saved", "numbers";
    /// Entry ids begin anew at every start of the process.
    SameIds = "same-ids", "I2 I9";
    /// What an act brings about elsewhere is left out.
    EffectsLeftOut = "effects-left-out", "I6";
    /// What an act of the hub's opens elsewhere is left out.
    HubEffectsLeftOut = "hub-effects-left-out", "I6";
    /// An approval directs no old part.
    DirectiveLeftOut = "directive-left-out", "I6";
    /// A settlement takes what was claimed for what was granted.
    SettlesClaimed = "settles-claimed", "I6";
    /// What an act brings about elsewhere comes twice.
    EffectsTwice = "effects-twice", "I6";
    /// A station that passes a document back to its site keeps the pen.
    PenKept = "pen-kept", "I4 I8 I9";
    /// Whoever writes on a document counts, whoever holds its pen.
    AnyPen = "any-pen", "I8";
    /// Rows imported before are imported again.
    ImportTwice = "import-twice", "I2";
    /// Frames count whoever signed them.
    AnySignature = "any-signature", "I7";
    /// An ACK of an earlier session counts.
    StaleAck = "stale-ack", "I5";
    /// A WELCOME of an earlier session counts.
    StaleWelcome = "stale-welcome", "I5";
    /// What is not acknowledged is never sent again.
    NeverResend = "never-resend", "liveness";
    /// A WELCOME does not set the stored mark back.
    KeepOwnMark = "keep-own-mark", "liveness";
    /// Sending resumes one entry too late.
    SkipOne = "skip-one", "liveness";
    /// A batch ahead of a gap moves the stored mark.
    GapIsStored = "gap-is-stored", "I5 I3";
    /// The part of a batch that is stored already is stored again.
    OverlapTwice = "overlap-twice", "I1 I3";
    /// The hub believes any agent that more was stored than is there.
    BelieveClaims = "believe-claims", "liveness";
    /// The hub acknowledges although its commit failed.
    AckBeforeCommit = "ack-before-commit", "I5";
    /// What the hub has in memory survives a failed commit.
    KeepLanes = "keep-lanes", "I5 I3";
    /// A HELLO moves the hub's stored mark.
    TrustHello = "trust-hello", "I5";
    /// The stored mark moves without comparing.
    NoCompareAndSet = "no-compare-and-set", "I3 I5";
    /// The processed mark moves although the documents were not written.
    ProcessedBeforeApplied = "processed-before-applied", "I1";
    /// An entry that stands on its document is applied again.
    NoDuplicateCheck = "no-duplicate-check", "I2";
    /// A state entry is applied whatever it follows.
    AnyAfter = "any-after", "I8";
    /// A note becomes the head of its document.
    NotesMoveHead = "notes-move-head", "I8";
    /// Entries are ordered by the clocks that recorded them.
    OrderByClock = "order-by-clock", "I9";
    /// Facts of a document's earlier state are not taken back.
    FactsNotTakenBack = "facts-not-taken-back", "I6";
    /// A roll-up is overwritten, not added to.
    RollupOverwrites = "rollup-overwrites", "I6";
    /// An entry that cannot be applied is dropped.
    RefusedNotKept = "refused-not-kept", "I1";
    /// Agents may delete before the retention period is over.
    PrunableTooEarly = "prunable-too-early", "I9";
    /// Agents may delete while a restore is open.
    PruneInRestore = "prune-in-restore", "I9";
    /// Agents may delete what no backup holds.
    PruneNotBackedUp = "prune-not-backed-up", "I9";
    /// The hub answers no heartbeat that is not at its mark.
    DeafToHeartbeats = "deaf-to-heartbeats", "I1";
    /// An agent whose disk was put back goes on in its old stream.
    NeverFork = "never-fork", "liveness";
    /// An agent begins a new stream at every meeting.
    EagerFork = "eager-fork", "I3";
    /// An agent uses a new stream before it is on the disk.
    ForkNotWritten = "fork-not-written", "I3 I9";
    /// A hub that came back older does not notice.
    RestoreNotNoticed = "restore-not-noticed", "I9";
    /// A hub that came back older acts, and processes, before its agents have brought back what it told them.
    FreezeIgnored = "decide-again", "I4 I8 I9";
    /// One agent of each site is not told what others do there.
    RelaySkipsOne = "relay-skips-one", "I4 liveness";
    /// Another site that holds or held the pen of a document is not told of it.
    OtherSiteUntold = "other-site-untold", "I4";
    /// An agent that comes to stand for a site is not told of the documents that are there.
    SnapshotLeftOut = "snapshot-left-out", "I4";
    /// Nobody is told that an entry was set aside.
    ReceiptDropped = "receipt-dropped", "I4";
    /// The hub lets an agent delete of its downward journal what that has not acknowledged.
    DownPrunableUnstored = "down-prunable-unstored", "I9";
    /// An agent acknowledges the hub's entries although their commit failed.
    AckDownUnstored = "ack-down-unstored", "I5";
    /// An agent counts twice what the hub tells.
    DownCountedTwice = "down-counted-twice", "I6";
    /// An agent carries a command out although it did before.
    CommandAgain = "command-again", "I2";
    /// An agent carries a command out however late it comes.
    CommandTooLate = "command-too-late", "I2";
    /// An agent deletes what is processed without waiting for the hub's word.
    PruneUnasked = "prune-unasked", "I9";
    /// An agent deletes entries that the hub has not stored.
    PruneUnstored = "prune-unstored", "I1 I9";
    /// Hashes are forgotten with the entries that are deleted.
    ForgetKeptMarks = "forget-kept-marks", "I9";
    /// Entries of a damaged file count although their hash does not follow from the one before.
    SalvageAnything = "salvage-anything", "I7";
}

#[cfg(feature = "plants")]
thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// Whether this bug is planted in this thread.
#[cfg(feature = "plants")]
pub fn is_planted(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// Nothing is planted in a build without the feature `plants`.
#[cfg(not(feature = "plants"))]
#[inline(always)]
pub const fn is_planted(_: Plant) -> bool {
    false
}

/// Plants a bug in this thread, or removes the one that is there.
#[cfg(feature = "plants")]
pub fn plant(bug: Option<Plant>) {
    PLANTED.set(bug);
}

impl Plant {
    /// The plant of this name.
    pub fn find(name: &str) -> Option<Plant> {
        Plant::ALL.iter().copied().find(|plant| plant.name() == name)
    }
}
