//! The engine with a store and a hub that is played: each row is a story about the downward journal.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::definition::{Definition, FieldType};
use waystation_protocol::document::capture::Wish;
use waystation_protocol::down::{ClockStep, Command, CommandResult, Fate, Receipt, Rehydrated, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::frame::{Frame, FrameType, seal};
use waystation_protocol::id::{EntryId, SessionId, StreamId};
use waystation_protocol::message::{Ack, Batch, Bytes, Hello, Ladder, Message, Welcome};
use waystation_protocol::site::Sites;
use waystation_protocol::sync::meeting::rungs;
use waystation_protocol::time::{Tick, Timestamp, zone};
use waystation_protocol::value::Value;

use super::engine::{Action, Engine, Now};
use super::status::LinkStatus;
use crate::store::{At, CaptureError, OpenOptions, Store};

mod clock;
mod marks;

const FIRST: u8 = 50;

struct Bench {
    engine: Engine,
    store: Store,
    key: SigningKey,
    /// The hub's downward journal.
    stream: u8,
    told: Vec<Vec<u8>>,
    tick: u64,
    session: u8,
    drawn: u8,
    /// By how much the wall clock was stepped.
    stepped: i64,
    /// What the hub lets go.
    lets: Seq,
    log: Vec<String>,
    _folder: tempfile::TempDir,
}

fn options() -> OpenOptions {
    OpenOptions {
        sites: Sites::Only(vec!["3702".parse().unwrap()]),
        letter: 'A',
        random: [7; 10],
        boot: 1,
        new_ids: [[1; 16], [2; 16]],
        new_key: [3; 32],
        zone: zone("").unwrap(),
        reserve_bytes: 4_096,
    }
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data"), options()).unwrap();
        Bench {
            engine: Engine::new(store.clone(), LinkStatus::new(true), 1),
            store,
            key: SigningKey::from_bytes(&[9; 32]),
            stream: FIRST,
            told: Vec::new(),
            tick: 0,
            session: 0,
            drawn: 0,
            stepped: 0,
            lets: Seq(0),
            log: Vec::new(),
            _folder: folder,
        }
    }

    /// Runs `script`: `up` and `down`; `marker` the hub writes an entry; `welcome 3` it has so much of its journal, `welcome` all,
    /// `silent` it speaks of none, `challenge` not before an answer; `send 1 3` that stretch, `forged 1 3` by another key; `other` another journal begins;
    /// `keep 1` it forgets what it wrote after that; `acked 3` what came back to it; `prune 2` the agent deletes so much; `wait 1000`; `step 3000` the
    /// wall clock alone goes on; `work` captures, `lets 1` the hub lets so much go, `goes` logs what may.
    fn run(&mut self, script: &str) -> &mut Bench {
        for step in script.split(';').map(str::trim) {
            let mut words = step.split_whitespace();
            let word = words.next().unwrap();
            let numbers: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
            match word {
                "up" => {
                    self.session += 1;
                    self.engine.handle_connected(self.session(), self.now());
                }
                "down" => self.engine.handle_disconnected(),
                "wait" => self.tick += numbers[0] as u64,
                "welcome" => self.welcome(Some(numbers.first().copied().unwrap_or(self.told.len())), None),
                "silent" => self.welcome(None, None),
                "challenge" => self.welcome(None, Some(vec![5].into())),
                "marker" => {
                    let marker = Rehydrated { stream: StreamId::from_bytes([9; 16]), at: Mark::ZERO };
                    self.tell(|stamp| marker.entry(stamp));
                }
                "send" => self.send(numbers[0], numbers[1], true),
                "forged" => self.send(numbers[0], numbers[1], false),
                "other" => (self.stream, self.told) = (self.stream + 1, Vec::new()),
                "keep" => self.told.truncate(numbers[0]),
                "step" => self.stepped += numbers[0] as i64,
                "acked" => self.ack(numbers[0]),
                "lets" => self.lets = Seq(numbers[0] as u64),
                "work" => drop(survey_at(&self.store, self.now()).unwrap()),
                "goes" => self.log.push(format!("goes:{}", self.store.processed_and_prunable().1)),
                "prune" => {
                    self.store.record_down_prunable(Seq(numbers[0] as u64));
                    self.store.rest();
                    assert_eq!(self.store.down().unwrap().pruned, Seq(numbers[0] as u64));
                }
                unknown => panic!("no step '{unknown}'"),
            }
            self.drain();
        }
        self
    }

    fn session(&self) -> SessionId {
        SessionId::from_bytes([self.session; 16])
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp(1_795_401_600_000 + self.tick as i64 + self.stepped), tick: Tick(self.tick) }
    }

    fn stream(&self) -> StreamId {
        StreamId::from_bytes([self.stream; 16])
    }

    fn tell(&mut self, entry: impl FnOnce(Stamp) -> Entry) -> EntryId {
        self.drawn += 1;
        let stamp = Stamp { id: EntryId::from_bytes([self.drawn; 16]), now: self.now().wall };
        self.told.push(entry(stamp).to_bytes());
        stamp.id
    }

    fn mark(&self, seq: u64) -> Mark {
        self.told.iter().take(usize::try_from(seq).unwrap()).fold(Mark::ZERO, |mark, bytes| mark.extend(bytes))
    }

    fn welcome(&mut self, holds: Option<usize>, challenge: Option<Bytes>) {
        let told = |holds: usize| rungs(Seq(holds as u64)).into_iter().map(|seq| self.mark(seq.0)).collect();
        let mark = |seq| Mark { seq, hash: self.store.hash_at(seq).unwrap() };
        let welcome = Welcome {
            session: self.session(),
            hub: vec![9].into(),
            public_key: self.key.verifying_key().to_bytes().to_vec().into(),
            hub_epoch: 0,
            stream: self.store.identity().stream,
            ladder: rungs(self.store.head().seq).into_iter().map(mark).collect(),
            processed: self.store.head().seq,
            prunable: self.lets,
            down: holds.map(|holds| Ladder { stream: self.stream(), rungs: told(holds) }),
            down_prunable: Seq(0),
            credit: 1_000_000,
            letter: None,
            challenge,
            protocol: 1,
            capabilities: Vec::new(),
            t1: self.now().wall,
            t2: self.now().wall,
            t3: self.now().wall,
        };
        let frame = seal(Welcome::FRAME, &welcome.to_body(), &self.key);
        self.engine.handle_frame(&frame, self.now());
    }

    fn send(&mut self, first: usize, last: usize, is_ours: bool) {
        let mut builder = Builder::new();
        self.told[first - 1..last].iter().for_each(|bytes| assert!(builder.push(bytes)));
        let batch = Batch {
            stream: self.stream(),
            parent: None,
            first_seq: Seq(first as u64),
            count: builder.count(),
            prev_hash: self.mark(first as u64 - 1).hash,
            base: None,
            payload: builder.finish().into(),
        };
        let key = if is_ours { self.key.clone() } else { SigningKey::from_bytes(&[8; 32]) };
        self.engine.handle_frame(&seal(Batch::FRAME, &batch.to_body(), &key), self.now());
    }

    fn ack(&mut self, seq: usize) {
        let ack = Ack {
            session: self.session(),
            stream: self.stream(),
            stored: self.mark(seq as u64),
            processed: Seq(0),
            prunable: Seq(0),
            down_prunable: Seq(0),
            missing: Vec::new(),
            credit: 1_000_000,
            retry_after_ms: 0,
        };
        self.engine.handle_frame(&seal(Ack::FRAME, &ack.to_body(), &self.key), self.now());
    }

    /// Writes down what the engine sends.
    fn drain(&mut self) {
        for _ in 0..20 {
            let Some(action) = self.engine.poll(self.now()).unwrap() else { return };
            let Action::Publish(bytes) = action else {
                self.log.push("rebuild".into());
                continue;
            };
            let frame = Frame::parse(&bytes).unwrap();
            let body = frame.unverified_body();
            match frame.kind {
                FrameType::Hello => {
                    let Hello { down, challenge_answer, .. } = Hello::from_body(body).unwrap();
                    let down = down.map_or(String::new(), |down| format!(":{}", down.head.seq));
                    self.log.push(format!("hello{down}{}", if challenge_answer.is_some() { "!" } else { "" }));
                }
                FrameType::Ack => {
                    let ack = Ack::from_body(body).unwrap();
                    let missing: Vec<String> =
                        ack.missing.iter().map(|range| format!("-{}..{}", range.first, range.last)).collect();
                    assert_eq!(ack.stored, self.mark(ack.stored.seq.0), "what is acknowledged is the hub's own");
                    self.log.push(format!("ack:{}{}", ack.stored.seq, missing.concat()));
                }
                FrameType::Batch => {
                    let batch = Batch::from_body(body).unwrap();
                    let unpacked = Unpacked::open(&batch).unwrap();
                    let is_down = batch.stream != self.store.identity().stream;
                    let base = batch.base.map_or(String::new(), |base| format!("^{}", base.seq));
                    let word = if is_down { "return" } else { "batch" };
                    self.log.push(format!("{word}:{}-{}{base}", batch.first_seq, unpacked.last().seq));
                }
                FrameType::Heartbeat => {}
                FrameType::Welcome | FrameType::Death => panic!("{:?} does not travel up", frame.kind),
            }
        }
        panic!("the engine does not come to rest: {}", self.log.join(" "));
    }

    fn take_log(&mut self) -> String {
        std::mem::take(&mut self.log).join(" ")
    }
}

