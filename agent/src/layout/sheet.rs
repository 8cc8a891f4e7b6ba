//! Writes a table as CSV or as a workbook, row by row in flat memory.
//!
//! CSV is UTF-8 with a byte-order mark, without which Excel in China takes it for GBK. In a workbook text is text,
//! whatever it looks like.

use std::io::{self, Write};

use rust_xlsxwriter::{DataValidation, Format, Workbook, Worksheet, XlsxError};

use super::{escaped, guarded};

/// Rows a worksheet holds, its header among them (Excel's limit).
const WORKSHEET_ROWS: u32 = 1_048_576;
/// Characters a worksheet's cell holds (Excel's limit).
const CELL_CHARACTERS: usize = 32_767;
/// Rows below the header that offer choices to pick from.
const VALIDATED_ROWS: u32 = 2_000;
/// Characters of choices a cell can offer, with the commas between them (Excel's limit).
const VALIDATION_CHARACTERS: usize = 255;

/// What a cell holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// What people wrote: never run as a formula.
    Text(String),
    /// What this program wrote: dates, amounts with their unit, names of choices.
    Plain(String),
    /// A number, in decimal digits.
    Number(String),
}

/// Why a table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// The place it goes to refuses.
    #[error("cannot write the table: make room, or name another place")]
    Io(#[from] io::Error),
    /// The CSV writer's own.
    #[error("cannot write the table: make room, or name another place")]
    Csv(#[from] csv::Error),
    /// The workbook's own.
    #[error("cannot write the workbook")]
    Workbook(#[from] XlsxError),
    /// A worksheet is full.
    #[error("a worksheet holds {WORKSHEET_ROWS} rows: write CSV instead, with --format csv")]
    TooManyRows,
    /// A worksheet's cell is full.
    #[error("row {row}, column {column}: a worksheet's cell holds {CELL_CHARACTERS} characters: write CSV instead")]
    LongText {
        /// The row in the sheet, from 1.
        row: u32,
        /// The header of the column.
        column: String,
    },
}

/// A table being written.
pub struct Sheet<W: Write> {
    out: Out<W>,
    headers: Vec<String>,
}

enum Out<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Workbook { workbook: Box<Workbook>, row: u32, out: W },
}

impl<W: Write> Sheet<W> {
    /// A CSV table.
    pub fn csv(mut out: W, headers: Vec<String>) -> Result<Sheet<W>, SheetError> {
        out.write_all("\u{feff}".as_bytes())?;
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(headers.iter().map(|header| guarded(header)))?;
        Ok(Sheet { out: Out::Csv(Box::new(writer)), headers })
    }

    /// A workbook of one sheet named `name`; `choices` are offered in their column's cells.
    pub fn workbook(out: W, name: &str, headers: Vec<String>, choices: &[Vec<&str>]) -> Result<Sheet<W>, SheetError> {
        let mut workbook = Workbook::new();
        let sheet = workbook.add_worksheet_with_constant_memory()?;
        sheet.set_name(name)?.set_freeze_panes(1, 0)?;
        for (column, header) in (0u16..).zip(&headers) {
            sheet.set_column_width(column, width(header))?;
            sheet.write_string_with_format(0, column, header, &Format::new().set_bold())?;
        }
        for (column, choices) in (0u16..).zip(choices) {
            let length: usize = choices.iter().map(|choice| choice.chars().count() + 1).sum();
            if !choices.is_empty() && length <= VALIDATION_CHARACTERS {
                let validation = DataValidation::new().allow_list_strings(choices)?;
                sheet.add_data_validation(1, column, VALIDATED_ROWS, column, &validation)?;
            }
        }
        Ok(Sheet { out: Out::Workbook { workbook: Box::new(workbook), row: 0, out }, headers })
    }

    /// Adds a second sheet to a workbook, after all rows; a CSV table has no place for it.
    pub fn explain(&mut self, name: &str, rows: &[Vec<String>]) -> Result<(), SheetError> {
        let Out::Workbook { workbook, .. } = &mut self.out else { return Ok(()) };
        let sheet = workbook.add_worksheet();
        sheet.set_name(name)?.set_freeze_panes(1, 0)?;
        for (row, cells) in (0u32..).zip(rows) {
            for (column, cell) in (0u16..).zip(cells) {
                sheet.write_string(row, column, cell)?;
            }
        }
        sheet.autofit();
        Ok(())
    }

    /// Writes a row, as wide as the headers.
    pub fn write(&mut self, cells: &[Cell]) -> Result<(), SheetError> {
        match &mut self.out {
            Out::Csv(writer) => {
                let text = |cell: &Cell| match cell {
                    Cell::Text(text) => guarded(text),
                    Cell::Plain(text) | Cell::Number(text) => text.clone(),
                };
                Ok(writer.write_record(cells.iter().map(text))?)
            }
            Out::Workbook { workbook, row, .. } => {
                *row += 1;
                if *row >= WORKSHEET_ROWS {
                    return Err(SheetError::TooManyRows);
                }
                let sheet = workbook.worksheet_from_index(0)?;
                for ((column, cell), header) in (0u16..).zip(cells).zip(&self.headers) {
                    write_cell(sheet, *row, column, cell).map_err(|error| match error {
                        XlsxError::MaxStringLengthExceeded => {
                            SheetError::LongText { row: *row + 1, column: header.clone() }
                        }
                        error => error.into(),
                    })?;
                }
                Ok(())
            }
        }
    }

    /// Hands everything over.
    pub fn finish(self) -> Result<(), SheetError> {
        match self.out {
            Out::Csv(mut writer) => Ok(writer.flush()?),
            Out::Workbook { mut workbook, mut out, .. } => {
                out.write_all(&workbook.save_to_buffer()?)?;
                Ok(out.flush()?)
            }
        }
    }
}

fn write_cell(sheet: &mut Worksheet, row: u32, column: u16, cell: &Cell) -> Result<(), XlsxError> {
    match cell {
        Cell::Text(text) | Cell::Plain(text) | Cell::Number(text) if text.is_empty() => {}
        Cell::Text(text) => drop(sheet.write_string(row, column, escaped(text))?),
        Cell::Plain(text) => drop(sheet.write_string(row, column, text)?),
        Cell::Number(digits) => match exact(digits) {
            Some(number) => drop(sheet.write_number(row, column, number)?),
            None => drop(sheet.write_string(row, column, digits)?),
        },
    }
    Ok(())
}

/// The number a worksheet can hold without losing a digit: it keeps 15 of them.
fn exact(digits: &str) -> Option<f64> {
    let significant = digits.bytes().filter(u8::is_ascii_digit).count();
    digits.parse().ok().filter(|_| significant <= 15)
}

/// Columns as wide as their header, hanzi counting double.
fn width(header: &str) -> f64 {
    let cells: u32 = header.chars().map(|character| if character.is_ascii() { 1 } else { 2 }).sum();
    f64::from(cells.clamp(8, 40) + 2)
}
