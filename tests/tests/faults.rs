//! Faults one by one: the hub away, a half-open wire, a full disk, a second agent on one folder, a closing on demand.
//! What was confirmed survives each, and what cannot be confirmed is refused aloud.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use waystation_tests::broker::Mosquitto;
use waystation_tests::clerk::{self, Clerk, Confirmed, unsent};
use waystation_tests::http::{Answer, Http};
use waystation_tests::oracle;
use waystation_tests::process::{self, Process, agent, free_port, hub, program};
use waystation_tests::proxy::Proxy;
use waystation_tests::small_disk::{SmallDisk, limit_files};
use waystation_tests::wait::eventually;

const SITE: &str = "3701";
const QUICK: [&str; 2] = ["--reconnect-max-s", "1"];
const SETTLE: Duration = Duration::from_secs(60);
const DISK_MIB: u64 = 8;
const HUB_DISK_MIB: u64 = 32;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// Waits until the agent holds at least `least` entries the hub has not acknowledged.
fn await_unsent(agent: &Process, least: u64) {
    eventually(SETTLE, "a backlog", || match unsent(&agent.http()) {
        Some(count) if count >= least => Ok(()),
        other => Err(format!("{other:?} of {least} unsent")),
    });
}

fn settle_and_check(hub: &Process, agent: &Process, confirmed: &[Confirmed]) {
    let agents = [agent.http()];
    oracle::settled(&hub.http(), &agents, SETTLE);
    oracle::check(&hub.http(), &agents, confirmed);
}

fn hub_away(mosquitto: bool) {
    let folder = folder();
    let mosquitto = mosquitto.then(|| Mosquitto::start(folder.path()));
    let broker = mosquitto.as_ref().map_or("embedded".to_owned(), |broker| format!("mqtt://{}", broker.address()));
    let mut hub = hub(folder.path(), &broker);
    let address = mosquitto.as_ref().map_or_else(|| hub.address("mqtt"), Mosquitto::address);
    let agent = agent(folder.path(), SITE, &address, &QUICK);
    let clerk = Clerk::start("away", agent.http());
    eventually(SETTLE, "a first entry at the hub", || match clerk.count() {
        0..10 => Err("the clerk has hardly begun".to_owned()),
        _ => Ok(()),
    });
    hub.kill9();
    await_unsent(&agent, 100);
    let confirmed = clerk.finish();
    // Nothing new is captured from here on: the drain must begin by itself.
    hub.restart();
    settle_and_check(&hub, &agent, &confirmed);
}

/// Proves R-FLOW-3.
#[test]
fn a_hub_that_was_away_with_its_broker_gets_everything() {
    hub_away(false);
}

/// Proves R-PIPE-1, R-FLOW-3.
#[test]
fn a_hub_that_was_away_from_mosquitto_gets_everything() {
    hub_away(true);
}

/// Proves R-PIPE-2, R-FLOW-2.
#[test]
fn a_wire_that_swallows_and_comes_back_loses_nothing() {
    let folder = folder();
    let hub = hub(folder.path(), "embedded");
    let proxy = Proxy::start(&hub.address("mqtt"));
    let agent = agent(folder.path(), SITE, proxy.address(), &QUICK);
    let clerk = Clerk::start("wire", agent.http());
    for fault in [Proxy::swallow, Proxy::cut, Proxy::swallow] {
        fault(&proxy);
        await_unsent(&agent, 50);
        proxy.restore();
        // The clerk goes on, so something always waits: what waited at this moment is what must arrive.
        let status = |name: &str| clerk::status(&agent.http())?[name].as_u64().ok_or_else(|| name.to_owned());
        let waiting = status("head_seq").expect("the agent answers");
        eventually(SETTLE, "the backlog to arrive", || match status("stored_seq")? {
            stored if stored >= waiting => Ok(()),
            stored => Err(format!("stored {stored} of {waiting}")),
        });
    }
    settle_and_check(&hub, &agent, &clerk.finish());
}

