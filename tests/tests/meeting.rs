//! Meeting again, with real processes: disks put back, disks copied, a hub put back with and without its word, entries
//! deleted before they were missed. Nothing confirmed is lost, both branches of a fork are kept, and what cannot come
//! back has a name.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use waystation_tests::api::{self, Document};
use waystation_tests::clerk::{self, Confirmed};
use waystation_tests::http::Http;
use waystation_tests::process::{self, Process, copy_folder};
use waystation_tests::wait::eventually;

const SITE: &str = "3701";
const QUICK: [&str; 2] = ["--reconnect-max-s", "1"];
const SETTLE: Duration = Duration::from_secs(60);

/// A clerk captures so many documents; all are confirmed.
fn work(name: &str, agent: &Process, documents: usize) -> Vec<Confirmed> {
    let http = agent.http();
    (0..documents).map(|index| clerk::capture(&http, &format!("{name}-{index}")).expect("it is confirmed")).collect()
}

fn tags(documents: &[Document]) -> BTreeSet<String> {
    documents.iter().filter_map(|document| document.fields["symptom"].as_str().map(str::to_owned)).collect()
}

/// Waits until hub and agents hold exactly the documents confirmed, with equal fields.
fn agree(hub: &Http, agents: &[Http], confirmed: &[Vec<Confirmed>]) {
    let expected: BTreeSet<String> = confirmed.iter().flatten().map(|document| document.tag.clone()).collect();
    eventually(SETTLE, "hub and agents to hold what was confirmed", || {
        let at_hub = api::documents(hub)?;
        let missing: Vec<_> = expected.difference(&tags(&at_hub)).cloned().collect();
        if !missing.is_empty() || at_hub.len() != expected.len() {
            return Err(format!("the hub lacks {missing:?} and has {} of {}", at_hub.len(), expected.len()));
        }
        for agent in agents {
            for document in api::documents(agent)? {
                if !at_hub.contains(&document) {
                    return Err(format!("{}: {document:?} is not the hub's", agent.base()));
                }
            }
        }
        Ok(())
    });
    let open = api::quarantined(hub).expect("the hub answers");
    assert_eq!(open, Vec::<Value>::new(), "legal acts leave quarantine empty");
}

/// Waits until every agent shows every document the hub has.
fn rehydrated(hub: &Http, agents: &[Http]) {
    eventually(SETTLE, "the hub's documents to come down", || {
        let at_hub = tags(&api::documents(hub)?);
        for agent in agents {
            let missing: Vec<_> = at_hub.difference(&tags(&api::documents(agent)?)).cloned().collect();
            if !missing.is_empty() {
                return Err(format!("{} lacks {missing:?}", agent.base()));
            }
        }
        Ok(())
    });
}

fn numbers_are_unique(hub: &Http) {
    let documents = api::documents(hub).expect("the hub answers");
    let numbers: BTreeSet<&str> = documents.iter().filter_map(|document| document.fields["number"].as_str()).collect();
    assert_eq!(numbers.len(), documents.len(), "every document has a number of its own");
}

fn stored(agent: &Process) {
    eventually(SETTLE, "the hub to acknowledge", || match clerk::unsent(&agent.http()) {
        Some(0) => Ok(()),
        other => Err(format!("{other:?} unsent")),
    });
}

struct Rig {
    folder: tempfile::TempDir,
    hub: Process,
}

impl Rig {
    fn start() -> Rig {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let hub = process::hub(folder.path(), "embedded");
        Rig { folder, hub }
    }

    fn agent(&self) -> Process {
        process::agent(self.folder.path(), SITE, &self.hub.address("mqtt"), &QUICK)
    }

    /// An agent on another folder of data.
    fn agent_on(&self, data: &str) -> Process {
        let folder = self.folder.path().join(data);
        process::agent(&folder, SITE, &self.hub.address("mqtt"), &QUICK)
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join(SITE)
    }
}

/// Proves R-MEET-1, R-MEET-2, R-FORK-2, R-FORK-5, R-COPY-1.
#[test]
fn yesterdays_disk_goes_on_in_a_new_stream_and_gets_back_what_it_forgot() {
    let rig = Rig::start();
    let mut agent = rig.agent();
    let before = work("before", &agent, 5);
    stored(&agent);
    agent.kill9();
    copy_folder(&rig.data(), &rig.folder.path().join("yesterday"));
    agent.restart();
    let forgotten = work("forgotten", &agent, 5);
    stored(&agent);
    agent.kill9();
    copy_folder(&rig.folder.path().join("yesterday"), &rig.data());
    agent.restart();
    let after = work("after", &agent, 5);
    agree(&rig.hub.http(), &[agent.http()], &[before, forgotten, after]);
    rehydrated(&rig.hub.http(), &[agent.http()]);
    numbers_are_unique(&rig.hub.http());
    let streams = api::streams(&rig.hub.http()).expect("the hub answers");
    assert_eq!(streams.len(), 2, "both branches are kept: {streams:?}");
}

/// Proves R-FORK-1, R-FORK-2, R-BATCH-7.
#[test]
fn a_copied_disk_and_its_original_both_keep_what_they_capture() {
    let rig = Rig::start();
    let mut original = rig.agent();
    let shared = work("shared", &original, 4);
    stored(&original);
    original.kill9();
    copy_folder(&rig.data(), &rig.folder.path().join("clone").join(SITE));
    original.restart();
    let clone = rig.agent_on("clone");
    let ours = work("original", &original, 6);
    let theirs = work("clone", &clone, 6);
    agree(&rig.hub.http(), &[], &[shared, ours, theirs]);
    numbers_are_unique(&rig.hub.http());
    let streams = api::streams(&rig.hub.http()).expect("the hub answers");
    assert!(streams.len() >= 2, "both branches are kept: {streams:?}");
}

