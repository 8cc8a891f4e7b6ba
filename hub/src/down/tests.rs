//! The downward journal and the hub's acts, through frames as agents make them.

use std::path::Path;

use ed25519_dalek::SigningKey;
use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::definition::{self, Definition, FieldType};
use waystation_protocol::document::capture::Wish;
use waystation_protocol::document::fold::{self, Writer};
use waystation_protocol::down::{self, ClockStep, Command, CommandResult, Outcome, Receipt, Rehydrated, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, SessionId, StreamId};
use waystation_protocol::message::{Ack, Batch, Heartbeat, Held, Hello, Parent};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::{ActError, DefineError, Downward, Meeting};
use crate::ingest::{Greeting, Reply};
use crate::store::fixture::{Agent, Hub, START};
use crate::store::stepped::Stepped;
use crate::store::{Action, Ask, AskError, Change, DATABASE, EntryPlace, Options, Owed, Store};

/// What one agent holds of its downward journal.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    pub(super) stream: Option<StreamId>,
    pub(super) entries: Vec<Vec<u8>>,
    marks: Vec<Mark>,
}

impl Told {
    fn head(&self) -> Mark {
        self.marks.last().copied().unwrap_or(Mark::ZERO)
    }

    fn held(&self) -> Option<Held> {
        self.stream.map(|stream| Held { stream, head: self.head(), pruned: Seq(0) })
    }

    fn read(&self) -> Vec<Entry> {
        self.entries.iter().map(|bytes| Entry::from_bytes(bytes).unwrap()).collect()
    }

    /// Kind and act of each entry.
    pub(super) fn words(&self) -> String {
        let words: Vec<String> = self.read().iter().map(|entry| format!("{} {}", entry.kind, entry.act)).collect();
        words.join(", ")
    }

    /// Takes what the hub would send from where the agent stands, and checks its chain.
    fn take(&mut self, hub: &Hub, stream: StreamId) {
        if self.stream != Some(stream) {
            *self = Told { stream: Some(stream), ..Told::default() };
        }
        let head = hub.store.down_head(stream).unwrap();
        while self.head().seq < head {
            let range = SeqRange { first: self.head().seq.next(), last: head };
            let batch = hub.store.down_batch(stream, range).unwrap().expect("there is more");
            assert_eq!(batch.prev_hash, self.head().hash, "the chain goes on");
            for (mark, bytes) in Unpacked::open(&batch).unwrap().entries_from(Seq(0)) {
                self.entries.push(bytes.to_vec());
                self.marks.push(mark);
            }
        }
    }

    /// A batch that brings back what is held from `first` on.
    pub(super) fn batch(&self, first: u64) -> Batch {
        let mut builder = Builder::new();
        for entry in &self.entries[first as usize - 1..] {
            assert!(builder.push(entry));
        }
        let prev = if first == 1 { Mark::ZERO } else { self.marks[first as usize - 2] };
        let count = builder.count();
        Batch {
            stream: self.stream.unwrap(),
            parent: None,
            first_seq: Seq(first),
            count,
            prev_hash: prev.hash,
            base: None,
            payload: builder.finish().into(),
        }
    }
}

impl Hub {
    pub(super) fn meet(&mut self, agent: &Agent, told: &Told) -> Greeting {
        self.meet_knowing(agent, told, 0)
    }

    pub(super) fn meet_knowing(&mut self, agent: &Agent, told: &Told, stored: u64) -> Greeting {
        let mut hello = agent.plain_hello(stored);
        hello.down = told.held();
        let frame = agent.seal(&hello);
        self.forget_replies();
        self.send(agent, &frame);
        loop {
            match self.reply() {
                Reply::Welcome(greeting) if greeting.agent == agent.id => return *greeting,
                Reply::Welcome(_) | Reply::Ack(_) | Reply::Down(_) => {}
            }
        }
    }

    fn forget_replies(&mut self) {
        self.barrier();
        while self.replies.try_recv().is_ok() {}
    }

    /// A HELLO, then everything the agent is told.
    pub(super) fn tell(&mut self, agent: &Agent, told: &mut Told) -> Meeting {
        self.settle();
        let greeting = self.meet(agent, told);
        let meeting = greeting.meeting.expect("nothing is owed");
        self.wait("everything told", |hub| hub.number("SELECT count(*) FROM down_due") == 0);
        told.take(self, meeting.stream);
        meeting
    }

    fn downward(&mut self) -> Downward {
        loop {
            if let Reply::Down(downward) = self.reply() {
                return *downward;
            }
        }
    }

    pub(super) fn decide(&self, document: DocId, act: &str, set: &[(&str, Value)]) -> Result<String, ActError> {
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let (kind, act, author) = (String::new(), act.to_owned(), "审核".to_owned());
        let wish = Wish { document: Some(document), kind, act, set, author, cause: None };
        self.store.act(wish, None, 20_000).map(|document| document.state)
    }

    /// Closes, puts an older database in place, and opens again.
    pub(super) fn put_back(self, copy: &Path) -> Hub {
        self.store.close();
        std::fs::copy(copy, self.dir.path().join(DATABASE)).unwrap();
        Hub::open_in(self.dir, self.now)
    }

    /// Closes, copies the database, and opens again.
    pub(super) fn copy(self, to: &Path) -> Hub {
        self.store.close();
        std::fs::copy(self.dir.path().join(DATABASE), to).unwrap();
        Hub::open_in(self.dir, self.now)
    }
}

fn quantity(number: i64) -> Value {
    Value::measured(number * 1000, "件")
}

/// A sheet with one line counted: four where five were expected.
pub(super) fn sheet(agent: &mut Agent) -> DocId {
    let sheet = agent.act(None, "count_sheet", "open", &[("zone", "A".into()), ("counter", "李娜".into())]);
    let line = [("item#1.item", "F-100".into()), ("item#1.location", "main".into()), ("item#1.counted", quantity(4))];
    agent.act(Some(sheet), "count_sheet", "count", &line);
    agent.act(Some(sheet), "count_sheet", "lock", &[]);
    sheet
}

