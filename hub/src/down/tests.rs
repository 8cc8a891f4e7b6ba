//! The downward journal and the hub's acts, through frames as agents make them.

use std::path::Path;

use ed25519_dalek::SigningKey;
use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::definition::{self, Definition, FieldType};
use waystation_protocol::document::capture::Wish;
use waystation_protocol::document::fold::{self, Writer};
use waystation_protocol::down::{self, ClockStep, Command, CommandResult, Fate, Outcome, Receipt, Rehydrated, Stamp};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, SessionId, StreamId};
use waystation_protocol::message::{Ack, Batch, Heartbeat, Held, Hello, Parent};
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::{ActError, DefineError, Downward, Meeting, journal};
use crate::ingest::{Greeting, Reply};
use crate::store::fixture::{Agent, Hub, START};
use crate::store::stepped::Stepped;
use crate::store::{Action, Ask, AskError, Change, DATABASE, EntryPlace, Options, Owed, Store};

mod forks;
mod letting_go;
mod older;

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

    /// Something to tell an agent, known by its name.
    fn command(&self, agent: &Agent, name: &str) {
        let command = Command { name: name.into(), args: String::new(), not_after: Timestamp(i64::MAX) };
        self.store.give_command(agent.id, command, "王芳").unwrap().unwrap();
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
