//! What the hub serves, asked over a real socket, with a store that real frames filled.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use calamine::{Data, Reader, Xlsx, open_workbook_from_rs};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{App, openapi};
use crate::events::Feed;
use crate::pages::Lang;
use crate::router::router;
use crate::store::fixture::{Agent, Hub};

const PATIENCE: Duration = Duration::from_secs(30);
/// What a page must show as text and never run.
const HOSTILE: &str = "<script>alert(1)</script>\"'&";

pub(super) struct Served {
    pub(super) hub: Hub,
    pub(super) agent: Agent,
    addr: SocketAddr,
    _stop: watch::Sender<bool>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
    bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// An outlet with some work done, taken in by a hub that is served.
pub(super) async fn serve() -> Served {
    let hub = tokio::task::spawn_blocking(|| {
        let (mut hub, mut agent) = (Hub::open(), Agent::new(1, &["城东"]));
        hub.store.add_site(&"silent".parse().unwrap(), "Silent site", "Europe/Paris").unwrap();
        for score in [90, 95, 100] {
            agent.survey(score);
        }
        agent.act(None, "survey", "answer", &[("form", HOSTILE.into()), ("score", 15.into())]);
        let movement = [
            ("item", "=A1".into()),
            ("location", "main".into()),
            ("quantity", waystation_protocol::value::Value::measured(2_500, "件")),
            ("reason", "receipt".into()),
        ];
        agent.act(None, "stock_movement", "post", &movement);
        hub.take_all(&agent);
        (hub, agent)
    });
    let (hub, agent) = hub.await.unwrap();
    let (stop, stopping) = watch::channel(false);
    let app = App {
        store: hub.store.clone(),
        link: Arc::new(Mutex::new(None)),
        feed: Feed::start(hub.store.clone(), stopping.clone()),
        stopping,
        drops: None,
        insecure: false,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(app)).await.unwrap() });
    Served { hub, agent, addr, _stop: stop }
}

