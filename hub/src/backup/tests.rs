//! Backups of a hub that real frames filled, and what becomes of it when an older one is put in place.

use std::path::{Path, PathBuf};

use waystation_protocol::chain::Seq;
use waystation_protocol::time::Timestamp;

use super::manifest::{MANIFEST, SUMS, write_sums};
use super::*;
use crate::keys;
use crate::store::fixture::{Agent, Hub, START};
use crate::store::{Cause, Options, RETENTION_MS, RestoreReport, Retention, open_reader};

/// 2026-09-21T14:13:20Z.
const TAKEN: Timestamp = START;

fn quiet() -> impl FnMut(Step, u64, u64) {
    |_, _, _| {}
}

/// An agent with as many surveys in its journal.
fn agent(n: u8, site: &str, surveys: i64) -> Agent {
    let mut agent = Agent::new(n, &[site]);
    more(&mut agent, surveys);
    agent
}

fn more(agent: &mut Agent, surveys: i64) {
    for score in 0..surveys {
        agent.survey(score % 100);
    }
}

fn hub_with(agents: &[&Agent]) -> Hub {
    let mut hub = Hub::open();
    keys::load_or_create(hub.dir.path(), [5; 32]).unwrap();
    for agent in agents {
        hub.take_all(agent);
    }
    hub
}

fn back_up(hub: &Hub, target: &Path, now: Timestamp) -> Taken {
    let taken = take(hub.dir.path(), target, now, &mut quiet()).unwrap();
    register(&hub.store, &taken, now).unwrap();
    taken
}

fn prunable(hub: &Hub) -> Vec<u64> {
    hub.store.agents().unwrap().iter().map(|row| row.prunable_seq.0).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_is_whole_private_and_never_overwritten() {
    let (east, west) = (agent(1, "城东", 5), agent(2, "城西", 3));
    let (hub, target) = (hub_with(&[&east, &west]), tempfile::tempdir().unwrap());
    let target = target.path().join("backups");
    let first = back_up(&hub, &target, TAKEN);
    assert_eq!(names(&target), ["2026-09-21T1413Z"]);
    assert_eq!(names(&first.folder), [SUMS, "hub.key", "hub.sqlite", MANIFEST]);
    let marks: Vec<(u64, String)> =
        first.manifest.journals.iter().map(|journal| (journal.stored_seq, journal.stored_hash.clone())).collect();
    assert_eq!(marks, [(5, east.head().hash.to_string()), (3, west.head().hash.to_string())]);
    let manifest = &first.manifest;
    assert_eq!((manifest.entries, manifest.documents, manifest.agents, manifest.epoch), (8, 8, 2, 1));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&target), mode(&first.folder)), (0o700, 0o700));
        for name in names(&first.folder) {
            assert_eq!(mode(&first.folder.join(&name)), 0o600, "{name}");
        }
    }
    std::fs::create_dir(target.join("2026-09-21T1413Z-2.unfinished")).unwrap();
    let second = back_up(&hub, &target, TAKEN);
    assert_eq!(second.folder, target.join("2026-09-21T1413Z-3"), "a cut-off backup keeps its name");
    assert_eq!(second.leftovers, [target.join("2026-09-21T1413Z-2.unfinished")]);
    assert_eq!(check(&first.folder, &mut quiet()).unwrap(), first.manifest);
}

#[test]
fn damage_of_any_file_is_found_and_nothing_is_put_in_place() {
    let (hub, target) = (hub_with(&[&agent(1, "城东", 40)]), tempfile::tempdir().unwrap());
    let taken = back_up(&hub, target.path(), TAKEN);
    let data = target.path().join("data");
    for name in names(&taken.folder) {
        let path = taken.folder.join(&name);
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        for at in [0, length / 3, length / 2, length - 1] {
            flip(&path, at);
            let error = restore(&taken.folder, &data, false, TAKEN, &mut quiet()).unwrap_err();
            assert!(
                matches!(error, BackupError::Damaged { .. } | BackupError::NotABackup { .. }),
                "{name} {at}: {error}"
            );
            assert_eq!(names(&data), ["hub.lock"], "{name} {at}");
            flip(&path, at);
        }
        let aside = target.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        let error = check(&taken.folder, &mut quiet()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("is no backup: it has no {name}")), "{error}");
        std::fs::rename(&aside, &path).unwrap();
    }
    check(&taken.folder, &mut quiet()).unwrap();
}

