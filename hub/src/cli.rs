//! The command line: `run`, `site add`, `rebuild`, `quarantine`, `backup`, `restore` and what belongs to them.
//!
//! `site add`, `quarantine`, `journals` and `backup` open the store beside a running hub: SQLite lets a second process read and add
//! a row. `rebuild` and `restore` take the folder for themselves, so the hub must be stopped.

mod backup;
mod journals;
mod quarantine;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};
use serde_json::json;
use waystation_protocol::id::{AgentId, SessionId};
use waystation_protocol::site::SiteId;

use crate::clock;
use crate::config::{Config, LogFormat, Settings};
use crate::store::{DATABASE, Options, Store};

/// Gathers what outlets capture and shows what has arrived.
#[derive(Debug, Parser)]
#[command(name = "waystation-hub", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// TOML file of settings: the same names as the flags [env: WAYSTATION_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  waystation-hub run --data /var/lib/waystation-hub
  waystation-hub run --http 127.0.0.1:0 --mqtt 127.0.0.1:0
  waystation-hub run --broker mqtt://broker.example:1883
  waystation-hub site add 3702 --name 城东站
  waystation-hub quarantine list --json
  waystation-hub backup /srv/backup --data /var/lib/waystation-hub
  waystation-hub restore /srv/backup/2026-11-23T0830Z --data /var/lib/waystation-hub --replace
  waystation-hub release-restore --by 王芳 --why 'outlet 3702 burnt down'
  waystation-hub quarantine fix STREAM.SEQ --json fix.json --by 王芳 --why 录错字段
  waystation-hub quarantine replay --all --by 李娜 --why 'the hub was updated'

Every flag is also a key of the TOML file and a variable: --http, http, WAYSTATION_HTTP.
Exit status: 0 good, 1 failed, 2 bad usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub until SIGTERM; the first line on standard output says where it is
    Run,
    /// Sites the hub expects data from
    Site {
        #[command(subcommand)]
        command: SiteCommand,
    },
    /// Derive documents, facts and quarantine anew from the stored journals; the hub must be stopped
    Rebuild,
    /// Entries that were not applied
    Quarantine {
        #[command(subcommand)]
        command: quarantine::QuarantineCommand,
    },
    /// Every journal of every agent: marks, where copies branched off, and ranges that are lost; also while the hub runs
    Journals {
        /// Of this agent
        #[arg(long)]
        agent: Option<AgentId>,
        /// One JSON array, as GET /api/v1/journals
        #[arg(long)]
        json: bool,
    },
    /// Give its downward journal to a session of an agent that another session keeps out; also while the hub runs
    Admit {
        /// The agent's id
        #[arg(long)]
        agent: AgentId,
        /// Its session; without it, the newest that was kept out
        #[arg(long)]
        session: Option<SessionId>,
    },
    /// Copy the database and the key into a new folder and check them; also while the hub runs
    Backup {
        /// Folder of backups; each gets a folder of its own there, such as 2026-11-23T0830Z
        dir: PathBuf,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check a backup again: every digest, the database, every journal's chain
    CheckBackup {
        /// The backup's folder
        dir: PathBuf,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Put a backup in place of the hub's data; the hub must be stopped
    Restore {
        /// The backup's folder
        dir: PathBuf,
        /// Replace the hub in the data folder; its files are kept aside there
        #[arg(long)]
        replace: bool,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say what came back after the hub came back older, and what is missing; also while the hub runs
    RestoreReport {
        /// One JSON object, or null
        #[arg(long)]
        json: bool,
    },
    /// Wait no longer for what has not come back: it counts as lost, and prunable marks move again
    ReleaseRestore {
        /// Who decides
        #[arg(long)]
        by: String,
        /// Why
        #[arg(long)]
        why: String,
    },
}

#[derive(Debug, Subcommand)]
enum SiteCommand {
    /// Add a site, or change its name; also while the hub runs
    Add {
        /// Its id, as its agent names it
        id: SiteId,
        /// Its name for people
        #[arg(long)]
        name: String,
        /// Its IANA time zone, by whose days reports count it; documents it has are counted anew [default: as it is, or
        /// Asia/Shanghai]
        #[arg(long, default_value = "", hide_default_value = true)]
        zone: String,
    },
}

/// Runs the command line. Whoever calls it prints the error and exits with 1.
///
/// # Errors
///
/// What was asked for failed.
pub fn main(cli: Cli) -> anyhow::Result<()> {
    let config = config(&cli)?;
    log(&config)?;
    match cli.command {
        Command::Run => run(config),
        Command::Site { command: SiteCommand::Add { id, name, zone } } => {
            visit(&config)?.add_site(&id, &name, &zone).with_context(|| format!("could not add site {id}"))?;
            say(format_args!("site {id} is known as {name}"))
        }
        Command::Rebuild => rebuild(&config),
        Command::Journals { agent, json } => {
            let mut rows = beside(&config)?.journals()?;
            rows.retain(|row| agent.is_none_or(|agent| row.agent == agent));
            say(format_args!("{}", journals::told(&rows, json)?))
        }
        Command::Admit { agent, session } => match beside(&config)?.admit(agent, session)? {
            Some(session) => say(format_args!("session {session} has the downward journal from its next HELLO on")),
            None => anyhow::bail!("no session of agent {agent} is kept out: nothing to admit"),
        },
        Command::Backup { dir, json } => say(format_args!("{}", backup::take(&config, &dir, json)?)),
        Command::CheckBackup { dir, json } => say(format_args!("{}", backup::check(&dir, json)?)),
        Command::Restore { dir, replace, json } => {
            say(format_args!("{}", backup::restore(&config, &dir, replace, json)?))
        }
        Command::RestoreReport { json } => {
            say(format_args!("{}", backup::report(beside(&config)?.restore_report()?.as_ref(), json)))
        }
        Command::ReleaseRestore { by, why } => {
            beside(&config)?.release_restore(&by, &why, clock::now())?;
            say(format_args!("released: prunable marks move again"))
        }
        Command::Quarantine { command } => quarantine::run(&config, command),
    }
}

fn config(cli: &Cli) -> anyhow::Result<Config> {
    let env = |name: &str| std::env::var(name).ok();
    let file = cli.config.clone().or_else(|| env("WAYSTATION_CONFIG").map(PathBuf::from));
    let file = file.map(|path| Settings::from_file(&path)).transpose()?.unwrap_or_default();
    Ok(Config::resolve(cli.settings.clone().over(Settings::from_env(env)?).over(file))?)
}

fn log(config: &Config) -> anyhow::Result<()> {
    #[cfg(feature = "embedded-broker")]
    let directives = format!("{},{}", crate::broker::LOG_DIRECTIVES, config.log);
    #[cfg(not(feature = "embedded-broker"))]
    let directives = config.log.clone();
    let filter = tracing_subscriber::EnvFilter::try_new(&directives)
        .with_context(|| format!("'{}' is no log filter such as info or waystation_hub=debug", config.log))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ending = Ending::listen()?;
        let broker = config.broker.to_string();
        let running = crate::run(config).await?;
        let mqtt = running.mqtt.map_or(broker, |addr| format!("mqtt://{addr}"));
        let http = format!("http://{}", running.http);
        say(format_args!("{}", ready(&http, &mqtt)))?;
        ending.wait().await;
        running.stop().await;
        Ok(())
    })
}