fn check(script: &str, expected: &str) {
    assert_eq!(Bench::new().run(script).take_log(), expected, "{script}");
}

/// Proves R-DOWN-3, R-BATCH-3, R-BATCH-4, R-BATCH-5.
#[test]
fn what_the_hub_sends_is_stored_then_acknowledged_and_named_in_the_next_hello() {
    check("up; welcome; marker; send 1 1", "hello ack:1");
    check("marker; marker; marker; up; welcome; send 1 2; send 3 3; down; up", "hello ack:2 ack:3 hello:3");
    check("marker; up; welcome; send 1 1; send 1 1", "hello ack:1 ack:1");
    check("marker; marker; marker; up; welcome; send 1 1; send 3 3; send 2 2", "hello ack:1 ack:1-2..2 ack:3");
}

/// Proves R-PRUNE-5.
#[test]
fn nothing_is_deleted_before_the_hub_has_told_what_it_had_to_tell() {
    check("work; lets 1; up; welcome; goes", "hello goes:1");
    check("work; lets 1; up; silent; goes", "hello goes:1");
    let told = "work; marker; marker; lets 1; up; welcome; goes; send 1 1; goes";
    check(&format!("{told}; send 2 2; goes"), "hello goes:0 ack:1 goes:0 ack:2 goes:1");
    check(
        &format!("{told}; down; up; welcome; goes; send 2 2; goes"),
        "hello goes:0 ack:1 goes:0 hello:1 goes:0 ack:2 goes:1",
    );
    check("work; lets 1; up; challenge; goes", "hello hello! goes:0");
}

