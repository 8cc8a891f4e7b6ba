//! What is seen of a table: its form, its columns, its first rows.
//!
//! The file is read as an import reads it, through `Source` and `Table`, up to the bounds below and never to its end.

use std::collections::BTreeMap;
use std::path::Path;

use super::SuggestError;
use super::content::{self, Looks};
use super::words::{self, Dictionary};
use crate::import::map::Map;
use crate::import::rows::{BadRow, Row};
use crate::import::sheet::{Sheet, is_workbook};
use crate::import::source::Source;
use crate::import::table::Table;

/// Rows looked at. In the files we have seen, later ones told nothing new about what a column means.
pub(super) const ROWS: usize = 1000;

/// What text is taken for that is no other: every byte is a character of it.
pub(super) const LATIN: &str = "latin-1";

/// Rows of a title above a header, at most.
const MOST_TITLES: usize = 6;

/// Text looked at, in bytes: a thousand rows may be a gigabyte.
const BYTES: usize = 8 * 1024 * 1024;

/// The beginning of a table.
pub(super) struct Seen {
    /// What its text is written in; none for a workbook.
    pub(super) encoding: Option<&'static str>,
    pub(super) delimiter: u8,
    /// The sheet of a workbook.
    pub(super) sheet: Option<String>,
    /// The other visible sheets that hold something.
    pub(super) other_sheets: Vec<String>,
    /// Whether its encoding is a guess that the map must name.
    pub(super) is_latin: bool,
    /// Rows that are totals, not documents, and are left out of `rows`: a column's place, and the cell that says so.
    pub(super) totals: Vec<(usize, String)>,
    /// Whether a row names the columns.
    pub(super) header: bool,
    /// On which line it stands.
    pub(super) header_line: usize,
    pub(super) columns: Vec<Column>,
    /// The rows that could be split.
    pub(super) rows: Vec<Vec<String>>,
    /// How many could not.
    pub(super) torn: usize,
    /// Whether the very first could not.
    is_first_torn: bool,
    /// The lines of the first rows, and the cells of each that say something; none of a row that could not be split.
    heads: Vec<(u64, Vec<String>)>,
    /// Whether there were no more.
    pub(super) is_whole: bool,
}

/// A column of it.
pub(super) struct Column {
    /// As `Table` names it.
    pub(super) name: String,
    /// Its different cells as they stand, without the blank ones, and how often each was seen; in order.
    pub(super) cells: Vec<(String, usize)>,
    /// Rows whose cell is blank.
    pub(super) blank: usize,
    /// What its cells look like, whatever its name.
    pub(super) looks: Looks,
}

impl Column {
    /// Rows whose cell is not blank.
    pub(super) fn filled(&self) -> usize {
        self.cells.iter().map(|(_, count)| count).sum()
    }

    /// The different cells, trimmed.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, usize)> {
        self.cells.iter().map(|(cell, count)| (cell.trim(), *count))
    }

    /// Whether no two rows have the same cell, and none is blank.
    pub(super) fn is_unique(&self) -> bool {
        self.blank == 0 && !self.cells.is_empty() && self.cells.iter().all(|(_, count)| *count == 1)
    }
}

/// Looks at the beginning of a file: of a workbook, at the sheet named, or the first that holds anything.
pub(super) fn look(path: &Path, sheet: Option<&str>, dictionary: &Dictionary) -> Result<Seen, SuggestError> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    if is_pipe {
        return Err(SuggestError::Pipe(path.to_owned()));
    }
    let bare = read(path, sheet, 0)?;
    match titled_header(&bare, dictionary) {
        Some(line) => read(path, sheet, line),
        None if has_header(&bare, dictionary) => read(path, sheet, 1),
        None => Ok(bare),
    }
}

/// The line of a header that titles stand above: rows of one cell, or torn ones, and then one whose cells have the names of
/// fields.
fn titled_header(bare: &Seen, dictionary: &Dictionary) -> Option<usize> {
    let titles = bare.heads.iter().take_while(|(_, cells)| cells.len() < 2).count();
    let (line, cells) = bare.heads.get(titles).filter(|_| (1..=MOST_TITLES).contains(&titles))?;
    let known = cells.iter().filter(|cell| words::is_known(cell, dictionary)).count();
    let is_header = known > 1 && cells.len() * 2 > bare.columns.len();
    usize::try_from(*line).ok().filter(|_| is_header)
}

