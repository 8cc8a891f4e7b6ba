//! The command line: settings, one subcommand each, exit codes 0 good, 1 failed, 2 bad usage.
//!
//! Every command but `run` works at a desk: through the running agent's API, or on the store of a stopped one. Only
//! `import --suggest` needs no settings at all.

mod desk;
mod export;
mod import;
mod list;
mod output;
mod serve;
mod suggest;
mod template;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::{Map, Value as Json};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, Settings};
use crate::presence::Presence;
use crate::store::Store;
use desk::Desk;

const EXAMPLES: &str = "\
Examples:
  waystation-agent run --data ./outlet --site 3702 --broker mqtt://127.0.0.1:1883
  waystation-agent new survey --data ./outlet --json - <<< '{\"set\":{\"form\":\"访后\",\"score\":92}}'
  waystation-agent list --data ./outlet --kind repair_order --state working
  waystation-agent act RO-3702A-2611-00042-K estimate --data ./outlet --json estimate.json
  waystation-agent import --data ./all --sites '*' --kind delivery_item --map deliveries.toml deliveries.csv.gz
  waystation-agent import --suggest deliveries.csv.gz > deliveries.toml
  waystation-agent export --data ./outlet --kind survey > surveys.csv
  waystation-agent template repair_order --format xlsx --output repairs.xlsx
  waystation-agent import --data ./outlet --kind repair_order repairs.xlsx

Settings come from --config, then WAYSTATION_… variables, then flags. Exit codes: 0 good, 1 failed, 2 bad usage.";

