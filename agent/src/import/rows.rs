//! Splits text into rows: quoted fields over several lines, any line end, any delimiter.
//!
//! A quote that never closes must not swallow the file: fields and rows are bounded, the lines up to the quote are set
//! aside with its place, and reading goes on at the line after it. The csv crate grows its record without bound,
//! neither reports that place nor goes on from there, so the splitting is ours. Memory stays at one row and one read.

use std::io::{self, Read};

use super::limits::{RAW_BYTES, READ_BYTES, ROW_BYTES, SAMPLE_ROWS};
use super::scan::{Scan, Why, after_line_end, count_lines, is_line_end, scan};

/// A row as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line it begins on, from 1.
    pub line: u64,
    /// Its cells, unquoted.
    pub cells: Vec<String>,
}

/// A row that cannot be split or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The line the row begins on, from 1.
    pub row_line: u64,
    /// The line of the trouble, from 1.
    pub line: u64,
    /// Its character within that line, from 1; for bytes that are no text, the byte in the file's own encoding.
    pub column: u64,
    /// The lines set aside, without their last line end; U+FFFD stands for what is no text and for what was cut off.
    pub raw: String,
    /// What is wrong, and the cure.
    pub reason: String,
}

/// Gives rows one by one.
pub struct Rows<R> {
    source: R,
    delimiter: u8,
    encoding: &'static str,
    columns: Option<usize>,
    buffer: Vec<u8>,
    start: usize,
    line: u64,
    at_end: bool,
}

impl<R: Read> Rows<R> {
    /// Splits `source` (UTF-8, unchecked) at `delimiter`; `encoding` is the file's own, for places and messages.
    pub fn new(source: R, delimiter: u8, encoding: &'static str) -> Rows<R> {
        Rows { source, delimiter, encoding, columns: None, buffer: Vec::new(), start: 0, line: 1, at_end: false }
    }

    /// From here on a row must have this many cells.
    pub fn expect_columns(&mut self, columns: usize) {
        self.columns = Some(columns);
    }

    /// Bytes the buffer takes; at most about two rows' bound.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// The line at which the next row begins.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next row that is not blank; none at the end. An error is the file's, a `BadRow` only one row's.
    pub fn next_row(&mut self) -> io::Result<Option<Result<Row, BadRow>>> {
        loop {
            match scan(&self.buffer[self.start..], self.delimiter, self.columns, self.at_end) {
                Scan::More => self.refill()?,
                Scan::Row { end: 0, next: 0 } => return Ok(None),
                Scan::Row { end, next } => {
                    let (line, row) = (self.line, self.start..self.start + end);
                    self.line += count_lines(&self.buffer[self.start..self.start + next]);
                    self.start += next;
                    if end > 0 {
                        return Ok(Some(self.split(&self.buffer[row], line)));
                    }
                }
                Scan::Bad { at, opened, why } => return self.set_aside(at, opened, why).map(|bad| Some(Err(bad))),
            }
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(filled + read.as_ref().map_or(0, |count| *count));
        self.at_end = read? == 0;
        Ok(())
    }

    fn split(&self, raw: &[u8], line: u64) -> Result<Row, BadRow> {
        let text = match std::str::from_utf8(raw) {
            Ok(text) if self.encoding == "UTF-8" => text,
            Ok(text) => match text.find('\u{fffd}') {
                Some(at) => return Err(self.undecodable(raw, at, line)),
                None => text,
            },
            Err(error) => return Err(self.undecodable(raw, error.valid_up_to(), line)),
        };
        let expected = self.columns.unwrap_or(0);
        let mut cells = Vec::with_capacity(expected);
        let mut surplus_at = text.len();
        let mut rest = Some(text);
        while let Some(cell_at) = rest {
            if cells.len() == expected {
                surplus_at = text.len() - cell_at.len();
            }
            let (cell, after) = take_cell(cell_at, char::from(self.delimiter));
            cells.push(cell);
            rest = after;
        }
        match self.columns {
            Some(columns) if columns != cells.len() => {
                let reason =
                    format!("expected {columns} cells, found {}: check the row's delimiters and quotes", cells.len());
                Err(bad_row(raw, surplus_at, line, reason))
            }
            _ => Ok(Row { line, cells }),
        }
    }

    fn undecodable(&self, raw: &[u8], at: usize, line: u64) -> BadRow {
        let reason = format!(
            "this byte of the line is not {}: mend it, or name the file's encoding in the map, such as encoding = \"{}\"",
            self.encoding,
            if self.encoding == "UTF-8" { super::encoding::foreign(raw) } else { "utf-8" }
        );
        let before = &raw[line_start(raw, at)..at];
        let bytes = match (super::encoding::named(self.encoding), std::str::from_utf8(before)) {
            (Some(_), Ok(text)) if self.encoding.starts_with("UTF-16") => text.encode_utf16().count() * 2,
            (Some(encoding), Ok(text)) => encoding.encode(text).0.len(),
            _ => before.len(),
        };
        BadRow { column: bytes as u64 + 1, ..bad_row(raw, at, line, reason) }
    }

    /// Sets aside the lines up to the one that holds `opened` for trouble at `at`, and goes on at the line after.
    fn set_aside(&mut self, at: usize, opened: usize, why: Why) -> io::Result<BadRow> {
        let ends_after = |row: &[u8]| row[opened..].iter().position(|byte| is_line_end(*byte)).map(|end| opened + end);
        while !self.at_end
            && self.buffer.len() - self.start <= ROW_BYTES
            && ends_after(&self.buffer[self.start..]).is_none()
        {
            self.refill()?;
        }
        let row = &self.buffer[self.start..];
        let end = ends_after(row);
        let raw = &row[..end.unwrap_or(row.len())];
        let mut bad = bad_row(raw, at.min(raw.len()), self.line, why.reason().to_owned());
        if end.is_none() && !self.at_end && !bad.raw.ends_with(char::REPLACEMENT_CHARACTER) {
            bad.raw.push(char::REPLACEMENT_CHARACTER);
        }
        self.line += count_lines(&row[..opened]) + 1;
        self.start += end.unwrap_or(row.len());
        self.skip_line()?;
        Ok(bad)
    }

    /// Goes on after the next line end, however far away it is.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.buffer[self.start..];
            let end = rest.iter().position(|byte| is_line_end(*byte));
            let next = end.and_then(|end| after_line_end(rest, end, self.at_end));
            match (end, next) {
                (_, Some(next)) => {
                    self.start += next;
                    return Ok(());
                }
                (Some(end), None) => self.start += end,
                (None, None) => self.start = self.buffer.len(),
            }
            if self.at_end {
                return Ok(());
            }
            self.refill()?;
        }
    }
}

