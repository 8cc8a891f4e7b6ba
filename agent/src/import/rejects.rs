//! The rejects file: rows that were not taken, as they stood, with the reason, ready to be corrected and imported
//! again with the same map.
//!
//! Six columns are added: `_line`, `_occurrence`, `_key`, `_column`, `_reason`, `_raw`. `table` drops them again and
//! takes line and identity back. A row that could not be split has empty cells and stands in `_raw`: correct it there,
//! or fill the cells. The file has a header and a byte-order mark whatever the original had, because both win over
//! the map, and the original's delimiter. People open this file in a spreadsheet: cells it would run as formulas
//! are guarded, and `table` takes the guard off again. No earlier rejects file is ever overwritten.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::identity::Identity;
use crate::layout::guarded;

/// The columns a rejects file has beyond the original's.
pub const ADDED: [&str; 6] = ["_line", "_occurrence", "_key", "_column", "_reason", "_raw"];

/// The endings of tables, which a rejects file does not repeat.
const ENDINGS: [&str; 5] = [".csv", ".tsv", ".txt", ".xlsx", ".xlsm"];

/// Rejects files beside one original before the next is refused; nobody sorts through more.
const MOST_FILES: u32 = 999;

/// Writes rejects; the file appears with the first one.
pub struct Rejects {
    path: PathBuf,
    columns: Vec<String>,
    delimiter: u8,
    writer: Option<csv::Writer<BufWriter<File>>>,
    count: u64,
}

/// Why a row was not taken.
#[derive(Debug, Clone, Copy)]
pub struct Reject<'a> {
    /// The original cells; none where the row could not be split.
    pub cells: &'a [String],
    /// The line in the original file.
    pub line: u64,
    /// Its identity in the original file.
    pub identity: &'a Identity,
    /// The column's name, or the character's number.
    pub column: &'a str,
    /// What is wrong, and the cure.
    pub reason: &'a str,
    /// The row's text where it could not be split.
    pub raw: &'a str,
}

impl Rejects {
    /// Rejects of a file with these columns and this delimiter go to `path`, or to `path` with a number.
    pub fn new(path: PathBuf, columns: Vec<String>, delimiter: u8) -> Rejects {
        Rejects { path, columns, delimiter, writer: None, count: 0 }
    }

    /// Where they go: `orders.csv.gz` → `orders.rejects.csv`, beside the original.
    pub fn beside(file: &Path) -> PathBuf {
        let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        let stem = ENDINGS.iter().find_map(|end| without_ending(stem, end)).unwrap_or(stem);
        let stem = match stem.rsplit_once(".rejects") {
            Some((first, number)) if number.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()).is_empty() => {
                first
            }
            _ => stem,
        };
        file.with_file_name(format!("{stem}.rejects.csv"))
    }

    /// The file; settled once the first reject is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many were written.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Writes one reject.
    pub fn write(&mut self, reject: Reject<'_>) -> io::Result<()> {
        if self.writer.is_none() {
            self.create()?;
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let cells =
            (0..self.columns.len()).map(|index| reject.cells.get(index).map_or("", String::as_str)).map(guarded);
        let (line, occurrence) = (reject.line.to_string(), reject.identity.occurrence.to_string());
        let key = reject.identity.lasting_key();
        let added = [line.as_str(), &occurrence, key, reject.column, reject.reason, reject.raw];
        writer.write_record(cells.chain(added.map(guarded)))?;
        self.count += 1;
        Ok(())
    }

    /// Makes what was written durable; the file's path, if there is one.
    pub fn finish(self) -> io::Result<Option<PathBuf>> {
        let Some(writer) = self.writer else { return Ok(None) };
        let mut buffered = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        buffered.flush()?;
        buffered.get_ref().sync_all()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(Some(self.path))
    }

    fn create(&mut self) -> io::Result<()> {
        let mut file = BufWriter::new(self.create_new()?);
        file.write_all("\u{feff}".as_bytes())?;
        let mut builder = csv::WriterBuilder::new();
        let mut writer = builder.delimiter(self.delimiter).terminator(csv::Terminator::CRLF).from_writer(file);
        writer.write_record(self.columns.iter().map(String::as_str).chain(ADDED))?;
        self.writer = Some(writer);
        Ok(())
    }

    /// Creates the file under the first free number: a clerk may be correcting an earlier one.
    fn create_new(&mut self) -> io::Result<File> {
        let first = self.path.clone();
        let mut number = 1;
        loop {
            match File::create_new(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MOST_FILES => number += 1,
                result => return result,
            }
            let stem = first.file_stem().unwrap_or_default().to_string_lossy();
            self.path = first.with_file_name(format!("{stem}-{number}.csv"));
        }
    }
}