/// The agent folds what it was told.
pub(super) fn learn(agent: &mut Agent, told: &Told) {
    for entry in told.read().iter().filter(|entry| down::is_on_document(&entry.kind)) {
        let before = agent.documents.get(&entry.document());
        if let Ok(after) = fold::fold(before, entry, Writer::Accepted, &|_| true) {
            agent.documents.insert(entry.document(), after);
        }
    }
}

fn ack(agent: &Agent, told: &Told, stored: Mark) -> Vec<u8> {
    agent.seal(&Ack {
        session: agent.session,
        stream: told.stream.unwrap(),
        stored,
        processed: stored.seq,
        prunable: Seq(0),
        down_prunable: Seq(0),
        missing: Vec::new(),
        credit: 1 << 20,
        retry_after_ms: 0,
    })
}

/// Proves R-DOWN-1.
#[test]
fn an_agent_is_told_what_others_did_on_its_sites_and_nothing_of_its_own() {
    let mut hub = Hub::open();
    let (mut east, mut other, mut west) =
        (Agent::new(1, &["城东"]), Agent::new(2, &["城东"]), Agent::new(3, &["城西"]));
    let (mut told, mut nothing, mut own) = (Told::default(), Told::default(), Told::default());
    hub.tell(&other, &mut told);
    let survey = east.survey(80);
    east.act(Some(survey), "survey", "note", &[("note_text", "已回访".into())]);
    west.survey(70);
    hub.take_all(&east);
    hub.take_all(&west);
    hub.tell(&other, &mut told);
    assert_eq!(told.words(), "survey answer, survey note");
    assert_eq!(told.entries, [east.entry(1), east.entry(2)], "verbatim");
    hub.tell(&west, &mut nothing);
    hub.tell(&east, &mut own);
    assert_eq!((nothing.words(), own.words()), (String::new(), String::new()));
    other.survey(60);
    hub.take_all(&other);
    hub.tell(&east, &mut own);
    assert_eq!(own.words(), "survey answer");
}

#[test]
fn who_comes_to_stand_for_a_site_is_told_its_documents_in_accepted_order() {
    let mut hub = Hub::open();
    let (mut old, mut new) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
    let sheet = sheet(&mut old);
    for score in 0..450 {
        old.survey(score % 100);
    }
    hub.take_all(&old);
    hub.decide(sheet, "recount", &[("decision_reason", "差异过大".into())]).unwrap();
    let mut told = Told::default();
    hub.tell(&new, &mut told);
    assert_eq!(told.entries.len(), 454);
    assert!(
        told.words().starts_with("count_sheet open, count_sheet count, count_sheet lock, count_sheet recount, survey")
    );
    learn(&mut new, &told);
    for (id, document) in &new.documents {
        assert_eq!(hub.store.document(*id).unwrap().unwrap().digest(), document.digest());
    }
    let before = told.entries.len();
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    hub.tell(&new, &mut told);
    assert_eq!(told.entries.len(), before, "a rebuild tells nothing twice");
}

/// Proves R-DOWN-2.
#[test]
fn whatever_is_set_aside_or_resolved_comes_down_as_a_receipt() {
    let mut hub = Hub::open();
    let (mut agent, mut other) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
    let poison = agent.survey_entry(|entry| drop(entry.set.insert("score".into(), "x".into())));
    agent.push(poison.to_bytes());
    let behind = agent.survey_entry(|entry| {
        (entry.document, entry.after, entry.act) = (Some(poison.document()), Some(poison.id), "void".into());
        entry.set = [("void_reason".to_owned(), "录错".into())].into();
    });
    agent.push(behind.to_bytes());
    agent.push(b"no entry".to_vec());
    hub.take_all(&agent);
    let (mut told, mut others) = (Told::default(), Told::default());
    hub.tell(&agent, &mut told);
    assert_eq!(told.words(), "receipt quarantined, receipt parked, receipt quarantined");
    let receipts: Vec<Receipt> = told.read().iter().map(|entry| Receipt::read(entry).unwrap()).collect();
    assert_eq!(
        (receipts[0].entry, receipts[0].seq, receipts[0].code.as_str()),
        (Some(poison.id), Seq(1), "wrong_type")
    );
    assert_eq!((receipts[2].entry, receipts[2].code.as_str()), (None, "undecodable"));
    assert!(receipts[0].zh.contains("类型") && receipts[0].stream == agent.stream);
    let change = Change { act: None, set: [("score".to_owned(), 80.into())].into(), drop: Vec::new() };
    let place = EntryPlace { stream: agent.stream, seq: Seq(1) };
    let ask = Ask { action: Action::Fix(change), who: "王芳".into(), why: "录错".into() };
    let number = hub.store.ask(place, ask).unwrap();
    hub.store.wait_decided(number, 20_000).unwrap();
    hub.tell(&agent, &mut told);
    assert!(told.words().ends_with("receipt fixed, receipt released"), "{}", told.words());
    let fixed = Receipt::read(&told.read()[3]).unwrap().amended.unwrap();
    assert_eq!((fixed.act.as_str(), fixed.set.get("score")), ("answer", Some(&Value::Int(80))));
    hub.tell(&other, &mut others);
    assert_eq!(others.words(), "receipt fixed, survey answer, survey void", "bytes alone would not fold");
    other.survey(1);
    let count = told.entries.len();
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    hub.tell(&agent, &mut told);
    assert_eq!(told.entries.len(), count, "a rebuild tells nothing twice: {}", told.words());
}

#[test]
fn a_recount_goes_down_and_up_again_and_approval_posts_the_difference() {
    let mut hub = Hub::open();
    let mut agent = Agent::new(1, &["3702"]);
    let (sheet, mut told) = (sheet(&mut agent), Told::default());
    hub.take_all(&agent);
    assert_eq!(hub.decide(sheet, "recount", &[("decision_reason", "差异过大".into())]).unwrap(), "recount");
    assert!(matches!(hub.decide(sheet, "approve", &[]), Err(ActError::Problems(_))), "the outlet has the pen");
    hub.tell(&agent, &mut told);
    assert_eq!(told.words(), "count_sheet recount");
    learn(&mut agent, &told);
    agent.act(Some(sheet), "count_sheet", "count", &[("item#1.counted", quantity(3))]);
    agent.act(Some(sheet), "count_sheet", "lock", &[("recounter", "王芳".into())]);
    hub.take_all(&agent);
    assert!(matches!(hub.decide(sheet, "reject", &[]), Err(ActError::Problems(_))), "a reason is wanted");
    assert_eq!(hub.decide(sheet, "approve", &[]).unwrap(), "approved");
    hub.tell(&agent, &mut told);
    assert_eq!(told.words(), "count_sheet recount, count_sheet approve, stock_movement post");
    learn(&mut agent, &told);
    let moved = agent.documents.values().find(|document| document.kind == "stock_movement").unwrap();
    assert_eq!(moved.fields.get("quantity"), Some(&quantity(-2)));
    agent.act(Some(sheet), "count_sheet", "adjust", &[]);
    hub.take_all(&agent);
    for (id, document) in &agent.documents {
        assert_eq!(hub.store.document(*id).unwrap().unwrap().digest(), document.digest());
    }
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    assert_eq!(hub.store.document(sheet).unwrap().unwrap().state, "adjusted");
    assert!(hub.store.quarantine(9).unwrap().is_empty());
}

