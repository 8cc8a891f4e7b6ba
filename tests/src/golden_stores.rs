//! A small filled store of the agent's and one of the hub's, for golden files, and the shape of what is in them.
//!
//! Ids and times of the hub's are drawn, so two fillings differ in bytes but not in shape: per table the sorts of keys and
//! values, of every CBOR its keys and types, and of every row made of bytes its parts. The layouts are told here once more, by a
//! reader of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use ciborium::Value as Cbor;
use ed25519_dalek::SigningKey;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use rusqlite::types::ValueRef;
use waystation_agent::link::{Action, Engine, LinkStatus, Now};
use waystation_agent::store::{At, Draft, ImportRow, OpenOptions, Store};
use waystation_hub::store::stepped::Stepped;
use waystation_hub::store::{self as hub_store, Action as Resolve, Ask, EntryPlace, Options};
use waystation_protocol::definition::{Definition, FieldType};
use waystation_protocol::document::capture::Wish;
use waystation_protocol::down::Command;
use waystation_protocol::id::{DocId, SessionId};
use waystation_protocol::site::Sites;
use waystation_protocol::time::{Tick, Timestamp, zone};
use waystation_protocol::value::Value;

/// The folder of the agent's store within a filled one.
pub const AGENT: &str = "agent";
/// The folder of the hub's.
pub const HUB: &str = "hub";

const START: i64 = 1_795_401_600_000;
const CREDIT: u64 = 1 << 20;

/// How the agent's store is opened; `start` tells process starts apart.
#[must_use]
pub fn options(start: u8) -> OpenOptions {
    OpenOptions {
        sites: Sites::Only(vec!["3702".parse().expect("a site's name")]),
        letter: 'A',
        random: [start; 10],
        boot: start.into(),
        new_ids: [[1; 16], [2; 16]],
        new_key: [3; 32],
        zone: zone("").expect("the default zone is bundled"),
        reserve_bytes: 0,
    }
}

/// How the hub's store is opened.
#[must_use]
pub fn hub_options() -> Options {
    Options::new([7; 16])
}

struct Pair<'a> {
    dir: &'a Path,
    store: Store,
    engine: Engine,
    ticks: u64,
    session: u8,
}

/// Fills both: captures, an import, a draft, decisions, a notice, a command, definitions, a branch, quarantine and what people
/// did about it.
pub fn fill(dir: &Path) {
    std::fs::create_dir_all(dir.join(HUB)).expect("a folder can be made");
    let store = Store::open(&dir.join(AGENT), options(1)).expect("a fresh store opens");
    let engine = Engine::new(store.clone(), LinkStatus::new(true), 1);
    let mut pair = Pair { dir, store, engine, ticks: 0, session: 0 };
    let sheet = pair.work();
    pair.meet();
    let hub = hub_store::Store::open(&dir.join(HUB), hub_options()).expect("the hub opens");
    decide(&hub, pair.store.identity().agent, sheet);
    resolve(&hub);
    hub.close();
    pair.meet();
    // a step of the clock, an answer to the command, and a branch
    pair.ticks += 10;
    let stepped = At { now: Timestamp(START + 3_600_000), mono_ms: pair.ticks };
    assert!(pair.store.observe_clock(stepped).expect("the step is journalled"));
    pair.store.fork(pair.store.head()).expect("a new stream begins");
    pair.meet();
    let Pair { store, engine, .. } = pair;
    store.close();
    drop((store, engine));
}

