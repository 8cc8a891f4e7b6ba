//! Who may say HELLO now, and when the others are to come back.
//!
//! After an outage every agent greets at once, and each greeting costs the writer a transaction's work. What waits for it is
//! bounded; beyond that a HELLO is not taken in but given a place in a line that moves as fast as greetings were served
//! lately, with some jitter. Nothing is promised by a place: whoever comes back while it is full gets another.
//! Acknowledgements under pressure carry a pause, too. No clock and no random source here.

use waystation_protocol::limits::RETRY_AFTER_MS;
use waystation_protocol::time::Tick;

use super::credit::{BUDGET, QUEUE_LIMIT};

/// HELLOs that may wait for the writer: it serves them before their agents ask again, also on a slow disk.
pub(crate) const WAITING: usize = 256;

/// How far apart places in the line lie before anything was measured: 500 greetings a second.
const FIRST_PLACE_US: u64 = 2_000;
/// Bounds of what is measured: a hub serves 100 to 5,000 greetings a second.
const PLACE_US: std::ops::RangeInclusive<u64> = 200..=10_000;
/// How long is measured before a place's length is changed.
const MEASURE_MS: u64 = 1_000;

/// The longest pause of an acknowledgement under pressure, without its jitter of as much again.
const PRESSURE_MS: u64 = 2_500;

/// The line.
#[derive(Debug)]
pub(crate) struct Admission {
    place_us: u64,
    /// Where the line ends, in microseconds of the monotonic clock.
    end_us: u64,
    admitted: u64,
    /// When a measurement began, and how many had been served by then.
    measured: (Tick, u64),
}

impl Default for Admission {
    fn default() -> Admission {
        Admission { place_us: FIRST_PLACE_US, end_us: 0, admitted: 0, measured: (Tick(0), 0) }
    }
}

impl Admission {
    /// A HELLO arrived while `waiting` others wait for the writer. None where it is taken in; otherwise after how many
    /// milliseconds its agent is to come back. `random` is any random bits.
    pub(crate) fn handle_hello(&mut self, waiting: usize, now: Tick, random: u64) -> Option<u64> {
        self.measure(waiting, now);
        if waiting < WAITING {
            self.admitted += 1;
            return None;
        }
        let now_us = now.0.saturating_mul(1_000);
        // the writer serves those who wait before anyone in line
        let served_us = self.place_us * waiting as u64;
        self.end_us = self.end_us.max(now_us + served_us) + self.place_us;
        let delay_ms = (self.end_us - now_us) / 1_000;
        if delay_ms <= RETRY_AFTER_MS / 2 {
            return Some(delay_ms + random % (delay_ms / 2 + 1));
        }
        // too long a line is none: they come back spread over the second half of the bound
        Some(RETRY_AFTER_MS / 2 + random % (RETRY_AFTER_MS / 2))
    }

    fn measure(&mut self, waiting: usize, now: Tick) {
        let served = self.admitted.saturating_sub(waiting as u64);
        let (since, before) = self.measured;
        let lasted_ms = now.since(since);
        if waiting == 0 || lasted_ms > 10 * MEASURE_MS {
            // idle time says nothing of how fast it is
            self.measured = (now, served);
        } else if lasted_ms >= MEASURE_MS {
            let each_us = lasted_ms * 1_000 / served.saturating_sub(before).max(1);
            self.place_us = u64::midpoint(self.place_us, each_us).clamp(*PLACE_US.start(), *PLACE_US.end());
            self.measured = (now, served);
        }
    }
}

/// The pause an acknowledgement asks for while so many bytes are queued; none below half the budget. `random` is any
/// random bits.
pub(crate) fn pressure_ms(queued_bytes: u64, random: u64) -> u64 {
    let over = queued_bytes.min(QUEUE_LIMIT).saturating_sub(BUDGET / 2);
    let pause_ms = PRESSURE_MS * over / (QUEUE_LIMIT - BUDGET / 2);
    pause_ms + random % (pause_ms + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_writer_can_hold_is_taken_in_and_the_rest_gets_places_one_after_the_other() {
        let mut admission = Admission::default();
        for waiting in 0..WAITING {
            assert_eq!(admission.handle_hello(waiting, Tick(5), 9), None);
        }
        let places: Vec<u64> = (0..3_000).map(|_| admission.handle_hello(WAITING, Tick(5), 0).unwrap()).collect();
        let first = WAITING as u64 * FIRST_PLACE_US / 1_000;
        assert_eq!((places[0], places[2_999]), (first + 2, first + 6_000), "500 a second, after those who wait");
        assert!(places.is_sorted());
        assert_eq!(admission.handle_hello(0, Tick(6), 0), None, "there is room again");
    }

    /// Proves R-FLOW-5.
    #[test]
    fn no_pause_is_longer_than_its_bound_and_those_of_one_place_are_spread() {
        let mut admission = Admission::default();
        let mut random = 1u64;
        let mut pauses = Vec::new();
        for _ in 0..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            pauses.push(admission.handle_hello(WAITING, Tick(0), random >> 16).unwrap());
        }
        assert!(pauses.iter().all(|pause| *pause > 0 && *pause <= RETRY_AFTER_MS));
        let mut seconds = vec![0; 121];
        pauses[..25_000].iter().for_each(|pause| seconds[(pause / 1_000) as usize] += 1);
        assert!(seconds.iter().all(|count| *count < 1_000), "{seconds:?}");
    }

    #[test]
    fn the_line_moves_as_fast_as_greetings_are_served() {
        for (served_per_second, place_us) in [(250, 4_000), (1_000, 1_000), (50_000, 200), (10, 10_000)] {
            let mut admission = Admission::default();
            admission.handle_hello(0, Tick(0), 0);
            for second in 1..=40u64 {
                let after = admission.admitted + served_per_second;
                admission.admitted = after;
                admission.handle_hello(WAITING, Tick(second * 1_000), 0);
            }
            let off = admission.place_us.abs_diff(place_us);
            assert!(off <= place_us / 20, "{served_per_second}: {} µs", admission.place_us);
        }
    }

    #[test]
    fn acknowledgements_ask_for_a_pause_that_grows_with_what_is_queued() {
        assert_eq!((pressure_ms(0, 7), pressure_ms(BUDGET / 2, 7)), (0, 0));
        let (some, full) = (pressure_ms(BUDGET, 0), pressure_ms(QUEUE_LIMIT, 0));
        assert!(0 < some && some < full && full == PRESSURE_MS, "{some} {full}");
        assert!((0..5_000).all(|random| pressure_ms(u64::MAX, random) <= 2 * PRESSURE_MS));
        assert!((0..5_000).any(|random| pressure_ms(u64::MAX, random) > PRESSURE_MS));
    }
}
