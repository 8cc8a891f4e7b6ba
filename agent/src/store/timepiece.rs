//! What this machine's clock is worth: its last reading, its steps, and the floor under captured times.
//!
//! A step is a jump of the wall clock by more than [`CLOCK_STEP_MS`] against the monotonic clock between two readings; it becomes an
//! entry of the journal before anything else is captured. The floor is the later of the build's time and the hub's time
//! as last told: a reading below it is wrong, so the floor stands for it and the entry says that nothing is known.

use waystation_protocol::down::ClockStep;
use waystation_protocol::limits::CLOCK_STEP_MS;
use waystation_protocol::time::{ClockQuality, Timestamp};

use super::At;

/// The hub's time on the disk may lag behind what it told by so much: sessions may be short and many.
const SAVE_MS: u64 = 60_000;

/// The clock as the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timepiece {
    /// When this program was built.
    build: Timestamp,
    /// The hub's time as its last WELCOME told it.
    hub: Option<Timestamp>,
    /// This clock minus the hub's; none before it was compared in this process start, and after a step.
    offset_ms: Option<i64>,
    last: Option<At>,
    steps: u64,
    /// The hub's time as it is on the disk.
    saved: Option<Timestamp>,
}

/// A reading as it is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Never below the floor.
    pub(super) at: At,
    /// `ClockQuality::code`.
    pub(super) clock: u8,
}

impl Timepiece {
    /// `hub`: what an earlier process start was told.
    pub(super) fn new(hub: Option<Timestamp>) -> Timepiece {
        Timepiece { build: Timestamp(i64::MIN), hub, offset_ms: None, last: None, steps: 0, saved: hub }
    }

    /// No reading below `build` is right.
    pub(super) fn set_build(&mut self, build: Timestamp) {
        self.build = build;
    }

    /// The hub told its time. `offset_ms`: this clock minus the hub's, where the two were compared.
    pub(super) fn handle_compared(&mut self, hub: Timestamp, offset_ms: Option<i64>) {
        self.hub = Some(hub);
        self.offset_ms = offset_ms;
    }

    /// The hub's time as last told, where what is on the disk is far from it.
    pub(super) fn unsaved(&self) -> Option<Timestamp> {
        let is_far = |hub: &Timestamp| self.saved.is_none_or(|saved| hub.0.abs_diff(saved.0) >= SAVE_MS);
        self.hub.filter(is_far)
    }

    /// This is on the disk now.
    pub(super) fn handle_saved(&mut self, hub: Timestamp) {
        self.saved = Some(hub);
    }

    /// Steps since this process started.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Below it no time is captured.
    pub(super) fn floor(&self) -> Timestamp {
        self.hub.map_or(self.build, |hub| hub.max(self.build))
    }

    /// What a reading is worth.
    pub(super) fn quality(&self, now: Timestamp) -> ClockQuality {
        match (self.offset_ms, self.hub) {
            _ if now < self.floor() => ClockQuality::Unknown,
            (Some(_), _) => ClockQuality::Compared,
            (None, Some(_)) => ClockQuality::FreeRunning,
            (None, None) => ClockQuality::Unknown,
        }
    }

    /// A reading as it is to be captured.
    pub(super) fn read(&self, at: At) -> Reading {
        let now = at.now.max(self.floor());
        Reading { at: At { now, ..at }, clock: self.quality(at.now).code() }
    }

    /// The step that lies between the last reading and this one, if one does.
    pub(super) fn step(&self, at: At) -> Option<ClockStep> {
        let last = self.last.filter(|last| at.mono_ms >= last.mono_ms)?;
        let ran = i128::from(at.mono_ms) - i128::from(last.mono_ms);
        let by = i128::from(at.now.0) - i128::from(last.now.0) - ran;
        if by.unsigned_abs() <= u128::from(CLOCK_STEP_MS) {
            return None;
        }
        let by_ms = i64::try_from(by).unwrap_or(if by < 0 { i64::MIN } else { i64::MAX });
        Some(ClockStep { by_ms, offset_ms: self.offset_ms.map(|offset| offset.saturating_add(by_ms)) })
    }

    /// The clock was read, and a step since the last reading is in the journal. Readings may come in any order.
    pub(super) fn handle_read(&mut self, at: At) {
        if self.step(at).is_some() {
            self.offset_ms = None;
            self.steps += 1;
        }
        if self.last.is_none_or(|last| at.mono_ms >= last.mono_ms) {
            self.last = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_790_000_000_000;

    fn at(now: i64, mono_ms: u64) -> At {
        At { now: Timestamp(now), mono_ms }
    }

    /// Readings as `wall+mono` offsets, and the steps they show.
    fn check(readings: &[(i64, u64)], expected: &[i64]) {
        let mut piece = Timepiece::new(None);
        let mut steps = Vec::new();
        for (wall, mono) in readings {
            let at = at(NOON + wall, *mono);
            steps.extend(piece.step(at).map(|step| step.by_ms));
            piece.handle_read(at);
        }
        assert_eq!(steps, expected, "{readings:?}");
    }

    /// Proves R-TIME-2.
    #[test]
    fn a_step_is_more_than_two_seconds_between_two_readings() {
        check(&[(0, 0), (1_000, 1_000), (61_000, 61_000)], &[]);
        check(&[(0, 0), (12_000, 10_000), (14_000, 10_000)], &[]);
        check(&[(0, 0), (12_001, 10_000), (13_001, 11_000)], &[2_001]);
        check(&[(0, 0), (-2_001, 0), (0, 0)], &[-2_001, 2_001]);
        check(&[(0, 0), (-315_360_000_000, 1_000), (1_000, 2_000)], &[-315_360_001_000, 315_360_000_000]);
        check(&[(0, 10_000), (60_000, 9_000), (1_000, 11_000)], &[]);
        let mut piece = Timepiece::new(None);
        piece.handle_read(at(i64::MIN, 0));
        assert_eq!(piece.step(at(i64::MAX, 5)).map(|step| step.by_ms), Some(i64::MAX), "held to what a field holds");
    }

    /// Proves R-TIME-3, R-TIME-4.
    #[test]
    fn no_time_below_the_floor_is_captured_and_the_code_says_what_is_known() {
        let mut piece = Timepiece::new(None);
        let read = |piece: &Timepiece, wall: i64| {
            let read = piece.read(at(NOON + wall, 7));
            assert_eq!(read.at.mono_ms, 7, "the monotonic reading stays");
            (read.at.now.0 - NOON, read.clock)
        };
        assert_eq!(read(&piece, -5), (-5, 0), "never compared");
        piece.set_build(Timestamp(NOON));
        assert_eq!((read(&piece, -5), read(&piece, 0)), ((0, 0), (0, 0)));
        piece.handle_compared(Timestamp(NOON + 50), Some(-40));
        assert_eq!((read(&piece, 49), read(&piece, 50)), ((50, 0), (50, 2)));
        piece.handle_read(at(NOON + 60, 60));
        let step = piece.step(at(NOON + 10_060, 61)).unwrap();
        assert_eq!((step.by_ms, step.offset_ms), (9_999, Some(9_959)));
        piece.handle_read(at(NOON + 10_060, 61));
        assert_eq!(read(&piece, 10_060), (10_060, 1), "after a step it runs free");
        piece.handle_compared(Timestamp(NOON + 40), Some(0));
        assert_eq!(read(&piece, 45), (45, 2), "the hub's last word counts, also where its clock was put back");
        let next = Timepiece::new(piece.unsaved());
        assert_eq!((read(&next, 41), read(&next, 39)), ((41, 1), (40, 0)), "compared before this process start");
    }
}