/// Delimiters that are told without being named, the likeliest first.
pub const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// The delimiter among [`DELIMITERS`] that explains most of a sample: rows as wide as its first one, and
/// among such the most cells. A wrong one splits a quoted field of many lines into many narrow rows.
pub fn detect_delimiter(sample: &str) -> u8 {
    let explained = |delimiter: &u8| {
        let Agreement { first, width, rows } = agreement(sample, *delimiter);
        (width > 0 && first == width, rows * width.saturating_sub(1))
    };
    DELIMITERS.into_iter().rev().max_by_key(explained).unwrap_or(b',')
}

/// The most common width of a sample's first rows.
pub fn usual_width(sample: &str, delimiter: u8) -> usize {
    agreement(sample, delimiter).width.max(1)
}

/// How a sample's first rows agree on their width.
struct Agreement {
    /// The first row's width.
    first: usize,
    /// The most common width above one cell; 0 if there is none.
    width: usize,
    /// How many rows have it.
    rows: usize,
}

fn agreement(sample: &str, delimiter: u8) -> Agreement {
    let mut rows = Rows::new(sample.as_bytes(), delimiter, "UTF-8");
    let mut counts = std::collections::BTreeMap::<usize, usize>::new();
    let mut first = None;
    for _ in 0..SAMPLE_ROWS {
        let Ok(Some(row)) = rows.next_row() else { break };
        let width = row.map_or(0, |row| row.cells.len());
        first.get_or_insert(width);
        *counts.entry(width).or_default() += usize::from(width > 1);
    }
    let most = counts.into_iter().map(|(width, rows)| (rows, width)).max().filter(|(rows, _)| *rows > 0);
    let (rows, width) = most.unwrap_or((0, 0));
    Agreement { first: first.unwrap_or(0), width, rows }
}

/// The first cell of `text`, and what follows its delimiter.
fn take_cell(text: &str, delimiter: char) -> (String, Option<&str>) {
    let Some(quoted) = text.strip_prefix('"') else {
        return match text.split_once(delimiter) {
            Some((cell, rest)) => (cell.to_owned(), Some(rest)),
            None => (text.to_owned(), None),
        };
    };
    let mut close = 0;
    while let Some(found) = quoted[close..].find('"') {
        close += found;
        if !quoted[close..].starts_with("\"\"") {
            break;
        }
        close += 2;
    }
    (quoted[..close].replace("\"\"", "\""), quoted[close + 1..].strip_prefix(delimiter))
}

/// A bad row of `raw`, which begins on `line`, with its trouble at byte `at`.
fn bad_row(raw: &[u8], at: usize, line: u64, reason: String) -> BadRow {
    let before = String::from_utf8_lossy(&raw[line_start(raw, at)..at]);
    let (column, raw_text) = (before.chars().count() as u64 + 1, cut(raw));
    BadRow { row_line: line, line: line + count_lines(&raw[..at]), column, raw: raw_text, reason }
}

fn line_start(raw: &[u8], at: usize) -> usize {
    raw[..at].iter().rposition(|byte| is_line_end(*byte)).map_or(0, |found| found + 1)
}

/// The text of a bad row within its bound, marked where something is missing.
fn cut(raw: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&raw[..raw.len().min(RAW_BYTES)]).into_owned();
    if raw.len() > RAW_BYTES {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
