//! Twenty agents, a backup taken while they capture, and the hub put back to it: everything confirmed returns by
//! itself, exactly once, and what an outlet took to its grave is named.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use waystation_tests::api::{self, Document};
use waystation_tests::clerk::{self, Clerk, Confirmed};
use waystation_tests::http::Http;
use waystation_tests::oracle::{self, Evidence};
use waystation_tests::process::{self, Process, agent, hub, program};
use waystation_tests::small_disk::{SmallDisk, limit_files};
use waystation_tests::wait::eventually;

const AGENTS: usize = 20;
const QUICK: [&str; 2] = ["--reconnect-max-s", "1"];
const SETTLE: Duration = Duration::from_secs(90);

/// Documents each agent captures before the backup, and again after it.
const ROUND: usize = 4;

fn site(index: usize) -> String {
    format!("37{index:02}")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A command of the hub's on its folder, which must go well; gives what it says.
fn hub_command(folder: &Path, arguments: &[&str]) -> String {
    let output = hub_output(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hub_output(folder: &Path, arguments: &[&str]) -> Output {
    let data = folder.join("hub").display().to_string();
    process::run("waystation-hub", &[arguments, &["--data", &data]].concat())
}

/// Takes a backup beside the hub; gives its folder.
fn back_up(folder: &Path) -> PathBuf {
    let target = folder.join("backups").display().to_string();
    let said: Value =
        serde_json::from_str(&hub_command(folder, &["backup", &target, "--json"])).expect("one JSON object");
    assert_eq!(said["checked"], true, "{said}");
    PathBuf::from(said["folder"].as_str().expect("the summary names its folder"))
}

/// Lets a clerk capture until as many documents are confirmed.
fn work(name: &str, http: &Http, documents: usize) -> Vec<Confirmed> {
    (0..documents).filter_map(|index| clerk::capture(http, &format!("{name}-{index}"))).collect()
}

fn count(http: &Http, key: &str) -> Result<u64, String> {
    clerk::status(http)?[key].as_u64().ok_or_else(|| format!("the status has no {key}"))
}

/// Waits until the hub has processed as many entries in all, and agents have nothing unsent.
fn settle(hub: &Http, agents: &[Http], besides: u64) {
    eventually(SETTLE, "agents and hub to settle", || {
        let mut heads = besides;
        for agent in agents {
            match count(agent, "unsent")? {
                0 => heads += count(agent, "head_seq")?,
                unsent => return Err(format!("{unsent} unsent at {}", agent.base())),
            }
        }
        let processed: u64 = api::marks(hub)?.iter().map(|marks| marks.processed).sum();
        if processed == heads { Ok(()) } else { Err(format!("{processed} of {heads} entries processed")) }
    });
}

/// How the older backup comes to be in place of the hub's data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PutBack {
    Tool,
    PlainCopy,
}

impl PutBack {
    fn put_back(self, folder: &Path, backup: &Path) {
        let data = folder.join("hub");
        match self {
            PutBack::Tool => {
                let backup = backup.display().to_string();
                assert!(!hub_output(folder, &["restore", &backup]).status.success(), "it replaces nothing unasked");
                let said = hub_command(folder, &["restore", &backup, "--replace"]);
                assert!(said.contains("epoch 2 begins"), "{said}");
            }
            PutBack::PlainCopy => {
                fs::copy(backup.join("hub.sqlite"), data.join("hub.sqlite")).expect("a copy over the stopped hub's");
            }
        }
    }

    const fn cause(self) -> &'static str {
        match self {
            PutBack::Tool => "restored",
            PutBack::PlainCopy => "copied",
        }
    }
}

/// An outlet that captures and syncs after the backup, and is then gone with all its data.
struct Gone {
    agent: Process,
    site: String,
    /// What the backup holds of it.
    documents: Vec<Document>,
    confirmed: Vec<Confirmed>,
    backed_up: u64,
}

impl Gone {
    fn begin(folder: &Path, hub: &Process) -> Gone {
        let site = site(AGENTS);
        let agent = agent(folder, &site, &hub.address("mqtt"), &QUICK);
        let confirmed = work("gone", &agent.http(), ROUND);
        settle(&hub.http(), &[agent.http()], 0);
        let documents = api::documents(&agent.http()).expect("the agent answers");
        let backed_up = count(&agent.http(), "head_seq").expect("the agent answers");
        Gone { agent, site, documents, confirmed, backed_up }
    }

    /// Captures more, which the hub acknowledges, and vanishes; gives the last entry the hub had.
    fn vanish(&mut self, folder: &Path) -> u64 {
        work("gone-late", &self.agent.http(), ROUND);
        let http = self.agent.http();
        eventually(SETTLE, "the last words of an outlet", || match count(&http, "unsent")? {
            0 => Ok(()),
            unsent => Err(format!("{unsent} unsent")),
        });
        let had = count(&http, "head_seq").expect("the agent answers");
        self.agent.kill9();
        fs::remove_dir_all(folder.join(&self.site)).expect("its data is deleted");
        had
    }
}

fn judge(hub: &Http, agents: &[Http], gone: &Gone, confirmed: &[Confirmed]) {
    let mut evidence = Evidence { marks: api::marks(hub).expect("the hub answers"), ..Evidence::default() };
    for document in api::documents(hub).expect("the hub answers") {
        let acts = api::history_length(hub, &document.id).expect("the hub answers");
        evidence.hub.push((document, acts));
    }
    for agent in agents {
        evidence.agents.extend(api::documents(agent).expect("an agent answers"));
    }
    evidence.agents.extend(gone.documents.iter().cloned());
    let findings = oracle::judge(confirmed, &evidence);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings[..findings.len().min(20)].join("\n"));
    for agent in agents {
        for document in api::documents(agent).expect("an agent answers") {
            let digest = |http: &Http| http.get(&format!("/api/v1/documents/{}", document.id))["digest"].clone();
            let (own, theirs) = (digest(agent), digest(hub));
            assert!(own.is_string() && own == theirs, "{}: {own} at the agent, {theirs} at the hub", document.id);
        }
    }
}

