//! Faults: a disk that fails to sync, a full disk, a cache or a journal that is not what was written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableTable, StorageBackend};

use super::outlet::{Outlet, at, movement, survey};
use super::*;
use crate::store::tables::{DOCUMENTS, META};

/// A file whose syncs are counted and can be made to fail.
#[derive(Debug)]
struct FaultyFile {
    file: FileBackend,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    fails_to_sync: AtomicBool,
    syncs: AtomicU64,
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::Relaxed);
        if self.faults.fails_to_sync.load(Ordering::Relaxed) {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }
}

fn opener(faults: &Arc<Faults>) -> Opener {
    let faults = Arc::clone(faults);
    Arc::new(move |path: &Path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = FileBackend::new(file)?;
        Builder::new().create_with_backend(FaultyFile { file, faults: Arc::clone(&faults) })
    })
}

fn open_faulty(outlet: &Outlet, faults: &Arc<Faults>) -> Store {
    Store::open_with(&outlet.dir, outlet.options(), opener(faults)).unwrap()
}

#[test]
fn a_capture_costs_one_sync() {
    let outlet = Outlet::new();
    let faults = Arc::new(Faults::default());
    let store = open_faulty(&outlet, &faults);
    store.capture(survey("x"), at(0)).unwrap();
    let before = faults.syncs.load(Ordering::Relaxed);
    for index in 0..900 {
        store.capture(survey("x"), at(index)).unwrap();
    }
    let syncs = faults.syncs.load(Ordering::Relaxed) - before;
    assert!((900..=908).contains(&syncs), "{syncs} syncs for 900 captures, a few of which let the file grow");
}

/// Proves I1.
#[test]
fn a_failed_sync_confirms_nothing_and_the_next_capture_goes_on() {
    let outlet = Outlet::new();
    let faults = Arc::new(Faults::default());
    let store = open_faulty(&outlet, &faults);
    let first = store.capture(survey("1"), at(1)).unwrap();
    faults.fails_to_sync.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert!(matches!(store.capture(survey("2"), at(2)), Err(CaptureError::Failed(_))));
    }
    faults.fails_to_sync.store(false, Ordering::Relaxed);
    let last = store.capture(survey("3"), at(3)).unwrap();
    assert_ne!(first.document.number(), last.document.number());
    store.close();
    let store = outlet.open();
    for receipt in [first, last] {
        assert_eq!(store.document(receipt.document.id).unwrap(), Some(receipt.document));
    }
}

#[test]
fn a_store_that_could_not_be_reopened_opens_without_a_new_capture() {
    let outlet = Outlet::new();
    let faults = Arc::new(Faults::default());
    let store = Store::open_in_place(&outlet.dir, outlet.options(), opener(&faults)).unwrap();
    let first = store.capture(survey("1"), at(1)).unwrap();
    faults.fails_to_sync.store(true, Ordering::Relaxed);
    assert!(store.capture(survey("2"), at(2)).is_err());
    store.pause_in_place();
    assert!(matches!(store.documents(&Filter::default()), Err(StoreError::Closed)));
    faults.fails_to_sync.store(false, Ordering::Relaxed);
    store.pause_in_place();
    assert_eq!(store.document(first.document.id).unwrap(), Some(first.document));
}

#[test]
fn a_cache_that_is_lost_or_damaged_is_rebuilt_from_the_journal() {
    type Damage = fn(&redb::WriteTransaction);
    let damages: [(&str, Damage); 3] = [
        ("no documents table", |write| {
            write.delete_table(DOCUMENTS).unwrap();
        }),
        ("a watermark of another form", |write| {
            write.open_table(META).unwrap().insert("cache", &b"\x00"[..]).unwrap();
        }),
        ("a damaged document", |write| {
            let mut documents = write.open_table(DOCUMENTS).unwrap();
            let id = *documents.first().unwrap().unwrap().0.value();
            documents.insert(&id, &b"\x00\x00\x00\x09"[..]).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let outlet = Outlet::new();
        let store = outlet.open();
        let run = store.capture(outlet::run("1"), at(1)).unwrap().document.id;
        store.capture(movement("滤芯", 2_000), at(1)).unwrap();
        store.close();
        let store = outlet.open();
        let add = outlet::wish(Some(run), "", "add", &[("vehicle", Value::from("鲁A"))]);
        let document = store.capture(add, at(2)).unwrap().document;
        let copy = outlet.copy();
        {
            let database = Database::open(copy.dir.join("store.redb")).unwrap();
            let write = database.begin_write().unwrap();
            damage(&write);
            write.commit().unwrap();
        }
        let store = copy.open();
        assert_eq!(store.document(run).unwrap(), Some(document), "{name}");
        assert_eq!(store.documents(&Filter::default()).unwrap().items.len(), 2, "{name}");
        let sheet = store.capture(outlet::count("滤芯"), at(3)).unwrap().document;
        assert_eq!(sheet.fields["item#1.expected"], Value::measured(2_000, "件"), "{name}");
    }
}

/// Runs `check` in a file system of 8 MB; only says so where none may be mounted.
fn on_a_small_disk(check: impl FnOnce(&Path) + std::panic::UnwindSafe) {
    let folder = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no right to mount a small file system");
        return;
    }
    let checked = std::panic::catch_unwind(|| check(folder.path()));
    std::process::Command::new("umount").arg("-l").arg(folder.path()).status().unwrap();
    if let Err(panic) = checked {
        std::panic::resume_unwind(panic);
    }
}

fn open_at(dir: &Path) -> Store {
    Store::open(dir, OpenOptions { reserve_bytes: 1 << 20, ..Outlet::new().options() }).unwrap()
}

fn check_all(store: &Store, confirmed: &[Document]) {
    for document in confirmed {
        assert_eq!(store.document(document.id).unwrap().as_ref(), Some(document));
    }
}

/// Takes every free byte of the disk. Removing the file gives them back.
fn take_the_rest(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4_096]).is_ok() {}
}

