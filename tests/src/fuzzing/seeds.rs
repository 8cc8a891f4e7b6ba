//! Where fuzzing begins: for every target a few inputs that get far.
//!
//! `cargo test -p waystation-tests --test corpus -- --ignored` writes them into the corpora again.

use std::collections::BTreeMap;

use waystation_protocol::batch::Builder;
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::frame::{self, FrameType};
use waystation_protocol::id::{AgentId, EntryId, SessionId, StreamId};
use waystation_protocol::message::{Ack, Batch, Death, Heartbeat, Held, Hello, Message, Welcome};
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use super::wire::key;
use super::workbooks::archive;

fn after(choices: &[u8], bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [choices, bytes.as_ref()].concat()
}

fn all<T: AsRef<[u8]>>(choices: &[u8], texts: &[T]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| after(choices, text)).collect()
}

fn entry() -> Entry {
    let set = [
        ("item", Value::from("轮胎, 前")),
        ("quantity", Value::measured(-38_000, "件")),
        ("custom.list", Value::List(vec![Value::Null, Value::Flag(true), Value::List(vec![Value::Int(i64::MIN)])])),
    ];
    Entry {
        id: EntryId::from_bytes([1; 16]),
        document: Some(EntryId::from_bytes([2; 16]).opens()),
        after: Some(EntryId::from_bytes([3; 16])),
        kind: "stock_movement".into(),
        form: 1,
        act: "post".into(),
        set: set.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
        author: "王芳".into(),
        cause: Some(EntryId::from_bytes([4; 16])),
        occurred_at: Timestamp(1_760_000_000_000),
        mono_ms: 5,
        boot: u32::MAX,
        clock: 2,
    }
}

/// The bodies of all messages, in the order of their frame types.
fn bodies() -> [Vec<u8>; 6] {
    let (session, stream, mark) =
        (SessionId::from_bytes([5; 16]), StreamId::from_bytes([6; 16]), Mark::ZERO.extend(b"a"));
    let mut builder = Builder::new();
    let _ = builder.push(&entry().to_bytes());
    let hello = Hello {
        agent: AgentId::from_bytes([9; 16]),
        public_key: key().verifying_key().as_bytes().to_vec().into(),
        session,
        sites: Sites::Only(vec!["3702".parse().expect("a site's name")]),
        stream,
        line: Vec::new(),
        head: mark,
        stored: Mark::ZERO,
        proof: Some(vec![3, 4].into()),
        pruned: Seq(0),
        down: Some(Held { stream, head: mark, pruned: Seq(0) }),
        last_session: Some(session),
        challenge_answer: Some(vec![1, 2].into()),
        credit: 65_536,
        forms: [("survey".to_owned(), 1)].into(),
        protocols: (1, 1),
        capabilities: vec!["x".into()],
        build: "0.1.0".into(),
        t1: Timestamp(1),
    };
    let welcome = Welcome {
        session,
        hub: vec![1; 16].into(),
        public_key: vec![2; 32].into(),
        hub_epoch: 1,
        stream,
        ladder: vec![mark.extend(b"b"), mark, Mark::ZERO],
        processed: Seq(1),
        prunable: Seq(0),
        down: None,
        down_prunable: Seq(0),
        credit: 1,
        letter: Some('B'),
        challenge: None,
        protocol: 1,
        capabilities: Vec::new(),
        t1: Timestamp(1),
        t2: Timestamp(2),
        t3: Timestamp(3),
    };
    let batch = Batch {
        stream,
        parent: None,
        first_seq: Seq(1),
        count: 1,
        prev_hash: Mark::ZERO.hash,
        base: Some(Mark::ZERO),
        payload: builder.finish().into(),
    };
    let missing = vec![SeqRange { first: Seq(2), last: Seq(3) }];
    let ack = Ack {
        session,
        stream,
        stored: mark,
        processed: Seq(1),
        prunable: Seq(1),
        down_prunable: Seq(0),
        missing,
        credit: 7,
        retry_after_ms: 9,
    };
    let heartbeat = Heartbeat {
        session,
        stream,
        head: mark,
        stored: Seq(0),
        down: None,
        oldest_unsent_ms: 1,
        backlog_entries: 2,
        backlog_bytes: 3,
        disk_free: 4,
        clock_offset_ms: Some(-5),
        build: "0.1.0".into(),
    };
    let death = Death { session };
    [hello.to_body(), welcome.to_body(), batch.to_body(), ack.to_body(), heartbeat.to_body(), death.to_body()]
}

const TYPES: [FrameType; 6] =
    [FrameType::Hello, FrameType::Welcome, FrameType::Batch, FrameType::Ack, FrameType::Heartbeat, FrameType::Death];

