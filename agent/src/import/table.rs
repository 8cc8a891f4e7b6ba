//! A table, of text or in a workbook: columns with names, and rows as wide as its header.
//!
//! A sheet's rows are padded, and never too short. A cell that holds an error rejects its row only where the map reads
//! its column.
//!
//! A rejects file is recognised by its last columns, whatever the map says of headers and even if a spreadsheet program
//! saved it as a workbook; they are dropped, and each row takes its line and identity back from them.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::identity::is_lasting;
use super::limits::{RAW_BYTES, SAMPLE_ROWS};
use super::map::Map;
use super::mapping::{BadCell, IsoDates};
use super::rejects::ADDED;
use super::rows::{BadRow, Row, Rows, detect_delimiter, usual_width};
use super::sheet::{Sheet, SheetRow};
use super::source::Source;
use crate::layout::unguarded;

/// Why a table cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Reading failed on the way; the rows before were good.
    #[error("cannot read {path} beyond line {line}: import it again once it is whole, nothing is captured twice")]
    Read {
        /// The file.
        path: PathBuf,
        /// The line reached.
        line: u64,
        /// What the system or the decompression said.
        #[source]
        source: io::Error,
    },
    /// There is nothing but blank lines.
    #[error("{0} holds only blank lines, or none from its header on: check that the export that made it was finished")]
    Blank(PathBuf),
    /// The header itself is a bad row.
    #[error("{path}, line {line}, column {column}, in the header: {reason}")]
    Header {
        /// The file.
        path: PathBuf,
        /// The line of the trouble.
        line: u64,
        /// The column of the trouble.
        column: u64,
        /// What is wrong, and the cure.
        reason: String,
    },
    /// Two columns have one name.
    #[error(
        "{path}, line {line}: columns {first} and {second} are both named '{name}': rename one, or set header = false and \
         remove this line"
    )]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The header's line.
        line: u64,
        /// Their name.
        name: String,
        /// The first column's number, from 1.
        first: usize,
        /// The other's.
        second: usize,
    },
}

/// What a rejects file remembers of a row's first import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The line in the original file.
    pub line: u64,
    /// Which occurrence of its key it was; none where that was not known.
    pub occurrence: Option<u32>,
    /// Its key, where the corrected cells cannot give it again.
    pub key: Option<String>,
}

/// A row, or why it is none, and where it stood first if it comes back from a rejects file.
#[derive(Debug)]
pub struct Record {
    /// The row as wide as the table, or a bad row.
    pub row: Result<Row, BadRow>,
    /// A cell of a sheet that the map reads and that holds no value.
    pub flaw: Option<BadCell>,
    /// Which cells are ISO dates.
    pub dates: IsoDates,
    /// Where it stood first.
    pub origin: Option<Origin>,
}

/// A table read row by row.
pub struct Table<R> {
    rows: Lines<R>,
    path: PathBuf,
    columns: Vec<String>,
    delimiter: u8,
    is_rejects: bool,
    pending: Option<Result<Row, BadRow>>,
}

/// Where rows come from.
enum Lines<R> {
    Text(Rows<R>),
    Sheet {
        /// Rows looked at before their turn.
        seen: std::vec::IntoIter<SheetRow>,
        rest: Sheet,
        places: Places,
    },
}

/// Columns of a sheet to which something applies.
struct Places {
    /// Those the map reads.
    read: Vec<usize>,
    /// Those whose numbers the map has written with a decimal comma.
    comma: Vec<usize>,
}

impl Places {
    fn of(columns: &[String], map: &Map) -> Places {
        let places = |is: &dyn Fn(&String) -> bool| (0..columns.len()).filter(|place| is(&columns[*place])).collect();
        let has_comma = |column: &String| {
            let mut mappings = map.fields.values();
            mappings.any(|mapping| mapping.decimal == Some(',') && mapping.column.as_ref() == Some(column))
        };
        Places {
            read: places(&|column| map.key.is_empty() || map.columns().any(|read| read == column)),
            comma: places(&has_comma),
        }
    }
}

