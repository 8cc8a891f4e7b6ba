//! Stories captured as clerks do, with every check: a kind's whole way is passable, and wrong ways are refused.

use super::*;
use crate::id::IdSource;
use crate::site::Sites;

struct Shelf;

impl Books for Shelf {
    fn on_hand_milli(&self, _item: &str, _location: &str) -> i64 {
        7_000
    }

    fn positions(&self) -> (u64, u64) {
        (41, 3)
    }
}

/// Captures acts in turn: `act field=value …`, one per line. Values: whole numbers, `yes`, `q:1500` (thousandths of a
/// piece), `m:1999` (fen), else text. Gives the last capture, or the fields that were refused.
fn play(kind: &str, acts: &str) -> Result<Captured, String> {
    let sites = Sites::Only(vec!["3702".parse().unwrap()]);
    let mut ids = IdSource::new([1; 10]);
    let mut last: Option<Captured> = None;
    for line in acts.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let before = last.as_ref().map(|captured| &captured.document);
        let mut words = line.split_whitespace();
        let act = words.next().unwrap().to_owned();
        let mut set: BTreeMap<String, Value> = words.map(|word| read(word.split_once('=').unwrap())).collect();
        if before.is_none() {
            set.insert("site".into(), "3702".into());
        }
        let document = before.map(|document| document.id);
        let wish = Wish { document, kind: kind.into(), act, set, author: "李娜".into(), cause: None };
        let moment = Moment { id: ids.entry(), now: Timestamp(1_760_000_000_000), mono_ms: 0, boot: 0, clock: 0 };
        let captured = capture(before, wish, moment, Writer::Agent(&sites), &Shelf);
        let names = |problems: Vec<Problem>| {
            let names: Vec<String> = problems.into_iter().map(|problem| problem.field.unwrap_or(problem.en)).collect();
            names.join(" ")
        };
        last = Some(captured.map_err(names)?);
    }
    Ok(last.unwrap())
}

fn read((key, text): (&str, &str)) -> (String, Value) {
    let value = match text.split_once(':') {
        Some(("q", milli)) => Value::measured(milli.parse().unwrap(), "件"),
        Some(("m", minor)) => Value::measured(minor.parse().unwrap(), "CNY"),
        _ if text == "yes" => Value::Flag(true),
        _ => text.parse().map_or_else(|_| Value::from(text), Value::Int),
    };
    (key.to_owned(), value)
}

/// Plays a story and states where it ends: a state, or the fields refused.
fn check(kind: &str, acts: &str, expected: &str) {
    let found = play(kind, acts).map_or_else(|fields| fields, |captured| captured.document.state);
    assert_eq!(found, expected, "{kind}: {acts}");
}

const CHECK_IN: &str =
    "check_in vin=1M8GDM9AXKP042788 checked_in_at=1759990000000 pre_inspection=ok symptom=异响 odometer=9000\n";
const ESTIMATE: &str = "estimate promised_at=1760090000000 part#1.part=P1 part#1.quantity=q:2000 part#1.price=m:1999 part#1.coverage=warranty\n";
const ISSUE: &str = "confirm consent_by=张伟\nassign technician=刘洋\nissue_parts part#1.source=stock\n";
const RECEIVE: &str = "receive barcode=XA1 class=letter route=三段 addressee=王芳 address=文昌街 due_at=1760090000000";

#[test]
fn a_repair_passes_from_the_door_to_the_till() {
    let rest = "work\nfinish outcome=fixed\nrelease qc_result=pass released_at=1760000000000\nclose";
    check("repair_order", &format!("{CHECK_IN}{ESTIMATE}{ISSUE}{rest}"), "closed");
    check("repair_order", &format!("{CHECK_IN}{ESTIMATE}decline"), "declined");
    check("repair_order", &format!("book slot=1760090000000 category=Laptop\n{CHECK_IN}"), "checked_in");
}

#[test]
fn everything_wrong_with_a_repair_is_said_at_once() {
    check("repair_order", "check_in", "checked_in_at pre_inspection symptom vin");
    check("repair_order", "book category=Laptop", "slot");
    check("repair_order", &CHECK_IN.replace("1M8GDM9AXKP042788", "WM8GDM9AXKP042788"), "checked_in");
    check("repair_order", &CHECK_IN.replace("AXKP", "A1KP"), "vin");
    check("repair_order", &CHECK_IN.replace("1759990000000", "1769990000000"), "checked_in_at");
    check("repair_order", &format!("{CHECK_IN}{}", ESTIMATE.replace("1760090000000", "1")), "promised_at");
    check(
        "repair_order",
        &format!("{CHECK_IN}{}", ESTIMATE.replace("part#1.coverage=warranty", "")),
        "part#1.coverage",
    );
    let released = "work\nfinish outcome=fixed\nrelease qc_result=fail released_at=1760000000000";
    check("repair_order", &format!("{CHECK_IN}{ESTIMATE}{ISSUE}{released}"), "qc_result");
    check("repair_order", &format!("{CHECK_IN}void"), "void_reason");
}