#[test]
fn a_chain_that_does_not_hold_is_found_even_where_every_digest_fits() {
    let (hub, target) = (hub_with(&[&agent(1, "城东", 9)]), tempfile::tempdir().unwrap());
    for (sql, expected) in [
        ("UPDATE raw SET payload = zeroblob(length(payload))", "does not unpack"),
        ("UPDATE stream SET stored_seq = 8", "its batches end at seq 9, not at its stored mark 8"),
        ("DELETE FROM raw", "its batches end at seq 0, not at its stored mark 9"),
        ("UPDATE raw SET last_hash = zeroblob(32)", "does not match its mark"),
    ] {
        let taken = take(hub.dir.path(), target.path(), TAKEN, &mut quiet()).unwrap();
        let conn = rusqlite::Connection::open(taken.folder.join(DATABASE)).unwrap();
        conn.execute(sql, []).unwrap();
        conn.close().unwrap();
        let forged = Manifest::of(&taken.folder, TAKEN, &mut quiet()).unwrap();
        forged.write(&taken.folder).unwrap();
        write_sums(&taken.folder, &forged).unwrap();
        let error = check(&taken.folder, &mut quiet()).unwrap_err().to_string();
        assert!(error.contains("journal 01010101") && error.contains(expected), "{sql}: {error}");
    }
}

#[test]
fn a_hub_that_is_damaged_itself_gets_no_backup_and_leaves_nothing_behind() {
    let (hub, target) = (hub_with(&[&agent(1, "城东", 9)]), tempfile::tempdir().unwrap());
    let other = rusqlite::Connection::open(hub.dir.path().join(DATABASE)).unwrap();
    other.execute("UPDATE raw SET payload = zeroblob(length(payload))", []).unwrap();
    let error = take(hub.dir.path(), target.path(), TAKEN, &mut quiet()).unwrap_err().to_string();
    assert!(error.contains("is damaged: journal"), "{error}");
    assert_eq!(names(target.path()), Vec::<String>::new());
    assert_eq!(hub.number("SELECT count(*) FROM backup"), 0);
    let error = take(target.path(), target.path(), TAKEN, &mut quiet()).unwrap_err().to_string();
    assert!(error.ends_with("holds no hub: name its folder with --data"), "{error}");
}

/// Proves R-PRUNE-2.
#[test]
fn nothing_beyond_the_newest_checked_backup_becomes_prunable() {
    let mut agent = agent(1, "3702", 2);
    let (mut hub, target) = (hub_with(&[&agent]), tempfile::tempdir().unwrap());
    let first = take(hub.dir.path(), target.path(), TAKEN, &mut quiet()).unwrap();
    more(&mut agent, 2);
    hub.take_all(&agent);
    register(&hub.store, &first, TAKEN).unwrap();
    let beat = |hub: &mut Hub| {
        let said = agent.heartbeat(4);
        hub.send(&agent, &said);
        hub.barrier();
        prunable(hub)[0]
    };
    assert_eq!(beat(&mut hub), 0, "in the backup, but younger than the retention period");
    hub.now = Timestamp(START.0 + 2 * RETENTION_MS);
    assert_eq!(beat(&mut hub), 2, "old enough, but only the first batch is in the backup");
    assert_eq!(beat(&mut hub), 2);
    back_up(&hub, target.path(), Timestamp(TAKEN.0 + 60_000));
    assert_eq!(beat(&mut hub), 4);
    // one that was taken earlier and is told later takes nothing back
    register(&hub.store, &first, TAKEN).unwrap();
    let conn = open_reader(hub.dir.path()).unwrap();
    let ceiling = |needs_backup| crate::store::ceiling(&conn, 1, Retention { ms: 0, needs_backup }).unwrap();
    assert_eq!((ceiling(false), ceiling(true)), (Seq(4), Seq(4)));
}

