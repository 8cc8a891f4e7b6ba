//! Settlements of a station and of a supplier, one after the other.

use super::*;
use crate::kind::settlement::{CLOSING, OPENING, SETTLEMENT, TOTAL};
use crate::kind::{Audience, find};

#[test]
fn every_settlement_goes_its_way() {
    check(told::of("settlement"));
    let told = |story: &str| (SETTLEMENT.audience)(tell(story).unwrap().last());
    assert_eq!((told("{issued}"), told("{charged}")), (Audience::Holders, Audience::Nobody));
}

/// `opening total closing` of a settlement, and how many claims it has.
fn sums(story: &str, name: &str) -> (i64, i64, i64, usize) {
    let world = tell(story).unwrap();
    let found = &world.documents[name];
    let amount = |column| found.get(column).unwrap();
    (amount(OPENING), amount(TOTAL), amount(CLOSING), found.lines("claim").len() + found.lines("recovery").len())
}

#[test]
fn what_a_supplier_has_paid_on_a_recovery_is_not_charged_again() {
    let agreed = "{judged}\nhub v notify\nhub v confirm\nhub v agree agreed=m:10005\n";
    let charged = "hub s:settlement generate site=hub party=S1 period=2025-10 until=day:30";
    let paid = |minor: u32| format!("hub v invoice invoice_no=F1\nhub v pay paid=m:{minor}\n");
    assert_eq!(sums(&format!("{agreed}{charged}"), "s"), (0, 10_005, 10_005, 1));
    assert_eq!(sums(&format!("{agreed}{}{charged}", paid(10_000)), "s"), (0, 5, 5, 1));
    assert_eq!(sums(&format!("{agreed}{}{charged}", paid(10_005)), "s"), (0, 0, 0, 0));
}

#[test]
fn a_settlement_gathers_what_was_granted_and_not_settled_before() {
    assert_eq!(sums("{generated}", "s"), (0, 13_502, 13_502, 1));
    let partly = "{issued}\nA s confirm invoice_no=F1\nhub s pay paid=m:10000\nhub s close\n";
    let next = "hub n:settlement generate site=A period=2025-11 until=20420";
    assert_eq!(sums(&format!("{partly}{next}"), "n"), (3_502, 0, 3_502, 0));
    let another = "A d:claim draft variant=ordinary {vehicle} {fault} {lines}\nA d submit\nhub d review\nhub d approve {granted}\n";
    assert_eq!(sums(&format!("{partly}{another}{next}"), "n"), (3_502, 13_502, 17_004, 1));
    // what is approved after the last day, rejected, of another site or another currency waits
    assert_eq!(sums("{approved}\nhub s:settlement generate site=A period=x until=20369", "s"), (0, 0, 0, 0));
    assert_eq!(
        sums("{reviewing}\nhub c reject reject_reason=x\nhub s:settlement generate site=A period=x until=20400", "s").3,
        0
    );
    assert_eq!(sums("{approved}\nhub s:settlement generate site=B period=x until=20400", "s").3, 0);
    assert_eq!(sums("{approved}\nhub s:settlement generate site=A period=x until=20400 currency=USD", "s").3, 0);
    // and so does what a supplier agreed to later
    let agreed = "{judged}\nhub v notify\nhub v confirm\nhub v agree agreed=m:10005\n";
    let of_supplier =
        |until: u32| format!("{agreed}hub s:settlement generate site=hub party=S1 period=x until={until}");
    assert_eq!((sums(&of_supplier(20_369), "s").3, sums(&of_supplier(20_400), "s").3), (0, 1));
    // a void settlement gives its claims free
    assert_eq!(
        sums("{generated}\nhub s void void_reason=错\nhub n:settlement generate site=A period=x until=20400", "n").1,
        13_502
    );
}

#[test]
fn an_old_part_that_was_discounted_is_deducted_once() {
    let story = "{to_discount}\nA o discount discount=m:500\nhub s:settlement generate site=A period=x until=20400";
    assert_eq!(sums(story, "s"), (0, 13_002, 13_002, 1));
    let next = "\nhub s issue\nA s confirm invoice_no=F\nhub s pay paid=m:13002\nhub s close\nhub n:settlement generate site=A period=y until=20400";
    assert_eq!(sums(&format!("{story}{next}"), "n"), (0, 0, 0, 0));
}

#[test]
fn a_suppliers_settlement_gathers_what_it_agreed_to() {
    assert_eq!(sums("{charged}", "s"), (0, 10_005, 10_005, 1));
    let other = "{judged}\nhub v notify\nhub v confirm\nhub v agree agreed=m:1\nhub s:settlement generate site=hub party=S2 period=x until=20400";
    assert_eq!(sums(other, "s").3, 0);
}

