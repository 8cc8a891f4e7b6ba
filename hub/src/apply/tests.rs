//! Processing, through journals as agents make them.

use std::collections::BTreeMap;

use waystation_protocol::chain::Seq;
use waystation_protocol::entry::Entry;
use waystation_protocol::fact;
use waystation_protocol::id::DocId;
use waystation_protocol::kind;
use waystation_protocol::time;
use waystation_protocol::value::Value;

use crate::store::fixture::{Agent, Hub, START};
use crate::store::{Filter, Group, Rollup, Scope, Store};

fn quantity(number: i64) -> Value {
    Value::measured(number * 1000, "件")
}

pub(super) fn repair_order(agent: &mut Agent) -> DocId {
    let fields = [
        ("category", "水壶".into()),
        ("customer", "王芳".into()),
        ("slot", Value::Int(START.0)),
        ("checked_in_at", Value::Int(START.0)),
        ("pre_inspection", "外观完好".into()),
        ("symptom", "漏水".into()),
        ("fault", "F01".into()),
    ];
    agent.act(None, "repair_order", "check_in", &fields)
}

/// Documents of all six kinds, some taken a few steps further.
fn six_kinds(agent: &mut Agent) -> Vec<DocId> {
    let order = repair_order(agent);
    agent.act(
        Some(order),
        "repair_order",
        "estimate",
        &[
            ("promised_at", Value::Int(START.0 + 90_000_000)),
            ("part#1.part", "F-100".into()),
            ("part#1.quantity", quantity(2)),
            ("part#1.price", Value::measured(1999, "CNY")),
            ("part#1.coverage", "customer".into()),
        ],
    );
    agent.act(Some(order), "repair_order", "confirm", &[("consent_by", "王芳".into())]);
    agent.act(Some(order), "repair_order", "assign", &[("technician", "陈杰".into())]);
    // hands out two pieces: an effect posts what left the stock
    agent.act(Some(order), "repair_order", "issue_parts", &[("part#1.source", "stock".into())]);
    let stock = agent.act(
        None,
        "stock_movement",
        "post",
        &[
            ("item", "F-100".into()),
            ("location", "main".into()),
            ("quantity", quantity(12)),
            ("reason", "receipt".into()),
        ],
    );
    let sheet = agent.act(None, "count_sheet", "open", &[("zone", "A".into()), ("counter", "李娜".into())]);
    agent.act(
        Some(sheet),
        "count_sheet",
        "count",
        &[("item#1.item", "F-100".into()), ("item#1.location", "main".into()), ("item#1.counted", quantity(4))],
    );
    agent.act(Some(sheet), "count_sheet", "lock", &[]);
    let item = agent.act(
        None,
        "delivery_item",
        "receive",
        &[
            ("barcode", "EX123456789CN".into()),
            ("class", "express".into()),
            ("route", "7".into()),
            ("addressee", "赵敏".into()),
            ("address", "和平路 1 号".into()),
            ("due_at", Value::Int(START.0 + 86_400_000)),
        ],
    );
    agent.act(Some(item), "delivery_item", "load", &[]);
    agent.act(
        Some(item),
        "delivery_item",
        "deliver",
        &[
            ("delivered_at", Value::Int(START.0)),
            ("attempt#1.tried_at", Value::Int(START.0)),
            ("attempt#1.result", "delivered".into()),
        ],
    );
    let run = agent.act(
        None,
        "delivery_run",
        "plan",
        &[("date", Value::Int(20_000)), ("route", "7".into()), ("carrier", "孙强".into())],
    );
    let survey = agent.survey(92);
    agent.act(Some(survey), "survey", "note", &[("note_text", "已回访".into())]);
    vec![order, stock, sheet, item, run, survey]
}

/// Both ends hold the same documents.
fn assert_equal(store: &Store, agent: &Agent) {
    for (id, document) in &agent.documents {
        let here = store.document(*id).unwrap();
        assert_eq!(here.map(|here| here.digest()), Some(document.digest()), "{} {id}", document.kind);
    }
}

pub(super) type Sums = BTreeMap<(String, String, i64, Vec<String>), Vec<i64>>;

