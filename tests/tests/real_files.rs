//! Real files nobody here wrote go in at a migration agent and come out at the hub as the right figures: those of
//! ../shared/data/expected.json, computed by an independent program. Every file has a hub of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use waystation_tests::http::Http;
use waystation_tests::import::Summary;
use waystation_tests::{oracle, process};

/// A shared file, and how it is imported.
struct File {
    path: &'static str,
    kind: &'static str,
    map: &'static str,
    /// Where expected.json keeps its figures.
    group: &'static str,
}

/// A hub that holds a file's documents.
struct Loaded {
    name: &'static str,
    expected: Value,
    http: Http,
    compared: usize,
    _folder: tempfile::TempDir,
    _processes: [process::Process; 2],
}

/// Imports a shared file, twice, and syncs it; none, said aloud, where it is not there.
fn load(file: &File) -> Option<Loaded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = root.join("../shared/data");
    let Ok(text) = std::fs::read_to_string(data.join("expected.json")) else {
        println!("SKIPPED {}: ../shared/data is not there", file.path);
        return None;
    };
    let expected: Value = serde_json::from_str(&text).expect("expected.json is JSON");
    let name = file.path.rsplit('/').next().expect("a path has a last part");
    let expected = expected["shared"][file.group][name].clone();

    let folder = tempfile::tempdir().expect("a temporary folder");
    let hub = process::hub(folder.path(), "embedded");
    let agent = process::agent(folder.path(), "*", &hub.address("mqtt"), &[]);
    let own = folder.path().join("all").display().to_string();
    let map = root.join("deploy/import").join(file.map).display().to_string();
    let path = data.join(file.path).display().to_string();
    let arguments = ["import", "--data", &own, "--sites", "*", "--kind", file.kind, "--map", &map, &path, "--json"];
    let rows = expected["rows"].as_u64().expect("expected.json counts rows");
    for (captured, duplicate) in [(rows, 0), (0, rows)] {
        let output = process::run("waystation-agent", &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary = Summary::read(&output.stdout);
        assert_eq!(summary, Summary { rows, captured, duplicate, skipped: 0, rejected: 0 }, "{name}");
        let json: Value = serde_json::from_slice(&output.stdout).expect("--json prints one object");
        let seconds = json["seconds"].as_f64().expect("seconds are a number");
        println!("{name}: {rows} rows, {:.0} rows/s, {captured} captured", rows as f64 / seconds);
    }
    let http = hub.http();
    oracle::settled(&http, &[agent.http()], Duration::from_secs(120));
    Some(Loaded { name, expected, http, compared: 0, _folder: folder, _processes: [hub, agent] })
}

impl Loaded {
    /// The rows of a report, and the totals it states beside them.
    fn report(&self, query: &str) -> Vec<Value> {
        let answer = self.http.get(&format!("/api/v1/reports/{query}"));
        assert_eq!(answer["sites_expected"], answer["sites_complete"], "{query}: {answer}");
        answer["rows"].as_array().unwrap_or_else(|| panic!("{query} has no rows: {answer}")).clone()
    }

    /// Adds up what the documents behind a figure have of `value`, page by page, and wants the figure.
    fn drill(&mut self, query: &str, figure: &str, value: &str, expected: &Value) {
        let (mut sum, mut documents, mut cursor) = (0.0, 0, String::new());
        loop {
            let (name, keys) = query.split_once('?').unwrap_or((query, ""));
            let path = format!("/api/v1/reports/{name}/documents?figure={figure}&limit=500&{keys}{cursor}");
            let page = self.http.get(&path);
            let items = page["items"].as_array().unwrap_or_else(|| panic!("{path}: {page}"));
            documents += items.len();
            sum += items.iter().filter_map(|item| item["contribution"][value].as_f64()).sum::<f64>();
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(Some(sum), expected.as_f64(), "{}: {query} {figure}, {documents} documents", self.name);
        self.compared += 1;
    }

    /// Compares what was found with what expected.json says under `key`.
    fn equal(&mut self, key: &str, found: Value) {
        self.same(key, &self.expected[key].clone(), &found);
    }

    fn same(&mut self, what: &str, expected: &Value, found: &Value) {
        assert_eq!(plain(expected), plain(found), "{}: {what}", self.name);
        self.compared += figures(expected);
    }

    /// Compares the sha256 of a report's sorted lines, cells parted by tabs.
    fn digest(&mut self, key: &str, rows: &[Value], columns: &[&str]) {
        let cell = |row: &Value, column: &&str| row[*column].as_str().map_or(row[*column].to_string(), str::to_owned);
        let line = |row: &Value| columns.iter().map(|column| cell(row, column)).collect::<Vec<_>>().join("\t");
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        lines.sort();
        let hash = Sha256::digest(lines.join("\n") + "\n");
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.equal(key, json!(hash));
    }

    fn done(&self) {
        println!("{}: {} figures and digests of expected.json equal", self.name, self.compared);
    }
}

/// Numbers as they are whatever their notation: 1 and 1.0 are one figure.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

fn figures(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(figures).sum(),
        Value::Object(map) => map.values().map(figures).sum(),
        Value::Number(_) => 1,
        Value::String(text) => usize::from(text.len() == 64),
        _ => 0,
    }
}