/// Proves R-FRAME-2, R-KEY-2.
#[test]
fn nothing_counts_that_is_not_the_welcoming_hubs() {
    check("marker; up; send 1 1; welcome; send 1 1", "hello ack:1");
    check("marker; up; silent; send 1 1", "hello");
    check("marker; up; welcome; forged 1 1", "hello");
    check("marker; up; welcome; send 1 1; down; send 1 1; up; send 1 1; welcome", "hello ack:1 hello:1");
}

/// Proves R-FENCE-1.
#[test]
fn a_challenge_is_answered_at_once_and_then_with_heartbeats() {
    check("marker; up; challenge; send 1 1; welcome; send 1 1", "hello hello! ack:1");
    check("up; challenge; challenge; challenge", "hello hello! hello!");
    check("up; challenge; down; up; challenge", "hello hello! hello hello!");
}

/// Proves R-OLDER-3.
#[test]
fn what_the_hub_forgot_is_returned_to_it() {
    let three = "marker; marker; marker; up; welcome; send 1 3; down; up";
    check(&format!("{three}; welcome 3"), "hello ack:3 hello:3");
    check(&format!("{three}; welcome 1; acked 3; wait 5000"), "hello ack:3 hello:3 return:2-3");
    check(&format!("{three}; welcome 0; acked 1; acked 3"), "hello ack:3 hello:3 return:1-3");
    check(&format!("{three}; welcome 1; wait 1000"), "hello ack:3 hello:3 return:2-3 return:2-3");
    // the hub's word is older than what it lets go since
    check(&format!("{three}; welcome 1; prune 3; welcome; wait 5000"), "hello ack:3 hello:3 return:2-3 hello:3");
    check(&format!("{three}; marker; welcome 4; send 4 4"), "hello ack:3 hello:3 ack:4");
}

/// Proves R-OLDER-3.
#[test]
fn what_the_hub_forgot_is_returned_although_its_journal_goes_further_since() {
    let anew = "marker; marker; marker; marker; marker; marker; welcome";
    let four = "marker; marker; marker; marker; up; welcome; send 1 4; down; up";
    // the highest rung below the end of the journal here is the third
    check(&format!("{four}; keep 1; {anew}"), "hello ack:4 hello:4 return:1-4");
    check(&format!("{four}; prune 2; keep 1; {anew}"), "hello ack:4 hello:4 return:3-4^0");
    check(&format!("{four}; marker; marker; marker; welcome; wait 5000"), "hello ack:4 hello:4");
}

