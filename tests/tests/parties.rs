//! Two outlets and a hub on one document, each away in turn: a part lent by another station, a claim returned and
//! submitted again, a compensation charged on, a settlement, a pen taken from an outlet that is away.

use std::time::Duration;

use serde_json::{Value, json};
use waystation_tests::api;
use waystation_tests::http::{Answer, Http};
use waystation_tests::process::{self, Process};
use waystation_tests::wait::eventually;

const EAST: &str = "3701";
const WEST: &str = "3702";
const SETTLE: Duration = Duration::from_secs(60);

struct Network {
    _folder: tempfile::TempDir,
    hub: Process,
    east: Process,
    west: Process,
}

impl Network {
    /// A hub that knows both outlets.
    fn start() -> Network {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let hub = process::hub(folder.path(), "embedded");
        let broker = hub.address("mqtt");
        let [east, west] =
            [EAST, WEST].map(|site| process::agent(folder.path(), site, &broker, &["--reconnect-max-s", "1"]));
        let network = Network { _folder: folder, hub, east, west };
        eventually(SETTLE, "the hub to know both outlets", || {
            let agents = network.hub.http().try_get("/api/v1/agents")?.body;
            if agents.as_array().is_some_and(|agents| agents.len() == 2) { Ok(()) } else { Err(agents.to_string()) }
        });
        network
    }

    /// Nothing was set aside, and a document is the same wherever it is known.
    fn agree(&self, id: &str, ends: &[&Process]) {
        eventually(SETTLE, "all to show the same", || {
            let digest = |process: &Process| -> Result<Value, String> {
                Ok(process.http().try_get(&format!("/api/v1/documents/{id}"))?.body["digest"].clone())
            };
            let at_hub = digest(&self.hub)?;
            for end in ends {
                let found = digest(end)?;
                if found != at_hub || found.is_null() {
                    return Err(format!("{found} at {}, {at_hub} at the hub", end.http().base()));
                }
            }
            Ok(())
        });
        assert_eq!(api::quarantined(&self.hub.http()).expect("the hub answers"), Vec::<Value>::new());
    }
}

fn open(http: &Http, kind: &str, act: &str, set: Value) -> String {
    opened(http, json!({"kind": kind, "act": act, "author": "王芳", "set": set}))["id"]
        .as_str()
        .expect("a document has an id")
        .to_owned()
}