#[test]
fn what_changed_since_it_was_seen_is_not_decided() {
    let mut hub = Hub::open();
    let mut agent = Agent::new(1, &["3702"]);
    let sheet = sheet(&mut agent);
    hub.take_all(&agent);
    let seen = Some(sheet.opening());
    let wish = Wish {
        document: Some(sheet),
        kind: String::new(),
        act: "approve".into(),
        set: Default::default(),
        author: "审核".into(),
        cause: None,
    };
    assert!(matches!(hub.store.act(wish.clone(), seen, 20_000), Err(ActError::Superseded)));
    let nowhere = Wish { document: Some(DocId::from_bytes([9; 16])), ..wish };
    assert!(matches!(hub.store.act(nowhere, None, 20_000), Err(ActError::NotFound(_))));
    assert_eq!(hub.decide(sheet, "approve", &[]).unwrap(), "approved");
}

#[test]
fn sending_resumes_where_the_agent_stands_and_a_lost_acknowledgement_costs_nothing() {
    let mut hub = Hub::open();
    let (agent, mut other) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
    let mut told = Told::default();
    hub.tell(&agent, &mut told);
    for score in 0..3 {
        other.survey(score);
    }
    hub.take_all(&other);
    let meeting = hub.tell(&agent, &mut told);
    assert_eq!((meeting.stored, meeting.head), (Mark::ZERO, Seq(3)));
    hub.send(&agent, &ack(&agent, &told, told.marks[1]));
    let Downward::Ack(_, acked, own) = hub.downward() else { panic!("an acknowledgement is handed on") };
    assert_eq!((acked.stored, own), (told.marks[1], Some(told.marks[1].hash)));
    assert_eq!(hub.number("SELECT stored_seq FROM down_stream WHERE stored_seq > 0"), 2);
    // the acknowledgement of the third is lost; the next HELLO says it
    let greeting = hub.meet(&agent, &told);
    let (ladder, meeting) = (greeting.down.unwrap(), greeting.meeting.unwrap());
    assert_eq!((meeting.stored, ladder.rungs[0]), (told.head(), told.head()));
    let late = Ack { session: other.session, ..late_ack(&agent, &told) };
    hub.send(&agent, &agent.seal(&late));
    let Downward::Ack(_, _, own) = hub.downward() else { panic!("an acknowledgement is handed on") };
    assert_eq!(own, None, "only the session of the last HELLO counts");
}

fn late_ack(agent: &Agent, told: &Told) -> Ack {
    Ack {
        session: agent.session,
        stream: told.stream.unwrap(),
        stored: told.head(),
        processed: told.head().seq,
        prunable: Seq(0),
        down_prunable: Seq(0),
        missing: Vec::new(),
        credit: 0,
        retry_after_ms: 0,
    }
}

/// Proves R-OLDER-2, R-OLDER-3.
#[test]
fn a_hub_that_came_back_older_never_decides_what_an_agent_has_seen_decided() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (mut agent, other) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
    let (mut told, mut others) = (Told::default(), Told::default());
    let sheet = sheet(&mut agent);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    hub.tell(&other, &mut others);
    let mut hub = hub.copy(&copy);
    hub.decide(sheet, "recount", &[("decision_reason", "差异过大".into())]).unwrap();
    hub.tell(&agent, &mut told);
    learn(&mut agent, &told);
    agent.act(Some(sheet), "count_sheet", "count", &[("item#1.counted", quantity(3))]);
    agent.act(Some(sheet), "count_sheet", "lock", &[("recounter", "王芳".into())]);
    hub.take_all(&agent);
    hub.decide(sheet, "approve", &[]).unwrap();
    hub.tell(&agent, &mut told);
    learn(&mut agent, &told);

    let mut hub = hub.put_back(&copy);
    let frozen = |hub: &Hub| matches!(hub.decide(sheet, "approve", &[]), Err(ActError::Frozen(_)));
    assert!(frozen(&hub));
    let greeting = hub.meet_knowing(&agent, &told, agent.head().seq.0);
    assert_eq!(
        (greeting.meeting, greeting.down.unwrap().rungs[0]),
        (None, Mark::ZERO),
        "it has something to bring back"
    );
    let rest = agent.batch(4, agent.head().seq.0);
    hub.send(&agent, &rest);
    hub.barrier();
    assert!(frozen(&hub), "the upward journal alone is not enough");
    assert_eq!(hub.store.document(sheet).unwrap().unwrap().state, "locked", "stored, not processed");
    let returned = agent.seal(&told.batch(1));
    hub.send(&agent, &returned);
    hub.barrier();
    assert!(frozen(&hub), "the other agent may have been told, too");
    let before = hub.store.document(sheet).unwrap().unwrap().state;
    assert_ne!(before, "approved", "its recount is not processed yet");
    let greeting = hub.meet(&other, &others);
    assert!(greeting.meeting.is_some());
    hub.wait("the sheet as it was decided", |hub| hub.store.document(sheet).unwrap().unwrap().state == "approved");
    assert!(matches!(hub.decide(sheet, "approve", &[]), Err(ActError::Problems(_))), "it is decided already");
    assert!(!hub.store.restore_report().unwrap().unwrap().is_open());
    assert!(hub.store.quarantine(9).unwrap().is_empty());
    for (id, document) in &agent.documents {
        assert_eq!(hub.store.document(*id).unwrap().unwrap().digest(), document.digest());
    }
    let count = told.entries.len();
    let meeting = hub.tell(&agent, &mut told);
    assert_eq!((meeting.stored.seq, told.entries.len()), (Seq(count as u64), count), "nothing is told twice");
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    assert_eq!(hub.store.document(sheet).unwrap().unwrap().state, "approved", "a rebuild knows it as well");
}

