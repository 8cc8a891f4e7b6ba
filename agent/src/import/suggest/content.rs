//! What cells say of themselves, whatever their column is called: numbers, dates, VINs, choices, and texts that mean
//! nothing is known. All of it by the reading of the import itself.

use waystation_protocol::value::Type;
use waystation_protocol::vin::{self, VinCheck};

use super::dates::{self, Dates, Order};
use super::look::Column;
use super::{private, words};
use crate::import::mapping::points_for_commas;
use waystation_protocol::form::{self, Reading};

/// Texts proposed as `null` for one column, and values told of one, at most: more are a table of their own.
const LISTED: usize = 8;

/// Texts that mean nothing is known.
const NOTHING: &[&str] = &[
    "n/a",
    "na",
    "n.a.",
    "n.a",
    "#n/a",
    "null",
    "nil",
    "none",
    "(null)",
    "nan",
    "not available",
    "not applicable",
    "not captured",
    "date not captured",
    "tbd",
    "keine angabe",
    "k.a.",
    "entfällt",
    "无",
    "暂无",
    "没有",
    "空",
    "未填",
    "未填写",
    "不适用",
    "待定",
];

/// What a column's cells look like.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How its dates are written, if it holds dates.
    pub(super) dates: Option<Dates>,
    /// Whether nearly all are VINs.
    pub(super) is_vin: bool,
    /// Whether nearly all are Chinese number plates.
    pub(super) is_plate: bool,
    /// Whether numbers are written with a decimal comma, here or, with dots that could be thousands, elsewhere.
    pub(super) is_comma: bool,
    /// Whether nearly all are dates.
    pub(super) is_dates: bool,
}