fn opened(http: &Http, body: Value) -> Value {
    let answer = http.try_post("/api/v1/documents", &body).expect("it answers");
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

fn try_act(http: &Http, id: &str, act: &str, author: &str, set: Value) -> Answer {
    let body = json!({"author": author, "set": set});
    http.try_post(&format!("/api/v1/documents/{id}/acts/{act}"), &body).expect("it answers")
}

/// People at an outlet act.
fn outlet(process: &Process, id: &str, act: &str, set: Value) {
    let answer = try_act(&process.http(), id, act, "王芳", set);
    assert_eq!(answer.status, 200, "{act}: {}", answer.body);
}

/// People at the hub act.
fn hub(process: &Process, id: &str, act: &str, set: Value) -> Value {
    let answer = try_act(&process.http(), id, act, "赵敏", set);
    assert_eq!(answer.status, 200, "{act}: {}", answer.body);
    answer.body
}

fn refused(process: &Process, id: &str, act: &str) -> String {
    let answer = try_act(&process.http(), id, act, "王芳", json!({}));
    assert_eq!(answer.status, 422, "{act}: {}", answer.body);
    answer.body.to_string()
}

fn await_state(process: &Process, id: &str, state: &str) {
    let http = process.http();
    eventually(SETTLE, &format!("state {state} at {}", http.base()), || {
        let document = http.try_get(&format!("/api/v1/documents/{id}"))?.body;
        if document["state"] == state { Ok(()) } else { Err(document.to_string()) }
    });
}

fn movements(process: &Process) -> Vec<Value> {
    let page = process.http().get("/api/v1/documents?kind=stock_movement&limit=500");
    let items = page["items"].as_array().expect("a list").iter();
    items.map(|item| json!([item["site"], item["fields"]["quantity"]["quantity"]])).collect()
}

/// Proves R-DOWN-1, R-PEN-1.
#[test]
fn a_part_is_lent_by_another_station_with_each_party_away_in_turn() {
    let mut network = Network::start();
    network.hub.kill9();
    let asked = json!({"part": "水泵", "quantity": "2 件", "need_by": "2099-01-01 08:00"});
    let id = open(&network.east.http(), "part_transfer", "request", asked);
    network.hub.restart();
    await_state(&network.hub, &id, "requested");
    network.west.kill9();
    hub(&network.hub, &id, "assign", json!({"source": WEST, "mode": "station", "approved": [2_000, "件"]}));
    await_state(&network.east, &id, "assigned");
    assert!(refused(&network.east, &id, "accept").contains("网点 3702"), "the outlet says who has it");
    assert!(refused(&network.hub, &id, "close").contains("site 3702"), "so does the hub");
    network.east.kill9();
    network.west.restart();
    await_state(&network.west, &id, "assigned");
    network.hub.kill9();
    outlet(&network.west, &id, "accept", json!({}));
    outlet(&network.west, &id, "ship", json!({"shipped": "2 件", "waybill": "SF100"}));
    network.hub.restart();
    await_state(&network.hub, &id, "shipped");
    network.east.restart();
    await_state(&network.east, &id, "shipped");
    network.hub.kill9();
    outlet(&network.east, &id, "receive_short", json!({"received": "1 件"}));
    outlet(&network.west, &id, "note", json!({"note_text": "发出时为两件"}));
    network.hub.restart();
    await_state(&network.hub, &id, "short");
    hub(&network.hub, &id, "conclude", json!({"conclusion": "运输丢失，由承运方赔付"}));
    await_state(&network.east, &id, "closed");
    await_state(&network.west, &id, "closed");
    network.agree(&id, &[&network.east, &network.west]);
    assert_eq!(movements(&network.east), [json!([EAST, "1"])], "each keeps its own stock");
    assert_eq!(movements(&network.west), [json!([WEST, "-2"])]);
}

fn claim(process: &Process, variant: &str) -> String {
    let order =
        json!({"category": "车", "checked_in_at": "2026-01-05 08:00", "pre_inspection": "外观完好", "symptom": "异响"});
    let order = open(&process.http(), "repair_order", "check_in", order);
    let set = json!({
        "variant": variant, "repair_order": order, "vin": "1M8GDM9AXKP042788", "model": "M1", "sale_date": "2025-10-01",
        "odometer": 9000, "customer": "张伟", "failed_at": "2026-01-04 10:00", "symptom": "异响", "causal_part": "P1",
        "fault": "F01", "severity": "major", "supplier": "甲厂", "part#1.part": "P1", "part#1.quantity": "1.5 件",
        "part#1.price": "10.01 CNY", "part#1.source": "stock", "part#1.coverage": "warranty",
    });
    let id = open(&process.http(), "claim", "draft", set);
    outlet(process, &id, "submit", json!({}));
    id
}

/// Proves R-DOWN-1, R-PEN-1.
#[test]
fn a_claim_comes_back_with_a_remark_on_one_field_and_is_approved_and_settled() {
    let mut network = Network::start();
    let id = claim(&network.east, "ordinary");
    await_state(&network.hub, &id, "submitted");
    network.east.kill9();
    hub(&network.hub, &id, "review", json!({}));
    let remark = json!({"remark#1.field": "odometer", "remark#1.code": "wrong", "remark#1.comment": "里程与照片不符"});
    hub(&network.hub, &id, "return", remark);
    network.east.restart();
    await_state(&network.east, &id, "returned");
    let shown = network.east.http().get(&format!("/api/v1/documents/{id}"));
    assert_eq!(shown["fields"]["remark#1.comment"], "里程与照片不符", "the reason stands in the outlet's own document");
    network.hub.kill9();
    let tag = json!({"claim": id, "part": "P1", "tag_no": "T1", "removed_at": "2026-01-05 09:00"});
    let part = open(&network.east.http(), "old_part", "tag", tag);
    outlet(&network.east, &id, "edit", json!({"odometer": 8900, "part#1.old_part": part}));
    let early = try_act(&network.east.http(), &part, "box", "王芳", json!({"box_no": "B1"}));
    assert_eq!(early.status, 422, "nobody has said what becomes of it: {}", early.body);
    outlet(&network.east, &id, "resubmit", json!({}));
    network.hub.restart();
    await_state(&network.hub, &id, "submitted");
    hub(&network.hub, &id, "review", json!({}));
    hub(&network.hub, &id, "approve", json!({"part#1.granted": [1_502, "CNY"], "part#1.disposition": "maker"}));
    await_state(&network.east, &id, "approved");
    network.agree(&id, &[&network.east]);
    network.agree(&part, &[&network.east]);
    outlet(&network.east, &part, "box", json!({"box_no": "B1"}));
    let settlement = json!({"kind": "settlement", "act": "generate", "site": EAST, "author": "赵敏",
                            "set": {"period": "2026-11", "until": "2079-07-07"}});
    let settlement = opened(&network.hub.http(), settlement);
    let number = settlement["number"].as_str().unwrap_or_default();
    assert!(number.starts_with("ST-3701H-"), "the hub's own number: {settlement}");
    assert_eq!(settlement["fields"]["total"]["amount"], "15.02", "{settlement}");
    let id = settlement["id"].as_str().expect("an id");
    hub(&network.hub, id, "issue", json!({}));
    await_state(&network.east, id, "issued");
    outlet(&network.east, id, "confirm", json!({"invoice_no": "FP-1"}));
    await_state(&network.hub, id, "confirmed");
    network.agree(id, &[&network.east]);
    let claims = network.hub.http().get("/api/v1/reports/claims");
    let row = &claims["rows"][0];
    assert_eq!(
        (&row["submitted"], &row["returned"], &row["granted"]),
        (&json!(1), &json!(1), &json!(15.02)),
        "{claims}"
    );
    assert!(row["review_p50_h"].is_number() && row["sync_lag_p50_s"].is_number(), "{claims}");
}

#[test]
fn a_compensation_opens_a_recovery_at_the_hub_and_what_is_claimed_twice_is_flagged() {
    let network = Network::start();
    let id = claim(&network.east, "compensation");
    await_state(&network.hub, &id, "submitted");
    hub(&network.hub, &id, "review", json!({}));
    let granted = json!({"part#1.granted": [1_502, "CNY"], "responsible": "supplier", "basis": "材质缺陷",
                         "appraised_by": "检测中心"});
    hub(&network.hub, &id, "approve", granted);
    await_state(&network.east, &id, "approved");
    let recoveries = network.hub.http().get("/api/v1/documents?kind=recovery");
    let recovery = &recoveries["items"][0];
    assert_eq!(
        (&recovery["state"], &recovery["pen"], &recovery["site"]),
        (&json!("judged"), &json!("hub"), &json!("hub"))
    );
    assert_eq!(recovery["fields"]["claimed"]["amount"], "15.02", "{recovery}");
    let told = network.east.http().get("/api/v1/documents?kind=recovery");
    assert_eq!(told["items"], json!([]), "it stays at the hub");
    let twice = claim(&network.west, "ordinary");
    await_state(&network.hub, &twice, "submitted");
    let shown = network.hub.http().get(&format!("/api/v1/documents/{twice}"));
    let flags = shown["flags"].as_array().expect("flags");
    let same_day = flags.iter().find(|flag| flag["rule"] == "claim_same_day").expect("claimed twice");
    assert_eq!(same_day["documents"], json!([id]), "{shown}");
    for (lang, words) in [("zh-CN", "同车、同件、同日已申报"), ("en", "the same part of the same vehicle is claimed")]
    {
        let page =
            network.hub.http().try_get(&format!("/documents/{twice}?lang={lang}")).expect("the hub answers").body;
        let link = format!("/documents/{id}");
        assert!(page.as_str().is_some_and(|page| page.contains(words) && page.contains(&link)), "{page}");
    }
    for form in ["claims.csv", "claims.xlsx", "settlement.xlsx"] {
        let answer = network.hub.http().try_get(&format!("/api/v1/reports/{form}")).map(|answer| answer.status);
        // a workbook is no text, which the client says
        assert!(answer.is_err() || answer == Ok(200), "{form}: {answer:?}");
    }
    let basis = network.hub.http().get("/api/v1/reports/claims/documents?figure=review_p50_h");
    assert_eq!(basis["items"].as_array().map(Vec::len), Some(1), "the one that was decided: {basis}");
    let listed = network.hub.http().get("/api/v1/documents?kind=claim&flagged=true");
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "both are flagged: {listed}");
    assert_eq!(api::quarantined(&network.hub.http()).expect("the hub answers"), Vec::<Value>::new());
}

