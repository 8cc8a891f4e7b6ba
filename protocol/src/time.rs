//! Time values: wall time in milliseconds, civil days, and what a clock is worth.
//!
//! Order never comes from these; it comes from `seq` and `after`. A time zone turns instants into the days that
//! reports count by; the default is the outlets' own, Asia/Shanghai.

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

/// Where a site's time zone is not stated.
pub const DEFAULT_ZONE: &str = "Asia/Shanghai";

/// A wall-clock instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A monotonic reading in milliseconds since some fixed moment of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tick(pub u64);

/// A civil day: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

/// What the recording machine knew of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockQuality {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Running free since it was last compared with the hub's.
    FreeRunning,
    /// Compared with the hub's within this process start.
    Compared,
}

impl ClockQuality {
    /// The quality of this code; nothing is known of codes that are none.
    pub const fn of_code(code: u8) -> ClockQuality {
        match code {
            1 => Self::FreeRunning,
            2 => Self::Compared,
            _ => Self::Unknown,
        }
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::FreeRunning => "free_running",
            Self::Compared => "compared",
        }
    }

    /// The code stored in an entry.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::FreeRunning => 1,
            Self::Compared => 2,
        }
    }
}

/// Text that is not a date or an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a date (2026-11-23) or an instant (2026-11-23T08:30:00+08:00)")]
pub struct BadTime(String);

impl Tick {
    /// This reading and `ms` more.
    pub const fn plus(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 if it lies ahead.
    pub const fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Timestamp {
    /// The civil day in `zone`.
    pub fn day(self, zone: &TimeZone) -> Day {
        Day::from_civil(self.civil(zone).date())
    }

    /// Date and time of day in `zone`; the calendar's bounds stand in for instants beyond them.
    pub fn civil(self, zone: &TimeZone) -> civil::DateTime {
        zone.to_datetime(self.instant())
    }

    /// The instant of a civil date and time in `zone`; in a gap or fold of the clock, as RFC 5545 reads it.
    pub fn from_civil(at: civil::DateTime, zone: &TimeZone) -> Timestamp {
        let clamped = if at.year() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let instant = zone.to_timestamp(at).unwrap_or(clamped);
        Timestamp(instant.as_millisecond())
    }

    /// RFC 3339 in `zone`, to the second. Where the zone's offset has seconds, as before 1901, it is cut to minutes,
    /// and so is the time of day: the instant stays what it is.
    pub fn rfc3339(self, zone: &TimeZone) -> String {
        let minutes = zone.to_offset(self.instant()).seconds() / 60;
        let at = Offset::from_seconds(minutes * 60).unwrap_or(Offset::UTC).to_datetime(self.instant());
        let (sign, abs) = if minutes < 0 { ('-', -minutes) } else { ('+', minutes) };
        format!("{}T{}{sign}{:02}:{:02}", at.date(), at.strftime("%H:%M:%S"), abs / 60, abs % 60)
    }

    fn instant(self) -> jiff::Timestamp {
        let (min, max) = (jiff::Timestamp::MIN.as_millisecond(), jiff::Timestamp::MAX.as_millisecond());
        jiff::Timestamp::from_millisecond(self.0.clamp(min, max)).unwrap_or_default()
    }
}

impl Day {
    /// The day a civil date names.
    pub fn from_civil(date: civil::Date) -> Day {
        let epoch = civil::date(1970, 1, 1);
        Day(epoch.until(date).map_or(0, |span| span.get_days()))
    }

    /// The civil date, held within the calendar's bounds.
    pub fn civil(self) -> civil::Date {
        let epoch = civil::date(1970, 1, 1);
        // More days than any two dates of the calendar lie apart, and not more than a span holds.
        epoch.saturating_add(jiff::Span::new().days(self.0.clamp(-5_000_000, 5_000_000)))
    }

    /// The last millisecond of this day in `zone`: what a date-only due means.
    pub fn end(self, zone: &TimeZone) -> Timestamp {
        Timestamp(Day(self.0.saturating_add(1)).start(zone).0 - 1)
    }

    /// The first millisecond of this day in `zone`.
    pub fn start(self, zone: &TimeZone) -> Timestamp {
        Timestamp::from_civil(self.civil().to_datetime(civil::Time::midnight()), zone)
    }

    /// `YYYY-MM`.
    pub fn month(self) -> String {
        let date = self.civil();
        format!("{:04}-{:02}", date.year(), date.month())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.civil().fmt(f)
    }
}

impl FromStr for Day {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Day, BadTime> {
        text.trim().parse::<civil::Date>().map(Day::from_civil).map_err(|_| BadTime(text.to_owned()))
    }
}

impl FromStr for Timestamp {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Timestamp, BadTime> {
        let instant = text.trim().parse::<jiff::Timestamp>().map_err(|_| BadTime(text.to_owned()))?;
        Ok(Timestamp(instant.as_millisecond()))
    }
}

/// The named IANA zone, or the default for an empty name.
pub fn zone(name: &str) -> Result<TimeZone, BadTime> {
    let name = if name.is_empty() { DEFAULT_ZONE } else { name };
    TimeZone::get(name).map_err(|_| BadTime(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shanghai() -> TimeZone {
        zone("").expect("the bundled database has the default zone")
    }

    /// Proves R-TIME-4.
    #[test]
    fn every_clock_quality_has_its_code_and_word() {
        for (code, quality, word) in [
            (0, ClockQuality::Unknown, "unknown"),
            (1, ClockQuality::FreeRunning, "free_running"),
            (2, ClockQuality::Compared, "compared"),
        ] {
            assert_eq!((quality.code(), ClockQuality::of_code(code), quality.name()), (code, quality, word));
        }
        assert_eq!(ClockQuality::of_code(3), ClockQuality::Unknown);
    }

    #[test]
    fn a_date_only_due_ends_with_its_day() {
        let day: Day = "2026-11-23".parse().unwrap();
        assert_eq!(day.end(&shanghai()).rfc3339(&shanghai()), "2026-11-23T23:59:59+08:00");
        let old: Timestamp = "1900-06-01T00:00:00Z".parse().unwrap();
        assert_eq!(old.rfc3339(&shanghai()).parse(), Ok(old));
        assert_eq!(day.end(&shanghai()).day(&shanghai()), day);
        assert_eq!(Timestamp(day.end(&shanghai()).0 + 1).day(&shanghai()), Day(day.0 + 1));
    }

    #[test]
    fn days_and_months_read_as_the_calendar_does() {
        for (text, month) in [("1970-01-01", "1970-01"), ("2024-02-29", "2024-02"), ("1869-12-31", "1869-12")] {
            let day: Day = text.parse().unwrap();
            assert_eq!((day.to_string().as_str(), day.month().as_str()), (text, month));
        }
        for bound in ["-009999-01-01", "9999-12-31"] {
            assert_eq!(bound.parse::<Day>().unwrap().to_string(), bound);
        }
        assert!("2023-02-29".parse::<Day>().is_err());
    }

    #[test]
    fn what_is_written_of_an_instant_is_that_instant_in_any_century() {
        for text in ["1013-11-23T00:00:00Z", "-000500-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9000-06-01T12:00:00Z"]
        {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(at.rfc3339(&shanghai()).parse(), Ok(at), "{text}");
        }
    }

    #[test]
    fn instants_beyond_the_calendar_do_not_panic() {
        for ms in [i64::MIN, i64::MAX] {
            let _ = Timestamp(ms).day(&shanghai()).month();
        }
        let _ = (Day(i32::MIN).to_string(), Day(i32::MAX).end(&shanghai()));
    }
}
