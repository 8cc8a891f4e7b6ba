//! libFuzzer on the target `message`.

#![no_main]

waystation_fuzz::target!("message");