#[test]
fn a_full_disk_refuses_aloud_and_loses_nothing() {
    on_a_small_disk(|root| {
        let (dir, rest) = (root.join("data"), root.join("rest"));
        let store = open_at(&dir);
        let mut confirmed = Vec::new();
        let refused = loop {
            match store.capture(survey(&"满".repeat(300)), at(confirmed.len() as i64)) {
                Ok(receipt) => confirmed.push(receipt.document),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, CaptureError::DiskFull), "{refused:?}");
        assert!(store.is_short_of_room() && confirmed.len() > 500, "{} captures", confirmed.len());
        check_all(&store, &confirmed);
        store.record_stored(store.head(), Seq(0), Seq(0)).unwrap();
        store.close();
        take_the_rest(&rest);
        let _ = std::fs::remove_file(dir.join("reserve"));
        take_the_rest(&root.join("more"));
        let store = open_at(&dir);
        check_all(&store, &confirmed);
        // Opening may have given a few pages of the file back.
        take_the_rest(&root.join("again"));
        let refused = loop {
            match store.capture(survey(&"再".repeat(300)), at(1)) {
                Ok(receipt) => confirmed.push(receipt.document),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, CaptureError::DiskFull), "{refused:?}");
        std::fs::remove_file(root.join("again")).unwrap();
        std::fs::remove_file(&rest).unwrap();
        std::fs::remove_file(root.join("more")).unwrap();
        store.close();
        check_all(&open_at(&dir), &confirmed);
    });
}

#[test]
fn on_a_full_disk_prunable_entries_go_first_and_captures_go_on() {
    on_a_small_disk(|root| {
        let store = open_at(&root.join("data"));
        let mut confirmed = Vec::new();
        while let Ok(receipt) = store.capture(survey(&"满".repeat(300)), at(confirmed.len() as i64)) {
            confirmed.push(receipt.document);
        }
        assert!(store.is_short_of_room());
        let head = store.head();
        store.record_stored(head, head.seq, head.seq).unwrap();
        for _ in 0..20 {
            store.rest();
        }
        assert_eq!((store.pruned(), store.counts().pruned), (head.seq, head.seq.0));
        assert!(!store.is_short_of_room(), "{} bytes free", store.disk_free().unwrap());
        confirmed.push(store.capture(survey("再"), at(9_999)).unwrap().document);
        check_all(&store, &confirmed);
        store.close();
        check_all(&open_at(&root.join("data")), &confirmed);
    });
}

#[test]
fn a_disk_that_fills_up_between_two_looks_is_noticed_by_the_commit() {
    on_a_small_disk(|root| {
        let (dir, rest) = (root.join("data"), root.join("rest"));
        let store = open_at(&dir);
        let first = store.capture(survey("1"), at(1)).unwrap().document;
        take_the_rest(&rest);
        let row = |key: u32| ImportRow {
            kind: "survey".into(),
            site: "3702".into(),
            state: "answered".into(),
            set: survey(&"满".repeat(300)).set,
            source: String::new(),
            key: key.to_string(),
            occurrence: 1,
            author: "import".into(),
        };
        let rows: Vec<ImportRow> = (0..2_000).map(row).collect();
        let refused = store.capture_import(rows.clone(), at(2));
        assert!(matches!(refused, Err(CaptureError::DiskFull)), "{refused:?}");
        assert!(!dir.join("reserve").exists(), "the reserve is given up");
        let again = store.capture(survey("2"), at(2));
        assert!(matches!(again, Err(CaptureError::DiskFull)), "the reserve is not for captures: {again:?}");
        assert!(store.is_short_of_room(), "and that is told");
        check_all(&store, std::slice::from_ref(&first));
        store.record_stored(store.head(), Seq(0), Seq(0)).unwrap();
        std::fs::remove_file(&rest).unwrap();
        let outcomes = store.capture_import(rows, at(3)).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, ImportOutcome::Captured(_))));
    });
}