/// Sums by measure, site, day and keys: of the roll-ups, of the facts, and of the documents' facts computed anew.
pub(super) fn sums(hub: &Hub) -> [Sums; 3] {
    let conn = crate::store::open_reader(hub.dir.path()).unwrap();
    let stored = |table: &str| {
        let mut sums = Sums::new();
        for measure in kind::measures() {
            let keys: String = (1..=measure.keys.len()).map(|n| format!(", k{n}")).collect();
            let values: String = (1..=measure.values.len()).map(|n| format!(", v{n}")).collect();
            let sql = format!(
                "SELECT site.site, day{keys}{values} FROM {table} JOIN site ON site.id = {table}.site WHERE measure = ?1"
            );
            let mut statement = conn.prepare(&sql).unwrap();
            let mut rows = statement.query([measure.name]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let keys: Vec<String> = (2..2 + measure.keys.len()).map(|n| row.get(n).unwrap()).collect();
                let first = 2 + measure.keys.len();
                let values = (first..first + measure.values.len()).map(|n| row.get(n).unwrap()).collect();
                let group = (measure.name.to_owned(), row.get(0).unwrap(), row.get(1).unwrap(), keys);
                add(&mut sums, group, values);
            }
        }
        sums
    };
    let mut computed = Sums::new();
    let filter = Filter { limit: 500, ..Filter::default() };
    let page = hub.store.documents(&filter).unwrap();
    assert_eq!(page.next, None);
    for document in page.items {
        for fact in fact::of(&document, &time::zone("").unwrap()) {
            let group = (fact.measure.name.to_owned(), document.site.to_string(), i64::from(fact.day.0), fact.keys);
            add(&mut computed, group, fact.values);
        }
    }
    [stored("rollup"), stored("fact"), computed].map(|mut sums| {
        sums.retain(|_, values| values.iter().any(|value| *value != 0));
        sums
    })
}

