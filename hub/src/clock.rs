//! The hub's clocks and its random source: the only file that reads either.
//!
//! Everything else is given `now`, a tick or a seed.

#[cfg(feature = "plants")]
use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use waystation_protocol::time::{Tick, Timestamp};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The system has no random source; nothing safe can be done without one.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandom(#[source] getrandom::Error);

/// What a simulation has instead of a clock and a random source.
#[cfg(feature = "plants")]
#[derive(Debug, Clone, Copy)]
struct Pretended {
    now: Timestamp,
    seed: u64,
    /// How often random bytes were drawn.
    drawn: u64,
}

#[cfg(feature = "plants")]
thread_local! {
    static PRETENDED: Cell<Option<Pretended>> = const { Cell::new(None) };
}

/// In this thread random bytes follow from `seed` from now on, and the wall clock stands at `now`.
#[cfg(feature = "plants")]
pub fn pretend(seed: u64, now: Timestamp) {
    PRETENDED.set(Some(Pretended { now, seed, drawn: 0 }));
}

/// Moves the wall clock of a thread that pretends.
#[cfg(feature = "plants")]
pub fn pretend_now(now: Timestamp) {
    PRETENDED.set(PRETENDED.get().map(|pretended| Pretended { now, ..pretended }));
}

/// The wall clock.
#[must_use]
pub fn now() -> Timestamp {
    #[cfg(feature = "plants")]
    if let Some(pretended) = PRETENDED.get() {
        return pretended.now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or_else(|early| -(early.duration().as_millis() as i64), |since| since.as_millis() as i64);
    Timestamp(ms)
}

/// The monotonic clock, in milliseconds since its first reading in this process. Where a thread pretends, its wall clock
/// stands for it.
#[must_use]
pub fn tick() -> Tick {
    #[cfg(feature = "plants")]
    if let Some(pretended) = PRETENDED.get() {
        return Tick(pretended.now.0.unsigned_abs());
    }
    Tick(START.elapsed().as_millis() as u64)
}

/// Fresh random bytes from the system.
///
/// # Errors
///
/// The system has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    #[cfg(feature = "plants")]
    if let Some(pretended) = PRETENDED.get() {
        let Pretended { seed, drawn, .. } = pretended;
        PRETENDED.set(Some(Pretended { drawn: drawn + 1, ..pretended }));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&drawn.to_le_bytes()).finalize_xof().fill(&mut bytes);
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes).map_err(NoRandom)?;
    Ok(bytes)
}

/// A fresh id of sixteen random bytes, written as a UUID of version 8.
///
/// # Errors
///
/// The system has no random bytes.
pub fn random_id() -> Result<[u8; 16], NoRandom> {
    let mut bytes = random::<16>()?;
    bytes[6] = 0x80 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    Ok(bytes)
}
