//! The API through real HTTP on a temporary store.

use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::down::{Fate, Receipt, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{EntryId, StreamId};
use waystation_protocol::time::Timestamp;

use crate::{Config, Running, Settings};

struct Bench {
    runtime: Runtime,
    running: Option<Running>,
    base: String,
    client: ureq::Agent,
    folder: tempfile::TempDir,
}

fn config(folder: &std::path::Path, with_switch: bool) -> Config {
    let settings = Settings {
        data: Some(folder.to_owned()),
        site: vec!["3702".into()],
        http: Some("127.0.0.1:0".into()),
        ..Settings::default()
    };
    Config { network_switch: with_switch, ..Config::new(settings, [7; 32]).unwrap() }
}

impl Bench {
    fn start(with_switch: bool) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let running = runtime.block_on(crate::run(config(folder.path(), with_switch))).unwrap();
        // a server that did not read a body closes the connection after its answer, and this client would use it once more
        let settings = ureq::Agent::config_builder().max_idle_connections(0);
        let settings = settings.http_status_as_error(false).proxy(None).max_redirects(0).build();
        let base = format!("http://{}", running.http);
        Bench { runtime, running: Some(running), base, client: settings.into(), folder }
    }

    fn get(&self, path: &str) -> (u16, Json) {
        answer(self.client.get(format!("{}{path}", self.base)).call().unwrap())
    }

    fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        answer(self.client.post(format!("{}{path}", self.base)).header("x-author", "李娜").send_json(body).unwrap())
    }

    fn page(&self, path: &str, language: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.base)).header("accept-language", language);
        let mut response = request.call().unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        response.body_mut().read_to_string().unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> (u16, Json) {
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Json::String(text)))
}

fn check_in() -> Json {
    json!({ "kind": "repair_order", "set": {
        "vin": "1M8GDM9AXKP042788", "odometer": 12_000, "symptom": "漏油", "pre_inspection": "外观良好",
        "slot": "2026-11-20 08:00", "checked_in_at": "2026-11-20 08:30" } })
}

#[test]
fn a_document_is_opened_acted_on_listed_and_shown() {
    let bench = Bench::start(false);
    let (status, opened) = bench.post("/api/v1/documents", &check_in());
    assert_eq!(
        (status, opened["state"].as_str(), opened["site"].as_str()),
        (201, Some("checked_in"), Some("3702")),
        "{opened}"
    );
    assert!(opened["number"].as_str().unwrap().starts_with("RO-3702A-"), "{opened}");
    let id = opened["id"].as_str().unwrap();
    let estimate = json!({ "by": "王芳", "set": {
        "promised_at": "2026-11-21", "part#1.part": "火花塞", "part#1.quantity": "2 件", "part#1.price": "45.00",
        "part#1.coverage": "自费" } });
    let (status, estimated) = bench.post(&format!("/api/v1/documents/{id}/acts/estimate"), &estimate);
    assert_eq!((status, estimated["state"].as_str()), (200, Some("estimated")), "{estimated}");

    let (_, shown) = bench.get(&format!("/api/v1/documents/{id}"));
    assert_eq!(shown["fields"]["part#1.price"], json!({ "amount": "45.00", "currency": "CNY" }));
    assert_eq!(shown["fields"]["promised_at"], "2026-11-21T23:59:59.999+08:00");
    assert_eq!((shown["whereabouts"].as_str(), shown["digest"].clone()), (Some("here"), estimated["digest"].clone()));
    let authors: Vec<&str> = shown["history"].as_array().unwrap().iter().filter_map(|e| e["author"].as_str()).collect();
    assert_eq!(authors, ["李娜", "王芳"]);
    assert_eq!(shown["actions"], json!(["estimate", "confirm", "decline", "void", "note"]));

    let (_, listed) = bench.get("/api/v1/documents?kind=repair_order&state=estimated");
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(bench.get("/api/v1/documents?state=booked").1["items"], json!([]));
    assert_eq!(bench.get("/api/v1/lookup?q=042788").1["items"][0]["id"], id);
    let (_, status) = bench.get("/api/v1/status");
    assert_eq!((status["unsent"].as_u64(), status["connected"].as_bool()), (Some(2), Some(false)));
    assert_eq!(status["sites"], json!(["3702"]));
}

