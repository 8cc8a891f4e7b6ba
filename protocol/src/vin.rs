//! Vehicle identification numbers (ISO 3779, check digit as FMVSS 115 and GB 16735 compute it).

/// What a VIN's check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VinCheck {
    /// Seventeen permitted characters and a matching check digit.
    Good,
    /// Not seventeen characters, or one of them is not permitted (I, O and Q never are).
    Malformed,
    /// The check digit differs, in a region where it is mandatory: China (L) and North America (1 to 5).
    WrongDigit,
    /// The check digit differs where makers need not compute it.
    DigitUnused,
}

const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

/// Checks an upper-case VIN.
pub fn check(vin: &str) -> VinCheck {
    let chars: Vec<char> = vin.chars().collect();
    if chars.len() != 17 {
        return VinCheck::Malformed;
    }
    let mut sum = 0;
    for (c, weight) in chars.iter().zip(WEIGHTS) {
        match value(*c) {
            Some(value) => sum += value * weight,
            None => return VinCheck::Malformed,
        }
    }
    let digit = match sum % 11 {
        10 => 'X',
        rest => char::from_digit(rest, 10).unwrap_or('0'),
    };
    if chars[8] == digit {
        VinCheck::Good
    } else if matches!(chars[0], 'L' | '1'..='5') {
        VinCheck::WrongDigit
    } else {
        VinCheck::DigitUnused
    }
}

fn value(c: char) -> Option<u32> {
    Some(match c {
        '0'..='9' => c as u32 - '0' as u32,
        'A'..='H' => c as u32 - 'A' as u32 + 1,
        'J'..='N' => c as u32 - 'J' as u32 + 1,
        'P' => 7,
        'R' => 9,
        'S'..='Z' => c as u32 - 'S' as u32 + 2,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_those_of_the_standard() {
        for (vin, expected) in [
            ("1M8GDM9AXKP042788", VinCheck::Good),
            ("LJCPCBLCX11000237", VinCheck::Good),
            ("1G4AH59H45G118341", VinCheck::Good),
            ("LJCPCBLC111000237", VinCheck::WrongDigit),
            ("WJCPCBLC211000237", VinCheck::DigitUnused),
            ("LJCPCBLCX1100023", VinCheck::Malformed),
            ("LJCPCBLCX1100O237", VinCheck::Malformed),
            ("", VinCheck::Malformed),
        ] {
            assert_eq!(check(vin), expected, "{vin}");
        }
    }
}