impl Served {
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, "Host: localhost").await
    }

    pub(super) async fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n\r\n")).await
    }

    /// Sends a body of some type, with more headers.
    pub(super) async fn post(&self, path: &str, kind: &str, body: &str, headers: &str) -> Answer {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n{headers}");
        self.send(&format!("{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")).await
    }

    async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&answer[..end]).unwrap().to_lowercase();
        let bytes = answer.split_off(end + 4);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::from_utf8_lossy(&bytes).into_owned(), bytes }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_path_is_served_and_guarded() {
    let served = serve().await;
    let id = served.agent.documents.keys().next().unwrap().to_string();
    let described = openapi::paths();
    assert!(described.len() > 8, "{described:?}");
    for path in described.iter().filter(|path| !path.ends_with("/events")) {
        if path.starts_with("/api/v1/quarantine/") {
            continue; // nothing is set aside here; its own tests ask
        }
        let agent = served.agent.id.to_string();
        let path = path.replace("{id}", &id).replace("{name}", "repairs").replace("{agent}", &agent);
        let answer = served.get(&path).await;
        // nothing is connected to a broker here
        let expected = if path == "/readyz" { 503 } else { 200 };
        assert_eq!(answer.status, expected, "{path}: {}", answer.body);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{path}");
        assert!(answer.head.contains("content-security-policy: default-src 'self';"), "{path}");
        let foreign = served.get_with(&path, "Host: evil.example").await;
        assert_eq!(foreign.status, 403, "{path}");
    }
    let openapi = served.get("/openapi.json").await.json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with('3'));
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_and_agents_tell_what_arrived() {
    let served = serve().await;
    let sites = served.get("/api/v1/sites").await.json();
    assert_eq!((&sites[0]["site"], &sites[0]["state"]), (&"silent".into(), &"never".into()));
    assert_eq!(sites[0]["last_seen"], Json::Null);
    let east = &sites[1];
    assert_eq!((&east["site"], &east["name"]), (&"城东".into(), &"城东".into()));
    for name in ["head_seq", "stored_seq", "processed_seq"] {
        assert_eq!(east[name], 5, "{name}");
    }
    for name in ["backlog", "oldest_unsent_age_s", "quarantined", "prunable_seq"] {
        assert_eq!(east[name], 0, "{name}");
    }
    let agents = served.get("/api/v1/agents").await.json();
    assert_eq!((&agents[0]["agent"], &agents[0]["sites"][0]), (&served.agent.id.to_string().into(), &"城东".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_page_by_page_and_one_with_its_history() {
    let served = serve().await;
    let mut found = Vec::new();
    let mut path = "/api/v1/documents?limit=2&kind=survey".to_owned();
    loop {
        let page = served.get(&path).await.json();
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/documents?limit=2&kind=survey&cursor={next}");
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 4);
    for (id, document) in &served.agent.documents {
        let shown = served.get(&format!("/api/v1/documents/{id}")).await.json();
        assert_eq!(shown["digest"], data_encoding::HEXLOWER.encode(&document.digest()));
        assert_eq!((&shown["pen"], &shown["history"][0]["author"]), (&"site:城东".into(), &"李娜".into()));
        if document.kind == "stock_movement" {
            assert_eq!(shown["fields"]["quantity"], serde_json::json!({"quantity": "2.5", "unit": "件"}));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_problem() {
    let served = serve().await;
    for (path, status, detail) in [
        ("/api/v1/documents/zz", 404, "there is no document 'zz'"),
        ("/api/v1/documents?kind=x", 400, "'x' is no kind; there are repair_order, "),
        ("/api/v1/documents?colour=x", 400, "unknown field `colour`"),
        ("/api/v1/documents?limit=0", 400, "limit is at least 1"),
        ("/api/v1/documents?cursor=x", 400, "'x' is not a cursor"),
        ("/api/v1/reports/x", 400, "there is no report 'x'; there are repairs, turnaround, "),
        ("/api/v1/reports/repairs?by=colour", 400, "it takes site, day, month, category, reason, fault"),
        ("/api/v1/reports/x.xlsx", 400, "there is no report 'x'; there are repairs, turnaround, "),
        ("/api/v1/reports/repairs.xlsx?colour=x", 400, "it takes from, to, by and lang"),
        ("/api/v1/reports/repairs/documents?figure=x", 400, "it has orders, fixed, repairable"),
        ("/api/v1/reports/repairs/documents?cursor=x", 400, "'x' is not a cursor"),
        ("/api/v1/reports/sync/documents", 400, "tells of agents, not of documents"),
        ("/api/v1/nowhere", 404, "nothing is served at /api/v1/nowhere"),
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{path}: {}", answer.head);
        assert!(answer.json()["detail"].as_str().unwrap().contains(detail), "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_answer_as_json_and_as_csv() {
    let served = serve().await;
    let score = served.get("/api/v1/reports/satisfaction?to=2099-01-01").await.json();
    assert_eq!(score["rows"], serde_json::json!([{"n": 4, "score": 75}]));
    assert_eq!(
        (&score["sites_expected"], &score["sites_complete"], &score["provisional"]),
        (&2.into(), &0.into(), &true.into())
    );
    assert_eq!((&score["from"], &score["to"]), (&Json::Null, &"2099-01-01".into()));
    let stock = served.get("/api/v1/reports/stock").await.json();
    assert_eq!(stock["rows"], serde_json::json!([{"site": "城东", "item": "=A1", "on_hand": 2.5}]));
    let csv = served.get("/api/v1/reports/stock.csv?by=location").await;
    assert_eq!(csv.body, "\u{feff}location,site,item,on_hand\nmain,城东,'=A1,2.5\n");
    assert!(csv.head.contains("content-disposition: attachment; filename=\"stock.csv\""));
    for (query, header) in
        [("lang=zh-CN", "网点,物料,结存"), ("lang=en", "Site,Item,On hand"), ("", "site,item,on_hand")]
    {
        let csv = served.get(&format!("/api/v1/reports/stock.csv?{query}")).await;
        assert_eq!(csv.body, format!("\u{feff}{header}\n城东,'=A1,2.5\n"), "{query}");
    }
    let sync = served.get("/api/v1/reports/sync").await.json();
    assert_eq!((&sync["rows"][0]["sites"], &sync["rows"][0]["unsent"]), (&"城东".into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_csv_says_what_its_json_says_of_period_and_completeness() {
    let served = serve().await;
    for report in crate::reports::REPORTS {
        for query in ["", "?from=2026-01-01&to=2099-01-01"] {
            let at = |ending: &str| format!("/api/v1/reports/{}{ending}{query}", report.name);
            let json = served.get(&at("")).await.json();
            let (csv, about) = (served.get(&at(".csv")).await, served.get(&at(".about.csv")).await);
            let names = ["from", "to", "sites_expected", "sites_complete", "provisional"];
            let plain = |name: &str| json[name].as_str().map_or_else(|| json[name].to_string(), str::to_owned);
            let values = names.map(|name| if json[name].is_null() { String::new() } else { plain(name) });
            assert_eq!(about.body, format!("\u{feff}{}\n{}\n", names.join(","), values.join(",")), "{}", report.name);
            for (name, value) in names.iter().zip(&values) {
                let header = format!("waystation-{}: ", name.replace('_', "-"));
                let found = csv.head.lines().find_map(|line| line.strip_prefix(&header)).unwrap_or_default();
                assert_eq!(found, value, "{} {name}: {}", report.name, csv.head);
            }
            let rows = csv.body.trim_start_matches('\u{feff}');
            assert_eq!(
                csv::Reader::from_reader(rows.as_bytes()).records().count(),
                json["rows"].as_array().unwrap().len()
            );
        }
    }
}

/// A workbook's cell as the JSON it must equal.
fn as_json(cell: &Data) -> Json {
    match cell {
        Data::Empty => Json::Null,
        Data::Float(number) => serde_json::json!(number),
        Data::String(text) => Json::from(text.as_str()),
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_is_the_same_as_a_workbook() {
    let served = serve().await;
    for (query, sheet, lang) in [("lang=en", 1, Lang::En), ("lang=zh-CN&by=month&to=2099-01-01", 0, Lang::Zh)] {
        for report in crate::reports::REPORTS {
            let query = if report.name == "sync" { query.replace("&by=month", "") } else { query.to_owned() };
            let json = served.get(&format!("/api/v1/reports/{}?{query}", report.name)).await.json();
            let answer = served.get(&format!("/api/v1/reports/{}.xlsx?{query}", report.name)).await;
            assert_eq!(answer.status, 200, "{}: {}", report.name, answer.body);
            assert!(answer.head.contains(&format!("attachment; filename=\"{}.xlsx\"", report.name)), "{}", answer.head);
            let mut workbook: Xlsx<_> = open_workbook_from_rs(Cursor::new(answer.bytes)).unwrap();
            assert_eq!(workbook.sheet_names()[0], [report.zh, report.en][sheet]);
            let range = workbook.worksheet_range_at(0).unwrap().unwrap();
            let names: Vec<&str> = json["by"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
            let names: Vec<&str> = names.into_iter().chain(report.columns.iter().map(|column| column.name)).collect();
            let labels: Vec<Json> = range.rows().next().unwrap().iter().map(as_json).collect();
            let last = report.columns.last().unwrap();
            assert_eq!(labels.last(), Some(&lang.pick(last.zh, last.en).into()));
            let rows = json["rows"].as_array().unwrap();
            assert_eq!(range.height(), rows.len() + 1, "{}", report.name);
            for (row, object) in (1u32..).zip(rows) {
                for (column, name) in (0u32..).zip(&names) {
                    let cell = as_json(range.get_value((row, column)).unwrap_or(&Data::Empty));
                    let same = match (&cell, &object[*name]) {
                        (Json::Number(cell), Json::Number(stated)) => cell.as_f64() == stated.as_f64(),
                        (Json::Null, stated) => stated.is_null() || *stated == "",
                        (cell, stated) => cell == stated,
                    };
                    assert!(same, "{} {name}: {cell} is not {}", report.name, object[*name]);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_leads_to_its_documents() {
    let served = serve().await;
    let score =
        served.get("/api/v1/reports/satisfaction/documents?figure=score&site=%E5%9F%8E%E4%B8%9C&limit=3").await.json();
    assert_eq!((&score["value"], &score["figure"]), (&75.into(), &"score".into()));
    assert_eq!(score["sums"], serde_json::json!({"weighted": 300, "weight": 4}));
    assert_eq!(score["keys"], serde_json::json!({"site": "城东"}));
    assert_eq!(score["items"][0]["contribution"], serde_json::json!({"weighted": 15, "weight": 1}));
    assert_eq!(score["items"][0]["fields"]["form"], HOSTILE);
    let next = score["next"].as_str().unwrap();
    let last = served.get(&format!("/api/v1/reports/satisfaction/documents?figure=score&cursor={next}")).await.json();
    assert_eq!((last["items"].as_array().unwrap().len(), &last["next"]), (1, &Json::Null));
    let stock = served.get("/api/v1/reports/stock/documents?from=2090-01-01&item=%3DA1").await.json();
    assert_eq!((&stock["value"], &stock["from"]), (&2.5.into(), &Json::Null));
    assert_eq!(stock["items"][0]["contribution"], serde_json::json!({"quantity": 2.5}));
    let report = served
        .get_with("/reports/satisfaction?by=form&from=2020-01-01", "Host: localhost\r\nAccept-Language: en")
        .await;
    assert!(
        report.body.contains("/api/v1/reports/satisfaction.xlsx?by=form&#38;from=2020-01-01&#38;lang=en"),
        "{}",
        report.body
    );
    let address =
        report.body.split("href=\"").filter_map(|rest| rest.split('"').next()).map(|link| link.replace("&#38;", "&"));
    let address =
        address.filter(|link| link.contains("/documents?figure=score") && link.contains("script")).collect::<Vec<_>>();
    assert_eq!(address.len(), 1, "{}", report.body);
    for (language, words) in [
        ("en", ["Back to the report: Satisfaction", "2020-01-01 onwards"]),
        ("zh-CN", ["返回报表：满意度", "2020-01-01 起"]),
    ] {
        let page = served.get_with(&address[0], &format!("Host: localhost\r\nAccept-Language: {language}")).await;
        assert!(words.iter().all(|word| page.body.contains(word)), "{}", page.body);
        assert!(page.body.contains("&#60;script&#62;") && !page.body.contains("<script>"), "{}", page.body);
        assert!(page.body.contains("15.00") && page.body.contains("/reports/satisfaction?from=2020-01-01&#38;by=form"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_speak_both_languages_and_run_nothing() {
    let served = serve().await;
    let mut paths: Vec<String> =
        ["/", "/documents", "/documents?kind=survey&q=a", "/reports", "/nowhere", "/reports/x"]
            .map(str::to_owned)
            .into();
    paths.extend(crate::reports::names().iter().map(|name| format!("/reports/{name}")));
    paths.push("/reports/satisfaction?by=form&from=2020-01-01&by=month".to_owned());
    paths.push("/reports/stock/documents?figure=on_hand&month=2026-09".to_owned());
    paths.push("/reports/counts/documents?figure=net_variance&zone=".to_owned());
    paths.extend(served.agent.documents.keys().map(|id| format!("/documents/{id}")));
    for path in paths {
        let expected = if path.ends_with("/nowhere") || path.ends_with("/x") { 404 } else { 200 };
        for (language, word) in [("zh-CN", "同步看板"), ("en", "Sync board")] {
            let answer = served.get_with(&path, &format!("Host: localhost\r\nAccept-Language: {language}")).await;
            assert_eq!(answer.status, expected, "{path}: {}", answer.body);
            assert!(
                answer.body.contains(word) && answer.body.contains(&format!("<html lang=\"{language}\"")),
                "{path}"
            );
            assert!(!answer.body.contains("<script>") && !answer.body.contains(" style="), "{path}");
        }
    }
    let switched = served.get("/?lang=en").await;
    assert!(switched.head.contains("set-cookie: waystation_lang=en"));
    let remembered = served.get_with("/", "Host: localhost\r\nCookie: waystation_lang=en").await;
    assert!(remembered.body.contains("Sync board"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_what_changes() {
    let mut served = serve().await;
    let mut stream = BufReader::new(TcpStream::connect(served.addr).await.unwrap());
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut lines = stream.lines();
    let mut next = async || {
        let hearing = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the stream goes on");
                if let Some(data) = line.strip_prefix("data: ") {
                    return serde_json::from_str::<Vec<Json>>(data).unwrap();
                }
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.expect("an event in time")
    };
    assert_eq!(next().await.len(), 2, "every row at first");
    served = tokio::task::spawn_blocking(move || {
        served.agent.survey(1);
        served.hub.take_all(&served.agent);
        served
    })
    .await
    .unwrap();
    loop {
        let rows = next().await;
        assert!(rows.iter().all(|row| row["site"] == "城东"), "only what changed: {rows:?}");
        if rows[0]["processed_seq"] == 6 {
            break;
        }
    }
    drop(served);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_openmetrics() {
    let served = serve().await;
    let text = served.get("/metrics").await.body;
    for line in [
        "waystation_hub_entries_stored_total 5",
        "waystation_hub_broker_connected 0",
        "waystation_hub_documents 5",
        "waystation_hub_site_backlog{site=\"城东\"} 0",
        "waystation_hub_sites{state=\"never\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}