#[test]
fn errors_say_everything_at_once() {
    let bench = Bench::start(false);
    let (status, fault) =
        bench.post("/api/v1/documents", &json!({ "kind": "repair_order", "set": { "odometer": "far", "x": 1 } }));
    assert_eq!((status, fault["problems"].as_array().unwrap().len()), (422, 2), "{fault}");
    let (status, fault) = bench.post("/api/v1/documents", &json!({ "kind": "repair_order" }));
    assert_eq!(status, 422);
    assert!(
        fault["problems"].as_array().unwrap().iter().any(|p| p["field"] == "symptom" && p["zh"] == "故障现象必填"),
        "{fault}"
    );
    assert_eq!(bench.post("/api/v1/documents", &json!({ "kind": "moon" })).0, 422);
    assert_eq!(bench.post("/api/v1/documents", &json!({ "kid": "moon" })).0, 400);
    assert_eq!(bench.get("/api/v1/documents/00000000-0000-8000-8000-000000000000").0, 404);
    assert_eq!(bench.get("/api/v1/documents/none").0, 404);
    assert_eq!(bench.get("/api/v1/documents?cursor=x").0, 400);
    assert_eq!(bench.get("/nowhere").0, 404);
    let large = json!({ "kind": "survey", "set": { "comment": "x".repeat(1 << 20) } });
    assert_eq!(bench.post("/api/v1/documents", &large).0, 413);
}

#[test]
fn drafts_wait_beside_the_journal() {
    let bench = Bench::start(false);
    let survey = json!({ "kind": "survey", "set": { "form": "访后" } });
    let (status, draft) = bench.post("/api/v1/documents?draft=1", &survey);
    assert_eq!(status, 201);
    assert_eq!(bench.get("/api/v1/drafts").1["items"][0]["set"], json!({ "form": "访后" }));
    assert_eq!(bench.get("/api/v1/status").1["head_seq"], 0);
    let mut opening = survey.clone();
    opening["draft"] = draft["draft"].clone();
    let (status, opened) = bench.post("/api/v1/documents", &opening);
    assert_eq!(status, 201, "{opened}");
    assert_eq!(bench.get("/api/v1/drafts").1["items"], json!([]));

    let path = format!("{}/api/v1/documents/{}", bench.base, opened["id"].as_str().unwrap());
    for set in [json!({ "comment": "好" }), json!({ "score": 92 })] {
        assert_eq!(answer(bench.client.patch(&path).send_json(json!({ "set": set })).unwrap()).0, 200);
    }
    let drafts = bench.get("/api/v1/drafts").1;
    assert_eq!(drafts["items"].as_array().unwrap().len(), 1);
    assert_eq!(drafts["items"][0]["set"], json!({ "comment": "好", "score": 92 }));
}

#[test]
fn rows_are_imported_once() {
    let bench = Bench::start(false);
    let row = |key: &str, site: &str| {
        json!({ "kind": "survey", "site": site, "state": "answered", "set": { "score": 7 }, "source": "s", "key": key,
            "occurrence": 1, "author": "import" })
    };
    let rows = json!({ "rows": [row("1", "3702"), row("1", "3702"), row("2", "other")] });
    let rehearsed = bench.post("/api/v1/imports/rehearsal", &rows).1;
    assert!(rehearsed["outcomes"][0]["captured"].is_string(), "nothing is captured: {rehearsed}");
    let (status, answer) = bench.post("/api/v1/imports", &rows);
    assert_eq!(status, 200, "{answer}");
    let outcomes = answer["outcomes"].as_array().unwrap();
    assert!(
        outcomes[0]["captured"].is_string() && outcomes[1] == "duplicate" && outcomes[2]["refused"].is_array(),
        "{answer}"
    );
    let rehearsed = bench.post("/api/v1/imports/rehearsal", &rows).1;
    assert_eq!(rehearsed["outcomes"][0], "duplicate", "{rehearsed}");
}

