//! Measurements, each beside a baseline of the same run, given as ratios. A timing decides no test.
//!
//! `tests/run --bench [--json]`. Where ../shared/peers exists, its Rust outbox runs beside ours on the same records.

mod capture;
mod drain;
mod peers;
mod records;
mod table;

use table::Table;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, folder, writers, count] = arguments.as_slice()
        && mode == "--capture-child"
    {
        capture::child(folder.as_ref(), number(writers), number(count));
        return;
    }
    let is_json = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--json"] => true,
        other => {
            eprintln!("bench: unknown arguments {other:?}; use --json or none");
            std::process::exit(2);
        }
    };
    let mut table = Table::default();
    capture::measure(&mut table);
    drain::measure(&mut table);
    peers::measure(&mut table);
    table.print();
    if is_json {
        println!("{}", table.json());
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("the bench passes numbers to itself")
}
