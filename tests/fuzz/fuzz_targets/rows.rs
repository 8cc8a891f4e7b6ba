//! libFuzzer on the target `rows`.

#![no_main]

waystation_fuzz::target!("rows");
