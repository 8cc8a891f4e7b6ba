//! The driver as tables: each row is a story between an agent and a hub, and what the agent does.

use ed25519_dalek::SigningKey;
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::frame::seal;
use waystation_protocol::id::{SessionId, StreamId};
use waystation_protocol::message::{Ack, Message, Parent, Welcome};
use waystation_protocol::time::{Tick, Timestamp};

use super::driver::{Driver, Journal, Order};
use super::heard::{Heard, Met};

const STREAM: StreamId = StreamId::from_bytes([7; 16]);

struct Story {
    driver: Driver,
    stream: StreamId,
    line: Vec<Parent>,
    pruned: u64,
    head: u64,
    now: Tick,
    hub: SigningKey,
    session: u8,
    /// Whether WELCOMEs answer an earlier HELLO.
    is_stale: bool,
    /// Milliseconds more that an answer took on its way.
    late_ms: i64,
    log: Vec<String>,
}

fn mark(chain: u8, seq: u64) -> Mark {
    (0..seq).fold(Mark::ZERO, |mark, _| mark.extend(&[chain]))
}

impl Story {
    /// Runs `script`: `+3` the journal grows, `up`, `down`, `wait 900`, `welcome 2`, `ack 3`, `other 5` a WELCOME of a
    /// hub whose chain differs, `prune 2`, `protocol 9`, `forged 3` an ACK by another key, `old 3` an ACK of another session,
    /// `busy 500` no room for a HELLO.
    fn run(script: &str) -> Story {
        let mut story = Story {
            driver: Driver::new(STREAM, Seq(0), Mark::ZERO, None),
            stream: STREAM,
            line: Vec::new(),
            pruned: 0,
            head: 0,
            now: Tick(0),
            hub: SigningKey::from_bytes(&[1; 32]),
            session: 0,
            is_stale: false,
            late_ms: 0,
            log: Vec::new(),
        };
        for step in script.split(';').map(str::trim) {
            let (word, number) = step.split_once(' ').unwrap_or((step, "0"));
            let number = number.parse().unwrap_or(0);
            match word {
                "up" => {
                    story.session += 1;
                    story.driver.handle_connected(SessionId::from_bytes([story.session; 16]), story.now);
                }
                "down" => story.driver.handle_disconnected(),
                "wait" => story.now = story.now.plus(number),
                "welcome" => story.welcome(mark(b'e', number), 1),
                "slow" => {
                    story.late_ms = 120_000;
                    story.welcome(mark(b'e', number), 1);
                }
                "stale" => {
                    story.is_stale = true;
                    story.welcome(mark(b'e', number), 1);
                }
                "other" => story.welcome(mark(b'x', number), 1),
                "prune" => story.pruned = number,
                "protocol" => story.welcome(Mark::ZERO, 9),
                "ack" => story.ack(number, story.session, 1),
                "busy" => story.busy(number),
                "old" => story.ack(number, story.session + 1, 1),
                "forged" => story.ack(number, story.session, 2),
                grow => {
                    story.head += grow[1..].parse::<u64>().unwrap();
                    story.driver.handle_head(Seq(story.head));
                }
            }
            story.obey();
        }
        story
    }

    /// The hub knows a new stream once it acknowledged it.
    fn spoken_of(&self) -> StreamId {
        if self.driver.parent().is_some() { self.line[0].stream } else { self.stream }
    }

    fn welcome(&mut self, stored: Mark, protocol: u8) {
        let welcome = Welcome {
            session: SessionId::from_bytes([self.session; 16]),
            hub: vec![9].into(),
            public_key: self.hub.verifying_key().to_bytes().to_vec().into(),
            hub_epoch: 0,
            stream: self.spoken_of(),
            ladder: vec![stored, Mark::ZERO],
            processed: Seq(0),
            prunable: Seq(0),
            down: None,
            down_prunable: Seq(0),
            credit: 1_000_000,
            letter: None,
            challenge: None,
            protocol,
            capabilities: Vec::new(),
            t1: if self.is_stale { Timestamp(0) } else { self.driver.hello_left_at().unwrap_or(Timestamp(0)) },
            t2: Timestamp(1_000),
            t3: Timestamp(1_010 - self.late_ms),
        };
        let frame = seal(Welcome::FRAME, &welcome.to_body(), &self.hub);
        self.hear(&frame);
    }

