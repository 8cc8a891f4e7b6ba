//! Tables that leave this program: their format, their language and where they go.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use waystation_protocol::kind::Kind;

use crate::form::Lang;
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
    /// Where the table goes. A workbook is no text for a terminal; `example` is a name it could have.
    pub(super) fn open(&self, example: &str) -> Result<Box<dyn Write>> {
        match &self.output {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
                Ok(Box::new(BufWriter::new(file)))
            }
            None if self.format == Format::Xlsx && io::stdout().is_terminal() => {
                bail!("a workbook is no text: name a file, such as --output {example}")
            }
            None => Ok(Box::new(BufWriter::new(io::stdout().lock()))),
        }
    }
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
