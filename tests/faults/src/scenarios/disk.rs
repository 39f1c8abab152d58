//! A disk that is full, and a clock that jumps.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use carillon_e2e::{LATENCIES, Server, customers};

use super::embedded;
use crate::{
    Outcome, Size,
    drill::{self, BOTH, DISPATCHERS, Drill, until},
    servers,
};

/// Calls under way, of both dispatchers.
const AT_A_TIME: usize = 128;

/// A small file system in memory, which root may mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: &Path, mebibytes: usize) -> Self {
        fs::create_dir_all(at).expect("a folder");
        let size = format!("size={mebibytes}m,mode=777");
        let at = at.to_owned();
        run(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", at.to_str().expect("a path")]);
        Self(at)
    }

    /// Leaves nothing free.
    fn fill(&self) {
        let _ = fs::write(self.0.join("ballast"), vec![0_u8; 1 << 30]);
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(&["umount", "--lazy", self.0.to_str().expect("a path")]);
    }
}

/// Mebibytes that the messages fit into.
fn room(size: &Size) -> usize {
    64 + size.recipients / 200
}

/// As root, who alone may mount and give away.
fn run(command: &[&str]) {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let sudo: &[&str] = if root { &[] } else { &["sudo"] };
    let whole = [sudo, command].concat();
    let ran = Command::new(whole[0]).args(&whole[1..]).status();
    assert!(ran.is_ok_and(|ended| ended.success()), "{whole:?}; it takes root, or sudo");
}

pub(crate) fn full_under_sqlite(size: &Size) -> Outcome {
    let mut server = Server::unstarted(&LATENCIES.map(|name| (name, "20")));
    let disk = SmallDisk::new(&server.data(), room(size));
    server.spawn();
    server.admit();
    let id = embedded::start(&server, size.recipients / 2);
    until("some are sent", || !server.accepted("sms").is_empty());
    disk.fill();
    until("it says so", || server.read_log().contains("full"));
    // What has its room already may still be stored, and is kept then.
    let mut created = Vec::new();
    until("a request is refused", || {
        let done = server.run(&["campaign", "create", "-f", "campaign.yaml", "-o", "json"]);
        if done.code == 0 {
            created.push(done.json()["id"].clone());
            return false;
        }
        assert!(done.err.contains("disk is full"), "{}", done.err);
        true
    });
    disk.empty();
    for id in created {
        let id = id.as_str().expect("an id");
        let _ = server.run(&["campaign", "show", id]).ok();
    }
    let outcome = embedded::end(&server, &[&id], size.recipients / 2 * 2, 0);
    server.kill();
    outcome
}

/// The e-mail dispatcher's database lies on it; what the server needs itself does not.
pub(crate) fn full_under_postgres(size: &Size) -> Outcome {
    let mut drill = Drill::new(size, &[]);
    let folder =
        Path::new(&std::env::var("SERVERS_FOLDER").expect("scripts/servers")).join("small");
    let disk = SmallDisk::new(&folder, room(size));
    run(&["chown", "postgres:", folder.to_str().expect("a path")]);
    let url = drill.stack.database_url("email-dispatcher");
    let database = url.rsplit_once('/').expect("a name").1.to_owned();
    drill.stack.terminate("email-dispatcher", 1);
    let small = Tablespace::new(&drill, &folder, database);
    drill.stack.spawn("email-dispatcher", 1);
    drill.providers.set_latency(Duration::from_millis(50));
    drill.send(BOTH);
    drill.until_accepted(size.recipients / 20);
    disk.fill();
    until("it says so", || {
        drill.stack.read_log("email-dispatcher", 1).contains("No space left on device")
    });
    disk.empty();
    drill.providers.set_latency(Duration::ZERO);
    let outcome = drill.check(0);
    drop(small);
    outcome
}

/// A database in a folder of its own, gone with this.
struct Tablespace {
    database: String,
}

impl Tablespace {
    fn new(drill: &Drill, folder: &Path, database: String) -> Self {
        let small = Self { database };
        drill.admin(&format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()));
        drill.admin(&format!("ALTER DATABASE {} SET TABLESPACE small", small.database));
        small
    }
}

impl Drop for Tablespace {
    fn drop(&mut self) {
        servers::psql(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database));
        servers::psql("DROP TABLESPACE IF EXISTS small");
    }
}

/// Whole hours that a clock is off, for a program that is started with `settings`.
struct FakeClock(PathBuf);

impl FakeClock {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

    fn new(file: PathBuf) -> Self {
        assert!(Path::new(Self::LIBRARY).exists(), "Debian's package faketime");
        let clock = Self(file);
        clock.set(0);
        clock
    }

