//! Tables as people send them, and what is proposed for each. Every proposal is read back and tried on its table.

use proptest::prelude::*;

use super::*;
use crate::import::sheet::{Sheet, is_workbook};
use crate::import::source::Source;
use crate::import::table::Table;

#[path = "suggest/public_tests.rs"]
mod public;

/// A proposal that reads back and, tried on the whole of its table, rejects nothing it does not warn of.
fn proposed(path: &Path, kind: Option<&str>) -> Suggestion {
    let suggestion = suggest(path, kind).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let map = Map::parse(&suggestion.map, path).unwrap_or_else(|error| panic!("{error}\n{}", suggestion.map));
    let kind = kind_of(&map, Some(suggestion.kind)).expect("the map is for its kind");
    let mut table = match is_workbook(path) {
        true => Table::of_sheet(Sheet::open(path, map.sheet.as_deref()).expect("a workbook"), path, &map)
            .expect("it is a table"),
        false => Table::open(Source::open(path, None).expect("a file"), path, &map).expect("it is a table"),
    };
    let sites = match map.site {
        Some(_) => Sites::All,
        None => Sites::Only(vec!["3702".parse().expect("a site")]),
    };
    let zone = jiff::tz::TimeZone::UTC;
    let columns = table.columns().to_vec();
    let mapper =
        Mapper::new(&map, kind, &columns, &sites, &zone).unwrap_or_else(|error| panic!("{error}\n{}", suggestion.map));
    for _ in 0..look::ROWS {
        let Some(record) = table.next_record().expect("the file is whole") else { break };
        let Ok(row) = record.row else { continue };
        if let Mapped::Bad(bad) = mapper.map(&row.cells, &record.dates, Identity { key: String::new(), occurrence: 1 })
        {
            let warned = suggestion.map.lines().any(|line| line.starts_with("# ! ") && line.contains("rejected"));
            assert!(warned, "{}: {}\n{}", bad.column, bad.reason, suggestion.map);
        }
    }
    suggestion
}

/// What is proposed for a table of these bytes.
fn of(name: &str, bytes: &[u8]) -> Suggestion {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("the folder can be written");
    proposed(&path, None)
}

/// Checks that the map has all these lines, whatever the blanks in them.
fn check(suggestion: &Suggestion, kind: &str, expected: &[&str]) {
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = suggestion.map.lines().map(plain).collect();
    assert_eq!(suggestion.kind, kind, "{}\n{:#?}", suggestion.map, suggestion.report);
    for wanted in expected {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} is not in\n{}", suggestion.map);
    }
}

/// Checks that neither the map nor the report holds any of these.
fn check_silent(suggestion: &Suggestion, hidden: &[&str]) {
    let all = format!("{}\n{}", suggestion.map, suggestion.report.join("\n"));
    for text in hidden {
        assert!(!all.contains(text), "{text} is in\n{all}");
    }
}

const ORDERS: &str = "\
工单号,服务网点,底盘号,车牌,行驶里程（公里）,车主姓名,联系电话,报修时间,故障描述,维修结果,状态,经手,备用\r
WX-0001,城东站,LJCPCBLCX11000237,鲁B12345,85000,王小明,13800138000,2025/3/1 8:05,漏油,修好,已交车,张伟,\r
WX-0002,城东站,1M8GDM9AXKP042788,鲁B54321,\"120,300\",李雷,13900139000,2025/3/14 17:40,异响,无法修复,已完成,张伟,\r
WX-0003,城西站,1G4AH59H45G118341,鲁U00001,无,韩梅梅,无,2025/12/31 9:00,不着车,已修复,已取消,张伟,\r
";