/// Proves R-DOWN-1.
#[test]
fn an_agent_whose_first_batch_never_arrived_is_told_with_its_next_heartbeat() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    let sheet = sheet(&mut agent);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    assert_eq!(told.entries.len(), 0, "its own entries are nothing new");
    hub.decide(sheet, "reject", &[("decision_reason", "重盘".into())]).unwrap();
    hub.forget_replies();
    hub.send(&agent, &agent.heartbeat(3));
    let Downward::Meet(meeting) = hub.downward() else { panic!("the journal is sent again") };
    assert_eq!((meeting.stored, meeting.head), (Mark::ZERO, Seq(1)));
}

/// Proves R-DOWN-5.
#[test]
fn an_agent_that_has_captured_nothing_is_told_with_its_heartbeat() {
    let (mut hub, agent) = (Hub::open(), Agent::new(1, &["3702"]));
    hub.tell(&agent, &mut Told::default());
    let command = Command { name: "report".into(), args: String::new(), not_after: Timestamp(i64::MAX) };
    hub.store.give_command(agent.id, command, "王芳").unwrap().unwrap();
    hub.forget_replies();
    hub.send(&agent, &agent.heartbeat(0));
    let Downward::Meet(meeting) = hub.downward() else { panic!("the journal is sent again") };
    assert_eq!((meeting.stored, meeting.head), (Mark::ZERO, Seq(1)));
}

/// Proves R-OLDER-2.
#[test]
fn nobody_acts_before_what_was_brought_back_is_processed() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    let sheet = sheet(&mut agent);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    hub.decide(sheet, "reject", &[("decision_reason", "重盘".into())]).unwrap();
    hub.tell(&agent, &mut told);
    hub.store.close();
    std::fs::copy(&copy, hub.dir.path().join(DATABASE)).unwrap();
    // from here on nothing happens by itself
    let key = SigningKey::from_bytes(&[9; 32]);
    let mut stepped = Stepped::open(hub.dir.path(), &Options::new([7; 16]), key, hub.now).unwrap();
    let mut hello = agent.plain_hello(3);
    hello.down = told.held();
    for frame in [agent.seal(&hello), agent.seal(&told.batch(1))] {
        let incoming = stepped.verify(agent.id, &frame, hub.now).unwrap();
        stepped.store(vec![incoming]);
    }
    let (kind, author) = ("count_sheet".to_owned(), "审核".to_owned());
    let set = std::collections::BTreeMap::new();
    let wish = Wish { document: Some(sheet), kind, act: "approve".into(), set, author, cause: None };
    let early = stepped.act(wish.clone(), None, hub.now);
    assert!(matches!(early, Ok(None)), "the site has seen it rejected: {early:?}");
    while stepped.build().unwrap() | stepped.apply() {}
    let late = stepped.act(wish, None, hub.now);
    assert!(matches!(late, Err(ActError::Problems(_))), "it is decided already: {late:?}");
}

/// Proves R-OLDER-2, R-DOWN-6.
#[test]
fn ops_may_release_a_site_whose_agent_never_returns() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    let sheet = sheet(&mut agent);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    hub.decide(sheet, "reject", &[("decision_reason", "重盘".into())]).unwrap();
    hub.tell(&agent, &mut told);
    let hub = hub.put_back(&copy);
    assert!(matches!(hub.decide(sheet, "approve", &[]), Err(ActError::Frozen(_))));
    hub.store.release_restore("王芳", "设备已毁", START).unwrap();
    assert_eq!(hub.decide(sheet, "approve", &[]).unwrap(), "approved");
    // the agent comes after all: what contradicts is seen, and it is told everything anew
    let mut hub = hub;
    let first = told.stream;
    let greeting = hub.meet_knowing(&agent, &told, 3);
    assert_eq!(greeting.meeting, None);
    let returned = agent.seal(&told.batch(1));
    hub.send(&agent, &returned);
    let meeting = loop {
        if let Downward::Meet(meeting) = hub.downward() {
            break meeting;
        }
    };
    hub.settle();
    assert_eq!(hub.store.quarantine(9).unwrap().len(), 1, "the other decision is set aside");
    let mut anew = Told::default();
    hub.wait("everything told", |hub| hub.number("SELECT count(*) FROM down_due") == 0);
    anew.take(&hub, meeting.stream);
    assert!(anew.words().contains("count_sheet approve"), "{} {first:?}", anew.words());
}

/// Proves R-OLDER-3.
#[test]
fn what_an_agent_had_deleted_of_its_downward_journal_is_passed_over_by_base() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    let publish = |hub: &Hub, title: &str| {
        let command = Command { name: title.into(), args: String::new(), not_after: Timestamp(i64::MAX) };
        hub.store.give_command(agent.id, command, "王芳").unwrap().unwrap();
    };
    hub.tell(&agent, &mut told);
    publish(&hub, "一");
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    for title in ["二", "三", "四"] {
        publish(&hub, title);
    }
    hub.tell(&agent, &mut told);
    let mut hub = hub.put_back(&copy);
    // up to the third it is deleted at the agent; only the fourth can come back
    let held = Held { pruned: Seq(3), ..told.held().unwrap() };
    let hello = agent.seal(&Hello { down: Some(held), ..agent.plain_hello(0) });
    hub.send(&agent, &hello);
    assert_eq!(hub.welcome().meeting, None, "it has something to bring back");
    publish(&hub, "五");
    for (base, stored, missing) in [
        (None, 1, vec![SeqRange { first: Seq(2), last: Seq(3) }]),
        (Some(told.marks[2]), 1, vec![SeqRange { first: Seq(2), last: Seq(3) }]),
        (Some(told.marks[0]), 4, vec![]),
    ] {
        hub.forget_replies();
        let returned = agent.seal(&Batch { base, ..told.batch(4) });
        hub.send(&agent, &returned);
        let ack = hub.ack();
        assert_eq!((ack.stored, ack.missing), (told.marks[stored - 1], missing), "{base:?}");
    }
    let sql = "SELECT group_concat(seq) = '1,4,5' FROM (SELECT seq FROM down_entry WHERE entry <> x'' ORDER BY seq)";
    assert_eq!(hub.number(sql), 1, "the range is gone, the rest stands where it stood, and what waited follows");
    let stream = told.stream.unwrap();
    let conn = hub.store.reader().unwrap();
    let row = super::journal::find(&conn, stream).unwrap().unwrap();
    super::journal::verify(&conn, row.row).unwrap();
    drop(conn);
    told.take(&hub, stream);
    assert_eq!((told.head().seq, Command::read(&told.read()[4]).unwrap().name), (Seq(5), "五".to_owned()));
}