#[test]
fn before_a_first_backup_retention_decides_unless_a_backup_is_required() {
    let hub = hub_with(&[&agent(1, "3702", 2)]);
    let conn = open_reader(hub.dir.path()).unwrap();
    let ceiling = |needs_backup| crate::store::ceiling(&conn, 1, Retention { ms: 0, needs_backup }).unwrap();
    assert_eq!((ceiling(false), ceiling(true)), (Seq(u64::MAX), Seq(0)));
}

#[test]
fn a_restore_refuses_a_running_hub_and_one_it_was_not_told_to_replace() {
    let (hub, target) = (hub_with(&[&agent(1, "3702", 2)]), tempfile::tempdir().unwrap());
    let taken = back_up(&hub, target.path(), TAKEN);
    let data = hub.dir.path().to_owned();
    let refusal =
        |is_replacing| restore(&taken.folder, &data, is_replacing, TAKEN, &mut quiet()).unwrap_err().to_string();
    assert!(refusal(true).ends_with("is in use by another hub"), "{}", refusal(true));
    hub.store.close();
    assert!(refusal(false).contains("already holds a hub; with --replace"), "{}", refusal(false));
    let restored = restore(&taken.folder, &data, true, TAKEN, &mut quiet()).unwrap();
    assert_eq!(restored.newer, Vec::<PathBuf>::new());
    let kept = restored.kept.unwrap();
    assert_eq!(kept, data.join("replaced-2026-09-21T1413Z"));
    assert!(names(&kept).contains(&"hub.sqlite".to_owned()), "{:?}", names(&kept));
    let unfinished = target.path().join("2026-09-21T1413Z-9.unfinished");
    std::fs::rename(&taken.folder, &unfinished).unwrap();
    let error = restore(&unfinished, &data, true, TAKEN, &mut quiet()).unwrap_err().to_string();
    assert!(error.ends_with("is no backup: it was not finished"), "{error}");
}

#[test]
fn a_restore_names_the_later_backups_beside_it() {
    let mut agent = agent(1, "3702", 2);
    let (mut hub, target) = (hub_with(&[&agent]), tempfile::tempdir().unwrap());
    let folders: Vec<PathBuf> = (0..3)
        .map(|day| {
            more(&mut agent, 1);
            hub.take_all(&agent);
            back_up(&hub, target.path(), Timestamp(TAKEN.0 + day * 86_400_000)).folder
        })
        .collect();
    hub.store.close();
    for (index, folder) in folders.iter().enumerate() {
        let restored = restore(folder, hub.dir.path(), true, TAKEN, &mut quiet()).unwrap();
        let newer: Vec<PathBuf> = folders[index + 1..].iter().rev().cloned().collect();
        assert_eq!(restored.newer, newer);
    }
}

#[test]
fn a_restore_cut_off_half_way_is_finished_by_the_next() {
    let agent = agent(1, "3702", 4);
    let (hub, target) = (hub_with(&[&agent]), tempfile::tempdir().unwrap());
    let taken = back_up(&hub, target.path(), TAKEN);
    hub.store.close();
    let data = hub.dir.path();
    // as a power cut leaves it after the key changed places: everything staged, the rest still to be moved
    let elsewhere = target.path().join("elsewhere");
    restore(&taken.folder, &elsewhere, false, TAKEN, &mut quiet()).unwrap();
    std::fs::create_dir(data.join("restore.ready")).unwrap();
    for name in ["hub.epoch", "hub.sqlite"] {
        std::fs::rename(elsewhere.join(name), data.join("restore.ready").join(name)).unwrap();
    }
    let refused = Store::open(data, Options::new([7; 16])).unwrap_err();
    assert!(refused.to_string().contains("was cut off; run the same `restore` again"), "{refused}");
    let finished = restore(&taken.folder, data, false, TAKEN, &mut quiet()).unwrap();
    assert_eq!((finished.manifest, finished.epoch), (None, 2));
    let hub = Hub::open_in(hub.dir, TAKEN);
    assert_eq!((hub.store.identity().epoch, hub.stored(&agent)), (2, Seq(4)));
}

/// How an older backup comes to be in place.
type PutBack = fn(&Path, &Path);

fn by_the_tool(folder: &Path, data: &Path) {
    restore(folder, data, true, TAKEN, &mut quiet()).unwrap();
}

fn by_hand(folder: &Path, data: &Path) {
    for name in ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm"] {
        // the log may be gone already
        let _ = std::fs::remove_file(data.join(name));
    }
    std::fs::copy(folder.join(DATABASE), data.join(DATABASE)).unwrap();
}