#[test]
fn chinese_repair_orders_in_gbk_under_other_headers() {
    let bytes = encoding_rs::GBK.encode(ORDERS).0.into_owned();
    let suggestion = of("维修单2025.csv", &bytes);
    check(
        &suggestion,
        "repair_order",
        &[
            "source = \"维修单\" # keep it for later exports of this table",
            "key = [\"工单号\"]",
            "site = { column = \"服务网点\" }",
            "[state]",
            "\"已交车\" = \"released\"",
            "\"已取消\" = \"declined\"",
            "vin = { column = \"底盘号\" }",
            "plate = { column = \"车牌\" }",
            "odometer = { column = \"行驶里程（公里）\", null = [\"无\"] }",
            "customer = { column = \"车主姓名\" }",
            "phone = { column = \"联系电话\", null = [\"无\"] }",
            "checked_in_at = { column = \"报修时间\", date = [\"%Y/%m/%d %H:%M\"] }",
            "occurred_at = { column = \"报修时间\", date = [\"%Y/%m/%d %H:%M\"] }",
            "symptom = { column = \"故障描述\" }",
            "[fields.outcome]",
            "\"无法修复\" = \"end_of_life\"",
            "# \"经手\" 1 different, not shown",
            "# \"备用\" empty",
        ],
    );
    check_silent(&suggestion, &["13800138000", "13900139000", "LJCPCBLCX11000237", "鲁B", "王小明", "张伟"]);
    assert!(suggestion.report[0].contains("gb18030, commas, a header, 13 columns; looked at 3 rows, all there are"));
}

#[test]
fn german_deliveries_with_semicolons_and_decimal_commas() {
    let text = "\
Sendungsnummer;Filiale;Empfänger;Anschrift;Liefertermin;Zugestellt am;Menge;Warenwert (EUR);Bemerkung
P-1001;Köln;Erika Muster;Hauptstr. 1;30.12.2025;31.12.2025;2,5;1.234,50;
P-1002;Köln;Max Beispiel;Nebenweg 2;31.12.2025;02.01.2026;1;12,90;Nachbar
P-1003;Bonn;Uta Probe;Am Ring 3;05.01.2026;k.A.;3,25;7,00;
";
    let suggestion = of("lieferungen.csv", text.as_bytes());
    check(
        &suggestion,
        "delivery_item",
        &[
            "site = { column = \"Filiale\" }",
            "key = [\"Sendungsnummer\"]",
            "barcode = { column = \"Sendungsnummer\" }",
            "addressee = { column = \"Empfänger\" }",
            "address = { column = \"Anschrift\" }",
            "due_at = { column = \"Liefertermin\", date = [\"%d.%m.%Y\"] }",
            "delivered_at = { column = \"Zugestellt am\", date = [\"%d.%m.%Y\"], null = [\"k.A.\"] }",
            "quantity = { column = \"Menge\", decimal = \",\" }",
            "value = { column = \"Warenwert (EUR)\", decimal = \",\", unit = \"EUR\" }",
            "state = { constant = \"delivered\" }",
        ],
    );
    check_silent(&suggestion, &["Muster", "Beispiel", "Hauptstr"]);
}

/// The header of a repairs table whose third and fourth columns are dates, and what goes where.
fn check_dates(header: &str, opened: &str, others: &[&str]) {
    let rows = (1..=9).map(|row| format!("W{row},城东站,2025-03-0{row},2025-03-1{row},漏油,已修复\n"));
    let suggestion = of("维修.csv", format!("{header}\n{}", rows.collect::<String>()).as_bytes());
    let occurred = format!("occurred_at = {{ column = \"{opened}\" }}");
    check(&suggestion, "repair_order", &[&[occurred.as_str()], others].concat());
}

#[test]
fn a_repair_happened_when_it_was_opened_not_when_it_was_done() {
    check_dates(
        "工单编号,网点名称,报修日期,完成日期,故障描述,维修结果",
        "报修日期",
        &["checked_in_at = { column = \"报修日期\" }", "released_at = { column = \"完成日期\" }"],
    );
    check_dates(
        "Order No,Store,Received date,Completed date,Problem,Repair result",
        "Received date",
        &["checked_in_at = { column = \"Received date\" }", "released_at = { column = \"Completed date\" }"],
    );
    check_dates("工单编号,网点名称,报修日期,办结日期,故障描述,维修结果", "报修日期", &[]);
    check_dates("工单编号,网点名称,报修日期,维修日期,故障描述,维修结果", "报修日期", &[]);
    check_dates("工单编号,网点名称,开单日期,完成日期,故障描述,维修结果", "开单日期", &[]);
    check_dates("Order No,Store,Date reported,Repair date,Problem,Repair result", "Date reported", &[]);
}

