//! What every decoder promises for any bytes, as functions of those bytes.
//!
//! libFuzzer calls them from `tests/fuzz`, and `tests/corpus.rs` replays the collected inputs in every test run. A
//! broken promise is a panic. Here is no randomness, no clock, and nothing that outlives one input but scratch folders.

pub mod documents;
pub mod forms;
pub mod hub;
pub mod imports;
mod input;
pub mod maps;
pub mod rows;
pub mod seeds;
pub mod store;
pub mod wire;
pub mod words;
pub mod workbooks;

pub use input::Input;

use waystation_protocol::limits;

/// A decoder, or several that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and its corpus's folder.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub check: fn(&[u8]),
    /// Inputs worth beginning with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes it may have in memory at once.
    pub memory_bytes: usize,
}

/// What watches the memory: only a binary can, since it chooses the allocator.
#[derive(Debug, Clone, Copy)]
pub struct Gauge {
    /// Begins anew: the peak is what is in use now.
    pub reset: fn(),
    /// The most that was in use at once since then, in bytes.
    pub peak: fn() -> usize,
}

const MIB: usize = 1024 * 1024;

/// Every target.
pub static TARGETS: &[Target] = &[
    Target { name: "cbor", check: wire::cbor, seeds: seeds::cbor, memory_bytes: 8 * limits::FRAME_BYTES },
    Target { name: "message", check: wire::message, seeds: seeds::message, memory_bytes: 8 * limits::FRAME_BYTES },
    Target { name: "frame", check: wire::frame, seeds: seeds::frame, memory_bytes: 8 * limits::FRAME_BYTES },
    Target { name: "batch", check: wire::batch, seeds: seeds::batch, memory_bytes: 8 * limits::BATCH_RAW_BYTES },
    Target { name: "words", check: words::check, seeds: seeds::words, memory_bytes: MIB },
    Target { name: "documents", check: documents::check, seeds: seeds::documents, memory_bytes: 16 * MIB },
    Target { name: "forms", check: forms::check, seeds: seeds::forms, memory_bytes: 4 * MIB },
    Target { name: "rows", check: rows::check, seeds: seeds::rows, memory_bytes: 24 * MIB },
    Target { name: "imports", check: imports::check, seeds: seeds::imports, memory_bytes: 24 * MIB },
    Target { name: "workbooks", check: workbooks::check, seeds: seeds::workbooks, memory_bytes: 48 * MIB },
    Target { name: "maps", check: maps::check, seeds: seeds::maps, memory_bytes: 16 * MIB },
    Target { name: "store", check: store::check, seeds: seeds::store, memory_bytes: 16 * MIB },
    Target { name: "hub", check: hub::check, seeds: seeds::hub, memory_bytes: 8 * limits::BATCH_RAW_BYTES },
];

/// The target of this name.
///
/// # Panics
///
/// If there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target '{name}'"))
}

impl Target {
    /// Checks one input and the memory it takes.
    ///
    /// # Panics
    ///
    /// If a promise is broken.
    pub fn run(&self, bytes: &[u8], gauge: Gauge) {
        (gauge.reset)();
        let before = (gauge.peak)();
        (self.check)(bytes);
        let used = (gauge.peak)().saturating_sub(before);
        let (name, most) = (self.name, self.memory_bytes);
        assert!(
            used <= most,
            "{name}: {used} bytes in memory at once for {} of input, {most} are allowed",
            bytes.len()
        );
    }
}