fn report(hub: &Hub) -> RestoreReport {
    hub.store.restore_report().unwrap().unwrap()
}

/// Each journal: site's agent, had, came back, missing, lost.
fn rows(report: &RestoreReport) -> Vec<String> {
    let released = report.is_released();
    let mut rows: Vec<String> = report
        .streams
        .iter()
        .map(|stream| {
            let range = |range: Option<waystation_protocol::chain::SeqRange>| {
                range.map_or("-".to_owned(), |range| format!("{}..{}", range.first, range.last))
            };
            let (missing, lost) = (range(stream.missing(released)), range(stream.lost(released).first().copied()));
            format!("{} had {} back {} missing {missing} lost {lost}", stream.agent, stream.had, stream.came_back())
        })
        .map(|row| row[26..].trim_start_matches('0').to_owned())
        .collect();
    rows.sort();
    rows
}

fn goes_back(put_back: PutBack, cause: Cause) {
    let (mut east, mut west) = (agent(1, "城东", 3), agent(2, "城西", 3));
    let (hub, target) = (hub_with(&[&east, &west]), tempfile::tempdir().unwrap());
    let taken = back_up(&hub, target.path(), TAKEN);
    let mut hub = hub;
    more(&mut east, 2);
    more(&mut west, 1);
    let mut north = agent(3, "城北", 2);
    for agent in [&east, &west, &north] {
        hub.take_all(agent);
    }
    hub.store.close();
    put_back(&taken.folder, hub.dir.path());
    let mut hub = Hub::open_in(hub.dir, Timestamp(START.0 + 2 * RETENTION_MS));
    assert_eq!(hub.store.identity().epoch, 2);
    let told = report(&hub);
    assert_eq!((told.cause, told.epoch, told.is_open(), told.agents.len()), (cause, 2, true, 3));
    let missing: Vec<(u64, u64)> = told.streams.iter().map(|stream| (stream.stored.0, stream.had.0)).collect();
    assert_eq!(missing, [(3, 5), (3, 4), (0, 2)]);

    // 城东 comes back with everything and more, 城北 with a head of its own making, 城西 never
    more(&mut east, 1);
    hub.send(&east, &east.hello_knowing(5));
    hub.send(&east, &east.batch(4, 6));
    more(&mut north, 1);
    hub.send(&north, &north.hello_knowing(2));
    hub.send(&north, &north.batch(1, 3));
    hub.wait("both are back", |hub| hub.store.totals().unwrap().processed == 6 + 3 + 3);
    let beat = |hub: &mut Hub| {
        hub.send(&east, &east.heartbeat(6));
        hub.barrier();
        prunable(hub)
    };
    assert_eq!(beat(&mut hub), [0, 0, 0], "the marks are frozen while one is awaited");
    let told = report(&hub);
    let of = |agent: &Agent| {
        let stream = told.streams.iter().find(|stream| stream.agent == agent.id).unwrap();
        (stream.came_back(), stream.missing(false).map(|range| (range.first.0, range.last.0)))
    };
    assert_eq!([of(&east), of(&west), of(&north)], [(2, None), (0, Some((4, 4))), (2, None)]);
    assert_eq!(told.agents.iter().filter(|agent| agent.greeted_at.is_none()).count(), 1);

    hub.store.release_restore("王芳", "the outlet burnt down", hub.now).unwrap();
    assert!(hub.store.release_restore("王芳", "again", hub.now).is_err());
    let told = report(&hub);
    assert!(told.is_released() && !told.is_open() && !told.is_whole());
    let lost: Vec<_> = told.streams.iter().flat_map(|stream| stream.lost(true)).collect();
    assert_eq!(lost.iter().map(|range| (range.first.0, range.last.0)).collect::<Vec<_>>(), [(4, 4)]);

    // what was given up turns up after all: it is lost until stored
    hub.take_all(&west);
    assert!(report(&hub).is_whole(), "{:?}", rows(&report(&hub)));
    let hub = hub.reopen();
    assert_eq!((hub.store.identity().epoch, report(&hub).epoch), (2, 2), "an ordinary start raises nothing");
}

