//! The walk of a whole file: read and map on one thread, capture on another, count everything.
//!
//! Rows travel in chunks, one commit each. Good rows are captured whatever else the file holds; what is not taken
//! goes to the rejects file. How chunks are captured is the caller's: in this process, or through a running agent.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use jiff::tz::TimeZone;
use serde::Serialize;
use waystation_protocol::site::Sites;

use super::clerk::Clerk;
use super::map::{Map, MapError};
use super::mapping::{Mapper, MappingError, kind_named, kind_of};
use super::packed;
use super::reading::Reading;
use super::sheet::{Sheet, SheetError, is_workbook};
use super::source::{Source, SourceError};
use super::spill::SpillError;
use super::table::{Table, TableError};
use crate::layout::{self, LayoutError};
use crate::store::ImportRow;

/// Chunks between the two threads.
const CHUNKS_AHEAD: usize = 3;

/// What is to be imported, and how.
pub struct Order<'a> {
    /// The kind's name, where the command gives it; a map names it too.
    pub kind: Option<&'a str>,
    /// The map file; none for a table with the kind's own headers.
    pub map: Option<&'a Path>,
    /// The table.
    pub file: &'a Path,
    /// Whether the rows are only rehearsed; whoever captures must know of it too.
    pub dry_run: bool,
    /// The sites the agent stands for.
    pub sites: &'a Sites,
    /// The site's zone.
    pub zone: &'a TimeZone,
    /// Where rejects go if the file's own folder cannot be written.
    pub fallback: &'a Path,
}

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Whether nothing was captured, and these are the numbers of what would be.
    pub dry_run: bool,
    /// Rows read, the header not among them.
    pub rows: u64,
    /// Documents opened; in a dry run, those that would be.
    pub captured: u64,
    /// Rows imported before.
    pub duplicate: u64,
    /// Rows of other sites.
    pub skipped: u64,
    /// Rows not taken.
    pub rejected: u64,
    /// How many of them for which column; the empty name is the row as a whole.
    pub rejected_by: BTreeMap<String, u64>,
    /// Where they are.
    pub rejects_file: Option<PathBuf>,
    /// How long it took.
    pub seconds: f64,
}

