//! The public files: what is proposed for each, and that it imports.

use super::*;

/// A public file beside the repository, the kind it holds, and lines its map must have.
fn check_public(file: &str, kind: &str, expected: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(file);
    if !path.exists() {
        eprintln!("SKIPPED: {file} is not there");
        return;
    }
    check(&proposed(&path, None), kind, expected);
}

#[test]
fn public_repairs_are_repair_orders() {
    let all = [
        "occurred_at = { column = \"event_date\" }",
        "category = { column = \"product_category\" }",
        "brand = { column = \"brand\" }",
        "symptom = { column = \"problem\" }",
        "[fields.outcome]",
        "column = \"repair_status\"",
        "Fixed = \"fixed\"",
        "\"End of life\" = \"end_of_life\"",
        "state = { constant = \"closed\" }",
    ];
    let with = |more: &[&'static str]| [&all[..2], &all[4..], more].concat();
    let restart = ["key = [\"id\"]", "site = { column = \"group_identifier\" }", all[2], all[3]];
    check_public("repairs/ords_restart_202204.csv.gz", "repair_order", &with(&restart));
    let fault = "fault = { column = \"fault_type\" }";
    check_public("repairs/fault_dustup.csv", "repair_order", &with(&["key = [\"id_ords\"]", fault]));
    check_public("repairs/fault_mobifix.csv", "repair_order", &with(&["key = [\"id\"]", fault]));
    let year = "year = { column = \"year_of_manufacture\", null = [\"????\"] }";
    check_public("repairs/fault_printcat.csv", "repair_order", &with(&["key = [\"id_ords\"]", fault, year]));
}

#[test]
fn public_deliveries_are_delivery_items() {
    check_public(
        "deliveries/scms_first4000.csv.gz",
        "delivery_item",
        &[
            "key = [\"ID\"]",
            "site = { column = \"Country\" }",
            "state = { constant = \"delivered\" }",
            "due_at = { column = \"Scheduled Delivery Date\", date = [\"%d-%b-%y\"] }",
            "delivered_at = { column = \"Delivered to Client Date\", date = [\"%d-%b-%y\"] }",
            "occurred_at = { column = \"Delivered to Client Date\", date = [\"%d-%b-%y\"] }",
            "recorded_at = { column = \"Delivery Recorded Date\", date = [\"%d-%b-%y\"] }",
            "route = { column = \"Shipment Mode\", null = [\"N/A\"] }",
            "item = { column = \"Item Description\" }",
            "quantity = { column = \"Line Item Quantity\" }",
            "value = { column = \"Line Item Value\", unit = \"USD\" }",
        ],
    );
}

#[test]
fn public_sales_are_stock_movements() {
    check_public(
        "stock/online_retail_germany.csv.gz",
        "stock_movement",
        &[
            "key = []",
            "site = { column = \"Country\" }",
            "item = { column = \"StockCode\" }",
            "quantity = { column = \"Quantity\" }",
            "occurred_at = { column = \"InvoiceDate\", date = [\"%m/%d/%Y %H:%M\"] }",
            "source_document = { column = \"InvoiceNo\" }",
            "description = { column = \"Description\" }",
        ],
    );
}
