//! What a report's cell holds: text, whole numbers, and decimals kept as whole numbers of their smallest unit.

use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use waystation_protocol::value::half_even;

/// Decimal places of every ratio.
pub(super) const RATIO_PLACES: u32 = 6;

/// A decimal: `scaled ÷ 10^places`, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// The number in units of 10^-places.
    pub scaled: i128,
    /// Decimal places, at most 18.
    pub places: u32,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// There is no such figure: nothing to divide by, or nothing known.
    Empty,
    /// Text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A decimal.
    Decimal(Decimal),
}

impl Decimal {
    /// Thousandths as a decimal.
    #[must_use]
    pub fn thousandths(milli: i64) -> Decimal {
        Decimal { scaled: i128::from(milli), places: 3 }
    }

    /// `over ÷ under` rounded half to even to six places; none unless `under` is positive.
    #[must_use]
    pub fn ratio(over: i128, under: i128) -> Option<Decimal> {
        let scaled = over.checked_mul(10i128.pow(RATIO_PLACES))?;
        (under > 0).then(|| Decimal { scaled: half_even(scaled, under), places: RATIO_PLACES })
    }

    /// The same number, rounded half to even to fewer places.
    #[must_use]
    pub fn rounded(self, places: u32) -> Decimal {
        if places >= self.places {
            return self;
        }
        Decimal { scaled: half_even(self.scaled, 10i128.pow(self.places - places)), places }
    }

    /// For drawing only.
    #[must_use]
    pub fn approximate(self) -> f64 {
        self.scaled as f64 / 10f64.powi(i32::try_from(self.places).unwrap_or(0))
    }

    /// With every decimal place.
    #[must_use]
    pub fn fixed(self) -> String {
        let (unit, sign) = (10u128.pow(self.places), if self.scaled < 0 { "-" } else { "" });
        let (whole, rest) = (self.scaled.unsigned_abs() / unit, self.scaled.unsigned_abs() % unit);
        match self.places {
            0 => format!("{sign}{whole}"),
            places => format!("{sign}{whole}.{rest:0width$}", width = places as usize),
        }
    }

    /// Without trailing zeros.
    #[must_use]
    pub fn short(self) -> String {
        let fixed = self.fixed();
        if self.places == 0 { fixed } else { fixed.trim_end_matches('0').trim_end_matches('.').to_owned() }
    }
}

impl Serialize for Decimal {
    /// A JSON number with exactly these digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.short()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Empty => serializer.serialize_none(),
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Whole(number) => serializer.serialize_i64(*number),
            Cell::Decimal(decimal) => decimal.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_round_half_to_even_at_the_sixth_place() {
        for (over, under, expected) in [
            (12409, 23708, Some("0.52341")),
            (1, 3, Some("0.333333")),
            (2, 3, Some("0.666667")),
            (1, 2_000_000, Some("0")),
            (3, 2_000_000, Some("0.000002")),
            (-1, 8, Some("-0.125")),
            (7, 7, Some("1")),
            (1, 0, None),
            (1, -5, None),
        ] {
            assert_eq!(Decimal::ratio(over, under).map(Decimal::short).as_deref(), expected, "{over} ÷ {under}");
        }
    }

    #[test]
    fn thousandths_are_written_exactly() {
        for (milli, expected) in [
            (0, "0"),
            (1, "0.001"),
            (-1, "-0.001"),
            (38_000, "38"),
            (-2_500, "-2.5"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(serde_json::to_string(&Cell::Decimal(Decimal::thousandths(milli))).unwrap(), expected);
        }
        assert_eq!(Decimal::thousandths(1_250).fixed(), "1.250");
        assert_eq!(Decimal { scaled: 125, places: 2 }.rounded(1).fixed(), "1.2");
    }
}
