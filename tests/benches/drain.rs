//! Import and drain: a backlog captured while the link is down, then the link comes up.

use std::time::{Duration, Instant};

use serde_json::Value;
use waystation_tests::http::Http;
use waystation_tests::process::{self, Process};
use waystation_tests::proxy::Proxy;
use waystation_tests::wait::eventually;

use crate::records;
use crate::table::Table;

/// Records in the backlog.
pub(crate) const RECORDS: usize = 100_000;

/// Takes all figures of import and drain.
pub(crate) fn measure(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hub = process::hub(folder.path(), "embedded");
    let proxy = Proxy::start(&hub.address("mqtt"));
    import(table, folder.path());
    proxy.cut();
    let agent = process::agent(folder.path(), "3702", proxy.address(), &["--reconnect-max-s", "1"]);
    let head = eventually(Duration::from_secs(60), "the agent's head", || {
        waystation_tests::clerk::status(&agent.http())?["head_seq"].as_u64().ok_or_else(String::new)
    });
    assert_eq!(head as usize, RECORDS, "every record is one entry");
    table.with_goal(
        "agent memory, idle with the backlog",
        rss_mib(&agent),
        "MiB",
        "≤ 8 (idle)",
        rss_mib(&agent) <= 8.0,
    );
    drain(table, &hub, &agent, &proxy, head);
    let after = rss_mib(&agent);
    table.with_goal("agent memory after the drain", after, "MiB", "≤ 20", after <= 20.0);
    let size = stripped_mib();
    table.with_goal("agent binary, stripped", size, "MiB", "≤ 8", size <= 8.0);
    idle(table);
}

fn import(table: &mut Table, folder: &std::path::Path) {
    let records = records::records(RECORDS);
    let data = folder.join("3702").display().to_string();
    let (mut rows, mut seconds) = (0, 0.0);
    for (kind, name) in [("count", "count_sheet"), ("repair", "repair_order"), ("delivery", "delivery_item")] {
        let (text, map) = records::table(&records, kind);
        let (file, map_file) = (folder.join(format!("{kind}.csv")), folder.join(format!("{kind}.toml")));
        std::fs::write(&file, text).and_then(|()| std::fs::write(&map_file, map)).expect("the folder can be written");
        let (file, map_file) = (file.display().to_string(), map_file.display().to_string());
        let began = Instant::now();
        let arguments =
            ["import", "--data", &data, "--site", "3702", "--kind", name, "--map", &map_file, &file, "--json"];
        let output = process::run("waystation-agent", &arguments);
        seconds += began.elapsed().as_secs_f64();
        let summary: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(summary["rows"], summary["captured"], "{summary}");
        rows += summary["rows"].as_u64().unwrap_or(0);
    }
    let rate = rows as f64 / seconds;
    table.with_goal("import", rate, "rows/s", "≥ 20,000", rate >= 20_000.0);
}

fn drain(table: &mut Table, hub: &Process, agent: &Process, proxy: &Proxy, head: u64) {
    let http = hub.http();
    let began = Instant::now();
    proxy.restore();
    let (mut first, mut stored) = (None, None);
    let processed = eventually(Duration::from_secs(120), "the drain to end", || {
        let row = agent_row(&http)?;
        let at = |name: &str| row[name].as_u64().unwrap_or(0);
        if at("stored_seq") > 0 && first.is_none() {
            first = Some(began.elapsed().as_secs_f64());
        }
        if at("stored_seq") == head && stored.is_none() {
            stored = Some(began.elapsed().as_secs_f64());
        }
        if at("processed_seq") == head { Ok(began.elapsed().as_secs_f64()) } else { Err(row.to_string()) }
    });
    let stored = stored.unwrap_or(processed);
    let begun = first.unwrap_or(0.0).min(stored * 0.5);
    table.add("link-up to stored, 100 k", stored, "s");
    let rate = head as f64 / (stored - begun);
    table.with_goal("drain, stored", rate, "/s", "≥ 200 k (fast disk)", rate >= 200_000.0);
    table.add("drain, processed", head as f64 / (processed - begun), "/s");
    eventually(Duration::from_secs(30), "the last acknowledgement", || {
        match waystation_tests::clerk::unsent(&agent.http()) {
            Some(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let (up, down) = proxy.bytes();
    let wire = (up + down) as f64 / head as f64;
    table.with_goal("wire bytes per record, both ways", wire, "B", "≤ 65", wire <= 65.0);
}

fn agent_row(hub: &Http) -> Result<Value, String> {
    let rows = hub.try_get("/api/v1/agents")?.body;
    rows.as_array().and_then(|rows| rows.first().cloned()).ok_or_else(|| "no agent yet".to_owned())
}

/// A fresh agent, connected, with nothing to do.
fn idle(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hub = process::hub(folder.path(), "embedded");
    let agent = process::agent(folder.path(), "3702", &hub.address("mqtt"), &[]);
    eventually(Duration::from_secs(20), "an open session", || {
        let status = waystation_tests::clerk::status(&agent.http())?;
        if status["session_open"] == true { Ok(()) } else { Err(status.to_string()) }
    });
    let mib = rss_mib(&agent);
    table.with_goal("agent memory, idle", mib, "MiB", "≤ 8", mib <= 8.0);
    table.add("hub memory, idle with one agent", rss_mib(&hub), "MiB");
}

fn rss_mib(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

fn stripped_mib() -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = folder.path().join("agent");
    let status =
        std::process::Command::new("strip").arg("-o").arg(&target).arg(process::program("waystation-agent")).status();
    assert!(status.is_ok_and(|status| status.success()), "strip comes with the C compiler");
    std::fs::metadata(&target).map_or(f64::NAN, |metadata| metadata.len() as f64 / 1048576.0)
}
