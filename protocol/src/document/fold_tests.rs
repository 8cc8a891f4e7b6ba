//! The fold as tables: a story of acts, and the state or the refusal it ends in.

use super::*;
use crate::id::IdSource;
use crate::time::Timestamp;

fn entry(ids: &mut IdSource, kind: &str, act: &str, document: Option<&Document>) -> Entry {
    let mut set = BTreeMap::new();
    if document.is_none() {
        set.insert("site".to_owned(), Value::from("3702"));
    }
    Entry {
        id: ids.entry(),
        document: document.map(|document| document.id),
        after: document.map(|document| document.head),
        kind: kind.into(),
        form: 1,
        act: act.into(),
        set,
        author: "李娜".into(),
        cause: None,
        occurred_at: Timestamp(0),
        mono_ms: 0,
        boot: 0,
        clock: 0,
    }
}

/// Acts of `kind` in turn by the site's agent; `hub:` before an act lets the hub try it, `back:` brings it back as
/// accepted before, `old:` makes it follow the document's first entry.
fn check(kind: &str, acts: &str, expected: &str) {
    let sites = Sites::Only(vec!["3702".parse().unwrap()]);
    let mut ids = IdSource::new([1; 10]);
    let mut document: Option<Document> = None;
    let mut refusal = None;
    for word in acts.split_whitespace() {
        let (who, act) = word.split_once(':').unwrap_or(("", word));
        let mut next = entry(&mut ids, kind, act, document.as_ref());
        if who == "old" {
            next.after = document.as_ref().map(|document| document.id.opening());
        }
        let writer = match who {
            "hub" => Writer::Hub,
            "back" => Writer::Accepted,
            _ => Writer::Agent(&sites),
        };
        match fold(document.as_ref(), &next, writer, &|_| true) {
            Ok(after) => document = Some(after),
            Err(why) => refusal = Some(why.code()),
        }
    }
    let found = refusal.map_or_else(|| document.map_or(String::new(), |d| d.state), str::to_owned);
    assert_eq!(found, expected, "{kind}: {acts}");
}

#[test]
fn acts_lead_through_the_flow_and_no_other_way() {
    check("repair_order", "book check_in estimate confirm assign issue_parts work finish release close", "closed");
    check("repair_order", "check_in estimate decline", "declined");
    check("repair_order", "check_in estimate decline close", "wrong_state");
    check("repair_order", "check_in estimate confirm assign work finish fail_qc finish", "qc");
    check("repair_order", "check_in confirm", "wrong_state");
    check("repair_order", "estimate", "unknown_act");
    check("repair_order", "check_in fly", "unknown_act");
    check("delivery_item", "receive load fail load deliver_with_receipt collect_receipt send_receipt", "sent_back");
    check("delivery_item", "receive deliver", "wrong_state");
    check("stock_movement", "post post", "wrong_state");
    check("count_sheet", "open count count lock", "locked");
}

#[test]
fn only_the_pens_holder_acts() {
    check("count_sheet", "open hub:count", "no_pen");
    check("count_sheet", "open lock count", "no_pen");
    check("survey", "answer note", "answered");
    check("survey", "answer hub:note", "answered");
}

/// Proves R-ENTRY-2, I8.
#[test]
fn the_hub_decides_on_a_locked_count_and_a_recount_gives_the_pen_back() {
    check("count_sheet", "open lock hub:approve adjust", "adjusted");
    check("count_sheet", "open lock hub:reject", "rejected");
    check("count_sheet", "open lock hub:recount count lock hub:approve", "approved");
    check("count_sheet", "open lock approve", "no_pen");
    check("count_sheet", "open lock hub:hand_over approve", "hubs_act");
    check("count_sheet", "open lock hub:recount hub:approve", "no_pen");
    check("count_sheet", "open lock hub:recount hub:count", "no_pen");
    check("count_sheet", "open lock hub:reject hub:approve", "wrong_state");
}

#[test]
fn what_was_accepted_before_needs_the_chain_and_the_flow_but_no_pen() {
    check("count_sheet", "back:open back:count back:lock back:approve", "approved");
    check("count_sheet", "open back:approve", "wrong_state");
    check("count_sheet", "open lock hub:recount old:count", "superseded");
}

/// Proves R-ENTRY-2, I8.
#[test]
fn a_document_has_one_successor_per_entry() {
    check("repair_order", "check_in estimate old:decline", "superseded");
}

#[test]
fn void_ends_any_document_once() {
    check("survey", "answer void", "void");
    check("survey", "answer void void", "wrong_state");
    check("repair_order", "check_in void estimate", "wrong_state");
}

/// Proves R-PROC-2.
#[test]
fn what_is_not_understood_waits_and_what_is_wrong_does_not() {
    let sites = Sites::Only(vec!["3702".parse().unwrap()]);
    let refused = |change: &dyn Fn(&mut Entry)| {
        let mut entry = entry(&mut IdSource::new([1; 10]), "survey", "answer", None);
        change(&mut entry);
        fold(None, &entry, Writer::Agent(&sites), &|_| false).map(|_| ()).unwrap_err()
    };
    type Row<'a> = (&'a dyn Fn(&mut Entry), &'a str, bool);
    let table: [Row<'_>; 7] = [
        (&|entry| entry.kind = "moon_order".into(), "unknown_kind", true),
        (&|entry| entry.form = 99, "newer_form", true),
        (&|entry| entry.document = Some(entry.id.opens()), "ahead", true),
        (&|entry| drop(entry.set.insert("score".into(), Value::from("x"))), "wrong_type", false),
        (&|entry| drop(entry.set.insert("scare".into(), Value::Int(1))), "unknown_field", false),
        (&|entry| drop(entry.set.insert("site".into(), Value::from("other"))), "wrong_site", false),
        (&|entry| drop(entry.set.remove("site")), "wrong_site", false),
    ];
    for (change, code, may_pass) in table {
        let refusal = refused(change);
        assert_eq!((refusal.code(), refusal.may_pass()), (code, may_pass));
    }
}

/// Proves R-ENTRY-4, R-TIME-1.
#[test]
fn null_clears_a_field_and_notes_come_in_any_order() {
    let sites = Sites::All;
    let mut ids = IdSource::new([1; 10]);
    let mut opening = entry(&mut ids, "survey", "answer", None);
    opening.set.insert("comment".into(), Value::from("好"));
    let open = fold(None, &opening, Writer::Agent(&sites), &|_| true).unwrap();
    assert_eq!(open.fields.get("comment"), Some(&Value::from("好")));
    assert_eq!((open.fields.get("site"), open.site.as_str()), (None, "3702"));
    let mut voiding = entry(&mut ids, "survey", "void", Some(&open));
    voiding.set.insert("comment".into(), Value::Null);
    let void = fold(Some(&open), &voiding, Writer::Agent(&sites), &|_| true).unwrap();
    assert_eq!(void.fields.get("comment"), None);
    let notes = [entry(&mut ids, "survey", "note", Some(&void)), entry(&mut ids, "survey", "note", Some(&void))];
    let fold_notes = |order: [usize; 2]| {
        order
            .into_iter()
            .fold(void.clone(), |document, index| fold(Some(&document), &notes[index], Writer::Hub, &|_| true).unwrap())
    };
    assert_eq!(fold_notes([0, 1]).digest(), fold_notes([1, 0]).digest());
    assert_ne!(fold_notes([0, 1]).digest(), void.digest());
}