    /// Only what tells the time of day; what measures is left alone, as on a machine whose clock is
    /// set.
    fn settings(&self) -> [(&'static str, &str); 4] {
        [
            ("LD_PRELOAD", Self::LIBRARY),
            ("FAKETIME_TIMESTAMP_FILE", self.0.to_str().expect("a path")),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    fn set(&self, hours: i32) {
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{hours:+}h\n")).expect("written");
        fs::rename(new, &self.0).expect("in its place");
    }
}

/// An hour ahead what is due in half an hour fires; an hour back it does not fire again, and what was
/// claimed is neither late nor taken over.
pub(crate) fn clock_set_under_sqlite(size: &Size) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = FakeClock::new(folder.path().join("faketime"));
    let customers = size.recipients / 4;
    let latency = lasting(size, 8).as_millis().to_string();
    let slow = LATENCIES.map(|name| (name, latency.as_str()));
    let mut server = Server::unstarted(&[&slow[..], &clock.settings()].concat());
    server.spawn();
    server.admit();
    let id = embedded::start(&server, customers);
    let once = customers::CAMPAIGN.replace("schedule: now", &format!("schedule: {}", soon()));
    let once = server.campaign(&once);
    let _ = server.run(&["campaign", "start", &once, "--yes"]).ok();
    let planned = |id: &str| server.report(id)["planned"].as_u64().unwrap_or_default();
    let in_flight = || server.report(&id)["in_flight"].as_u64().unwrap_or_default();
    assert_eq!(planned(&once), 0, "it is not due");
    until("some are in flight", || in_flight() > 0);
    clock.set(1);
    until("it fires", || planned(&once) > 0);
    assert!(in_flight() > 0, "all was over before the clock was set back");
    clock.set(-1);
    thread::sleep(LOOKED_AT);
    // Once more past the moment when it fired.
    clock.set(1);
    thread::sleep(LOOKED_AT);
    embedded::end(&server, &[&id, &once], 2 * customers, 0)
}

/// What is due is looked for more often.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// When a campaign is due that fires if the clock is set an hour ahead.
fn soon() -> String {
    let soon = drill::local(drill::now() + Duration::from_secs(30 * 60));
    format!("{{ once: \"{soon}\" }}")
}

/// How long each call must take for so many messages to keep dispatchers busy for some seconds.
fn lasting(size: &Size, seconds: usize) -> Duration {
    Duration::from_millis((seconds * 1_000 * AT_A_TIME / size.recipients) as u64)
}

/// The database's clock, which all follow. Each time is longer than a worker may be silent.
pub(crate) fn clock_set_under_postgres(size: &Size) -> Outcome {
    let folder = std::env::var("SERVERS_FOLDER").expect("scripts/servers");
    let clock = FakeClock::new(Path::new(&folder).join("faketime"));
    let _elsewhere = servers::Server::Postgres.restart_with(&clock.settings());
    let replicas = DISPATCHERS.map(|service| (service, 2));
    let mut drill = Drill::of(size.recipients / 4, &replicas, &clock.settings());
    drill.providers.set_latency(lasting(size, 50).max(Duration::from_millis(150)));
    drill.send(BOTH);
    let once = drill.draft(&soon(), "1d", BOTH);
    drill.start(&once, BOTH);
    let runs = format!("SELECT COUNT(*) FROM runs WHERE campaign_id = '{once}'");
    assert_eq!(drill.count("scheduler", &runs), 0, "it is not due");
    for hours in [1, -1] {
        drill.until_accepted(drill.providers.total() + 1);
        clock.set(hours);
        let (before, beats) = (drill.providers.total(), beats(&drill));
        until("it fires an hour ahead", || drill.count("scheduler", &runs) == 1);
        outlast_a_silence(&drill, beats);
        assert_off_by(&drill, hours);
        let total = drill.providers.total();
        assert!(total > before && total < size.recipients / 4 * 4, "{total}: no longer under load");
    }
    // Once more past the moment when it fired.
    clock.set(1);
    thread::sleep(LOOKED_AT);
    clock.set(0);
    assert_off_by(&drill, 0);
    drill.providers.set_latency(Duration::ZERO);
    let outcome = drill.check(0);
    assert_eq!(drill.count("scheduler", &runs), 1, "it fired once");
    for (service, number) in drill.stack.replicas() {
        let log = drill.stack.read_log(&service, number);
        assert!(!log.contains("heart stopped"), "{service} took a living worker for dead:\n{log}");
    }
    outcome
}

/// The fewest of any worker, of each dispatcher.
fn beats(drill: &Drill) -> [i64; 2] {
    let fewest = "SELECT MIN(h.beats) FROM heartbeats h JOIN workers w ON w.epoch = h.epoch
                  WHERE NOT w.dead";
    DISPATCHERS.map(|service| drill.count(service, fewest))
}

/// Until every heart has beaten more often than whoever watches it need look before it takes a
/// silent one for dead.
fn outlast_a_silence(drill: &Drill, before: [i64; 2]) {
    const BEATS: i64 = 9;
    until("hearts beat", || {
        beats(drill).iter().zip(before).all(|(now, before)| *now >= before + BEATS)
    });
}

fn assert_off_by(drill: &Drill, hours: i32) {
    let there = drill.count("scheduler", "SELECT EXTRACT(EPOCH FROM clock_timestamp())::BIGINT");
    let off = there - drill::now().as_second() - 3_600 * i64::from(hours);
    assert!(off.abs() < 60, "the server's clock is {off} s from {hours} hours off");
}
