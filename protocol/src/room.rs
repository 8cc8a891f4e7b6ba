//! When a disk is short of room: the same at both ends, each of which reads its own disk.

/// At this use of its disk, in percent, nothing new is taken …
const FULL_PERCENT: u64 = 95;
/// … unless this much is free all the same, in bytes: 5 % of a large disk is room for years.
const AMPLE_BYTES: u64 = 1 << 30;

/// Room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Occupied by anybody.
    pub used: u64,
    /// Left for this process.
    pub free: u64,
}

impl Room {
    /// The same with so many bytes occupied that are to be kept free.
    #[must_use]
    pub fn without(self, bytes: u64) -> Room {
        Room { used: self.used.saturating_add(bytes), free: self.free.saturating_sub(bytes) }
    }

    /// Whether nothing new is taken: what is left is for sync.
    #[must_use]
    pub fn is_short(self) -> bool {
        let whole = u128::from(self.used) + u128::from(self.free);
        u128::from(self.used) * 100 >= whole * u128::from(FULL_PERCENT) && self.free < AMPLE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_short_at_95_percent_of_a_small_disk() {
        const MIB: u64 = 1 << 20;
        for (used, free, expected) in [
            (94 * MIB, 6 * MIB, false),
            (95 * MIB, 5 * MIB, true),
            (100 * MIB, 0, true),
            (99_000 * MIB, 1_000 * MIB, true),
            (3_900_000 * MIB, 100_000 * MIB, false),
        ] {
            assert_eq!(Room { used, free }.is_short(), expected, "{used} used, {free} free");
        }
        let room = Room { used: 94 * MIB, free: 6 * MIB };
        assert!(room.without(MIB).is_short(), "a reserve that is to be occupied again");
        assert_eq!(room.without(u64::MAX).free, 0);
    }
}