/// A name without this ending, in capitals or not.
fn without_ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let (stem, found) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
    found.eq_ignore_ascii_case(ending).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::identity::Identities;
    use crate::import::map::Map;
    use crate::import::rows::{BadRow, Row};
    use crate::import::source::Source;
    use crate::import::table::{Record, Table};

    /// Reads `text`, rejects every row, corrects the file, and gives what the same map then reads.
    fn again(bytes: &[u8], map: &str, correct: impl Fn(&str) -> String) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.csv");
        std::fs::write(&path, bytes).unwrap();
        let map = Map::parse(&format!("kind = \"x\"\nstate = {{ constant = \"s\" }}\n{map}"), &path).unwrap();
        let mut table = Table::open(Source::open(&path, map.encoding.as_deref()).unwrap(), &path, &map).unwrap();
        let mut rejects = Rejects::new(Rejects::beside(&path), table.columns().to_vec(), table.delimiter());
        let mut identities = Identities::new(Path::new(""));
        while let Some(record) = table.next_record().unwrap() {
            let (reason, column) = ("why", "A");
            match record.row {
                Ok(Row { line, cells }) => {
                    let identity = &identities.next(&[], &cells).unwrap();
                    rejects.write(Reject { cells: &cells, line, identity, column, reason, raw: "" }).unwrap();
                }
                Err(BadRow { row_line: line, raw, .. }) => {
                    let identity = &identities.next_bad(&raw).unwrap();
                    rejects.write(Reject { cells: &[], line, identity, column, reason, raw: &raw }).unwrap();
                }
            }
        }
        let path = rejects.finish().unwrap().unwrap();
        std::fs::write(&path, correct(&std::fs::read_to_string(&path).unwrap())).unwrap();
        let mut table = Table::open(Source::open(&path, map.encoding.as_deref()).unwrap(), &path, &map).unwrap();
        let mut seen = vec![table.columns().join("|")];
        while let Some(Record { row, origin, .. }) = table.next_record().unwrap() {
            let origin = origin.unwrap();
            seen.push(match row {
                Ok(row) => format!("{}#{}:{}", origin.line, origin.occurrence.unwrap(), row.cells.join("|")),
                Err(bad) => format!("{}! {}", origin.line, &bad.reason[..14]),
            });
        }
        seen
    }

    #[test]
    fn rejects_come_back_with_the_same_map_whatever_the_original_was() {
        let gbk = encoding_rs::GBK.encode("站,号\n城东站,1\n城东站,1\n").0.into_owned();
        assert_eq!(again(&gbk, "encoding = \"gbk\"", str::to_owned), ["站|号", "2#1:城东站|1", "3#2:城东站|1"]);
        let semicolons = b"A;B\n=1;\"x;\n\"\"y\"\"\"\n";
        assert_eq!(again(semicolons, "delimiter = \";\"", str::to_owned), ["A|B", "2#1:=1|x;\n\"y\""]);
        assert_eq!(again(b"1,2\r\n3,\r\n", "header = false", str::to_owned), ["#1|#2", "1#1:1|2", "2#1:3|"]);
    }

    #[test]
    fn rows_that_could_not_be_split_come_back_once_corrected() {
        let file = b"A,B\n1,\"open\n2\n3,\xff\n";
        let uncorrected = ["2! this quote nev", "3! expected 2 cel", "4! this row still"];
        assert_eq!(again(file, "", str::to_owned)[1..], uncorrected);
        let corrected = |text: &str| {
            text.replace("\"1,\"\"open\"", "\"1,\"\"closed\"\"\"")
                .replace(",2\r\n", ",\"2,y\"\r\n")
                .replace('\u{fffd}', "z")
        };
        assert_eq!(again(file, "", corrected)[1..], ["2#1:1|closed", "3#1:2|y", "4#1:3|z"]);
    }

    #[test]
    fn the_file_appears_with_the_first_reject_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = Rejects::beside(&folder.path().join("orders.csv.gz"));
        assert_eq!(path, folder.path().join("orders.rejects.csv"));
        assert_eq!(Rejects::new(path.clone(), vec!["A".into()], b',').finish().unwrap(), None);
        assert!(!path.exists());
        std::fs::write(&path, "half corrected").unwrap();
        let mut rejects = Rejects::new(path.clone(), vec!["A".into()], b',');
        let identity = &Identities::new(Path::new("")).next(&["x"], &[]).unwrap();
        rejects.write(Reject { cells: &["x".into()], line: 1, identity, column: "A", reason: "why", raw: "" }).unwrap();
        assert_eq!(rejects.finish().unwrap().unwrap(), folder.path().join("orders.rejects-2.csv"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "half corrected");
        assert_eq!(Rejects::beside(Path::new("a.rejects-2.csv")), Path::new("a.rejects.csv"));
        for original in ["a.tsv", "a.xlsx", "a.XLSX", "a.xlsm", "a"] {
            assert_eq!(Rejects::beside(Path::new(original)), Path::new("a.rejects.csv"));
        }
    }
}