/// Proves R-OLDER-2, R-OLDER-4.
#[test]
fn a_decision_that_its_agent_has_deleted_is_named_lost_and_the_site_waits_for_ops() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    let sheet = sheet(&mut agent);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    hub.decide(sheet, "reject", &[("decision_reason", "重盘".into())]).unwrap();
    hub.tell(&agent, &mut told);
    let mut hub = hub.put_back(&copy);
    let held = Held { pruned: told.head().seq, ..told.held().unwrap() };
    let hello = agent.seal(&Hello { down: Some(held), ..agent.plain_hello(3) });
    hub.send(&agent, &hello);
    assert_eq!(hub.welcome().meeting, None, "it has something to bring back");
    let nothing = Batch { base: Some(Mark::ZERO), count: 0, payload: Builder::new().finish().into(), ..told.batch(1) };
    let nothing = Batch { first_seq: told.head().seq.next(), prev_hash: told.head().hash, ..nothing };
    hub.send(&agent, &agent.seal(&nothing));
    hub.barrier();
    let alive = Heartbeat { down: told.held(), ..agent.plain_heartbeat(3) };
    hub.send(&agent, &agent.seal(&alive));
    hub.barrier();
    let report = hub.store.restore_report().unwrap().unwrap();
    let lost = SeqRange { first: Seq(1), last: told.head().seq };
    assert_eq!((report.agents[0].owed(), &report.agents[0].lost), (Some(Owed::Release), &vec![lost]));
    assert!(report.is_open() && !report.is_whole());
    let again = hub.decide(sheet, "approve", &[]);
    assert!(matches!(again, Err(ActError::Frozen(_))), "it may have been decided: {again:?}");
    hub.store.release_restore("王芳", "按纸质单复核", START).unwrap();
    assert_eq!(hub.decide(sheet, "approve", &[]).unwrap(), "approved");
    assert_eq!(hub.store.restore_report().unwrap().unwrap().agents[0].lost, [lost], "it stays named");
}

/// Proves R-OLDER-3.
#[test]
fn an_agent_that_had_deleted_all_it_was_told_is_told_on_from_there() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    let publish = |hub: &Hub, title: &str| {
        let command = Command { name: title.into(), args: String::new(), not_after: Timestamp(i64::MAX) };
        hub.store.give_command(agent.id, command, "王芳").unwrap().unwrap();
    };
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    ["一", "二"].iter().for_each(|title| publish(&hub, title));
    hub.tell(&agent, &mut told);
    let mut hub = hub.put_back(&copy);
    let held = Some(Held { pruned: Seq(2), ..told.held().unwrap() });
    let hello = agent.seal(&Hello { down: held.clone(), ..agent.plain_hello(0) });
    hub.send(&agent, &hello);
    let nothing = Builder::new().finish().into();
    let (first_seq, prev_hash, base) = (Seq(3), told.head().hash, Some(Mark::ZERO));
    let registered = Batch { first_seq, prev_hash, base, count: 0, payload: nothing, ..told.batch(1) };
    hub.send(&agent, &agent.seal(&registered));
    publish(&hub, "三");
    hub.forget_replies();
    hub.send(&agent, &hello);
    let meeting = hub.welcome().meeting.expect("nothing is owed");
    assert_eq!((meeting.stored, meeting.head), (told.head(), Seq(3)));
    let stream = told.stream.unwrap();
    let conn = hub.store.reader().unwrap();
    super::journal::verify(&conn, super::journal::find(&conn, stream).unwrap().unwrap().row).unwrap();
    drop(conn);
    told.take(&hub, stream);
    assert_eq!(Command::read(&told.read()[2]).unwrap().name, "三");
    let whole = SeqRange { first: Seq(2), last: Seq(3) };
    assert_eq!(hub.store.down_batch(stream, whole).unwrap(), None, "what is gone is not sent");
}

/// Proves R-FENCE-1, R-BEAT-1.
#[test]
fn a_session_that_lost_the_downward_journal_unchallenged_is_asked_to_greet() {
    let (mut hub, mut agent) = (Hub::open(), Agent::new(1, &["3702"]));
    agent.survey(80);
    hub.take_all(&agent);
    let mut clone = agent.clone();
    clone.session = SessionId::from_bytes([44; 16]);
    let asks = |hub: &mut Hub, agent: &Agent| {
        hub.forget_replies();
        hub.send(agent, &agent.heartbeat(1));
        hub.barrier();
        std::iter::from_fn(|| hub.replies.try_recv().ok())
            .any(|reply| matches!(reply, Reply::Ack(ack) if ack.session == agent.session && ack.stored == Mark::ZERO))
    };
    hub.forget_replies();
    assert!(hub.greet(&clone).challenge.is_some());
    assert_eq!((asks(&mut hub, &agent), asks(&mut hub, &clone)), (false, false), "one holds it, the other was told so");
    // the wrong one is admitted: whoever is alive comes back by itself
    hub.store.admit(agent.id, None).unwrap().expect("one was challenged");
    assert_eq!((asks(&mut hub, &agent), asks(&mut hub, &clone)), (true, false));
}

