//! Resolutions as stories: what is asked about which entry, and what becomes of the documents. Each story is then
//! derived anew from raw and must come out the same.

use std::collections::BTreeMap;

use rusqlite::Connection;
use waystation_protocol::chain::Seq;
use waystation_protocol::id::DocId;
use waystation_protocol::site::Sites;
use waystation_protocol::value::Value;

use super::tests::{Sums, push, repair_order, sums};
use crate::store::fixture::{Agent, Hub, START};
use crate::store::{
    Action, Ask, AskError, Case, Change, EntryPlace, Filter, Options, QuarantineFilter, QuarantineRow, Store,
};

const PATIENCE_MS: u64 = 30_000;

fn place(agent: &Agent, seq: u64) -> EntryPlace {
    EntryPlace { stream: agent.stream, seq: Seq(seq) }
}

fn request(action: Action) -> Ask {
    Ask { action, who: "王芳".into(), why: "测试".into() }
}

fn fix(set: &[(&str, Value)], drop: &[&str], act: Option<&str>) -> Action {
    Action::Fix(Change {
        act: act.map(str::to_owned),
        set: set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        drop: drop.iter().map(|key| (*key).to_owned()).collect(),
    })
}

/// Asks, waits, and gives the outcome with the code it came with.
fn ask(hub: &Hub, agent: &Agent, seq: u64, action: Action) -> String {
    let number = hub.store.ask(place(agent, seq), request(action)).unwrap();
    let row = hub.store.wait_decided(number, PATIENCE_MS).unwrap();
    let code = row.after.map_or_else(String::new, |reason| format!(" {}", reason.code));
    format!("{}{code}", row.outcome.expect("decided in time"))
}

fn case(hub: &Hub, agent: &Agent, seq: u64) -> Case {
    hub.store.quarantine_case(place(agent, seq)).unwrap().unwrap()
}

fn rows(hub: &Hub, is_resolved: bool) -> Vec<QuarantineRow> {
    let filter = QuarantineFilter { is_resolved, limit: 500, ..QuarantineFilter::default() };
    hub.store.quarantine_page(&filter).unwrap().items
}

/// What is set aside, by place.
fn aside(hub: &Hub) -> String {
    let mut rows = rows(hub, false);
    rows.sort_by_key(|row| (row.stream, row.seq));
    let said = |row: &QuarantineRow| {
        format!("{} {}{}", row.seq.0, row.reason.code, if row.is_parked { " (parked)" } else { "" })
    };
    rows.iter().map(said).collect::<Vec<_>>().join(", ")
}

/// Everything that must not depend on when it was derived: documents, sums, what is set aside, what people resolved.
type Derived = (BTreeMap<DocId, [u8; 32]>, [Sums; 3], String, Vec<String>);

fn derived(hub: &Hub) -> Derived {
    let page = hub.store.documents(&Filter { limit: 500, ..Filter::default() }).unwrap();
    let digests = page.items.iter().map(|document| (document.id, document.digest())).collect();
    let resolved = rows(hub, true).into_iter().filter_map(|row| {
        let (_, word) = row.resolved?;
        (word != "released").then(|| format!("{} {} {word}", row.seq.0, row.reason.code))
    });
    let mut resolved: Vec<String> = resolved.collect();
    resolved.sort();
    (digests, sums(hub), aside(hub), resolved)
}

/// The same after a restart, and derived anew from raw.
fn check_rebuild(hub: Hub) -> Hub {
    let before = derived(&hub);
    let [rollups, facts, computed] = &before.1;
    assert_eq!((rollups, facts), (facts, computed));
    let trail = hub.number("SELECT count(*) FROM resolution");
    let hub = hub.reopen();
    assert_eq!(derived(&hub), before, "after a restart");
    hub.store.rebuild(&mut |_, _| ()).unwrap();
    assert_eq!(derived(&hub), before, "derived anew");
    let hub = hub.reopen();
    hub.store.rebuild(&mut |_, _| ()).unwrap();
    assert_eq!(derived(&hub), before, "derived anew after a restart");
    assert_eq!(hub.number("SELECT count(*) FROM resolution"), trail);
    hub
}

/// A journal, what is asked about its entries in turn, the outcomes, and what is set aside in the end.
fn check<T>(
    journal: impl FnOnce(&mut Agent) -> T,
    asked: &[(u64, Action)],
    outcomes: &str,
    expected: &str,
) -> (Hub, Agent) {
    let mut agent = Agent::new(1, &["3702"]);
    journal(&mut agent);
    let good = agent.survey(50);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let found: Vec<String> = asked.iter().map(|(seq, action)| ask(&hub, &agent, *seq, action.clone())).collect();
    assert_eq!(found.join(", "), outcomes);
    assert_eq!(aside(&hub), expected);
    assert!(hub.store.document(good).unwrap().is_some(), "other documents flow");
    (check_rebuild(hub), agent)
}

