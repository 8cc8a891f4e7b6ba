//! When to try again: at once, then full jitter under a doubling ceiling.

/// Draws the pauses between attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    base_ms: u64,
    max_ms: u64,
    failures: u32,
}

impl Backoff {
    /// The ceiling starts at `base_ms` and doubles to `max_ms`.
    pub const fn new(base_ms: u64, max_ms: u64) -> Backoff {
        Backoff { base_ms, max_ms, failures: 0 }
    }

    /// An attempt succeeded: the next pause is none.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Milliseconds to wait before the next attempt; `random` is any 64 random bits. The first is 0.
    pub fn next_ms(&mut self, random: u64) -> u64 {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return 0;
        }
        let ceiling = self.base_ms.saturating_mul(1 << (failures - 1).min(32)).min(self.max_ms);
        random % (ceiling + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves R-FLOW-4.
    #[test]
    fn the_first_try_is_at_once_and_the_ceiling_doubles_to_its_bound() {
        let mut backoff = Backoff::new(500, 30_000);
        let ceilings: Vec<u64> = (0..9)
            .map(|_| {
                let mut high = backoff.clone();
                let top = (0..2000u64).map(|r| high.clone().next_ms(r * 17)).max();
                backoff.next_ms(0);
                high.reset();
                top.unwrap_or(0)
            })
            .collect();
        assert_eq!(ceilings[0], 0);
        assert!(ceilings.windows(2).all(|pair| pair[0] <= pair[1]), "{ceilings:?}");
        assert!(ceilings[8] <= 30_000 && ceilings[8] > 20_000, "{ceilings:?}");
        backoff.reset();
        assert_eq!(backoff.next_ms(99), 0);
    }
}