/// How a column's cells read as one type.
#[derive(Debug, Clone, Default)]
pub(super) struct Fit {
    /// Rows whose cell reads.
    pub(super) good: usize,
    /// Rows whose cell says anything.
    pub(super) all: usize,
    /// The formats of dates.
    pub(super) date: Vec<String>,
    /// Whether its numbers have a decimal comma.
    pub(super) is_comma: bool,
    /// The currency or the unit, where the column states one.
    pub(super) unit: Option<String>,
    /// Cells and what they stand for.
    pub(super) values: Vec<(String, &'static str)>,
    /// Texts that mean nothing is known.
    pub(super) null: Vec<String>,
    /// Cells that do not read: some of them.
    pub(super) unread: Vec<String>,
}

impl Fit {
    /// Rows that read, of a hundred that say anything; nothing seen counts as half.
    pub(super) fn share(&self) -> usize {
        (self.good * 100).checked_div(self.all).unwrap_or(50)
    }
}

/// A state or a choice: its name and labels.
pub(super) type Label = (&'static str, &'static str, &'static str);

/// Looks at all columns of a file: what one says about days and decimals holds for the others.
pub(super) fn look_at(columns: &mut [Column]) {
    for column in columns.iter_mut() {
        let all = column.cells.len();
        let vins = column.values().filter(|(value, _)| is_vin(value)).count();
        let commas = column.values().filter(|(value, _)| is_comma_decimal(value)).count();
        let dates = find_dates(column, Order::DayFirst);
        let plates = column.values().filter(|(value, _)| private::is_plate(value)).count();
        let is_most = |count: usize| count > 0 && count * 10 >= 8 * all;
        column.looks = Looks {
            is_dates: dates.as_ref().is_some_and(|dates| dates.read * 10 >= 9 * all),
            dates,
            is_vin: is_most(vins),
            is_plate: is_most(plates),
            is_comma: commas * 2 > all,
        };
    }
    let order = columns.iter().find_map(|column| dates::order_of(column.looks.dates.as_ref()?));
    let has_commas = columns.iter().any(|column| column.looks.is_comma);
    for column in columns {
        let is_unclear = column.looks.dates.as_ref().is_some_and(|dates| dates.doubt.is_some());
        if let (true, Some(order)) = (is_unclear, order) {
            column.looks.dates = find_dates(column, order);
        }
        let has_dots = column.values().any(|(value, _)| value.contains('.') && value.bytes().all(is_of_number));
        column.looks.is_comma |= has_commas && has_dots && !column.looks.is_dates;
    }
}

fn find_dates(column: &Column, order: Order) -> Option<Dates> {
    let says_something = |value: &&str| !is_nothing(value) && value.bytes().any(|byte| byte.is_ascii_digit());
    let values: Vec<&str> = column.values().map(|(value, _)| value).filter(says_something).collect();
    dates::find(&values, order)
}

/// How `column` reads as `ty`.
pub(super) fn read(ty: Type, column: &Column) -> Fit {
    match ty {
        Type::Text => text(column),
        Type::Choice(choices) => {
            let labels: Vec<Label> = choices.iter().map(|choice| (choice.name, choice.zh, choice.en)).collect();
            choice(column, &labels)
        }
        Type::Date | Type::Time | Type::Due => date(ty, column),
        Type::Integer | Type::Km | Type::Labour | Type::Quantity | Type::Money | Type::Flag | Type::Link(_) => {
            let unit = unit(ty, &column.name);
            let stated = typed(ty, column, unit.as_deref(), &[]);
            if unit.is_some() && stated.good < stated.all {
                // Cells that state their own units must not be told another.
                let own = typed(ty, column, None, &[]);
                return if own.good > stated.good { own } else { Fit { unit, ..stated } };
            }
            Fit { unit, ..stated }
        }
    }
}

fn text(column: &Column) -> Fit {
    let mut fit = Fit::default();
    for (value, count) in column.values() {
        if is_nothing(value) && fit.null.len() < LISTED {
            push_new(&mut fit.null, value);
        } else {
            fit.all += count;
            fit.good += count;
        }
    }
    fit
}

fn date(ty: Type, column: &Column) -> Fit {
    let Some(dates) = &column.looks.dates else { return typed(ty, column, None, &[]) };
    let mut formats = dates.formats.clone();
    if ty == Type::Date && formats.is_empty() && dates.has_time {
        // A day is read from a time of day only where a format says so.
        formats = vec!["%Y-%m-%d %H:%M:%S".to_owned(), "%Y-%m-%d %H:%M".to_owned()];
    }
    let fit = typed(ty, column, None, &formats);
    Fit { date: formats, ..fit }
}

/// Reads every cell as the import does. Words without a digit that repeat mean nothing is known.
fn typed(ty: Type, column: &Column, unit: Option<&str>, formats: &[String]) -> Fit {
    let is_comma = column.looks.is_comma && is_decimal(ty);
    let mut fit = Fit { is_comma, ..Fit::default() };
    let zone = jiff::tz::TimeZone::UTC;
    let reading = Reading { zone: &zone, unit, formats };
    let is_numeric = !matches!(ty, Type::Flag | Type::Link(_));
    for (value, count) in column.values() {
        let is_read = match ty {
            Type::Time | Type::Due => dates::reads(value, formats),
            _ if is_comma => form::from_text(ty, &points_for_commas(value), &reading).is_ok(),
            _ => form::from_text(ty, value, &reading).is_ok(),
        };
        let is_word =
            is_numeric && count > 1 && !value.bytes().any(|byte| byte.is_ascii_digit()) && !private::is_personal(value);
        if !is_read && (is_nothing(value) || is_word) && fit.null.len() < LISTED {
            push_new(&mut fit.null, value);
            continue;
        }
        fit.all += count;
        if is_read {
            fit.good += count;
        } else if fit.unread.len() < LISTED {
            push_new(&mut fit.unread, value);
        }
    }
    fit
}

/// How `column` reads as one of `labels`: by name or label, nearly so, or by another usual name.
pub(super) fn choice(column: &Column, labels: &[Label]) -> Fit {
    let mut fit = Fit::default();
    for (cell, count) in &column.cells {
        let value = cell.trim();
        match meaning(value, labels) {
            Some(name) => {
                fit.good += count;
                fit.all += count;
                fit.values.push((cell.clone(), name));
            }
            None if is_nothing(value) && fit.null.len() < LISTED => push_new(&mut fit.null, value),
            None => {
                fit.all += count;
                if fit.unread.len() < LISTED {
                    push_new(&mut fit.unread, value);
                }
            }
        }
    }
    fit
}

fn meaning(value: &str, labels: &[Label]) -> Option<&'static str> {
    let exact = |(name, zh, en): &&Label| *name == value || *zh == value || en.eq_ignore_ascii_case(value);
    let plain = words::normal(value);
    let near = |(name, zh, en): &&Label| {
        let mut own = [*name, *zh, *en].into_iter().map(words::normal);
        own.any(|label| label == plain || is_slip(&label, &plain)) || words::means(value, name)
    };
    let found = labels.iter().find(exact).or_else(|| labels.iter().find(near));
    found.map(|(name, ..)| *name)
}

/// Whether two words of six letters or more differ by one letter, changed, added or left out.
fn is_slip(left: &str, right: &str) -> bool {
    let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    if short.len() < 6 || !short.is_ascii() || !long.is_ascii() || long.len() - short.len() > 1 {
        return false;
    }
    let same = short.bytes().zip(long.bytes()).take_while(|(a, b)| a == b).count();
    let rest = &long[same..];
    let changed = if short.len() == long.len() { &short[same..] } else { "" };
    match changed {
        "" => short[same..] == *rest.get(1..).unwrap_or_default(),
        changed => changed[1..] == rest[1..],
    }
}

/// The currency or unit that a header states in brackets or, a currency, as its last word.
fn unit(ty: Type, name: &str) -> Option<String> {
    let bracketed = words::bracketed(name);
    match ty {
        Type::Money => {
            let last = name.split_whitespace().next_back().map(str::to_owned);
            [bracketed, last].into_iter().flatten().find_map(|text| currency(&text))
        }
        Type::Quantity => {
            let is_unit = |text: &String| text.chars().count() <= 8 && text.chars().all(char::is_alphabetic);
            bracketed.filter(is_unit)
        }
        _ => None,
    }
}

/// The column that states the units of quantities, or the currencies of amounts.
pub(super) fn unit_column(ty: Type, columns: &[Column]) -> Option<String> {
    let column = columns.iter().find(|column| words::names_units(&column.name, ty))?;
    let is_unit = |cell: &str| {
        // 单位 is an organisation too.
        let is_short = ty != Type::Quantity || cell.chars().count() <= if cell.is_ascii() { 8 } else { 4 };
        let reading = Reading { zone: &jiff::tz::TimeZone::UTC, unit: Some(cell), formats: &[] };
        is_short && form::from_text(ty, "1", &reading).is_ok()
    };
    (column.filled() > 0 && column.values().all(|(cell, _)| is_unit(cell))).then(|| column.name.clone())
}

/// The one currency that headers of a table state.
pub(super) fn stated_currency(columns: &[Column]) -> Option<String> {
    let mut stated: Vec<String> = columns.iter().filter_map(|column| unit(Type::Money, &column.name)).collect();
    stated.dedup();
    if stated.len() == 1 { stated.pop() } else { None }
}

fn currency(text: &str) -> Option<String> {
    const KNOWN: &[&str] =
        &["CNY", "USD", "EUR", "GBP", "JPY", "CHF", "HKD", "TWD", "SGD", "KRW", "INR", "RUB", "BRL", "CAD", "AUD"];
    let code = form::currency(text).to_ascii_uppercase();
    KNOWN.contains(&code.as_str()).then_some(code)
}

/// Whether a text means that nothing is known.
pub(super) fn is_nothing(value: &str) -> bool {
    let is_dash = |character: char| matches!(character, '-' | '–' | '—' | '/' | '\\' | '?' | '？' | '.' | '*' | '_');
    let is_zero_date =
        value.starts_with("00") && value.contains(['-', '/']) && !value.contains(|c| "123456789".contains(c));
    value.chars().all(is_dash) || is_zero_date || NOTHING.contains(&value.to_lowercase().as_str())
}

/// Whether a cell is a number.
pub(super) fn is_number(value: &str) -> bool {
    let zone = jiff::tz::TimeZone::UTC;
    let reading = Reading::plain(&zone);
    let is_plain = value.bytes().any(|byte| byte.is_ascii_digit()) && value.bytes().all(is_of_number);
    is_plain && (form::from_text(Type::Quantity, value, &reading).is_ok() || is_comma_decimal(value))
}

/// Whether a cell is a date in any usual way of writing one.
pub(super) fn is_date(value: &str) -> bool {
    let is_parted = value.contains(['-', '/', '.', '年', ':', ' ']);
    is_parted && dates::find(&[value], Order::DayFirst).is_some_and(|dates| dates.read == 1)
}

/// Whether a cell is a VIN: seventeen letters and digits and, where it is mandatory, its check digit.
pub(super) fn is_vin(value: &str) -> bool {
    let has_letters = value.bytes().any(|byte| byte.is_ascii_uppercase());
    let has_digits = value.bytes().any(|byte| byte.is_ascii_digit());
    has_letters && has_digits && matches!(vin::check(value), VinCheck::Good | VinCheck::DigitUnused)
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'-' | b'+')
}

