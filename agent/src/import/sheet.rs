//! A sheet of a workbook, row by row.
//!
//! A thread of its own reads it, a few hundred rows ahead: calamine's reader borrows its workbook, and whatever a
//! hostile file does to it ends with that thread. Of the sheet only these rows are in memory; of the workbook its
//! shared texts are too. Cells become text here, and nothing here knows of headers.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};

use super::cell;
use super::limits::{ROW_BYTES, SHEET_BATCH_BYTES, SHEET_BATCH_ROWS, SHEET_COLUMNS};
use super::parts::{Gate, GateState, Parts, PartsError};

/// Batches between the two threads.
const BATCHES_AHEAD: usize = 2;
/// What an empty cell weighs in a batch: its place in the row.
const CELL_BYTES: usize = size_of::<String>();

/// Why a workbook cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// The system refused.
    #[error("cannot read {path}: check the path and who may read it")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It begins like a workbook but is none, or not all of it.
    #[error("{path} is not a whole workbook: open it, save it as .xlsx again and import that")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What could not be read.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another format in the same wrapping.
    #[error("{path} is {format}: save it as .xlsx, or as CSV UTF-8, and import that")]
    Other {
        /// The file.
        path: PathBuf,
        /// What it is.
        format: &'static str,
    },
    /// It would take the machine's memory.
    #[error("{path} is refused, its part {part} {what}: save the sheet as CSV UTF-8 and import that")]
    Excess {
        /// The file.
        path: PathBuf,
        /// The part of the workbook.
        part: String,
        /// What is too much about it.
        what: String,
    },
    /// Some of its cells have a formula and no value.
    #[error(
        "{path}, sheet '{sheet}': formulas without their values, since the program that wrote it does not calculate; open \
         it in a spreadsheet program, save it and import that"
    )]
    Unsaved {
        /// The file.
        path: PathBuf,
        /// The sheet.
        sheet: String,
    },
    /// The map names another sheet.
    #[error("{path} has no sheet '{sheet}', which the map names; its sheets are {sheets}")]
    NoSheet {
        /// The file.
        path: PathBuf,
        /// The map's.
        sheet: String,
        /// The workbook's.
        sheets: String,
    },
    /// No sheet holds anything.
    #[error(
        "{path} has no visible sheet that holds anything: name a hidden one in the map (sheet = \"…\"), of {sheets}"
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// The workbook's sheets.
        sheets: String,
    },
}

/// A row of a sheet, without the empty cells at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SheetRow {
    /// Its number in the sheet, from 1.
    pub(super) line: u64,
    /// Its cells as text, from the first column.
    pub(super) cells: Vec<String>,
    /// Cells that hold no value: their place in the row, and why.
    pub(super) flaws: Vec<(usize, String)>,
    /// The places of cells that hold dates.
    pub(super) dates: Vec<usize>,
    /// The places of cells that hold fractions.
    pub(super) fractions: Vec<usize>,
    /// Whether it is longer than a row may be; the cells end before that.
    pub(super) is_long: bool,
    bytes: usize,
}

/// A sheet being read.
pub struct Sheet {
    /// Its name.
    pub name: String,
    /// The other visible sheets that hold something; none if the map named this one.
    pub others: Vec<String>,
    /// The size of the sheet in the file, packed, in bytes.
    pub bytes_total: u64,
    /// How many of these are read.
    pub bytes_read: Arc<AtomicU64>,
    take: Receiver<Message>,
    batch: std::vec::IntoIter<SheetRow>,
    line: u64,
    at_end: bool,
}

/// What the reading thread gives.
enum Message {
    Opened { name: String, others: Vec<String>, bytes_total: u64 },
    Refused(SheetError),
    Rows(Vec<SheetRow>),
    End(Result<(), XlsxError>),
}

/// Whether the file at `path` is wrapped as a workbook is. A pipe never counts as one: it cannot be read twice.
pub fn is_workbook(path: &Path) -> bool {
    let mut magic = [0; 4];
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && has_magic(&magic)
}

/// Whether a file that begins so is an archive, as workbooks are; the other ending is of one that holds nothing.
pub(super) fn has_magic(begin: &[u8]) -> bool {
    begin.starts_with(b"PK\x03\x04") || begin.starts_with(b"PK\x05\x06")
}