fn add(sums: &mut Sums, group: (String, String, i64, Vec<String>), values: Vec<i64>) {
    let sum = sums.entry(group).or_insert_with(|| vec![0; values.len()]);
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Proves I4, I6.
#[test]
fn six_kinds_become_equal_documents_and_their_sums() {
    let mut agent = Agent::new(1, &["3702"]);
    let documents = six_kinds(&mut agent);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    assert_equal(&hub.store, &agent);
    let totals = hub.store.totals().unwrap();
    assert_eq!((totals.documents, totals.quarantined, totals.parked), (agent.documents.len() as u64, 0, 0));
    let [rollups, facts, computed] = sums(&hub);
    assert!(computed.len() >= 5, "{computed:?}");
    assert_eq!(rollups, facts);
    assert_eq!(facts, computed);
    let history = hub.store.history(documents[3]).unwrap();
    assert_eq!(history.iter().map(|step| step.entry.act.as_str()).collect::<Vec<_>>(), ["receive", "load", "deliver"]);
    assert!(history.iter().all(|step| step.agent == agent.id && step.stream == agent.stream));
}

#[test]
fn a_database_counted_by_other_measures_is_counted_anew_even_if_that_was_cut_off() {
    let mut agent = Agent::new(1, &["3702"]);
    six_kinds(&mut agent);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let [counted, ..] = sums(&hub);
    let earlier_build = "UPDATE meta SET value = x'00' WHERE name = 'measures'; UPDATE rollup SET k1 = 'x', v1 = 7";
    let cut_off = "DELETE FROM fact; DELETE FROM rollup;
                   INSERT INTO meta (name, value) VALUES ('counted_through', x'0000000000000000')";
    for state in [earlier_build, cut_off] {
        crate::store::open_writer(hub.dir.path()).unwrap().execute_batch(state).unwrap();
        hub = hub.reopen();
        let [rollups, facts, computed] = sums(&hub);
        assert_eq!((&rollups, &facts, &computed), (&counted, &counted, &counted));
    }
}

#[test]
fn sums_follow_documents_that_change_after_they_were_counted() {
    let mut agent = Agent::new(1, &["3702"]);
    let mut hub = Hub::open();
    let surveys: Vec<DocId> = (0..20).map(|n| agent.survey(n * 5)).collect();
    let documents = six_kinds(&mut agent);
    hub.take_all(&agent);
    for id in surveys.iter().step_by(3).chain([&documents[1]]) {
        let kind = agent.documents[id].kind.clone();
        agent.act(Some(*id), &kind, "void", &[("void_reason", "误录".into())]);
    }
    hub.take_all(&agent);
    assert_equal(&hub.store, &agent);
    let [rollups, facts, computed] = sums(&hub);
    assert_eq!(rollups, facts);
    assert_eq!(facts, computed);
    let measure = kind::measures().find(|measure| measure.name == "satisfaction").unwrap();
    let rollup = |by| {
        hub.store.rollup(&Rollup { scope: Scope { measure, from: None, to: None, only: Vec::new() }, by }).unwrap()
    };
    let whole = rollup(vec![]);
    assert_eq!((whole.len(), whole[0].values[0]), (1, 20 - 7 + 1));
    let parts = rollup(vec![Group::Site, Group::Month, Group::Key(0), Group::Key(9)]);
    assert_eq!(parts[0].keys, ["3702", "2026-09", "回访", ""]);
    assert_eq!(parts.iter().map(|row| row.values[0]).sum::<i64>(), 14);
}

/// Appends one survey, then what `poison` makes of a second, then three more surveys; states what was set aside.
fn check_poison(expected: &str, poison: impl FnOnce(&mut Agent)) {
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(50);
    poison(&mut agent);
    let healthy: Vec<DocId> = (0..3).map(|n| agent.survey(n)).collect();
    let mut hub = Hub::open();
    hub.take_all(&agent);
    for id in healthy {
        assert!(hub.store.document(id).unwrap().is_some(), "other documents flow: {expected}");
    }
    let mut rows = hub.store.quarantine(10).unwrap();
    rows.reverse();
    let said: Vec<String> =
        rows.iter().map(|row| format!("{}{}", row.reason.code, if row.is_parked { " (parked)" } else { "" })).collect();
    assert_eq!(said.join(", "), expected);
    assert!(rows.iter().all(|row| row.agent == agent.id
        && row.stream == agent.stream
        && !row.reason.en.is_empty()
        && !row.reason.zh.is_empty()));
    let totals = hub.store.totals().unwrap();
    assert_eq!((totals.quarantined + totals.parked, totals.processed), (rows.len() as u64, agent.head().seq.0));
}

pub(super) fn push(agent: &mut Agent, change: impl FnOnce(&mut Entry)) -> Entry {
    let entry = agent.survey_entry(change);
    agent.push(entry.to_bytes());
    entry
}

/// Proves R-PROC-1.
#[test]
fn a_poisoned_entry_is_set_aside_and_other_documents_flow() {
    check_poison("undecodable", |agent| {
        agent.push(b"\xff not cbor".to_vec());
    });
    check_poison("undecodable", |agent| {
        agent.push(Vec::new());
    });
    check_poison("wrong_type", |agent| drop(push(agent, |entry| drop(entry.set.insert("score".into(), "x".into())))));
    check_poison("unknown_field", |agent| drop(push(agent, |entry| drop(entry.set.insert("scare".into(), 1.into())))));
    check_poison("wrong_site", |agent| drop(push(agent, |entry| drop(entry.set.insert("site".into(), "x".into())))));
    check_poison("wrong_site", |agent| drop(push(agent, |entry| entry.set.clear())));
    check_poison("unknown_kind (parked)", |agent| drop(push(agent, |entry| entry.kind = "moon_order".into())));
    check_poison("newer_form (parked)", |agent| drop(push(agent, |entry| entry.form = 99)));
    check_poison("unknown_act", |agent| drop(push(agent, |entry| entry.act = "fly".into())));
}

/// Proves R-PROC-1.
#[test]
fn later_entries_of_a_poisoned_document_wait_behind_it() {
    check_poison("wrong_type, behind (parked), behind (parked)", |agent| {
        let bad = push(agent, |entry| drop(entry.set.insert("score".into(), "x".into())));
        for act in ["void", "note"] {
            push(agent, |entry| {
                entry.document = Some(bad.document());
                entry.after = Some(bad.id);
                entry.act = act.into();
                entry.set.clear();
            });
        }
    });
}

/// Proves R-ENTRY-5.
#[test]
fn the_effect_of_a_quarantined_entry_is_parked() {
    check_poison("unknown_act, cause (parked)", |agent| {
        let bad = push(agent, |entry| entry.act = "fly".into());
        push(agent, |entry| entry.cause = Some(bad.id));
    });
}

/// Proves R-ENTRY-3, R-PROC-4, I2.
#[test]
fn the_same_entry_again_is_ignored_and_other_bytes_under_its_id_are_not() {
    let mut agent = Agent::new(1, &["3702"]);
    let entry = push(&mut agent, |_| {});
    agent.push(entry.to_bytes());
    let mut other = entry.clone();
    other.author = "someone else".into();
    agent.push(other.to_bytes());
    let mut hub = Hub::open();
    hub.take_all(&agent);
    assert_eq!(hub.store.counters().entries_repeated.value(), 1);
    let rows = hub.store.quarantine(10).unwrap();
    assert_eq!(rows.iter().map(|row| row.reason.code.as_str()).collect::<Vec<_>>(), ["same_id"]);
    assert_eq!(hub.store.history(entry.document()).unwrap().len(), 1);
    assert_eq!(hub.number("SELECT count(*) FROM fact"), 0, "a survey without a score has no facts");
}

/// An applier that begins reads how far journals are stored; the mail that tells of the same entries may come after that.
#[test]
fn news_of_entries_judged_already_are_no_damage() {
    let mut agent = Agent::new(1, &["3702"]);
    push(&mut agent, |_| {});
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let row = hub.number("SELECT id FROM stream WHERE stored_seq = 1");
    hub.store.tell_stored(&[(row, Seq(1))]);
    push(&mut agent, |_| {});
    hub.take_all(&agent);
    assert_eq!(hub.store.damage().unwrap(), None);
}

/// Two agents of one site; the second's entries follow the first's, which arrive later.
/// Proves R-ENTRY-2.
#[test]
fn parked_entries_are_applied_when_what_they_follow_arrives() {
    for reopens in [false, true] {
        let (mut first, mut second) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
        let id = first.survey(70);
        let opening = id.opening();
        let note = second.survey_entry(|entry| {
            entry.document = Some(id);
            entry.act = "note".into();
            entry.set = BTreeMap::from([("note_text".to_owned(), "好".into())]);
        });
        let void = second.survey_entry(|entry| {
            entry.document = Some(id);
            entry.after = Some(opening);
            entry.act = "void".into();
            entry.set = BTreeMap::from([("void_reason".to_owned(), "重复".into())]);
        });
        second.push(note.to_bytes());
        second.push(void.to_bytes());
        let mut hub = Hub::open();
        hub.take_all(&second);
        let codes: Vec<String> = hub.store.quarantine(9).unwrap().into_iter().map(|row| row.reason.code).collect();
        assert_eq!(codes, ["behind", "ahead"]);
        assert_eq!((hub.store.totals().unwrap().parked, hub.store.document(id).unwrap()), (2, None));
        if reopens {
            hub = hub.reopen();
        }
        hub.take_all(&first);
        let document = hub.store.document(id).unwrap().unwrap();
        assert_eq!((document.state.as_str(), document.notes.len()), ("void", 1));
        let totals = hub.store.totals().unwrap();
        assert_eq!((totals.parked, totals.quarantined), (0, 0));
        assert_eq!(hub.store.counters().entries_released.value(), 2);
        assert_eq!(hub.store.history(id).unwrap().len(), 3);
        let [rollups, facts, computed] = sums(&hub);
        assert_eq!((&rollups, &facts), (&facts, &computed));
    }
}

#[test]
fn another_journals_poison_does_not_stop_the_pens_holder() {
    let (mut holder, mut clone) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
    let id = repair_order(&mut holder);
    let opening = id.opening();
    holder.act(Some(id), "repair_order", "estimate", &[("promised_at", Value::Int(START.0 + 1))]);
    let late = clone.survey_entry(|entry| {
        entry.document = Some(id);
        entry.kind = "repair_order".into();
        entry.after = Some(opening);
        entry.act = "void".into();
        entry.set.clear();
    });
    clone.push(late.to_bytes());
    let mut hub = Hub::open();
    hub.take_all(&holder);
    hub.take_all(&clone);
    assert_eq!(hub.store.quarantine(9).unwrap()[0].reason.code, "superseded");
    holder.act(Some(id), "repair_order", "confirm", &[("consent_by", "王芳".into())]);
    hub.take_all(&holder);
    assert_equal(&hub.store, &holder);
}

/// Proves R-PROC-4, I4.
#[test]
fn many_entries_of_two_sites_are_processed_in_slices_and_rebuilt_to_the_same() {
    let (mut east, mut west) = (Agent::new(1, &["城东站"]), Agent::new(2, &["城西站"]));
    let mut hub = Hub::open();
    for agent in [&mut east, &mut west] {
        six_kinds(agent);
        for n in 0..3_000 {
            let id = agent.survey(n % 101);
            if n % 10 == 0 {
                agent.act(Some(id), "survey", "void", &[("void_reason", "误录".into())]);
            }
        }
        agent.push(b"poison".to_vec());
        hub.take_all(agent);
    }
    let state = |hub: &Hub| {
        let digests: Vec<[u8; 32]> = [&east, &west]
            .iter()
            .flat_map(|agent| agent.documents.keys())
            .map(|id| hub.store.document(*id).unwrap().unwrap().digest())
            .collect();
        let measure = kind::measures().find(|measure| measure.name == "satisfaction").unwrap();
        let by = vec![Group::Site, Group::Day, Group::Key(0)];
        (
            digests,
            hub.store.totals().unwrap(),
            hub.store.rollup(&Rollup { scope: Scope { measure, from: None, to: None, only: Vec::new() }, by }).unwrap(),
        )
    };
    let before = state(&hub);
    assert_equal(&hub.store, &east);
    let mut told = Vec::new();
    hub.store.rebuild(&mut |done, all| told.push((done, all))).unwrap();
    assert_eq!(state(&hub), before);
    let all = east.head().seq.0 + west.head().seq.0;
    assert_eq!(told.last(), Some(&(all, all)));
    let hub = hub.reopen();
    assert_eq!(state(&hub), before);
}

#[test]
fn documents_are_listed_and_found() {
    let mut agent = Agent::new(1, &["3702", "3703"]);
    let mut hub = Hub::open();
    for n in 0..7 {
        let site = if n % 2 == 0 { "3702" } else { "3703" };
        agent.act(None, "survey", "answer", &[("site", site.into()), ("form", format!("F_{n}%").into())]);
    }
    hub.take_all(&agent);
    let list = |filter: Filter| hub.store.documents(&filter).unwrap();
    let find = |q: &str| list(Filter { q: Some(q.into()), ..Filter::default() }).items.len();
    assert_eq!([find("F_3%"), find("f_"), find("F%3"), find("nothing")], [1, 7, 0, 0]);
    let of_site =
        Filter { site: Some("3702".parse().unwrap()), kind: Some("survey".into()), limit: 3, ..Filter::default() };
    let first = list(of_site.clone());
    let second = list(Filter { cursor: first.next.clone(), ..of_site });
    assert_eq!((first.items.len(), second.items.len(), second.next), (3, 1, None));
    assert!(list(Filter { state: Some("void".into()), ..Filter::default() }).items.is_empty());
    assert!(hub.store.documents(&Filter { cursor: Some("x".into()), ..Filter::default() }).is_err());
}

#[test]
fn sums_beyond_64_bits_do_not_stop_the_journal() {
    let mut agent = Agent::new(1, &["3702"]);
    for quantity in [i64::MAX, i64::MAX, i64::MIN, 5] {
        let entry = agent.survey_entry(|entry| {
            entry.kind = "stock_movement".into();
            entry.act = "post".into();
            entry.set.remove("form");
            entry.set.insert("item".into(), "F".into());
            entry.set.insert("location".into(), "main".into());
            entry.set.insert("quantity".into(), Value::measured(quantity, "件"));
            entry.set.insert("reason".into(), "receipt".into());
        });
        agent.push(entry.to_bytes());
    }
    let mut hub = Hub::open();
    hub.take_all(&agent);
    assert_eq!(hub.store.totals().unwrap().processed, agent.head().seq.0);
    assert_eq!(hub.stored(&agent), Seq(4));
}