fn read(path: &Path, sheet: Option<&str>, header: usize) -> Result<Seen, SuggestError> {
    // What a map says of the file itself is all that reading needs of one.
    let form = format!("kind = \"\"\nheader = {header}\nstate = {{ constant = \"\" }}");
    let form = Map::parse(&form, path).expect("this map is sound");
    let Opened { mut table, encoding, sheet, other_sheets, is_latin } = open(path, sheet, &form)?;
    let mut totals = Vec::new();
    let (mut rows, mut torn, mut bytes) = (Vec::new(), 0, 0);
    let (mut is_first_torn, mut is_whole, mut heads) = (false, false, Vec::new());
    while rows.len() + totals.len() + torn < ROWS && bytes < BYTES {
        match table.next_record() {
            Ok(None) => {
                is_whole = true;
                break;
            }
            Ok(Some(record)) => {
                if heads.len() <= MOST_TITLES {
                    heads.push(head(&record.row));
                }
                match record.row {
                    Ok(row) if row.cells.iter().all(|cell| cell.trim().is_empty()) => {}
                    Ok(row) => {
                        bytes += row.cells.iter().map(String::len).sum::<usize>();
                        match row.cells.iter().position(|cell| words::names_a_total(cell)) {
                            Some(place) if !rows.is_empty() => totals.push((place, row.cells[place].trim().to_owned())),
                            _ => rows.push(row.cells),
                        }
                    }
                    Err(bad) => {
                        is_first_torn |= rows.is_empty() && torn == 0;
                        bytes += bad.raw.len();
                        torn += 1;
                    }
                }
            }
            // A damage further on does not change what the rows before it say.
            Err(_) if !rows.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
    }
    // A rejects file has its header whatever the map says.
    let header_line = header.max(1);
    let header = header > 0 || table.columns().first().is_some_and(|name| name != "#1");
    let columns = columns(table.columns(), &rows);
    let delimiter = table.delimiter();
    Ok(Seen {
        encoding,
        delimiter,
        sheet,
        other_sheets,
        is_latin,
        totals,
        header,
        header_line,
        columns,
        rows,
        torn,
        is_first_torn,
        heads,
        is_whole,
    })
}

/// A row's line, and its cells that say something.
fn head(row: &Result<Row, BadRow>) -> (u64, Vec<String>) {
    match row {
        Ok(row) => {
            let said = row.cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
            (row.line, said.map(str::to_owned).collect())
        }
        Err(bad) => (bad.row_line, Vec::new()),
    }
}

/// A table, and what it was opened from.
struct Opened {
    table: Table<Source>,
    encoding: Option<&'static str>,
    sheet: Option<String>,
    other_sheets: Vec<String>,
    is_latin: bool,
}

fn open(path: &Path, sheet: Option<&str>, form: &Map) -> Result<Opened, SuggestError> {
    if is_workbook(path) {
        let mut sheet = Sheet::open(path, sheet)?;
        let (name, other_sheets) = (sheet.name.clone(), std::mem::take(&mut sheet.others));
        let table = Table::of_sheet(sheet, path, form)?;
        return Ok(Opened { table, encoding: None, sheet: Some(name), other_sheets, is_latin: false });
    }
    let mut source = Source::open(path, None)?;
    let is_latin = source.encoding == "UTF-8" && has_only_foreign_bytes(&source.sample);
    if is_latin {
        source = Source::open(path, Some(LATIN))?;
    }
    if !source.is_sample_whole && !source.sample.is_empty() && !source.sample.contains(['\n', '\r']) {
        return Err(SuggestError::NoLines(path.to_owned()));
    }
    let encoding = Some(source.encoding);
    Ok(Opened { table: Table::open(source, path, form)?, encoding, sheet: None, other_sheets: Vec::new(), is_latin })
}

/// Whether text read as UTF-8 has bytes that are none, and nothing beyond ASCII that is.
fn has_only_foreign_bytes(sample: &str) -> bool {
    let mut foreign = sample.chars().filter(|character| !character.is_ascii()).peekable();
    foreign.peek().is_some() && foreign.all(|character| character == char::REPLACEMENT_CHARACTER)
}

fn columns(names: &[String], rows: &[Vec<String>]) -> Vec<Column> {
    let mut columns = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut cells: Vec<(String, usize)> = Vec::new();
        let mut blank = 0;
        for cell in rows.iter().filter_map(|row| row.get(index)) {
            if cell.trim().is_empty() {
                blank += 1;
                continue;
            }
            let place = *places.entry(cell).or_insert(cells.len());
            match cells.get_mut(place) {
                Some((_, count)) => *count += 1,
                None => cells.push((cell.clone(), 1)),
            }
        }
        columns.push(Column { name: name.clone(), cells, blank, looks: Looks::default() });
    }
    content::look_at(&mut columns);
    columns
}

/// Whether the first row of a table read without a header names its columns: it does unless its cells look like those
/// below them.
fn has_header(bare: &Seen, dictionary: &Dictionary) -> bool {
    // A first row that could not be split is for the table to judge.
    let Some(first) = bare.rows.first() else { return true };
    if bare.header || bare.is_first_torn {
        return true;
    }
    let (mut named, mut bare_cells) = (0, 0);
    for (cell, column) in first.iter().zip(&bare.columns).filter(|(cell, _)| !cell.trim().is_empty()) {
        let repeats = column.cells.iter().any(|(value, count)| value == cell && *count > 1);
        // What the cells below the first are; a column of one cell says nothing.
        let below: Vec<&str> =
            column.values().map(|(value, _)| value).filter(|value| repeats || *value != cell.trim()).collect();
        let is_most = |is: fn(&str) -> bool| {
            !below.is_empty() && below.iter().filter(|value| is(value)).count() * 10 >= 9 * below.len()
        };
        let is_typed = [content::is_number, content::is_date, content::is_vin].into_iter().find(|is| is_most(*is));
        match is_typed {
            Some(is) if is(cell.trim()) => bare_cells += 1,
            Some(_) => named += 1,
            None if repeats => bare_cells += 1,
            None => named += usize::from(words::is_known(cell, dictionary)),
        }
    }
    named >= bare_cells
}
