//! Quarantine over a real socket: listed, resolved by API and by form, in both languages.

use serde_json::{Value as Json, json};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::EntryId;

use super::tests::{Served, serve};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const HOSTILE: &str = "<script>alert(1)</script>";

/// The usual outlet, and two surveys that cannot be applied, one with a step behind it.
async fn poisoned() -> (Served, [EntryId; 3]) {
    let mut served = serve().await;
    tokio::task::spawn_blocking(move || {
        let agent = &mut served.agent;
        let mut push = |change: &dyn Fn(&mut Entry)| {
            let entry = agent.survey_entry(|entry| change(entry));
            agent.push(entry.to_bytes());
            entry
        };
        let bad = push(&|entry| drop(entry.set.insert("score".into(), HOSTILE.into())));
        let behind = push(&|entry| {
            (entry.document, entry.after) = (Some(bad.document()), Some(bad.id));
            (entry.act, entry.author) = ("void".into(), HOSTILE.into());
            entry.set.clear();
        });
        let other = push(&|entry| entry.act = HOSTILE.into());
        served.hub.take_all(&served.agent);
        (served, [bad.id, behind.id, other.id])
    })
    .await
    .unwrap()
}

fn path(served: &Served, seq: u64) -> String {
    format!("/api/v1/quarantine/{}.{seq}", served.agent.stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_listed_with_its_reason_in_both_languages() {
    let (served, [bad, ..]) = poisoned().await;
    let list = served.get("/api/v1/quarantine").await.json();
    let codes: Vec<&str> = list["items"].as_array().unwrap().iter().filter_map(|item| item["code"].as_str()).collect();
    assert_eq!(codes, ["unknown_act", "behind", "wrong_type"]);
    for (query, count) in [
        ("?state=resolved", 0),
        ("?site=%E5%9F%8E%E4%B8%9C", 3),
        ("?site=silent", 0),
        ("?code=behind", 1),
        (&format!("?document={bad}"), 2),
        ("?limit=2", 2),
    ] {
        let list = served.get(&format!("/api/v1/quarantine{query}")).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
    }
    let next = served.get("/api/v1/quarantine?limit=2").await.json()["next"].clone();
    let last = served.get(&format!("/api/v1/quarantine?limit=2&cursor={}", next.as_str().unwrap())).await.json();
    assert_eq!((last["items"].as_array().unwrap().len(), &last["next"]), (1, &Json::Null));
    let case = served.get(&path(&served, 6)).await.json();
    assert_eq!((&case["entry"]["set"]["score"], &case["entry"]["id"]), (&HOSTILE.into(), &bad.to_string().into()));
    assert_eq!(case["reason"]["en"], "field 'score': expected a whole number");
    assert!(case["reason"]["zh-CN"].as_str().unwrap().contains("类型不符"), "{case}");
    assert_eq!((&case["behind"][0]["act"], &case["trail"]), (&"void".into(), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fix_is_applied_or_refused_and_leaves_its_trail() {
    let (served, [bad, ..]) = poisoned().await;
    let fix = format!("{}/fix", path(&served, 6));
    let shown = served.get(&path(&served, 6)).await.json()["entry"]["set"].clone();
    let why = json!({"by": "王芳", "why": HOSTILE});
    let with = |more: Json| {
        let mut body = why.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    for (body, status, detail) in [
        (with(json!({"act": "fly"})), 422, "the fix does not pass: "),
        (with(json!({"set": {"score": "y", "form": 1}})), 422, "form: '1' does not fit: expected text; score: "),
        (with(json!({"set": shown})), 400, "replay it"),
        (with(json!({})), 400, "replay it"),
        (with(json!({"set": {"score": 1.5}})), 422, "expected a whole number"),
        (with(json!({"colour": 1})), 400, "unknown field `colour`"),
        (json!({"set": {"score": 5}}).to_string(), 400, "missing field `by`"),
        ("{".to_owned(), 400, ""),
    ] {
        let answer = served.post(&fix, JSON, &body, "").await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{body}: {}", answer.head);
        assert!(answer.json()["detail"].as_str().unwrap().contains(detail), "{body}: {}", answer.body);
    }
    let done = served.post(&fix, JSON, &with(json!({"set": {"score": 80}})), "").await;
    assert_eq!(done.status, 200, "{}", done.body);
    let case = done.json();
    assert_eq!(
        (&case["state"], &case["resolution"], &case["code"]),
        (&"resolved".into(), &"fixed".into(), &"wrong_type".into())
    );
    let trail = case["trail"].as_array().unwrap();
    let outcomes: Vec<&Json> = trail.iter().map(|step| &step["outcome"]).collect();
    assert_eq!(outcomes, [&Json::from("refused"), &Json::from("applied")]);
    assert_eq!((&trail[1]["by"], &trail[1]["fix"]["set"]["score"]), (&"王芳".into(), &80.into()));
    assert_eq!((&trail[0]["after"]["code"], &trail[0]["before"]["code"]), (&"wrong_type".into(), &"wrong_type".into()));
    let document = served.get(&format!("/api/v1/documents/{bad}")).await.json();
    assert_eq!((&document["state"], &document["fields"]["score"]), (&"void".into(), &80.into()));
    assert_eq!(document["history"][0]["amended"]["by"], "王芳");
    assert_eq!(served.post(&fix, JSON, &with(json!({"set": {"score": 81}})), "").await.status, 409);
    let page = served.get_with(&format!("/documents/{bad}"), "Host: localhost\r\nAccept-Language: en").await;
    assert!(page.body.contains("Fixed · 王芳") && !page.body.contains("<script>"), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_and_waive_answer_with_the_case_as_it_then_is() {
    let (served, _) = poisoned().await;
    let body = json!({"by": "王芳", "why": "误录"}).to_string();
    let still = served.post(&format!("{}/replay", path(&served, 8)), JSON, &body, "").await;
    assert_eq!((still.status, &still.json()["state"]), (200, &"open".into()));
    assert_eq!(still.json()["trail"][0]["outcome"], "still");
    let waived = served.post(&format!("{}/waive", path(&served, 6)), JSON, &body, "").await;
    assert_eq!((waived.status, &waived.json()["resolution"]), (200, &"waived".into()));
    let behind = served.get(&path(&served, 7)).await.json();
    assert_eq!((&behind["code"], &behind["parked"]), (&"rests_on_waived".into(), &false.into()));
    for nowhere in ["/api/v1/quarantine/x", &path(&served, 1)] {
        assert_eq!(served.get(nowhere).await.status, 404, "{nowhere}");
        assert_eq!(served.post(&format!("{nowhere}/waive"), JSON, &body, "").await.status, 404, "{nowhere}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_agents_are_awaited_after_a_restore_nothing_is_resolved() {
    let (served, _) = poisoned().await;
    let store = served.hub.store.clone();
    let restored = tokio::task::spawn_blocking(move || {
        store.command(Box::new(|conn| {
            conn.execute("INSERT INTO restore (epoch, at, cause, detail) VALUES (2, 1, 'copied', 'test')", [])?;
            let awaited = "INSERT INTO restore_agent (restore, agent, sites) SELECT 1, agent, stands_for FROM agent";
            Ok(conn.execute(awaited, [])?)
        }))
    });
    assert_eq!(restored.await.unwrap().unwrap(), 1);
    let person = json!({"by": "王芳", "why": "误录"});
    let fix = json!({"by": "王芳", "why": "误录", "set": {"score": 80}});
    for (word, body) in [("fix", &fix), ("replay", &person), ("waive", &person)] {
        let answer = served.post(&format!("{}/{word}", path(&served, 6)), JSON, &body.to_string(), "").await;
        assert_eq!(answer.status, 423, "{word}: {}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().contains("read-only"), "{}", answer.body);
    }
    let page = path(&served, 6).replace("/api/v1", "");
    let own = "Origin: http://localhost\r\nAccept-Language: en\r\n";
    let form = "action=waive&by=w&why=w";
    let refused = served.post(&page, FORM, form, own).await;
    assert_eq!(refused.status, 423, "{}", refused.body);
    for (language, words) in [("en", "read-only until all its outlets are back"), ("zh-CN", "在全部网点设备归队前只读")]
    {
        let shown = served.get_with(&page, &format!("Host: localhost\r\nAccept-Language: {language}")).await;
        assert!(shown.body.contains(words) && !shown.body.contains("name=\"action\""), "{}", shown.body);
    }
    let case = served.get(&path(&served, 6)).await.json();
    assert_eq!((&case["state"], &case["trail"]), (&"open".into(), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_hubs_own_pages_may_send_a_form() {
    let (served, _) = poisoned().await;
    let page = path(&served, 6).replace("/api/v1", "");
    let form = |action: &str, set: &str| {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("action", action), ("by", "王芳"), ("why", "录错"), ("act", "answer"), ("set", set)])
            .finish()
    };
    let set = json!({"site": "城东", "form": "回访", "score": 70}).to_string();
    let waive = form("waive", "");
    for origin in ["https://evil.example", "http://localhost:1", "null"] {
        let answer = served.post(&page, FORM, &waive, &format!("Origin: {origin}\r\n")).await;
        assert_eq!(answer.status, 403, "{origin}: {}", answer.body);
    }
    let simple = served.post(&format!("{}/waive", path(&served, 6)), "text/plain", "{}", "").await;
    assert_eq!(simple.status, 400, "a form elsewhere cannot make a JSON request: {}", simple.body);
    let own = "Origin: http://localhost\r\nAccept-Language: en\r\n";
    let refused = served.post(&page, FORM, &form("fix", &set.replace("70", "\"x\"")), own).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("expected a whole number") && refused.body.contains("录错"), "{}", refused.body);
    let nonsense = served.post(&page, FORM, &form("fix", "{"), own).await;
    assert_eq!(nonsense.status, 400);
    let done = served.post(&page, FORM, &form("fix", &set), own).await;
    assert_eq!(done.status, 303, "{}", done.body);
    assert!(done.head.contains(&format!("location: {page}")), "{}", done.head);
    for (language, words) in [("en", ["Fixed", "What was done about it"]), ("zh-CN", ["已修正", "处理经过"])] {
        for address in [&page, &page.replace(".6", ".8"), "/quarantine", "/quarantine?state=resolved"] {
            let answer = served.get_with(address, &format!("Host: localhost\r\nAccept-Language: {language}")).await;
            assert_eq!(answer.status, 200, "{address}");
            assert!(!answer.body.contains("<script>") && !answer.body.contains(" style="), "{address}");
        }
        let case = served.get_with(&page, &format!("Host: localhost\r\nAccept-Language: {language}")).await;
        assert!(words.iter().all(|word| case.body.contains(word)), "{}", case.body);
    }
    let board = served.get("/").await;
    assert!(board.body.contains("/quarantine?site="), "{}", board.body);
}
