//! `run`: the agent until it is told to stop.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;

/// Requests are short and the store has its own thread; more workers would only cost memory.
const WORKERS: usize = 2;

pub(super) fn run(config: Config) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<()> {
    tracing::info!("{} {config}", crate::link::BUILD);
    if config.insecure {
        tracing::warn!("--insecure: nobody is asked who they are");
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let running = crate::run(config).await?;
    super::print(&format!(r#"{{"ready":true,"http":"http://{}"}}"#, running.http))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}
