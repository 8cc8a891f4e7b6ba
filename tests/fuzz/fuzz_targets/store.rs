//! libFuzzer on the target `store`.

#![no_main]

waystation_fuzz::target!("store");
