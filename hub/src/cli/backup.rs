//! `backup`, `check-backup`, `restore`, `restore-report` and `release-restore`: words and progress around `backup`.

use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use waystation_protocol::chain::SeqRange;
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

use crate::api::restore::RestoreJson;
use crate::backup::{self, Manifest, Step, Taken};
use crate::clock;
use crate::config::Config;
use crate::store::{Owed, RestoreReport};

/// One bar at a time, on standard error, quiet where that is no terminal.
struct Bar {
    bar: ProgressBar,
    step: Option<Step>,
}

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg:11} {wide_bar} {percent:>3} %  {eta}");
        bar.set_style(style.expect("the template is well formed"));
        Bar { bar, step: None }
    }

    fn show(&mut self, step: Step, done: u64, all: u64) {
        if self.step != Some(step) {
            self.step = Some(step);
            self.bar.reset();
            self.bar.set_message(match step {
                Step::Copy => "copying",
                Step::Digest => "digests",
                Step::Integrity => "checking",
                Step::Chains => "chains",
            });
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Takes a backup beside the hub, checks it, and tells the hub.
pub(super) fn take(config: &Config, target: &Path, is_json: bool) -> anyhow::Result<String> {
    let mut bar = Bar::new();
    let taken = backup::take(&config.data, target, clock::now(), &mut |step, done, all| bar.show(step, done, all));
    drop(bar);
    let taken = taken.with_context(|| format!("no backup was taken into {}", target.display()))?;
    for leftover in &taken.leftovers {
        tracing::warn!(folder = %leftover.display(), "an unfinished backup lies here; it counts for nothing and may be removed");
    }
    let store = super::beside(config)?;
    backup::register(&store, &taken, clock::now())
        .with_context(|| format!("backup {} is good, but the hub could not be told", taken.folder.display()))?;
    store.close();
    Ok(if is_json { summary(&taken.folder, &taken.manifest).to_string() } else { taken_text(&taken) })
}

fn summary(folder: &Path, manifest: &Manifest) -> serde_json::Value {
    json!({
        "folder": folder.display().to_string(), "taken_at": manifest.taken_at, "hub_id": manifest.hub_id,
        "epoch": manifest.epoch, "bytes": manifest.database_bytes, "blake3": manifest.database_blake3,
        "entries": manifest.entries, "documents": manifest.documents, "agents": manifest.agents,
        "journals": manifest.journals.len(), "checked": true,
    })
}

fn taken_text(taken: &Taken) -> String {
    let manifest = &taken.manifest;
    format!(
        "backup {} is checked: {} entries of {} journals, {} documents, {} bytes",
        taken.folder.display(),
        manifest.entries,
        manifest.journals.len(),
        manifest.documents,
        manifest.database_bytes
    )
}

/// Checks a backup taken before.
pub(super) fn check(folder: &Path, is_json: bool) -> anyhow::Result<String> {
    let mut bar = Bar::new();
    let manifest = backup::check(folder, &mut |step, done, all| bar.show(step, done, all))?;
    drop(bar);
    let taken = Taken { folder: folder.to_owned(), manifest, leftovers: Vec::new() };
    Ok(if is_json { summary(folder, &taken.manifest).to_string() } else { taken_text(&taken) })
}

/// Puts a backup in place.
pub(super) fn restore(config: &Config, folder: &Path, is_replacing: bool, is_json: bool) -> anyhow::Result<String> {
    let mut bar = Bar::new();
    let mut show = |step, done, all| bar.show(step, done, all);
    let restored = backup::restore(folder, &config.data, is_replacing, clock::now(), &mut show)?;
    drop(bar);
    let kept = restored.kept.as_ref().map(|path| path.display().to_string());
    let taken_at = restored.manifest.as_ref().map(|manifest| manifest.taken_at.clone());
    if is_json {
        let (epoch, behind) = (restored.epoch, restored.behind);
        let newer: Vec<String> = restored.newer.iter().map(|path| path.display().to_string()).collect();
        return Ok(json!({
            "epoch": epoch, "taken_at": taken_at, "kept": kept, "journals_behind": behind, "newer_backups": newer,
        })
        .to_string());
    }
    let what = taken_at.map_or("the restore that was cut off is finished".to_owned(), |at| {
        format!("the backup of {at} is in place; {} journals are known to go further", restored.behind)
    });
    let kept = kept.map_or_else(String::new, |kept| format!("\nwhat was there is kept in {kept}"));
    let newer = restored.newer.first().map_or_else(String::new, |newest| {
        format!(
            "\nwarning: {} later backups lie beside it, and agents may have deleted what only those hold; unless they are \
             bad, put back the newest before the hub is started: {}",
            restored.newer.len(),
            newest.display()
        )
    });
    Ok(format!(
        "{what}{kept}{newer}\nepoch {} begins: start the hub, and `waystation-hub restore-report` says what came back",
        restored.epoch
    ))
}

/// What came back since the hub came back older.
pub(super) fn report(report: Option<&RestoreReport>, is_json: bool) -> String {
    if is_json {
        return serde_json::to_string(&report.map(RestoreJson::from)).expect("numbers and texts always encode");
    }
    let Some(report) = report else { return "this hub never came back older".to_owned() };
    let mut lines = vec![heading(report)];
    if report.own_forgotten > 0 {
        lines.push(format!(
            "the hub's own journals: {} entries were forgotten; those that agents were told of come back with them, the others are lost",
            report.own_forgotten
        ));
    }
    for (agent, owed) in report.agents.iter().filter_map(|agent| Some((agent, agent.owed()?))) {
        let words = match owed {
            Owed::Hello => "has not said HELLO since",
            Owed::Downward => "has not brought back all it was told",
            _ if report.ending.is_some() => "did not bring back all it was told",
            Owed::Release => "cannot bring back all it was told: its sites stay read-only until release-restore",
        };
        lines.push(format!("agent {} ({}) {words}", agent.agent, names(&agent.sites)));
    }
    for agent in &report.agents {
        for lost in &agent.lost {
            let (first, last, sites) = (lost.first, lost.last, names(&agent.sites));
            lines.push(format!(
                "told to agent {} ({sites}): {first}..{last} lost for good, decisions may be among them",
                agent.agent
            ));
        }
    }
    for stream in &report.streams {
        let range = |range: SeqRange, words: &str| format!(", {}..{} {words}", range.first, range.last);
        let is_released = report.is_released();
        let missing = stream.missing(is_released).map(|missing| range(missing, "still missing"));
        let lost: String = stream.lost(is_released).into_iter().map(|lost| range(lost, "lost for good")).collect();
        lines.push(format!(
            "journal {} of agent {} ({}): had {}, {} came back{}{}",
            stream.stream,
            stream.agent,
            names(&stream.sites),
            stream.had,
            stream.came_back(),
            missing.unwrap_or_default(),
            lost,
        ));
    }
    lines.join("\n")
}

fn heading(report: &RestoreReport) -> String {
    let state = match &report.ending {
        None => "prunable marks are frozen".to_owned(),
        Some(ending) if ending.is_release => format!(
            "released {} by {}: {}",
            utc(ending.at),
            ending.by.as_deref().unwrap_or("-"),
            ending.why.as_deref().unwrap_or("-")
        ),
        Some(ending) => format!("ended {}", utc(ending.at)),
    };
    format!("epoch {} began {}: {}; {state}", report.epoch, utc(report.at), report.detail)
}

fn utc(at: Timestamp) -> String {
    at.rfc3339(&jiff::tz::TimeZone::UTC)
}

fn names(sites: &Sites) -> String {
    match sites {
        Sites::All => "any site".to_owned(),
        Sites::Only(sites) => sites.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