pub(super) fn cbor() -> Vec<Vec<u8>> {
    let nested = BTreeMap::from([("a", BTreeMap::from([("b", vec![1, 2])]))]);
    let mut seeds = vec![entry().to_bytes(), codec::encode(&nested), codec::encode(&Value::measured(1, "件"))];
    seeds.push(codec::encode(&Entry { document: None, after: None, cause: None, set: BTreeMap::new(), ..entry() }));
    seeds.extend(bodies());
    seeds
}

pub(super) fn message() -> Vec<Vec<u8>> {
    (0..).zip(bodies()).map(|(kind, body)| after(&[kind], body)).collect()
}

pub(super) fn frame() -> Vec<Vec<u8>> {
    let sealed = TYPES.into_iter().zip(bodies()).map(|(kind, body)| after(&[0], frame::seal(kind, &body, &key())));
    let changed = [[0; 8], [80, 0, 0, 0, 0, 0, 0, 0]].into_iter().zip([0, 1]);
    let changed = changed.map(|(at, change)| after(&[1, 3], after(&at, after(&[change], b"stored 7"))));
    sealed.chain(changed).collect()
}

pub(super) fn batch() -> Vec<Vec<u8>> {
    let first = 1u64.to_le_bytes();
    let head = |mode: u8, count: u8| after(&[mode, count], first);
    let mut builder = Builder::new();
    let _ = builder.push(b"one") && builder.push(b"") && builder.push(&entry().to_bytes());
    vec![
        after(&head(0, 3), builder.finish()),
        after(&head(1, 3), b"\x03one\x00\x05three"),
        after(&head(1, 0), b""),
        after(&head(2, b' '), b"one two  four"),
    ]
}

pub(super) fn words() -> Vec<Vec<u8>> {
    let texts = [
        "ffffffff-ffff-8fff-bfff-000000000000",
        "waystation/v1/ffffffff-ffff-8fff-bfff-000000000000/up",
        "城东站",
        "S-01/+#",
        "2024-02-29",
        "2026-11-23T08:30:00.123+08:00",
        "America/New_York",
        "WC-3702A-2611-00042-K",
        "1M8GDM9AXKP042788",
        "part#12.price",
        "custom.colour",
    ];
    all(&123_456_789_012_345u64.to_le_bytes(), &texts)
}

/// Scripts that open a document of each kind; mutation finds the rest.
pub(super) fn documents() -> Vec<Vec<u8>> {
    let script = |kind: u8| {
        let mut bytes = vec![kind];
        for act in 0..8u8 {
            bytes.extend([2 + act % 2 * 0x40, act, 11]);
            for field in 0..11u8 {
                bytes.extend([if field == 0 { 0 } else { field * 3 + act }, 0, field]);
            }
        }
        bytes
    };
    (0..6).map(script).collect()
}

