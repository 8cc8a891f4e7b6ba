//! The one file of the agent that reads clocks.
//!
//! Everything else is given what it needs to know of time, so that it can be run under any clock in tests.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use waystation_protocol::time::{Tick, Timestamp};

/// Two readings further apart than this were not taken at one instant.
const INSTANT_MS: u64 = 50;
/// Most attempts to take both readings at one instant.
const ATTEMPTS: usize = 5;

/// When this program was built: no clock can rightly show less.
pub fn build_time() -> Timestamp {
    Timestamp(env!("WAYSTATION_BUILD_SECONDS").parse::<i64>().map_or(i64::MIN, |seconds| seconds.saturating_mul(1_000)))
}

/// Wall time, and the time since this process started.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    boot: u32,
}

impl Clock {
    /// Starts the clock. `boot` is drawn at random once per process start: monotonic readings compare only within one.
    pub fn start(boot: u32) -> Clock {
        Clock { started: Instant::now(), boot }
    }

    /// Wall time; before 1970 if the machine's clock says so.
    pub fn now(&self) -> Timestamp {
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(ms(since)),
            Err(before) => Timestamp(-ms(before.duration())),
        }
    }

    /// Wall time and the monotonic reading at one instant, also where this thread was put to sleep in between.
    pub fn both(&self) -> (Timestamp, Tick) {
        for _ in 1..ATTEMPTS {
            let (before, now, after) = (self.tick(), self.now(), self.tick());
            if after.since(before) <= INSTANT_MS {
                return (now, after);
            }
        }
        (self.now(), self.tick())
    }

    /// The monotonic reading for state machines.
    pub fn tick(&self) -> Tick {
        Tick(self.mono_ms())
    }

    /// Milliseconds since this process started.
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Which process start.
    pub fn boot(&self) -> u32 {
        self.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readings_run_forward() {
        let clock = Clock::start(7);
        let (now, mono) = (clock.now(), clock.mono_ms());
        assert!(now > Timestamp(1_600_000_000_000), "{now:?}");
        assert!(clock.mono_ms() >= mono && clock.tick() >= Tick(mono));
        assert_eq!(clock.boot(), 7);
        assert!(clock.both().1 >= Tick(mono) && clock.now() >= build_time(), "{:?}", build_time());
    }
}