/// Whether decimals can stand in a number of this type.
fn is_decimal(ty: Type) -> bool {
    matches!(ty, Type::Quantity | Type::Money | Type::Labour | Type::Integer | Type::Km)
}

/// `12,50` or `1.234,56`, which an import reads only if told of the comma; `1,234` it does.
fn is_comma_decimal(value: &str) -> bool {
    let number = value.trim_end_matches(|character: char| !character.is_ascii_digit());
    let Some((whole, fraction)) = number.rsplit_once(',') else { return false };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let groups = whole.trim_start_matches(['-', '+']);
    is_digits(fraction) && groups.split('.').all(is_digits) && (fraction.len() != 3 || groups.contains('.'))
}

/// A number of which nobody can tell whether its point is a decimal one, where that is so of all of the column: `1.250`.
pub(super) fn thousands(column: &Column) -> Option<&str> {
    let mut pointed = column.values().map(|(value, _)| value).filter(|value| value.contains('.')).peekable();
    let first = *pointed.peek()?;
    let is_group = |value: &str| {
        let (whole, rest) = value.trim_start_matches(['-', '+']).split_once('.').unwrap_or_default();
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        (1..=3).contains(&whole.len())
            && is_digits(whole)
            && rest.split('.').all(|part| part.len() == 3 && is_digits(part))
    };
    pointed.all(is_group).then_some(first)
}