    fn ack(&mut self, seq: u64, session: u8, key: u8) {
        let ack = Ack {
            session: SessionId::from_bytes([session; 16]),
            stream: self.stream,
            stored: mark(b'e', seq),
            processed: Seq(0),
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing: Vec::new(),
            credit: 1_000_000,
            retry_after_ms: 0,
        };
        let frame = seal(Ack::FRAME, &ack.to_body(), &SigningKey::from_bytes(&[key; 32]));
        self.hear(&frame);
    }

    fn busy(&mut self, retry_after_ms: u64) {
        let ack = Ack {
            session: SessionId::from_bytes([self.session; 16]),
            stream: self.stream,
            stored: Mark::ZERO,
            processed: Seq(0),
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing: Vec::new(),
            credit: 0,
            retry_after_ms,
        };
        self.hear(&seal(Ack::FRAME, &ack.to_body(), &SigningKey::from_bytes(&[1; 32])));
    }

    fn hear(&mut self, frame: &[u8]) {
        let hash_at = |seq: Seq| (seq.0 <= self.head).then(|| mark(b'e', seq.0).hash);
        let journal = Journal { pruned: Seq(self.pruned), line: &self.line, must_fork: false, hash_at: &hash_at };
        let heard = match self.driver.handle_frame(frame, &journal, Timestamp(5_030), self.now) {
            Heard::Welcomed(welcomed) => match welcomed.met {
                Some(met) => self.meet(&met, welcomed.credit),
                None => "trouble".to_owned(),
            },
            Heard::Acked { stored, .. } => format!("stored:{}", stored.seq),
            Heard::Returned(_) => "returned".to_owned(),
            Heard::Batch(_) => "batch".to_owned(),
            Heard::Busy => "busy".to_owned(),
            Heard::Doubt => "doubt".to_owned(),
            Heard::Stale => "stale".to_owned(),
            Heard::Dropped(_) => "dropped".to_owned(),
        };
        self.log.push(heard);
    }

    /// As the engine does it: a fork gets a new stream.
    fn meet(&mut self, met: &Met, credit: u64) -> String {
        let word = match (met.must_fork, met.is_rolled_back) {
            (true, _) => "fork",
            (false, true) => "back",
            (false, false) => "open",
        };
        if met.must_fork && met.spoken_of == self.stream {
            self.line.insert(0, Parent { stream: self.stream, at: met.common });
            self.stream = StreamId::from_bytes([8; 16]);
        }
        let parent = (self.stream != met.spoken_of).then_some(Parent { stream: met.spoken_of, at: met.common });
        self.driver.handle_met(met, self.stream, parent, credit, self.now);
        let lost = met.lost().map_or_else(String::new, |lost| format!("({}..{})", lost.first, lost.last));
        format!("{word}:{}{lost}", met.common.seq)
    }

    fn obey(&mut self) {
        for _ in 0..20 {
            match self.driver.poll_order(self.now) {
                None => return,
                Some(Order::Hello) => {
                    self.log.push("hello".to_owned());
                    self.driver.handle_hello_sent(Timestamp(5_000), self.now);
                }
                Some(Order::Batch(range)) => {
                    self.log.push(format!("{}-{}", range.first, range.last));
                    self.driver.handle_sent(range, 1_000, self.now);
                }
                Some(Order::Register(first)) => {
                    self.log.push(format!("{first}-"));
                    self.driver.handle_registration_sent(first, 200, self.now);
                }
                Some(Order::Heartbeat) => {
                    self.log.push("beat".to_owned());
                    self.driver.handle_heartbeat_sent(self.now, 6_000);
                }
                Some(Order::Rebuild) => self.log.push("rebuild".to_owned()),
            }
        }
        panic!("the driver does not come to rest: {}", self.log.join(" "));
    }
}

fn check(script: &str, expected: &str) {
    assert_eq!(Story::run(script).log.join(" "), expected, "{script}");
}

#[test]
fn a_session_opens_drains_and_beats() {
    check("+3; up; welcome 0; ack 3", "hello open:0 1-3 beat stored:3");
    check("up; welcome 0; wait 59000; +1; ack 1; wait 1000", "hello open:0 beat 1-1 stored:1 beat");
    check("up; welcome 0; wait 2000; +1; wait 999", "hello open:0 beat 1-1");
    check("up; welcome 0; wait 2000; +1; wait 1000", "hello open:0 beat 1-1 1-1 beat");
}

