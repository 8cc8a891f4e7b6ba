//! What every fuzz target here does with an input: checks it, and the memory that takes.

use std::panic;
use std::process;

use peak_alloc::PeakAlloc;
use waystation_tests::fuzzing::{Gauge, Target, target};

pub use libfuzzer_sys::fuzz_target;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const GAUGE: Gauge = Gauge { reset: || MEMORY.reset_peak_usage(), peak: || MEMORY.peak_usage() };

/// Makes a binary of the target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::fuzz_target!(init: $crate::tolerate_the_sheet_thread(), |data: &[u8]| $crate::check($name, data));
    };
}

/// Checks one input.
pub fn check(name: &str, data: &[u8]) {
    let target: &Target = target(name);
    target.run(data, GAUGE);
}

/// A panic ends the run, as libFuzzer's own hook has it, except on the thread that reads a workbook: the product takes
/// the end of that thread for a broken workbook.
pub fn tolerate_the_sheet_thread() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some("sheet") {
            usual(info);
            process::abort();
        }
    }));
}