#[test]
fn a_ledger_whose_issues_are_positive_is_told_to_take_two_maps() {
    let told = "are both positive, and all would count as incoming: import the table by two maps, one that leaves out";
    let check_told = |out: &str, is_told: bool| {
        let text =
            format!("单号,日期,类型,物料,数量,库位\nD1,2025-03-01,入库,滤芯,10,A1\nD2,2025-03-02,出库,滤芯,{out},A1\n");
        let suggestion = of("台账.csv", text.as_bytes());
        check(&suggestion, "stock_movement", &["quantity = { column = \"数量\" }"]);
        let line = format!("# ! \"入库\" and \"出库\" {told} \"出库\" by [[skip]]");
        assert_eq!(suggestion.map.contains(&line), is_told, "{}", suggestion.map);
    };
    check_told("3", true);
    check_told("-3", false);
}

#[test]
fn american_dates_are_told_by_days_above_twelve() {
    let text = "\
Ticket #,Store,Check-In Date,Problem,Repair Status,Mileage
1,Reno,1/7/2025,noise,Repaired,1200
2,Reno,12/23/2025,leak,Not repairable,900
3,Elko,2/3/2025,leak,Repairable,N/A
";
    let suggestion = of("shop.csv", text.as_bytes());
    check(
        &suggestion,
        "repair_order",
        &[
            "key = [\"Ticket #\"]",
            "site = { column = \"Store\" }",
            "checked_in_at = { column = \"Check-In Date\", date = [\"%m/%d/%Y\"] }",
            "odometer = { column = \"Mileage\", null = [\"N/A\"] }",
            "\"Not repairable\" = \"end_of_life\"",
        ],
    );
    let unclear = of("shop.csv", text.replace("12/23", "12/3").as_bytes());
    check(
        &unclear,
        "repair_order",
        &[
            "checked_in_at = { column = \"Check-In Date\", date = [\"%d/%m/%Y\"] }",
            "# ! day or month first? all values seen read both ways; the other: date = [\"%m/%d/%Y\"]",
        ],
    );
}

#[test]
fn a_table_without_a_header_is_read_by_its_cells() {
    let text = "\
A-1\tLJCPCBLCX11000237\t2025-03-01\tFixed\t12
A-2\t1M8GDM9AXKP042788\t2025-03-02\tEnd of life\t40
A-3\t1G4AH59H45G118341\t2025-03-02\tFixed\t7
";
    let suggestion = of("bare.tsv", text.as_bytes());
    check(
        &suggestion,
        "repair_order",
        &[
            "header = false",
            "# ! key = [\"#1\"] if that is the document's own number: no value twice",
            "occurred_at = { column = \"#3\" }",
            "vin = { column = \"#2\" }",
            "outcome = { column = \"#4\", values = { Fixed = \"fixed\", \"End of life\" = \"end_of_life\" }, keep = true }",
            "# \"#5\" such as \"12\"",
        ],
    );
    assert!(suggestion.report[0].contains("tabs, no header"), "{:?}", suggestion.report);
}

#[test]
fn a_title_above_the_header_is_passed_over() {
    let table = "单号,网点,数量,配件,出库日期\nC1,城东,2,P7,2024-05-01\nC2,城东,1,P8,2024-05-02\n";
    for title in ["2024年出库明细\n", "2024年出库明细,,,,\n,,,,\n"] {
        let suggestion = of("t.csv", format!("{title}{table}").as_bytes());
        let line = 1 + title.lines().count();
        let header = format!("header = {line} # what stands above it is passed over");
        check(&suggestion, "stock_movement", &[&header, "item = { column = \"配件\" }"]);
        assert!(suggestion.report[0].contains(&format!("a header on line {line}")), "{:?}", suggestion.report);
    }
    check(&of("t.csv", table.as_bytes()), "stock_movement", &["item = { column = \"配件\" }"]);
}