impl Sheet {
    /// Opens the sheet `wanted` of the workbook at `path`; without a name the first visible one that holds anything.
    pub fn open(path: &Path, wanted: Option<&str>) -> Result<Sheet, SheetError> {
        let (give, take) = mpsc::sync_channel(BATCHES_AHEAD);
        let bytes_read = Arc::new(AtomicU64::new(0));
        let reading = Reading { path: path.to_owned(), bytes_read: Arc::clone(&bytes_read), give };
        let wanted = wanted.map(str::to_owned);
        let thread = std::thread::Builder::new().name("sheet".into()).spawn(move || reading.run(wanted.as_deref()));
        thread.map_err(|source| SheetError::Io { path: path.to_owned(), source })?;
        match take.recv() {
            Ok(Message::Opened { name, others, bytes_total }) => {
                let batch = Vec::new().into_iter();
                Ok(Sheet { name, others, bytes_total, bytes_read, take, batch, line: 0, at_end: false })
            }
            Ok(Message::Refused(error)) => Err(error),
            Ok(Message::Rows(_) | Message::End(_)) | Err(_) => {
                Err(SheetError::Broken { path: path.to_owned(), source: "it stopped its own reading".into() })
            }
        }
    }

    /// The next row that is not blank; none at the end.
    pub(super) fn next_row(&mut self) -> io::Result<Option<SheetRow>> {
        loop {
            if let Some(row) = self.batch.next() {
                self.line = row.line;
                return Ok(Some(row));
            }
            if self.at_end {
                return Ok(None);
            }
            match self.take.recv() {
                Ok(Message::Rows(rows)) => self.batch = rows.into_iter(),
                Ok(Message::End(Ok(()))) => self.at_end = true,
                Ok(Message::End(Err(error))) => return Err(io::Error::other(error)),
                Ok(Message::Opened { .. } | Message::Refused(_)) | Err(_) => {
                    return Err(io::Error::other("the workbook stopped its own reading"));
                }
            }
        }
    }

    /// The number of the row given last.
    pub(super) fn line(&self) -> u64 {
        self.line
    }
}

/// The thread's side.
struct Reading {
    path: PathBuf,
    bytes_read: Arc<AtomicU64>,
    give: SyncSender<Message>,
}

/// A workbook opened through its gate.
struct Workbook {
    xlsx: Xlsx<Gate>,
    parts: Arc<Parts>,
    state: Arc<GateState>,
}

impl Reading {
    fn run(self, wanted: Option<&str>) {
        let opened = self.open().and_then(|mut book| {
            let (name, others) = self.choose(&mut book.xlsx, wanted)?;
            Ok((book, name, others))
        });
        // Where nobody takes any more, the import has ended for another reason, which is told there.
        let _ = match opened {
            Err(error) => self.give.send(Message::Refused(error)),
            Ok((mut book, name, others)) => match self.read(&mut book, &name, others) {
                Ok(ended) => self.give.send(Message::End(ended)),
                Err(refused) => self.give.send(Message::Refused(refused)),
            },
        };
    }

    fn open(&self) -> Result<Workbook, SheetError> {
        let path = || self.path.clone();
        let file = || File::open(&self.path).map_err(|source| SheetError::Io { path: path(), source });
        let parts = Parts::measure(file()?).map_err(|error| match error {
            PartsError::Zip(error) => SheetError::Broken { path: path(), source: error.into() },
            PartsError::Other(format) => SheetError::Other { path: path(), format },
            PartsError::Excess { part, what } => SheetError::Excess { path: path(), part, what },
        })?;
        let (parts, state) = (Arc::new(parts), Arc::new(GateState::default()));
        let gate = Gate::new(file()?, Arc::clone(&parts), Arc::clone(&state));
        let xlsx = Xlsx::new(gate).map_err(|error| self.broken(error))?;
        state.open();
        Ok(Workbook { xlsx, parts, state })
    }

    fn broken(&self, error: XlsxError) -> SheetError {
        SheetError::Broken { path: self.path.clone(), source: error.into() }
    }

