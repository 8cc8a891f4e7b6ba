//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// Asks until `probe` gives a value. On time-out, panics with what was awaited and the last state seen.
pub fn eventually<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(5);
    loop {
        match probe() {
            Ok(value) => return value,
            Err(state) if Instant::now() > deadline => panic!("waited {limit:?} for {what}; last seen: {state}"),
            Err(_) => std::thread::park_timeout(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