#[test]
fn every_check_of_a_settlement_refuses() {
    check(&[
        ("hub s:settlement generate site=A", "generate: period until"),
        ("hub s:settlement generate site=hub period=x until=1", "generate: party"),
        ("A s:settlement generate site=A period=x until=1", "generate: the writer does not hold the pen, the hub does"),
        ("{generated}\nhub n:settlement generate site=A period=x until=20400", "generate: previous"),
        ("{generated}\nhub s adjust closing=m:1", "adjust: closing"),
        ("{generated}\nhub s adjust claim#1.amount=m:1", "adjust: claim#1.amount"),
        ("{generated}\nhub s adjust claim#1.dispute=x", "adjust: claim#1.dispute"),
        ("{generated}\nhub s adjust period=x", "adjust: period"),
        ("{generated}\nhub s adjust adjustment#1.amount=m:1", "adjust: adjustment#1.comment"),
        (
            "{generated}\nhub s adjust adjustment#1.amount=usd:1 adjustment#1.comment=x",
            "adjust: one document has one currency",
        ),
        ("{generated}\nhub s adjust deduction#1.amount=m:-1 deduction#1.reason=other", "adjust: deduction#1.amount"),
        ("{generated}\nhub s charge", "charge: a station's settlement is issued to it"),
        ("{charged}\nA s confirm invoice_no=F", "confirm: the writer does not hold the pen, the hub does"),
        (
            "hub s:settlement generate site=hub party=S1 period=x until=1\nhub s issue",
            "issue: a supplier's settlement stays at the hub",
        ),
        ("{issued}\nA s confirm", "confirm: invoice_no"),
        (
            "{issued}\nA s confirm invoice_no=F deduction#1.amount=m:1 deduction#1.reason=other",
            "confirm: deduction#1.amount deduction#1.reason",
        ),
        ("{issued}\nA s dispute", "dispute: a dispute names the lines it is about"),
        ("{issued}\nA s dispute claim#7.dispute=x", "dispute: claim#7.dispute"),
        ("{issued}\nhub s pay paid=m:1", "pay: the writer does not hold the pen, site A does"),
        ("{issued}\nA s confirm invoice_no=F\nhub s pay", "pay: paid"),
        ("{issued}\nA s confirm invoice_no=F\nhub s pay paid=m:13503", "pay: paid"),
        ("{issued}\nA s confirm invoice_no=F\nhub s pay paid=m:-1", "pay: paid"),
        (
            "{issued}\nA s confirm invoice_no=F\nhub s pay paid=m:1\nhub s close\nhub s void void_reason=x",
            "void: what has ended stands: others have counted or paid by it",
        ),
        (
            "{issued}\nA s confirm invoice_no=F\nhub s pay paid=m:1\nhub s void void_reason=x",
            "void: a settlement that was paid is not voided",
        ),
        ("{issued}\nA s void void_reason=x", "void: what was issued is not voided: dispute it"),
        (
            "{to_discount}\nA o discount discount=m:500\nhub s:settlement generate site=A period=x until=20400\n\
             hub s adjust deduction#1.amount=m:0",
            "adjust: deduction#1.amount",
        ),
    ]);
}

#[test]
fn a_settlement_that_does_not_balance_is_refused() {
    let world = tell("{generated}").unwrap();
    let mut unsound = world.last().clone();
    unsound.fields.insert("closing".into(), Value::measured(1, "CNY"));
    let change = crate::document::capture::Change {
        before: Some(world.last()),
        after: &unsound,
        act: "adjust",
        set: &BTreeMap::new(),
        author: "审核员",
        now: world.now,
        books: &world,
    };
    let found = |after: &Document| {
        let change = crate::document::capture::Change { after, ..change };
        let checks = find("settlement").unwrap().checks.iter();
        checks.flat_map(|check| check(&change)).filter_map(|problem| problem.field).collect::<Vec<_>>()
    };
    assert_eq!((found(&unsound), found(world.last())), (vec!["closing".to_owned()], Vec::new()));
}

#[test]
fn settlements_state_their_balances() {
    let told = |story: &str| tell(story).unwrap().facts("settlement");
    assert_eq!(told(told::of("settlement")[0].0), ["A 2025-10: 1 1 0 1 0 13502 0 0 13502 0"]);
    assert_eq!(told(told::of("settlement")[2].0), ["A 2025-10: 1 1 1 0 0 13502 0 98 0 13600"]);
    assert_eq!(told(told::of("settlement")[3].0), ["S1 2025-10: 1 1 0 0 0 10005 0 0 9000 1005"]);
}
