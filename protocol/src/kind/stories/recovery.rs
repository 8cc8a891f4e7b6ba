//! Recoveries: admitted, or disputed and appraised; all of it at the hub.

use super::*;
use crate::kind::Audience;
use crate::kind::recovery::RECOVERY;

#[test]
fn every_recovery_goes_its_way_at_the_hub() {
    check(told::of("recovery"));
    let world = tell("{judged}").unwrap();
    assert_eq!((RECOVERY.audience)(world.last()), Audience::Nobody);
}

#[test]
fn every_check_of_a_recovery_refuses() {
    check(&[
        ("hub v:recovery judge site=hub responsible=supplier", "judge: basis claimed supplier"),
        ("{judged}\nhub v correct claim#3.claim=@c claim#3.amount=usd:1", "correct: one document has one currency"),
        ("{judged}\nhub v correct claimed=m:1", "correct: claimed"),
        ("{judged}\nhub v correct claim#3.claim=@r claim#3.amount=m:1", "correct: claim#3.claim"),
        ("{judged}\nhub v correct claim#1.amount=m:-1", "correct: claim#1.amount"),
        (
            "{charged}\nhub v invoice invoice_no=I\nhub v pay paid=m:1",
            "pay: settlement  of its supplier has gathered it: go on there",
        ),
        (
            "{judged}\nhub v notify\nhub v confirm\nhub v agree agreed=m:1\nhub v invoice invoice_no=I\nhub v pay paid=m:1\n\
             hub v void void_reason=x",
            "void: a recovery that was paid is not voided",
        ),
        ("{judged}\nhub v notify supplier=S2", "notify: supplier"),
        ("{judged}\nhub v notify claim#1.amount=m:1", "notify: claim#1.amount"),
        ("{judged}\nhub v notify\nhub v dispute", "dispute: objection"),
        ("{judged}\nhub v notify\nhub v dispute objection=x\nhub v appraise", "appraise: third_party factor"),
        (
            "{judged}\nhub v notify\nhub v dispute objection=x\nhub v appraise third_party=x factor=10001",
            "appraise: factor",
        ),
        // 100.05 × 50 % = 50.025, half to even 50.02
        ("{appraised}\nhub v agree agreed=m:5003", "agree: agreed"),
        ("{judged}\nhub v notify\nhub v confirm\nhub v agree agreed=m:10006", "agree: agreed"),
        ("{appraised}\nhub v agree agreed=m:5\nhub v invoice invoice_no=F1\nhub v pay paid=m:6", "pay: paid"),
        ("{judged}\nA v notify", "notify: the writer does not hold the pen, the hub does"),
        ("A v:recovery judge site=A responsible=user basis=x", "judge: the writer does not hold the pen, the hub does"),
    ]);
}

#[test]
fn recoveries_add_up_by_supplier() {
    let told = |story: &str| tell(story).unwrap().facts("recovery");
    assert_eq!(told("{judged}"), ["S1 supplier: 1 0 0 10005 0 0 0 0"]);
    assert_eq!(told(told::of("recovery")[1].0), ["S1 supplier: 1 1 1 10005 10005 5002 5002 5000"]);
}
