//! The splitter: any bytes, any delimiter, any width.

use std::io::{self, Read};

use waystation_agent::import::limits::{READ_BYTES, ROW_BYTES};
use waystation_agent::import::rows::{BadRow, DELIMITERS as TOLD, Row, Rows, detect_delimiter, usual_width};

use super::Input;

const DELIMITERS: [u8; 6] = [b',', b',', b';', b'\t', b'|', b'a'];
/// Above this size only the memory is watched: what is cut off cannot be compared.
const SMALL: usize = 16 * 1024;

/// Gives its bytes in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    most: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.most.min(buffer.len());
        self.rest.read(&mut buffer[..most])
    }
}

/// One text, split whole, in pieces, and repeated until the bounds are reached.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (delimiter, columns, how) = (input.pick(&DELIMITERS), usize::from(input.byte() % 6), input.byte());
    let text = input.rest();
    let columns = Some(columns).filter(|columns| *columns > 0);
    if text.len() <= SMALL {
        let rows = all(Pieces { rest: text, most: usize::MAX }, delimiter, columns);
        all_is_there(text, delimiter, &rows);
        assert!(all(Pieces { rest: text, most: 1 }, delimiter, columns) == rows, "pieces make no difference");
    }
    let sample = String::from_utf8_lossy(text);
    assert!(TOLD.contains(&detect_delimiter(&sample)) && usual_width(&sample, delimiter) > 0);
    // Only now and then: one such input takes as long as thousands of others.
    let is_chosen = text.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 61 == 0;
    if how == 255 && is_chosen && !text.is_empty() {
        let many = text.repeat(3 * ROW_BYTES / text.len() + 1);
        split(Pieces { rest: &many, most: usize::MAX }, delimiter, columns, drop);
    }
}

fn all(source: Pieces<'_>, delimiter: u8, columns: Option<usize>) -> Vec<Result<Row, BadRow>> {
    let mut seen = Vec::new();
    split(source, delimiter, columns, |row| seen.push(row));
    seen
}

fn split(source: Pieces<'_>, delimiter: u8, columns: Option<usize>, mut give: impl FnMut(Result<Row, BadRow>)) {
    let mut rows = Rows::new(source, delimiter, "UTF-8");
    if let Some(columns) = columns {
        rows.expect_columns(columns);
    }
    let mut last = 0;
    while let Some(row) = rows.next_row().expect("memory is read without errors") {
        let line = match &row {
            Ok(row) => row.line,
            Err(bad) => bad.row_line,
        };
        assert!(line > last && line < rows.line() + 1, "lines only rise: {line} after {last}, now {}", rows.line());
        assert!(rows.buffered_bytes() <= 2 * (ROW_BYTES + 2 * READ_BYTES), "the buffer is bounded");
        last = line;
        if let (Ok(row), Some(columns)) = (&row, columns) {
            assert_eq!(row.cells.len(), columns, "a good row is as wide as the table");
        }
        give(row);
    }
}

/// Every character of the text but quotes, delimiters and line ends stands in a row or a bad row, in order.
fn all_is_there(text: &[u8], delimiter: u8, rows: &[Result<Row, BadRow>]) {
    let is_kept = |c: &char| !matches!(c, '"' | '\n' | '\r') && *c != char::from(delimiter);
    let text = String::from_utf8_lossy(text);
    let given = text.chars().filter(is_kept);
    let found = rows.iter().flat_map(|row| {
        match row {
            Ok(row) => row.cells.concat(),
            Err(bad) => bad.raw.clone(),
        }
        .chars()
        .filter(is_kept)
        .collect::<Vec<_>>()
    });
    assert!(given.eq(found), "a character is lost, added or moved");
}
