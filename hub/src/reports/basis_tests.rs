//! Every figure of every report adds up from the documents listed behind it, whatever became of them.

use std::collections::BTreeMap;

use waystation_protocol::fact;
use waystation_protocol::id::DocId;
use waystation_protocol::kind;
use waystation_protocol::time::{self, Day, Timestamp};
use waystation_protocol::value::Value;

use super::{Cell, Decimal, Figure, Key, Pick, Question, REPORTS, Report, Source, answer, basis, find};
use crate::store::Store;
use crate::store::fixture::{Agent, Hub, START};

const DAY_MS: i64 = 86_400_000;
const SITES: [&str; 3] = ["城东", "007", "=1+1"];

/// The `n`-th of some documents: at one of three sites, on one of 90 days.
fn header(n: i64, state: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("site", SITES[n as usize % 3].into()),
        ("state", state.into()),
        ("occurred_at", Value::Int(START.0 - (n * 7 % 90) * DAY_MS)),
        ("source_key", n.to_string().as_str().into()),
    ]
}

fn imported(agent: &mut Agent, kind: &str, header: Vec<(&str, Value)>, fields: &[(&str, Value)]) -> DocId {
    agent.act(None, kind, "imported", &[&header[..], fields].concat())
}

fn quantity(milli: i64) -> Value {
    Value::measured(milli, "件")
}

fn repair(agent: &mut Agent, n: i64) -> DocId {
    let outcome = ["fixed", "repairable", "end_of_life", "unknown"][n as usize % 4];
    let at = START.0 - (n * 7 % 90) * DAY_MS;
    let mut fields = vec![("category", ["水壶", "=A1"][n as usize % 2].into()), ("outcome", outcome.into())];
    fields.extend([("checked_in_at", Value::Int(at)), ("pre_inspection", "完好".into()), ("symptom", "漏水".into())]);
    if n % 2 > 0 {
        fields.push(("released_at", Value::Int(at + n * 3_600_000)));
        fields.push(("promised_at", Value::Int(at + 20 * 3_600_000)));
    }
    if n % 5 > 0 {
        fields.push(("fault", format!("F{}", n % 7).as_str().into()));
    }
    imported(agent, "repair_order", header(n, "checked_in"), &fields)
}

fn delivery(agent: &mut Agent, n: i64) -> DocId {
    let due = START.0 - (n * 3 % 80) * DAY_MS;
    let state = ["at_site", "delivered", "attempted", "out"][n as usize % 4];
    let mut fields = vec![
        ("route", format!("段{}", n % 3).as_str().into()),
        ("class", ["parcel", "letter"][n as usize % 2].into()),
        ("due_at", Value::Int(due)),
        ("receipt_required", Value::Flag(n % 3 == 0)),
        ("barcode", "EX1".into()),
        ("addressee", "赵敏".into()),
        ("address", "和平路".into()),
    ];
    if state == "delivered" {
        fields.push(("delivered_at", Value::Int(due + (n % 5 - 2) * DAY_MS)));
    }
    imported(agent, "delivery_item", header(n, state), &fields)
}

fn count(agent: &mut Agent, n: i64) -> DocId {
    let mut fields = vec![("zone", ["A", ""][n as usize % 2].into())];
    for (key, value) in [("item#1", 4), ("item#2", 5)] {
        let key = |field: &str| -> &'static str { format!("{key}.{field}").leak() };
        fields.extend([
            (key("item"), "I1".into()),
            (key("counted"), quantity((value + n % 3) * 1000)),
            (key("expected"), quantity(5000)),
        ]);
        // one site states every cost, one some, one none
        if n % 3 == 0 || (n % 3 == 1 && value == 4) {
            fields.push((key("unit_cost"), Value::measured(1999, "CNY")));
        }
    }
    imported(agent, "count_sheet", header(n, "locked"), &fields)
}

fn stock(agent: &mut Agent, n: i64) -> DocId {
    let item = format!("I{}", n % 4);
    let fields = [
        ("item", item.as_str().into()),
        ("location", ["main", "back"][n as usize % 2].into()),
        ("quantity", quantity(n * 1250 % 9000 - 3000 - i64::from(n * 1250 % 9000 == 3000))),
        ("reason", "receipt".into()),
    ];
    imported(agent, "stock_movement", header(n, "posted"), &fields)
}

fn survey(agent: &mut Agent, n: i64) -> DocId {
    let fields = [
        ("form", ["回访", "gsp"][n as usize % 2].into()),
        ("score", (n * 17 % 101).into()),
        ("weight", (1 + n % 3).into()),
    ];
    imported(agent, "survey", header(n, "answered"), &fields)
}

fn money(minor: i64) -> Value {
    Value::measured(minor, "CNY")
}

