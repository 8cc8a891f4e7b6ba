//! Capture: latency for 1 and 16 writers beside a raw fdatasync loop, syncs and bytes per confirmation.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value as Json, json};
use waystation_agent::store::{At, OpenOptions, Store};
use waystation_protocol::document::capture::Wish;
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use crate::table::{Table, percentile};

const LONE: usize = 1_000;
const SHARED: usize = 16_000;

/// Captures in a child process and reports as one JSON line: the parent traces and measures it from outside.
pub(crate) fn child(folder: &Path, writers: usize, count: usize) {
    let options = OpenOptions {
        sites: Sites::Only(vec!["3702".parse().expect("a site")]),
        letter: 'A',
        random: [7; 10],
        boot: 1,
        new_ids: [[1; 16], [2; 16]],
        new_key: [3; 32],
        zone: waystation_protocol::time::zone("").expect("the default zone"),
        reserve_bytes: 1 << 20,
    };
    let store = Store::open(folder, options).expect("a fresh folder opens");
    for index in 0..100 {
        capture(&store, index);
    }
    let before = written();
    let latencies = Mutex::new(Vec::with_capacity(count));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                let mut own = Vec::with_capacity(count / writers);
                for index in 0..count / writers {
                    let start = Instant::now();
                    capture(&store, index);
                    own.push(start.elapsed().as_secs_f64() * 1e6);
                }
                latencies.lock().expect("no writer panics").extend(own);
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let bytes = written() - before;
    let mut sorted = latencies.into_inner().expect("no writer panics");
    sorted.sort_by(f64::total_cmp);
    let line = json!({"p50": percentile(&sorted, 0.5), "p99": percentile(&sorted, 0.99), "per_s": count as f64 / seconds,
                      "bytes": bytes as f64 / count as f64});
    println!("{line}");
    store.close();
}

/// About the size of a record of the peers' generator.
fn capture(store: &Store, index: usize) {
    let set = BTreeMap::from([
        ("item".to_owned(), Value::from(format!("P{index:05}"))),
        ("location".to_owned(), Value::from("A-12")),
        ("quantity".to_owned(), Value::measured(1_000, "件")),
        ("reason".to_owned(), Value::from("receipt")),
        (
            "description".to_owned(),
            Value::from("机油滤清器 试车正常 建议复查 已拍照 数量核对 外观完好 交接完毕 三日内回访"),
        ),
    ]);
    let wish = Wish {
        document: None,
        kind: "stock_movement".into(),
        act: String::new(),
        set,
        author: "王芳".into(),
        cause: None,
    };
    store.capture(wish, At { now: Timestamp(1_760_000_000_000), mono_ms: 0 }).expect("captured");
}

/// Bytes this process sent to the disk.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Takes all capture figures.
pub(crate) fn measure(table: &mut Table) {
    let raw = raw_fdatasync(LONE);
    table.add("raw fdatasync of 300 B, p50", percentile(&raw, 0.5), "µs");
    table.add("raw fdatasync of 300 B, p99", percentile(&raw, 0.99), "µs");
    let raw_p50 = percentile(&raw, 0.5);
    let raw_rate = 1e6 / (raw.iter().sum::<f64>() / raw.len() as f64);
    let is_slow = raw_p50 > 1_000.0;
    eprintln!("disk regime: {}", if is_slow { "slow" } else { "fast" });

    let lone = run_child(1, LONE, false);
    let p50 = figure(&lone, "p50");
    table.beside("capture p50, 1 writer", p50, "µs", raw_p50, "≤ 1.5 ×", p50 <= 1.5 * raw_p50);
    table.beside("capture p99, 1 writer", figure(&lone, "p99"), "µs", percentile(&raw, 0.99), "", true);
    let bytes = figure(&lone, "bytes");
    table.with_goal("bytes written per lone capture", bytes, "B", "≤ 30 KB", bytes <= 30.0 * 1024.0);

    let shared = run_child(16, SHARED, false);
    table.add("capture p50, 16 writers", figure(&shared, "p50"), "µs");
    table.add("capture p99, 16 writers", figure(&shared, "p99"), "µs");
    let (rate, goal) = (figure(&shared, "per_s"), if is_slow { 8.0 } else { 2.5 });
    let words = if is_slow { "≥ 8 × raw" } else { "≥ 2.5 × raw" };
    table.beside("captures per second, 16 writers", rate, "/s", raw_rate, words, rate >= goal * raw_rate);

    let traced = run_child(1, 500, true);
    let syncs = figure(&traced, "syncs");
    table.with_goal("syncs per confirmation, 1 writer", syncs, "", "1", syncs <= 1.1);
}

fn raw_fdatasync(count: usize) -> Vec<f64> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut file = File::create(folder.path().join("raw")).expect("a file");
    let mut latencies: Vec<f64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[7; 300]).and_then(|()| file.sync_data()).expect("the disk takes it");
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Runs [`child`] in a process of its own; traced, its syncs are counted by strace and divided by its captures.
fn run_child(writers: usize, count: usize, is_traced: bool) -> Json {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let own = std::env::current_exe().expect("a program knows its path");
    let trace = folder.path().join("trace");
    let mut command = if is_traced {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=fsync,fdatasync,sync_file_range", "-o"]).arg(&trace).arg(own);
        strace
    } else {
        Command::new(own)
    };
    let command = command.arg("--capture-child").arg(folder.path().join("store"));
    let output = command.args([writers.to_string(), count.to_string()]).stderr(Stdio::inherit()).output();
    let output = output.expect("the bench starts itself");
    let mut figures: Json = serde_json::from_slice(&output.stdout).expect("a child reports one JSON line");
    if is_traced {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        let syncs = text.lines().filter(|line| line.contains("sync(") || line.contains("sync_file_range(")).count();
        figures["syncs"] = json!(syncs as f64 / (count + 100) as f64);
    }
    figures
}

fn figure(figures: &Json, name: &str) -> f64 {
    figures[name].as_f64().expect("a child reports every figure")
}
