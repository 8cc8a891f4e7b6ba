//! A sheet's cell as the text that a text table would hold.
//!
//! Numbers are plain decimals of at most 15 digits, as Excel shows them; dates, times and durations are ISO 8601.

use calamine::{DataRef, ExcelDateTime};
use jiff::civil;
use jiff::{SignedDuration, Span};

use super::limits::ROW_BYTES;

/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;
/// Excel's last day, 9999-12-31, counted from 1900.
const LAST_DAY: f64 = 2_958_465.0;
/// The day both epochs count from that lies 1,462 days later.
const DAYS_1904: f64 = 1_462.0;
/// Excel believes in a 29 February 1900: from this day on, its count is one too high.
const LEAP_DAY: f64 = 60.0;

/// The text of a cell; or what is wrong with it ("holds #N/A: …"), and the text that stands for it.
pub(super) fn text(value: &DataRef<'_>, is_1904: bool) -> Result<String, (String, String)> {
    let text = match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(flag) => flag.to_string(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => decimal(*number),
        DataRef::DateTime(time) if time.is_duration() => duration(time.as_f64()),
        DataRef::DateTime(time) => return date_time(*time, is_1904),
        DataRef::Error(error) => {
            let text = error.to_string();
            return Err((format!("holds {text}: mend its formula, or fill in the value"), text));
        }
    };
    if text.len() > ROW_BYTES {
        return Err(("is longer than 1 MiB: shorten it".to_owned(), String::new()));
    }
    Ok(text)
}

/// A plain decimal of at most 15 digits that are not zeros at either end.
fn decimal(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return (number as i64).to_string();
    }
    // Fifteen digits survive their way through binary, so the shortest text of what they stand for has no more.
    let rounded = format!("{number:.14e}").parse::<f64>().unwrap_or(number);
    format!("{rounded}")
}

fn date_time(time: ExcelDateTime, is_1904: bool) -> Result<String, (String, String)> {
    let days = if is_1904 { time.as_f64() + DAYS_1904 } else { time.as_f64() };
    let is_time_alone = (0.0..1.0).contains(&time.as_f64());
    if !is_time_alone && !(1.0..LAST_DAY + 1.0).contains(&days) {
        let (number, reason) = (decimal(time.as_f64()), "holds no date of the years 1900 to 9999: correct it");
        return Err((reason.to_owned(), number));
    }
    let ms = (days * DAY_MS).round() as i64;
    let (day, ms) = (ms.div_euclid(DAY_MS as i64), ms.rem_euclid(DAY_MS as i64));
    let clock = civil::Time::midnight().wrapping_add(SignedDuration::from_millis(ms));
    if is_time_alone {
        return Ok(clock.to_string());
    }
    if day == LEAP_DAY as i64 {
        return Ok("1900-02-29".to_owned());
    }
    let first = if day < LEAP_DAY as i64 { civil::date(1899, 12, 31) } else { civil::date(1899, 12, 30) };
    let date = first.saturating_add(Span::new().days(day));
    Ok(if ms == 0 { date.to_string() } else { format!("{date}T{clock}") })
}

/// `PT36H30M`.
fn duration(days: f64) -> String {
    let ms = (days * DAY_MS).round() as i64;
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    let mut text = format!("{sign}PT");
    if hours > 0 {
        text.push_str(&format!("{hours}H"));
    }
    if minutes > 0 {
        text.push_str(&format!("{minutes}M"));
    }
    if ms > 0 {
        text.push_str(&format!("{seconds}.{ms:03}S"));
    } else if seconds > 0 || text.ends_with('T') {
        text.push_str(&format!("{seconds}S"));
    }
    text
}

#[cfg(test)]
mod tests {
    use calamine::{CellErrorType, ExcelDateTimeType};

    use super::*;

    fn check(value: DataRef<'_>, expected: &str) {
        assert_eq!(text(&value, false).as_deref(), Ok(expected), "{value:?}");
    }

    #[test]
    fn numbers_are_plain_and_as_excel_shows_them() {
        for (number, expected) in [
            (38.0, "38"),
            (-0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (19.99, "19.99"),
            (-1234.5, "-1234.5"),
            (1e21, "1000000000000000000000"),
            (1.5e-7, "0.00000015"),
            (123_456_789_012_345_678.0, "123456789012346000"),
            (1.0 / 3.0, "0.333333333333333"),
            (999_999_999_999_999.0, "999999999999999"),
        ] {
            check(DataRef::Float(number), expected);
        }
    }

    #[test]
    fn dates_are_iso_in_both_epochs() {
        let at = |serial: f64, is_1904: bool| {
            text(&DataRef::DateTime(ExcelDateTime::new(serial, ExcelDateTimeType::DateTime, is_1904)), is_1904)
        };
        for (serial, is_1904, expected) in [
            (46_349.0, false, "2026-11-23"),
            (44_887.0, true, "2026-11-23"),
            (46_349.354_166_666_664, false, "2026-11-23T08:30:00"),
            (46_349.999_999_999, false, "2026-11-24"),
            (1.0, false, "1900-01-01"),
            (59.0, false, "1900-02-28"),
            (60.0, false, "1900-02-29"),
            (61.0, false, "1900-03-01"),
            (1.0, true, "1904-01-02"),
            (0.5, false, "12:00:00"),
            (0.25, true, "06:00:00"),
            (2_958_465.5, false, "9999-12-31T12:00:00"),
        ] {
            assert_eq!(at(serial, is_1904).as_deref(), Ok(expected), "{serial}");
        }
        for (serial, is_1904) in [(-1.0, false), (2_958_466.0, false), (2_957_004.0, true), (f64::NAN, false)] {
            assert!(at(serial, is_1904).is_err(), "{serial}");
        }
    }

    #[test]
    fn durations_may_be_longer_than_a_day() {
        for (days, expected) in
            [(1.520_833_333_333_333, "PT36H30M"), (0.0, "PT0S"), (-0.5, "-PT12H"), (1.5 / 86_400.0, "PT1.500S")]
        {
            check(DataRef::DateTime(ExcelDateTime::new(days, ExcelDateTimeType::TimeDelta, false)), expected);
        }
    }

    #[test]
    fn the_rest_stays_what_it_is() {
        check(DataRef::Empty, "");
        check(DataRef::Bool(true), "true");
        check(DataRef::SharedString(" 站 "), " 站 ");
        check(DataRef::DateTimeIso("2026-11-23".into()), "2026-11-23");
        check(DataRef::String("x".repeat(ROW_BYTES)), &"x".repeat(ROW_BYTES));
        assert!(text(&DataRef::String("x".repeat(ROW_BYTES + 1)), false).is_err());
        let (reason, shown) = text(&DataRef::Error(CellErrorType::NA), false).unwrap_err();
        assert_eq!((reason.as_str(), shown.as_str()), ("holds #N/A: mend its formula, or fill in the value", "#N/A"));
    }
}
