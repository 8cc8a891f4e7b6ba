//! Every input that fuzzing began with or found, replayed: what broke once, and what reached far.

use std::fs;
use std::path::{Path, PathBuf};

use peak_alloc::PeakAlloc;
use waystation_tests::fuzzing::{Gauge, TARGETS};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const GAUGE: Gauge = Gauge { reset: || MEMORY.reset_peak_usage(), peak: || MEMORY.peak_usage() };

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The files of a corpus, in order.
fn files(target: &str) -> Vec<PathBuf> {
    let folder = corpus(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file of the corpus").path()).collect();
    files.sort();
    files
}

/// One test for all, because the gauge counts what any thread of this process takes.
/// Proves R-CBOR-1, I7.
#[test]
fn every_input_of_every_corpus_keeps_its_promises() {
    for target in TARGETS {
        let files = files(target.name);
        assert!(!files.is_empty(), "{} has a corpus", target.name);
        for file in files {
            let input = fs::read(&file).unwrap();
            assert!(input.len() <= 16 * 1024, "{}: a corpus holds small files", file.display());
            println!("{}", file.display());
            target.run(&input, GAUGE);
        }
        target.run(b"", GAUGE);
    }
}

#[test]
#[ignore = "writes the seeds into the corpora"]
fn seeds_are_written() {
    for target in TARGETS {
        fs::create_dir_all(corpus(target.name)).unwrap();
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(corpus(target.name).join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
}
