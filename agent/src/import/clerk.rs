//! Captures what was read, counts it, and puts aside what was not taken.

use std::sync::mpsc::Receiver;

use super::map::Map;
use super::mapping::BadCell;
use super::reading::{CHARACTER, Chunk, Item};
use super::rejects::{Reject, Rejects};
use super::run::{Capture, ImportError, Order, Summary, Taken, Watch};
use super::source::Source;
use super::table::Table;
use crate::store::ImportRow;

/// Rejects that are told at once; all of them stand in the rejects file.
const TOLD: u64 = 5;

/// Captures chunks and keeps the books.
pub(super) struct Clerk<'a> {
    order: &'a Order<'a>,
    map: &'a Map,
    rejects: Rejects,
    columns: Vec<String>,
    delimiter: u8,
    summary: Summary,
    watch: &'a dyn Watch,
}

impl<'a> Clerk<'a> {
    /// Begins with empty books; rejects will look like `table`.
    pub(super) fn new(order: &'a Order<'a>, map: &'a Map, table: &Table<Source>, watch: &'a dyn Watch) -> Clerk<'a> {
        let (columns, delimiter) = (table.columns().to_vec(), table.delimiter());
        let rejects = Rejects::new(Rejects::beside(order.file), columns.clone(), delimiter);
        let summary = Summary { dry_run: order.dry_run, ..Summary::default() };
        Clerk { order, map, rejects, columns, delimiter, summary, watch }
    }

    /// Captures what comes until nothing does.
    pub(super) fn capture_all(&mut self, take: Receiver<Chunk>, capture: &mut Capture<'_>) -> Result<(), ImportError> {
        for chunk in take {
            self.summary.skipped += chunk.skipped;
            let mut good = Vec::with_capacity(chunk.items.len());
            let mut items = chunk.items;
            for item in &mut items {
                if let Ok(row) = &mut item.row {
                    good.push(std::mem::replace(&mut **row, empty_row()));
                }
            }
            let rows = self.summary.rows;
            let answers = if good.is_empty() {
                Vec::new()
            } else {
                capture(good).map_err(|source| ImportError::Capture { rows, source })?
            };
            let mut answers = answers.into_iter();
            for item in items {
                self.settle(item, &mut answers)?;
            }
            self.summary.rows += chunk.rows;
        }
        Ok(())
    }

    fn settle(&mut self, item: Item, answers: &mut impl Iterator<Item = Taken>) -> Result<(), ImportError> {
        let bad = match &item.row {
            Err(bad) => bad.clone(),
            Ok(_) => match answers.next() {
                Some(Taken::Captured) => {
                    self.summary.captured += 1;
                    return Ok(());
                }
                Some(Taken::Duplicate) => {
                    self.summary.duplicate += 1;
                    return Ok(());
                }
                Some(Taken::Refused { field, reason }) => BadCell { column: self.column_of(field), reason },
                None => {
                    BadCell { column: String::new(), reason: "the agent gave no answer: import the file again".into() }
                }
            },
        };
        self.reject(&item, &bad)
    }

    /// The column a field was read from: what the author of the file can mend.
    fn column_of(&self, field: Option<String>) -> String {
        let field = field.unwrap_or_default();
        let column = self.map.fields.get(&field).and_then(|mapping| mapping.column.clone());
        column.unwrap_or(field)
    }

    fn reject(&mut self, item: &Item, bad: &BadCell) -> Result<(), ImportError> {
        self.summary.rejected += 1;
        let column = if bad.column.starts_with(CHARACTER) { "" } else { &bad.column };
        match self.summary.rejected_by.get_mut(column) {
            Some(count) => *count += 1,
            None => drop(self.summary.rejected_by.insert(column.to_owned(), 1)),
        }
        if self.summary.rejected <= TOLD {
            let (file, line) = (self.order.file.display(), item.line);
            let is_named = !bad.column.starts_with(CHARACTER);
            let place = if is_named { format!("column '{}'", bad.column) } else { bad.column.clone() };
            self.watch.tell(&format!("{file}, line {line}, {place}: {}", bad.reason));
        }
        if self.order.dry_run {
            return Ok(());
        }
        let cells = item.cells.cells();
        let reject = Reject {
            cells: &cells,
            line: item.first_line,
            identity: &item.identity,
            column: &bad.column,
            reason: &bad.reason,
            raw: &item.raw,
        };
        if let Err(source) = self.rejects.write(reject) {
            let path = self.rejects.path().to_owned();
            let elsewhere = path.file_name().map(|name| self.order.fallback.join(name)).filter(|other| *other != path);
            let (Some(elsewhere), 0) = (elsewhere, self.rejects.count()) else {
                return Err(ImportError::Rejects { path, source });
            };
            self.rejects = Rejects::new(elsewhere, self.columns.clone(), self.delimiter);
            let retried = self.rejects.write(reject);
            return retried.map_err(|source| ImportError::Rejects { path: self.rejects.path().to_owned(), source });
        }
        Ok(())
    }

    /// Closes the books, whatever ended them; the rejects are durable then.
    pub(super) fn finish(self) -> (Summary, Result<(), ImportError>) {
        let Clerk { rejects, mut summary, .. } = self;
        let path = rejects.path().to_owned();
        match rejects.finish() {
            Ok(file) => {
                summary.rejects_file = file;
                (summary, Ok(()))
            }
            Err(source) => (summary, Err(ImportError::Rejects { path, source })),
        }
    }
}

/// What stands in for a row that was handed on.
fn empty_row() -> ImportRow {
    ImportRow {
        kind: String::new(),
        site: String::new(),
        state: String::new(),
        set: Default::default(),
        source: String::new(),
        key: String::new(),
        occurrence: 0,
        author: String::new(),
    }
}