/// Proves R-OLDER-1, R-OLDER-4.
#[test]
fn an_older_backup_put_in_place_by_the_tool_is_refilled_and_what_is_missing_is_named() {
    goes_back(by_the_tool, Cause::Restored);
}

#[test]
fn an_older_database_put_in_place_by_hand_ends_the_same_way() {
    goes_back(by_hand, Cause::Copied);
}

#[test]
fn a_restore_ends_by_itself_once_everything_is_back() {
    let mut east = agent(1, "城东", 3);
    let (hub, target) = (hub_with(&[&east]), tempfile::tempdir().unwrap());
    let taken = back_up(&hub, target.path(), TAKEN);
    let mut hub = hub;
    more(&mut east, 4);
    hub.take_all(&east);
    hub.store.close();
    by_the_tool(&taken.folder, hub.dir.path());
    let mut hub = Hub::open_in(hub.dir, Timestamp(START.0 + 2 * RETENTION_MS));
    hub.send(&east, &east.hello_knowing(7));
    hub.send(&east, &east.batch(4, 5));
    hub.barrier();
    assert_eq!(rows(&report(&hub)).len(), 1);
    assert!(report(&hub).is_open());
    hub.send(&east, &east.batch(6, 7));
    hub.barrier();
    assert!(report(&hub).is_whole());
    hub.wait("all is processed", |hub| hub.store.totals().unwrap().processed == 7);
    hub.send(&east, &east.heartbeat(7));
    hub.barrier();
    assert_eq!(prunable(&hub), [3], "what was restored is in a backup, what came back is not yet");
}

/// Proves R-OLDER-4.
#[test]
fn what_was_named_lost_did_not_come_back_and_a_forks_beginning_came_back_once() {
    let mut east = agent(1, "城东", 3);
    let (hub, target) = (hub_with(&[&east]), tempfile::tempdir().unwrap());
    let taken = back_up(&hub, target.path(), TAKEN);
    let mut hub = hub;
    let mut fork = east.fork(0x22, 3);
    more(&mut fork, 2);
    hub.send(&fork, &fork.fork_batch(4, 5));
    more(&mut east, 4);
    hub.send(&east, &east.batch(4, 7));
    hub.settle();
    hub.store.close();
    by_the_tool(&taken.folder, hub.dir.path());
    let mut hub = Hub::open_in(hub.dir, Timestamp(START.0 + 2 * RETENTION_MS));
    hub.send(&east, &east.hello_knowing(7));
    let late = east.batch_with(6, 7, |batch| batch.base = Some(east.mark(3)));
    hub.send(&east, &late);
    hub.send(&fork, &fork.hello_knowing(5));
    hub.send(&fork, &fork.fork_batch(4, 5));
    hub.barrier();
    let told = report(&hub);
    assert_eq!(rows(&told), ["101010101 had 5 back 2 missing - lost -", "101010101 had 7 back 2 missing - lost 4..5"]);
    assert!(!told.is_open() && !told.is_whole(), "all that can come is here, and not everything came");
}

/// Proves R-PRUNE-3, R-OLDER-1.
#[test]
fn an_agent_that_was_acknowledged_more_than_is_stored_freezes_the_marks() {
    let east = agent(1, "城东", 3);
    let mut hub = Hub::open();
    hub.send(&east, &east.hello_knowing(2));
    hub.barrier();
    let told = report(&hub);
    assert_eq!((told.cause, told.is_open()), (Cause::Agent, true));
    assert_eq!(told.streams.iter().map(|stream| stream.had.0).collect::<Vec<_>>(), [3]);
    hub.take_all(&east);
    assert!(report(&hub).is_whole());
}

#[test]
fn a_database_that_is_gone_is_noticed() {
    let east = agent(1, "城东", 3);
    let hub = hub_with(&[&east]);
    hub.store.close();
    for name in ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm"] {
        let path: PathBuf = hub.dir.path().join(name);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let hub = Hub::open_in(hub.dir, START);
    let told = report(&hub);
    assert_eq!((told.detail.as_str(), told.epoch), ("the database is gone", 2));
    assert_eq!(told.streams.iter().map(|stream| (stream.stored.0, stream.had.0)).collect::<Vec<_>>(), [(0, 3)]);
}
