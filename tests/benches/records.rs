//! The records both sides move: ../shared/peers/records.py where it exists, else records of the same shape.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The peers' folder, where this checkout lies beside it.
pub(crate) fn peers() -> Option<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/peers");
    folder.join("records.py").exists().then_some(folder)
}

/// `count` records of about 300 B as JSON objects.
pub(crate) fn records(count: usize) -> Vec<Value> {
    if let Some(folder) = peers() {
        let output = Command::new("python3").arg(folder.join("records.py")).arg(count.to_string()).output();
        if let Some(text) = output.ok().filter(|output| output.status.success()) {
            let text = String::from_utf8_lossy(&text.stdout).into_owned();
            return text.lines().map(|line| serde_json::from_str(line).expect("records.py prints JSON")).collect();
        }
    }
    (0..count).map(own).collect()
}

fn own(index: usize) -> Value {
    let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let words = ["客户反映", "更换后", "试车正常", "建议复查", "已拍照", "待总部确认", "库存偏低", "数量核对"];
    let mut note = String::new();
    for place in 0..9 {
        note.push_str(words[(mixed >> (place * 3)) as usize % words.len()]);
    }
    let kind =
        ["count", "repair", "count", "delivery", "repair", "count", "count", "repair", "count", "delivery"][index % 10];
    serde_json::json!({"id": format!("01-{:03}-{index:09}", mixed % 40), "kind": kind, "by": "王芳",
        "at": 1_760_000_000_000_u64 + index as u64 * 45_000, "sku": format!("P{:05}", mixed % 5000), "part": "刹车片",
        "sys_qty": mixed % 200, "qty": mixed % 203, "bin": format!("A-{:02}", mixed % 60),
        "vin": format!("{:017}", mixed), "km": mixed % 200_000, "fault": "异响", "waybill": format!("SF{:012}", mixed),
        "note": note})
}

/// The records of one kind as a CSV file's text, and its map.
pub(crate) fn table(records: &[Value], kind: &str) -> (String, &'static str) {
    let (columns, map): (&[&str], &str) = match kind {
        "count" => (&["id", "at", "by", "sku", "part", "sys_qty", "qty", "bin", "note"], COUNT_MAP),
        "repair" => (&["id", "at", "by", "vin", "km", "fault", "part", "note"], REPAIR_MAP),
        _ => (&["id", "at", "by", "waybill", "sku", "qty", "note"], DELIVERY_MAP),
    };
    let mut text = columns.join(",") + "\n";
    for record in records.iter().filter(|record| record["kind"] == kind) {
        for (index, column) in columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match &record[*column] {
                Value::String(cell) => write!(text, "{comma}{cell}"),
                cell if *column == "at" => write!(text, "{comma}{}", instant(cell.as_u64().unwrap_or(0))),
                cell => write!(text, "{comma}{cell}"),
            }
            .expect("writing to text does not fail");
        }
        text.push('\n');
    }
    (text, map)
}

/// ISO 8601 in UTC, to the second.
fn instant(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let date = waystation_protocol::time::Day(i32::try_from(days).unwrap_or(0));
    format!("{date}T{:02}:{:02}:{:02}Z", rest / 3600, rest % 3600 / 60, rest % 60)
}

const COUNT_MAP: &str = r##"
kind = "count_sheet"
key = ["id"]
state = { constant = "locked" }
[fields.occurred_at]
column = "at"
[fields.counter]
column = "by"
[fields.zone]
column = "bin"
[fields."item#1.item"]
column = "sku"
[fields."item#1.lot"]
column = "part"
[fields."item#1.expected"]
column = "sys_qty"
unit = "件"
[fields."item#1.counted"]
column = "qty"
unit = "件"
[fields."item#1.location"]
column = "note"
"##;

const REPAIR_MAP: &str = r##"
kind = "repair_order"
key = ["id"]
state = { constant = "closed" }
[fields.occurred_at]
column = "at"
[fields.technician]
column = "by"
[fields.vin]
column = "vin"
[fields.odometer]
column = "km"
[fields.fault]
column = "fault"
[fields.causal_part]
column = "part"
[fields.symptom]
column = "note"
[fields.outcome]
constant = "fixed"
"##;

const DELIVERY_MAP: &str = r##"
kind = "delivery_item"
key = ["id"]
state = { constant = "delivered" }
[fields.due_at]
column = "at"
[fields.delivered_at]
column = "at"
[fields.signed_by]
column = "by"
[fields.barcode]
column = "waybill"
[fields.item]
column = "sku"
[fields.quantity]
column = "qty"
unit = "件"
[fields.reference]
column = "note"
"##;
