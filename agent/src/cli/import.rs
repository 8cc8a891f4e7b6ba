//! `import`: a file's walk with a progress bar and a summary.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use waystation_protocol::site::Sites;

use super::desk::Desk;
use super::print;
use crate::api::routes::Outcome;
use crate::config::Config;
use crate::import::run::{self, Order, Summary, Taken, Watch};
use crate::store::ImportRow;

pub(super) struct Wanted {
    pub(super) kind: String,
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
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {elapsed}  ETA {eta}")?;
    bar.0.set_style(style);
    let order = Order {
        kind: &wanted.kind,
        map: wanted.map.as_deref(),
        file: &wanted.file,
        dry_run: wanted.dry_run,
        sites: &config.sites,
        zone: &config.zone,
        fallback: &config.data,
    };
    let mut desk = None;
    let mut capture = |rows: Vec<ImportRow>| {
        let desk = match &mut desk {
            Some(desk) => desk,
            none => none.insert(Desk::open(config)?),
        };
        let outcomes: Result<Vec<Outcome>> = desk.import(rows);
        Ok(outcomes?.into_iter().map(taken).collect())
    };
    let imported = run::run(&order, &mut capture, &bar);
    if let Some(desk) = desk {
        desk.close();
    }
    bar.0.finish_and_clear();
    let summary = Summary { seconds: clock.mono_ms() as f64 / 1000.0, ..imported? };
    report(wanted, &summary)?;
    let is_foreign = summary.rows > 0 && summary.skipped == summary.rows && config.sites != Sites::All;
    if is_foreign {
        let advice =
            "error: every row is of a site this agent does not stand for; a migration agent takes them: --sites '*'";
        let _ = writeln!(std::io::stderr().lock(), "{advice}");
    }
    Ok(if summary.rejected == 0 && !is_foreign { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

fn report(wanted: &Wanted, summary: &Summary) -> Result<()> {
    if summary.rejected > 0 {
        let place = match &summary.rejects_file {
            Some(path) => format!("they are in {}: correct them there and import that file", path.display()),
            None => "a real run writes them to a rejects file".to_owned(),
        };
        let _ = writeln!(std::io::stderr().lock(), "error: {} rows were not taken; {place}", summary.rejected);
    }
    if wanted.json {
        return print(&serde_json::to_string(summary)?);
    }
    let Summary { rows, captured, duplicate, skipped, rejected, seconds, .. } = summary;
    let verb = if wanted.dry_run { "would be captured" } else { "captured" };
    print(&format!(
        "{rows} rows read in {seconds:.1} s: {captured} {verb}, {duplicate} imported before, {skipped} skipped, {rejected} rejected"
    ))
}
