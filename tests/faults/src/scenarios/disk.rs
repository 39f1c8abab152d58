//! A disk that is full, and a clock that jumps.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use carillon_e2e::{LATENCIES, Server, customers};

use super::embedded;
use crate::{
    Outcome, Size,
    drill::{self, BOTH, Drill, until},
    servers,
};

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
    let refused = server.run(&["campaign", "create", "-f", "campaign.yaml"]);
    assert_ne!(refused.code, 0, "{}", refused.out);
    disk.empty();
    let outcome = embedded::end(&server, &id);
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
    drill.admin(&format!("CREATE TABLESPACE small LOCATION '{}'", folder.display()));
    drill.admin(&format!("ALTER DATABASE {database} SET TABLESPACE small"));
    drill.stack.spawn("email-dispatcher", 1);
    drill.providers.set_latency(Duration::from_millis(50));
    drill.send(BOTH);
    drill.until_accepted(size.recipients / 20);
    disk.fill();
    until("it says so", || {
        drill.stack.read_log("email-dispatcher", 1).contains("No space left on device")
    });
    disk.empty();
    let outcome = drill.check(0);
    drill.admin(&format!("DROP DATABASE {database} WITH (FORCE)"));
    drill.admin("DROP TABLESPACE small");
    outcome
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
    let slow = LATENCIES.map(|name| (name, "100"));
    let mut server = Server::unstarted(&[&slow[..], &clock.settings()].concat());
    server.spawn();
    server.admit();
    let id = embedded::start(&server, size.recipients / 2);
    let soon = drill::local(drill::now() + Duration::from_secs(30 * 60));
    let once =
        customers::CAMPAIGN.replace("schedule: now", &format!("schedule: {{ once: \"{soon}\" }}"));
    let once = server.campaign(&once);
    let _ = server.run(&["campaign", "start", &once, "--yes"]).ok();
    let planned = |id: &str| server.report(id)["planned"].as_u64().unwrap_or_default();
    assert_eq!(planned(&once), 0, "it is not due");
    clock.set(1);
    until("it fires", || planned(&once) > 0);
    clock.set(-1);
    for id in [&id, &once] {
        until("all is settled", || server.report(id)["in_flight"] == 0);
    }
    let outcome = embedded::end(&server, &id) + embedded::end(&server, &once);
    assert_eq!(outcome.recipients, 2 * (size.recipients / 2 * 2), "each fired once");
    outcome
}

/// The database's clock, which all follow.
pub(crate) fn clock_set_under_postgres(size: &Size) -> Outcome {
    let folder = std::env::var("SERVERS_FOLDER").expect("scripts/servers");
    let clock = FakeClock::new(Path::new(&folder).join("faketime"));
    servers::Server::Postgres.stop();
    servers::Server::Postgres.start_with(&clock.settings());
    let mut drill = Drill::of(
        size.recipients / 2,
        &[("sms-dispatcher", 2), ("email-dispatcher", 2)],
        &clock.settings(),
    );
    drill.providers.set_latency(Duration::from_millis(200));
    drill.send(BOTH);
    for (hours, share) in [(1, 20), (-1, 10), (0, 5)] {
        drill.until_accepted(size.recipients / share);
        clock.set(hours);
    }
    drill.providers.set_latency(Duration::ZERO);
    let outcome = drill.check(0);
    for (service, number) in drill.stack.replicas() {
        let log = drill.stack.read_log(&service, number);
        assert!(!log.contains("heart stopped"), "{service} took a living worker for dead:\n{log}");
    }
    drop(drill);
    servers::Server::Postgres.restart();
    outcome
}
