//! Files to import, the map that reads them, and the importer's command.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::program;

/// The kind that the map's rows become.
pub const KIND: &str = "stock_movement";
/// The site of every import here.
pub const SITE: &str = "3701";

const MAP: &str = r#"kind = "stock_movement"
key = ["id"]
state = { constant = "posted" }

[fields]
source_document = { column = "id" }
item = { column = "item" }
location = { constant = "main" }
reason = { constant = "receipt" }
quantity = { column = "quantity", unit = "件" }
"#;

/// What an import says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Rows read.
    pub rows: u64,
    /// Rows captured by this run.
    pub captured: u64,
    /// Rows captured before.
    pub duplicate: u64,
    /// Rows of sites the agent does not stand for.
    pub skipped: u64,
    /// Rows written to the rejects file.
    pub rejected: u64,
}

impl Summary {
    /// Reads the last line of what an import printed.
    ///
    /// # Panics
    ///
    /// If that is no summary.
    #[track_caller]
    pub fn read(printed: &[u8]) -> Summary {
        let text = String::from_utf8_lossy(printed);
        let line = text.lines().last().unwrap_or_default();
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("no summary ({error}): {text}"));
        let count = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("the summary has no '{key}': {json}"));
        Summary {
            rows: count("rows"),
            captured: count("captured"),
            duplicate: count("duplicate"),
            skipped: count("skipped"),
            rejected: count("rejected"),
        }
    }
}

/// Writes the map into `folder`.
///
/// # Panics
///
/// If the folder cannot be written.
pub fn write_map(folder: &Path) -> PathBuf {
    let path = folder.join("map.toml");
    fs::write(&path, MAP).expect("the test's folder can be written");
    path
}

/// A good table of `rows` movements.
pub fn movements(rows: u64) -> String {
    let mut text = String::from("id,item,quantity\n");
    for row in 1..=rows {
        writeln!(text, "row-{row},\"轮胎, 前\",{}", row % 40 + 1).expect("a text takes any text");
    }
    text
}

/// The command that imports `file` as [`SITE`] into the data folder `data`.
pub fn command(data: &Path, kind: &str, map: &Path, file: &Path) -> Command {
    let mut command = Command::new(program("waystation-agent"));
    command.args(["import", "--site", SITE, "--json", "--kind", kind, "--data"]).arg(data);
    command.arg("--map").arg(map).arg(file);
    command
}