pub(super) fn forms() -> Vec<Vec<u8>> {
    let texts: [(u8, u8, &str); 18] = [
        (0, 0, "'=1+1"),
        (1, 0, "1,234,567"),
        (2, 0, "１２３４５"),
        (3, 0, "2.5 件"),
        (3, 1, r#"{"quantity":"2.5","unit":"包"}"#),
        (3, 1, r#"[2500,"件"]"#),
        (4, 0, "¥19.99"),
        (4, 0, "USD -0.50"),
        (4, 1, r#"{"amount":19.99,"currency":"CNY"}"#),
        (5, 0, "1.25"),
        (6, 0, "2026-11-23"),
        (7, 0, "2026-11-23 08:30"),
        (8, 0, "2026-11-23T23:59:59.999+08:00"),
        (9, 0, "是"),
        (9, 1, "true"),
        (10, 0, "已修复"),
        (11, 0, "ffffffff-ffff-8fff-bfff-000000000000"),
        (0, 1, r#"{"vin":"x","odometer":12000,"part#1.price":"1.99","custom.a":[1,null]}"#),
    ];
    texts.iter().map(|(ty, is_json, text)| after(&[*ty, *is_json, 0, 0, 0], text)).collect()
}

const TABLES: [&str; 7] = [
    "a,b\n1,2\n\"x, y\",\"say \"\"hi\"\"\"\n",
    "站,号\r\n城东站,1\r\n城东站,1\r\n",
    "a;b;c\r\"two\rlines\";2;3\r;;\r",
    "id\titem\n1\t6\" pipe\n\n2\t\n",
    "a,b\nx,\"y\nc,d\n\"x\"y,z\n1,2,3\n",
    "h,i,j\n\"abc,1,2\nx,\",y\",z\n",
    "a,_line,_occurrence,_key,_column,_reason,_raw\r\n1,7,2,,a,why,\r\n,8,1,#raw:x,a,why,\"1,2\"\r\n",
];

pub(super) fn rows() -> Vec<Vec<u8>> {
    let mut seeds = all(&[0, 0, 0], &TABLES);
    seeds.push(after(&[0, 3, 255], "\"abc,1,2\nx,\",y\",z\n"));
    seeds.push(after(&[0, 2, 0], b"a,b\nc,\xff\xfe\ne,f"));
    seeds
}

pub(super) fn imports() -> Vec<Vec<u8>> {
    let mut seeds = all(&[0, 0, 0], &TABLES);
    seeds.extend(all(&[3, 0, 0], &TABLES[..3]));
    seeds.push(after(&[0, 0, 0], "item,quantity,at,lot\n轮胎,2.5,2026-11-23,x\n=1,x,2026-11-23T08:30:00+08:00,\n"));
    let utf16: Vec<u8> = "\u{feff}站,号\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    seeds.push(after(&[0, 0, 0], utf16));
    // 网点,单号 in GBK.
    seeds.push(after(&[0, 3, 0], b"\xcd\xf8\xb5\xe3,\xb5\xa5\xba\xc5\n\xb3\xc7\xb6\xab\xd5\xbe,1\n\xff,2\n"));
    seeds
}

const SHEET: &str = r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1:D3"/><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>quantity</t></is></c><c r="C1" t="str"><v>at</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c><c r="B2"><f>1+1</f><v>2.5</v></c><c r="C2" s="1"><v>46349</v></c></row><row r="3"><c r="A3" t="e"><v>#N/A</v></c><c r="B3" t="b"><v>1</v></c></row></sheetData></worksheet>"#;
const TEXTS: &str = r#"<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="2" uniqueCount="2"><si><t>item</t></si><si><r><t>轮&#32974;</t></r><r><t xml:space="preserve"> 前 </t></r></si></sst>"#;

pub(super) fn workbooks() -> Vec<Vec<u8>> {
    let both = format!("{SHEET}\0{TEXTS}");
    let small =
        r#"<worksheet><sheetData><row><c t="str"><v>a</v></c></row><row><c><v>1</v></c></row></sheetData></worksheet>"#;
    vec![
        after(&[0], &both),
        after(&[1 + 2 + 8], &both),
        after(&[0], small),
        after(&[0x80], archive(both.as_bytes())),
        after(&[0x80], archive(small.as_bytes())),
    ]
}

pub(super) fn maps() -> Vec<Vec<u8>> {
    let map = r#"kind = "delivery_item"
source = "scms"
key = ["ID"]
delimiter = ";"
time_zone = "Asia/Shanghai"
site = { column = "Country", values = { "A*" = "3702" }, default = "城东站" }
state = { constant = "delivered" }
[[skip]]
column = "ID"
values = ["Total", "合计*", ""]
[fields.due_at]
column = "Due"
date = ["%d-%b-%y", "%Y-%m-%d"]
null = ["N/A*"]
[fields.class]
constant = "goods"
[fields."attempt#1.reason"]
column = "Why"
keep = true
values = { "x" = "y" }
"#;
    let stock = r#"kind = "stock_movement"
state = { column = "S", values = { "*" = "posted" } }
[fields.quantity]
column = "Q"
unit_column = "U"
decimal = ","
negate = true
[fields.unit_cost]
column = "C"
unit = "EUR"
[fields."custom.x"]
column = "Q"
"#;
    vec![
        after(&[0], format!("{map}\0Angola\n2-Jun-06\n17\nwhy")),
        after(&[0], format!("{stock}\x001.999,50\n1.234,5\ndone\n包")),
        after(&[1], "单据标识\n状态 State\n网点\nvin\n配件#12 数量\ncustom.a\0x\nworking\n3702"),
        after(&[3], "id\nstate\nitem\nquantity\nsource_key\nsource_occurrence\0\nposted\n'=1\n2.5\nk\n2"),
    ]
}

pub(super) fn store() -> Vec<Vec<u8>> {
    vec![
        after(&[0, 1], "0000019a00000000ffffffffffff8fffbfff000000000000"),
        after(&[1, 2], "F 90"),
        after(&[2, 0], "ffffffff-ffff-8fff-bfff-000000000000"),
        after(&[3, 0], r#"{"kind":"survey","set":{"form":"F","score":1},"author":"x"}"#),
    ]
}

pub(super) fn hub() -> Vec<Vec<u8>> {
    let [hello, _, batch, ack, heartbeat, death] = bodies();
    let mut seeds = vec![after(&[0], frame::seal(FrameType::Hello, &hello, &key()))];
    let known = [(0, hello.clone()), (1, batch), (2, heartbeat), (3, death), (4, ack)];
    seeds.extend(known.map(|(kind, body)| after(&[1, kind, 0], body)));
    seeds.push(after(&[1, 0, 1], hello));
    seeds.push(after(&[2, 2], "from=2026-11-01&to=2026-11-30&by=site,month&by=route"));
    seeds.push(after(&[2, 0], "kind=survey&site=3702&state=answered&q=x&cursor=17&limit=50"));
    seeds
}
