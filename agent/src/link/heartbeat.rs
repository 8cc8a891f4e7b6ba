//! When a heartbeat is due: about once a minute, and soon after something an operator wants to see at once.

use waystation_protocol::time::Tick;

/// The usual distance.
const EVERY_MS: u64 = 60_000;
/// It varies by this much either way, so that a fleet does not beat in step.
const SPREAD_MS: u64 = 6_000;
/// The shortest distance, and how long a change may wait.
const SOON_MS: u64 = 1_000;

/// The timetable of one session.
#[derive(Debug)]
pub(super) struct Timetable {
    regular: Tick,
    early: Option<Tick>,
    last: Option<Tick>,
    told_backlog: Option<bool>,
}

impl Timetable {
    /// A session began: the first heartbeat follows at once.
    pub(super) fn begin(now: Tick) -> Timetable {
        Timetable { regular: now, early: None, last: None, told_backlog: None }
    }

    /// Whether entries wait, as it stands now. A change is told within a second, unless it passes before that.
    pub(super) fn note_backlog(&mut self, has_backlog: bool, now: Tick) {
        let is_told = self.told_backlog.is_none_or(|told| told == has_backlog);
        match (is_told, self.early) {
            (true, _) => self.early = None,
            (false, None) => self.early = Some(now.plus(SOON_MS)),
            (false, Some(_)) => {}
        }
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Tick {
        let wanted = self.early.map_or(self.regular, |early| early.min(self.regular));
        self.last.map_or(wanted, |last| wanted.max(last.plus(SOON_MS)))
    }

    /// One left. `random` is any random bits.
    pub(super) fn sent(&mut self, has_backlog: bool, now: Tick, random: u64) {
        self.regular = now.plus(EVERY_MS - SPREAD_MS + random % (2 * SPREAD_MS + 1));
        self.early = None;
        self.last = Some(now);
        self.told_backlog = Some(has_backlog);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_change_is_told_within_a_second_and_a_passing_one_is_not() {
        let mut table = Timetable::begin(Tick(0));
        assert_eq!(table.due(), Tick(0));
        table.sent(false, Tick(0), SPREAD_MS);
        assert_eq!(table.due(), Tick(60_000));
        table.note_backlog(true, Tick(5_000));
        table.note_backlog(true, Tick(5_900));
        assert_eq!(table.due(), Tick(6_000));
        table.note_backlog(false, Tick(5_950));
        assert_eq!(table.due(), Tick(60_000));
    }

    #[test]
    fn they_never_follow_closer_than_a_second_and_vary_by_a_tenth() {
        let mut table = Timetable::begin(Tick(0));
        table.sent(false, Tick(0), 0);
        assert_eq!(table.due(), Tick(54_000));
        table.note_backlog(true, Tick(0));
        table.sent(true, Tick(900), 2 * SPREAD_MS);
        assert_eq!(table.due(), Tick(900 + 66_000));
        table.note_backlog(false, Tick(100));
        assert_eq!(table.due(), Tick(1_900));
    }
}