#[test]
fn a_column_that_tells_rows_apart_is_offered_whatever_it_is_called() {
    let mut text = String::from("Sendungsnr.,Inhalt,Anzahl,Warenwert,Bemerkung\n");
    for number in 0..30 {
        text += &format!("S{number},Brief,{},12.50,\n", number % 3);
    }
    check(&of("t.csv", text.as_bytes()), "delivery_item", &["key = [\"Sendungsnr.\"]"]);
    let text = text.replace("Sendungsnr.", "Schlüssel");
    let offer = "# ! key = [\"Schlüssel\"] if that is the document's own number: no value twice";
    let due = "# ! no column says when it was due: none would count as on time or late";
    check(&of("t.csv", text.as_bytes()), "delivery_item", &[offer, due]);
}

#[test]
fn what_fits_no_kind_is_refused_unless_a_kind_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("climate.csv");
    std::fs::write(&path, "Sensor,Humidity,Lux\na,41,300\nb,42,310\n").unwrap();
    let refused = suggest(&path, None).unwrap_err().to_string();
    assert!(
        refused.contains("its columns fit no kind of document (Sensor, Humidity, Lux): if a title stands above"),
        "{refused}"
    );
    let asked = proposed(&path, Some("survey"));
    check(&asked, "survey", &["state = { constant = \"answered\" }", "# \"Humidity\" such as \"41\""]);
    let unknown = suggest(&path, Some("weather")).unwrap_err().to_string();
    assert!(unknown.starts_with("there is no kind 'weather'; known kinds: repair_order"), "{unknown}");
}

#[test]
fn names_of_columns_are_quoted_whatever_they_hold() {
    let names = [
        "Order \"No.\"",
        "a.b",
        "# part",
        "VIN ",
        "🚗 mileage",
        "x\"] \n[fields.y]",
        "back\\slash '''",
        "tab\tin\u{1b}[31m",
        "]]\r\nkind = \"survey\"",
        "\"\"\"",
    ];
    let quote = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let header = names.map(quote).join(",");
    let row = |number: u32| format!("{number},k,p,LJCPCBLCX11000237,5,\"y\n[fields.z]\",\"# ' \"\"\",t,u,v\n");
    let text = format!("{header}\n{}{}", row(1), row(2));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil\n[site].csv");
    std::fs::write(&path, text).unwrap();
    let suggestion = proposed(&path, Some("repair_order"));
    let map = Map::parse(&suggestion.map, &path).unwrap();
    assert_eq!(map.kind, "repair_order");
    assert!(!suggestion.map.contains('\u{1b}') && !suggestion.report.join("\n").contains('\u{1b}'));
    assert_eq!(map.key, ["Order \"No.\""]);
    assert!(map.fields.keys().all(|key| kind::repair_order::REPAIR_ORDER.field_at(key).is_some()));
    let mapped = map.fields.values().filter_map(|mapping| mapping.column.as_deref()).collect::<Vec<_>>();
    assert!(mapped.contains(&"🚗 mileage") && mapped.contains(&"VIN"), "{mapped:?}");
}

#[test]
fn states_and_choices_nobody_knows_are_named_for_a_person_to_decide() {
    let text = "\
单号,状态,维修结果,故障现象,产品类别
1,甲,已修复,漏油,泵
2,乙,可修复,漏油,泵
3,甲,返厂,漏油,阀
";
    let suggestion = of("t.csv", text.as_bytes());
    check(
        &suggestion,
        "repair_order",
        &[
            "state = { constant = \"closed\" }",
            "# ! or by column \"状态\", whose values are no states: { column = …, values = { \"甲\" = \"…\", \"乙\" = \"…\" } }",
            "# ! 1 of 3 cells are not among these and would be rejected, unless values lists them: \"返厂\"; \
             its choices are fixed, repairable, end_of_life, unknown",
        ],
    );
}

