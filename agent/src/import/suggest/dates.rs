//! Which date formats read a column, by the same reading as the import itself.
//!
//! Where day and month could change places, values above 12 decide; where there are none, both ways are named.

use jiff::tz::TimeZone;
use waystation_protocol::value::{Type, Value};

use waystation_protocol::form::{self, Reading};

/// Days, in the order in which they are preferred where several read the same values.
const DAYS: &[&str] = &[
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y年%m月%d日",
    "%Y%m%d",
    "%d.%m.%y",
    "%d.%m.%Y",
    "%d/%m/%y",
    "%d/%m/%Y",
    "%m/%d/%y",
    "%m/%d/%Y",
    "%d-%m-%y",
    "%d-%m-%Y",
    "%m-%d-%y",
    "%m-%d-%Y",
    "%d-%b-%y",
    "%d-%b-%Y",
    "%d %b %y",
    "%d %b %Y",
    "%d %B %Y",
    "%d. %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
];

/// Times of the day after it.
const TIMES: &[&str] = &[
    "",
    " %H:%M",
    " %H:%M:%S",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %p %I:%M",
    " %p %I:%M:%S",
    "T%H:%M:%S",
    ", %H:%M",
    "%H时%M分",
];

/// Formats proposed for one column at most; more are a sign that it holds no dates.
const FORMATS: usize = 3;

/// 1900-01-01 and 2100-01-01 as milliseconds: a year beyond is a format misread.
const PLAUSIBLE_MS: std::ops::Range<i64> = -2_208_988_800_000..4_102_444_800_000;

/// How a column's dates are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dates {
    /// Formats to be tried in turn; none where all is ISO 8601.
    pub(super) formats: Vec<String>,
    /// Distinct values that they read.
    pub(super) read: usize,
    /// Whether a time of day is among them.
    pub(super) has_time: bool,
    /// What is not clear about day and month.
    pub(super) doubt: Option<Doubt>,
}

/// Day or month first?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Every value reads both ways; these are the other formats.
    Both(Vec<String>),
    /// Some values read only in one way, some only in the other; these are of the other.
    Mixed(Vec<String>),
}

/// What the rest of the file says about day and month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// 31/12.
    DayFirst,
    /// 12/31.
    MonthFirst,
}

/// The formats that read most of `values`, distinct and not blank; none where not even half of them read.
pub(super) fn find(values: &[&str], order: Order) -> Option<Dates> {
    let looks = |value: &&str| (6..=40).contains(&value.len()) && value.bytes().filter(u8::is_ascii_digit).count() >= 3;
    if values.is_empty() || values.iter().filter(|value| looks(value)).count() * 2 < values.len() {
        return None;
    }
    let has_time = values.iter().any(|value| value.contains([':', '时']));
    if values.iter().all(|value| reads(value, &[])) {
        return Some(Dates { formats: Vec::new(), read: values.len(), has_time, doubt: None });
    }
    let candidates = candidates(order, has_time);
    let mut formats: Vec<String> = Vec::new();
    let mut rest: Vec<&str> = values.to_vec();
    while formats.len() < FORMATS && !rest.is_empty() {
        let is_free = |format: &&String| swapped(format).is_none_or(|other| !formats.contains(&other));
        let count = |format: &String| rest.iter().filter(|value| reads(value, std::slice::from_ref(format))).count();
        let counted = candidates.iter().filter(is_free).map(|format| (count(format), format));
        // The first of the best: `max_by_key` gives the last.
        let Some((best, format)) = counted.rev().max_by_key(|(count, _)| *count) else { break };
        if best == 0 {
            break;
        }
        rest.retain(|value| !reads(value, std::slice::from_ref(format)));
        formats.push(format.clone());
    }
    let read = values.iter().filter(|value| reads(value, &formats)).count();
    let doubt = doubt(&formats, values, &rest);
    (read * 2 >= values.len()).then_some(Dates { formats, read, has_time, doubt })
}

/// Every day with every time of day that there is, the file's order of day and month first.
fn candidates(order: Order, has_time: bool) -> Vec<String> {
    let is_month_first = |day: &&str| day.starts_with("%m");
    let mut days: Vec<&str> = DAYS.to_vec();
    if order == Order::MonthFirst {
        days.sort_by_key(|day| !is_month_first(day));
    }
    let times = if has_time { TIMES } else { &TIMES[..1] };
    days.iter().flat_map(|day| times.iter().map(move |time| format!("{day}{time}"))).collect()
}

/// Whether the import reads `value` by these formats, as a plausible date.
pub(super) fn reads(value: &str, formats: &[String]) -> bool {
    let reading = Reading { zone: &TimeZone::UTC, unit: None, formats };
    match form::from_text(Type::Time, value, &reading) {
        Ok(Value::Int(ms)) => PLAUSIBLE_MS.contains(&ms),
        Ok(Value::Null | Value::Flag(_) | Value::Text(_) | Value::List(_)) | Err(_) => false,
    }
}

