//! The clock: its steps, the hub's time as a floor, and when it is compared.

use super::*;

/// Proves R-TIME-2, R-TIME-4.
#[test]
fn a_step_of_the_clock_is_journalled_and_the_clock_compared_again() {
    let mut bench = Bench::new();
    let of_last = |bench: &Bench| {
        let seq = bench.store.head().seq;
        let mut builder = Builder::new();
        let range = waystation_protocol::chain::SeqRange { first: seq, last: seq };
        let prev_hash = bench.store.fill_batch(range, &mut builder).unwrap().prev_hash;
        let batch = Batch {
            stream: bench.store.identity().stream,
            parent: None,
            first_seq: seq,
            count: builder.count(),
            prev_hash,
            base: None,
            payload: builder.finish().into(),
        };
        Entry::from_bytes(Unpacked::open(&batch).unwrap().entries_from(seq).next().unwrap().1).unwrap()
    };
    let first = survey_at(&bench.store, bench.now()).unwrap();
    assert_eq!(first.clock, 0, "never compared");
    bench.run("up; welcome; wait 10; step 2000; wait 10");
    assert_eq!((bench.take_log().as_str(), bench.store.clock_steps()), ("hello", 0), "two seconds are no step");
    assert_eq!(survey_at(&bench.store, bench.now()).unwrap().clock, 2);
    bench.take_log();
    bench.run("step 2001");
    let step = of_last(&bench);
    assert_eq!(ClockStep::read(&step), Some(ClockStep { by_ms: 2_001, offset_ms: Some(2_001) }));
    assert_eq!((step.author.as_str(), step.clock, step.occurred_at), ("agent", 1, bench.now().wall));
    assert!(bench.take_log().contains("hello"), "it is compared again");
    assert_eq!(
        (
            survey_at(&bench.store, bench.now()).unwrap().clock,
            bench.store.documents(&Default::default()).unwrap().items.len()
        ),
        (1, 3)
    );
    bench.run("welcome");
    assert_eq!(survey_at(&bench.store, bench.now()).unwrap().clock, 2);
    bench.stepped -= 10 * 365 * 86_400_000;
    bench.run("wait 1");
    let step = ClockStep::read(&of_last(&bench)).unwrap();
    assert_eq!(step.by_ms, -10 * 365 * 86_400_000);
}

/// Proves R-TIME-3.
#[test]
fn what_the_hub_told_of_its_time_holds_captured_times_from_below_also_after_a_restart() {
    let mut bench = Bench::new();
    bench.run("wait 5000; up; welcome");
    let told = bench.now().wall;
    let capture = |store: &Store, now: i64| {
        let set = BTreeMap::from([("form".to_owned(), Value::from("访后"))]);
        let wish =
            Wish {
                document: None, kind: "survey".into(), act: String::new(), set, author: "王芳".into(), cause: None
            };
        let receipt = store.capture(wish, At { now: Timestamp(now), mono_ms: 9_000 }).unwrap();
        let entry = store.history(receipt.document.id).unwrap().remove(0).1;
        (entry.occurred_at, receipt.document.opened_at, entry.clock)
    };
    assert_eq!(capture(&bench.store, 0), (told, told, 0), "a clock that is plainly wrong");
    assert_eq!(capture(&bench.store, told.0 + 7), (Timestamp(told.0 + 7), Timestamp(told.0 + 7), 2));
    bench.store.set_build_time(Timestamp(told.0 + 1_000));
    assert_eq!(capture(&bench.store, told.0 + 7).0, Timestamp(told.0 + 1_000));
    let Bench { engine, store, _folder: folder, .. } = bench;
    store.close();
    drop((engine, store));
    let store = Store::open(&folder.path().join("data"), OpenOptions { random: [8; 10], ..options() }).unwrap();
    assert_eq!(capture(&store, 0), (told, told, 0));
    assert_eq!(capture(&store, told.0 + 7).2, 1, "compared, but not in this process start");
}

/// Proves R-TIME-5.
#[test]
fn a_clock_that_is_not_compared_yet_is_compared_with_the_next_heartbeat() {
    check("up; silent; wait 70000", "hello");
    // the first heartbeat leaves with the first WELCOME
    check("up; wait 5; silent; silent; wait 70000", "hello hello");
    check("up; wait 5; silent; wait 5; silent; wait 50000", "hello hello");
    check("up; wait 5; silent; wait 5; silent; wait 70000", "hello hello hello");
}