#[test]
fn a_cell_that_does_not_read_is_told_of() {
    let mut text = String::from("StockCode,Quantity,Location,InvoiceDate,CustomerID\n");
    for row in 1..=40 {
        text.push_str(&format!(
            "A{row},{},R1,2025-01-{:02},7{row}\n",
            if row == 9 { "12x3" } else { "5" },
            row % 28 + 1
        ));
    }
    let suggestion = of("moves.csv", text.as_bytes());
    let told = "# ! 1 of 40 cells do not read and would be rejected, unless null lists them: \"12x3\"";
    check(
        &suggestion,
        "stock_movement",
        &[told, "quantity = { column = \"Quantity\" }", "item = { column = \"StockCode\" }"],
    );
}

#[test]
fn a_document_of_several_rows_is_told_apart_by_its_lines() {
    let text =
        "单据号,行号,物料编码,数量,库位,日期\nD1,1,A,5,R1,2025-01-01\nD1,2,B,5,R1,2025-01-01\nD2,1,A,5,R1,2025-01-02\n";
    let suggestion = of("lines.csv", text.as_bytes());
    check(&suggestion, "stock_movement", &["key = [\"单据号\", \"行号\"]", "occurred_at = { column = \"日期\" }"]);
}

#[test]
fn outlets_that_number_from_one_are_told_apart_by_site() {
    let text =
        "工单编号,网点名称,车架号,故障描述\n1,城东站,x,漏油\n2,城东站,y,漏油\n1,城西站,z,异响\n2,城西站,u,异响\n";
    check(&of("t.csv", text.as_bytes()), "repair_order", &["key = [\"网点名称\", \"工单编号\"]"]);
    let text = "门店,单据号,行号,物料编码,数量,库位\nE,D1,1,A,5,R1\nE,D1,2,B,5,R1\nW,D1,1,A,5,R1\n";
    check(&of("t.csv", text.as_bytes()), "stock_movement", &["key = [\"门店\", \"单据号\", \"行号\"]"]);
}

#[test]
fn a_header_alone_and_rows_that_cannot_be_split_are_no_obstacle() {
    let alone = of("empty.csv", "工单号,车架号,车牌,里程\n".as_bytes());
    check(&alone, "repair_order", &["vin = { column = \"车架号\" }", "key = []"]);
    let torn = of("torn.csv", "工单号,车架号,车牌,里程\n1,x,y,5\n2,x\n3,x,y,6\n".as_bytes());
    assert!(torn.report.iter().any(|line| line.contains("1 of 3 rows do not have as many cells")), "{:?}", torn.report);
}

#[test]
fn only_the_beginning_of_a_file_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.csv");
    let mut text = String::from("工单号,车架号,车牌,里程\n");
    (0..5000).for_each(|row| text.push_str(&format!("{row},x,y,5\n")));
    std::fs::write(&path, text).unwrap();
    let suggestion = proposed(&path, None);
    assert!(suggestion.report[0].ends_with("looked at 1000 rows"), "{:?}", suggestion.report);
    std::fs::write(&path, "x,".repeat(100_000)).unwrap();
    assert!(matches!(suggest(&path, None), Err(SuggestError::NoLines(_))));
}

#[test]
fn plates_are_known_without_a_name_and_people_are_not_shown() {
    let text = "\
张伟\t13800138000\t鲁B12345\t2025-01-01\tFixed
李雷\t13900138000\t鲁B12346\t2025-01-02\tFixed
王小\t13700138000\t鲁B12347\t2025-01-02\tRepairable
";
    let suggestion = of("bare.tsv", text.as_bytes());
    check(&suggestion, "repair_order", &["plate = { column = \"#3\" }", "# \"#2\" 3 different, not shown"]);
    check_silent(&suggestion, &["张伟", "138001", "鲁B"]);
}