/// The format with day and month in each other's place; none where they cannot be mistaken.
fn swapped(format: &str) -> Option<String> {
    let (day, month) = (format.find("%d")?, format.find("%m")?);
    let is_told_apart = format.starts_with("%Y") || format.contains('.');
    let other = format.replace("%d", "\0").replace("%m", "%d").replace('\0', "%m");
    (!is_told_apart && day.abs_diff(month) == 3).then_some(other)
}

fn doubt(formats: &[String], values: &[&str], unread: &[&str]) -> Option<Doubt> {
    let others: Vec<String> = formats.iter().filter_map(|format| swapped(format)).collect();
    if others.is_empty() {
        return None;
    }
    if unread.iter().any(|value| reads(value, &others)) {
        return Some(Doubt::Mixed(others));
    }
    let all: Vec<String> = formats.iter().map(|format| swapped(format).unwrap_or_else(|| format.clone())).collect();
    let read = values.iter().filter(|value| reads(value, formats));
    read.clone().all(|value| reads(value, &all)).then_some(Doubt::Both(all))
}

/// What `dates` say about the order of day and month; none where they do not.
pub(super) fn order_of(dates: &Dates) -> Option<Order> {
    let format = dates.formats.iter().find(|format| swapped(format).is_some() || format.starts_with("%d."))?;
    let order = if format.starts_with("%m") { Order::MonthFirst } else { Order::DayFirst };
    dates.doubt.is_none().then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &str, expected: &str) {
        let values: Vec<&str> = values.split('|').collect();
        let found = match find(&values, Order::DayFirst) {
            None => "none".to_owned(),
            Some(dates) => {
                let doubt = match &dates.doubt {
                    None => String::new(),
                    Some(Doubt::Both(others)) => format!("; or {}", others.join(" ")),
                    Some(Doubt::Mixed(others)) => format!("; mixed with {}", others.join(" ")),
                };
                format!("{} of {}: {}{doubt}", dates.read, values.len(), dates.formats.join(" "))
            }
        };
        assert_eq!(found, expected, "{values:?}");
    }

    #[test]
    fn usual_dates_are_read() {
        check("2016-11-19|2022-03-20", "2 of 2: ");
        check("2016-11-19 08:30:00", "1 of 1: ");
        check("2025/3/1|2025/12/31", "2 of 2: %Y/%m/%d");
        check("2025/3/1 8:05|2025/12/31 17:00", "2 of 2: %Y/%m/%d %H:%M");
        check("2025年3月1日", "1 of 1: %Y年%m月%d日");
        check("31.12.2025|01.02.2026", "2 of 2: %d.%m.%Y");
        check("31.12.25", "1 of 1: %d.%m.%y");
        check("02-Jun-06|14-Nov-06", "2 of 2: %d-%b-%y");
        check("12/31/2025 1:05 PM", "1 of 1: %m/%d/%Y %I:%M %p");
        check("2025/12/31 下午 1:05:00|2025/12/31 上午11:05:00", "2 of 2: %Y/%m/%d %p %I:%M:%S");
        check("20251231", "1 of 1: ");
    }

    #[test]
    fn values_above_twelve_tell_day_from_month_and_without_them_both_are_named() {
        check("1/7/2011|12/23/2010", "2 of 2: %m/%d/%Y");
        check("7/1/2011|23/12/2010", "2 of 2: %d/%m/%Y");
        check("1/7/2011|12/3/2010", "2 of 2: %d/%m/%Y; or %m/%d/%Y");
        check("13/1/2011|1/13/2011|14/1/2011", "2 of 3: %d/%m/%Y; mixed with %m/%d/%Y");
    }

    #[test]
    fn several_ways_of_writing_are_tried_in_turn() {
        check("3/27/09|2004-02-09|3/31/08", "3 of 3: %m/%d/%y %Y-%m-%d");
        check("3/27/09|3/27/2009", "2 of 2: %m/%d/%y %m/%d/%Y");
    }

    #[test]
    fn what_is_no_date_is_not_taken_for_one() {
        check("536527|C53652", "none");
        check("ASN-85|ASN-1520", "none");
        check("10mg/ml|300mg", "none");
        check("13800000000", "none");
    }

    #[test]
    fn other_dates_of_the_file_say_what_comes_first() {
        let dates = find(&["12/23/2010"], Order::DayFirst).unwrap();
        assert_eq!(order_of(&dates), Some(Order::MonthFirst));
        let unclear = find(&["1/7/2011"], Order::MonthFirst).unwrap();
        assert_eq!((unclear.formats[0].as_str(), order_of(&unclear)), ("%m/%d/%Y", None));
    }
}
