//! `quickstart`: a hub and three outlets, filled with sample work and going on capturing.
//!
//! `--once` does the same to convergence without a visitor and compares every document at agents and hub.

mod check;
mod claim;
mod outlet;
mod sample;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use serde_json::json;

use stage::Stage;

/// Starts a hub and three outlets on free ports and lets them work.
///
/// Without options it runs until Ctrl+C: open the printed addresses, cut an outlet's network on its page, and watch
/// the board notice it and the backlog drain afterwards.
#[derive(Debug, Parser)]
#[command(version, after_help = "Examples:\n  quickstart\n  quickstart --data ./demo\n  quickstart --once --json")]
struct Arguments {
    /// Work to convergence, compare agents and hub, and exit: 0 if all is equal, 1 if anything differs
    #[arg(long)]
    once: bool,
    /// With --once: print one JSON object as the last line
    #[arg(long, requires = "once")]
    json: bool,
    /// With --once: alter one document at the hub before comparing, which must then be noticed
    #[arg(long, requires = "once")]
    plant: bool,
    /// Keep all data here instead of in a temporary folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Acts each outlet takes before, during and after its network is cut.
const ACTS_PER_ROUND: usize = 180;
/// Pause between two acts of an outlet that a visitor watches.
const PACE: Duration = Duration::from_millis(1_500);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("WAYSTATION_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.context("cannot start").and_then(|runtime| runtime.block_on(run(&arguments)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let temporary = tempfile::Builder::new().prefix("waystation-").tempdir().context("no temporary folder")?;
    let folder = arguments.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let stage = Stage::start(&folder, !arguments.once).await?;
    let equal = if arguments.once { once(&stage, arguments).await } else { visit(&stage).await.map(|()| true) };
    stage.stop().await;
    equal
}

/// Fills the outlets, then goes on capturing until Ctrl+C.
async fn visit(stage: &Stage) -> anyhow::Result<()> {
    println!("hub      {}", stage.hub_url());
    for outlet in &stage.outlets {
        println!("outlet   {}  {}", outlet.url(), outlet.name);
    }
    println!("\nOpen the hub, cut an outlet's network on its page, and watch the board. Ctrl+C ends it.");
    let told = claim::tell(stage).await?;
    println!("\nOne claim on its way, returned once, its old part, a part another outlet lent, and the settlement:");
    for (kind, id) in &told.documents {
        println!("{kind:<14} {}documents/{id}", stage.hub_url());
    }
    stage.play(60).await?;
    let mut at_work: Vec<_> = Vec::new();
    for outlet in &stage.outlets {
        let outlet = outlet.clone();
        at_work.push(tokio::spawn(async move {
            loop {
                if let Err(error) = outlet.play(1).await {
                    eprintln!("{}: {error:#}", outlet.name);
                }
                tokio::time::sleep(PACE).await;
            }
        }));
    }
    let ended = tokio::signal::ctrl_c().await;
    at_work.iter().for_each(tokio::task::JoinHandle::abort);
    ended.context("cannot wait for Ctrl+C")
}

/// Tells the story of a claim, works with networks cut and restored in between, waits for convergence, compares, and reports.
async fn once(stage: &Stage, arguments: &Arguments) -> anyhow::Result<bool> {
    let began = Instant::now();
    let told = claim::tell(stage).await?;
    stage.play(ACTS_PER_ROUND).await?;
    for outlet in &stage.outlets {
        outlet.set_plugged(false);
    }
    stage.play(ACTS_PER_ROUND).await?;
    stage.outlets[0].set_plugged(true);
    stage.play(ACTS_PER_ROUND).await?;
    for outlet in &stage.outlets {
        outlet.set_plugged(true);
    }
    let settled = check::settled(stage, Duration::from_secs(120)).await;
    if arguments.plant {
        check::plant(stage)?;
    }
    let result = check::compare(stage)?;
    for difference in &result.differences {
        eprintln!("differs: {difference}");
    }
    let equal = settled && result.differences.is_empty() && result.quarantined == 0;
    let mut states = serde_json::Map::new();
    for (kind, id) in &told.documents {
        let document = stage.hub_store().document(*id)?.context("what was told is at the hub")?;
        states.insert((*kind).to_owned(), document.state.into());
    }
    let line = json!({
        "told": states,
        "sites": stage.outlets.len(), "entries": result.entries, "stored": result.stored,
        "processed": result.processed, "quarantined": result.quarantined,
        "seconds": (began.elapsed().as_secs_f64() * 100.0).round() / 100.0, "equal": equal,
    });
    if arguments.json {
        println!("{line}");
    } else {
        println!(
            "{} entries of {} outlets, {} documents: {}",
            result.entries,
            stage.outlets.len(),
            result.documents,
            if equal { "equal at agents and hub" } else { "NOT equal at agents and hub" }
        );
    }
    Ok(equal)
}
