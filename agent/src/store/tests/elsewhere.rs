//! Documents of other sites: their pen comes here and goes again, and what they move stays theirs.

use std::collections::BTreeMap;

use waystation_protocol::chain::Mark;
use waystation_protocol::document::Party;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, StreamId};

use super::outlet::{Outlet, at, count, movement, wish};
use super::*;

const DOWN: StreamId = StreamId::from_bytes([40; 16]);

/// What the hub relays.
struct Relay {
    mark: Mark,
    drawn: u8,
}

impl Relay {
    fn new() -> Relay {
        Relay { mark: Mark::ZERO, drawn: 0 }
    }

    /// An entry of someone else's, which the hub has accepted: `after` an earlier one of its document, or opening one.
    fn tell(&mut self, store: &Store, kind: &str, act: &str, after: Option<EntryId>, set: &[(&str, Value)]) -> EntryId {
        self.drawn += 1;
        let mut id = [0xcc; 16];
        id[15] = self.drawn;
        let entry = Entry {
            id: EntryId::from_bytes(id),
            document: after.map(|_| EntryId::from_bytes([&[0xcc; 15][..], &[1]].concat().try_into().unwrap()).opens()),
            after,
            kind: kind.into(),
            form: 1,
            act: act.into(),
            set: set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<BTreeMap<_, _>>(),
            author: "别人".into(),
            cause: None,
            occurred_at: at(i64::from(self.drawn)).now,
            mono_ms: 0,
            boot: 0,
            clock: 0,
        };
        let bytes = entry.to_bytes();
        self.mark = self.mark.extend(&bytes);
        store.hear(DOWN, vec![(self.mark, bytes)]).unwrap();
        entry.id
    }
}

fn refused(store: &Store, id: DocId) -> String {
    match store.capture(wish(Some(id), "", "lock", &[]), at(50)) {
        Err(CaptureError::Problems(problems)) => format!("{} / {}", problems[0].zh, problems[0].en),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_document_of_another_site_is_acted_on_here_while_its_pen_is_here() {
    let outlet = Outlet::new();
    let (mut store, mut relay) = (outlet.open(), Relay::new());
    let opening = [("site", Value::from("3703")), ("zone", "A".into()), ("counter", "李娜".into())];
    let line = [
        ("item#1.item", Value::from("轮胎")),
        ("item#1.location", "main".into()),
        ("item#1.counted", Value::measured(4_000, "件")),
        ("item#1.found", "scanned".into()),
    ];
    let opened = relay.tell(&store, "count_sheet", "open", None, &[&opening[..], &line].concat());
    let id = opened.opens();
    let held = "单据不在本方手中，现由网点 3703 持有 / the writer does not hold the pen, site 3703 does";
    assert_eq!(refused(&store, id), held);
    let reason = [("reclaim_reason", Value::from("设备已毁"))];
    let taken = relay.tell(&store, "count_sheet", "reclaim", Some(opened), &reason);
    assert_eq!(refused(&store, id), "单据不在本方手中，现由中心持有 / the writer does not hold the pen, the hub does");
    let note = wish(Some(id), "", "note", &[("note_text", "可以帮忙".into())]);
    store.capture(note, at(51)).expect("anyone may remark");
    relay.tell(&store, "count_sheet", "hand_over", Some(taken), &[("pen_site", "3702".into())]);
    for _ in 0..2 {
        let document = store.document(id).unwrap().unwrap();
        assert_eq!((document.site.as_str(), &document.pen), ("3703", &Party::Site("3702".parse().unwrap())));
        let listed = store.documents(&Filter { kind: Some("count_sheet".into()), ..Filter::default() }).unwrap();
        assert_eq!(listed.items.iter().map(|document| document.id).collect::<Vec<_>>(), [id]);
        store.close();
        outlet.forget_cache();
        store = outlet.open();
    }
    let locked = store.capture(wish(Some(id), "", "lock", &[]), at(52)).unwrap();
    assert_eq!((locked.document.state.as_str(), &locked.document.pen), ("locked", &Party::Hub));
}

#[test]
fn what_other_sites_move_is_not_on_hand_here() {
    let outlet = Outlet::new();
    let (mut store, mut relay) = (outlet.open(), Relay::new());
    let moved = [
        ("site", Value::from("3703")),
        ("item", "轮胎".into()),
        ("location", "main".into()),
        ("quantity", Value::measured(9_000, "件")),
        ("reason", "receipt".into()),
    ];
    relay.tell(&store, "stock_movement", "post", None, &moved);
    store.capture(movement("轮胎", 3_000), at(60)).unwrap();
    for _ in 0..2 {
        let sheet = store.capture(count("轮胎"), at(61)).unwrap().document;
        assert_eq!(sheet.fields.get("item#1.expected"), Some(&Value::measured(3_000, "件")));
        store.close();
        outlet.forget_cache();
        store = outlet.open();
    }
}
