//! Reports: each is a declaration over one measure's sums; the machinery groups, divides, sorts and says how complete
//! it is.
//!
//! Formulas are those of DOMAIN §3. Figures are computed from whole numbers; a ratio without anything to divide by is
//! empty, never 0.

mod after_sales;
mod answer;
mod basis;
#[cfg(test)]
mod basis_tests;
mod cell;
mod completeness;
mod csv;
mod declared;
mod key;
mod percentile;
mod sync;
mod table;
mod values;
mod workbook;

pub use answer::{Answer, AnswerError, Head, Question, answer, label, series};
pub use basis::{Basis, Part, Pick, basis};
pub use cell::{Cell, Decimal};
pub use completeness::{Completeness, Evidence, completeness};
pub use csv::{about_csv, to_csv};
pub use declared::REPORTS;
pub use key::Key;
pub use table::table;
pub use workbook::{WorkbookError, to_xlsx};

use waystation_protocol::fact::Measure;

/// A report.
#[derive(Debug)]
pub struct Report {
    /// The wire name.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// What it says and by which formulas, in Chinese.
    pub about_zh: &'static str,
    /// What it says and by which formulas, in English.
    pub about_en: &'static str,
    /// Where its figures come from.
    pub source: Source,
    /// The keys its rows always have.
    pub keys: &'static [Key],
    /// Its figures.
    pub columns: &'static [Column],
    /// The order of its rows.
    pub order: Order,
    /// Its picture.
    pub chart: Chart,
}

/// Where figures come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The roll-ups of a measure.
    Measure(&'static Measure),
    /// What agents said of themselves, and what arrived from them.
    Agents,
}

/// A figure of each row.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The wire name.
    pub name: &'static str,
    /// The label in Chinese.
    pub zh: &'static str,
    /// The label in English.
    pub en: &'static str,
    /// How it is computed.
    pub figure: Figure,
    /// How people read it.
    pub show: Show,
}

/// How a figure is computed from a row's sums, each named as its measure names it.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// A sum.
    Sum(&'static str),
    /// A sum of so many decimal places, as a decimal: money has two, quantities three.
    Scaled(&'static str, u32),
    /// A percentile of durations.
    Percentile(Percentile),
    /// A sum of thousandths from the beginning, as a decimal; grouped by day or month, the balance at its end.
    Balance(&'static str),
    /// Sums divided.
    Ratio(Ratio),
    /// One ratio where two sums are equal, another where they are not.
    Either {
        /// The two sums.
        equal: (&'static str, &'static str),
        /// Where they are.
        then: Ratio,
        /// Where they are not.
        otherwise: Ratio,
    },
    /// A sum's part of the total over the report's own keys.
    Share(&'static str),
    /// That part, and those of the rows before it.
    Cumulative(&'static str),
    /// Not computed from sums.
    Stated,
}

/// The sum of some values divided by the sum of others.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    /// What is divided.
    pub over: &'static [&'static str],
    /// By what.
    pub under: &'static [&'static str],
}

/// A percentile, read off a measure that counts things by how long they took: the least duration that so many of a
/// hundred did not exceed (nearest rank). As exact as the measure's buckets.
#[derive(Debug, Clone, Copy)]
pub struct Percentile {
    /// The measure; what the report's own has no key for there, is grouped by nothing.
    pub of: &'static Measure,
    /// Only its rows with this value of this key.
    pub only: Option<(&'static str, &'static str)>,
    /// Its key that holds the duration, as text that sorts like the number.
    pub bucket: &'static str,
    /// Its value that counts.
    pub count: &'static str,
    /// Of a hundred.
    pub rank: u8,
    /// Units of the bucket in one of the figure.
    pub per: i64,
}

/// How people read a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A number.
    Number,
    /// A ratio as per cent.
    Percent,
    /// A number with two decimals.
    Score,
    /// Seconds as an age.
    Age,
    /// Text.
    Text,
    /// An instant.
    Instant,
}

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By their keys.
    Keys,
    /// By a sum, the largest first, within each group of the keys that were asked for.
    Largest(&'static str),
}

/// A report's picture, drawn from the same figures grouped its own way.
#[derive(Debug, Clone, Copy)]
pub enum Chart {
    /// The largest of a column, one bar each.
    Bars {
        /// Grouped by this.
        by: Key,
        /// The column.
        value: &'static str,
    },
    /// Bars of a count, and the line of its cumulative share.
    Pareto {
        /// Grouped by this.
        by: Key,
        /// The count's column.
        value: &'static str,
        /// The cumulative share's column.
        line: &'static str,
    },
    /// Columns over the months.
    Trend {
        /// The columns.
        values: &'static [&'static str],
        /// The line to reach, in thousandths of the columns' unit.
        target_milli: Option<i64>,
    },
}

/// The report of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Report> {
    REPORTS.iter().copied().find(|report| report.name == name)
}

/// The names of all reports.
#[must_use]
pub fn names() -> Vec<&'static str> {
    REPORTS.iter().map(|report| report.name).collect()
}

impl Report {
    /// What `by` may name.
    #[must_use]
    pub fn allowed(&self) -> Vec<Key> {
        match self.source {
            Source::Agents => Vec::new(),
            Source::Measure(measure) => {
                // by its own durations nothing is grouped
                let is_bucket = |name: &&&str| {
                    self.columns.iter().any(|column| match column.figure {
                        Figure::Percentile(of) => of.of == measure && of.bucket == **name,
                        _ => false,
                    })
                };
                let own = measure.keys.iter().filter(|name| !is_bucket(name)).map(|name| Key::Of(name));
                [Key::Site, Key::Day, Key::Month].into_iter().chain(own).collect()
            }
        }
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether its figures are balances from the beginning rather than sums of a period.
    #[must_use]
    pub fn is_balance(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.figure, Figure::Balance(_)))
    }
}