/// Proves R-OLDER-3, R-FORK-3.
#[test]
fn what_is_deleted_here_and_forgotten_there_is_passed_over_by_its_base() {
    // what is deleted has no hash here any more, but the last: the base is the last mark both can know
    let pruned = "marker; marker; marker; marker; up; welcome; send 1 4; prune 3; down; up";
    check(&format!("{pruned}; welcome 1; acked 4; wait 5000"), "hello ack:4 hello:4 return:4-4^0");
    check(&format!("{pruned}; welcome 0; acked 4"), "hello ack:4 hello:4 return:4-4^0");
    check(&format!("{pruned}; welcome 3; acked 4"), "hello ack:4 hello:4 return:4-4");
    let all = "marker; marker; up; welcome; send 1 2; prune 2; down; up";
    check(&format!("{all}; welcome 1; acked 2; wait 5000"), "hello ack:2 hello:2 return:3-2^0");
}

/// Proves R-DOWN-6.
#[test]
fn another_downward_journal_takes_the_place_of_the_present_one_from_its_beginning() {
    let two = "marker; marker; up; welcome; send 1 2; down; up; other; marker; marker";
    check(&format!("{two}; welcome; send 1 2"), "hello ack:2 hello:2 ack:2");
    check(&format!("{two}; welcome; send 2 2; send 1 1"), "hello ack:2 hello:2 ack:1");
    let mut bench = Bench::new();
    bench.run(&format!("{two}; welcome; send 1 2"));
    let (stream, told) = (bench.stream, bench.told.clone());
    (bench.stream, bench.told) = (FIRST, bench.told[..1].to_vec());
    bench.take_log();
    bench.run("send 1 1");
    assert_eq!(bench.take_log(), "", "an earlier journal does not begin again");
    (bench.stream, bench.told) = (stream, told);
    assert_eq!(bench.store.down().unwrap().stream, bench.stream());
}

fn survey(store: &Store) -> Result<Entry, CaptureError> {
    survey_at(store, Now { wall: Timestamp(1_795_401_600_000), tick: Tick(1) })
}

fn survey_at(store: &Store, now: Now) -> Result<Entry, CaptureError> {
    let set = BTreeMap::from([("form".to_owned(), Value::from("访后")), ("score".to_owned(), Value::Int(90))]);
    let wish =
        Wish { document: None, kind: "survey".into(), act: String::new(), set, author: "王芳".into(), cause: None };
    let receipt = store.capture(wish, At { now: now.wall, mono_ms: now.tick.0 })?;
    Ok(store.history(receipt.document.id)?.remove(0).1)
}

/// Proves R-DOWN-2, R-DOWN-4.
#[test]
fn a_receipt_takes_an_entry_out_of_its_document_and_another_puts_it_back() {
    let mut bench = Bench::new();
    let entry = survey(&bench.store).unwrap();
    let stream = bench.store.identity().stream;
    let receipt = |fate| Receipt {
        entry: None,
        document: None,
        stream,
        seq: Seq(1),
        fate,
        code: "wrong_site".into(),
        zh: "不代表该网点".into(),
        en: "no site".into(),
        amended: None,
        resolved: None,
    };
    bench.tell(|stamp| receipt(Fate::Quarantined).entry(stamp));
    bench.tell(|stamp| receipt(Fate::Replayed).entry(stamp));
    bench.run("up; welcome; send 1 1");
    let id = entry.document();
    assert_eq!(bench.store.document(id).unwrap(), None);
    let aside = bench.store.set_aside(id).unwrap();
    assert_eq!((aside[0].standing.name(), aside[0].en.as_str()), ("quarantined", "no site"));
    assert_eq!((bench.store.count_set_aside().unwrap(), bench.store.whereabouts(id).unwrap().name()), (1, "aside"));
    bench.run("send 2 2");
    assert!(bench.store.document(id).unwrap().is_some());
    assert_eq!((bench.store.count_set_aside().unwrap(), bench.store.whereabouts(id).unwrap().name()), (0, "processed"));
}