#[test]
fn the_page_speaks_both_languages_and_pulls_the_plug() {
    let bench = Bench::start(true);
    bench.post("/api/v1/documents", &check_in());
    let chinese = bench.page("/", "zh-CN");
    assert!(
        chinese.contains("最近单据")
            && chinese.contains("维修工单")
            && chinese.contains("此机")
            && chinese.contains("断开网络")
    );
    let english = bench.page("/", "en");
    assert!(
        english.contains("Latest documents") && english.contains("Repair order") && english.contains("Cut the network")
    );
    assert!(!english.contains("style=") && !english.contains("onclick"), "nothing is inline");
    assert!(bench.page("/?lang=en", "zh-CN").contains("Latest documents"));
    let form = bench.client.post(format!("{}/network", bench.base)).send_form([("plugged", "false")]).unwrap();
    assert_eq!(form.status(), 303);
    assert!(!bench.running.as_ref().unwrap().network.is_plugged());
    assert_eq!(bench.post("/network", &json!({ "plugged": true })), (200, json!({ "plugged": true })));
    assert_eq!(Bench::start(false).post("/network", &json!({ "plugged": true })).0, 404);
}

#[test]
fn metrics_and_health_answer() {
    let bench = Bench::start(false);
    bench.post("/api/v1/documents", &check_in());
    let Json::String(metrics) = bench.get("/metrics").1 else { panic!("metrics are text") };
    for line in [
        "waystation_agent_head_seq 1.0",
        "waystation_agent_unsent_entries 1.0",
        "waystation_agent_captured_entries_total 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert_eq!(bench.get("/healthz").1["ok"], true);
}

#[test]
fn a_second_agent_on_the_folder_is_refused_and_names_it() {
    let bench = Bench::start(false);
    let refused = bench.runtime.block_on(crate::run(config(bench.folder.path(), false)));
    let message = format!("{:#}", anyhow::Error::new(refused.err().expect("the folder is held")));
    assert!(message.contains(&bench.folder.path().display().to_string()) && message.contains("stop it"), "{message}");
}

/// What the hub tells, as the link hands it to the store.
fn hear(bench: &Bench, entries: &[Entry]) {
    let store = &bench.running.as_ref().unwrap().store;
    let mut mark = store.down().map_or(Mark::ZERO, |down| down.head);
    let rows = entries.iter().map(|entry| {
        mark = mark.extend(&entry.to_bytes());
        (mark, entry.to_bytes())
    });
    store.hear(StreamId::from_bytes([40; 16]), rows.collect()).unwrap();
}

#[test]
fn what_the_hub_did_to_a_document_is_told_and_stands_in_the_way_of_more() {
    let bench = Bench::start(false);
    let survey = json!({ "kind": "survey", "set": { "form": "访后", "score": 90 } });
    let (_, opened) = bench.post("/api/v1/documents", &survey);
    let id = opened["id"].as_str().unwrap().to_owned();
    let (stamp, stream) = (stamp(1), bench.running.as_ref().unwrap().store.identity().stream);
    let receipt = Receipt {
        entry: Some(opened["entry"].as_str().unwrap().parse().unwrap()),
        document: Some(id.parse().unwrap()),
        stream,
        seq: Seq(1),
        fate: Fate::Quarantined,
        code: "wrong_site".into(),
        zh: "不代表该网点".into(),
        en: "no such site".into(),
        amended: None,
        resolved: None,
    };
    hear(&bench, &[receipt.entry(stamp)]);
    let (status, shown) = bench.get(&format!("/api/v1/documents/{id}"));
    assert_eq!((status, shown["state"].clone(), shown["whereabouts"].clone()), (200, Json::Null, json!("aside")));
    assert_eq!(
        (shown["aside"][0]["standing"].clone(), shown["history"][0]["act"].clone()),
        (json!("quarantined"), json!("answer"))
    );
    assert_eq!(bench.get("/api/v1/documents").1["items"], json!([]));
    assert_eq!(bench.get("/api/v1/aside").1["items"][0]["id"], json!(id));
    assert_eq!(bench.get("/api/v1/status").1["set_aside"], 1);
    assert!(bench.page("/", "zh").contains("不代表该网点") && bench.page("/", "en").contains("no such site"));
    let (status, fault) =
        bench.post(&format!("/api/v1/documents/{id}/acts/void"), &json!({ "set": { "void_reason": "错" } }));
    assert_eq!(
        (status, fault["problems"][0]["en"].as_str().map(|en| en.contains("no such site"))),
        (422, Some(true)),
        "{fault}"
    );
}

/// An entry of the hub's on a notice.
fn announced(id: u8, act: &str, after: Option<EntryId>, set: &[(&str, &str)]) -> Entry {
    let stamp = stamp(id);
    Entry {
        id: stamp.id,
        document: after.map(EntryId::opens),
        after,
        kind: "notice".into(),
        form: 1,
        act: act.into(),
        set: set.iter().map(|(key, text)| ((*key).to_owned(), (*text).into())).collect(),
        author: "中心".into(),
        cause: None,
        occurred_at: stamp.now,
        mono_ms: 0,
        boot: 0,
        clock: 0,
    }
}

#[test]
fn notices_are_shown_until_they_are_withdrawn_and_read_once() {
    let bench = Bench::start(false);
    let published = |id, title| {
        let set = [("site", "hub"), ("title", title), ("body", "周日检修"), ("audience", "*")];
        announced(id, "publish", None, &set)
    };
    let (first, old) = (published(1, "停电"), published(2, "旧闻"));
    let withdrawn = announced(3, "withdraw", Some(old.id), &[("withdrawal", "过时")]);
    hear(&bench, &[first.clone(), old, withdrawn]);
    let path = format!("/notices/{}/read", first.id.opens());
    let page = bench.page("/", "zh");
    assert!(page.contains(&path) && page.contains("停电"), "{page}");
    assert_eq!(bench.get("/api/v1/status").1["unread_notices"], 1);
    assert_eq!(bench.post(&path, &json!({})).0, 303);
    assert_eq!(bench.post(&path, &json!({})).0, 303);
    assert_eq!(bench.post("/notices/x/read", &json!({})).0, 404);
    assert!(!bench.page("/", "zh").contains(&path), "it is read");
    let status = bench.get("/api/v1/status").1;
    assert_eq!((status["head_seq"].clone(), status["unread_notices"].clone()), (json!(1), json!(0)), "once");
    let shown = bench.get(&format!("/api/v1/documents/{}", first.id.opens())).1;
    assert_eq!((&shown["history"][1]["act"], &shown["history"][1]["author"]), (&json!("note"), &json!("李娜")));
}

#[test]
fn a_draft_refuses_a_document_that_changed_underneath() {
    let bench = Bench::start(false);
    let (_, opened) = bench.post("/api/v1/documents", &check_in());
    let id = opened["id"].as_str().unwrap();
    let void = json!({ "set": { "void_reason": "错" } });
    let request = bench.client.patch(format!("{}/api/v1/documents/{id}", bench.base));
    let (_, draft) = answer(request.send_json(&void).unwrap());
    let estimate = json!({ "set": { "promised_at": "2026-11-21", "part#1.part": "火花塞", "part#1.quantity": "2 件",
        "part#1.price": "45.00", "part#1.coverage": "自费" } });
    let (_, estimated) = bench.post(&format!("/api/v1/documents/{id}/acts/estimate"), &estimate);
    let mut late = void.clone();
    late["draft"] = draft["draft"].clone();
    let path = format!("/api/v1/documents/{id}/acts/void");
    assert_eq!(bench.post(&path, &late).0, 409);
    let mut seen = void;
    seen["seen"] = opened["entry"].clone();
    assert_eq!(bench.post(&path, &seen).0, 409);
    seen["seen"] = estimated["entry"].clone();
    assert_eq!(bench.post(&path, &seen).0, 200);
}

fn stamp(id: u8) -> Stamp {
    Stamp { id: EntryId::from_bytes([id; 16]), now: Timestamp(1_790_000_000_000) }
}
