//! The binary beside itself: a hub that runs, and commands that resolve what it has in quarantine.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use ed25519_dalek::SigningKey;
use waystation_hub::ingest::{self, Incoming, Keys};
use waystation_hub::store::{Options, Store};
use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::entry::Entry;
use waystation_protocol::frame;
use waystation_protocol::id::{AgentId, EntryId, SessionId, StreamId};
use waystation_protocol::message::{Batch, Hello, Message};
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

const HUB: &str = env!("CARGO_BIN_EXE_waystation-hub");
/// The database in a data folder.
const DATABASE: &str = "hub.sqlite";
const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// A running hub, killed at the end of its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended already
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn run(dir: &Path) -> Running {
    let mut child = Command::new(HUB)
        .args(["run", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--log", "warn", "--data"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("the hub starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("standard output is piped");
    BufReader::new(stdout).read_line(&mut line).expect("a ready line comes");
    assert!(line.starts_with(r#"{"ready":true"#), "{line}");
    Running(child)
}

fn command(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(HUB).arg("quarantine").args(arguments).arg("--data").arg(dir).output().expect("the command starts")
}

/// What the command prints; it must succeed.
fn said(dir: &Path, arguments: &[&str]) -> String {
    let output = command(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn survey(n: u8, score: &str) -> Entry {
    let set = [("site", "3702"), ("form", "回访"), ("score", score)];
    Entry {
        id: EntryId::from_bytes([n; 16]),
        document: None,
        after: None,
        kind: "survey".into(),
        form: 1,
        act: "answer".into(),
        set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect(),
        author: "李娜".into(),
        cause: None,
        occurred_at: NOW,
        mono_ms: 0,
        boot: 1,
        clock: 0,
    }
}

/// A data folder with three surveys whose scores are texts, and a step behind the first.
fn poison(dir: &Path) -> StreamId {
    let (agent, key, stream) =
        (AgentId::from_bytes([1; 16]), SigningKey::from_bytes(&[1; 32]), StreamId::from_bytes([1; 16]));
    let opening = survey(1, "x");
    let void = Entry {
        id: EntryId::from_bytes([2; 16]),
        document: Some(opening.document()),
        after: Some(opening.id),
        act: "void".into(),
        set: BTreeMap::new(),
        ..opening.clone()
    };
    let mut builder = Builder::new();
    for entry in [opening, void, survey(3, "y"), survey(4, "z")] {
        assert!(builder.push(&entry.to_bytes()));
    }
    let hello = Hello {
        agent,
        public_key: key.verifying_key().as_bytes().to_vec().into(),
        session: SessionId::from_bytes([1; 16]),
        sites: Sites::All,
        stream,
        line: Vec::new(),
        head: Mark { seq: Seq(4), hash: Hash::from_bytes([0; 32]) },
        stored: Mark::ZERO,
        proof: None,
        pruned: Seq(0),
        down: None,
        last_session: None,
        challenge_answer: None,
        credit: 0,
        forms: [("survey".to_owned(), 1)].into(),
        protocols: (1, 1),
        capabilities: Vec::new(),
        build: "test".into(),
        t1: NOW,
    };
    let batch = Batch {
        stream,
        parent: None,
        first_seq: Seq(1),
        count: 4,
        prev_hash: Mark::ZERO.hash,
        base: None,
        payload: builder.finish().into(),
    };
    let store = Store::open(dir, Options::new([9; 16])).expect("a fresh store opens");
    let keys = Keys::default();
    let frames = [frame::seal(Hello::FRAME, &hello.to_body(), &key), frame::seal(Batch::FRAME, &batch.to_body(), &key)];
    for frame in frames {
        let message = ingest::verify(agent, &frame, &keys).expect("our own frames verify");
        store.counters().queued_bytes.add(frame.len() as u64);
        store.submit(Incoming { agent, message, received_at: NOW, wire_bytes: frame.len() });
    }
    let mut left = 100_000;
    while store.totals().expect("totals are read").processed < 4 {
        left -= 1;
        assert!(left > 0, "not processed: {:?}", store.totals());
        std::thread::yield_now();
    }
    store.close();
    stream
}

/// Proves R-PROC-3.
#[test]
fn commands_resolve_beside_a_running_hub_and_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let stream = poison(dir);
    let place = |seq: u64| format!("{stream}.{seq}");
    let file = dir.join("fix.json");
    let write = |text: &str| std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
    let fix = |seq: u64| {
        let (place, file) = (place(seq), file.to_str().unwrap().to_owned());
        command(dir, &["fix", &place, "--json", &file, "--by", "王芳", "--why", "录错"])
    };
    let mut hub = run(dir);
    assert_eq!(said(dir, &["list"]).lines().count(), 4);

    write("{\"set\": {\"score\": 80}");
    let torn = fix(1);
    let error = String::from_utf8_lossy(&torn.stderr).into_owned();
    assert!(!torn.status.success() && error.contains("fix.json") && error.contains("line 1 column"), "{error}");
    for (asked, told) in [
        (r#"{"set": {"score": "eighty"}}"#, "score: 'eighty' does not fit"),
        (r#"{"act": "fly", "set": {"score": 80}}"#, "does not pass: "),
    ] {
        write(asked);
        let refused = fix(1);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && error.contains(told), "{error}");
    }
    write(r#"{"set": {"score": 80}}"#);
    let fixed = fix(1);
    assert!(fixed.status.success(), "{}", String::from_utf8_lossy(&fixed.stderr));
    assert_eq!(String::from_utf8_lossy(&fixed.stdout).trim(), format!("entry {} is applied", place(1)));

    let waived = said(dir, &["waive", &place(3), "--by", "王芳", "--why", "重复"]);
    assert_eq!(waived, format!("entry {} is given up", place(3)));
    let replayed = said(dir, &["replay", "--all", "--by", "王芳", "--why", "重判"]);
    assert_eq!(replayed, "judged 1 again: 0 applied, 1 still set aside");
    hub.0.kill().unwrap();
    drop(hub);

    write(r#"{"set": {"score": 90}}"#);
    assert!(fix(4).status.success(), "without a hub, the command carries it out itself");
    assert_eq!(said(dir, &["list"]), "nothing is in quarantine");
    let before = said(dir, &["list", "--state", "resolved", "--json"]);
    let rebuilt = Command::new(HUB).args(["rebuild", "--data"]).arg(dir).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&rebuilt.stdout).trim(),
        r#"{"documents":2,"entries":4,"quarantined":0}"#,
        "{}",
        String::from_utf8_lossy(&rebuilt.stderr)
    );
    let after = said(dir, &["list", "--state", "resolved", "--json"]);
    let words = |text: &str| {
        ["fixed", "waived", "released"].map(|word| text.matches(&format!("\"resolution\":\"{word}\"")).count())
    };
    assert_eq!((words(&before), words(&after)), ([2, 1, 1], [2, 1, 0]), "{after}");
    let shown = said(dir, &["show", &place(1)]);
    for part in
        ["\"by\": \"王芳\"", "\"outcome\": \"refused\"", "\"outcome\": \"applied\"", "\"score\": \"x\"", "类型不符"]
    {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
}

/// Proves R-OLDER-2.
#[test]
fn commands_resolve_nothing_while_a_restored_hub_waits_for_its_agents() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let stream = poison(dir);
    let older = std::fs::read(dir.join(DATABASE)).unwrap();
    Store::open(dir, Options::new([9; 16])).unwrap().close();
    std::fs::write(dir.join(DATABASE), older).unwrap();
    let file = dir.join("fix.json");
    std::fs::write(&file, r#"{"set": {"score": 80}}"#).unwrap();
    let (place, person) = (format!("{stream}.1"), ["--by", "王芳", "--why", "录错"]);
    let file = ["--json", file.to_str().unwrap()];
    refused(dir, &[&["fix", &place], &file[..], &person[..]].concat(), "read-only");
    for word in ["replay", "waive"] {
        refused(dir, &[&[word, &place], &person[..]].concat(), "read-only");
    }
    refused(dir, &[&["replay", "--all"], &person[..]].concat(), "more are read-only");
    let released = Command::new(HUB).args(["release-restore", "--data"]).arg(dir).args(person).output().unwrap();
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    let waived = said(dir, &[&["waive", &place], &person[..]].concat());
    assert_eq!(waived, format!("entry {place} is given up"));
}

fn refused(dir: &Path, arguments: &[&str], why: &str) {
    let output = command(dir, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains(why), "{arguments:?}: {error}");
}
