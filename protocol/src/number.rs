//! Printed document numbers: `WC-3702A-2611-00042-K`.
//!
//! Kind, site and agent letter, year and month, a counter that is persisted and never reused, and an ISO 7064
//! MOD 37,36 check character over the letters and digits before it. Two agents of a site differ by their letter, so
//! numbers never collide offline.

use crate::site::SiteId;
use crate::time::Day;

/// What makes a counter: numbers with equal series share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series(String);

impl Series {
    /// The series of a kind (by its code), a site, an agent's letter and a month.
    pub fn new(kind_code: &str, site: &SiteId, letter: char, day: Day) -> Series {
        let date = day.civil();
        Series(format!("{kind_code}-{}{letter}-{:02}{:02}", site.code(), date.year().rem_euclid(100), date.month()))
    }

    /// The series as the stored counter's key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number that prints `counter`.
    pub fn number(&self, counter: u64) -> String {
        let body = format!("{}-{counter:05}", self.0);
        let check = check_character(&body);
        format!("{body}-{check}")
    }
}

/// Whether the last character of `number` is the check character of what stands before it.
pub fn is_valid(number: &str) -> bool {
    let Some((body, check)) = number.rsplit_once('-') else { return false };
    let mut chars = check.chars();
    chars.next() == Some(check_character(body)) && chars.next().is_none()
}

/// ISO 7064 MOD 37,36 over letters and digits; everything else is passed over.
fn check_character(body: &str) -> char {
    let mut product = 36;
    for value in body.chars().filter_map(|c| c.to_digit(36)) {
        let mut sum = (product + value) % 36;
        if sum == 0 {
            sum = 36;
        }
        product = sum * 2 % 37;
    }
    let check = (37 - product) % 36;
    char::from_digit(check, 36).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_character_is_that_of_iso_7064() {
        // The standard's own worked example for MOD 37,36 (also used by ISAN and GRid).
        assert_eq!(check_character("A12425GABC1234002"), 'M');
    }

    #[test]
    fn numbers_read_as_the_outlets_print_them() {
        let site = "3702".parse().unwrap();
        let series = Series::new("WC", &site, 'A', "2026-11-23".parse().unwrap());
        let number = series.number(42);
        assert!(number.starts_with("WC-3702A-2611-00042-"), "{number}");
        assert!(is_valid(&number));
    }

    #[test]
    fn one_mistyped_or_swapped_character_is_noticed() {
        let number = Series::new("WC", &"3702".parse().unwrap(), 'A', Day(20_000)).number(42);
        for index in 0..number.len() {
            let mut chars: Vec<char> = number.chars().collect();
            let Some(digit) = chars[index].to_digit(36) else { continue };
            chars[index] = char::from_digit((digit + 1) % 36, 36).unwrap().to_ascii_uppercase();
            assert!(!is_valid(&chars.iter().collect::<String>()), "{index}");
        }
        assert!(!is_valid("") && !is_valid("-") && !is_valid("WC"));
    }
}