fn claim(agent: &mut Agent, n: i64) -> DocId {
    let at = START.0 - (n * 5 % 80) * DAY_MS;
    let fields = [
        ("variant", ["ordinary", "roadside"][n as usize % 2].into()),
        ("fault", format!("F{}", n % 5).as_str().into()),
        ("supplier", ["甲厂", ""][n as usize % 2].into()),
        ("claimed", money(10_000 + n)),
        ("granted", money(n * 200)),
        ("passage#1.submitted_at", Value::Int(at)),
        ("passage#1.received_at", Value::Int(at + n * 7_000)),
        ("passage#1.decided_at", Value::Int(at + n * 11 * 60_000)),
    ];
    imported(agent, "claim", header(n, ["approved", "rejected", "reviewing"][n as usize % 3]), &fields)
}

fn recovery(agent: &mut Agent, n: i64) -> DocId {
    let mut fields = vec![
        ("supplier", ["甲厂", "乙厂"][n as usize % 2].into()),
        ("responsible", "supplier".into()),
        ("claimed", money(50_000 + n)),
    ];
    if n % 3 > 0 {
        fields.extend([("agreed", money(40_000 - n)), ("invoice_no", "FP1".into()), ("paid", money(n * 900))]);
    }
    imported(agent, "recovery", header(n, ["agreed", "closed"][n as usize % 2]), &fields)
}

fn old_part(agent: &mut Agent, n: i64) -> DocId {
    let mut fields = vec![("part", "水泵".into()), ("supplier", ["甲厂", "乙厂"][n as usize % 2].into())];
    if n % 2 > 0 {
        fields.push(("discount", money(n)));
    }
    imported(agent, "old_part", header(n, ["mismatch", "short", "written_off"][n as usize % 3]), &fields)
}

fn transfer(agent: &mut Agent, n: i64) -> DocId {
    let fields = [
        ("part", "水泵".into()),
        ("mode", ["maker", "station"][n as usize % 2].into()),
        ("source", "007".into()),
        ("quantity", quantity(5_000)),
        ("approved", quantity(4_000)),
        ("shipped", quantity(4_000)),
        ("received", quantity(n % 5 * 1_000)),
        ("approved_at", Value::Int(START.0 - n * DAY_MS)),
        ("received_at", Value::Int(START.0 - n * DAY_MS + n * 4_000_000)),
    ];
    imported(agent, "part_transfer", header(n, ["closed", "short"][n as usize % 2]), &fields)
}

fn settlement(agent: &mut Agent, n: i64) -> DocId {
    let fields = [
        ("party", SITES[n as usize % 3].into()),
        ("period", format!("2026-0{}", 7 + n % 3).as_str().into()),
        ("until", Value::Int(i64::from(START.day(&time::zone("").unwrap()).0) - n * 2)),
        ("opening", money(1_000 * n)),
        ("approved", money(500 + n)),
        ("closing", money(1_000 * n)),
        ("total", money(0)),
    ];
    imported(agent, "settlement", header(n, ["issued", "closed"][n as usize % 2]), &fields)
}

/// A hub with documents of every kind; then many of them change what they count as, and some are voided.
fn filled() -> (Hub, Agent) {
    let (mut hub, mut agent) = (Hub::open(), Agent::new(1, &SITES));
    let makers = [repair, delivery, count, stock, survey, claim, recovery, old_part, transfer, settlement];
    let documents: Vec<Vec<DocId>> = makers.iter().map(|make| (0..40).map(|n| make(&mut agent, n)).collect()).collect();
    hub.take_all(&agent);
    for (n, id) in documents[0].iter().enumerate().step_by(3) {
        let fault = format!("F{}", n % 4);
        agent.act(
            Some(*id),
            "repair_order",
            "correct",
            &[("fault", fault.as_str().into()), ("outcome", "fixed".into())],
        );
    }
    for id in documents[1].iter().skip(3).step_by(4) {
        let at = agent.documents[id].occurred_at().0;
        let attempt = [("attempt#1.tried_at", Value::Int(at)), ("attempt#1.result", "delivered".into())];
        let delivered = [("delivered_at", Value::Int(at)), ("route", "段9".into())];
        let act = if agent.documents[id].fields["receipt_required"] == Value::Flag(true) {
            "deliver_with_receipt"
        } else {
            "deliver"
        };
        agent.act(Some(*id), "delivery_item", act, &[&delivered[..], &attempt].concat());
    }
    hub.take_all(&agent);
    for id in documents.iter().flat_map(|ids| ids.iter().step_by(6)) {
        let document = &agent.documents[id];
        let kind = kind::find(&document.kind).unwrap();
        let is_on_its_way = ["shipped", "received", "short", "damaged", "mismatch", "forwarded", "discounted", "paid"];
        let stands = is_on_its_way.contains(&document.state.as_str())
            || kind.stands_once_ended && kind.has_ended(&document.state);
        if !stands && !["count_sheet", "settlement"].contains(&kind.name) {
            agent.act(Some(*id), kind.name, "void", &[("void_reason", "误录".into())]);
        }
    }
    hub.take_all(&agent);
    (hub, agent)
}

