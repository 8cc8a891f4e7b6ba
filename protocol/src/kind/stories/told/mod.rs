//! The stories themselves: what is told, without what tells it.
//!
//! The end-to-end tests tell the same stories to real agents and a real hub: they include this folder, so nothing here
//! names anything outside it.

mod claim;
mod notice;
mod old_part;
mod part_transfer;
mod recovery;
mod settlement;

/// A story, and what it ends in: the last document's `state pen`, or what was refused, by field.
pub(crate) type Story = (&'static str, &'static str);

/// Every story that takes its way to an end, by kind.
pub(crate) const TOLD: &[(&str, &[Story])] = &[
    ("claim", claim::STORIES),
    ("old_part", old_part::STORIES),
    ("recovery", recovery::STORIES),
    ("part_transfer", part_transfer::STORIES),
    ("settlement", settlement::STORIES),
    ("notice", notice::STORIES),
];

/// The stories of one kind.
pub(crate) fn of(kind: &str) -> &'static [Story] {
    TOLD.iter().find(|(name, _)| *name == kind).map_or(&[], |(_, stories)| stories)
}

/// A line of a story.
#[derive(Debug, Clone)]
pub(crate) enum Line<'a> {
    /// So many milliseconds pass.
    Pass(i64),
    /// A rule of the network's.
    Rule(&'a str, i64),
    /// Somebody acts.
    Act(Act<'a>),
}

/// An act of a story.
#[derive(Debug, Clone)]
pub(crate) struct Act<'a> {
    /// `A`, `B`, … for outlets, `hub` for the hub.
    pub who: &'a str,
    /// Who acts there.
    pub author: &'a str,
    /// What the story calls the document.
    pub name: &'a str,
    /// Its kind, where it is opened.
    pub kind: Option<&'a str>,
    /// The act.
    pub act: &'a str,
    /// The fields it sets, as the story states them.
    pub set: Vec<(&'a str, &'a str)>,
}

/// What a story states of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// A whole number.
    Whole(i64),
    /// Text, or a choice.
    Text(&'a str),
    /// Yes.
    Yes,
    /// Nothing any more.
    Nothing,
    /// Thousandths of a unit, or hundredths of a currency.
    Measured(i64, &'static str),
    /// The document of this name.
    Document(&'a str),
    /// The moment of the act.
    Now,
    /// So many days after the day of the act.
    Day(i64),
}

/// The lines of a story, every word put in its place: `let story = spelled(…); lines(&story)`.
pub(crate) fn lines(spelled: &str) -> impl Iterator<Item = Line<'_>> {
    spelled.lines().map(str::trim).filter(|line| !line.is_empty()).map(line)
}

fn line(text: &str) -> Line<'_> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [time] if time.starts_with('+') => {
            let unit = if time.ends_with('d') { 86_400_000 } else { 3_600_000 };
            Line::Pass(time[1..time.len() - 1].parse::<i64>().expect("a number of hours or days") * unit)
        }
        ["rule", rule] => {
            let (name, value) = rule.split_once('=').expect("a rule is name=value");
            Line::Rule(name, value.parse().expect("a rule is a whole number"))
        }
        [who, name, act, set @ ..] => {
            let (who, author) = who.split_once('/').unwrap_or((
                who,
                match *who {
                    "A" => "李娜",
                    "B" => "赵磊",
                    _ => "审核员",
                },
            ));
            let (name, kind) = name.split_once(':').map_or((*name, None), |(name, kind)| (name, Some(kind)));
            let set = set.iter().map(|word| word.split_once('=').expect("a field is key=value")).collect();
            Line::Act(Act { who, author, name, kind, act, set })
        }
        _ => panic!("not a line of a story: {text}"),
    }
}

/// What is stated of a field.
pub(crate) fn said(text: &str) -> Said<'_> {
    let whole = |text: &str| text.parse().expect("a whole number");
    match text.split_once(':') {
        Some(("q", milli)) => Said::Measured(whole(milli), "件"),
        Some(("m", minor)) => Said::Measured(whole(minor), "CNY"),
        Some(("usd", minor)) => Said::Measured(whole(minor), "USD"),
        Some(("day", days)) => Said::Day(whole(days)),
        _ if text == "yes" => Said::Yes,
        _ if text == "now" => Said::Now,
        _ if text == "null" => Said::Nothing,
        _ => match text.strip_prefix('@') {
            Some(name) => Said::Document(name),
            None => text.parse().map_or(Said::Text(text), Said::Whole),
        },
    }
}

