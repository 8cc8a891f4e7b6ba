//! Finds where one row ends. Pure: bytes in, an outcome out.
//!
//! A row on one line may hold quotes within unquoted text (`6" pipe`). A row over several lines is believed only if
//! it is flawless, because a quote that never closed looks just like it: with the wrong number of cells or a stray
//! quote, only its opening line is set aside. That also bounds the work on a file whose every line opens a quote.

use super::limits::ROW_BYTES;

/// How the search for a row's end came out. Offsets count from the row's first byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The row ends at `end`; the next begins at `next`.
    Row { end: usize, next: usize },
    /// The bytes do not reach to the row's end.
    More,
    /// The trouble is at `at`; the line that holds `opened` is the last to be set aside.
    Bad { at: usize, opened: usize, why: Why },
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A quote that never closes, or closes at a place that cannot be meant.
    Open,
    /// A quote that has not closed within the bound.
    Large,
    /// Text after a closing quote.
    Junk,
    /// No line end within the bound.
    Long,
}

impl Why {
    /// What is wrong, and the cure.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Why::Open => "this quote never closes: close it, or double it if it belongs to the text",
            Why::Large => {
                "this quoted text ends beyond what a row may hold (1 MiB), or never: close its quote, double it if it \
                 belongs to the text, or shorten the text"
            }
            Why::Junk => {
                "text follows a closing quote: put the delimiter after the quote, or double the quotes inside the text"
            }
            Why::Long => "the line is longer than 1 MiB: check that it is a text table and how its lines end",
        }
    }
}

/// Scans the row at the start of `bytes`, which must have `columns` cells if it spans lines.
pub(super) fn scan(bytes: &[u8], delimiter: u8, columns: Option<usize>, at_end: bool) -> Scan {
    let (mut at, mut cells, mut is_field_start) = (0, 1, true);
    // Where the first quoted field that holds a line end opens.
    let mut spanning = None;
    let flawed = |opened| Scan::Bad { at: opened, opened, why: Why::Open };
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' {
            if is_field_start {
                let (after, has_line_end) = match close(bytes, at, delimiter, at_end) {
                    Ok(closed) => closed,
                    Err(Scan::Bad { .. }) if spanning.is_some() => return flawed(spanning.unwrap_or(at)),
                    Err(outcome) => return outcome,
                };
                if has_line_end {
                    spanning.get_or_insert(at);
                }
                (at, is_field_start) = (after, false);
                continue;
            }
            if let Some(opened) = spanning {
                return flawed(opened);
            }
        }
        if is_line_end(byte) {
            let Some(next) = after_line_end(bytes, at, at_end) else { return Scan::More };
            return match spanning {
                Some(opened) if columns.is_some_and(|columns| columns != cells) => flawed(opened),
                _ => Scan::Row { end: at, next },
            };
        }
        is_field_start = byte == delimiter;
        cells += usize::from(is_field_start);
        if let (Some(opened), Some(columns)) = (spanning, columns)
            && cells > columns
        {
            return flawed(opened);
        }
        at += 1;
    }
    match spanning {
        Some(opened) if at_end && columns.is_some_and(|columns| columns != cells) => flawed(opened),
        _ if at_end => Scan::Row { end: at, next: at },
        Some(opened) if at > ROW_BYTES => Scan::Bad { at: opened, opened, why: Why::Large },
        None if at > ROW_BYTES => Scan::Bad { at: 0, opened: 0, why: Why::Long },
        _ => Scan::More,
    }
}

/// The offset after the quoted field that opens at `open`, and whether it holds a line end.
fn close(bytes: &[u8], open: usize, delimiter: u8, at_end: bool) -> Result<(usize, bool), Scan> {
    let bad = |why| Scan::Bad { at: open, opened: open, why };
    let mut at = open + 1;
    let mut has_line_end = false;
    loop {
        match bytes.get(at) {
            None if at_end => return Err(bad(Why::Open)),
            None if at > ROW_BYTES => return Err(bad(Why::Large)),
            None => return Err(Scan::More),
            Some(b'"') => match bytes.get(at + 1) {
                Some(b'"') => at += 2,
                Some(byte) if *byte == delimiter || is_line_end(*byte) => return Ok((at + 1, has_line_end)),
                Some(_) => return Err(Scan::Bad { at: at + 1, opened: open, why: Why::Junk }),
                None if at_end => return Ok((at + 1, has_line_end)),
                None => return Err(Scan::More),
            },
            Some(byte) => {
                has_line_end |= is_line_end(*byte);
                at += 1;
            }
        }
    }
}

/// Whether a line ends at this byte; the LF of a CRLF only completes it.
pub(super) fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The offset after the line end at `at`; none if a CR's LF may still come.
pub(super) fn after_line_end(bytes: &[u8], at: usize, at_end: bool) -> Option<usize> {
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some(at + 2),
        (b'\r', None) if !at_end => None,
        _ => Some(at + 1),
    }
}

/// Line ends in `bytes`: LF, CRLF or bare CR, each one.
pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    let mut lines = 0;
    let mut before = 0;
    for byte in bytes {
        lines += u64::from(*byte == b'\r' || (*byte == b'\n' && before != b'\r'));
        before = *byte;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, at_end: bool, expected: Scan) {
        assert_eq!(scan(text.as_bytes(), b',', Some(3), at_end), expected, "{text:?}");
    }

    #[test]
    fn a_row_ends_where_its_line_ends_outside_quotes() {
        check("a,b,c\nd", false, Scan::Row { end: 5, next: 6 });
        check("a,b,c\r\nd", false, Scan::Row { end: 5, next: 7 });
        check("a,b,c\r", false, Scan::More);
        check("a,b,c\r", true, Scan::Row { end: 5, next: 6 });
        check("a,\"b\nb\",c\nd", false, Scan::Row { end: 9, next: 10 });
        check("a,\"b\"", false, Scan::More);
        check("a,\"b\"", true, Scan::Row { end: 5, next: 5 });
    }

    #[test]
    fn a_row_over_several_lines_is_believed_only_if_it_is_flawless() {
        check("6\" pipe,b,c\n", false, Scan::Row { end: 11, next: 12 });
        let open = |opened| Scan::Bad { at: opened, opened, why: Why::Open };
        check("\"abc,1,2\nx,\",y\",z\n", false, open(0));
        check("a,\"b\nc\"\nd", false, open(2));
        check("a,\"b\nc\",d,e,", false, open(2));
        check("a,\"b\nc\",\"d", true, open(2));
        check("\"a\"x,\n", false, Scan::Bad { at: 3, opened: 0, why: Why::Junk });
    }

    #[test]
    fn bounds_hold_at_their_edge() {
        let long = "x".repeat(ROW_BYTES);
        check(&long, false, Scan::More);
        check(&format!("{long}x"), false, Scan::Bad { at: 0, opened: 0, why: Why::Long });
        let field = format!("\"{}", "x".repeat(ROW_BYTES - 4));
        check(&format!("{field}\",,\n"), false, Scan::Row { end: ROW_BYTES, next: ROW_BYTES + 1 });
        let large = |opened| Scan::Bad { at: opened, opened, why: Why::Large };
        check(&format!("{field}xxx"), false, Scan::More);
        check(&format!("{field}xxxx"), false, large(0));
        check(&format!("{field}xxxx"), true, Scan::Bad { at: 0, opened: 0, why: Why::Open });
        check(&format!("a,\"\n\",{long}"), false, large(2));
        assert!(Why::Large.reason().contains("what a row may hold (1 MiB)"));
    }
}