/// The line other programs wait for.
fn ready(http: &str, mqtt: &str) -> String {
    format!("{{\"ready\":true,\"http\":{},\"mqtt\":{}}}", json!(http), json!(mqtt))
}

fn say(text: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("could not write to standard output")
}

fn rebuild(config: &Config) -> anyhow::Result<()> {
    let store = Store::open(&config.data, Options::new(clock::random()?))?;
    let mut last = 0;
    store.rebuild(&mut |done, all| {
        let tenth = (done * 10).checked_div(all).unwrap_or(10);
        if tenth != last {
            last = tenth;
            tracing::info!(done, all, "rebuilding");
        }
    })?;
    let totals = store.totals()?;
    store.close();
    say(format_args!(
        "{}",
        json!({ "entries": totals.processed, "documents": totals.documents, "quarantined": totals.quarantined })
    ))
}

/// The store, opened beside a hub that may be running.
fn beside(config: &Config) -> anyhow::Result<Store> {
    let there = config.data.display();
    ensure!(config.data.join(DATABASE).exists(), "there is no hub's database in {there}; name its folder with --data");
    visit(config)
}

/// The same, where there may be no hub yet: one is made.
fn visit(config: &Config) -> anyhow::Result<Store> {
    let options = Options { is_visitor: true, ..Options::new(clock::random()?) };
    Ok(Store::open(&config.data, options)?)
}

/// SIGTERM and Ctrl+C.
struct Ending {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Ending {
    fn listen() -> anyhow::Result<Ending> {
        Ok(Ending {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .context("could not listen for SIGTERM")?,
        })
    }

    async fn wait(&mut self) {
        #[cfg(unix)]
        let terminated = self.terminate.recv();
        #[cfg(not(unix))]
        let terminated = std::future::pending::<Option<()>>();
        tokio::select! {
            _ = terminated => tracing::info!("SIGTERM: stopping"),
            _ = tokio::signal::ctrl_c() => tracing::info!("interrupted: stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        for good in [
            "run --http 127.0.0.1:0 --mqtt 127.0.0.1:0 --broker embedded --insecure --log debug --log-format json",
            "--data d run",
            "site add 3702 --name 城东站 --zone Europe/Paris --data d",
            "rebuild",
            "backup d --json",
            "check-backup d/2026-11-23T0830Z",
            "restore d/2026-11-23T0830Z --data e --replace",
            "restore-report --json",
            "release-restore --by 王芳 --why gone",
            "run --retention-days 30 --require-backup",
            "journals --json",
            "journals --agent ffffffff-ffff-8fff-bfff-000000000000",
            "admit --agent ffffffff-ffff-8fff-bfff-000000000000",
            "quarantine list --json --limit 5",
            "quarantine list --site 3702 --state resolved",
            "quarantine show ffffffff-ffff-8fff-bfff-000000000000/3",
            "quarantine fix ffffffff-ffff-8fff-bfff-000000000000.3 --json f --by a --why b",
            "quarantine replay ffffffff-ffff-8fff-bfff-000000000000.3 ffffffff-ffff-8fff-bfff-000000000000.4 --by a --why b",
            "quarantine replay --all --by a --why b",
            "quarantine waive ffffffff-ffff-8fff-bfff-000000000000.3 --by a --why b",
        ] {
            assert!(Cli::try_parse_from(["hub"].into_iter().chain(good.split(' '))).is_ok(), "{good}");
        }
        for bad in [
            "",
            "site add 3702",
            "run --broker nowhere",
            "quarantine fix",
            "admit",
            "quarantine replay",
            "quarantine waive x.1 --by a --why b",
            "backup",
            "restore",
            "release-restore",
        ] {
            assert!(Cli::try_parse_from(["hub"].into_iter().chain(bad.split_whitespace())).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_ready_line_has_its_keys_in_order() {
        let line = ready("http://127.0.0.1:1", "mqtt://127.0.0.1:2");
        assert_eq!(line, r#"{"ready":true,"http":"http://127.0.0.1:1","mqtt":"mqtt://127.0.0.1:2"}"#);
    }
}