fn whole(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap_or_else(|| panic!("{column} is no whole number in {row}"))
}

/// Rows of a figure by a key, the largest first, with shares as the independent program rounds them.
fn pareto(rows: &[Value], key: &str, figure: &str, is_left_out: impl Fn(&str) -> bool) -> Vec<Value> {
    let named = |row: &Value| (row[key].as_str().expect("a key is text").to_owned(), whole(row, figure));
    let mut counts: Vec<(String, i64)> = rows.iter().map(named).filter(|(name, _)| !is_left_out(name)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let total: i64 = counts.iter().map(|(_, count)| count).sum();
    let part = |count: i64| -> f64 {
        format!("{:.6}", count as f64 / total as f64).parse().expect("a printed number reads back")
    };
    let mut sum = 0;
    let row = |(name, count): (String, i64)| {
        sum += count;
        json!([name, count, part(count), part(sum)])
    };
    counts.into_iter().map(row).collect()
}

fn top(rows: &[Value], count: usize) -> Value {
    json!(rows[..count.min(rows.len())])
}

#[test]
fn repairs_are_fixed_as_the_independent_program_says() {
    let path = "repairs/ords_restart_202204.csv.gz";
    let file = File { path, kind: "repair_order", map: "repairs.toml", group: "repairs" };
    let Some(mut loaded) = load(&file) else { return };
    let all = &loaded.report("repairs")[0];
    loaded.equal("valid", all["orders"].clone());
    loaded.equal("fix_rate", all["fix_rate"].clone());
    let status = json!({
        "Fixed": all["fixed"], "Repairable": all["repairable"], "End of life": all["end_of_life"], "Unknown": all["unknown"],
    });
    loaded.equal("status", status);
    loaded.drill("repairs", "fixed", "fixed", &loaded.expected["status"]["Fixed"].clone());
    let site = loaded.expected["top_sites"][0].clone();
    loaded.drill("repairs?site=Restart%20HQ", "fixed", "fixed", &site[2]);

    let mut sites = loaded.report("repairs?by=site");
    loaded.equal("sites", json!(sites.len()));
    loaded.digest("site_digest(site,n,fixed)", &sites, &["site", "orders", "fixed"]);
    sites.sort_by_key(|row| (-whole(row, "orders"), row["site"].to_string()));
    let line = |row: &Value| json!([row["site"], row["orders"], row["fixed"], row["fix_rate"]]);
    loaded.equal("top_sites", sites.iter().take(10).map(line).collect());

    let months = loaded.report("repairs?by=month");
    loaded.equal("months", json!(months.len()));
    loaded.digest("month_digest(month,n)", &months, &["month", "orders"]);
    let days = loaded.report("repairs?by=day");
    loaded.equal("first", days[0]["day"].clone());
    loaded.equal("last", days[days.len() - 1]["day"].clone());

    let categories = pareto(&loaded.report("repairs?by=category"), "category", "orders", |_| false);
    loaded.equal("category_pareto_top10", top(&categories, 10));
    let reasons = pareto(&loaded.report("repairs?by=reason"), "reason", "orders", str::is_empty);
    loaded.equal("barrier_pareto_top10", top(&reasons, 10));
    loaded.done();
}

/// Checks a file of repairs with fault types.
fn check_faults(path: &'static str, map: &'static str) {
    let Some(mut loaded) = load(&File { path, kind: "repair_order", map, group: "faults" }) else { return };
    let faults = loaded.report("faults");
    let line = |row: &Value| json!([row["fault"], row["count"], row["share"], row["cumulative"]]);
    loaded.equal("fault_pareto_all", faults.iter().map(line).collect());
    let coded = pareto(&faults, "fault", "count", |name| matches!(name, "Unknown" | "Poor data"));
    loaded.equal("fault_pareto_coded_top10", top(&coded, 10));
    let worst = loaded.expected["fault_pareto_all"][0].clone();
    let name = worst[0].as_str().expect("a fault has a name").replace('/', "%2F");
    loaded.drill(&format!("faults?fault={name}"), "count", "count", &worst[1]);
    let by_fault = loaded.report("repairs?by=fault");
    let orders: i64 = by_fault.iter().map(|row| whole(row, "orders")).sum();
    loaded.equal("ids", json!(orders));
    let fixed = by_fault.iter().filter(|row| whole(row, "fixed") > 0);
    let fixed: BTreeMap<&str, i64> =
        fixed.map(|row| (row["fault"].as_str().expect("a fault is text"), whole(row, "fixed"))).collect();
    loaded.equal("fixed_by_fault", json!(fixed));
    loaded.done();
}

#[test]
fn faults_of_mobile_phones_are_as_the_independent_program_says() {
    check_faults("repairs/fault_mobifix.csv", "faults_mobifix.toml");
}

#[test]
fn faults_of_printers_are_as_the_independent_program_says() {
    check_faults("repairs/fault_printcat.csv", "faults_printcat.toml");
}

#[test]
fn faults_of_vacuum_cleaners_are_as_the_independent_program_says() {
    check_faults("repairs/fault_dustup.csv", "faults_dustup.toml");
}

#[test]
fn deliveries_are_on_time_as_the_independent_program_says() {
    let path = "deliveries/scms_first4000.csv.gz";
    let file = File { path, kind: "delivery_item", map: "deliveries.toml", group: "deliveries" };
    let Some(mut loaded) = load(&file) else { return };
    let all = &loaded.report("delivery")[0];
    loaded.equal("valid", all["items"].clone());
    loaded.equal("on_time", all["on_time"].clone());
    loaded.equal("on_time_rate", all["on_time_rate"].clone());
    loaded.equal("late", json!(whole(all, "delivered") - whole(all, "on_time")));
    loaded.equal("late_days_total", all["late_days"].clone());

    let line = |row: &Value| json!([row["items"], row["on_time"], row["on_time_rate"]]);
    let (sites, months) = (loaded.report("delivery?by=site"), loaded.report("delivery?by=month"));
    let table = |rows: &[Value], key: &str| -> BTreeMap<String, Value> {
        rows.iter().map(|row| (row[key].as_str().expect("a key is text").to_owned(), line(row))).collect()
    };
    for (key, rows) in [("by_site", table(&sites, "site")), ("by_month_last6", table(&months, "month"))] {
        let listed = loaded.expected[key].as_object().expect("figures by name").keys().cloned();
        let found: BTreeMap<String, Value> = listed.map(|name| (name.clone(), rows[&name].clone())).collect();
        loaded.equal(key, json!(found));
    }
    let years: Vec<String> = loaded.expected["by_year"].as_object().expect("figures by year").keys().cloned().collect();
    let year = |year: String| {
        let rows = loaded.report(&format!("delivery?from={year}-01-01&to={year}-12-31"));
        (year, line(&rows[0]))
    };
    let found: BTreeMap<String, Value> = years.into_iter().map(year).collect();
    loaded.equal("by_year", json!(found));
    let on_time = loaded.expected["by_site"]["Haiti"][1].clone();
    loaded.drill("delivery?site=Haiti", "on_time", "on_time", &on_time);
    loaded.drill("delivery", "late_days", "late_days", &loaded.expected["late_days_total"].clone());
    loaded.equal("sites", json!(sites.len()));
    loaded.equal("months", json!(months.len()));
    loaded.digest("site_digest(site,n,on_time)", &sites, &["site", "items", "on_time"]);
    loaded.digest("month_digest(month,n,on_time)", &months, &["month", "items", "on_time"]);
    let both = loaded.report("delivery?by=site,month");
    loaded.digest("site_month_digest(site,month,n,on_time)", &both, &["site", "month", "items", "on_time"]);
    loaded.done();
}

/// Proves I6.
#[test]
fn stock_is_on_hand_as_the_independent_program_says() {
    let path = "stock/online_retail_germany.csv.gz";
    let file = File { path, kind: "stock_movement", map: "stock.toml", group: "stock" };
    let Some(mut loaded) = load(&file) else { return };
    let mut rows = loaded.report("stock");
    let total = |rows: &[Value]| rows.iter().map(|row| whole(row, "on_hand")).sum::<i64>();
    let count = |is: fn(i64) -> bool| json!(rows.iter().filter(|row| is(whole(row, "on_hand"))).count());
    loaded.equal("site_items", json!(rows.len()));
    loaded.equal("on_hand_total", json!(total(&rows)));
    loaded.equal("site_items_above_zero", count(|on_hand| on_hand > 0));
    loaded.equal("site_items_at_zero", count(|on_hand| on_hand == 0));
    loaded.equal("on_hand_by_site", json!({ "Germany": total(&rows) }));
    loaded.digest("on_hand_digest(site,item,on_hand)", &rows, &["site", "item", "on_hand"]);
    rows.sort_by_key(|row| (whole(row, "on_hand"), row["item"].to_string()));
    let line = |row: &Value| json!([row["site"], row["item"], row["on_hand"]]);
    loaded.equal("on_hand_lowest10", rows.iter().take(10).map(line).collect());

    let lowest = loaded.expected["on_hand_lowest10"][0].clone();
    loaded.drill("stock?site=Germany&item=22326", "on_hand", "quantity", &lowest[2]);

    let months = loaded.expected["net_by_month"].as_object().expect("figures by month").keys().cloned();
    let mut before = 0;
    let net = |month: String| {
        let after = total(&loaded.report(&format!("stock?to={}", last_day(&month))));
        let net = after - std::mem::replace(&mut before, after);
        (month, net)
    };
    let found: BTreeMap<String, i64> = months.collect::<Vec<_>>().into_iter().map(net).collect();
    loaded.equal("net_by_month", json!(found));
    loaded.done();
}

/// `2011-02` → `2011-02-28`. The file lies between two leap years.
fn last_day(month: &str) -> String {
    let days = match month.split_once('-').map(|(_, month)| month) {
        Some("02") => 28,
        Some("04" | "06" | "09" | "11") => 30,
        _ => 31,
    };
    format!("{month}-{days}")
}

/// A row of our own for every map, so that the maps are tried where the shared files are missing too.
#[test]
fn every_map_under_deploy_reads_a_row() {
    let repair = "event_date,repair_status,brand,problem,product_category";
    let fixed = "2021-05-01,Fixed,无名,漏油,Laptop";
    for (kind, map, header, row) in [
        (
            "repair_order",
            "repairs",
            format!("id,group_identifier,year_of_manufacture,repair_barrier_if_end_of_life,{repair}"),
            format!("r1,城东站,2016,,{fixed}"),
        ),
        (
            "repair_order",
            "faults_mobifix",
            format!("id,data_provider,model,fault_type,{repair}"),
            format!("m1,anstiftung,X,Screen,{fixed}"),
        ),
        (
            "repair_order",
            "faults_printcat",
            format!("id_ords,data_provider,year_of_manufacture,fault_type,{repair}"),
            format!("p1,anstiftung,????,Paper feed,{fixed}"),
        ),
        (
            "repair_order",
            "faults_dustup",
            format!("id_ords,data_provider,year_of_manufacture,repair_barrier_if_end_of_life,fault_type,{repair}"),
            format!("d1,anstiftung,,,Motor,{fixed}"),
        ),
        (
            "delivery_item",
            "deliveries",
            "ID,Country,Shipment Mode,Scheduled Delivery Date,Delivered to Client Date,Delivery Recorded Date,\
             Item Description,Line Item Quantity,Line Item Value,Vendor,ASN/DN #"
                .to_owned(),
            "1,Haiti,Air,2-Jun-06,3-Jun-06,03-Jun-06,HIV test,19,551.50,ACME,ASN-8".to_owned(),
        ),
        (
            "stock_movement",
            "stock",
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country".to_owned(),
            "C536,22809,SET OF 6,-6,12/1/2010 13:04,2.95,12662,Germany".to_owned(),
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("one.csv");
        std::fs::write(&file, format!("{header}\n{row}\n")).expect("the test's folder can be written");
        let map = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/import/{map}.toml"));
        let (data, map, file) = (folder.path().join("all"), map.display().to_string(), file.display().to_string());
        let data = data.display().to_string();
        let arguments = ["import", "--data", &data, "--sites", "*", "--kind", kind, "--map", &map, &file, "--json"];
        let output = process::run("waystation-agent", &arguments);
        assert!(output.status.success(), "{map}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(Summary::read(&output.stdout).captured, 1, "{map}");
    }
}