impl Table<Source> {
    /// Reads the header of `source`, with the map's delimiter and header where it names them.
    pub fn open(source: Source, path: &Path, map: &Map) -> Result<Table<Source>, TableError> {
        let named = map.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok());
        let said = said_delimiter(&source.sample);
        let delimiter = named.or(said).unwrap_or_else(|| detect_delimiter(&source.sample));
        let width = usual_width(&source.sample, delimiter);
        let header = if said.is_some() && map.header == 1 { 2 } else { map.header };
        let encoding = source.encoding;
        Table::begin(Rows::new(source, delimiter, encoding), path, delimiter, header, width)
    }

    /// Reads the header of a sheet. Its rejects have the map's delimiter, with which they are read again.
    pub fn of_sheet(mut rest: Sheet, path: &Path, map: &Map) -> Result<Table<Source>, TableError> {
        let sample = if map.header > 0 { 1 } else { SAMPLE_ROWS };
        let broken = |line, source| TableError::Read { path: path.to_owned(), line, source };
        let (mut seen, mut is_rejects) = (Vec::new(), false);
        while seen.len() < sample && !is_rejects {
            match rest.next_row() {
                Ok(Some(row)) if seen.is_empty() && is_rejects_header(&row.cells) => {
                    is_rejects = true;
                    seen.push(row);
                }
                Ok(Some(row)) if (row.line as usize) < map.header => {}
                Ok(Some(row)) => seen.push(row),
                Ok(None) => break,
                Err(source) => return Err(broken(rest.line(), source)),
            }
        }
        if seen.is_empty() {
            return Err(TableError::Blank(path.to_owned()));
        }
        let delimiter = map.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()).unwrap_or(b',');
        let width = seen.iter().map(|row| row.cells.len()).max().unwrap_or(1);
        let rows = Lines::Sheet {
            seen: seen.into_iter(),
            rest,
            places: Places { read: (0..width).collect(), comma: Vec::new() },
        };
        let mut table =
            Table { rows, path: path.to_owned(), columns: numbered(width), delimiter, is_rejects, pending: None };
        if map.header > 0 || is_rejects {
            table.name_by_sheet()?;
        }
        if let Lines::Sheet { places, .. } = &mut table.rows {
            *places = Places::of(&table.columns, map);
        }
        Ok(table)
    }
}

impl<R: Read> Table<R> {
    /// Begins with the row on line `header`; without one, with the first row, and rows are `width` cells wide.
    fn begin(
        mut rows: Rows<R>,
        path: &Path,
        delimiter: u8,
        header: usize,
        width: usize,
    ) -> Result<Table<R>, TableError> {
        if header == 0 {
            rows.expect_columns(width);
        }
        let mut next = || match rows.next_row() {
            Ok(row) => row.ok_or_else(|| TableError::Blank(path.to_owned())),
            Err(source) => Err(TableError::Read { path: path.to_owned(), line: rows.line(), source }),
        };
        let line = |row: &Result<Row, BadRow>| row.as_ref().map_or_else(|bad| bad.row_line, |row| row.line);
        let mut first = next()?;
        let is_rejects = matches!(&first, Ok(row) if is_rejects_header(&row.cells));
        while !is_rejects && line(&first) < header as u64 {
            first = next()?;
        }
        let rows = Lines::Text(rows);
        let mut table =
            Table { rows, path: path.to_owned(), columns: Vec::new(), delimiter, is_rejects, pending: None };
        if header == 0 && !is_rejects {
            table.columns = numbered(width);
            table.pending = Some(first);
            return Ok(table);
        }
        match first {
            Ok(row) => table.name_columns(row.line, row.cells)?,
            Err(BadRow { line, column, reason, .. }) => {
                return Err(TableError::Header { path: table.path, line, column, reason });
            }
        }
        Ok(table)
    }