/// Proves R-OLDER-3.
#[test]
fn where_the_agent_knows_no_hash_any_more_its_base_lies_below_and_nothing_is_withheld() {
    for is_acknowledged in [true, false] {
        let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
        let copy = copies.path().join("copy");
        let (agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
        let publish = |hub: &Hub, title: &str| {
            let command = Command { name: title.into(), args: String::new(), not_after: Timestamp(i64::MAX) };
            hub.store.give_command(agent.id, command, "王芳").unwrap().unwrap();
        };
        let titles =
            |told: &Told| told.read().iter().map(|entry| Command::read(entry).unwrap().name).collect::<String>();
        hub.tell(&agent, &mut told);
        publish(&hub, "一");
        hub.tell(&agent, &mut told);
        if is_acknowledged {
            hub.send(&agent, &ack(&agent, &told, told.head()));
            hub.barrier();
        }
        let mut hub = hub.copy(&copy);
        ["二", "三", "四"].iter().for_each(|title| publish(&hub, title));
        hub.tell(&agent, &mut told);
        let mut hub = hub.put_back(&copy);
        let held = Held { pruned: Seq(3), ..told.held().unwrap() };
        let hello = agent.seal(&Hello { down: Some(held), ..agent.plain_hello(0) });
        hub.send(&agent, &hello);
        assert_eq!(hub.welcome().meeting, None, "it has something to bring back");
        publish(&hub, "五");
        hub.forget_replies();
        let returned = agent.seal(&Batch { base: Some(Mark::ZERO), ..told.batch(4) });
        hub.send(&agent, &returned);
        assert_eq!(hub.ack().stored.seq, Seq(4));
        let current = hub.number("SELECT id FROM down_stream WHERE is_current = 1");
        let conn = hub.store.reader().unwrap();
        let current = conn.query_row("SELECT stream FROM down_stream WHERE id = ?1", [current], |row| row.get(0));
        drop(conn);
        let current = StreamId::from_bytes(current.unwrap());
        assert_eq!(current == told.stream.unwrap(), is_acknowledged);
        told.take(&hub, current);
        // what waited comes first, then what the other stream may have held back
        assert_eq!(titles(&told), if is_acknowledged { "一二三四五" } else { "五一" });
    }
}

/// Proves R-OLDER-2.
#[test]
fn nothing_is_resolved_while_a_sites_agents_are_awaited_not_even_what_was_asked_before() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join(DATABASE);
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    for score in ["x", "y"] {
        let poison = agent.survey_entry(|entry| drop(entry.set.insert("score".into(), score.into())));
        agent.push(poison.to_bytes());
    }
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    let hub = hub.copy(&copy);
    // asked for on the copy, where nobody carries it out
    let place = |seq| EntryPlace { stream: agent.stream, seq: Seq(seq) };
    let ask = |action| Ask { action, who: "王芳".into(), why: "录错".into() };
    let visitor = Options { is_visitor: true, ..Options::new([7; 16]) };
    let beside = Store::open(copies.path(), visitor).unwrap();
    let before = beside.ask(place(1), ask(Action::Waive)).unwrap();
    beside.close();

    let mut hub = hub.put_back(&copy);
    for action in [Action::Waive, Action::Replay, Action::Fix(Change { act: Some("note".into()), ..Change::default() })]
    {
        let refused = hub.store.ask(place(2), ask(action));
        assert!(matches!(refused, Err(AskError::Frozen(_))), "{refused:?}");
    }
    let all = hub.store.ask_replay_all("王芳", "再判").unwrap();
    assert_eq!((all.requests.len(), all.frozen), (0, 2));
    assert!(hub.store.quarantine_case(place(2)).unwrap().unwrap().is_frozen);
    // the applier looks into the trail before it processes what another site sends
    let mut new = Agent::new(9, &["3799"]);
    new.survey(1);
    hub.take_all(&new);
    assert_eq!(hub.store.resolution(before).unwrap().outcome, None, "it waits");

    hub.meet_knowing(&agent, &told, 2);
    assert_eq!(hub.store.wait_decided(before, 20_000).unwrap().outcome.as_deref(), Some("waived"));
    let after = hub.store.ask(place(2), ask(Action::Waive)).unwrap();
    assert_eq!(hub.store.wait_decided(after, 20_000).unwrap().outcome.as_deref(), Some("waived"));
}

fn colour(zh: &str) -> Definition {
    Definition {
        id: "colour".into(),
        kind: "survey".into(),
        zh: zh.into(),
        en: "Colour".into(),
        ty: FieldType::Text,
        choices: Vec::new(),
        range: None,
        pattern: None,
        required_in_state: Vec::new(),
        is_retired: false,
        version: 0,
    }
}

/// Proves R-DOWN-7.
#[test]
fn definitions_reach_every_agent_also_those_that_enrol_later_and_those_of_a_restored_hub() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (first, second, late) = (Agent::new(1, &["3702"]), Agent::new(2, &["3703"]), Agent::new(3, &["3704"]));
    let [mut told, mut others, mut lates] = [Told::default(), Told::default(), Told::default()];
    hub.tell(&first, &mut told);
    hub.tell(&second, &mut others);
    hub.store.define(colour("颜色"), "王芳").unwrap();
    hub.tell(&first, &mut told);
    hub.tell(&second, &mut others);
    assert_eq!((told.words().as_str(), &told.entries), ("form define", &others.entries));
    assert_eq!(told.read()[0].author, "王芳");

    // only the first hears of the rest before the hub comes back older
    let mut hub = hub.copy(&copy);
    let more = Definition { id: "size".into(), ..colour("尺寸") };
    assert_eq!(hub.store.define(more, "王芳").unwrap().since, 2);
    hub.store.define(Definition { is_retired: true, ..colour("色") }, "王芳").unwrap();
    let before = hub.store.definitions().unwrap();
    hub.tell(&first, &mut told);
    let mut hub = hub.put_back(&copy);
    assert_eq!(hub.store.definitions().unwrap().len(), 1);
    assert!(matches!(hub.store.define(colour("x"), "王芳"), Err(DefineError::Frozen)));
    hub.meet(&first, &told);
    let returned = first.seal(&told.batch(1));
    hub.send(&first, &returned);
    hub.barrier();
    hub.tell(&second, &mut others);
    assert_eq!((hub.store.definitions().unwrap(), others.entries.len()), (before.clone(), 3));
    hub.tell(&late, &mut lates);
    assert_eq!(lates.words(), "form define, form define, form define");
    for told in [&told, &others, &lates] {
        assert_eq!(definition::fold(&told.read()), before, "all know the same");
    }
    let wrong = hub.store.define(Definition { ty: FieldType::Flag, ..colour("x") }, "王芳");
    assert!(matches!(&wrong, Err(DefineError::Problems(problems)) if problems.len() == 2), "{wrong:?}");
    let size = hub.store.define(Definition { id: "size".into(), ..colour("大小") }, "王芳").unwrap();
    assert_eq!((size.since, size.definition.version, size.retired), (2, 4, None));
    let count = told.entries.len();
    hub.tell(&first, &mut told);
    assert_eq!(told.entries.len(), count + 1, "nothing is told twice");
}