/// The story with every word put in its place.
pub(crate) fn spelled(story: &str) -> String {
    let mut story = story.to_owned();
    while let Some((word, text)) = WORDS.iter().find(|(word, _)| story.contains(&format!("{{{word}}}"))) {
        story = story.replace(&format!("{{{word}}}"), text);
    }
    assert!(!story.contains('{'), "an unknown word: {story}");
    story
}

/// What many stories say.
const WORDS: &[(&str, &str)] = &[
    ("walk_in", "checked_in_at=1759980000000 pre_inspection=好 symptom=异响"),
    ("order", "A r:repair_order check_in {walk_in} category=车"),
    ("tagged", "A o:old_part tag claim=@c part=P1 tag_no=T1 removed_at=1759990000000"),
    ("vehicle", "vin=1M8GDM9AXKP042788 model=M1 sale_date=day:-70 odometer=9000 customer=张伟 repair_order=@r"),
    ("fault", "failed_at=1759990000000 symptom=异响 causal_part=P1 fault=F01 severity=major supplier=S1"),
    ("part", "part#1.part=P1 part#1.quantity=q:1500 part#1.price=m:1001 part#1.source=stock part#1.coverage=warranty"),
    (
        "lines",
        "{part} labour#1.operation=换件 labour#1.hours=150 labour#1.rate=m:8001 labour#1.coverage=warranty \
         other#1.charge=拖车 other#1.amount=m:500 other#1.coverage=customer",
    ),
    ("granted", "part#1.granted=m:1502 labour#1.granted=m:12000 other#1.granted=m:0"),
    ("ordinary", "{order}\nA c:claim draft variant=ordinary {vehicle} {fault} {lines}"),
    ("submitted", "{ordinary}\nA c submit"),
    ("reviewing", "{submitted}\nhub c review"),
    ("remark", "remark#1.field=odometer remark#1.code=wrong remark#1.comment=里程不符"),
    ("assembly", "assembly=发动机 serial_old=E1 teardown_photos=x.jpg"),
    (
        "rescue",
        "call_at=1759990000000 place=高速 distance=40 depart_at=1759991000000 arrive_at=1759992000000 finish_at=1759993000000",
    ),
    ("purchase", "vendor=配件城 purchase_reason=缺货"),
    ("run_in", "card_no=Z1 checklist=机油"),
    // a claim whose approval directs the part o
    ("directed", "{ordinary}\n{tagged}\nA c edit part#1.old_part=@o\nA c submit\nhub c review"),
    ("to_maker", "{directed}\nhub c approve {granted} part#1.disposition=maker"),
    ("to_supplier", "{directed}\nhub c approve {granted} part#1.disposition=supplier"),
    ("to_discount", "{directed}\nhub c approve {granted} part#1.disposition=discount"),
    ("asked", "A t:part_transfer request part=P1 quantity=q:2000 need_by=1760100000000"),
    ("owed", "{asked}\nhub t approve mode=maker approved=q:2000\nhub t ship shipped=q:2000 waybill=W1"),
    ("assigned", "{asked}\nhub t assign source=B approved=q:2000"),
    ("lent", "{assigned}\nB t accept\nB t ship shipped=q:2000 waybill=W1"),
    ("approved", "{reviewing}\nhub c approve {granted}"),
    ("generated", "{approved}\nhub s:settlement generate site=A period=2025-10 until=day:30"),
    ("issued", "{generated}\nhub s issue"),
    ("disputed", "{issued}\nA s dispute claim#1.dispute=少工时"),
    (
        "charged",
        "{judged}\nhub v notify\nhub v confirm\nhub v agree agreed=m:10005\n\
                 hub s:settlement generate site=hub party=S1 period=2025-10 until=day:30\nhub s charge",
    ),
    ("published", "hub b:notice publish site=hub title=召回 body=内容 audience=*"),
    ("boxed", "{to_maker}\nA o box box_no=B1"),
    ("shipped", "{boxed}\nA o ship waybill=W1"),
    ("direct", "{to_supplier}\nA o box box_no=B1\nA o ship waybill=W1"),
    (
        "appraised",
        "{judged}\nhub v notify\nhub v dispute objection=不是材质\nhub v appraise third_party=检测中心 factor=5000",
    ),
    (
        "judged",
        "{ordinary}\nhub v:recovery judge site=hub responsible=supplier supplier=S1 basis=鉴定 \
                claim#1.claim=@c claim#1.amount=m:10001 claim#2.claim=@c claim#2.amount=m:4",
    ),
];
