//! Believable sample work for three trades, drawn from a fixed seed.
//!
//! A story is what happens to one document, act by act. Names, plates and parts are invented.

use std::collections::{BTreeMap, VecDeque};

use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

const PEOPLE: &[&str] = &["张伟", "王芳", "李娜", "刘洋", "陈静", "杨磊", "赵敏", "黄强", "周婷", "吴刚"];
const FAULTS: &[(&str, &str, &str)] = &[
    ("E01", "冷启动困难，怠速抖动", "火花塞"),
    ("B12", "制动时有金属摩擦声", "刹车片"),
    ("C07", "空调不制冷", "压缩机"),
    ("L03", "机油渗漏", "油底壳垫"),
    ("S05", "转向沉重", "助力泵"),
    ("T02", "换挡顿挫", "变速箱油"),
];
const MODELS: &[&str] = &["致远 1.5T", "致远 2.0", "启程 EV", "启程 混动", "领航 7 座"];
const PARTS: &[(&str, i64)] =
    &[("机油滤清器", 3_800), ("刹车片", 26_000), ("火花塞", 4_500), ("空气滤芯", 6_800), ("雨刮片", 5_900)];
const STREETS: &[&str] = &["滨江路", "文昌街", "人民东路", "学府巷", "沿河村", "工业三路"];
const GOODS: &[(&str, &str)] = &[
    ("6901234500017", "矿泉水 550ml"),
    ("6901234500024", "酱油 500ml"),
    ("6901234500031", "挂面 1kg"),
    ("6901234500048", "洗衣液 2L"),
    ("6901234500055", "电池 4 节"),
    ("6901234500062", "抽纸 6 包"),
];
const SHELVES: &[&str] = &["A-01", "A-02", "B-01", "B-02", "冷柜"];

/// What an outlet does all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trade {
    /// A car service station.
    CarService,
    /// A postal outlet.
    Post,
    /// A chain store.
    Store,
}

/// One document's acts, in order.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    /// The kind's name.
    pub(crate) kind: &'static str,
    /// Acts and the fields they set.
    pub(crate) acts: VecDeque<(&'static str, BTreeMap<String, Value>)>,
}

/// SplitMix64: enough chance for sample data, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The same seed gives the same stories.
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A number from 0 to `bound` − 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % bound.max(1) as u64) as usize
    }

    /// One of `items`.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// True `percent` times in a hundred.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Somebody.
    pub(crate) fn person(&mut self) -> &'static str {
        self.pick(PEOPLE)
    }
}

/// A story of this trade that begins about `now`.
pub(crate) fn story(trade: Trade, chance: &mut Chance, now: Timestamp) -> Story {
    match (trade, chance.below(10)) {
        (Trade::CarService, 0..=6) => repair(chance, now),
        (Trade::CarService, 7 | 8) => {
            let (part, _) = PARTS[chance.below(PARTS.len())];
            movement(chance, part, "件", "main")
        }
        (Trade::Post, 0..=7) => delivery(chance, now),
        (Trade::Post, 8) => run(chance, now),
        (Trade::Store, 0..=5) => goods_movement(chance),
        (Trade::Store, 6..=8) => count(chance),
        (Trade::CarService | Trade::Post | Trade::Store, _) => survey(chance),
    }
}

/// Fields by their names.
pub(crate) fn fields<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn story_of(kind: &'static str, acts: Vec<(&'static str, BTreeMap<String, Value>)>) -> Story {
    Story { kind, acts: acts.into() }
}