/// The documents behind a figure, page by page, and what they add up to.
fn listed(store: &Store, pick: &Pick) -> (BTreeMap<DocId, Vec<Decimal>>, BTreeMap<&'static str, Decimal>, Cell) {
    let (mut documents, mut sums): (BTreeMap<_, _>, BTreeMap<&str, Decimal>) = Default::default();
    let mut pick = pick.clone();
    loop {
        let page = basis(store, &pick, START).expect("the store answers");
        for part in &page.parts {
            sums.entry(part.name).or_insert(Decimal { scaled: 0, ..part.sum });
        }
        for (document, own) in &page.items {
            assert!(own.iter().any(|own| own.scaled != 0), "{} adds nothing", document.id);
            for (part, own) in page.parts.iter().zip(own) {
                sums.get_mut(part.name).expect("entered above").scaled += own.scaled;
            }
            assert!(documents.insert(document.id, own.clone()).is_none(), "{} twice", document.id);
        }
        assert!(page.parts.iter().all(|part| page.next.is_some() || sums[part.name] == part.sum), "{pick:?}");
        pick.cursor = page.next;
        if pick.cursor.is_none() {
            return (documents, sums, page.value);
        }
    }
}

/// A figure from the listed documents' sums, by its declaration.
fn computed(figure: Figure, sums: &BTreeMap<&str, Decimal>) -> Option<Cell> {
    let sum = |names: &[&str]| names.iter().map(|name| sums[name].scaled).sum::<i128>();
    let ratio = |over, under| Decimal::ratio(over, under).map_or(Cell::Empty, Cell::Decimal);
    Some(match figure {
        Figure::Sum(name) => Cell::Whole(i64::try_from(sums[name].scaled).expect("small")),
        Figure::Balance(name) | Figure::Scaled(name, _) => Cell::Decimal(sums[name]),
        // sums alone do not say it
        Figure::Percentile(_) => return None,
        Figure::Ratio(of) => ratio(sum(of.over), sum(of.under)),
        Figure::Either { then, otherwise, .. } => {
            let of = if then.over.iter().all(|name| sums.contains_key(name)) { then } else { otherwise };
            ratio(sum(of.over), sum(of.under))
        }
        Figure::Share(name) => ratio(sums[name].scaled, sums["total"].scaled),
        Figure::Cumulative(_) => ratio(sums["cumulative_count"].scaled, sums["total"].scaled),
        Figure::Stated => Cell::Empty,
    })
}

/// Every figure of the report's table is that of the documents behind it; gives how many figures there were.
fn check(store: &Store, report: &'static Report, query: &[(&str, &str)]) -> usize {
    let pairs: Vec<(String, String)> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let question = Question::parse(report, &pairs).expect("a question");
    let table = answer(store, report, &question, START).expect("an answer");
    let period: Vec<(String, String)> = pairs.into_iter().filter(|(name, _)| name != "by").collect();
    let mut figures = 0;
    for row in &table.rows {
        let keys = table.by.iter().zip(row).map(|(key, cell)| match cell {
            Cell::Text(text) => (key.name().to_owned(), text.clone()),
            other => panic!("a key is text, not {other:?}"),
        });
        let keys: Vec<(String, String)> = keys.collect();
        for (column, cell) in report.columns.iter().zip(&row[table.by.len()..]) {
            let page = [("figure".to_owned(), column.name.to_owned()), ("limit".to_owned(), "7".to_owned())];
            let pick = Pick::parse(report, &[&period[..], &keys, &page].concat()).expect("a pick");
            let (_, sums, value) = listed(store, &pick);
            let told = format!("{} {} {query:?} {keys:?}", report.name, column.name);
            assert_eq!(value, *cell, "{told}");
            if let Some(computed) = computed(column.figure, &sums) {
                assert_eq!(computed, *cell, "{told}: {sums:?}");
            }
            figures += 1;
        }
    }
    figures
}

#[test]
fn every_figure_is_the_sum_of_the_documents_behind_it() {
    let (hub, _agent) = filled();
    for report in REPORTS {
        let Source::Measure(_) = report.source else { continue };
        let keys: Vec<&str> = report.allowed().iter().map(|key| key.name()).collect();
        let all = keys.join(",");
        let groupings = [&[""][..], &keys, &["site,month", "month,day", all.as_str()]].concat();
        for by in groupings {
            for period in [[("from", ""), ("to", "")], [("from", "2026-07-20"), ("to", "2026-09-05")]] {
                let figures = check(&hub.store, report, &[&[("by", by)], &period[..]].concat());
                assert!(figures > 0, "{} by {by}", report.name);
            }
        }
    }
}