fn push_new(list: &mut Vec<String>, value: &str) {
    if !list.iter().any(|listed| listed == value) {
        list.push(value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &[Label] =
        &[("fixed", "已修复", "Fixed"), ("repairable", "可修复", "Repairable"), ("end_of_life", "报废", "End of life")];

    #[test]
    fn choices_are_known_by_name_label_slip_and_other_names() {
        for (value, expected) in [
            ("Fixed", Some("fixed")),
            ("END OF LIFE", Some("end_of_life")),
            ("End-of-life", Some("end_of_life")),
            ("已修复", Some("fixed")),
            ("Reparable", Some("repairable")),
            ("nicht reparierbar", Some("end_of_life")),
            ("Repaired", Some("fixed")),
            ("未修复", None),
            ("fix", None),
        ] {
            assert_eq!(meaning(value, LABELS), expected, "{value}");
        }
    }

    #[test]
    fn one_letter_may_slip() {
        assert!(is_slip("delivered", "deliverd") && is_slip("delivered", "delivered!"[..9].trim()));
        assert!(is_slip("repairable", "reparable") && is_slip("booked", "bookef"));
        assert!(!is_slip("delivered", "undelivered") && !is_slip("pass", "pas") && !is_slip("returned", "retained"));
    }

    #[test]
    fn what_means_nothing_is_known() {
        for value in ["N/A", "-", "null", "无", "Date Not Captured", "????", "——", "0000-00-00 00:00:00"] {
            assert!(is_nothing(value), "{value}");
        }
        assert!(!is_nothing("Unknown") && !is_nothing("0"));
    }

    #[test]
    fn decimal_commas_are_told_from_thousands() {
        for (value, expected) in
            [("12,50", true), ("1.234,56", true), ("-0,5", true), ("12,50 €", true), ("1,234", false), ("12.50", false)]
        {
            assert_eq!(is_comma_decimal(value), expected, "{value}");
        }
    }

    #[test]
    fn headers_state_currencies_and_units() {
        assert_eq!(unit(Type::Money, "Freight Cost (USD)").as_deref(), Some("USD"));
        assert_eq!(unit(Type::Money, "金额（元）").as_deref(), Some("CNY"));
        assert_eq!(unit(Type::Money, "Betrag EUR").as_deref(), Some("EUR"));
        assert_eq!(unit(Type::Money, "Amount"), None);
        assert_eq!(unit(Type::Quantity, "数量(箱)").as_deref(), Some("箱"));
        assert!(words::names_units("计量单位", Type::Quantity) && !words::names_units("收件单位", Type::Quantity));
        assert!(
            words::names_a_currency("付款币种")
                && words::names_a_currency("Curr.")
                && !words::names_a_currency("Current")
        );
        assert!(words::names_units("Currency", Type::Money) && !words::names_units("Currency", Type::Quantity));
    }

    #[test]
    fn cells_tell_their_type() {
        assert!(is_number("12") && is_number("-1,234.5") && is_number("12,50") && !is_number("5 %") && !is_number("x"));
        assert!(is_date("2025-01-31") && is_date("31.12.2025") && !is_date("536527") && !is_date("1.5"));
        assert!(is_vin("LJCPCBLCX11000237") && !is_vin("12345678901234567") && !is_vin("LJCPCBLC111000237"));
    }
}