fn repair(chance: &mut Chance, now: Timestamp) -> Story {
    let (code, symptom, part) = FAULTS[chance.below(FAULTS.len())];
    let (spare, price) = PARTS[chance.below(PARTS.len())];
    let customer = chance.person();
    let came = now.0 - (30 + chance.below(60) as i64) * MINUTE_MS;
    let mut acts = vec![
        (
            "check_in",
            fields([
                ("vin", Value::from(vin(chance))),
                ("plate", Value::from(format!("川A{:05}", chance.below(100_000)))),
                ("model", Value::from(chance.pick(MODELS))),
                ("odometer", Value::Int(5_000 + chance.below(120_000) as i64)),
                ("customer", Value::from(customer)),
                ("phone", Value::from(format!("138{:08}", chance.below(100_000_000)))),
                ("checked_in_at", Value::Int(came)),
                ("pre_inspection", Value::from("外观完好，油液正常")),
                ("symptom", Value::from(symptom)),
            ]),
        ),
        (
            "estimate",
            fields([
                ("promised_at", Value::Int(came + 6 * HOUR_MS)),
                ("fault", Value::from(code)),
                ("causal_part", Value::from(part)),
                ("labour#1.operation", Value::from("检测与更换")),
                ("labour#1.hours", Value::Int(50 + 25 * chance.below(8) as i64)),
                ("labour#1.rate", Value::measured(12_000, "CNY")),
                ("labour#1.coverage", Value::from("customer")),
                ("part#1.part", Value::from(spare)),
                ("part#1.quantity", Value::measured(1_000, "件")),
                ("part#1.price", Value::measured(price, "CNY")),
                ("part#1.coverage", Value::from(if chance.percent(40) { "warranty" } else { "customer" })),
            ]),
        ),
    ];
    if chance.percent(8) {
        acts.push(("decline", fields([("reason", Value::from("客户另行考虑"))])));
        return story_of("repair_order", acts);
    }
    let technician = Value::from(chance.person());
    acts.push(("confirm", fields([("consent_by", Value::from(customer))])));
    acts.push((
        "assign",
        fields([("technician", technician), ("bay", Value::from(format!("{} 号", 1 + chance.below(6))))]),
    ));
    acts.push((
        "issue_parts",
        fields([("part#1.source", Value::from("stock")), ("part#1.location", Value::from("main"))]),
    ));
    acts.push(("work", BTreeMap::new()));
    let outcome = if chance.percent(88) { "fixed" } else { "repairable" };
    acts.push(("finish", fields([("outcome", Value::from(outcome))])));
    acts.push(("release", fields([("qc_result", Value::from("pass")), ("released_at", Value::Int(now.0))])));
    story_of("repair_order", acts)
}

/// A VIN of an invented Chinese maker, with the right check digit.
fn vin(chance: &mut Chance) -> String {
    let body = format!("LWSA5B3{}{:08}", ["E", "F", "G"][chance.below(3)], chance.below(100_000_000));
    let candidate = |digit: char| format!("{}{digit}{}", &body[..8], &body[8..]);
    let good = "0123456789X"
        .chars()
        .map(candidate)
        .find(|vin| waystation_protocol::vin::check(vin) == waystation_protocol::vin::VinCheck::Good);
    good.unwrap_or_else(|| candidate('0'))
}

fn delivery(chance: &mut Chance, now: Timestamp) -> Story {
    let receipt = chance.percent(20);
    let came = now.0 - chance.below(4) as i64 * DAY_MS;
    let due = came + DAY_MS + HOUR_MS;
    let mut received = fields([
        ("barcode", Value::from(format!("XA{:09}CN", chance.below(1_000_000_000)))),
        (
            "class",
            Value::from(if receipt {
                "bank_statement"
            } else {
                ["letter", "parcel", "bill", "express"][chance.below(4)]
            }),
        ),
        ("route", Value::from(format!("{} 段", 1 + chance.below(5)))),
        ("addressee", Value::from(chance.person())),
        ("address", Value::from(format!("{}{} 号", chance.pick(STREETS), 1 + chance.below(200)))),
        ("due_at", Value::Int(due)),
        ("occurred_at", Value::Int(came)),
    ]);
    if receipt {
        received.insert("receipt_required".into(), Value::Flag(true));
        received.insert("receipt_due_at".into(), Value::Int(due + 5 * DAY_MS));
    }
    let mut acts = vec![("receive", received), ("load", BTreeMap::new())];
    let mut attempt = 1;
    if chance.percent(15) {
        acts.push(("fail", tried(attempt, now, "failed", Some(["absent", "refused", "closed"][chance.below(3)]))));
        if chance.percent(30) {
            acts.push(("give_up", BTreeMap::new()));
            return story_of("delivery_item", acts);
        }
        acts.push(("load", BTreeMap::new()));
        attempt = 2;
    }
    let mut handed = tried(attempt, now, "delivered", None);
    handed.insert("delivered_at".into(), Value::Int(now.0));
    handed.insert("signed_by".into(), Value::from(chance.person()));
    acts.push((if receipt { "deliver_with_receipt" } else { "deliver" }, handed));
    if receipt {
        acts.push(("collect_receipt", BTreeMap::new()));
        acts.push(("send_receipt", fields([("receipt_returned_at", Value::Int(now.0))])));
    }
    story_of("delivery_item", acts)
}

