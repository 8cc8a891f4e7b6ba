//! Decimal text to whole numbers of the smallest unit, and back.

/// Reads `text` as a number with at most `places` decimals, in units of 10^-places. Thousands may be grouped by
/// commas, in threes. None for anything else, and where 64 bits do not hold it.
pub(super) fn parse(text: &str, places: u32) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let has_digits = whole.bytes().any(|byte| byte.is_ascii_digit());
    let is_decimal = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !has_digits || !is_decimal || fraction.len() > places as usize || !is_grouped(whole) {
        return None;
    }
    let padding = std::iter::repeat_n(b'0', places as usize - fraction.len());
    let mut number: i64 = 0;
    for byte in whole.bytes().filter(|byte| *byte != b',').chain(fraction.bytes()).chain(padding) {
        let digit = i64::from(byte - b'0');
        let signed = if is_negative { -digit } else { digit };
        number = number.checked_mul(10)?.checked_add(signed)?;
    }
    Some(number)
}

/// Digits alone, or groups of three after the first.
fn is_grouped(whole: &str) -> bool {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let is_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let has_groups = whole.contains(',');
    is_digits(first) && (!has_groups || (1..=3).contains(&first.len())) && groups.all(|g| g.len() == 3 && is_digits(g))
}

/// Splits `2.5 件` into its number and its unit, either of which may be empty.
pub(super) fn split_unit(text: &str) -> (&str, &str) {
    let is_number = |character: char| character.is_ascii_digit() || matches!(character, '.' | ',' | '-' | '+');
    let end = text.find(|character| !is_number(character)).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Prints `number` units of 10^-places with all its decimals: `19.90`.
pub(super) fn print(number: i64, places: u32) -> String {
    let scale = 10u64.pow(places);
    let (sign, size) = if number < 0 { ("-", number.unsigned_abs()) } else { ("", number.unsigned_abs()) };
    if places == 0 {
        return format!("{sign}{size}");
    }
    format!("{sign}{}.{:0width$}", size / scale, size % scale, width = places as usize)
}

/// As [`print`], without zeros at the end: `2.5`.
pub(super) fn print_short(number: i64, places: u32) -> String {
    let full = print(number, places);
    if places == 0 { full } else { full.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (text, places, expected) in [
            ("19.99", 2, Some(1999)),
            ("19.9", 2, Some(1990)),
            ("-0.5", 3, Some(-500)),
            ("+7", 0, Some(7)),
            (".5", 2, None),
            ("5.", 2, Some(500)),
            ("1,234,567.5", 2, Some(123_456_750)),
            ("1,5", 2, None),
            ("12345,678", 2, None),
            ("1.999", 2, None),
            ("1.990", 2, Some(199)),
            ("7.0", 0, Some(7)),
            ("1e3", 0, None),
            ("", 0, None),
            ("-", 0, None),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("-9223372036854775808", 0, Some(i64::MIN)),
            ("9223372036854775808", 0, None),
        ] {
            assert_eq!(parse(text, places), expected, "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for number in [0, 5, -5, 100, 1999, -38_000, i64::MAX, i64::MIN] {
            for places in [0, 2, 3] {
                assert_eq!(parse(&print(number, places), places), Some(number));
                assert_eq!(parse(&print_short(number, places), places), Some(number));
            }
        }
        assert_eq!((print(-5, 2).as_str(), print_short(2500, 3).as_str()), ("-0.05", "2.5"));
    }
}