    fn name_columns(&mut self, line: u64, cells: Vec<String>) -> Result<(), TableError> {
        if let Lines::Text(rows) = &mut self.rows {
            rows.expect_columns(cells.len());
        }
        let width = cells.len() - if self.is_rejects { ADDED.len() } else { 0 };
        self.columns.clear();
        for (index, cell) in cells.iter().take(width).enumerate() {
            let name = match cell.trim() {
                "" => format!("#{}", index + 1),
                name => name.to_owned(),
            };
            if let Some(first) = self.index(&name) {
                let (first, second) = (first + 1, index + 1);
                return Err(TableError::Duplicate { path: self.path.clone(), line, name, first, second });
            }
            self.columns.push(name);
        }
        Ok(())
    }

    /// Takes the columns' names from a sheet's first row.
    fn name_by_sheet(&mut self) -> Result<(), TableError> {
        let Lines::Sheet { seen, .. } = &mut self.rows else { return Ok(()) };
        let SheetRow { line, cells, mut flaws, is_long, .. } = seen.next().unwrap_or_default();
        if is_long {
            flaws.push((0, "begins a row longer than 1 MiB: shorten its texts".to_owned()));
        }
        if let Some((column, reason)) = flaws.into_iter().next() {
            let reason = format!("cell {}{line} {reason}", letters(column));
            return Err(TableError::Header { path: self.path.clone(), line, column: column as u64 + 1, reason });
        }
        self.name_columns(line, cells)
    }

    /// The columns' names; `#1`, `#2` … where there is no header or a blank one.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The place of the column with this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// What stands between cells.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The next row; none at the end. An error is the file's, a `BadRow` only one row's.
    pub fn next_record(&mut self) -> Result<Option<Record>, TableError> {
        let row = match (self.pending.take(), &mut self.rows) {
            (Some(row), _) => Some(row),
            (None, Lines::Text(rows)) => rows.next_row().map_err(|source| TableError::Read {
                path: self.path.clone(),
                line: rows.line(),
                source,
            })?,
            (None, Lines::Sheet { seen, rest, places }) => {
                let row = match seen.next() {
                    Some(row) => Some(row),
                    None => rest.next_row().map_err(|source| TableError::Read {
                        path: self.path.clone(),
                        line: rest.line(),
                        source,
                    })?,
                };
                let Some(row) = row else { return Ok(None) };
                if !self.is_rejects {
                    return Ok(Some(record_of(row, &self.columns, places)));
                }
                let columns: Vec<String> = self.columns.iter().cloned().chain(ADDED.map(str::to_owned)).collect();
                let record = record_of(row, &columns, places);
                return Ok(Some(match record.row {
                    Ok(row) => Record { flaw: record.flaw, ..self.take_back(row) },
                    Err(_) => record,
                }));
            }
        };
        Ok(row.map(|row| match row {
            Ok(row) if self.is_rejects => self.take_back(row),
            row => Record { row, flaw: None, dates: IsoDates::None, origin: None },
        }))
    }

    /// A row of a rejects file as the row it was: from its cells, or from `_raw` if they are all empty.
    fn take_back(&self, mut row: Row) -> Record {
        for cell in row.cells.iter_mut().filter(|cell| cell.starts_with('\'')) {
            *cell = unguarded(cell).to_owned();
        }
        let mut added = row.cells.split_off(self.columns.len());
        let raw = added.pop().unwrap_or_default();
        let origin = Some(Origin {
            line: added[0].trim().parse().unwrap_or(row.line),
            occurrence: added[1].trim().parse().ok().filter(|occurrence| *occurrence > 0),
            key: Some(std::mem::take(&mut added[2])).filter(|key| is_lasting(key)),
        });
        let is_split = raw.is_empty() || row.cells.iter().any(|cell| !cell.is_empty());
        let row = if is_split { Ok(row) } else { self.split_again(raw, row.line) };
        Record { row, flaw: None, dates: IsoDates::Unread, origin }
    }