#[test]
fn issued_parts_leave_the_stock_once() {
    let issued = play("repair_order", &format!("{CHECK_IN}{ESTIMATE}{ISSUE}")).unwrap();
    let [Effect::Open { kind: "stock_movement", act: "post", set }] = issued.effects.as_slice() else {
        panic!("{:?}", issued.effects)
    };
    assert_eq!(set["quantity"], Value::measured(-2_000, "件"));
    let again = play("repair_order", &format!("{CHECK_IN}{ESTIMATE}{ISSUE}work\nissue_parts")).unwrap();
    assert_eq!(again.effects, []);
    let quantities = |story: &str| {
        let effects = play("repair_order", &format!("{CHECK_IN}{ESTIMATE}{story}")).unwrap().effects;
        let posted = effects.iter().map(|effect| match effect {
            Effect::Open { set, .. } => set["quantity"].as_measured().unwrap().0,
            other => panic!("{other:?}"),
        });
        posted.collect::<Vec<_>>()
    };
    // where a source is stated, and that parts were transferred in, plays no part: they were in the stock
    assert_eq!(quantities(&ISSUE.replace("stock", "transfer")), [-2_000]);
    assert!(quantities(&ISSUE.replace("stock", "purchased")).is_empty());
    assert_eq!(quantities(&format!("estimate part#1.source=stock\n{ISSUE}")), [-2_000]);
    let one_more =
        "part#2.part=P1 part#2.quantity=q:1000 part#2.price=m:1 part#2.source=stock part#2.coverage=customer";
    assert_eq!(quantities(&format!("{ISSUE}work\nissue_parts {one_more}")), [-1_000]);
    for (changed, key) in [("part#1.quantity=q:3000", "part#1.quantity"), ("part#1.source=purchased", "part#1.source")]
    {
        check("repair_order", &format!("{CHECK_IN}{ESTIMATE}{ISSUE}work\nissue_parts {changed}"), key);
    }
}

#[test]
fn blanks_are_no_answer() {
    check("repair_order", &CHECK_IN.replace("异响", ""), "symptom");
    check("repair_order", &format!("{CHECK_IN}void void_reason="), "void_reason");
}

#[test]
fn a_count_keeps_what_was_expected_when_it_was_counted() {
    let open = "open zone=A counter=李娜 blind=yes\n";
    let count = "count item#1.item=P1 item#1.location=A-1 item#1.counted=q:6000\n";
    let counted = play("count_sheet", &format!("{open}{count}lock")).unwrap().document;
    assert_eq!(counted.fields["item#1.expected"], Value::measured(7_000, "件"));
    assert_eq!((&counted.fields["item#1.at_up"], &counted.fields["item#1.at_down"]), (&Value::Int(41), &Value::Int(3)));
    assert_eq!((counted.state.as_str(), &counted.pen), ("locked", &crate::document::Party::Hub));
    check("count_sheet", &format!("{open}lock"), "nothing has been counted yet");
    check(
        "count_sheet",
        &format!("{open}count item#1.item=P1 item#1.location=A item#1.expected=q:1"),
        "item#1.expected item#1.counted",
    );
}

#[test]
fn mail_goes_out_and_its_receipt_comes_back() {
    let tried = "attempt#1.tried_at=1760000000000 attempt#1.result=delivered delivered_at=1760000000000";
    check("delivery_item", &format!("{RECEIVE}\nload\ndeliver {tried}"), "delivered");
    let way = format!("{RECEIVE} receipt_required=yes\nload\ndeliver_with_receipt {tried}\ncollect_receipt\n");
    check("delivery_item", &format!("{way}send_receipt receipt_returned_at=1760000000000"), "sent_back");
    check("delivery_item", &format!("{way}send_receipt"), "receipt_returned_at");
    check("delivery_item", &format!("{RECEIVE} receipt_returned_at=1"), "receipt_returned_at");
    let failed = tried.replace("result=delivered delivered_at=1760000000000", "result=failed");
    check("delivery_item", &format!("{RECEIVE}\nload\nfail {failed}"), "attempt#1.reason");
    check(
        "delivery_item",
        &format!("{RECEIVE}\nload\nfail {failed} attempt#1.reason=absent\ngive_up"),
        "undeliverable",
    );
}

#[test]
fn what_was_tried_in_vain_is_not_delivered_at_the_first_attempt() {
    let counts = |acts: &str| {
        let document = play("delivery_item", &format!("{RECEIVE}\nload\n{acts}")).unwrap().document;
        let fact = crate::fact::of(&document, &crate::time::zone("").unwrap()).remove(0);
        (fact.keys[2].clone(), fact.values[5])
    };
    let (failed, deliver) = (
        "fail attempt#1.tried_at=1760000000000 attempt#1.result=failed attempt#1.reason=absent",
        "deliver delivered_at=1760000000000",
    );
    assert_eq!(counts(deliver), (String::new(), 1));
    assert_eq!(counts(&format!("{failed}\nload\n{deliver}")), ("absent".to_owned(), 0));
}

#[test]
fn a_run_accounts_for_every_item() {
    let plan = "plan date=20000 route=三段 carrier=杨磊 item#1.barcode=X1 item#2.barcode=X2\n";
    let out = format!("{plan}load item#1.loaded_at=1760000000000 item#2.loaded_at=1760000000000\nleave\n");
    check("delivery_run", &format!("{out}reconcile item#1.fate=delivered item#2.fate=returned\nclose"), "closed");
    check("delivery_run", &format!("{out}reconcile item#1.fate=delivered"), "item#2.fate");
    check("delivery_run", &format!("{plan}load item#1.loaded_at=1760000000000"), "item#2.loaded_at");
}

#[test]
fn movements_and_answers_stand_for_themselves() {
    check("stock_movement", "post item=P1 location=A quantity=q:1000 reason=receipt", "posted");
    check("stock_movement", "post item=P1 location=A quantity=q:0 reason=reversal", "quantity reverses");
    check("survey", "answer form=F score=92", "answered");
    check("survey", "answer form=F score=101 weight=0", "score weight");
    check("survey", "imported state=answered score=101 weight=0", "score weight");
    check("survey", "imported state=answered score=100", "answered");
}
