//! Golden stores: those of every released version open with this build and show the same documents, and what this build
//! writes has exactly the shape of its version.
//!
//! A change of a table, a key or a value's encoding is another `STORE_VERSION`, with a folder of its own beside the older ones; until
//! version 1 is released, `golden_stores_are_written` may write its folder anew.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use waystation_agent::store::{OpenOptions, Store};
use waystation_hub::store as hub_store;
use waystation_tests::golden_stores::{
    AGENT, HUB, agent_documents, agent_shape, fill, hub_documents, hub_options, hub_shape, options,
};

/// The version of what both stores have on their disks.
const STORE_VERSION: u8 = 1;

/// The files of a store, and what they are called here.
const FILES: [(&str, &str, &str); 4] = [
    (AGENT, "store.redb", "agent-store.redb.zst"),
    (HUB, "hub.sqlite", "hub.sqlite.zst"),
    (HUB, "hub.epoch", "hub.epoch.zst"),
    (HUB, "hub.heads", "hub.heads.zst"),
];

fn folder(version: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}/stores"))
}

/// The golden stores of a version, in a folder of their own.
fn unpacked(version: u8) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder can be made");
    for (place, file, golden) in FILES {
        fs::create_dir_all(dir.path().join(place)).expect("it can be written");
        let packed = folder(version).join(golden);
        if packed.exists() {
            let bytes = zstd::stream::decode_all(fs::read(packed).expect("a golden file is there").as_slice())
                .expect("it was packed whole");
            fs::write(dir.path().join(place).join(file), bytes).expect("the folder can be written");
        }
    }
    dir
}

fn golden(version: u8, name: &str) -> String {
    let path = folder(version).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Proves R-VER-2.
#[test]
fn the_agents_store_of_every_released_version_opens_and_shows_the_same_documents() {
    for version in 1..=STORE_VERSION {
        let dir = unpacked(version);
        let store = Store::open(&dir.path().join(AGENT), OpenOptions { random: [77; 10], ..options(9) }).unwrap();
        assert_eq!(agent_documents(&store), golden(version, "agent-documents.txt"), "version {version}");
        let counts = format!(
            "head {} stored {} drafts {} definitions {}\n",
            store.head().seq,
            store.stored().seq,
            store.drafts().unwrap().len(),
            store.definitions().unwrap().len()
        );
        assert_eq!(counts, golden(version, "agent-counts.txt"));
        assert!(store.salvage().is_none(), "nothing had to be salvaged");
        store.close();
    }
}

/// Proves R-VER-2, R-PROC-4.
#[test]
fn the_hubs_store_of_every_released_version_opens_shows_the_same_documents_and_derives_them_again() {
    for version in 1..=STORE_VERSION {
        let dir = unpacked(version);
        let store = hub_store::Store::open(&dir.path().join(HUB), hub_options()).unwrap();
        let documents = golden(version, "hub-documents.txt");
        assert_eq!(hub_documents(&store), documents, "version {version}");
        assert_eq!(store.definitions().unwrap().len(), 1);
        store.rebuild(&mut |_, _| {}).unwrap();
        assert_eq!(hub_documents(&store), documents, "version {version}, derived again");
        store.close();
    }
}

/// Proves R-VER-2.
#[test]
fn what_the_stores_hold_changes_only_with_their_version() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    for (name, shape) in shapes(dir.path()) {
        let expected = golden(STORE_VERSION, name);
        let differs = |(old, new): &(&str, &str)| old != new;
        let first = expected.lines().zip(shape.lines()).find(differs);
        assert!(shape == expected, "{name}: another shape is another version; first difference: {first:?}");
    }
}

fn shapes(dir: &Path) -> [(&'static str, String); 2] {
    [
        ("agent-store.shape", agent_shape(&dir.join(AGENT).join("store.redb"))),
        ("hub.shape", hub_shape(&dir.join(HUB).join("hub.sqlite"))),
    ]
}

#[test]
#[ignore = "writes the golden stores of the present version, before its release"]
fn golden_stores_are_written() {
    let (dir, to) = (tempfile::tempdir().unwrap(), folder(STORE_VERSION));
    fill(dir.path());
    fs::create_dir_all(&to).unwrap();
    for (place, file, golden) in FILES {
        if let Ok(bytes) = fs::read(dir.path().join(place).join(file)) {
            fs::write(to.join(golden), zstd::stream::encode_all(bytes.as_slice(), 19).unwrap()).unwrap();
        }
    }
    for (name, shape) in shapes(dir.path()) {
        fs::write(to.join(name), shape).unwrap();
    }
    let store = Store::open(&dir.path().join(AGENT), options(8)).unwrap();
    fs::write(to.join("agent-documents.txt"), agent_documents(&store)).unwrap();
    let counts = format!(
        "head {} stored {} drafts {} definitions {}\n",
        store.head().seq,
        store.stored().seq,
        store.drafts().unwrap().len(),
        store.definitions().unwrap().len()
    );
    fs::write(to.join("agent-counts.txt"), counts).unwrap();
    store.close();
    let hub = hub_store::Store::open(&dir.path().join(HUB), hub_options()).unwrap();
    fs::write(to.join("hub-documents.txt"), hub_documents(&hub)).unwrap();
    hub.close();
}