#[test]
fn a_first_row_of_another_width_is_the_header_all_the_same() {
    let suggestion = of("wide.csv", "工单号,车架号,车牌,里程\n1,x,y,85,000\n2,x,y,90,000\n3,x,y,5,000\n".as_bytes());
    check(&suggestion, "repair_order", &["plate = { column = \"车牌\" }"]);
    assert!(suggestion.report.iter().any(|line| line.contains("3 of 3 rows do not have as many cells as the header")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a table holds, what is proposed for it reads back, or there is a reason why nothing is.
    #[test]
    fn no_table_makes_an_unsound_map(
        names in prop::collection::vec(
            prop_oneof!["\\PC{0,8}", "[\\x00-\\x7f]{1,6}", "VIN|Status|状态|数量|Site|due date|outcome|单价|工单号|date"], 1..8),
        cells in prop::collection::vec(
            prop_oneof!["\\PC{0,8}", "[\\x01-\\x7f]{0,6}", "Fixed|delivered|1,5|12/1/2025|2025-01-31|N/A|13.1.25|closed|0"], 0..60),
        kind in 0..kind::KINDS.len(),
    ) {
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(&names).expect("memory takes all");
        for row in cells.chunks_exact(names.len()) {
            table.write_record(row).expect("memory takes all");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.csv");
        std::fs::write(&path, table.into_inner().expect("memory takes all")).expect("the folder can be written");
        match suggest(&path, Some(kind::KINDS[kind].name)) {
            Ok(_) => { proposed(&path, Some(kind::KINDS[kind].name)); }
            Err(error) => prop_assert!(!matches!(error, SuggestError::Unsound { .. }), "{error}"),
        }
    }
}

#[test]
fn latin_text_totals_and_fees_are_told_for_what_they_are() {
    let text = "\
Beleg;Artikel;Menge;Datum;Lager;Bezeichnung
B1;A-1;2,5;31.12.2025;Süd;Tür
B2;A-2;1,5;30.12.2025;Süd;Öl
;;;;;
Summe:;;4,0;;;
";
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).expect("a Latin-1 text")).collect();
    let suggestion = of("bestand.csv", &latin);
    let expected = [
        "encoding = \"latin-1\"",
        "[[skip]] # totals are no documents",
        "values = [\"Summe:\"]",
        "quantity = { column = \"Menge\", decimal = \",\" }",
    ];
    check(&suggestion, "stock_movement", &expected);

    let fees = "工单号,车架号,故障描述,工时费,应送达\nR1,LJCPCBLCX11000237,漏油,350.00,\nR2,,异响,120.00,\n合计,,,470.00,\n,,,,\n";
    let suggestion = of("维修.csv", fees.as_bytes());
    assert!(!suggestion.map.contains("labour#1.hours"), "{}", suggestion.map);
    assert!(suggestion.map.contains("key = [\"工单号\"]"), "a blank row is no row: {}", suggestion.map);
    assert!(suggestion.map.contains("values = [\"合计\"]"), "{}", suggestion.map);
}

#[test]
fn a_workbook_is_looked_at_like_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("库存.xlsx");
    let mut book = rust_xlsxwriter::Workbook::new();
    let cover = book.add_worksheet().set_name("说明").expect("a name");
    cover.write(0, 0, "本表由系统导出").expect("a cell");
    let sheet = book.add_worksheet().set_name("出入库").expect("a name");
    for (column, header) in (0u16..).zip(["单据号", "料号", "数量", "日期", "门店"]) {
        sheet.write(0, column, header).expect("a cell");
    }
    let day = rust_xlsxwriter::ExcelDateTime::from_ymd(2026, 11, 2).expect("a day");
    let format = rust_xlsxwriter::Format::new().set_num_format("yyyy/m/d");
    for row in 1..=20u32 {
        sheet.write(row, 0, format!("D{row}")).expect("a cell");
        sheet.write(row, 1, "P-7").expect("a cell");
        sheet.write(row, 2, f64::from(row) / 4.0).expect("a cell");
        sheet.write_with_format(row, 3, &day, &format).expect("a cell");
        sheet.write(row, 4, "城东站").expect("a cell");
    }
    book.save(&path).expect("room");
    let suggestion = proposed(&path, None);
    let expected = [
        "sheet = \"出入库\"",
        "key = [\"单据号\"]",
        "site = { column = \"门店\" }",
        "item = { column = \"料号\" }",
        "quantity = { column = \"数量\" }",
    ];
    check(&suggestion, "stock_movement", &expected);
    assert!(suggestion.report[0].contains("sheet \"出入库\", not \"说明\""), "{:?}", suggestion.report);
}
