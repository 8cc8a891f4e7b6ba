//! Tables that leave this program: their format, their language and where they go.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use waystation_protocol::kind::Kind;

use crate::lang::Lang;
use crate::layout::sheet::Sheet;
use crate::layout::{Column, Headers};

/// The format of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Csv,
    Xlsx,
}

/// How a table is wanted.
#[derive(Debug, Clone, Args)]
pub(super) struct Wanted {
    /// Format of the table
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub(super) format: Format,
    /// Language of headers and choices: zh-CN or en
    #[arg(long, value_parser = lang)]
    pub(super) lang: Option<Lang>,
    /// File to write; standard output where absent
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

fn lang(name: &str) -> Result<Lang, String> {
    match name.to_ascii_lowercase().as_str() {
        "zh" | "zh-cn" => Ok(Lang::Zh),
        "en" => Ok(Lang::En),
        _ => Err("expected zh-CN or en".to_owned()),
    }
}

impl Wanted {
    /// Writes the table where it goes. A file of that name stays as it is unless `table` is written to its end. A
    /// workbook is no text for a terminal; `example` is a name it could have.
    pub(super) fn write(&self, example: &str, table: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        match &self.output {
            Some(path) => write_file(path, table),
            None if self.format == Format::Xlsx && io::stdout().is_terminal() => {
                bail!("a workbook is no text: name a file, such as --output {example}")
            }
            None => flushed(io::stdout().lock(), table),
        }
    }
}

fn flushed(out: impl Write, table: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::new(out);
    table(&mut out)?;
    Ok(out.flush()?)
}

/// Writes beside `path` and takes its place at the end; into it where it is no file, such as a pipe.
fn write_file(path: &Path, table: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let doing = || format!("cannot write {}", path.display());
    // What a link leads to is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&target).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return flushed(File::create(&target).with_context(doing)?, table);
    }
    let permissions = before.map_or_else(|| Permissions::from_mode(0o666), |before| before.permissions());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new();
    let beside = beside.prefix(".waystation-").suffix(".part").permissions(permissions).tempfile_in(folder);
    let beside = beside.with_context(doing)?;
    flushed(beside.as_file(), table)?;
    beside.as_file().sync_all().with_context(doing)?;
    beside.persist(&target).with_context(doing)?;
    Ok(())
}

/// A table with these columns.
pub(super) fn sheet<W: Write>(
    out: W,
    format: Format,
    kind: &Kind,
    columns: &[Column],
    headers: Headers,
) -> Result<Sheet<W>> {
    let names = columns.iter().map(|column| column.header(headers)).collect();
    let sheet = match format {
        Format::Csv => Sheet::csv(out, names),
        Format::Xlsx => {
            let choices: Vec<Vec<&str>> = columns.iter().map(|column| column.choices(kind, headers)).collect();
            Sheet::workbook(out, kind.name, names, &choices)
        }
    };
    Ok(sheet?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_table_that_fails_leaves_the_file_as_it_was_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("orders.csv"), folder.path().join("link.csv"));
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        let wanted = Wanted { format: Format::Csv, lang: None, output: Some(link.clone()) };
        let failed = wanted.write("", |out| {
            out.write_all(&[b'x'; 100_000])?;
            bail!("the agent stopped")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        wanted.write("", |out| Ok(out.write_all(b"after")?)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