/// Proves R-PIPE-3.
#[test]
fn a_connection_carries_its_last_will() {
    let folder = folder();
    let broker = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = broker.local_addr().expect("a bound socket has an address").to_string();
    let agent = agent(folder.path(), SITE, &address, &QUICK);
    let status = clerk::status(&agent.http()).expect("the agent answers");
    let (mut connection, _) = broker.accept().expect("the agent connects");
    let (mut packet, mut piece) = (Vec::new(), [0; 4096]);
    let topic = format!("waystation/v1/{}/up", status["agent"].as_str().expect("an agent has an id"));
    // a DEATH frame: version 1, type 6, eight bytes of key id, 64 of signature, a body that names the session
    let is_there = |packet: &[u8]| {
        let at = packet.windows(topic.len()).position(|window| window == topic.as_bytes())?;
        let frame = packet.get(at + topic.len() + 2..)?;
        (frame[..2] == [1, 6] && frame[74..].windows(7).any(|window| window == b"session")).then_some(())
    };
    while is_there(&packet).is_none() {
        let read = connection.read(&mut piece).expect("the agent's CONNECT");
        assert!(read > 0 && packet.len() < 1_000_000, "no last will in {packet:?}");
        packet.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn a_second_agent_on_the_same_folder_is_refused() {
    let folder = folder();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let first = agent(folder.path(), SITE, &nowhere, &[]);
    let data = folder.path().join(SITE).display().to_string();
    let broker = format!("mqtt://{nowhere}");
    let arguments = ["run", "--data", &data, "--site", SITE, "--broker", &broker, "--http", "127.0.0.1:0"];
    let second = process::run("waystation-agent", &arguments);
    let message = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{message}");
    assert!(message.contains(&data), "the message names the folder: {message}");
    assert!(second.stdout.is_empty(), "it never said it was ready");
    assert_eq!(first.http().try_get("/api/v1/status").expect("the first agent goes on").status, 200);
}

#[test]
fn sigterm_closes_cleanly_and_loses_nothing() {
    let folder = folder();
    let mut hub = hub(folder.path(), "embedded");
    let mut agent = agent(folder.path(), SITE, &hub.address("mqtt"), &QUICK);
    let clerk = Clerk::start("close", agent.http());
    eventually(SETTLE, "some work", || if clerk.count() >= 50 { Ok(()) } else { Err(clerk.count().to_string()) });
    let confirmed = clerk.finish();
    assert_eq!((agent.terminate(), hub.terminate()), (Some(0), Some(0)));
    assert_eq!((agent.error_lines(), hub.error_lines()), (Vec::new(), Vec::new()));
    hub.restart();
    agent.restart();
    settle_and_check(&hub, &agent, &confirmed);
}

/// A repair order of about 8 KB.
fn capture_fat(http: &Http, tag: &str) -> Result<Answer, String> {
    let body = json!({
        "kind": "repair_order", "act": "check_in", "author": "李娜",
        "set": {
            "category": "Laptop", "symptom": tag, "pre_inspection": "外观完好", "checked_in_at": "2026-11-20 08:30",
            "reason": noise(tag, 8000),
        },
    });
    http.try_post("/api/v1/documents", &body)
}

/// Text that does not compress, the same for the same tag.
fn noise(tag: &str, length: usize) -> String {
    let mut state = tag
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + ((state >> 33) % 26) as u8)
    };
    (0..length).map(|_| letter()).collect()
}

/// Captures until the agent refuses; gives what was confirmed and the refusal.
fn fill(http: &Http) -> (Vec<Confirmed>, Answer) {
    let mut confirmed = Vec::new();
    for index in 0..10_000 {
        let tag = format!("fat-{index}");
        let answer = capture_fat(http, &tag).expect("a full disk is answered, not met with silence");
        if answer.status != 201 {
            return (confirmed, answer);
        }
        let id = answer.body["id"].as_str().expect("a captured document has an id").to_owned();
        confirmed.push(Confirmed { id, tag, acts: 1, has_doubt: false });
    }
    panic!("80 MB went onto a disk of {DISK_MIB} MB");
}

fn small_disk_agent(folder: &Path, broker: &str) -> (Option<SmallDisk>, Process) {
    let data = folder.join(SITE);
    match SmallDisk::mount(DISK_MIB, &data, &folder.join("image")) {
        Ok(disk) => {
            println!("the small disk is a {} of {DISK_MIB} MiB", disk.what());
            (Some(disk), agent(folder, SITE, broker, &QUICK))
        }
        Err(refusal) => {
            println!("no small disk can be mounted here ({refusal}): a limit on file size stands in for it");
            let script = folder.join("limited-agent");
            limit_files(&program("waystation-agent"), DISK_MIB * 1024, &script);
            let mut arguments = vec!["run".to_owned(), "--data".to_owned(), data.display().to_string()];
            let broker = format!("mqtt://{broker}");
            let http = format!("127.0.0.1:{}", free_port());
            let more = ["--site", SITE, "--broker", &broker, "--http", &http, QUICK[0], QUICK[1]];
            arguments.extend(more.map(str::to_owned));
            (None, Process::start(&script.display().to_string(), &arguments, &folder.join("agent.log")))
        }
    }
}