/// What became of a captured row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It opened a document.
    Captured,
    /// It was imported before.
    Duplicate,
    /// It was refused, for this reason, in this field if it concerns one.
    Refused {
        /// The field's key.
        field: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

/// Why a file was not imported to its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The map cannot be used.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The map does not fit.
    #[error("{map}")]
    Mapping {
        /// The map file or the table, and the line where one is to blame.
        map: String,
        /// Why.
        #[source]
        source: MappingError,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The workbook cannot be read.
    #[error(transparent)]
    Sheet(#[from] SheetError),
    /// It is no table, or breaks off.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The table has other headers than the kind, and no map says what they mean.
    #[error("{file}, in the header")]
    Layout {
        /// The table.
        file: PathBuf,
        /// Why.
        #[source]
        source: LayoutError,
    },
    /// The rejects file cannot be written.
    #[error("cannot write the rejects file {path}: make room or name a folder that can be written")]
    Rejects {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Rows can no longer be told apart.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// It ended midway.
    #[error("the import stopped; until then {}", .summary.in_short())]
    Stopped {
        /// What was done before.
        summary: Box<Summary>,
        /// Why.
        #[source]
        source: Box<ImportError>,
    },
    /// Capturing failed.
    #[error("capturing failed after {rows} rows: import the file again afterwards, nothing is captured twice")]
    Capture {
        /// Rows done before.
        rows: u64,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Summary {
    /// The counts in a line.
    pub fn in_short(&self) -> String {
        let Summary { rows, captured, duplicate, skipped, rejected, .. } = self;
        let verb = if self.dry_run { "would be captured" } else { "captured" };
        format!("{rows} rows: {captured} {verb}, {duplicate} imported before, {skipped} skipped, {rejected} rejected")
    }

    /// For which columns rows were rejected and how often, the most frequent first.
    pub fn rejected_in_short(&self) -> String {
        let mut columns: Vec<(&String, &u64)> = self.rejected_by.iter().collect();
        columns.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let named =
            |name: &str| if name.is_empty() { "the row as a whole".to_owned() } else { format!("column '{name}'") };
        columns.iter().map(|(name, count)| format!("{count} for {}", named(name))).collect::<Vec<_>>().join(", ")
    }
}

/// Captures a chunk, or in a dry run rehearses it; the answers come in the order of the rows.
pub type Capture<'a> = dyn FnMut(Vec<ImportRow>) -> Result<Vec<Taken>, Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Someone who watches.
pub trait Watch: Sync {
    /// `read` of `total` bytes of the file are read.
    fn progress(&self, read: u64, total: u64);
    /// `read` of `total` bytes of a packed file are checked, before any is read.
    fn checked(&self, read: u64, total: u64) {
        self.progress(read, total);
    }
    /// Something to tell at once: a row that was not taken.
    fn tell(&self, line: &str);
}

/// Imports a file. `seconds` of the summary are left to the caller's clock.
pub fn run(order: &Order<'_>, capture: &mut Capture<'_>, watch: &dyn Watch) -> Result<Summary, ImportError> {
    let mut map = match order.map {
        Some(path) => Map::read(path)?,
        None => {
            let kind = order.kind.ok_or(MappingError::NoKind).and_then(kind_named);
            Map::headers_of(kind.map_err(|source| unfit(order, None, source))?)
        }
    };
    let kind = kind_of(&map, order.kind).map_err(|source| unfit(order, Some(&map), source))?;
    let Opened { table, bytes_read, bytes_total } = open(order.file, &map, watch)?;
    if order.map.is_none() {
        let layout = |source| ImportError::Layout { file: order.file.to_owned(), source };
        map = layout::map_of(kind, table.columns()).map_err(layout)?;
    }
    let mapper = Mapper::new(&map, kind, table.columns(), order.sites, order.zone);
    let mapper = mapper.map_err(|source| unfit(order, Some(&map), source))?;
    let mut clerk = Clerk::new(order, &map, &table, watch);
    let mut reading = Reading::new(table, &mapper, order.fallback, bytes_read, bytes_total);
    let ended = std::thread::scope(|scope| {
        let (give, take) = mpsc::sync_channel(CHUNKS_AHEAD);
        let reading = scope.spawn(|| reading.read(give, watch));
        let captured = clerk.capture_all(take, capture);
        let read = reading.join().expect("the reading thread does not panic");
        captured.and(read)
    });
    let (summary, closed) = clerk.finish();
    match ended.and(closed) {
        Ok(()) => Ok(summary),
        Err(error) => Err(ImportError::Stopped { summary: Box::new(summary), source: Box::new(error) }),
    }
}

/// What does not fit, with the file and the line to mend.
fn unfit(order: &Order<'_>, map: Option<&Map>, source: MappingError) -> ImportError {
    let file = order.file.display();
    let place = match order.map {
        None => format!("{file}"),
        Some(path) if matches!(source, MappingError::MissingColumn { .. }) => {
            format!("{file}, line 1 (map {})", path.display())
        }
        Some(path) => {
            let line = source.place().and_then(|place| map.and_then(|map| map.line_of(&place)));
            let line = line.map_or_else(String::new, |line| format!(", line {line}"));
            format!("{}{line}", path.display())
        }
    };
    ImportError::Mapping { map: place, source }
}

/// A file opened as a table, and how much of it is read.
struct Opened {
    table: Table<Source>,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
}

/// Opens text or a workbook. Where the map names no sheet and several could be meant, says which is read.
fn open(file: &Path, map: &Map, watch: &dyn Watch) -> Result<Opened, ImportError> {
    if !is_workbook(file) {
        packed::verify(file, watch)?;
        let source = Source::open(file, map.encoding.as_deref())?;
        if source.is_packed && !file.is_file() {
            return Err(SourceError::PackedPipe(file.to_owned()).into());
        }
        let (bytes_read, bytes_total) = (Arc::clone(&source.bytes_read), source.bytes_total);
        return Ok(Opened { table: Table::open(source, file, map)?, bytes_read, bytes_total });
    }
    let sheet = Sheet::open(file, map.sheet.as_deref())?;
    if !sheet.others.is_empty() {
        let (file, name, others) = (file.display(), &sheet.name, sheet.others.join("', '"));
        watch.tell(&format!("{file}: reading sheet '{name}', not '{others}'; the map may say sheet = \"{name}\""));
    }
    let (bytes_read, bytes_total) = (Arc::clone(&sheet.bytes_read), sheet.bytes_total);
    Ok(Opened { table: Table::of_sheet(sheet, file, map)?, bytes_read, bytes_total })
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