/// Proves R-DOWN-5.
#[test]
fn commands_are_carried_out_at_most_once_and_answered_in_the_journal() {
    let mut bench = Bench::new();
    survey(&bench.store).unwrap();
    let late = bench.now().wall;
    for (name, not_after) in
        [("report", late), ("fly", late), ("rebuild_cache", late), ("prune", Timestamp(0)), ("resend", late)]
    {
        bench.tell(|stamp| Command { name: name.into(), args: String::new(), not_after }.entry(stamp));
    }
    bench.run("up; welcome; send 1 5; send 1 5; down; up; welcome");
    let seqs: Vec<Seq> = (2..=bench.store.head().seq.0).map(Seq).collect();
    let mut builder = Builder::new();
    let filled =
        bench.store.fill_batch(waystation_protocol::chain::SeqRange { first: seqs[0], last: seqs[4] }, &mut builder);
    let batch = Batch {
        stream: bench.store.identity().stream,
        parent: None,
        first_seq: seqs[0],
        count: builder.count(),
        prev_hash: filled.unwrap().prev_hash,
        base: None,
        payload: builder.finish().into(),
    };
    let unpacked = Unpacked::open(&batch).unwrap();
    let results =
        unpacked.entries_from(Seq(0)).map(|(_, bytes)| CommandResult::read(&Entry::from_bytes(bytes).unwrap()));
    let outcomes: Vec<&str> = results.map(|result| result.unwrap().outcome.name()).collect();
    assert_eq!((outcomes.as_slice(), seqs.len()), (["done", "refused", "done", "expired", "done"].as_slice(), 5));
    assert_eq!(bench.take_log(), "hello hello:5 ack:5 ack:5 hello:5", "a command to send again leads to a greeting");
    assert!(bench.store.commands().unwrap().is_empty());
}

/// Proves R-DOWN-5.
#[test]
fn commands_that_cannot_be_read_now_are_tried_again() {
    let mut bench = Bench::new();
    bench.run("up; welcome");
    bench.engine.obey(bench.now());
    assert!(!bench.engine.has_undone);
    bench.store.clone().close();
    bench.engine.obey(bench.now());
    assert!(bench.engine.has_undone, "with the next heartbeat");
}

/// Proves R-DOWN-7.
#[test]
fn definitions_are_kept_and_come_to_the_same_whatever_comes_twice() {
    let mut bench = Bench::new();
    let field = |version, is_retired| Definition {
        id: "colour".into(),
        kind: "survey".into(),
        zh: "颜色".into(),
        en: "Colour".into(),
        ty: FieldType::Text,
        choices: Vec::new(),
        range: None,
        pattern: None,
        required_in_state: Vec::new(),
        is_retired,
        version,
    };
    bench.tell(|stamp| field(1, false).entry(stamp));
    bench.tell(|stamp| field(2, true).entry(stamp));
    bench.run("up; welcome; send 1 2; send 1 2");
    let standing = bench.store.definitions().unwrap();
    assert_eq!((standing.len(), standing[0].since, standing[0].retired), (1, 1, Some(2)));
    // another downward journal, as a restored hub begins it, tells them again
    let told = bench.told.clone();
    bench.run("down; up; other");
    bench.told = told;
    bench.run("welcome; send 1 2");
    assert_eq!(bench.store.definitions().unwrap(), standing);
    assert_eq!(bench.store.documents(&Default::default()).unwrap().items.len(), 0);
}

/// Proves R-FORK-4.
#[test]
fn after_a_fork_older_documents_wait_for_the_hubs_copy_and_new_ones_do_not() {
    let mut bench = Bench::new();
    let old = survey(&bench.store).unwrap();
    bench.store.fork_and_wait(bench.store.head()).unwrap();
    let fork = bench.store.identity().stream;
    let void = |store: &Store, id| {
        let set = BTreeMap::from([("void_reason".to_owned(), Value::from("错"))]);
        let wish = Wish {
            document: Some(id),
            kind: String::new(),
            act: "void".into(),
            set,
            author: "王芳".into(),
            cause: None,
        };
        store.capture(wish, At { now: Timestamp(1_795_401_600_001), mono_ms: 2 })
    };
    let refused = void(&bench.store, old.document()).unwrap_err();
    assert!(refused.to_string().contains("waits for the hub's copy"), "{refused}");
    let new = survey(&bench.store).unwrap();
    void(&bench.store, new.document()).unwrap();
    let at = Mark { seq: Seq(1), hash: bench.store.hash_at(Seq(1)).unwrap() };
    bench.tell(|stamp| Rehydrated { stream: StreamId::from_bytes([77; 16]), at }.entry(stamp));
    bench.tell(|stamp| Rehydrated { stream: fork, at }.entry(stamp));
    bench.engine = Engine::new(bench.store.clone(), LinkStatus::new(true), 1);
    bench.run("up; welcome; send 1 1");
    assert!(bench.store.is_waiting_for_copy(), "another fork's marker says nothing");
    bench.run("send 2 2");
    assert!(!bench.store.is_waiting_for_copy());
    void(&bench.store, old.document()).unwrap();
}
