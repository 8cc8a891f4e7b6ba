//! Acts and commands, asked over a real socket.

use serde_json::json;
use waystation_protocol::id::AgentId;
use waystation_protocol::value::Value;

use super::tests::{Answer, Served, serve};

/// A hub with a locked count sheet, and the sheet's id.
async fn with_sheet() -> (Served, String) {
    let mut served = serve().await;
    let agent = &mut served.agent;
    let sheet = agent.act(None, "count_sheet", "open", &[("zone", "A".into()), ("counter", "李娜".into())]);
    let counted = Value::measured(4_000, "件");
    let line = [("item#1.item", "F-100".into()), ("item#1.location", "main".into()), ("item#1.counted", counted)];
    agent.act(Some(sheet), "count_sheet", "count", &line);
    agent.act(Some(sheet), "count_sheet", "lock", &[]);
    tokio::task::block_in_place(|| served.hub.take_all(&served.agent));
    (served, sheet.to_string())
}

impl Served {
    async fn ask(&self, path: &str, body: serde_json::Value) -> Answer {
        self.post(path, "application/json", &body.to_string(), "").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_answers_the_document_or_everything_that_is_wrong() {
    let (served, sheet) = with_sheet().await;
    let act = |act: &str| format!("/api/v1/documents/{sheet}/acts/{act}");
    let wrong = served.ask(&act("recount"), json!({ "author": "审核" })).await;
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    let problems = wrong.json()["problems"].clone();
    assert_eq!(
        (problems[0]["field"].as_str(), problems[0]["zh"].as_str()),
        (Some("decision_reason"), Some("处理意见必填"))
    );
    let stale = json!({ "author": "审核", "seen": sheet });
    assert_eq!(served.ask(&act("approve"), stale).await.status, 409);
    let head = served.get(&format!("/api/v1/documents/{sheet}")).await.json()["head"].clone();
    let done = served
        .ask(&act("recount"), json!({ "author": "审核", "set": { "decision_reason": "差异" }, "seen": head }))
        .await;
    assert_eq!(done.status, 200, "{}", done.body);
    let document = done.json();
    assert_eq!((document["state"].as_str(), document["pen"].as_str()), (Some("recount"), Some("site:城东")));
    assert_eq!(document["fields"]["item#1.expected"], json!(null), "hidden again");
    let shown = served.get(&format!("/api/v1/documents/{sheet}")).await.json();
    assert_eq!(shown["history"][3]["act"], "recount");
    assert_eq!(served.ask(&act("approve"), json!({ "author": "审核" })).await.status, 422, "the outlet has the pen");
    assert_eq!(served.ask("/api/v1/documents/x/acts/approve", json!({ "author": "审核" })).await.status, 404);
    assert_eq!(served.ask(&act("approve"), json!({ "set": {} })).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_taken_and_listed() {
    let (served, _) = with_sheet().await;
    let path = format!("/api/v1/agents/{}/commands", served.agent.id);
    let command = json!({ "by": "王芳", "name": "resend", "args": "{}", "not_after": "2027-01-01T00:00:00Z" });
    let given = served.ask(&path, command).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let listed = served.get(&path).await.json();
    assert_eq!(listed["items"][0]["id"], given.json()["id"]);
    assert_eq!((listed["items"][0]["name"].as_str(), listed["items"][0]["outcome"].as_str()), (Some("resend"), None));
    assert_eq!(served.ask(&path, json!({ "by": "王芳", "name": "x", "not_after": "soon" })).await.status, 400);
    let nobody = "/api/v1/agents/00000000-0000-8000-8000-000000000000/commands";
    assert_eq!(served.get(nobody).await.status, 404);
    let notice =
        json!({ "kind": "notice", "author": "王芳", "set": { "title": "停电", "body": "周日检修", "audience": "*" } });
    let published = served.ask("/api/v1/documents", notice).await;
    assert_eq!((published.status, published.json()["site"].as_str()), (201, Some("hub")), "{}", published.body);
    let listed = served.get("/api/v1/sites").await.body;
    assert!(!listed.contains("\"hub\""), "the hub is no outlet: {listed}");
    let hub = AgentId::from_bytes(served.hub.store.identity().id);
    let agents = served.get("/api/v1/agents").await.json();
    assert!(!agents.to_string().contains(&hub.to_string()), "the hub is no agent: {agents}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_defined_revised_and_listed() {
    let (served, _) = with_sheet().await;
    let labels = json!({ "zh-CN": "轮胎品牌", "en": "Tyre brand" });
    let choice = |value: &str| json!({ "value": value, "labels": labels });
    let body = |choices: Vec<serde_json::Value>| json!({ "by": "王芳", "id": "tyre", "kind": "survey", "labels": labels, "type": "choice", "choices": choices });
    let done = served.ask("/api/v1/forms", body(vec![choice("a")])).await;
    assert_eq!((done.status, done.json()["since"].as_i64()), (201, Some(1)), "{}", done.body);
    let done = served.ask("/api/v1/forms", body(vec![choice("a"), choice("b")])).await;
    assert_eq!((done.json()["version"].as_i64(), done.json()["since"].as_i64()), (Some(2), Some(1)));
    let wrong = served.ask("/api/v1/forms", body(vec![choice("b")])).await;
    assert_eq!((wrong.status, wrong.json()["problems"][0]["field"].as_str()), (422, Some("choices")));
    let mut other = body(vec![choice("a"), choice("b")]);
    other["type"] = "colour".into();
    assert_eq!(served.ask("/api/v1/forms", other.clone()).await.status, 400);
    other["type"] = "choice".into();
    other["retired"] = true.into();
    assert_eq!(served.ask("/api/v1/forms", other).await.json()["retired"], 3);
    let listed = served.get("/api/v1/forms?kind=survey").await.json();
    assert_eq!(
        (listed["items"].as_array().unwrap().len(), &listed["items"][0]["choices"][1]["value"]),
        (1, &"b".into())
    );
    assert_eq!(served.get("/api/v1/forms?kind=repair_order").await.json(), json!({ "items": [] }));
}