/// The report after the refill: one agent awaited, its range missing, everything else back.
fn check_report(hub: &Http, gone: &Gone, had: u64, cause: &str) {
    let report = hub.get("/api/v1/restore");
    let shown = report.to_string();
    assert_eq!(
        (&report["cause"], &report["epoch"], &report["frozen"]),
        (&cause.into(), &2.into(), &true.into()),
        "{shown}"
    );
    let awaited = report["awaited_agents"].as_array().expect("a list");
    assert_eq!(awaited.len(), 1, "{shown}");
    assert_eq!(awaited[0]["sites"][0], gone.site.as_str());
    let streams = report["streams"].as_array().expect("a list");
    let mut came_back = 0;
    for stream in streams {
        if stream["sites"][0] == gone.site.as_str() {
            assert_eq!(
                (&stream["missing"]["first"], &stream["missing"]["last"]),
                (&(gone.backed_up + 1).into(), &had.into())
            );
        } else {
            assert_eq!((&stream["missing"], &stream["lost"]), (&Value::Null, &json!([])), "{stream}");
            came_back += stream["came_back"].as_u64().expect("a count");
        }
    }
    assert_eq!(streams.len(), AGENTS, "every journal went on after the backup: {shown}");
    assert!(came_back >= ((AGENTS - 1) * ROUND * 2) as u64, "{came_back} entries came back");
    println!("{came_back} entries of {} journals came back, {}..{had} of one did not", AGENTS - 1, gone.backed_up + 1);
}

fn drill(put_back: PutBack) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();
    let mut hub = hub(folder, "embedded");
    let mut gone = Gone::begin(folder, &hub);
    let sites: Vec<String> = (1..AGENTS).map(site).collect();
    let agents: Vec<Process> = sites.iter().map(|site| agent(folder, site, &hub.address("mqtt"), &QUICK)).collect();
    let https: Vec<Http> = agents.iter().map(Process::http).collect();
    let mut confirmed = gone.confirmed.clone();
    for (site, http) in sites.iter().zip(&https) {
        confirmed.extend(work(&format!("before-{site}"), http, ROUND));
    }

    // the backup is taken in the midst of captures
    let clerks: Vec<Clerk> =
        (0..4).map(|index| Clerk::start(&format!("during-{index}"), https[index].clone())).collect();
    eventually(SETTLE, "clerks at work", || match clerks.iter().map(Clerk::count).min() {
        Some(3..) => Ok(()),
        count => Err(format!("{count:?}")),
    });
    let before = clerks.iter().map(Clerk::count).sum::<usize>();
    let backup = back_up(folder);
    let during = clerks.iter().map(Clerk::count).sum::<usize>() - before;
    assert!(during > 0, "captures went on while the backup was taken");
    confirmed.extend(clerks.into_iter().flat_map(Clerk::finish));

    for (site, http) in sites.iter().zip(&https) {
        confirmed.extend(work(&format!("after-{site}"), http, ROUND));
    }
    let had = gone.vanish(folder);
    settle(&hub.http(), &https, had);

    assert_eq!(hub.terminate(), Some(0));
    put_back.put_back(folder, &backup);
    hub.restart();
    settle(&hub.http(), &https, gone.backed_up);
    judge(&hub.http(), &https, &gone, &confirmed);
    check_report(&hub.http(), &gone, had, put_back.cause());
    released(folder, &mut hub, &gone, had);
    println!("{} documents confirmed, {during} of them while the backup was taken", confirmed.len());
}