/// Proves R-MEET-3.
#[test]
fn a_lost_connection_starts_over_from_what_the_hub_holds() {
    check("+2; up; welcome 0; down; +1; up; welcome 1", "hello open:0 1-2 beat hello open:1 2-3 beat");
    check("+2; up; welcome 2; down; up; welcome 1", "hello open:2 beat hello back:1 2-2 beat");
}

/// Proves R-FLOW-2.
#[test]
fn silence_leads_to_a_new_client() {
    check("up; wait 1000; wait 2000; wait 4000; wait 8000", "hello hello hello hello rebuild");
}

/// Proves R-KEY-2, R-FRAME-2, R-ACK-2.
#[test]
fn only_the_pinned_hub_is_believed() {
    check("up; forged 0", "hello dropped");
    check("+1; up; welcome 0; forged 1", "hello open:0 1-1 beat dropped");
    check("+1; up; welcome 0; old 1", "hello open:0 1-1 beat stale");
    let mut story = Story::run("up; welcome 0");
    story.hub = SigningKey::from_bytes(&[2; 32]);
    story.welcome(Mark::ZERO, 1);
    assert_eq!(story.log.last().map(String::as_str), Some("dropped"));
}

/// Proves R-MEET-1, R-FORK-3.
#[test]
fn a_journal_the_hub_has_left_behind_goes_on_in_a_new_stream() {
    check("+3; up; other 2; wait 1", "hello fork:0 1-3 beat");
    check("+3; up; welcome 5", "hello fork:0 1-3 beat");
    check("up; other 2; wait 1000; ack 0; wait 2000", "hello fork:0 1- beat 1- stored:0");
    check("+3; up; other 2; down; up; other 2", "hello fork:0 1-3 beat hello fork:0 1-3 beat");
    let story = Story::run("+3; up; other 2; ack 3; down; +1; up; welcome 3");
    assert_eq!(story.log.join(" "), "hello fork:0 1-3 beat stored:3 hello open:3 4-4 beat");
    assert_eq!((story.line.len(), story.driver.parent()), (1, None));
}

/// Proves R-MEET-1, R-LOST-1.
#[test]
fn what_is_deleted_here_and_absent_there_is_named_and_passed_over() {
    check("+5; prune 3; up; welcome 1; ack 5", "hello open:1(2..3) 4-5 beat stored:5");
    check("+3; prune 3; up; welcome 1; ack 3; wait 1000", "hello open:1(2..3) 4- beat stored:3 beat");
    check("+5; prune 3; up; other 2; ack 5", "hello fork:0(1..3) 4-5 beat stored:5");
}

/// Proves R-VER-1.
#[test]
fn a_meeting_that_needs_a_person_stops_sending_and_is_tried_again() {
    check("+3; up; protocol 9; wait 60000", "hello trouble beat beat");
    check("+3; up; protocol 9; welcome 2", "hello trouble beat open:2 3-3");
    let story = Story::run("+3; up; protocol 9");
    assert!(story.driver.trouble().is_some_and(|trouble| trouble.en().contains("needs ops")));
}

/// Proves R-FLOW-5, R-FLOW-6.
#[test]
fn a_hub_without_room_is_greeted_again_after_the_pause_and_nothing_else_follows() {
    check("+3; up; welcome 2; down; up; busy 9000; wait 8999", "hello open:2 3-3 beat hello busy");
    check(
        "+3; up; welcome 2; down; up; busy 9000; wait 9000; welcome 2",
        "hello open:2 3-3 beat hello busy hello open:2 3-3 beat",
    );
    check("+3; up; welcome 2; busy 500; wait 499; ack 3", "hello open:2 3-3 beat busy stored:3");
    check("up; busy 9000; wait 1000", "hello dropped hello");
}

/// Proves R-TIME-5.
#[test]
fn the_clock_is_compared_with_the_hubs() {
    // sent at 5.000, arrived at 5.030 of this clock; the hub took 10 ms at 1.000 of its own
    assert_eq!(Story::run("up; welcome 0").driver.clock_offset_ms(), Some(4_010));
    // the answer to an earlier HELLO, or one that took longer than two minutes
    assert_eq!(Story::run("up; stale 0").driver.clock_offset_ms(), None);
    assert_eq!(Story::run("up; slow 0").driver.clock_offset_ms(), None);
}