/// What a document counts for a measure's value where the keys are these.
fn own_count(document: &waystation_protocol::document::Document, pick: &Pick, measure: &str, value: usize) -> i64 {
    let zone = time::zone("").expect("the default zone");
    let holds = |fact: &fact::Fact| {
        let in_period = pick.from.is_none_or(|from| fact.day >= from) && pick.to.is_none_or(|to| fact.day <= to);
        in_period
            && pick.keys.iter().all(|(key, text)| match key {
                Key::Site => document.site.as_str() == text,
                Key::Day => fact.day.to_string() == *text,
                Key::Month => fact.day.month() == *text,
                Key::Of(name) => {
                    let place = fact.measure.keys.iter().position(|key| key == name);
                    place.is_some_and(|place| fact.keys[place] == *text)
                }
            })
    };
    let facts = fact::of(document, &zone);
    facts.iter().filter(|fact| fact.measure.name == measure && holds(fact)).map(|fact| fact.values[value]).sum()
}

#[test]
fn exactly_the_documents_that_count_are_listed() {
    let (hub, agent) = filled();
    for (report, query, value) in [
        ("repairs", &[("figure", "fixed")][..], 1),
        ("repairs", &[("figure", "fixed"), ("site", "城东"), ("category", "=A1"), ("reason", "")], 1),
        ("faults", &[("fault", "F1"), ("month", "2026-08")], 0),
        ("delivery", &[("figure", "delivered"), ("route", "段9")], 1),
        ("delivery", &[("from", "2026-08-01"), ("to", "2026-08-31"), ("class", "letter")], 0),
        ("stock", &[("site", "=1+1"), ("item", "I2")], 0),
        ("counts", &[("zone", "")], 0),
        ("satisfaction", &[("day", "2026-09-14")], 0),
        ("satisfaction", &[("site", "nowhere")], 0),
        ("claims", &[("figure", "granted"), ("variant", "roadside")], 7),
        ("fault_costs", &[("figure", "claimed"), ("fault", "F2")], 6),
        ("recovery", &[("figure", "paid"), ("supplier", "甲厂")], 7),
        ("old_parts", &[("figure", "discount"), ("supplier", "乙厂")], 9),
        ("transfers", &[("figure", "received_q"), ("mode", "maker")], 9),
        ("settlement", &[("figure", "opening"), ("party", "007")], 4),
        ("turnaround", &[("site", "城东")], 0),
    ] {
        let pairs: Vec<(String, String)> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let pick = Pick::parse(find(report).unwrap(), &pairs).unwrap();
        let Source::Measure(measure) = pick.report.source else { panic!("{report} has no measure") };
        let counted =
            agent.documents.iter().map(|(id, document)| (*id, own_count(document, &pick, measure.name, value)));
        let expected: BTreeMap<DocId, i128> =
            counted.filter(|(_, own)| *own != 0).map(|(id, own)| (id, own.into())).collect();
        let found: BTreeMap<DocId, i128> =
            listed(&hub.store, &pick).0.into_iter().map(|(id, own)| (id, own[0].scaled)).collect();
        assert_eq!(found, expected, "{report} {query:?}");
        assert_eq!(expected.is_empty(), query.contains(&("site", "nowhere")), "{report} {query:?}");
    }
}

#[test]
fn a_balance_counts_from_the_beginning_to_the_end_of_its_stretch() {
    let (hub, agent) = filled();
    let pick = |query: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Pick::parse(find("stock").unwrap(), &pairs).unwrap()
    };
    let zone = time::zone("").unwrap();
    let until = |last: &str| {
        let (last, void): (Day, &str) = (last.parse().unwrap(), "void");
        let counts = |at: Timestamp| at.day(&zone) <= last;
        let movements = agent.documents.values().filter(|document| document.kind == "stock_movement");
        movements.filter(|document| document.state != void && counts(document.occurred_at())).count()
    };
    let all = until("2099-01-01");
    assert!(until("2026-07-31") > 0 && until("2026-07-31") < until("2026-08-31") && until("2026-08-31") < all);
    for (query, expected) in [
        (&[("from", "2026-09-01")][..], all),
        (&[("from", "2026-08-15"), ("month", "2026-08")], until("2026-08-31")),
        (&[("to", "2026-08-10"), ("month", "2026-08")], until("2026-08-10")),
        (&[("day", "2026-07-31"), ("to", "2026-09-01")], until("2026-07-31")),
    ] {
        assert_eq!(listed(&hub.store, &pick(query)).0.len(), expected, "{query:?}");
    }
}
