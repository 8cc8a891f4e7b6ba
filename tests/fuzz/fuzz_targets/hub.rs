//! libFuzzer on the target `hub`.

#![no_main]

waystation_fuzz::target!("hub");
