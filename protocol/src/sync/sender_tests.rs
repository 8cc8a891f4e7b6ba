//! The sender as a table: each row is a script of events and what the sender then does.

use super::*;
use crate::id::StreamId;

const SESSION: SessionId = SessionId::from_bytes([1; 16]);

struct Bench {
    sender: Sender,
    now: Tick,
    log: Vec<String>,
}

impl Bench {
    /// Runs `script`: `+3` journal grows by 3, `up` connected, `welcome 2` resume at 2, `fork 2` on a new stream, `lost 2 5` what lies between is deleted here, `ack 5` / `ack 5 miss 3..4`,
    /// `old 5` an ACK of another session, `bad 5` a wrong hash, `credit 0`, `pause 500` what later ACKs ask for, `busy 500` no room for a HELLO, `wait 1000`, `down`.
    fn run(script: &str) -> String {
        let mut bench = Bench { sender: Sender::new(Seq(0), Mark::ZERO), now: Tick(0), log: Vec::new() };
        let (mut credit, mut pause) = (1_000_000, 0);
        for step in script.split(';').map(str::trim) {
            let words: Vec<&str> = step.split_whitespace().collect();
            let number = |index: usize| words[index].parse::<u64>().unwrap();
            match words[0] {
                "up" => bench.sender.handle_connected(SESSION, bench.now),
                "down" => bench.sender.handle_disconnected(),
                "prune" => bench.sender.handle_pruned(Seq(number(1))),
                "credit" => credit = number(1),
                "wait" => bench.now = bench.now.plus(number(1)),
                "welcome" => bench.resume(number(1), 0, false, credit),
                "fork" => bench.resume(number(1), 0, true, credit),
                "lost" => bench.resume(number(1), number(2), true, credit),
                "pause" => pause = number(1),
                "busy" => bench.sender.handle_busy(number(1), bench.now),
                "ack" | "old" | "bad" => bench.ack(&words, credit, pause),
                grow => {
                    let head = bench.sender.head().plus(grow[1..].parse().unwrap());
                    bench.sender.handle_head(head);
                }
            }
            bench.drain();
        }
        bench.log.join(" ")
    }

    fn resume(&mut self, stored: u64, floor: u64, must_register: bool, credit: u64) {
        let resume = Resume { stored: mark(stored), floor: Seq(floor), must_register, credit };
        self.sender.handle_resume(resume, self.now);
    }

    fn ack(&mut self, words: &[&str], credit: u64, retry_after_ms: u64) {
        let stored = mark(words[1].parse().unwrap());
        let missing = words.get(3).map(|range| {
            let (first, last) = range.split_once("..").unwrap();
            SeqRange { first: Seq(first.parse().unwrap()), last: Seq(last.parse().unwrap()) }
        });
        let session = if words[0] == "old" { SessionId::from_bytes([9; 16]) } else { SESSION };
        let own = if words[0] == "bad" { Some(Hash::ZERO) } else { Some(stored.hash) };
        let ack = Ack {
            session,
            stream: StreamId::from_bytes([0; 16]),
            stored,
            processed: Seq(0),
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing: missing.into_iter().collect(),
            credit,
            retry_after_ms,
        };
        self.sender.handle_ack(&ack, own, self.now);
    }

    fn drain(&mut self) {
        for _ in 0..20 {
            match self.sender.poll_command(self.now) {
                None => return,
                Some(Command::Hello) => {
                    self.log.push("hello".into());
                    self.sender.handle_hello_sent(self.now);
                }
                Some(Command::Rebuild) => self.log.push("rebuild".into()),
                Some(Command::Register(first)) => {
                    self.log.push(format!("{first}-"));
                    self.sender.handle_registration_sent(first, 200, self.now);
                }
                Some(Command::Batch(range)) => {
                    let last = Seq(range.last.0.min(range.first.0 + 299));
                    let sent = SeqRange { first: range.first, last };
                    self.log.push(format!("{}-{}", sent.first, sent.last));
                    self.sender.handle_sent(sent, 30_000, self.now);
                }
            }
        }
        panic!("the sender does not come to rest: {}", self.log.join(" "));
    }
}

fn mark(seq: u64) -> Mark {
    Mark { seq: Seq(seq), hash: Hash::from_bytes([seq as u8 + 1; 32]) }
}

fn check(script: &str, expected: &str) {
    assert_eq!(Bench::run(script), expected, "{script}");
}

/// Proves R-FLOW-3.
#[test]
fn the_drain_starts_by_itself_after_a_welcome() {
    check("+5", "");
    check("+5; up; welcome 0", "hello 1-5");
    check("+5; up; welcome 3", "hello 4-5");
    check("+5; up; welcome 5", "hello");
}

#[test]
fn new_entries_wait_for_the_batch_before_them_unless_they_fill_one() {
    check("+1; up; welcome 0; +1; +1; ack 1", "hello 1-1 2-3");
    check("+1; up; welcome 0; +300", "hello 1-1 2-301");
}

/// Proves R-FLOW-1.
#[test]
fn credit_bounds_what_is_in_flight() {
    check("credit 70000; +2000; up; welcome 0", "hello 1-300 301-600 601-900");
    check("credit 70000; +2000; up; welcome 0; ack 300", "hello 1-300 301-600 601-900 901-1200");
}

/// Proves R-FLOW-5.
#[test]
fn for_as_long_as_the_receiver_asks_nothing_is_sent() {
    check("+1; up; welcome 0; pause 5000; ack 1; +1; wait 4999", "hello 1-1");
    check("+1; up; welcome 0; pause 5000; ack 1; +1; wait 5000", "hello 1-1 2-2");
    check("+2; up; welcome 0; +300; pause 9000; ack 0; wait 8999", "hello 1-2 3-302");
    check("+2; up; welcome 0; +300; pause 9000; ack 0; wait 9000", "hello 1-2 3-302 1-300");
    check("+1; up; welcome 0; pause 999999999; ack 1; +1; wait 120000", "hello 1-1 2-2");
}