#[test]
fn commands_go_down_and_results_come_up() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    let command = Command { name: "resend".into(), args: "{}".into(), not_after: Timestamp(START.0 + 1) };
    assert_eq!(hub.store.give_command(agent.id, command.clone(), "王芳").unwrap(), None, "nobody knows it yet");
    hub.tell(&agent, &mut told);
    let given = hub.store.give_command(agent.id, command.clone(), "王芳").unwrap().unwrap();
    hub.tell(&agent, &mut told);
    assert_eq!(told.words(), "command give");
    assert_eq!(Command::read(&told.read()[0]), Some(command.clone()));
    let result = CommandResult { command: given, outcome: Outcome::Done, text: "好".into() };
    let stamp = Stamp { id: EntryId::from_bytes([8; 16]), now: START };
    agent.push(result.entry(stamp).to_bytes());
    hub.take_all(&agent);
    let rows = hub.store.commands(agent.id).unwrap().unwrap();
    assert_eq!((rows.len(), rows[0].outcome.as_deref(), rows[0].text.as_deref()), (1, Some("done"), Some("好")));
    assert_eq!(rows[0].command, Some(command));
    assert_eq!((hub.store.totals().unwrap().documents, hub.store.quarantine(9).unwrap().len()), (0, 0));
}

/// Proves R-TIME-2.
#[test]
fn steps_of_an_agents_clock_are_seen_once_and_are_no_documents() {
    let mut hub = Hub::open();
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(1);
    for (n, step) in [
        (8, ClockStep { by_ms: 3_600_000, offset_ms: None }),
        (9, ClockStep { by_ms: -5_000, offset_ms: Some(-4_000) }),
    ] {
        let stamp = Stamp { id: EntryId::from_bytes([n; 16]), now: Timestamp(START.0 + i64::from(n)) };
        agent.push(step.entry(stamp).to_bytes());
    }
    hub.take_all(&agent);
    let seen = |hub: &Hub| {
        let row = hub.store.agents().unwrap().remove(0);
        let last = row.last_clock_step.unwrap();
        (row.clock_steps, last.by_ms, last.offset_ms, last.at.0 - START.0)
    };
    assert_eq!(seen(&hub), (2, -5_000, Some(-4_000), 9));
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    assert_eq!(seen(&hub), (2, -5_000, Some(-4_000), 9), "processing again counts nothing again");
    let totals = hub.store.totals().unwrap();
    assert_eq!((totals.documents, totals.quarantined, totals.parked), (1, 0, 0));
    let board = crate::board::sites(&hub.store.sites().unwrap(), &hub.store.agents().unwrap(), hub.now);
    assert_eq!((board[0].clock_steps, board[0].last_clock_step.map(|step| step.by_ms)), (2, Some(-5_000)));
    let metrics = crate::metrics::text(&hub.store, true, None, hub.now).unwrap();
    assert!(metrics.contains("waystation_hub_site_clock_steps{site=\"3702\"} 2"), "{metrics}");
}

#[test]
fn a_fork_is_told_what_the_other_branch_holds_and_then_that_this_was_all() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    agent.survey(2);
    hub.take_all(&agent);
    let mut fork = agent.clone();
    agent.survey(3);
    hub.take_all(&agent);
    fork.stream = StreamId::from_bytes([0x22; 16]);
    let at = agent.mark(2);
    let hello = fork.hello_knowing(2);
    hub.send(&fork, &hello);
    let mut builder = Builder::new();
    let count = builder.count();
    let register = Batch {
        stream: fork.stream,
        parent: Some(Parent { stream: agent.stream, at }),
        first_seq: Seq(3),
        count,
        prev_hash: at.hash,
        base: None,
        payload: builder.finish().into(),
    };
    let register = fork.seal(&register);
    hub.send(&fork, &register);
    hub.barrier();
    hub.wait("the fork is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "survey answer, rehydrated done");
    assert_eq!(told.entries[0], agent.entry(3));
    assert_eq!(Rehydrated::read(&told.read()[1]), Some(Rehydrated { stream: fork.stream, at }));
}

/// Proves R-OLDER-2.
#[test]
fn a_journal_that_is_opened_while_its_site_stands_still_waits_too() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join(DATABASE);
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(1);
    hub.take_all(&agent);
    let mut hub = hub.copy(&copy);
    agent.survey(2);
    hub.take_all(&agent);
    let mut hub = hub.put_back(&copy);
    for stream in 0x20..0x30 {
        let mut fork = agent.fork(stream, 1);
        fork.survey(3);
        hub.send(&fork, &fork.fork_batch(2, 2));
    }
    hub.barrier();
    let sql = "SELECT count(*) FROM stream WHERE floor_seq = 1 AND processed_seq > 1";
    assert_eq!(hub.number(sql), 0);
    hub.store.release_restore("王芳", "测试", START).unwrap();
    hub.wait("all are processed", |hub| hub.number(sql) == 16);
}