    /// The sheet to read, and the others that could be meant.
    fn choose(&self, xlsx: &mut Xlsx<Gate>, wanted: Option<&str>) -> Result<(String, Vec<String>), SheetError> {
        let sheets = xlsx.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
        let sheets: Vec<(String, SheetVisible)> = sheets.map(|sheet| (sheet.name.clone(), sheet.visible)).collect();
        let listed = || sheets.iter().map(|(name, _)| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let path = || self.path.clone();
        if let Some(wanted) = wanted {
            let found = sheets.iter().find(|(name, _)| name == wanted);
            let (name, _) = found.ok_or_else(|| SheetError::NoSheet {
                path: path(),
                sheet: wanted.to_owned(),
                sheets: listed(),
            })?;
            return Ok((name.clone(), Vec::new()));
        }
        let mut filled = Vec::new();
        for (name, _) in sheets.iter().filter(|(_, visible)| *visible == SheetVisible::Visible) {
            if is_filled(xlsx, name).map_err(|error| self.broken(error))? {
                filled.push(name.clone());
            }
        }
        if filled.is_empty() {
            return Err(SheetError::Empty { path: path(), sheets: listed() });
        }
        let first = filled.remove(0);
        Ok((first, filled))
    }

    /// Gives the rows of a sheet until nobody takes them, and how that ended; a sheet may be refused before.
    fn read(&self, book: &mut Workbook, name: &str, others: Vec<String>) -> Result<Result<(), XlsxError>, SheetError> {
        let is_1904 = book.xlsx.has_1904_epoch();
        let mut cells = match book.xlsx.worksheet_cells_reader(name) {
            Ok(cells) => cells,
            Err(error) => return Ok(Err(error)),
        };
        if book.state.is_unsaved(&book.parts) {
            return Err(SheetError::Unsaved { path: self.path.clone(), sheet: name.to_owned() });
        }
        let (_, bytes_total) = book.state.progress(&book.parts);
        let mut is_wanted = self.give.send(Message::Opened { name: name.to_owned(), others, bytes_total }).is_ok();
        let mut batch = Batch::default();
        // A row is whole only once the next begins, or the sheet ends in good order.
        let mut row = SheetRow::default();
        let ended = loop {
            let cell = match cells.next_cell() {
                Ok(Some(cell)) if is_wanted => cell,
                Ok(Some(_)) => return Ok(Ok(())),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let (line, column) = (u64::from(cell.get_position().0) + 1, cell.get_position().1 as usize);
            if column >= SHEET_COLUMNS {
                break Err(XlsxError::ColumnNumberOverflow);
            }
            if row.line != line {
                batch.push(std::mem::replace(&mut row, SheetRow { line, ..SheetRow::default() }));
                if batch.is_full() {
                    self.bytes_read.store(book.state.progress(&book.parts).0, Ordering::Relaxed);
                    is_wanted = self.give.send(Message::Rows(batch.take())).is_ok();
                }
            }
            row.put(column, cell.get_value(), is_1904);
        };
        if ended.is_ok() {
            batch.push(row);
        }
        let _ = self.give.send(Message::Rows(batch.take()));
        Ok(ended)
    }
}

/// Rows on their way between the threads.
#[derive(Default)]
struct Batch {
    rows: Vec<SheetRow>,
    bytes: usize,
}

impl Batch {
    /// Adds a row, unless it is blank.
    fn push(&mut self, mut row: SheetRow) {
        let filled = row.cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        let filled = row.flaws.iter().map(|(column, _)| column + 1).fold(filled, usize::max);
        row.cells.truncate(filled);
        if filled > 0 {
            self.bytes += row.bytes + row.cells.len() * CELL_BYTES;
            self.rows.push(row);
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= SHEET_BATCH_ROWS || self.bytes >= SHEET_BATCH_BYTES
    }

    fn take(&mut self) -> Vec<SheetRow> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }
}

impl SheetRow {
    fn put(&mut self, column: usize, value: &DataRef<'_>, is_1904: bool) {
        if self.is_long {
            return;
        }
        let text = match cell::text(value, is_1904) {
            Ok(text) => text,
            Err((reason, text)) => {
                self.flaws.push((column, reason));
                text
            }
        };
        if matches!(value, DataRef::DateTime(time) if time.is_datetime()) {
            self.dates.push(column);
        }
        if matches!(value, DataRef::Float(_)) && text.contains('.') {
            self.fractions.push(column);
        }
        self.bytes += text.len();
        self.is_long = self.bytes > ROW_BYTES;
        if self.cells.len() <= column {
            self.cells.resize(column + 1, String::new());
        }
        self.cells[column] = text;
    }
}

/// Whether a sheet holds anything.
fn is_filled(xlsx: &mut Xlsx<Gate>, name: &str) -> Result<bool, XlsxError> {
    let mut cells = xlsx.worksheet_cells_reader(name)?;
    while let Some(cell) = cells.next_cell()? {
        match cell.get_value() {
            DataRef::Empty => {}
            DataRef::String(text) if text.is_empty() => {}
            DataRef::SharedString("") => {}
            _ => return Ok(true),
        }
    }
    Ok(false)
}

#[cfg(test)]
#[path = "sheet_tests.rs"]
mod tests;