/// Proves R-FLOW-5, R-FLOW-6.
#[test]
fn a_hello_that_found_no_room_is_said_again_after_the_pause() {
    check("up; busy 7000; wait 6999", "hello");
    check("up; busy 7000; wait 7000; welcome 0", "hello hello");
    check("up; busy 7000; down; up; wait 6999", "hello");
    check("up; busy 7000; wait 7000; busy 30000; wait 29999", "hello hello");
    check("+1; up; welcome 0; busy 3000; wait 2999; wait 1", "hello 1-1 1-1");
    check("up; busy 7000; welcome 0", "hello");
}

/// Proves R-FLOW-1.
#[test]
fn at_zero_credit_one_batch_probes_per_timer() {
    check("credit 0; +9; up; welcome 0", "hello");
    check("credit 0; +9; up; welcome 0; wait 1000", "hello 1-9");
    check("credit 0; +9; up; welcome 0; wait 1000; credit 9; ack 0; ack 9", "hello 1-9");
}

/// Proves R-FLOW-2, R-ACK-3.
#[test]
fn silence_leads_to_two_resends_a_hello_and_a_new_connection() {
    check("+2; up; welcome 0; wait 999", "hello 1-2");
    check("+2; up; welcome 0; wait 1000", "hello 1-2 1-2");
    check("+2; up; welcome 0; wait 1000; wait 2000", "hello 1-2 1-2 1-2");
    check("+2; up; welcome 0; wait 1000; wait 2000; wait 4000", "hello 1-2 1-2 1-2 hello");
    check("+2; up; welcome 0; wait 1000; wait 2000; wait 4000; wait 8000", "hello 1-2 1-2 1-2 hello rebuild");
}

#[test]
fn an_unanswered_hello_is_repeated_then_the_connection_rebuilt() {
    check("up; wait 1000; wait 2000; wait 4000; wait 8000", "hello hello hello hello rebuild");
}

/// Proves R-BATCH-5.
#[test]
fn what_the_receiver_lacks_is_resent_alone_and_once() {
    check("+900; up; welcome 0; wait 300; ack 0 miss 301..600", "hello 1-300 301-600 601-900 301-600");
    check(
        "+900; up; welcome 0; wait 300; ack 0 miss 301..600; ack 0 miss 301..600",
        "hello 1-300 301-600 601-900 301-600",
    );
    check("+9; up; welcome 0; wait 300; ack 0 miss 5..4; ack 0 miss 1..99", "hello 1-9");
}

/// Proves R-LOST-4.
#[test]
fn what_is_named_lost_and_still_held_is_sent_from_its_end() {
    check("+900; up; welcome 900; ack 900 miss 1..4", "hello 1-4");
    check(
        "+900; up; welcome 900; ack 900 miss 1..600; ack 900 miss 1..344; ack 900 miss 1..88",
        "hello 345-600 89-344 1-88",
    );
    check("+900; up; welcome 900; ack 900 miss 1..4; ack 900 miss 1..4", "hello 1-4");
    check("+900; up; welcome 900; ack 900 miss 1..4; wait 30000; ack 900 miss 1..4", "hello 1-4 1-4");
    check("+900; up; lost 900 3; ack 900 miss 1..5", "hello 901- 4-5");
    check("+900; up; lost 900 5; ack 900 miss 1..5", "hello 901-");
    check("+900; up; welcome 900; prune 3; ack 900 miss 1..5", "hello 4-5");
    check("+900; up; welcome 900; prune 5; ack 900 miss 1..5", "hello");
}

/// Proves R-ACK-2, R-ACK-3.
#[test]
fn only_a_fitting_acknowledgement_counts() {
    check("+5; up; welcome 0; old 5; +1", "hello 1-5");
    check("+5; up; welcome 0; bad 5", "hello 1-5 hello");
    check("+5; up; welcome 0; ack 5; ack 3", "hello 1-5 hello");
    check("+5; up; welcome 0; ack 6", "hello 1-5 hello");
    // where nothing was ever sent, it asks for a HELLO
    check("up; welcome 0; ack 0; welcome 0; old 0", "hello hello");
}

/// Proves R-MEET-3.
#[test]
fn a_welcome_may_set_the_mark_back() {
    check("+5; up; welcome 0; ack 5; down; up; welcome 2", "hello 1-5 hello 3-5");
}

/// Proves R-FORK-3.
#[test]
fn a_new_stream_and_a_lost_range_are_made_known_even_without_entries() {
    check("+5; up; fork 5", "hello 6-");
    check("+5; up; fork 5; wait 1000", "hello 6- 6-");
    check("+5; up; fork 5; ack 5; wait 1000", "hello 6-");
    check("+5; up; fork 3; ack 5", "hello 4-5");
    check("+5; up; lost 2 5; ack 2; wait 1000; ack 5; wait 2000", "hello 6- 6-");
    check("+7; up; lost 2 5; ack 7", "hello 6-7");
    // what arrived ahead of what is deleted is told to be missing it
    check("+7; up; lost 2 5; ack 2 miss 3..5; ack 2 miss 3..6", "hello 6-7");
    check("+7; up; lost 2 5; wait 500; ack 2 miss 3..6", "hello 6-7 6-6");
}

#[test]
fn a_lost_connection_forgets_what_was_in_flight() {
    check("+5; up; welcome 0; down; wait 60000; up; welcome 0", "hello 1-5 hello 1-5");
}