    fn split_again(&self, raw: String, row_line: u64) -> Result<Row, BadRow> {
        let mut rows = Rows::new(raw.as_bytes(), self.delimiter, "UTF-8");
        rows.expect_columns(self.columns.len());
        let (line, column, reason) = if raw.contains(char::REPLACEMENT_CHARACTER) {
            let reason = "this row still holds the mark of what could not be read or was cut off: correct it in _raw";
            (row_line, 1, reason.to_owned())
        } else {
            match (rows.next_row(), rows.next_row()) {
                (Ok(Some(Ok(split))), Ok(None)) => return Ok(Row { line: row_line, ..split }),
                (Ok(Some(Err(again))), _) => (row_line + again.line - 1, again.column, again.reason),
                _ => (row_line, 1, "_raw must hold exactly one row: give each its own line of this file".to_owned()),
            }
        };
        Err(BadRow { row_line, line, column, raw, reason })
    }
}

/// The delimiter that a first line `sep=;` names, as Excel has it.
fn said_delimiter(sample: &str) -> Option<u8> {
    let line = sample.lines().next()?.trim_matches('"');
    line.strip_prefix("sep=").and_then(|said| <[u8; 1]>::try_from(said.as_bytes()).ok()).map(|[delimiter]| delimiter)
}

/// Whether a header is that of a rejects file.
fn is_rejects_header(cells: &[String]) -> bool {
    cells.len() > ADDED.len()
        && cells.iter().rev().map(|cell| cell.trim()).zip(ADDED.iter().rev()).all(|(cell, added)| cell == *added)
}

/// What is said of a row of a sheet beyond its bound.
const LONG_ROW: &str = "the row is longer than 1 MiB: shorten its texts";

/// The names of columns that have none.
fn numbered(width: usize) -> Vec<String> {
    (1..=width).map(|number| format!("#{number}")).collect()
}

/// A sheet's row as wide as the table. What is wrong in columns that nobody reads does not matter.
fn record_of(row: SheetRow, columns: &[String], places: &Places) -> Record {
    let SheetRow { line, mut cells, flaws, dates, fractions, is_long, .. } = row;
    if is_long {
        let mut raw = cells.join(",");
        raw.truncate(raw.floor_char_boundary(RAW_BYTES));
        raw.push(char::REPLACEMENT_CHARACTER);
        let bad = BadRow { row_line: line, line, column: 1, raw, reason: LONG_ROW.to_owned() };
        return Record { row: Err(bad), flaw: None, dates: IsoDates::None, origin: None };
    }
    let bad_cell = |column: usize, reason: String| BadCell {
        column: columns.get(column).cloned().unwrap_or_else(|| letters(column)),
        reason: format!("cell {}{line} {reason}", letters(column)),
    };
    let mut flaws = flaws.into_iter().filter(|(column, _)| places.read.contains(column));
    let mut flaw = flaws.next().map(|(column, reason)| bad_cell(column, reason));
    let surplus = cells.iter().enumerate().skip(columns.len()).find(|(_, cell)| !cell.is_empty());
    if let (None, Some((column, cell))) = (&flaw, surplus) {
        let cell: String = cell.chars().take(60).collect();
        flaw = Some(bad_cell(column, format!("holds '{cell}' beyond the last column: name that column, or empty it")));
    }
    for place in fractions.into_iter().filter(|place| places.comma.contains(place)) {
        cells[place] = cells[place].replace('.', ",");
    }
    cells.resize(columns.len(), String::new());
    Record { row: Ok(Row { line, cells }), flaw, dates: IsoDates::Cells(dates), origin: None }
}

/// A column as a spreadsheet names it: A, B … Z, AA.
fn letters(column: usize) -> String {
    let (mut left, mut name) = (column + 1, Vec::new());
    while left > 0 {
        name.push(b'A' + ((left - 1) % 26) as u8);
        left = (left - 1) / 26;
    }
    name.iter().rev().map(|letter| char::from(*letter)).collect()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
