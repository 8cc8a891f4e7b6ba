//! Reads a table into chunks of mapped rows, each with what its rejection would have to remember.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use super::identity::{Identities, Identity};
use super::mapping::{BadCell, IsoDates, Mapped, Mapper, RowKey};
use super::rows::{BadRow, Row};
use super::run::{ImportError, Watch};
use super::source::Source;
use super::spill::SpillError;
use super::table::{Origin, Record, Table};
use crate::store::ImportRow;

/// Rows captured in one commit.
const CHUNK_ROWS: usize = 2000;
/// … or this many bytes of cells: half of what the API takes, which leaves room for JSON.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Stands before a character's number where a row has no columns.
pub(super) const CHARACTER: &str = "character ";

/// A row on its way: what it becomes, and what it was, in case it is refused.
pub(super) struct Item {
    /// What is captured; none of it once it was handed on.
    pub(super) row: Result<Box<ImportRow>, BadCell>,
    /// The line of the trouble in this file.
    pub(super) line: u64,
    /// The row's line in the file it came from first.
    pub(super) first_line: u64,
    /// What it is told apart by.
    pub(super) identity: Identity,
    /// Its cells; none where it could not be split.
    pub(super) cells: Packed,
    /// Its text where it could not be split.
    pub(super) raw: String,
}

/// A row's cells in one piece of memory: thousands of rows wait at a time, and hardly one of them is refused.
#[derive(Default)]
pub(super) struct Packed {
    text: String,
    ends: Vec<u32>,
}

impl Packed {
    fn pack(cells: &[String]) -> Packed {
        let mut packed = Packed { text: cells.concat(), ends: Vec::with_capacity(cells.len()) };
        let mut end = 0;
        for cell in cells {
            end += cell.len();
            packed.ends.push(u32::try_from(end).expect("a row is bounded by ROW_BYTES"));
        }
        packed
    }

    /// The cells again.
    pub(super) fn cells(&self) -> Vec<String> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| self.text[*start as usize..*end as usize].to_owned()).collect()
    }
}

/// Rows that are captured in one commit.
#[derive(Default)]
pub(super) struct Chunk {
    /// Those of this agent's sites.
    pub(super) items: Vec<Item>,
    /// All that were read.
    pub(super) rows: u64,
    /// Those of other sites.
    pub(super) skipped: u64,
    bytes: usize,
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.items.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES || self.rows >= 100 * CHUNK_ROWS as u64
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.raw.len() + item.cells.text.len();
        self.items.push(item);
    }
}

/// A table being read.
pub(super) struct Reading<'a> {
    table: Table<Source>,
    mapper: &'a Mapper<'a>,
    identities: Identities,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
}

impl<'a> Reading<'a> {
    /// Reads `table`, of whose file `bytes_read` of `bytes_total` bytes are read. What memory does not hold goes to
    /// `dir`.
    pub(super) fn new(
        table: Table<Source>,
        mapper: &'a Mapper<'a>,
        dir: &Path,
        bytes_read: Arc<AtomicU64>,
        bytes_total: u64,
    ) -> Reading<'a> {
        Reading { table, mapper, identities: Identities::new(dir), bytes_read, bytes_total }
    }

    /// Gives all rows in chunks; those before a damage too.
    pub(super) fn read(&mut self, give: SyncSender<Chunk>, watch: &dyn Watch) -> Result<(), ImportError> {
        let mut chunk = Chunk::default();
        let ended = loop {
            match self.table.next_record() {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
                Ok(Some(record)) => {
                    if let Err(error) = self.take(record, &mut chunk) {
                        break Err(error.into());
                    }
                }
            }
            chunk.rows += 1;
            if chunk.is_full() {
                watch.progress(self.bytes_read.load(Ordering::Relaxed), self.bytes_total);
                // Nobody takes it any more only where capturing failed, which is told there.
                if give.send(std::mem::take(&mut chunk)).is_err() {
                    return Ok(());
                }
            }
        };
        let _ = give.send(chunk);
        watch.progress(self.bytes_total, self.bytes_total);
        ended
    }

    fn take(&mut self, Record { row, flaw, dates, origin }: Record, chunk: &mut Chunk) -> Result<(), SpillError> {
        match row {
            Ok(row) => self.take_row(row, flaw, &dates, origin.as_ref(), chunk)?,
            Err(bad) => chunk.push(self.torn(bad, origin.as_ref())?),
        }
        Ok(())
    }

    fn take_row(
        &mut self,
        Row { line, cells }: Row,
        flaw: Option<BadCell>,
        dates: &IsoDates,
        origin: Option<&Origin>,
        chunk: &mut Chunk,
    ) -> Result<(), SpillError> {
        // A row that is none of ours needs no key.
        if self.mapper.passes_over(&cells) {
            chunk.skipped += 1;
            return Ok(());
        }
        let key = self.mapper.row_key(&cells);
        let identity = match (&key, origin) {
            (Ok(RowKey::Known(known)), _) => known.clone(),
            (Ok(RowKey::Cells(key)), Some(origin)) => self.identities.again(key, &cells, origin)?,
            (Ok(RowKey::Cells(key)), None) => self.identities.next(key, &cells)?,
            // A row whose key cannot be told is told apart by all of it.
            (Err(_), Some(origin)) => self.identities.again(&[], &cells, origin)?,
            (Err(_), None) => self.identities.next(&[], &cells)?,
        };
        let row = match key.map(|_| self.mapper.map(&cells, dates, identity.clone())) {
            Ok(Mapped::Skipped) => {
                chunk.skipped += 1;
                return Ok(());
            }
            Ok(Mapped::Row(row)) => flaw.map_or(Ok(row), Err),
            Ok(Mapped::Bad(bad)) | Err(bad) => Err(flaw.unwrap_or(bad)),
        };
        let first_line = origin.map_or(line, |origin| origin.line);
        chunk.push(Item { row, line, first_line, identity, cells: Packed::pack(&cells), raw: String::new() });
        Ok(())
    }

    fn torn(&mut self, bad: BadRow, origin: Option<&Origin>) -> Result<Item, SpillError> {
        let BadRow { row_line, line, column, raw, reason } = bad;
        let identity = match origin {
            Some(origin) => self.identities.again_bad(&raw, origin)?,
            None => self.identities.next_bad(&raw)?,
        };
        Ok(Item {
            row: Err(BadCell { column: format!("{CHARACTER}{column}"), reason }),
            line,
            first_line: origin.map_or(row_line, |origin| origin.line),
            identity,
            cells: Packed::default(),
            raw,
        })
    }
}
