//! libFuzzer on the target `words`.

#![no_main]

waystation_fuzz::target!("words");
