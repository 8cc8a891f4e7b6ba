//! `quarantine`: what was set aside, for people and for scripts, and the requests to resolve it.
//!
//! A request is a row in the database, so it can be made beside a running hub, which then carries it out; where none
//! runs, this process does. Contents of documents are shown only where one entry is asked for.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::{beside, say};
use crate::api::quarantine::{Fix, QuarantineQuery, Told};
use crate::clock;
use crate::config::Config;
use crate::store::{Action, Ask, Case, EntryPlace, Options, QuarantineRow, ResolutionRow, Store, StoreError};

/// How long a running hub may take; it looks twice a second, and is busy longer only while it rebuilds.
const PATIENCE_MS: u64 = 30_000;

/// What to do with quarantine.
#[derive(Debug, Subcommand)]
pub(super) enum QuarantineCommand {
    /// List entries, the latest first
    List {
        /// Of this site
        #[arg(long)]
        site: Option<String>,
        /// Of this document
        #[arg(long)]
        document: Option<String>,
        /// Set aside for this reason, such as wrong_type
        #[arg(long)]
        code: Option<String>,
        /// `open` or `resolved`
        #[arg(long, default_value = "open")]
        state: String,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// One JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one as JSON: its reason, the entry as captured, what waits behind it, and what people did about it
    Show {
        /// Its journal and place, as the list writes it: STREAM.SEQ
        entry: EntryPlace,
    },
    /// Let other values stand for the captured ones; they must pass the same judgement
    Fix {
        /// Its journal and place
        entry: EntryPlace,
        /// {"set": {field: value}, "drop": [field], "act": name}, each as `show` writes it; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        json: PathBuf,
        #[command(flatten)]
        person: Person,
    },
    /// Judge entries again as they are, after the hub was updated or data arrived
    Replay {
        /// Their journals and places
        #[arg(required_unless_present = "all")]
        entries: Vec<EntryPlace>,
        /// Everything whose reason may have passed
        #[arg(long, conflicts_with = "entries")]
        all: bool,
        #[command(flatten)]
        person: Person,
    },
    /// Give entries up; what waits behind them is judged without them
    Waive {
        /// Their journals and places
        #[arg(required = true)]
        entries: Vec<EntryPlace>,
        #[command(flatten)]
        person: Person,
    },
}

/// Who answers for it.
#[derive(Debug, clap::Args)]
pub(super) struct Person {
    /// Who asks
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    why: String,
}

/// Does it.
pub(super) fn run(config: &Config, command: QuarantineCommand) -> anyhow::Result<()> {
    match command {
        QuarantineCommand::List { site, document, code, state, limit, json } => {
            let query = QuarantineQuery { site, document, code, state: Some(state), ..QuarantineQuery::default() };
            let mut filter = query.filter().map_err(|problem| anyhow::anyhow!(problem.detail))?;
            filter.limit = limit;
            let store = beside(config)?;
            let rows = store.quarantine_page(&filter)?.items;
            let text = if json { as_json(&store, &rows)? } else { as_text(&rows) };
            say(format_args!("{text}"))
        }
        QuarantineCommand::Show { entry } => {
            let store = beside(config)?;
            let (case, told) = (found(&store, entry)?, Told::of(&store)?);
            say(format_args!("{}", serde_json::to_string_pretty(&told.case(&case))?))
        }
        QuarantineCommand::Fix { entry, json, person } => {
            let fix = read_fix(&json)?;
            let store = beside(config)?;
            let (case, told) = (found(&store, entry)?, Told::of(&store)?);
            let change = told.change(&case.row, fix).map_err(|problem| anyhow::anyhow!(problem.detail))?;
            let action = Action::Fix(change);
            resolve(config, &[entry], &Ask { action, who: person.by, why: person.why })
        }
        QuarantineCommand::Replay { all: true, person, .. } => replay_all(config, &person.by, &person.why),
        QuarantineCommand::Replay { entries, person, .. } => {
            resolve(config, &entries, &Ask { action: Action::Replay, who: person.by, why: person.why })
        }
        QuarantineCommand::Waive { entries, person } => {
            resolve(config, &entries, &Ask { action: Action::Waive, who: person.by, why: person.why })
        }
    }
}

fn found(store: &Store, entry: EntryPlace) -> anyhow::Result<Case> {
    let found = store.quarantine_case(entry)?;
    found.ok_or_else(|| anyhow::anyhow!("entry {entry} is not in quarantine; see `quarantine list`"))
}

fn read_fix(path: &Path) -> anyhow::Result<Fix> {
    let mut text = String::new();
    let name = path.display();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_string(&mut text).context("could not read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("could not read {name}"))?;
    }
    let expected = "expected {\"set\": {field: value}, \"drop\": [field], \"act\": name}, values as `show` writes them";
    serde_json::from_str(&text).with_context(|| format!("{name} is no fix: {expected}"))
}

/// The store to ask: this process carries requests out unless a hub runs, which then does.
fn store(config: &Config) -> anyhow::Result<Store> {
    match Store::open(&config.data, Options::new(clock::random()?)) {
        Err(StoreError::InUse { .. }) => beside(config),
        opened => Ok(opened?),
    }
}

fn resolve(config: &Config, entries: &[EntryPlace], ask: &Ask) -> anyhow::Result<()> {
    let store = store(config)?;
    // all of them or none
    for entry in entries {
        found(&store, *entry)?;
    }
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.push((*entry, store.ask(*entry, ask.clone())?));
    }
    let mut refused = Vec::new();
    for (entry, number) in numbers {
        let row = store.wait_decided(number, PATIENCE_MS)?;
        if matches!(row.outcome.as_deref(), Some("refused" | "still")) {
            refused.push(told(entry, &row));
        } else {
            say(format_args!("{}", told(entry, &row)))?;
        }
    }
    store.close();
    if refused.is_empty() { Ok(()) } else { bail!("{}", refused.join("; ")) }
}