/// Proves R-OLDER-5.
#[test]
fn what_people_had_decided_about_entries_set_aside_comes_back_with_the_receipts() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join(DATABASE);
    let mut agent = Agent::new(1, &["3702"]);
    let other = Agent::new(2, &["3702"]);
    let (mut told, mut others) = (Told::default(), Told::default());
    hub.take_all(&other);
    hub.tell(&other, &mut others);
    let mut hub = hub.copy(&copy);
    // the copy has never heard of this agent
    for score in ["x", "y", "z"] {
        let poison = agent.survey_entry(|entry| drop(entry.set.insert("score".into(), score.into())));
        agent.push(poison.to_bytes());
    }
    hub.take_all(&agent);
    let place = |seq| EntryPlace { stream: agent.stream, seq: Seq(seq) };
    let change = Change { act: None, set: [("score".to_owned(), 80.into())].into(), drop: Vec::new() };
    let fix = Ask { action: Action::Fix(change), who: "王芳".into(), why: "录错".into() };
    let waive = Ask { action: Action::Waive, who: "李娜".into(), why: "重复".into() };
    for (seq, ask) in [(1, fix), (2, waive)] {
        let number = hub.store.ask(place(seq), ask).unwrap();
        hub.store.wait_decided(number, 20_000).unwrap();
    }
    hub.tell(&agent, &mut told);
    hub.tell(&other, &mut others);

    let mut hub = hub.put_back(&copy);
    hub.meet_knowing(&agent, &told, 3);
    hub.send(&agent, &agent.seal(&told.batch(1)));
    hub.meet_knowing(&other, &others, 0);
    hub.send(&other, &other.seal(&others.batch(1)));
    hub.send(&agent, &agent.batch(1, 3));
    hub.wait("what was decided is decided again", |hub| {
        hub.number("SELECT count(*) FROM resolution WHERE outcome IN ('applied', 'waived')") == 2
    });
    let open = hub.store.quarantine(9).unwrap();
    assert_eq!(open.iter().map(|row| row.seq).collect::<Vec<_>>(), [Seq(3)], "nobody had decided about it");
    let sql = "SELECT group_concat(who || why || outcome || length(entry_key)) =
               '王芳录错applied32,李娜重复waived32' FROM (SELECT * FROM resolution ORDER BY seq)";
    assert_eq!(hub.number(sql), 1);
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    assert_eq!(hub.store.quarantine(9).unwrap().len(), 1, "and a rebuild knows it");
}

/// A copy wrote while the original was away; when that is back it has the downward journal again.
/// Proves R-FORK-6.
#[test]
fn who_has_the_downward_journal_again_is_told_what_its_copy_wrote_meanwhile() {
    let (mut hub, mut told) = (Hub::open(), Told::default());
    let mut agent = Agent::new(1, &["3702"]);
    agent.survey(1);
    hub.take_all(&agent);
    hub.tell(&agent, &mut told);
    let mut copy = agent.fork(0x22, 1);
    copy.survey(2);
    let take_over = |who: &Agent, from: &Agent, stored| {
        let hello = Hello { last_session: Some(from.session), down: told.held(), ..who.plain_hello(stored) };
        who.seal(&hello)
    };
    let hello = take_over(&copy, &agent, 1);
    hub.send(&copy, &hello);
    hub.send(&copy, &copy.fork_batch(2, 2));
    hub.wait("the copy's entry is processed", |hub| hub.store.totals().unwrap().processed == 2);
    hub.wait("the copy is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    assert_eq!(hub.number("SELECT count(*) FROM down_entry WHERE on_document = 1"), 0, "its own is nothing new");
    let hello = take_over(&agent, &copy, 1);
    hub.send(&agent, &hello);
    hub.barrier();
    hub.wait("the original is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    let sql = "SELECT entry FROM down_entry WHERE on_document = 1";
    let conn = hub.store.reader().unwrap();
    let news: Vec<Vec<u8>> = conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().flatten().collect();
    assert_eq!(news, [copy.entry(2)]);
}

/// An empty batch that opens a fork which left its parent at `at`.
fn register(fork: &Agent, parent: &Agent, at: Mark) -> Vec<u8> {
    let mut builder = Builder::new();
    let count = builder.count();
    fork.seal(&Batch {
        stream: fork.stream,
        parent: Some(Parent { stream: parent.stream, at }),
        first_seq: at.seq.next(),
        count,
        prev_hash: at.hash,
        base: None,
        payload: builder.finish().into(),
    })
}

#[test]
fn a_fork_whose_batch_overtakes_its_hello_is_told_of_the_other_branch_all_the_same() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    hub.take_all(&agent);
    let mut fork = agent.fork(0x22, 1);
    agent.survey(2);
    hub.take_all(&agent);
    let register = register(&fork, &agent, agent.mark(1));
    hub.send(&fork, &register);
    hub.barrier();
    hub.wait("the fork is told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    // what the other branch had sent before comes late
    agent.survey(3);
    let late = agent.batch(3, 3);
    hub.send(&agent, &late);
    hub.settle();
    fork.last_session = Some(agent.session);
    hub.tell(&fork, &mut told);
    hub.wait("the fork is told the rest", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "survey answer, rehydrated done, survey answer");
}

#[test]
fn a_late_copy_of_a_hello_does_not_make_the_journal_that_was_left_the_agents_own_again() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    hub.take_all(&agent);
    let hello = agent.hello();
    let mut fork = agent.fork(0x22, 1);
    fork.last_session = Some(agent.session);
    let register = register(&fork, &agent, agent.mark(1));
    let greeting = fork.hello();
    hub.send(&fork, &greeting);
    hub.send(&fork, &register);
    hub.settle();
    hub.send(&agent, &hello);
    agent.survey(2);
    let late = agent.batch(2, 2);
    hub.send(&agent, &late);
    hub.settle();
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "rehydrated done, survey answer");
}

#[test]
fn a_disk_put_back_to_before_its_first_entry_is_told_all_that_it_had_captured() {
    let mut hub = Hub::open();
    let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    agent.survey(1);
    agent.survey(2);
    hub.take_all(&agent);
    let mut fork = agent.fork(0x22, 0);
    let mut unknown = Agent::new(2, &["3703"]);
    unknown.survey(1);
    let mut second = unknown.fork(0x33, 0);
    for (fork, parent) in [(&fork, &agent), (&second, &unknown)] {
        let (hello, register) = (fork.hello(), register(fork, parent, Mark::ZERO));
        hub.send(fork, &hello);
        hub.send(fork, &register);
    }
    hub.settle();
    hub.wait("both are told", |hub| hub.number("SELECT count(*) FROM down_fork") == 0);
    fork.last_session = Some(agent.session);
    hub.tell(&fork, &mut told);
    assert_eq!(told.words(), "survey answer, survey answer, rehydrated done");
    let mut told = Told::default();
    second.last_session = Some(second.session);
    hub.tell(&second, &mut told);
    assert_eq!(told.words(), "rehydrated done", "of what it left nothing had come");
}
