//! Copies: a store that was copied, moved or put back knows it, and prints nothing its twin prints.

use super::outlet::{Outlet, at, survey};
use super::*;

fn numbers(store: &Store, count: i64) -> Vec<String> {
    let capture = |index| store.capture(survey("x"), at(index)).unwrap().document;
    (0..count).map(|index| capture(index).number().unwrap().to_owned()).collect()
}

/// Puts a file of one folder into another.
fn put(from: &Outlet, to: &Outlet, name: &str) {
    std::fs::copy(from.dir.join(name), to.dir.join(name)).unwrap();
}

#[test]
fn only_what_was_copied_moved_or_put_back_is_a_copy() {
    type Change = fn(&Outlet) -> Outlet;
    let check = |name: &str, change: Change, expected: bool| {
        let outlet = Outlet::new();
        let store = outlet.open();
        numbers(&store, 3);
        store.close();
        let changed = change(&outlet);
        let outlet = if changed.dir.exists() { changed } else { outlet };
        let store = outlet.open();
        assert_eq!((store.is_copy(), store.must_fork()), (expected, expected), "{name}");
        let printed = numbers(&store, 1).remove(0);
        assert_eq!(printed.starts_with("SV-3702A-"), !expected, "{name}: {printed}");
        store.close();
        assert_eq!(outlet.open().is_copy(), expected, "{name}: until it met the hub");
    };
    check("opened again", |_| Outlet::new(), false);
    check(
        "the whole folder copied",
        |outlet| {
            let copy = outlet.copy();
            put(outlet, &copy, "agent.turn");
            copy
        },
        true,
    );
    check("the database alone copied", Outlet::copy, true);
    check(
        "an older database put back over the newer one",
        |outlet| {
            let older = outlet.copy();
            outlet.open().close();
            put(&older, outlet, "store.redb");
            Outlet::new()
        },
        true,
    );
    check(
        "agent.turn taken away",
        |outlet| {
            std::fs::remove_file(outlet.dir.join("agent.turn")).unwrap();
            Outlet::new()
        },
        true,
    );
    check(
        "agent.turn written half",
        |outlet| {
            std::fs::write(outlet.dir.join("agent.turn"), "{").unwrap();
            Outlet::new()
        },
        true,
    );
    check(
        "the folder renamed",
        |outlet| {
            let renamed = Outlet::new();
            std::fs::rename(&outlet.dir, &renamed.dir).unwrap();
            renamed
        },
        false,
    );
}

#[test]
fn a_store_of_a_build_without_tokens_is_no_copy() {
    let outlet = Outlet::new();
    outlet.open().close();
    {
        let database = redb::Database::open(outlet.dir.join("store.redb")).unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut meta = write.open_table(crate::store::tables::META).unwrap();
            for name in ["place", "turn", "sealed"] {
                meta.remove(name).unwrap();
            }
        }
        write.delete_table(crate::store::tables::KEPT).unwrap();
        write.commit().unwrap();
    }
    let old = outlet.copy();
    let store = old.open();
    assert!(!store.is_copy() && store.salvage().is_none());
    assert_eq!(numbers(&store, 1)[0].get(..9), Some("SV-3702A-"));
    store.close();
    assert!(!old.open().is_copy());
}

#[test]
fn a_crash_between_database_and_file_is_no_copy() {
    let outlet = Outlet::new();
    for _ in 0..3 {
        let store = outlet.open();
        numbers(&store, 1);
        // The file as it was before this opening, as if the machine had stopped before it was written.
        let turn = crate::store::turn::read(&outlet.dir).unwrap();
        store.close();
        let late = crate::store::turn::TurnFile { turn: turn.turn - 1, closed: None };
        crate::store::turn::write(&outlet.dir, &late).unwrap();
        let store = outlet.open();
        assert!(!store.is_copy());
        store.close();
    }
}

#[test]
fn twins_print_no_number_twice_whoever_meets_the_hub_first() {
    let outlet = Outlet::new();
    let store = outlet.open();
    let mut printed = numbers(&store, 5);
    store.close();
    let twins = [outlet.copy(), outlet.copy()];
    let grandchild = {
        let twin = twins[0].open();
        printed.extend(numbers(&twin, 5));
        twin.close();
        twins[0].copy()
    };
    for copy in twins.iter().chain([&outlet, &grandchild]) {
        let store = copy.open();
        printed.extend(numbers(&store, 5));
        store.close();
        printed.extend(numbers(&copy.open(), 5));
    }
    let distinct: BTreeSet<&String> = printed.iter().collect();
    assert_eq!(distinct.len(), printed.len(), "{printed:?}");
    assert!(printed.iter().all(|number| number::is_valid(number)), "{printed:?}");
}

#[test]
fn meeting_the_hub_gives_the_letter_back_for_good() {
    let outlet = Outlet::new();
    outlet.open().close();
    let copy = outlet.copy();
    let store = copy.open();
    store.handle_met().unwrap();
    assert!(!store.is_copy());
    assert_eq!(store.tag().to_string(), "A");
    store.handle_met().unwrap();
    store.close();
    let store = copy.open();
    assert!(!store.must_fork());
    assert!(numbers(&store, 1)[0].starts_with("SV-3702A-"));
}

#[test]
fn a_new_stream_prints_under_a_tag_until_it_has_a_letter_of_its_own() {
    let check = |is_copied: bool| {
        let outlet = Outlet::new();
        let store = outlet.open();
        numbers(&store, 2);
        store.close();
        let outlet = if is_copied { outlet.copy() } else { outlet };
        let store = outlet.open();
        assert_eq!((store.must_fork(), store.is_copy()), (is_copied, is_copied));
        store.fork(Mark { seq: Seq(1), hash: store.hash_at(Seq(1)).unwrap() }).unwrap();
        let tag = store.tag();
        store.close();
        let store = outlet.open();
        assert_eq!((store.must_fork(), store.is_copy(), store.tag()), (false, is_copied, tag));
        assert!(numbers(&store, 1)[0].starts_with(&format!("SV-3702{tag}-")) && tag.to_string().len() == 3);
        store.adopt_letter('C').unwrap();
        assert_eq!(store.tag(), tag);
        store.handle_met().unwrap();
        assert!(numbers(&store, 1)[0].starts_with("SV-3702C-"));
    };
    check(true);
    check(false);
}