/// People read of it in both languages; ops releases it; a crash afterwards changes nothing.
fn released(folder: &Path, hub: &mut Process, gone: &Gone, had: u64) {
    let page = |path: &str| hub.http().get(path).as_str().expect("a page").to_owned();
    assert!(page("/?lang=en").contains("Restored data") && page("/?lang=zh-CN").contains("数据恢复"));
    let range = format!("{}–{had}", gone.backed_up + 1);
    assert!(page("/restore?lang=en").contains(&range), "the page names {range}");
    let named = format!("{}..{had}", gone.backed_up + 1);
    let said = hub_command(folder, &["restore-report"]);
    assert!(said.contains("prunable marks are frozen") && said.contains(&format!("{named} still missing")), "{said}");
    hub_command(folder, &["release-restore", "--by", "王芳", "--why", "the outlet burnt down"]);
    hub.kill9();
    hub.restart();
    let said = hub_command(folder, &["restore-report"]);
    assert!(said.contains("epoch 2 began") && said.contains("by 王芳: the outlet burnt down"), "{said}");
    assert!(said.contains(&format!("{named} lost for good")), "{said}");
}

/// Proves R-OLDER-1, R-OLDER-4, I1.
#[test]
fn a_hub_restored_from_a_backup_is_refilled_by_its_agents() {
    drill(PutBack::Tool);
}

/// Proves R-OLDER-1.
#[test]
fn a_hub_whose_older_database_was_copied_back_is_refilled_just_the_same() {
    drill(PutBack::PlainCopy);
}

/// The output of a backup onto a full disk, or of one that may write no more than 64 KiB into a file where nothing can be
/// mounted; what lies in its folder then, and whether the disk was full.
fn back_up_onto_a_full_disk(folder: &Path) -> (Output, Vec<String>, bool) {
    let target = folder.join("full");
    let (data, there) = (folder.join("hub").display().to_string(), target.display().to_string());
    let arguments = ["backup", &there, "--data", &data];
    match SmallDisk::mount(8, &target, &folder.join("image")) {
        Ok(_disk) => {
            fill(&target.join("filler"));
            let output = process::run("waystation-hub", &arguments);
            (output, names(&target), true)
        }
        Err(refusal) => {
            println!("no small disk can be mounted here ({refusal}): a limit on file size stands in for it");
            let script = folder.join("limited-hub");
            limit_files(&program("waystation-hub"), 64, &script);
            let output = Command::new("/bin/sh").arg(&script).args(arguments).output();
            (output.expect("a shell starts"), names(&target), false)
        }
    }
}

/// Fills a disk but for 64 KiB: room for a folder and a key, not for a database.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file can be made");
    let mut written = 0;
    while file.write_all(&[1; 4096]).and_then(|()| file.sync_data()).is_ok() {
        written += 4096;
    }
    file.set_len(written - (64 << 10)).and_then(|()| file.sync_all()).expect("a file can be cut");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder stands");
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_full_disk_is_said_and_leaves_no_backup() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();
    let _hub = hub(folder, "embedded");
    let (output, left, was_full) = back_up_onto_a_full_disk(folder);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(!was_full || text(&output).contains("is full; nothing was changed"), "{}", text(&output));
    assert!(left.iter().all(|name| !name.starts_with("20")), "{left:?}");
}

#[test]
fn what_must_not_be_put_in_place_is_refused_in_words() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();
    let mut hub = hub(folder, "embedded");
    let agent = agent(folder, &site(1), &hub.address("mqtt"), &QUICK);
    let confirmed = work("kept", &agent.http(), ROUND);
    settle(&hub.http(), &[agent.http()], 0);
    let backup = back_up(folder);
    let name = backup.display().to_string();
    let refused = |arguments: &[&str], expected: &str| {
        let output = hub_output(folder, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(expected), "{arguments:?}: {}", text(&output));
    };
    refused(&["restore", &name, "--replace"], "is in use by another hub");
    assert_eq!(hub.terminate(), Some(0));
    refused(&["restore", &name], "already holds a hub; with --replace");

    let database = backup.join("hub.sqlite");
    let good = fs::read(&database).expect("the backup can be read");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0x10;
    fs::write(&database, bad).expect("the backup can be written");
    refused(&["restore", &name, "--replace"], "hub.sqlite has another digest");
    refused(&["check-backup", &name], "is damaged");
    fs::write(&database, good).expect("the backup can be written");
    hub_command(folder, &["check-backup", &name]);

    // what a power cut leaves of a backup
    let leftover = folder.join("backups/2026-01-01T0000Z.unfinished");
    fs::create_dir(&leftover).expect("a folder can be made");
    refused(&["restore", &leftover.display().to_string(), "--replace"], "it was not finished");
    let second = back_up(folder);
    assert!(second != backup && leftover.exists());

    hub.restart();
    hub.kill9();
    hub.restart();
    oracle::settled(&hub.http(), &[agent.http()], SETTLE);
    oracle::check(&hub.http(), &[agent.http()], &confirmed);
    assert_eq!(hub.http().get("/api/v1/restore"), Value::Null, "this hub never came back older");
    assert_eq!(hub.error_lines(), Vec::<String>::new());
}