impl Pair<'_> {
    fn at(&mut self) -> At {
        self.ticks += 10;
        At { now: Timestamp(START + self.ticks as i64), mono_ms: self.ticks }
    }

    fn act(&mut self, document: Option<DocId>, kind: &str, act: &str, set: &[(&str, Value)]) -> DocId {
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let wish = Wish { document, kind: kind.into(), act: act.into(), set, author: "王芳".into(), cause: None };
        let at = self.at();
        self.store.capture(wish, at).unwrap_or_else(|error| panic!("{kind} {act}: {error:?}")).document.id
    }

    /// What clerks do. Gives a count sheet that waits for the hub's decision.
    fn work(&mut self) -> DocId {
        let survey = self.act(None, "survey", "", &[("form", "访后".into()), ("score", 92.into())]);
        self.act(Some(survey), "survey", "note", &[("note_text", "已回访".into())]);
        let gone = self.act(None, "survey", "", &[("form", "访后".into())]);
        self.act(Some(gone), "survey", "void", &[("void_reason", "错录".into())]);
        let movement = [
            ("item", "F-100".into()),
            ("location", "main".into()),
            ("quantity", Value::measured(9_000, "件")),
            ("reason", "receipt".into()),
        ];
        self.act(None, "stock_movement", "post", &movement);
        let sheet = self.act(None, "count_sheet", "open", &[("zone", "A".into()), ("counter", "李娜".into())]);
        let line = [
            ("item#1.item", "F-100".into()),
            ("item#1.location", "main".into()),
            ("item#1.counted", Value::measured(8_000, "件")),
        ];
        self.act(Some(sheet), "count_sheet", "count", &line);
        self.act(Some(sheet), "count_sheet", "lock", &[]);
        let set = BTreeMap::from([("form".to_owned(), Value::from("旧")), ("score".to_owned(), Value::Int(70))]);
        let row = ImportRow {
            kind: "survey".into(),
            site: "3702".into(),
            state: "answered".into(),
            set: set.clone(),
            source: "old".into(),
            key: "1".into(),
            occurrence: 1,
            author: "import".into(),
        };
        let at = self.at();
        self.store.capture_import(vec![row], at).expect("a row is imported");
        let changed_at = self.at().now;
        let (document, seen, author) = (None, None, "王芳".to_owned());
        let draft = Draft { document, kind: "survey".into(), set, author, changed_at, seen };
        self.store.save_draft(None, draft).expect("a draft is saved");
        sheet
    }

    /// Agent and hub speak until nothing is left to say.
    fn meet(&mut self) {
        let key = SigningKey::from_bytes(&[9; 32]);
        let mut hub = Stepped::open(&self.dir.join(HUB), &hub_options(), key, Timestamp(START)).expect("the hub opens");
        self.session += 1;
        let session = SessionId::from_bytes([self.session; 16]);
        self.ticks += 10;
        self.engine.handle_connected(session, self.now());
        let agent = self.store.identity().agent;
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            self.ticks += 1;
            let now = self.now();
            self.engine.handle_head(self.store.head().seq);
            while let Some(action) = self.engine.poll(now).expect("the journal can be read") {
                let Action::Publish(frame) = action else { panic!("the hub answers at once") };
                let incoming = hub.verify(agent, &frame, now.wall).expect("the agent's own frame");
                hub.store(vec![incoming]);
                is_quiet = false;
            }
            while hub.build().expect("the hub processes") {
                hub.apply();
            }
            for (_, frame) in hub.frames(CREDIT, now.wall, now.tick) {
                self.engine.handle_frame(&frame, now);
                is_quiet = false;
            }
        }
        assert_eq!(self.store.stored(), self.store.head(), "all is stored");
        self.engine.handle_disconnected();
        hub.rest().expect("the hub ends");
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp(START + self.ticks as i64), tick: Tick(self.ticks) }
    }
}

/// What people do at the hub.
fn decide(hub: &hub_store::Store, agent: waystation_protocol::id::AgentId, sheet: DocId) {
    let set = BTreeMap::from([("decision_reason".to_owned(), Value::from("差异"))]);
    let wish = Wish {
        document: Some(sheet),
        kind: String::new(),
        act: "recount".into(),
        set,
        author: "审核".into(),
        cause: None,
    };
    hub.act(wish, None, 20_000).expect("the hub acts");
    let text = |name: &str, text: &str| (name.to_owned(), Value::from(text));
    let set = BTreeMap::from([text("title", "停电"), text("body", "周日"), text("audience", "*")]);
    let (kind, act, author) = ("notice".to_owned(), "publish".to_owned(), "王芳".to_owned());
    let wish = Wish { document: None, kind, act, set, author, cause: None };
    hub.act(wish, None, 20_000).expect("a notice is published");
    let command = Command { name: "report".into(), args: String::new(), not_after: Timestamp(i64::MAX / 2) };
    hub.give_command(agent, command, "王芳").expect("a command is given").expect("the agent is known");
    let definition = Definition {
        id: "colour".into(),
        kind: "survey".into(),
        zh: "颜色".into(),
        en: "Colour".into(),
        ty: FieldType::Text,
        choices: Vec::new(),
        range: None,
        pattern: None,
        required_in_state: Vec::new(),
        is_retired: false,
        version: 0,
    };
    hub.define(definition, "王芳").expect("a field is defined");
}

/// Gives up whatever is in quarantine.
fn resolve(hub: &hub_store::Store) {
    for row in hub.quarantine(100).expect("quarantine is read") {
        let place = EntryPlace { stream: row.stream, seq: row.seq };
        let ask = Ask { action: Resolve::Waive, who: "王芳".into(), why: "重复".into() };
        let number = hub.ask(place, ask).expect("it is taken down");
        hub.wait_decided(number, 20_000).expect("it is decided");
    }
}

