//! Telephone numbers as people in China write them, and E.164.

/// The number in E.164, with its extension after `;ext=`; none if it is no number of a mobile (`1[3-9]` and nine digits),
/// a landline (`0`, area, seven or eight digits, maybe an extension), of 400 or 800, or international after a plus.
pub fn e164(text: &str) -> Option<String> {
    let (number, extension) = match text.split_once(";ext=").or_else(|| text.split_once(['转', 'x', '#'])) {
        Some((number, extension)) => (number, Some(extension)),
        None => (text, None),
    };
    let mut digits: String = number.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')')).collect();
    if let Some(rest) = digits.strip_prefix("+86") {
        let is_area = !rest.starts_with(['1', '4', '8']) || rest.len() == 10 && rest.starts_with('1');
        digits = if is_area { format!("0{rest}") } else { rest.to_owned() };
    } else if let Some(rest) = digits.strip_prefix('+') {
        return (is_digits(rest) && (8..=15).contains(&rest.len()) && extension.is_none()).then_some(digits);
    }
    let bytes = digits.as_bytes();
    let is_mobile = bytes.len() == 11 && bytes[0] == b'1' && (b'3'..=b'9').contains(&bytes[1]);
    let is_service = bytes.len() == 10 && (digits.starts_with("400") || digits.starts_with("800"));
    let is_landline = (10..=12).contains(&bytes.len()) && bytes[0] == b'0' && bytes[1] != b'0';
    let extension = match extension.map(str::trim) {
        None => String::new(),
        Some(digits) if is_landline && is_digits(digits) && digits.len() <= 6 => format!(";ext={digits}"),
        Some(_) => return None,
    };
    let national = digits.strip_prefix('0').unwrap_or(&digits);
    (is_digits(&digits) && (is_mobile || is_service || is_landline)).then(|| format!("+86{national}{extension}"))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stored_in_one_form_and_reading_it_again_changes_nothing() {
        for (text, expected) in [
            ("13800138000", "+8613800138000"),
            ("138 0013 8000", "+8613800138000"),
            ("0531-88881234", "+8653188881234"),
            ("010-88881234转801", "+861088881234;ext=801"),
            ("400-820-8820", "+864008208820"),
            ("+4930123456", "+4930123456"),
        ] {
            assert_eq!(e164(text).as_deref(), Some(expected), "{text}");
            assert_eq!(e164(expected).as_deref(), Some(expected), "{expected}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for text in ["", "12800138000", "1380013800", "88881234", "00531-8888123", "13800138000转1", "+86", "电话"] {
            assert_eq!(e164(text), None, "{text}");
        }
    }
}
