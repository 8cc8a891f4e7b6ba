//! An outlet for tests: a data folder, and people's wishes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use waystation_protocol::id::DocId;
use waystation_protocol::time::{self, Timestamp};

use super::*;

/// 2026-11-23T02:40:00Z.
pub(super) const DAY: Timestamp = Timestamp(1_795_401_600_000);

pub(super) struct Outlet {
    pub(super) dir: PathBuf,
    _folder: tempfile::TempDir,
}

impl Outlet {
    pub(super) fn new() -> Outlet {
        let folder = tempfile::tempdir().unwrap();
        Outlet { dir: folder.path().join("data"), _folder: folder }
    }

    pub(super) fn options(&self) -> OpenOptions {
        use std::sync::atomic::{AtomicU64, Ordering};
        static STARTS: AtomicU64 = AtomicU64::new(1);
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 10];
        random[..6].copy_from_slice(&start.to_be_bytes()[2..]);
        OpenOptions {
            sites: Sites::Only(vec!["3702".parse().unwrap()]),
            letter: 'A',
            random,
            boot: start as u32,
            new_ids: [[1; 16], [2; 16]],
            new_key: [3; 32],
            zone: time::zone("").unwrap(),
            reserve_bytes: 64 * 1024,
        }
    }

    /// A process that another test is starting may hold the closed store's lock until its program runs.
    pub(super) fn open(&self) -> Store {
        let started = Instant::now();
        loop {
            match Store::open(&self.dir, self.options()) {
                Err(StoreError::InUse { .. }) if started.elapsed() < Duration::from_secs(5) => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    /// Takes the cache's mark away, so that opening rebuilds it. The store is closed.
    pub(super) fn forget_cache(&self) {
        let database = redb::Database::open(self.dir.join("store.redb")).expect("a sound file");
        let write = database.begin_write().expect("a write");
        write.open_table(super::super::tables::META).expect("a table").remove("cache").expect("a removal");
        write.commit().expect("a commit");
    }

    /// What a power cut would leave at this moment, if the disk keeps what was synced and more.
    pub(super) fn copy(&self) -> Outlet {
        let copy = Outlet::new();
        std::fs::create_dir(&copy.dir).unwrap();
        std::fs::copy(self.dir.join("store.redb"), copy.dir.join("store.redb")).unwrap();
        copy
    }
}

pub(super) fn at(second: i64) -> At {
    At { now: Timestamp(DAY.0 + second * 1_000), mono_ms: second.unsigned_abs() * 1_000 }
}

pub(super) fn wish(document: Option<DocId>, kind: &str, act: &str, set: &[(&str, Value)]) -> Wish {
    let set = set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Wish { document, kind: kind.into(), act: act.into(), set, author: "王芳".into(), cause: None }
}

pub(super) fn survey(form: &str) -> Wish {
    wish(None, "survey", "", &[("form", Value::from(form)), ("score", Value::Int(90))])
}

pub(super) fn run(route: &str) -> Wish {
    let set = [("date", Value::Int(20_780)), ("route", Value::from(route)), ("carrier", Value::from("李雷"))];
    wish(None, "delivery_run", "plan", &set)
}

pub(super) fn movement(item: &str, milli: i64) -> Wish {
    let set = [
        ("item", Value::from(item)),
        ("location", Value::from("main")),
        ("quantity", Value::measured(milli, "件")),
        ("reason", Value::from("receipt")),
    ];
    wish(None, "stock_movement", "post", &set)
}

pub(super) fn count(item: &str) -> Wish {
    let set = [
        ("zone", Value::from("A")),
        ("counter", Value::from("韩梅梅")),
        ("item#1.item", Value::from(item)),
        ("item#1.location", Value::from("main")),
        ("item#1.counted", Value::measured(4_000, "件")),
        ("item#1.found", Value::from("scanned")),
    ];
    wish(None, "count_sheet", "open", &set)
}

/// A repair order up to the hand-out of two parts from stock.
pub(super) fn order_with_parts_issued(store: &Store) -> Receipt {
    let opening = [
        ("category", Value::from("电动自行车")),
        ("slot", Value::Int(DAY.0)),
        ("checked_in_at", Value::Int(DAY.0)),
        ("pre_inspection", Value::from("外观完好")),
        ("symptom", Value::from("异响")),
    ];
    let id = store.capture(wish(None, "repair_order", "check_in", &opening), at(1)).unwrap().document.id;
    let mut estimate = vec![("promised_at".to_owned(), Value::Int(DAY.0 + 86_400_000))];
    for line in 1..=2 {
        let fields = [
            ("part", Value::from("轴承")),
            ("quantity", Value::measured(1_000, "件")),
            ("price", Value::measured(1_999, "CNY")),
            ("coverage", Value::from("customer")),
        ];
        estimate.extend(fields.map(|(field, value)| (format!("part#{line}.{field}"), value)));
    }
    let estimate: Vec<(&str, Value)> = estimate.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let stock = Value::from("stock");
    let issue = [("part#1.source", stock.clone()), ("part#2.source", stock)];
    let act = |act: &str, set: &[(&str, Value)]| store.capture(wish(Some(id), "", act, set), at(2)).unwrap();
    act("estimate", &estimate);
    act("confirm", &[("consent_by", Value::from("张三"))]);
    act("assign", &[("technician", Value::from("赵四"))]);
    act("issue_parts", &issue)
}
