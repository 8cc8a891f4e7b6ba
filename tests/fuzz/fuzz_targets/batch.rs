//! libFuzzer on the target `batch`.

#![no_main]

waystation_fuzz::target!("batch");
