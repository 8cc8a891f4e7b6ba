//! Decisions come down: the hub acts on a count sheet, and its act lands in the outlet's own document, with either side
//! away at any time. A hub that came back older learns from its outlets what it had decided, and decides nothing twice.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use waystation_tests::api;
use waystation_tests::clerk;
use waystation_tests::http::{Answer, Http};
use waystation_tests::process::{self, Process, copy_folder};
use waystation_tests::wait::eventually;

const SITE: &str = "3701";
const QUICK: [&str; 2] = ["--reconnect-max-s", "1"];
const SETTLE: Duration = Duration::from_secs(60);

struct Rig {
    folder: tempfile::TempDir,
    hub: Process,
    agent: Process,
}

impl Rig {
    fn start() -> Rig {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let hub = process::hub(folder.path(), "embedded");
        let agent = process::agent(folder.path(), SITE, &hub.address("mqtt"), &QUICK);
        Rig { folder, hub, agent }
    }

    fn hub_data(&self) -> std::path::PathBuf {
        self.folder.path().join("hub")
    }

    /// A sheet counted and locked at the outlet, and stored at the hub.
    fn locked_sheet(&self) -> String {
        let http = self.agent.http();
        let open =
            json!({"kind": "count_sheet", "act": "open", "author": "王芳", "set": {"zone": "A1", "counter": "王芳"}});
        let answer = http.try_post("/api/v1/documents", &open).expect("the agent answers");
        assert_eq!(answer.status, 201, "{}", answer.body);
        let id = answer.body["id"].as_str().expect("a captured document has an id").to_owned();
        self.count_and_lock(&id, "3 件");
        self.await_state(&self.hub.http(), &id, "locked");
        id
    }

    fn count_and_lock(&self, id: &str, counted: &str) {
        let line = json!({"item#1.item": "轮胎", "item#1.location": "A1-01", "item#1.counted": counted});
        accepted(&act(&self.agent.http(), id, "count", line));
        accepted(&act(&self.agent.http(), id, "lock", json!({})));
    }

    fn await_state(&self, http: &Http, id: &str, state: &str) {
        eventually(SETTLE, &format!("state {state} at {}", http.base()), || {
            let document = http.try_get(&format!("/api/v1/documents/{id}"))?;
            match document.body["state"].as_str() {
                Some(found) if found == state => Ok(()),
                _ => Err(document.body.to_string()),
            }
        });
    }

    /// Both ends show the same documents.
    fn agree(&self) {
        eventually(SETTLE, "agent and hub to show the same", || {
            let mut ends = [api::documents(&self.hub.http())?, api::documents(&self.agent.http())?];
            ends.iter_mut().for_each(|documents| documents.sort_by(|one, other| one.id.cmp(&other.id)));
            if ends[0] == ends[1] { Ok(()) } else { Err(format!("hub {:#?}\nagent {:#?}", ends[0], ends[1])) }
        });
        assert_eq!(api::quarantined(&self.hub.http()).expect("the hub answers"), Vec::<Value>::new());
    }
}

fn act(http: &Http, id: &str, act: &str, set: Value) -> Answer {
    let body = json!({"author": "赵敏", "set": set});
    http.try_post(&format!("/api/v1/documents/{id}/acts/{act}"), &body).expect("it answers")
}

fn accepted(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn put_back(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).expect("the hub is stopped");
    copy_folder(from, to);
}

/// Proves R-DOWN-1, R-DOWN-3, R-DOWN-4, I4.
#[test]
fn an_approval_lands_in_the_outlets_own_document_with_what_it_posts() {
    let rig = Rig::start();
    let id = rig.locked_sheet();
    accepted(&act(&rig.hub.http(), &id, "approve", json!({})));
    rig.await_state(&rig.agent.http(), &id, "approved");
    rig.agree();
}

#[test]
fn a_recount_gives_the_pen_back_while_either_side_is_away() {
    let mut rig = Rig::start();
    let id = rig.locked_sheet();
    let refused = act(&rig.agent.http(), &id, "approve", json!({}));
    assert_eq!(refused.status, 422, "the outlet does not decide: {}", refused.body);
    rig.agent.kill9();
    let recount = json!({"recounter": "李娜", "decision_reason": "差异过大"});
    accepted(&act(&rig.hub.http(), &id, "recount", recount));
    rig.hub.kill9();
    rig.hub.restart();
    rig.agent.restart();
    rig.await_state(&rig.agent.http(), &id, "recount");
    rig.hub.kill9();
    rig.count_and_lock(&id, "4 件");
    rig.hub.restart();
    rig.await_state(&rig.hub.http(), &id, "locked");
    accepted(&act(&rig.hub.http(), &id, "approve", json!({})));
    rig.agent.kill9();
    rig.agent.restart();
    rig.await_state(&rig.agent.http(), &id, "approved");
    rig.agree();
}

/// Proves R-OLDER-2, R-OLDER-3.
#[test]
fn a_hub_put_back_to_before_its_decision_learns_it_and_does_not_decide_again() {
    let mut rig = Rig::start();
    let id = rig.locked_sheet();
    assert!(rig.hub.terminate().is_some());
    let older = rig.folder.path().join("older");
    copy_folder(&rig.hub_data(), &older);
    rig.hub.restart();
    accepted(&act(&rig.hub.http(), &id, "reject", json!({"decision_reason": "未按流程"})));
    rig.await_state(&rig.agent.http(), &id, "rejected");
    rig.agent.kill9();
    assert!(rig.hub.terminate().is_some());
    // the epoch stays: the hub knows that it is older, and that it does not know what it said since
    let epoch = std::fs::read(rig.hub_data().join("hub.epoch")).expect("the hub keeps its epoch");
    put_back(&older, &rig.hub_data());
    std::fs::write(rig.hub_data().join("hub.epoch"), epoch).expect("the folder can be written");
    rig.hub.restart();
    let early = act(&rig.hub.http(), &id, "approve", json!({}));
    assert_eq!(early.status, 423, "read-only until its outlets have returned: {}", early.body);
    rig.agent.restart();
    rig.await_state(&rig.hub.http(), &id, "rejected");
    rig.agree();
    let history = api::history_length(&rig.hub.http(), &id).expect("the hub answers");
    assert_eq!(history, 4, "opened, counted, locked, rejected once");
}

/// Proves R-DOWN-5.
#[test]
fn a_command_is_carried_out_once_and_answers() {
    let rig = Rig::start();
    clerk::capture(&rig.agent.http(), "first").expect("it is confirmed");
    let hub = rig.hub.http();
    let mut agent = String::new();
    eventually(SETTLE, "the hub to know the agent", || {
        let agents = hub.try_get("/api/v1/agents")?.body;
        agent = agents[0]["agent"].as_str().ok_or_else(|| agents.to_string())?.to_owned();
        Ok(())
    });
    let path = format!("/api/v1/agents/{agent}/commands");
    let give = |name: &str, not_after: &str| {
        let body = json!({"by": "赵敏", "name": name, "args": "", "not_after": not_after});
        let answer = hub.try_post(&path, &body).expect("the hub answers");
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    give("report", "2099-01-01T00:00:00Z");
    give("sing", "2099-01-01T00:00:00Z");
    give("report", "2001-01-01T00:00:00Z");
    eventually(SETTLE, "every command's result", || {
        let rows = hub.try_get(&path)?.body;
        let outcomes: Vec<&str> =
            rows["items"].as_array().into_iter().flatten().filter_map(|row| row["outcome"].as_str()).collect();
        if outcomes == ["expired", "refused", "done"] { Ok(()) } else { Err(rows.to_string()) }
    });
}
