//! `import --suggest`: the proposed map on standard output, everything said about it on standard error.
//!
//! No data folder is needed, and none is made.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::print;
use crate::import::suggest;

/// Proposes a map for `file`.
pub(super) fn run(file: &Path, kind: Option<&str>) -> Result<()> {
    let suggestion = suggest::suggest(file, kind)?;
    print(suggestion.map.trim_end())?;
    let mut err = std::io::stderr().lock();
    for line in &suggestion.report {
        // Standard error may be closed; the map says it too.
        let _ = writeln!(err, "{line}");
    }
    let _ = writeln!(
        err,
        "\nnext, with the map in map.toml:\n  waystation-agent import --data DIR --site SITE --kind {} --map map.toml {} --dry-run",
        suggestion.kind,
        as_argument(file)
    );
    Ok(())
}

/// A file's name as a shell takes it.
fn as_argument(file: &Path) -> String {
    let name = file.display().to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "-_./+".contains(character);
    if name.chars().all(is_plain) { name } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stand_as_a_shell_takes_them() {
        for (name, expected) in
            [("a/订单.csv.gz", "a/订单.csv.gz"), ("my orders.csv", "'my orders.csv'"), ("a'b", "'a'\\''b'")]
        {
            assert_eq!(as_argument(Path::new(name)), expected);
        }
    }
}
