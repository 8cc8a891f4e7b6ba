//! Printed document numbers: `WC-3702A-2611-00042-K`.
//!
//! Kind, site and agent letter, year and month, a counter that is persisted and never reused, and an ISO 7064
//! MOD 37,36 check character over the letters and digits before it. Two agents of a site differ by their letter, so
//! numbers never collide offline. An agent that may have a twin prints three characters of its own in place of the
//! letter: `WC-3702K7M-2611-00001-3`.

use std::fmt;

use crate::site::SiteId;
use crate::time::Day;

/// What tells an agent's numbers from those of all others of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// The letter the hub granted it.
    Letter(char),
    /// Characters it drew, until the hub has spoken.
    Provisional([char; 3]),
}

/// What provisional tags are made of: 32 characters, none of which is taken for another.
const TAG_CHARACTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

impl Tag {
    /// A provisional tag from fresh random bytes: one of 32,768.
    pub fn provisional(random: [u8; 3]) -> Tag {
        Tag::Provisional(random.map(|byte| char::from(TAG_CHARACTERS[usize::from(byte % 32)])))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tag::Letter(letter) => write!(f, "{letter}"),
            Tag::Provisional(characters) => characters.iter().try_for_each(|character| write!(f, "{character}")),
        }
    }
}

/// What makes a counter: numbers with equal series share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series(String);

impl Series {
    /// The series of a kind (by its code), a site, an agent's tag and a month.
    pub fn new(kind_code: &str, site: &SiteId, tag: Tag, day: Day) -> Series {
        let date = day.civil();
        Series(format!("{kind_code}-{}{tag}-{:02}{:02}", site.code(), date.year().rem_euclid(100), date.month()))
    }

    /// The series and the counter of a printed number; none where it is no valid number.
    pub fn of_number(number: &str) -> Option<(Series, u64)> {
        let (series, counter) = number.rsplit_once('-').filter(|_| is_valid(number))?.0.rsplit_once('-')?;
        Some((Series(series.to_owned()), counter.parse().ok()?))
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
        let series = Series::new("WC", &site, Tag::Letter('A'), "2026-11-23".parse().unwrap());
        let number = series.number(42);
        assert!(number.starts_with("WC-3702A-2611-00042-"), "{number}");
        assert!(is_valid(&number));
        assert_eq!(Series::of_number(&number), Some((series, 42)));
    }

    #[test]
    fn a_provisional_tag_stands_in_place_of_the_letter() {
        let tag = Tag::provisional([16, 5 + 32, 255]);
        let series = Series::new("WC", &"3702".parse().unwrap(), tag, "2026-11-23".parse().unwrap());
        assert_eq!(series.as_str(), "WC-3702J7Z-2611");
        assert_eq!(Series::of_number(&series.number(100_000)), Some((series, 100_000)));
        for bad in ["", "WC", "WC-3702A-2611-00042-0", "-"] {
            assert_eq!(Series::of_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_mistyped_or_swapped_character_is_noticed() {
        let number = Series::new("WC", &"3702".parse().unwrap(), Tag::Letter('A'), Day(20_000)).number(42);
        for index in 0..number.len() {
            let mut chars: Vec<char> = number.chars().collect();
            let Some(digit) = chars[index].to_digit(36) else { continue };
            chars[index] = char::from_digit((digit + 1) % 36, 36).unwrap().to_ascii_uppercase();
            assert!(!is_valid(&chars.iter().collect::<String>()), "{index}");
        }
        assert!(!is_valid("") && !is_valid("-") && !is_valid("WC"));
    }
}
