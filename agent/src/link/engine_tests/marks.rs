//! What outlives its deletion, and what is not deleted yet.

use super::*;

/// Proves R-PRUNE-4.
#[test]
fn what_the_hub_asks_for_is_not_deleted_though_it_lies_below_the_prunable_mark() {
    let mut bench = Bench::new();
    (0..5).for_each(|_| drop(survey(&bench.store).unwrap()));
    bench.run("up; silent");
    for (asked, pruned) in [(Some((3, 4)), 2), (None, 5)] {
        let ack = Ack {
            session: bench.session(),
            stream: bench.store.identity().stream,
            stored: bench.store.head(),
            processed: Seq(5),
            prunable: Seq(5),
            down_prunable: Seq(0),
            missing: asked.map(|(first, last)| SeqRange { first: Seq(first), last: Seq(last) }).into_iter().collect(),
            credit: 1_000_000,
            retry_after_ms: 0,
        };
        bench.engine.handle_frame(&seal(Ack::FRAME, &ack.to_body(), &bench.key), bench.now());
        bench.store.rest();
        assert_eq!(bench.store.pruned(), Seq(pruned));
    }
}

/// Proves R-MEET-4.
#[test]
fn the_hash_at_every_end_of_a_sent_batch_outlives_its_entries() {
    let mut bench = Bench::new();
    bench.run("up; silent");
    for (wait, expected) in [("wait 0", "hello batch:1-1"), ("wait 1000", "batch:1-2")] {
        survey(&bench.store).unwrap();
        bench.engine.handle_head(bench.store.head().seq);
        assert_eq!(bench.run(wait).take_log(), expected, "the acknowledgement is lost");
    }
    let head = bench.store.head();
    bench.store.record_stored(head, head.seq, head.seq).unwrap();
    bench.store.rest();
    assert_eq!(bench.store.pruned(), Seq(2));
    assert!(bench.store.hash_at(Seq(1)).is_some(), "a hub may come back with what the first batch brought alone");
}

/// Proves R-MEET-4.
#[test]
fn the_hash_at_every_place_the_hub_shows_to_have_outlives_its_entry() {
    let mut bench = Bench::new();
    (0..9).for_each(|_| drop(survey(&bench.store).unwrap()));
    bench.run("up; silent");
    let head = bench.store.head();
    bench.store.record_stored(head, head.seq, head.seq).unwrap();
    bench.store.rest();
    assert_eq!(bench.store.pruned(), Seq(9));
    let known: Vec<u64> = (0..=9).filter(|seq| bench.store.hash_at(Seq(*seq)).is_some()).collect();
    assert_eq!(known, [0, 1, 5, 7, 8, 9], "a crash may have taken what was noted as they were sent");
}