/// Captures an outlet's work on this machine, with or without a network, and sends it to the hub.
#[derive(Debug, Parser)]
#[command(name = "waystation-agent", version, after_help = EXAMPLES)]
struct Cli {
    /// TOML file with the settings below
    #[arg(long, global = true, value_name = "FILE", env = "WAYSTATION_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent: capture, API, status page and sync
    Run,
    /// Import a table: CSV or TSV, UTF-8, GBK or UTF-16, also .gz; or a sheet of a workbook (.xlsx)
    Import {
        /// Kind of document each row becomes; a map names it too, and both must agree
        #[arg(long, required_unless_present_any = ["suggest", "map"])]
        kind: Option<String>,
        /// Map file: which column is which field; none for a table with the headers of `export` or `template`
        #[arg(long, conflicts_with = "suggest")]
        map: Option<PathBuf>,
        /// Print a map proposed for this table, for its best kind or for --kind; needs no data folder
        #[arg(long, conflicts_with_all = ["dry_run", "json"])]
        suggest: bool,
        /// The table
        file: PathBuf,
        /// Capture nothing and say what would happen
        #[arg(long)]
        dry_run: bool,
        /// Print the summary as JSON
        #[arg(long)]
        json: bool,
    },
    /// Export documents as a table that `import` reads back without a map
    Export {
        /// Kind of the documents
        #[arg(long)]
        kind: String,
        #[command(flatten)]
        wanted: output::Wanted,
    },
    /// Write a blank table of a kind, to be filled in and imported without a map
    Template {
        /// Kind of the documents
        kind: String,
        #[command(flatten)]
        wanted: output::Wanted,
    },
    /// Open a document
    New {
        /// Its kind, such as repair_order
        kind: String,
        /// Its fields: {"set":{…},"site":…,"act":…}, or the fields alone; - reads standard input
        #[arg(long, value_name = "FILE")]
        json: PathBuf,
        /// Who does it
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Act on a document
    Act {
        /// The document's number or id
        document: String,
        /// The act, such as estimate
        act: String,
        /// Fields to set: {"set":{…}}, or the fields alone; - reads standard input
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Who does it
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// List documents, newest change first
    List {
        /// Only this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only in this state
        #[arg(long)]
        state: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a document with its history, as JSON
    Show {
        /// The document's number or id
        document: String,
    },
    /// Say that what was salvaged of a damaged store is known: the status and the page say it no more
    Dismiss,
    /// Tell whether the agent is connected and what waits
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command of this process. `seed` must be fresh random bytes.
pub fn main(seed: [u8; 32]) -> ExitCode {
    let cli = Cli::parse();
    // What needs no agent needs no settings.
    if let Command::Template { kind, wanted } = &cli.command {
        return template::run(kind, wanted).map_or_else(|error| fail(&error, 1), |()| ExitCode::SUCCESS);
    }
    if let Command::Import { kind, suggest: true, file, .. } = &cli.command {
        return match suggest::run(file, kind.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        };
    }
    let config = match configure(&cli, seed) {
        Ok(config) => config,
        Err(error) => return fail(&anyhow::Error::new(error), 2),
    };
    let is_serving = matches!(cli.command, Command::Run);
    if let Err(error) = log(&config, if is_serving { &config.log } else { "warn" }) {
        return fail(&error, 2);
    }
    match execute(cli.command, config) {
        Ok(code) => code,
        Err(error) => fail(&error, 1),
    }
}

fn configure(cli: &Cli, seed: [u8; 32]) -> Result<Config, ConfigError> {
    let file = cli.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let settings = file.overlaid_by(cli.settings.clone());
    let presence = settings.data.as_deref().and_then(Presence::read);
    let settings = match presence {
        Some(presence) => presence.complete(settings),
        None => settings,
    };
    Config::new(settings, seed)
}

fn log(config: &Config, directives: &str) -> Result<()> {
    let filter = EnvFilter::try_new(directives).with_context(|| format!("log: '{directives}' is not a filter"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.log_json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
    Ok(())
}

fn execute(command: Command, config: Config) -> Result<ExitCode> {
    match command {
        Command::Run => serve::run(config)?,
        Command::Import { kind, map, file, dry_run, json, suggest: _ } => {
            return import::run(&config, &import::Wanted { kind, map, file, dry_run, json });
        }
        Command::Export { kind, wanted } => at_known_desk(&config, |desk| export::run(desk, &config, &kind, &wanted))?,
        Command::Template { kind, wanted } => template::run(&kind, &wanted)?,
        Command::New { kind, json, by } => {
            let mut body = body(&json)?;
            body.insert("kind".to_owned(), Json::String(kind));
            put_author(&mut body, by);
            at_desk(&config, |desk| print_json(&desk.open_document(body)?))?;
        }
        Command::Act { document, act, json, by } => {
            let mut body = json.map_or_else(|| Ok(Map::new()), |json| self::body(&json))?;
            put_author(&mut body, by);
            at_known_desk(&config, |desk| {
                let id = desk.resolve(&document)?;
                print_json(&desk.act(&id, &act, body)?)
            })?;
        }
        Command::List { kind, state, limit, json } => {
            at_known_desk(&config, |desk| list::documents(desk, kind, state, limit, json))?;
        }
        Command::Show { document } => at_known_desk(&config, |desk| {
            let id = desk.resolve(&document)?;
            let text = serde_json::to_string_pretty(&desk.show(&id)?)?;
            print(&text)
        })?,
        Command::Dismiss => at_known_desk(&config, Desk::dismiss_salvage)?,
        Command::Status { json } => at_known_desk(&config, |desk| list::status(desk, json))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The same where there is an agent: looking for one makes none.
fn at_known_desk<T>(config: &Config, work: impl FnOnce(&Desk) -> Result<T>) -> Result<T> {
    if Presence::read(&config.data).is_none() && !Store::exists_in(&config.data) {
        bail!(
            "there is no agent in {}: name its folder with --data, or begin one there with `run` or `new`",
            config.data.display()
        );
    }
    at_desk(config, work)
}

/// Does `work` at the desk and closes it, whatever comes of it.
fn at_desk<T>(config: &Config, work: impl FnOnce(&Desk) -> Result<T>) -> Result<T> {
    let desk = Desk::open(config)?;
    let done = work(&desk);
    desk.close();
    done
}

/// A JSON object from a file or standard input; fields alone are wrapped as `set`.
fn body(path: &std::path::Path) -> Result<Map<String, Json>> {
    let (name, text) = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        ("standard input".to_owned(), text)
    } else {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        (name, text)
    };
    let json: Json = serde_json::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{name}, line {}, column {}: {error}", error.line(), error.column()))?;
    match json {
        Json::Object(body) if body.contains_key("set") => Ok(body),
        Json::Object(fields) => Ok(Map::from_iter([("set".to_owned(), Json::Object(fields))])),
        _ => bail!("{name}: expected a JSON object"),
    }
}

fn put_author(body: &mut Map<String, Json>, by: Option<String>) {
    if let Some(by) = by {
        body.insert("author".to_owned(), Json::String(by));
    }
}

fn print_json(json: &Json) -> Result<()> {
    print(&json.to_string())
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    // Standard error may be closed; then there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_or_after_the_command() {
        for line in
            ["waystation-agent --data d --site a --site b list", "waystation-agent list --data d --site a --site b"]
        {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(
                (cli.settings.data, cli.settings.site),
                (Some("d".into()), vec!["a".to_owned(), "b".to_owned()])
            );
        }
        assert!(Cli::try_parse_from(["waystation-agent", "fly"]).is_err());
        let cli = Cli::try_parse_from(["waystation-agent", "--insecure", "--log-json=false", "run"]).unwrap();
        assert_eq!((cli.settings.insecure, cli.settings.log_json), (Some(true), Some(false)));
    }

    #[test]
    fn an_import_names_its_kind_or_asks_for_a_map() {
        let import = |rest: &str| Cli::try_parse_from(format!("waystation-agent import {rest}").split(' ')).is_ok();
        assert!(import("--kind survey --map m.toml f.csv --dry-run --json"));
        assert!(import("--suggest f.csv") && import("--suggest --kind survey f.csv"));
        assert!(!import("f.csv") && import("--kind survey f.csv") && import("--map m.toml f.csv"));
        assert!(!import("--suggest --map m.toml f.csv") && !import("--suggest --kind survey --map m.toml f.csv"));
        assert!(!import("--suggest f.csv --dry-run") && !import("--suggest"));
    }
}