fn replay_all(config: &Config, by: &str, why: &str) -> anyhow::Result<()> {
    let store = store(config)?;
    let asked = store.ask_replay_all(by, why)?;
    let numbers = asked.requests;
    let mut applied = 0;
    for number in &numbers {
        let row = store.wait_decided(*number, PATIENCE_MS)?;
        let Some(outcome) = row.outcome else {
            bail!("{} entries are noted to be judged again; the hub has not come to all of them", numbers.len());
        };
        applied += usize::from(outcome == "applied" || outcome == "moot");
    }
    store.close();
    say(format_args!(
        "judged {} again: {applied} applied, {} still set aside",
        numbers.len(),
        numbers.len() - applied
    ))?;
    if asked.frozen > 0 {
        bail!("{} more are read-only until the agents of their sites are back after the restore", asked.frozen);
    }
    Ok(())
}

fn told(entry: EntryPlace, row: &ResolutionRow) -> String {
    let why = row.after.as_ref().map_or("", |reason| reason.en.as_str());
    match row.outcome.as_deref() {
        Some("applied") => format!("entry {entry} is applied"),
        Some("waived") => format!("entry {entry} is given up"),
        Some("still") => format!("entry {entry} is still set aside: {why}"),
        Some("moot") => format!("entry {entry} had left quarantine already"),
        Some(_) if row.action == "fix" => format!("the fix of entry {entry} does not pass: {why}"),
        Some(_) => format!("entry {entry} cannot be judged: {why}"),
        None => format!("entry {entry}: noted as resolution {}; the hub has not come to it yet", row.id),
    }
}

fn as_json(store: &Store, rows: &[QuarantineRow]) -> anyhow::Result<String> {
    let told = Told::of(store)?;
    Ok(serde_json::to_string(&rows.iter().map(|row| told.item(row)).collect::<Vec<_>>())?)
}

/// One line each.
fn as_text(rows: &[QuarantineRow]) -> String {
    if rows.is_empty() {
        return "nothing is in quarantine".to_owned();
    }
    let line = |row: &QuarantineRow| {
        let site = row.site.as_ref().map_or("-", |site| site.as_str());
        let sort = match &row.resolved {
            Some((_, word)) => word.as_str(),
            None if row.is_parked => "parked",
            None => "quarantined",
        };
        let since = row.since.rfc3339(&jiff::tz::TimeZone::UTC);
        format!("{}  {sort}  {since}  site {site}  {}: {}", row.place(), row.reason.code, row.reason.en)
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