#[test]
fn a_full_disk_is_refused_aloud_and_loses_nothing() {
    let folder = folder();
    let hub = hub(folder.path(), "embedded");
    let proxy = Proxy::start(&hub.address("mqtt"));
    proxy.cut();
    let (_disk, mut agent) = small_disk_agent(folder.path(), proxy.address());
    let (confirmed, refusal) = fill(&agent.http());
    assert!([503, 507].contains(&refusal.status), "{} {}", refusal.status, refusal.body);
    let says = |key: &str| refusal.body[key].as_str().is_some_and(|text| !text.is_empty());
    assert!(says("title") && says("detail"), "the refusal gives no reason: {}", refusal.body);
    assert!(confirmed.len() > 100, "refused after {} captures of 8 KB", confirmed.len());

    // The store still opens, and holds what was confirmed.
    agent.kill9();
    agent.restart();
    for told in &confirmed {
        let shown: Value = agent.http().get(&format!("/api/v1/documents/{}", told.id));
        assert_eq!(shown["fields"]["symptom"], told.tag.as_str(), "{shown}");
    }
    // Sync goes on without room for captures.
    proxy.restore();
    settle_and_check(&hub, &agent, &confirmed);
}

/// A hub on a full disk takes nothing and says so, even started there; agents keep everything until there is room.
#[test]
fn a_hub_on_a_full_disk_says_so_and_goes_on_once_there_is_room() {
    let folder = folder();
    let data = folder.path().join("hub");
    let disk = match SmallDisk::mount(HUB_DISK_MIB, &data, &folder.path().join("image")) {
        Ok(disk) => disk,
        Err(refusal) => {
            println!("no small disk can be mounted here ({refusal}): only the unit tests of the hub's room stand in");
            return;
        }
    };
    println!("the hub's small disk is a {} of {HUB_DISK_MIB} MiB", disk.what());
    let mut hub = hub(folder.path(), "embedded");
    let agent = agent(folder.path(), SITE, &hub.address("mqtt"), &QUICK);
    let mut confirmed = captured(&agent.http(), "roomy");
    settle_and_check(&hub, &agent, &confirmed);

    disk.take_the_rest("filler");
    confirmed.extend(captured(&agent.http(), "full"));
    says_it_is_full(&hub.http());
    let here = data.display().to_string();
    let second =
        process::run("waystation-hub", &["run", "--data", &here, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(message.contains("in use by another hub"), "not what the full disk is for: {message}");
    let before = unsent(&agent.http());
    hub.kill9();
    disk.take_the_rest("more");
    hub.restart();
    says_it_is_full(&hub.http());
    assert!(!data.join("hub.reserve").exists(), "it took the reserve to start");
    assert_eq!(unsent(&agent.http()), before, "nothing is acknowledged that is not stored");

    fs::remove_file(data.join("filler")).expect("our own file");
    fs::remove_file(data.join("more")).expect("our own file");
    settle_and_check(&hub, &agent, &confirmed);
    assert_eq!(hub.http().get("/readyz")["disk"], true);
    assert!(data.join("hub.reserve").exists(), "the reserve is occupied again");
}

fn captured(http: &Http, name: &str) -> Vec<Confirmed> {
    (0..40).filter_map(|index| clerk::capture(http, &format!("{name}-{index}"))).collect()
}

/// By what programs ask, and on the board in both languages.
fn says_it_is_full(http: &Http) {
    let ready = http.try_get("/readyz").expect("a hub on a full disk answers");
    assert_eq!((ready.status, &ready.body["disk"]), (503, &json!(false)), "{}", ready.body);
    for (page, words) in [("/?lang=en", "short of room"), ("/?lang=zh-CN", "磁盘空间不足")] {
        let page = http.get(page);
        assert!(page.as_str().is_some_and(|page| page.contains(words)), "{page}");
    }
    let metrics = http.get("/metrics");
    assert!(metrics.as_str().is_some_and(|text| text.contains("waystation_hub_disk_short 1")), "{metrics}");
}
