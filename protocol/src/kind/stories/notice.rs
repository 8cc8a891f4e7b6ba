//! Notices: published, acknowledged by notes, withdrawn.

use super::*;
use crate::kind::Audience;
use crate::kind::notice::{ACKNOWLEDGED, NOTICE};

#[test]
fn a_notice_is_published_and_withdrawn() {
    check(told::of("notice"));
}

#[test]
fn outlets_acknowledge_by_notes_that_change_no_state() {
    let world = tell("{published}\nA b note acknowledged=yes\nB b note note_text=收到").unwrap();
    let notice = world.last();
    assert_eq!((notice.state.as_str(), notice.notes.len(), notice.noted(ACKNOWLEDGED)), ("published", 2, Some(true)));
}

#[test]
fn a_notice_reaches_whom_it_names() {
    let told = |story: &str| (NOTICE.audience)(tell(story).unwrap().last());
    assert_eq!(told("{published}"), Audience::Everyone);
    let sites = ["A", "B"].map(|name| name.parse().unwrap()).to_vec();
    let named = tell("hub b:notice publish site=hub title=x body=x audience=A").unwrap();
    let mut notice = named.last().clone();
    notice.fields.insert("audience".into(), "A\nB\n".into());
    assert_eq!((NOTICE.audience)(&notice), Audience::Sites(sites));
}

#[test]
fn every_check_of_a_notice_refuses() {
    check(&[
        ("hub b:notice publish site=hub", "publish: title body audience"),
        ("A b:notice publish title=x body=x audience=*", "publish: the writer does not hold the pen, the hub does"),
        ("{published}\nhub b withdraw", "withdraw: withdrawal"),
        ("{published}\nhub b withdraw withdrawal=x body=y", "withdraw: body"),
        ("{published}\nhub b withdraw withdrawal=x acknowledged=yes", "withdraw: acknowledged"),
        ("{published}\nA b withdraw withdrawal=x", "withdraw: the writer does not hold the pen, the hub does"),
    ]);
}
