//! Old parts: back to the maker, straight to the supplier, or discounted.

use super::*;

#[test]
fn every_old_part_goes_its_way() {
    check(told::of("old_part"));
}

#[test]
fn nothing_is_done_with_an_old_part_but_what_the_approval_directs() {
    check(&[
        ("{ordinary}\n{tagged}\nA o box box_no=B1", "box: directive"),
        ("{ordinary}\n{tagged}\nA o discount discount=m:1", "discount: directive"),
        ("{to_maker}\nA o discount discount=m:1", "discount: directive"),
        ("{to_discount}\nA o box box_no=B1", "box: directive"),
        ("{shipped}\nhub o record forwarded_to=S1", "record: directive"),
        ("{direct}\nhub o receive", "receive: directive"),
        ("{ordinary}\n{tagged}\nA o note directive=discount", "note: directive"),
        // one that was tagged after the approval of its claim the hub's people direct
        ("{ordinary}\n{tagged}\nhub o note directive=maker\nA o box box_no=B1", "boxed A"),
        ("{ordinary}\n{tagged}\nhub o note directive=maker\nA o discount discount=m:1", "discount: directive"),
        ("{ordinary}\n{tagged} directive=discount", "tag: directive"),
        ("{ordinary}\n{tagged}\nA o void void_reason=x", "void A"),
        ("{to_maker}\nA o void void_reason=x", "void: what becomes of this part was decided: it is not voided"),
        ("{to_maker}\nhub o reclaim reclaim_reason=x\nhub o void void_reason=x", "void hub"),
        ("{to_maker}\nA o correct part=P2", "correct: part"),
    ]);
}

#[test]
fn every_check_of_an_old_part_refuses() {
    check(&[
        ("A o:old_part tag", "tag: claim part tag_no removed_at"),
        ("{to_maker}\nA o box", "box: box_no"),
        ("{to_maker}\nA o box box_no=B1 weight=0", "box: weight"),
        ("{to_maker}\nA o box box_no=B1 waybill=W", "box: waybill"),
        ("{boxed}\nA o ship", "ship: waybill"),
        ("{to_discount}\nA o discount discount=m:-1", "discount: discount"),
        ("{shipped}\nA o receive", "receive: the writer does not hold the pen, the hub does"),
        ("{shipped}\nhub o mismatch", "mismatch: discrepancy"),
        ("{shipped}\nhub o receive received_at=1", "receive: received_at"),
        ("{shipped}\nhub o write_off write_off_no=H", "write_off: 'write_off' is not possible in state 'shipped'"),
    ]);
}

#[test]
fn old_parts_are_counted_by_what_came_back_in_time() {
    let told = |story: &str| tell(story).unwrap().facts("old_part");
    assert_eq!(told("{shipped}\nhub o receive"), ["P1 : 1 1 1 1 1 0 0 0 0 0"]);
    assert_eq!(told("rule old_part.return_days=2\n{shipped}\n+3d\nhub o receive"), ["P1 : 1 1 1 1 0 0 0 0 0 0"]);
    assert_eq!(told("{shipped}\nhub o short discrepancy=x"), ["P1 : 1 1 1 0 0 0 1 0 0 0"]);
    let written_off = "{shipped}\nhub o short discrepancy=x\nhub o write_off write_off_no=H";
    assert_eq!(told(written_off), ["P1 : 1 1 1 0 0 0 1 0 1 0"]);
    assert_eq!(told("{shipped}\nhub o short discrepancy=x\nhub o receive"), ["P1 : 1 1 1 1 1 0 0 0 0 0"]);
    assert_eq!(
        told("{to_discount}\nA o discount discount=m:500\nhub o write_off write_off_no=H1"),
        ["P1 : 1 0 0 0 0 0 0 1 1 500"]
    );
}
