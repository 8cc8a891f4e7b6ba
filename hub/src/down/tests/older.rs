//! The hub came back older: what agents bring back, what is lost of it, and what stands still meanwhile.

use super::*;

/// A database put aside, and what happened since: its one agent was told that its sheet is rejected.
struct Since {
    copies: tempfile::TempDir,
    hub: Hub,
    agent: Agent,
    told: Told,
    sheet: DocId,
}

impl Since {
    fn rejected() -> Since {
        let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
        let (mut agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
        let sheet = sheet(&mut agent);
        hub.take_all(&agent);
        hub.tell(&agent, &mut told);
        let mut hub = hub.copy(&copies.path().join(DATABASE));
        hub.decide(sheet, "reject", &[("decision_reason", "重盘".into())]).unwrap();
        hub.tell(&agent, &mut told);
        Since { copies, hub, agent, told, sheet }
    }
}

/// A hub, room for copies of its database, two devices of one outlet, and nothing that they were told.
fn two_devices() -> (tempfile::TempDir, Hub, [Agent; 2], [Told; 2]) {
    let agents = [1, 2].map(|n| Agent::new(n, &["3702"]));
    (tempfile::tempdir().unwrap(), Hub::open(), agents, Default::default())
}

/// Proves R-OLDER-2.
#[test]
fn an_older_copy_of_a_disk_does_not_speak_for_the_device_that_had_acknowledged_more() {
    let Since { copies, mut hub, agent, told, sheet } = Since::rejected();
    hub.meet(&agent, &told);
    let mut hub = hub.put_back(&copies.path().join(DATABASE));
    hub.meet(&agent, &Told::default());
    hub.barrier();
    let owed = |hub: &Hub| hub.store.restore_report().unwrap().unwrap().agents[0].owed();
    assert_eq!(owed(&hub), Some(Owed::Downward));
    assert!(matches!(hub.decide(sheet, "approve", &[]), Err(ActError::Frozen(_))));

    hub.meet(&agent, &told);
    let returned = agent.seal(&told.batch(1));
    hub.send(&agent, &returned);
    hub.wait("the sheet as it was decided", |hub| hub.store.document(sheet).unwrap().unwrap().state == "rejected");
    assert_eq!(owed(&hub), None);
    assert!(!hub.store.restore_report().unwrap().unwrap().is_open());
}

/// Proves R-OLDER-2.
#[test]
fn a_device_that_said_how_much_it_holds_is_awaited_although_a_copy_of_its_disk_comes_next() {
    let Since { copies, hub, agent, told, sheet } = Since::rejected();
    // the hub never heard that it has the decision
    let mut hub = hub.put_back(&copies.path().join(DATABASE));
    assert_eq!(hub.meet(&agent, &told).meeting, None, "it has something to bring back");
    hub.meet(&agent, &Told::default());
    hub.barrier();
    let early = hub.decide(sheet, "approve", &[]);
    assert!(matches!(early, Err(ActError::Frozen(_))), "the site has seen it rejected: {early:?}");

    hub.meet(&agent, &told);
    hub.send(&agent, &agent.seal(&told.batch(1)));
    hub.wait("the sheet as it was decided", |hub| hub.store.document(sheet).unwrap().unwrap().state == "rejected");
    assert!(!hub.store.restore_report().unwrap().unwrap().is_open());
}

/// Proves R-OLDER-2, R-OLDER-3.
#[test]
fn what_led_to_a_decision_that_was_seen_stands_against_what_another_device_captured() {
    let (copies, mut hub, [mut agent, mut other], [mut told, mut others]) = two_devices();
    let copy = copies.path().join("copy");
    other.survey(1);
    hub.take_all(&other);
    hub.tell(&other, &mut others);
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    let open = [("zone", "A".into()), ("counter", "李娜".into())];
    let sheet = agent.act(None, "count_sheet", "open", &open);
    let line = [("item#1.item", "F-100".into()), ("item#1.location", "main".into()), ("item#1.counted", quantity(4))];
    agent.act(Some(sheet), "count_sheet", "count", &line);
    hub.take_all(&agent);
    hub.tell(&other, &mut others);
    // both lock it; the hub hears of the first alone
    other.documents = agent.documents.clone();
    other.act(Some(sheet), "count_sheet", "lock", &[]);
    agent.act(Some(sheet), "count_sheet", "lock", &[]);
    hub.take_all(&agent);
    hub.decide(sheet, "reject", &[("decision_reason", "重盘".into())]).unwrap();
    hub.tell(&agent, &mut told);

    let mut hub = hub.put_back(&copy);
    hub.meet_knowing(&other, &others, 1);
    hub.send(&other, &other.seal(&others.batch(1)));
    hub.send(&other, &other.batch(1, 2));
    hub.meet_knowing(&agent, &told, 3);
    hub.send(&agent, &agent.batch(1, 3));
    hub.send(&agent, &agent.seal(&told.batch(1)));
    hub.wait("the sheet as it was decided", |hub| {
        hub.store.document(sheet).unwrap().is_some_and(|sheet| sheet.state == "rejected")
    });
    let refused = |hub: &Hub| {
        let aside = hub.store.quarantine(9).unwrap();
        aside.iter().map(|row| (row.seq, row.reason.code.clone())).collect::<Vec<_>>()
    };
    assert_eq!(refused(&hub), [(Seq(2), "superseded".to_owned())]);
    hub.store.rebuild(&mut |_, _| {}).unwrap();
    assert_eq!(hub.store.document(sheet).unwrap().unwrap().state, "rejected", "a rebuild knows it as well");
    assert_eq!(refused(&hub), [(Seq(2), "superseded".to_owned())]);
}

/// Proves R-OLDER-3.
#[test]
fn an_agent_learns_that_a_journal_that_goes_further_is_not_the_one_it_holds() {
    let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
    let copy = copies.path().join("copy");
    let (agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
    hub.tell(&agent, &mut told);
    ["一", "二", "三"].iter().for_each(|title| hub.command(&agent, title));
    hub.tell(&agent, &mut told);
    let (mut hub, mut others) = (hub.copy(&copy), told.clone());
    hub.command(&agent, "四");
    hub.tell(&agent, &mut told);

    // a copy of its disk comes first, and is told on
    let mut hub = hub.put_back(&copy);
    hub.meet(&agent, &others);
    ["五", "六", "七", "八"].iter().for_each(|title| hub.command(&agent, title));
    hub.tell(&agent, &mut others);
    assert_eq!(others.entries.len(), 7);
    let greeting = hub.meet(&agent, &told);
    assert_eq!(greeting.meeting, None, "it has something to bring back");
    let rungs = greeting.down.unwrap().rungs;
    assert!(rungs.contains(&others.marks[3]) && rungs.contains(&others.marks[2]), "{rungs:?}");
    assert!(rungs.is_sorted_by(|one, other| one.seq > other.seq), "{rungs:?}");
    hub.forget_replies();
    hub.send(&agent, &agent.seal(&told.batch(4)));
    assert_eq!(hub.ack().stored, told.head());
}

/// Proves R-OLDER-3.
#[test]
fn what_comes_back_in_another_order_than_it_was_done_in_stands_all_the_same() {
    let (copies, mut hub, [mut agent, other], [mut told, mut others]) = two_devices();
    let copy = copies.path().join("copy");
    hub.tell(&agent, &mut told);
    hub.tell(&other, &mut others);
    let mut hub = hub.copy(&copy);
    let sheet = sheet(&mut agent);
    hub.take_all(&agent);
    hub.decide(sheet, "reject", &[("decision_reason", "重盘".into())]).unwrap();
    hub.tell(&agent, &mut told);
    hub.tell(&other, &mut others);
    assert_eq!(others.words(), "count_sheet open, count_sheet count, count_sheet lock, count_sheet reject");

    let mut hub = hub.put_back(&copy);
    others.entries.rotate_right(1);
    let chain = others.entries.iter().scan(Mark::ZERO, |mark, entry| {
        *mark = mark.extend(entry);
        Some(*mark)
    });
    others.marks = chain.collect();
    hub.meet(&other, &others);
    let returned = other.seal(&others.batch(1));
    hub.send(&other, &returned);
    hub.meet(&agent, &told);
    let returned = agent.seal(&told.batch(1));
    hub.send(&agent, &returned);
    let rest = agent.batch(1, 3);
    hub.send(&agent, &rest);
    hub.wait("the sheet as it was decided", |hub| {
        hub.store.document(sheet).unwrap().is_some_and(|sheet| sheet.state == "rejected")
    });
    assert!(hub.store.quarantine(9).unwrap().is_empty());
}

/// Proves R-OLDER-2, R-OLDER-3.
#[test]
fn a_hub_that_came_back_older_never_decides_what_an_agent_has_seen_decided() {
    let (copies, mut hub, [mut agent, other], [mut told, mut others]) = two_devices();
    let copy = copies.path().join("copy");
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

/// Proves R-OLDER-2.
#[test]
fn nobody_acts_before_what_was_brought_back_is_processed() {
    let Since { copies, hub, agent, told, sheet } = Since::rejected();
    let copy = copies.path().join(DATABASE);
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
    let Since { copies, hub, agent, told, sheet } = Since::rejected();
    let hub = hub.put_back(&copies.path().join(DATABASE));
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
    hub.tell(&agent, &mut told);
    hub.command(&agent, "一");
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    for title in ["二", "三", "四"] {
        hub.command(&agent, title);
    }
    hub.tell(&agent, &mut told);
    let mut hub = hub.put_back(&copy);
    // up to the third it is deleted at the agent; only the fourth can come back
    let held = Held { pruned: Seq(3), ..told.held().unwrap() };
    let hello = agent.seal(&Hello { down: Some(held), ..agent.plain_hello(0) });
    hub.send(&agent, &hello);
    assert_eq!(hub.welcome().meeting, None, "it has something to bring back");
    hub.command(&agent, "五");
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
    let row = journal::find(&conn, stream).unwrap().unwrap();
    journal::verify(&conn, row.row).unwrap();
    drop(conn);
    told.take(&hub, stream);
    assert_eq!((told.head().seq, Command::read(&told.read()[4]).unwrap().name), (Seq(5), "五".to_owned()));
}

/// Proves R-OLDER-2, R-OLDER-4.
#[test]
fn a_decision_that_its_agent_has_deleted_is_named_lost_and_the_site_waits_for_ops() {
    let Since { copies, hub, agent, told, sheet } = Since::rejected();
    let copy = copies.path().join(DATABASE);
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
    hub.tell(&agent, &mut told);
    let mut hub = hub.copy(&copy);
    ["一", "二"].iter().for_each(|title| hub.command(&agent, title));
    hub.tell(&agent, &mut told);
    let mut hub = hub.put_back(&copy);
    let held = Some(Held { pruned: Seq(2), ..told.held().unwrap() });
    let hello = agent.seal(&Hello { down: held.clone(), ..agent.plain_hello(0) });
    hub.send(&agent, &hello);
    let nothing = Builder::new().finish().into();
    let (first_seq, prev_hash, base) = (Seq(3), told.head().hash, Some(Mark::ZERO));
    let registered = Batch { first_seq, prev_hash, base, count: 0, payload: nothing, ..told.batch(1) };
    hub.send(&agent, &agent.seal(&registered));
    hub.command(&agent, "三");
    hub.forget_replies();
    hub.send(&agent, &hello);
    let meeting = hub.welcome().meeting.expect("nothing is owed");
    assert_eq!((meeting.stored, meeting.head), (told.head(), Seq(3)));
    let stream = told.stream.unwrap();
    let conn = hub.store.reader().unwrap();
    journal::verify(&conn, journal::find(&conn, stream).unwrap().unwrap().row).unwrap();
    drop(conn);
    told.take(&hub, stream);
    assert_eq!(Command::read(&told.read()[2]).unwrap().name, "三");
    let whole = SeqRange { first: Seq(2), last: Seq(3) };
    assert_eq!(hub.store.down_batch(stream, whole).unwrap(), None, "what is gone is not sent");
}

/// Proves R-OLDER-3.
#[test]
fn where_the_agent_knows_no_hash_any_more_its_base_lies_below_and_nothing_is_withheld() {
    for is_acknowledged in [true, false] {
        let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
        let copy = copies.path().join("copy");
        let (agent, mut told) = (Agent::new(1, &["3702"]), Told::default());
        let titles =
            |told: &Told| told.read().iter().map(|entry| Command::read(entry).unwrap().name).collect::<String>();
        hub.tell(&agent, &mut told);
        hub.command(&agent, "一");
        hub.tell(&agent, &mut told);
        if is_acknowledged {
            hub.send(&agent, &ack(&agent, &told, told.head()));
            hub.barrier();
        }
        let mut hub = hub.copy(&copy);
        ["二", "三", "四"].iter().for_each(|title| hub.command(&agent, title));
        hub.tell(&agent, &mut told);
        let mut hub = hub.put_back(&copy);
        let held = Held { pruned: Seq(3), ..told.held().unwrap() };
        let hello = agent.seal(&Hello { down: Some(held), ..agent.plain_hello(0) });
        hub.send(&agent, &hello);
        assert_eq!(hub.welcome().meeting, None, "it has something to bring back");
        hub.command(&agent, "五");
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

/// Proves R-DOWN-2, R-DOWN-4.
#[test]
fn an_agent_that_brings_back_that_its_entry_is_parked_hears_that_it_is_applied_at_once() {
    for is_released_by_ops in [false, true] {
        let (copies, mut hub) = (tempfile::tempdir().unwrap(), Hub::open());
        let copy = copies.path().join(DATABASE);
        let (mut opener, mut other) = (Agent::new(1, &["3702"]), Agent::new(2, &["3702"]));
        let (mut openers, mut told) = (Told::default(), Told::default());
        for (agent, told) in [(&opener, &mut openers), (&other, &mut told)] {
            hub.take_all(agent);
            hub.tell(agent, told);
        }
        let mut hub = hub.copy(&copy);
        let sheet = opener.act(None, "count_sheet", "open", &[("zone", "A".into()), ("counter", "李娜".into())]);
        other.documents = opener.documents.clone();
        let line =
            [("item#1.item", "F-100".into()), ("item#1.location", "main".into()), ("item#1.counted", quantity(4))];
        other.act(Some(sheet), "count_sheet", "count", &line);
        other.act(Some(sheet), "count_sheet", "lock", &[]);
        hub.take_all(&other);
        hub.tell(&other, &mut told);
        let fates = |told: &Told| -> Vec<(Seq, Fate)> {
            told.read().iter().filter_map(Receipt::read).map(|receipt| (receipt.seq, receipt.fate)).collect()
        };
        let parked = [(Seq(1), Fate::Parked), (Seq(2), Fate::Parked)];
        assert_eq!(fates(&told), parked);

        let mut hub = hub.put_back(&copy);
        hub.meet_knowing(&opener, &openers, 0);
        hub.send(&opener, &opener.batch(1, opener.head().seq.0));
        if is_released_by_ops {
            hub.store.release_restore("王芳", "测试", START).unwrap();
        }
        let greet = |hub: &mut Hub| drop(hub.meet_knowing(&other, &told, 0));
        greet(&mut hub);
        let (upward, returned) = (other.batch(1, 2), other.seal(&told.batch(1)));
        if is_released_by_ops {
            hub.send(&other, &upward);
            hub.settle();
        }
        hub.send(&other, &returned);
        hub.send(&other, &upward);
        hub.tell(&other, &mut told);
        assert_eq!(fates(&told)[2..], [(Seq(1), Fate::Released), (Seq(2), Fate::Released)]);
        assert_eq!(hub.store.document(sheet).unwrap().unwrap().digest(), other.documents[&sheet].digest());
        assert!(hub.store.quarantine(9).unwrap().is_empty());
        hub.store.rebuild(&mut |_, _| {}).unwrap();
        let count = told.entries.len();
        hub.tell(&other, &mut told);
        assert_eq!(told.entries.len(), count, "a rebuild says nothing twice");
    }
}
