//! `import`: a file's walk with a progress bar and a summary.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use waystation_protocol::site::Sites;

use super::desk::Desk;
use super::print;
use crate::api::routes::Outcome;
use crate::config::Config;
use crate::import::run::{self, ImportError, Order, Summary, Taken, Watch};
use crate::presence::Presence;
use crate::store::{ImportRow, Store};

pub(super) struct Wanted {
    pub(super) kind: Option<String>,
    pub(super) map: Option<PathBuf>,
    pub(super) file: PathBuf,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

/// A bar on a terminal, silence elsewhere.
struct Bar(ProgressBar);

impl Watch for Bar {
    fn progress(&self, read: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(read);
    }

    fn checked(&self, read: u64, total: u64) {
        self.0.set_message("checking ");
        self.progress(read, total);
    }

    fn tell(&self, line: &str) {
        self.0.suspend(|| {
            // Standard error may be closed; the rejects file holds it all the same.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        });
    }
}

/// Exit code 1 where anything was rejected: the file needs a person.
pub(super) fn run(config: &Config, wanted: &Wanted) -> Result<ExitCode> {
    let clock = crate::running::clock(config);
    let bar = Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
    let style = ProgressStyle::with_template("{msg}{bar:40} {bytes}/{total_bytes}  {elapsed}  ETA {eta}")?;
    bar.0.set_style(style);
    let place = Place::of(config, wanted.dry_run)?;
    let order = Order {
        kind: wanted.kind.as_deref(),
        map: wanted.map.as_deref(),
        file: &wanted.file,
        dry_run: wanted.dry_run,
        sites: &config.sites,
        zone: &config.zone,
        fallback: &place.config.data,
    };
    let mut desk = None;
    let mut capture = |rows: Vec<ImportRow>| {
        let desk = match &mut desk {
            Some(desk) => desk,
            none => none.insert(Desk::open(&place.config)?),
        };
        let outcomes: Result<Vec<Outcome>> = if wanted.dry_run { desk.rehearse(rows) } else { desk.import(rows) };
        Ok(outcomes?.into_iter().map(taken).collect())
    };
    let imported = run::run(&order, &mut capture, &bar);
    if let Some(desk) = desk {
        desk.close();
    }
    bar.0.finish_and_clear();
    let seconds = clock.mono_ms() as f64 / 1000.0;
    let summary = match imported {
        Ok(summary) => Summary { seconds, ..summary },
        Err(error) => return Err(stopped(wanted, error, seconds)),
    };
    report(wanted, &summary, None)?;
    let is_foreign = summary.rows > 0 && summary.skipped == summary.rows && config.sites != Sites::All;
    if is_foreign {
        let advice =
            "error: every row is of a site this agent does not stand for; a migration agent takes them: --sites '*'";
        let _ = writeln!(std::io::stderr().lock(), "{advice}");
    }
    Ok(if summary.rejected == 0 && !is_foreign { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where rows are captured or rehearsed.
struct Place {
    config: Config,
    /// A folder that goes with the run.
    _scratch: Option<tempfile::TempDir>,
}

impl Place {
    /// The data folder; for a dry run on one that no agent has used, a folder of its own, since it leaves nothing behind.
    fn of(config: &Config, dry_run: bool) -> Result<Place> {
        let is_new = Presence::read(&config.data).is_none() && !Store::exists_in(&config.data);
        if !(dry_run && is_new) {
            return Ok(Place { config: config.clone(), _scratch: None });
        }
        let scratch = tempfile::tempdir().context("cannot make a temporary folder for the dry run")?;
        let config = Config { data: scratch.path().to_owned(), reserve_bytes: 0, ..config.clone() };
        Ok(Place { config, _scratch: Some(scratch) })
    }
}

/// Tells what was captured before an import stopped, and gives back why it did.
fn stopped(wanted: &Wanted, error: ImportError, seconds: f64) -> anyhow::Error {
    let (summary, is_midway) = match &error {
        ImportError::Stopped { summary, .. } => ((**summary).clone(), true),
        _ => (Summary { dry_run: wanted.dry_run, ..Summary::default() }, false),
    };
    let error = anyhow::Error::new(error);
    if is_midway || wanted.json {
        // Standard output may be closed; the error says it too.
        let _ = report(wanted, &Summary { seconds, ..summary }, Some(&error));
    }
    error
}

fn taken(outcome: Outcome) -> Taken {
    match outcome {
        Outcome::Captured(_) => Taken::Captured,
        Outcome::Duplicate => Taken::Duplicate,
        Outcome::Refused(wrong) => Taken::Refused {
            field: wrong.first().and_then(|wrong| wrong.field.clone()),
            reason: wrong
                .into_iter()
                .map(|wrong| format!("{} / {}", wrong.zh, wrong.en))
                .collect::<Vec<_>>()
                .join("; "),
        },
    }
}

fn report(wanted: &Wanted, summary: &Summary, error: Option<&anyhow::Error>) -> Result<()> {
    if summary.rejected > 0 {
        let place = match &summary.rejects_file {
            Some(path) => format!("they are in {}: correct them there and import that file", path.display()),
            None if summary.dry_run => "a real run writes them to a rejects file".to_owned(),
            None => "their rejects file could not be written".to_owned(),
        };
        // standard error may be closed; the summary and the rejects file say it too
        let (rejected, columns) = (summary.rejected, summary.rejected_in_short());
        let _ = writeln!(std::io::stderr().lock(), "error: {rejected} rows were not taken: {columns}; {place}");
    }
    if wanted.json {
        let mut json = serde_json::to_value(summary)?;
        if let Some(error) = error {
            json["error"] = format!("{error:#}").into();
        }
        return print(&json.to_string());
    }
    print(&format!("read in {:.1} s, {}", summary.seconds, summary.in_short()))
}