/// A survey whose score is text, then voided, then noted.
fn poisoned_survey(agent: &mut Agent) -> DocId {
    let bad = push(agent, |entry| drop(entry.set.insert("score".into(), "x".into())));
    for act in ["void", "note"] {
        push(agent, |entry| {
            entry.document = Some(bad.document());
            entry.after = Some(bad.id).filter(|_| act == "void");
            entry.act = act.into();
            entry.set.clear();
        });
    }
    bad.document()
}

/// An order whose second step names a field that is none, then goes on.
fn poisoned_order(agent: &mut Agent) -> DocId {
    let id = repair_order(agent);
    let mut after = id.opening();
    let steps: [(&str, &[(&str, Value)]); 3] = [
        ("estimate", &[("promised_at", Value::Int(1)), ("promise", Value::Int(1))]),
        ("confirm", &[("consent_by", Value::Null)]),
        ("note", &[]),
    ];
    for (act, set) in steps {
        let entry = push(agent, |entry| {
            entry.kind = "repair_order".into();
            entry.document = Some(id);
            entry.after = Some(after).filter(|_| act != "note");
            entry.act = act.into();
            entry.set = set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        });
        after = entry.id;
    }
    id
}

/// Proves R-PROC-3.
#[test]
fn a_fixed_entry_is_applied_and_those_behind_it_follow_in_order() {
    let mut id = None;
    let asked = [(1, fix(&[("score", Value::Int(80))], &[], None))];
    let (hub, agent) = check(|agent| id = Some(poisoned_survey(agent)), &asked, "applied", "");
    let document = hub.store.document(id.unwrap()).unwrap().unwrap();
    assert_eq!((document.state.as_str(), document.notes.len()), ("void", 1));
    assert_eq!(document.fields.get("score"), Some(&Value::Int(80)));
    let history = hub.store.history(id.unwrap()).unwrap();
    assert_eq!(history.iter().map(|step| step.seq.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(history[0].entry.set["score"], Value::Int(80));
    assert_eq!(history[0].amended.as_ref().map(|fix| fix.who.as_str()), Some("王芳"));
    assert_eq!(history[1].amended, None);
    // what was captured stays as it was
    let kept = case(&hub, &agent, 1);
    assert_eq!(kept.row.entry.unwrap().set["score"], Value::from("x"));
    assert_eq!((kept.row.reason.code.as_str(), kept.row.resolved.unwrap().1.as_str()), ("wrong_type", "fixed"));
}

#[test]
fn a_fix_sets_drops_or_names_another_act() {
    check(poisoned_order, &[(2, fix(&[], &["promise"], None))], "applied", "");
    check(|agent| push(agent, |entry| entry.act = "fly".into()), &[(1, fix(&[], &[], Some("answer")))], "applied", "");
}

#[test]
fn a_fix_must_pass_the_same_judgement() {
    let wrong = fix(&[("score", "y".into())], &[], None);
    let right = fix(&[("score", Value::Int(1))], &[], None);
    let asked = [(1, wrong), (2, fix(&[("void_reason", "误录".into())], &[], None)), (1, right.clone()), (1, right)];
    let mut agent = Agent::new(1, &["3702"]);
    poisoned_survey(&mut agent);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let mut outcomes = Vec::new();
    for (seq, action) in &asked[..3] {
        let before = aside(&hub);
        outcomes.push(ask(&hub, &agent, *seq, action.clone()));
        assert_eq!(aside(&hub) == before, outcomes.last().unwrap().starts_with("refused"));
    }
    assert_eq!(outcomes.join(", "), "refused wrong_type, refused behind, applied");
    let again = hub.store.ask(place(&agent, 1), request(asked[3].1.clone()));
    assert!(matches!(again, Err(AskError::Resolved(..))), "{again:?}");
    let trail = case(&hub, &agent, 1).trail;
    let said: Vec<String> = trail
        .iter()
        .map(|row| format!("{} {} {}", row.action, row.before.code, row.outcome.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(said, ["fix wrong_type refused", "fix wrong_type applied"]);
    assert!(trail.iter().all(|row| row.who == "王芳" && row.why == "测试" && row.at.0 > 0 && row.fix.is_some()));
    check_rebuild(hub);
}

#[test]
fn what_makes_no_sense_is_not_taken_down() {
    let mut agent = Agent::new(1, &["3702"]);
    agent.push(b"\xff no entry".to_vec());
    poisoned_survey(&mut agent);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let refusal = |seq, ask: Ask| hub.store.ask(place(&agent, seq), ask).unwrap_err().to_string();
    let some = || fix(&[("score", Value::Int(1))], &[], None);
    for (seq, ask, expected) in [
        (9, request(Action::Waive), "is not in quarantine"),
        (1, request(some()), "nothing can stand for it"),
        (2, request(fix(&[], &[], None)), "replay it"),
        (2, Ask { who: " ".into(), ..request(some()) }, "say who asks"),
        (2, Ask { why: String::new(), ..request(some()) }, "say why"),
        (2, Ask { why: "x".repeat(2_001), ..request(some()) }, "say why"),
        (2, request(fix(&[("comment", "x".repeat(70 * 1024).into())], &[], None)), "larger than"),
        (2, request(fix(&[], &[], Some(&"x".repeat(300 * 1024)))), "larger than"),
    ] {
        let found = refusal(seq, ask);
        assert!(found.contains(expected), "{seq}: {found}");
    }
    assert_eq!(hub.number("SELECT count(*) FROM resolution"), 0);
    assert_eq!(ask(&hub, &agent, 3, fix(&[], &[], Some("note"))), "refused other_sort");
}

#[test]
fn what_rests_on_a_waived_entry_goes_to_quarantine_and_the_rest_is_judged_without_it() {
    let waive = |seq| (seq, Action::Waive);
    check(poisoned_survey, &[waive(1)], "waived", "2 rests_on_waived, 3 rests_on_waived");
    check(poisoned_order, &[waive(2)], "waived", "3 rests_on_waived, 4 behind (parked)");
    let mut id = None;
    let order = |agent: &mut Agent| id = Some(poisoned_order(agent));
    let (mut hub, mut agent) = check(order, &[waive(2), waive(3)], "waived, waived", "");
    let id = id.unwrap();
    let document = hub.store.document(id).unwrap().unwrap();
    assert_eq!((document.state.as_str(), document.notes.len(), document.head), ("checked_in", 1, id.opening()));
    // the pen's holder goes on from the last accepted entry
    agent.act(Some(id), "repair_order", "estimate", &[("promised_at", Value::Int(START.0 + 1))]);
    hub.take_all(&agent);
    assert_eq!((hub.store.document(id).unwrap().unwrap().state.as_str(), aside(&hub).as_str()), ("estimated", ""));
    check_rebuild(hub);
}

#[test]
fn effects_of_a_waived_entry_do_not_count() {
    check(
        |agent| {
            let bad = push(agent, |entry| entry.act = "fly".into());
            let effect = push(agent, |entry| entry.cause = Some(bad.id));
            push(agent, |entry| {
                entry.document = Some(effect.document());
                entry.after = Some(effect.id);
                entry.act = "void".into();
                entry.set = BTreeMap::from([("void_reason".to_owned(), "x".into())]);
            });
        },
        &[(1, Action::Waive)],
        "waived",
        "2 rests_on_waived, 3 rests_on_waived",
    );
}

#[test]
fn waiving_bytes_that_are_no_entry_or_a_stolen_id_touches_nothing_else() {
    let mut other = None;
    let (hub, _) = check(
        |agent| {
            agent.push(b"\xff no entry".to_vec());
            let entry = push(agent, |_| {});
            agent.push(waystation_protocol::entry::Entry { author: "x".into(), ..entry.clone() }.to_bytes());
            other = Some(entry);
        },
        &[(1, Action::Waive), (3, Action::Replay), (3, Action::Waive)],
        "waived, still same_id, waived",
        "",
    );
    assert_eq!(hub.store.history(other.unwrap().document()).unwrap().len(), 1);
}

#[test]
fn an_entry_passes_on_replay_once_what_it_lacked_is_there() {
    let mut agent = Agent::new(1, &["3702"]);
    let bad = push(&mut agent, |entry| drop(entry.set.insert("site".into(), "3799".into())));
    push(&mut agent, |entry| (entry.document, entry.act) = (Some(bad.document()), "note".into()));
    let mut hub = Hub::open();
    hub.take_all(&agent);
    assert_eq!(ask(&hub, &agent, 1, Action::Replay), "still wrong_site");
    assert_eq!(aside(&hub), "1 wrong_site, 2 behind (parked)");
    agent.sites = Sites::Only(vec!["3702".parse().unwrap(), "3799".parse().unwrap()]);
    hub.send(&agent, &agent.hello());
    hub.settle();
    let asked = hub.store.ask_replay_all("ops", "它现在代表 3799").unwrap().requests;
    assert_eq!(asked.len(), 1, "what waits behind follows by itself");
    assert_eq!(hub.store.wait_decided(asked[0], PATIENCE_MS).unwrap().outcome.as_deref(), Some("applied"));
    assert_eq!((aside(&hub).as_str(), hub.store.document(bad.document()).unwrap().unwrap().notes.len()), ("", 1));
    check_rebuild(hub);
}

/// Proves R-PROC-4, I8.
#[test]
fn the_successor_accepted_first_stays_accepted_when_everything_is_derived_anew() {
    let (mut first, mut second) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
    let id = repair_order(&mut first);
    let mut hub = Hub::open();
    hub.take_all(&first);
    let entry = second.survey_entry(|entry| {
        entry.kind = "repair_order".into();
        (entry.document, entry.after) = (Some(id), Some(id.opening()));
        entry.act = "void".into();
        entry.set = BTreeMap::from([("void_reason".to_owned(), "重复".into())]);
    });
    second.push(entry.to_bytes());
    hub.take_all(&second);
    first.act(Some(id), "repair_order", "estimate", &[("promised_at", Value::Int(START.0 + 1))]);
    hub.take_all(&first);
    assert_eq!(aside(&hub), "2 superseded");
    let hub = check_rebuild(hub);
    assert_eq!(hub.store.document(id).unwrap().unwrap().state, "void");
    assert_eq!(ask(&hub, &first, 2, Action::Replay), "still superseded");
    assert_eq!(ask(&hub, &first, 2, fix(&[("promised_at", Value::Int(2))], &[], None)), "refused superseded");
    assert_eq!(ask(&hub, &first, 2, Action::Waive), "waived");
    check_rebuild(hub);
}

#[test]
fn a_copy_of_a_resolved_entry_in_another_journal_is_a_repetition() {
    for action in [fix(&[("score", Value::Int(80))], &[], None), Action::Waive] {
        let (mut first, mut clone) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
        let bad = push(&mut first, |entry| drop(entry.set.insert("score".into(), "x".into())));
        clone.push(bad.to_bytes());
        let mut hub = Hub::open();
        hub.take_all(&first);
        ask(&hub, &first, 1, action);
        hub.take_all(&clone);
        assert_eq!((aside(&hub).as_str(), hub.store.counters().entries_repeated.value()), ("", 1));
        check_rebuild(hub);
    }
}

/// Proves R-PROC-2.
#[test]
fn entries_newer_than_this_build_wait_for_the_next_and_are_never_taken_for_damage() {
    for by_replay in [false, true] {
        let mut agent = Agent::new(1, &["3702"]);
        let first = push(&mut agent, |_| {});
        push(&mut agent, |entry| (entry.document, entry.act) = (Some(first.document()), "note".into()));
        agent.push(b"\xff a later encoding".to_vec());
        let mut hub = Hub::open();
        hub.send(&agent, &agent.hello());
        hub.send(&agent, &agent.batch_of_protocol(2));
        hub.settle();
        assert_eq!(hub.stored(&agent), Seq(3));
        let waits = "1 newer_protocol (parked), 2 newer_protocol (parked), 3 newer_protocol (parked)";
        assert_eq!(aside(&hub), waits);
        assert_eq!(ask(&hub, &agent, 1, Action::Replay), "still newer_protocol");
        let mut hub = check_rebuild(hub);
        // the next build knows protocol 2: to this one, the batch becomes one of its own
        hub.store.close();
        let conn = Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
        conn.execute("UPDATE raw SET protocol = 1", []).unwrap();
        if by_replay {
            // so that nothing passes by itself
            conn.execute("UPDATE quarantine SET code = 'defect', is_parked = 0", []).unwrap();
        }
        drop(conn);
        hub = hub.reopen();
        if by_replay {
            assert_eq!(ask(&hub, &agent, 1, Action::Replay), "applied");
            assert_eq!(ask(&hub, &agent, 2, Action::Replay), "applied");
        }
        hub.wait("released", |hub| hub.store.document(first.document()).unwrap().is_some_and(|d| d.notes.len() == 1));
        assert!(aside(&hub).starts_with("3 "), "{}", aside(&hub));
    }
}

/// Proves R-PROC-2.
#[test]
fn an_unknown_kind_and_a_newer_form_pass_by_themselves_after_an_upgrade() {
    for code in ["unknown_kind", "newer_form"] {
        let mut agent = Agent::new(1, &["3702"]);
        let entry = push(&mut agent, |_| {});
        let mut hub = Hub::open();
        hub.send(&agent, &agent.hello());
        hub.send(&agent, &agent.batch_of_protocol(2));
        hub.settle();
        hub.store.close();
        let conn = Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
        conn.execute("UPDATE raw SET protocol = 1", []).unwrap();
        conn.execute("UPDATE quarantine SET code = ?1", [code]).unwrap();
        drop(conn);
        hub = hub.reopen();
        hub.wait("released", |hub| hub.store.document(entry.document()).unwrap().is_some());
        assert_eq!(aside(&hub), "");
    }
}

#[test]
fn a_request_from_beside_is_carried_out_by_the_running_hub_or_by_the_next() {
    let mut agent = Agent::new(1, &["3702"]);
    let id = poisoned_survey(&mut agent);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let beside = || Store::open(hub.dir.path(), Options { is_visitor: true, ..Options::new([1; 16]) }).unwrap();
    let visitor = beside();
    let number = visitor.ask(place(&agent, 1), request(fix(&[("score", "no".into())], &[], None))).unwrap();
    let row = visitor.wait_decided(number, PATIENCE_MS).unwrap();
    assert_eq!(row.outcome.as_deref(), Some("refused"));
    hub.store.close();
    let number = visitor.ask(place(&agent, 1), request(fix(&[("score", Value::Int(9))], &[], None))).unwrap();
    assert_eq!(visitor.wait_decided(number, 1).unwrap().outcome, None);
    visitor.close();
    let hub = hub.reopen();
    assert_eq!(hub.store.wait_decided(number, PATIENCE_MS).unwrap().outcome.as_deref(), Some("applied"));
    assert_eq!(hub.store.document(id).unwrap().unwrap().state, "void");
    check_rebuild(hub);
}

#[test]
fn a_resolution_and_what_it_changes_are_committed_together_or_not_at_all() {
    let mut agent = Agent::new(1, &["3702"]);
    let id = poisoned_survey(&mut agent);
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let conn = Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
    // the last statement of the commit fails
    conn.execute_batch(
        "CREATE TRIGGER fails BEFORE UPDATE ON resolution BEGIN SELECT raise(ABORT, 'the disk says no'); END",
    )
    .unwrap();
    let number = hub.store.ask(place(&agent, 1), request(fix(&[("score", Value::Int(9))], &[], None))).unwrap();
    hub.wait("a failed commit", |hub| hub.store.counters().commits_failed.value() > 0);
    assert_eq!((hub.store.document(id).unwrap(), hub.number("SELECT count(*) FROM fact")), (None, 0));
    assert_eq!(aside(&hub), "1 wrong_type, 2 behind (parked), 3 behind (parked)");
    assert_eq!(hub.store.resolution(number).unwrap().outcome, None);
    conn.execute_batch("DROP TRIGGER fails").unwrap();
    assert_eq!(hub.store.wait_decided(number, PATIENCE_MS).unwrap().outcome.as_deref(), Some("applied"));
    assert_eq!(aside(&hub), "");
    check_rebuild(hub);
}

/// Proves R-PROC-3.
#[test]
fn the_trail_can_neither_be_deleted_nor_rewritten() {
    let (hub, _) = check(
        poisoned_survey,
        &[(2, Action::Replay)],
        "still behind",
        "1 wrong_type, 2 behind (parked), 3 behind (parked)",
    );
    let conn = Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
    for sql in ["DELETE FROM resolution", "UPDATE resolution SET who = 'x'"] {
        assert!(conn.execute(sql, []).is_err(), "{sql}");
    }
}

/// A journal whose stored bytes are damaged concerns nobody else, and not the applier.
#[test]
fn an_entry_whose_stored_bytes_are_damaged_is_neither_fixed_nor_replayed_but_may_be_waived() {
    let mut agent = Agent::new(1, &["3702"]);
    push(&mut agent, |entry| entry.act = "fly".into());
    let mut hub = Hub::open();
    hub.take_all(&agent);
    let conn = Connection::open(hub.dir.path().join("hub.sqlite")).unwrap();
    conn.execute("UPDATE raw SET payload = x'00'", []).unwrap();
    assert_eq!(ask(&hub, &agent, 1, Action::Replay), "refused damaged");
    assert_eq!(ask(&hub, &agent, 1, fix(&[], &[], Some("answer"))), "refused damaged");
    conn.execute("UPDATE quarantine SET code = 'newer_form'", []).unwrap();
    let hub = hub.reopen();
    assert_eq!(ask(&hub, &agent, 1, Action::Waive), "waived");
}