/// Proves R-ENTRY-2, I8.
#[test]
fn of_two_acts_on_one_document_by_two_copies_the_hub_takes_one_and_shows_the_other() {
    let rig = Rig::start();
    let mut original = rig.agent();
    let opening = json!({
        "kind": "repair_order", "act": "check_in", "author": "李娜",
        "set": {"category": "Laptop", "symptom": "twice", "pre_inspection": "ok", "checked_in_at": "2026-11-20 08:30"},
    });
    let opened = original.http().try_post("/api/v1/documents", &opening).expect("it is confirmed");
    let id = opened.body["id"].as_str().expect("a captured document has an id").to_owned();
    stored(&original);
    original.kill9();
    copy_folder(&rig.data(), &rig.folder.path().join("clone").join(SITE));
    // each alone, without a hub to tell it of the other
    let mut hub = rig.hub;
    hub.kill9();
    let estimate = |agent: &Process, promised: &str| {
        let act = json!({"author": "李娜", "set": {"promised_at": promised}});
        let path = format!("/api/v1/documents/{id}/acts/estimate");
        assert_eq!(agent.http().try_post(&path, &act).expect("it is confirmed").status, 200);
    };
    original.restart();
    estimate(&original, "2026-11-20 18:00");
    original.kill9();
    let clone_folder = rig.folder.path().join("clone");
    let clone = process::agent(&clone_folder, SITE, &format!("127.0.0.1:{}", process::free_port()), &QUICK);
    estimate(&clone, "2026-11-21 18:00");
    drop(clone);
    hub.restart();
    original.restart();
    stored(&original);
    original.kill9();
    let clone = process::agent(&clone_folder, SITE, &hub.address("mqtt"), &QUICK);
    stored(&clone);
    eventually(SETTLE, "the second act in quarantine", || match api::quarantined(&hub.http())?.as_slice() {
        [case] if case["code"] == "superseded" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let document = hub.http().try_get(&format!("/api/v1/documents/{id}")).expect("the hub answers").body;
    assert_eq!(document["fields"]["promised_at"], "2026-11-20T18:00:00+08:00", "the first one stands: {document}");
}

/// Proves R-MEET-3, R-BEAT-1, R-OLDER-1.
#[test]
fn a_hub_put_back_whole_is_refilled_although_nothing_told_it() {
    let mut rig = Rig::start();
    let agent = rig.agent();
    let before = work("before", &agent, 5);
    stored(&agent);
    assert!(rig.hub.terminate().is_some());
    let data = rig.folder.path().join("hub");
    copy_folder(&data, &rig.folder.path().join("older"));
    rig.hub.restart();
    let after = work("after", &agent, 5);
    stored(&agent);
    rig.hub.kill9();
    copy_folder(&rig.folder.path().join("older"), &data);
    rig.hub.restart();
    agree(&rig.hub.http(), &[agent.http()], &[before, after]);
}

/// Proves R-PRUNE-1, R-LOST-1, R-LOST-3, R-OLDER-4.
#[test]
fn what_was_deleted_before_the_hub_lost_it_is_named() {
    let mut rig = Rig::start();
    assert!(rig.hub.terminate().is_some());
    rig.hub.set_argument("--retention-days", "0");
    rig.hub.restart();
    let agent = rig.agent();
    let before = work("before", &agent, 3);
    stored(&agent);
    assert!(rig.hub.terminate().is_some());
    let data = rig.folder.path().join("hub");
    copy_folder(&data, &rig.folder.path().join("older"));
    rig.hub.restart();
    let lost = work("lost", &agent, 3);
    eventually(SETTLE, "the agent to delete what may be", || {
        let status = clerk::status(&agent.http())?;
        if status["pruned_seq"].as_u64() >= Some(12) { Ok(()) } else { Err(status.to_string()) }
    });
    rig.hub.kill9();
    copy_folder(&rig.folder.path().join("older"), &data);
    rig.hub.restart();
    let after = work("after", &agent, 3);
    let hub = rig.hub.http();
    eventually(SETTLE, "the lost range to be named", || {
        let lost: Vec<Value> = api::streams(&hub)?
            .iter()
            .flat_map(|stream| stream["lost"].as_array().cloned().unwrap_or_default())
            .map(|lost| lost["named"].clone())
            .collect();
        match lost.as_slice() {
            [range] if range["first"] == 7 && range["last"] == 12 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let expected: BTreeSet<String> = before.iter().chain(&after).map(|document| document.tag.clone()).collect();
    eventually(SETTLE, "the hub to go on after it", || match tags(&api::documents(&hub)?) {
        held if held == expected => Ok(()),
        held => Err(format!("{held:?}")),
    });
    let note = json!({"author": "李娜", "set": {"note_text": "取机延后"}});
    let noted = agent.http().try_post(&format!("/api/v1/documents/{}/acts/note", lost[0].id), &note);
    assert_eq!(noted.expect("the agent answers").status, 200, "the agent holds the document");
    eventually(SETTLE, "what rests on a lost opening to be set aside, for its site to see", || {
        let open = api::quarantined(&hub)?;
        match open.as_slice() {
            [only] if only["site"] == SITE => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let told = process::run("waystation-hub", &["journals", "--data", data.to_str().expect("a plain path")]);
    let told = String::from_utf8(told.stdout).expect("words");
    assert!(told.contains("  lost 7..12: deleted at the agent and not here, named "), "{told}");
}