fn tried(attempt: u32, now: Timestamp, result: &str, reason: Option<&str>) -> BTreeMap<String, Value> {
    let mut set = BTreeMap::from([
        (format!("attempt#{attempt}.tried_at"), Value::Int(now.0)),
        (format!("attempt#{attempt}.result"), Value::from(result)),
    ]);
    if let Some(reason) = reason {
        set.insert(format!("attempt#{attempt}.reason"), Value::from(reason));
    }
    set
}

fn run(chance: &mut Chance, now: Timestamp) -> Story {
    let items = 2 + chance.below(4);
    let today = now.0.div_euclid(DAY_MS);
    let mut planned = fields([
        ("date", Value::Int(today)),
        ("route", Value::from(format!("{} 段", 1 + chance.below(5)))),
        ("carrier", Value::from(chance.person())),
    ]);
    let (mut loaded, mut results) = (BTreeMap::new(), BTreeMap::new());
    for item in 1..=items {
        planned.insert(format!("item#{item}.barcode"), Value::from(format!("XA{:09}CN", chance.below(1_000_000_000))));
        loaded.insert(format!("item#{item}.loaded_at"), Value::Int(now.0));
        let fate = ["delivered", "delivered", "delivered", "returned", "retained"][chance.below(5)];
        results.insert(format!("item#{item}.fate"), Value::from(fate));
    }
    let acts = vec![
        ("plan", planned),
        ("load", loaded),
        ("leave", BTreeMap::new()),
        ("result", results),
        ("reconcile", BTreeMap::new()),
        ("close", BTreeMap::new()),
    ];
    story_of("delivery_run", acts)
}

fn movement(chance: &mut Chance, item: &str, unit: &str, location: &str) -> Story {
    let (reason, quantity) = match chance.below(3) {
        0 => ("receipt", 10 + chance.below(40) as i64),
        1 => ("issue", -(1 + chance.below(3) as i64)),
        _ => ("return", 1 + chance.below(2) as i64),
    };
    let set = fields([
        ("item", Value::from(item)),
        ("location", Value::from(location)),
        ("quantity", Value::measured(quantity * 1000, unit)),
        ("reason", Value::from(reason)),
    ]);
    story_of("stock_movement", vec![("post", set)])
}

fn goods_movement(chance: &mut Chance) -> Story {
    let (code, name) = GOODS[chance.below(GOODS.len())];
    let shelf = chance.pick(SHELVES);
    let mut story = movement(chance, code, "件", shelf);
    if let Some((_, set)) = story.acts.front_mut() {
        set.insert("description".into(), Value::from(name));
    }
    story
}

fn count(chance: &mut Chance) -> Story {
    let shelf = chance.pick(SHELVES);
    let opened = fields([
        ("zone", Value::from(shelf)),
        ("counter", Value::from(chance.person())),
        ("blind", Value::Flag(true)),
        ("tolerance", Value::measured(2_000, "件")),
    ]);
    let mut acts = vec![("open", opened)];
    for line in 1..=2 + chance.below(4) {
        let (code, _) = GOODS[(line + chance.below(2)) % GOODS.len()];
        let set = BTreeMap::from([
            (format!("item#{line}.item"), Value::from(code)),
            (format!("item#{line}.location"), Value::from(shelf)),
            (format!("item#{line}.counted"), Value::measured(chance.below(60) as i64 * 1000, "件")),
            (format!("item#{line}.found"), Value::from("scanned")),
        ]);
        acts.push(("count", set));
    }
    acts.push(("lock", BTreeMap::new()));
    story_of("count_sheet", acts)
}

fn survey(chance: &mut Chance) -> Story {
    let score = 70 + chance.below(31) as i64;
    let comment = ["很满意", "态度好，速度快", "等待时间偏长", "希望电话提前通知"][chance.below(4)];
    let set = fields([
        ("form", Value::from("客户满意度 2026")),
        ("subject", Value::from(chance.person())),
        ("score", Value::Int(score)),
        ("comment", Value::from(comment)),
        ("answer#1.question", Value::from("总体评价")),
        ("answer#1.answer", Value::from(if score >= 90 { "满意" } else { "一般" })),
    ]);
    story_of("survey", vec![("answer", set)])
}