/// The agent's documents, a line each: id, kind, state, digest.
#[must_use]
pub fn agent_documents(store: &Store) -> String {
    let page = store.documents(&waystation_agent::store::Filter { limit: 500, ..Default::default() });
    listing(page.expect("the list is read").items)
}

/// The hub's documents, likewise.
#[must_use]
pub fn hub_documents(store: &hub_store::Store) -> String {
    let page = store.documents(&hub_store::Filter { limit: 500, ..Default::default() });
    listing(page.expect("the list is read").items)
}

fn listing(mut documents: Vec<waystation_protocol::document::Document>) -> String {
    documents.sort_by_key(|document| document.id);
    let hex = |digest: [u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |document: &waystation_protocol::document::Document| {
        format!("{} {} {} {}\n", document.id, document.kind, document.state, hex(document.digest()))
    };
    documents.iter().map(line).collect()
}

/// The shape of the agent's store.
#[must_use]
pub fn agent_shape(file: &Path) -> String {
    let database = Database::open(file).expect("the file opens");
    let read = database.begin_read().expect("it can be read");
    let mut shapes = Shapes::default();
    let names: BTreeSet<String> =
        read.list_tables().expect("tables are listed").map(|table| table.name().to_owned()).collect();
    macro_rules! table {
        ($name:literal, $key:ty, $value:ty, $shape:expr) => {
            let definition: TableDefinition<'_, $key, $value> = TableDefinition::new($name);
            let table = read.open_table(definition).unwrap_or_else(|error| panic!("table {}: {error}", $name));
            shapes.table(format!("{} ({} -> {})", $name, stringify!($key), stringify!($value)));
            for row in table.iter().expect("rows are read") {
                let (key, value) = row.expect("a row is read");
                let shape: fn($key, $value) -> String = $shape;
                shapes.row(shape(key.value(), value.value()));
            }
        };
    }
    table!("journal", u64, &[u8], |_, row| format!("hash total {}", cbor(&row[40..])));
    table!("kept_marks", u64, &[u8; 48], |_, _| "hash total check".to_owned());
    table!("meta", &str, &[u8], |name, row| format!("{name}: {}", meta(row)));
    table!("stream", &[u8; 16], &[u8], |_, row| cbor(row));
    table!("counter", &str, u64, |series, _| series.chars().filter(|c| !c.is_alphanumeric()).collect());
    table!("draft", &[u8; 16], &[u8], |_, row| format!("{} check {}", row[0], cbor(&row[9..])));
    table!("down", &[u8; 24], &[u8], |_, row| format!("hash total {}", cbor(&row[40..])));
    table!("down_stream", &[u8; 16], &[u8], |_, row| cbor(row));
    table!("told", &[u8; 16], &[u8], |_, row| cbor(row));
    table!("aside", &[u8; 16], u64, |_, _| String::new());
    table!("documents", &[u8; 16], &[u8], |_, row| document_row(row));
    table!("list", &[u8], &[u8], |key, row| list_row(key, row));
    table!("imported_rows", &[u8; 24], &[u8; 16], |_, _| String::new());
    table!("reading", &[u8], i64, |key, _| format!("{} NUL", key.iter().take(18).filter(|byte| **byte == 0).count()));
    table!("balance", &[u8], i64, |key, _| format!("{} NUL", key.iter().filter(|byte| **byte == 0).count()));
    shapes.end(&names)
}

/// Tables and their sorts of rows, each once.
#[derive(Default)]
struct Shapes {
    tables: BTreeMap<String, BTreeSet<String>>,
    current: String,
}

impl Shapes {
    fn table(&mut self, title: String) {
        self.tables.entry(title.clone()).or_default();
        self.current = title;
    }

    fn row(&mut self, shape: String) {
        self.tables.entry(self.current.clone()).or_default().insert(shape);
    }

    fn end(self, names: &BTreeSet<String>) -> String {
        let described: BTreeSet<&str> = self.tables.keys().filter_map(|title| title.split(' ').next()).collect();
        let all: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(all, described, "every table is described here");
        let mut text = String::new();
        for (title, rows) in &self.tables {
            let _ = writeln!(text, "{title}");
            for row in rows {
                let _ = writeln!(text, "  {row}");
            }
        }
        text
    }
}

/// The shape of bytes that are CBOR as a whole.
fn cbor(bytes: &[u8]) -> String {
    whole_cbor(bytes).unwrap_or_else(|| panic!("these {} bytes are no CBOR", bytes.len()))
}

fn whole_cbor(mut bytes: &[u8]) -> Option<String> {
    let value: Cbor = ciborium::from_reader(&mut bytes).ok()?;
    bytes.is_empty().then(|| sketch(&value))
}

/// Keys that are text with the shape of their values; other keys, and what a list holds, each sort once.
fn sketch(cbor: &Cbor) -> String {
    let all = |shapes: BTreeSet<String>| shapes.into_iter().collect::<Vec<_>>().join(",");
    match cbor {
        Cbor::Map(pairs) => {
            let pair = |(key, value): &(Cbor, Cbor)| {
                let key = key.as_text().map_or_else(|| sketch(key), str::to_owned);
                format!("{key}:{}", sketch(value))
            };
            format!("{{{}}}", all(pairs.iter().map(pair).collect()))
        }
        Cbor::Array(items) => format!("[{}]", all(items.iter().map(sketch).collect())),
        Cbor::Bytes(_) => "bytes".to_owned(),
        Cbor::Text(_) => "text".to_owned(),
        Cbor::Integer(_) => "int".to_owned(),
        Cbor::Bool(_) => "bool".to_owned(),
        Cbor::Null => "null".to_owned(),
        other => panic!("{other:?} is not of our codec"),
    }
}

/// A row of `meta`: CBOR where it is a map or a list, or so many bytes.
fn meta(row: &[u8]) -> String {
    let is_compound = row.first().is_some_and(|first| (0x80..0xc0).contains(first));
    // the sealed record repeats the others, and ends in a hash
    match row.len().checked_sub(32).map(|end| row.split_at(end)) {
        Some((record, _)) if is_compound && whole_cbor(record).is_some_and(|shape| shape.contains("streams:")) => {
            "sealed record, hash".to_owned()
        }
        _ if is_compound => whole_cbor(row).unwrap_or_else(|| format!("{} bytes", row.len())),
        _ => format!("{} bytes", row.len()),
    }
}

fn document_row(row: &[u8]) -> String {
    let count = u32::from_be_bytes(row[8..12].try_into().expect("four bytes"));
    let mut rest = &row[12 + 8 * (count & 0x7fff_ffff) as usize..];
    let mut text = "check count seqs".to_owned();
    if count >> 31 == 1 {
        let length = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        let _ = write!(text, " dossier {}", cbor(&rest[4..4 + length]));
        rest = &rest[4 + length..];
    }
    if !rest.is_empty() {
        let _ = write!(text, " {}", cbor(rest));
    }
    text
}

fn list_row(key: &[u8], row: &[u8]) -> String {
    let words: Vec<&[u8]> = key[..key.len() - 24].split(|byte| *byte == 0).collect();
    let parts = std::str::from_utf8(row).expect("text").split('\0').count();
    format!("{} words, place -> {parts} texts", words.len())
}

/// The shape of the hub's store: its schema, and the sorts of values in each column.
#[must_use]
pub fn hub_shape(file: &Path) -> String {
    let conn = rusqlite::Connection::open(file).expect("the file opens");
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("it has a version");
    let mut text = format!("schema {version}\n");
    let sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY name, type";
    let mut statement = conn.prepare(sql).expect("the schema is read");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let objects: Vec<(String, String, String)> =
        rows.expect("the schema is read").collect::<Result<_, _>>().expect("rows are read");
    for (kind, name, sql) in &objects {
        let without_remarks = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        let words: Vec<&str> = without_remarks.flat_map(str::split_whitespace).collect();
        let _ = writeln!(text, "{kind} {name}: {}", words.join(" "));
    }
    for (_, table, _) in objects.iter().filter(|(kind, name, _)| kind == "table" && !name.starts_with("sqlite_")) {
        for (column, shapes) in columns(&conn, table) {
            let _ = writeln!(text, "{table}.{column}: {}", shapes.into_iter().collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

fn columns(conn: &rusqlite::Connection, table: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).expect("a table is read");
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut shapes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut rows = statement.query([]).expect("a table is read");
    while let Some(row) = rows.next().expect("a row is read") {
        for (at, name) in names.iter().enumerate() {
            let shape = value(row.get_ref(at).expect("a value is read"));
            shapes.entry(name.clone()).or_default().insert(shape);
        }
    }
    shapes
}

fn value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(_) => "int".to_owned(),
        ValueRef::Real(_) => "real".to_owned(),
        ValueRef::Text(_) => "text".to_owned(),
        ValueRef::Blob(bytes) if [8, 16, 24, 32].contains(&bytes.len()) => format!("{} bytes", bytes.len()),
        ValueRef::Blob(bytes) => whole_cbor(bytes).unwrap_or_else(|| "bytes".to_owned()),
    }
}