/// Proves R-DOWN-2, R-PEN-2.
#[test]
fn the_pen_of_an_outlet_that_is_away_is_taken_and_what_it_did_meanwhile_is_kept_aside() {
    let mut network = Network::start();
    let id = open(&network.east.http(), "count_sheet", "open", json!({"zone": "A1", "counter": "王芳"}));
    await_state(&network.hub, &id, "open");
    let without = try_act(&network.hub.http(), &id, "reclaim", "赵敏", json!({}));
    assert_eq!(without.status, 422, "a reason is wanted: {}", without.body);
    network.hub.kill9();
    let line = json!({"item#1.item": "轮胎", "item#1.location": "A1-01", "item#1.counted": "3 件"});
    outlet(&network.east, &id, "count", line);
    network.east.kill9();
    network.hub.restart();
    let taken = hub(&network.hub, &id, "reclaim", json!({"reclaim_reason": "设备送修"}));
    assert_eq!(taken["pen"], "hub");
    network.east.restart();
    let http = network.east.http();
    eventually(SETTLE, "the outlet to see its late count set aside", || {
        let shown = http.try_get(&format!("/api/v1/documents/{id}"))?.body;
        let is_aside = shown["aside"][0]["act"] == "count" && shown["pen"] == "hub";
        let is_out = shown["fields"]["item#1.counted"].is_null();
        if is_aside && is_out { Ok(()) } else { Err(shown.to_string()) }
    });
    let mut cases = Vec::new();
    eventually(SETTLE, "the hub to keep it in quarantine", || {
        cases = api::quarantined(&network.hub.http())?;
        if cases.len() == 1 { Ok(()) } else { Err(format!("{cases:?}")) }
    });
    assert_eq!(cases[0]["code"], "superseded", "{}", cases[0]);
    let case = cases[0]["id"].as_str().expect("a case has an id");
    let waived = json!({"by": "赵敏", "why": "改由西站重盘"});
    let answer = network.hub.http().try_post(&format!("/api/v1/quarantine/{case}/waive"), &waived).expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let nowhere = try_act(&network.hub.http(), &id, "hand_over", "赵敏", json!({"pen_site": "9999"}));
    assert!(nowhere.status == 422 && nowhere.body.to_string().contains("there is no site '9999'"), "{}", nowhere.body);
    hub(&network.hub, &id, "hand_over", json!({"pen_site": WEST}));
    await_state(&network.west, &id, "open");
    let line = json!({"item#1.item": "轮胎", "item#1.location": "A1-01", "item#1.counted": "4 件"});
    outlet(&network.west, &id, "count", line);
    outlet(&network.west, &id, "lock", json!({}));
    await_state(&network.hub, &id, "locked");
    await_state(&network.east, &id, "locked");
    network.agree(&id, &[&network.east, &network.west]);
}
