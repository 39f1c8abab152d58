//! The command as a person has it in hand, and what it printed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value as Json;
use tempfile::TempDir;

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// Has every command and service be this program, which must do all that the command does.
///
/// # Panics
/// If one was started before.
pub fn use_binary(program: PathBuf) {
    BINARY.set(program).expect("nothing was started yet");
}

/// The command: built by a test; beside a program, such as the benchmark, as it stands there, for
/// what was built together is measured together.
pub fn binary() -> &'static Path {
    BINARY.get_or_init(|| {
        let own = std::env::current_exe().expect("our own path");
        // A test's is target/<profile>/deps/<test>, a program's target/<profile>/<program>.
        let folder = own.parent().expect("a folder");
        if !folder.ends_with("deps") {
            let command = folder.join("carillon");
            assert!(command.exists(), "{}: build it first", command.display());
            return command;
        }
        let built = Command::new(env!("CARGO"))
            // With the features that the tests are built with, or all would be built twice.
            .args(["build", "--quiet", "--workspace", "--bin", "carillon"])
            .args(folder.ancestors().any(|at| at.ends_with("release")).then_some("--release"))
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the command builds");
        folder.with_file_name("carillon")
    })
}

/// The workspace's root, where `examples/` is.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a command printed and how it ended.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// # Panics
    /// If the command was refused.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    pub fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// The command with a server's address, an organisation's key and a folder for files.
pub struct Cli {
    folder: TempDir,
    pub url: String,
    /// The organisation's.
    pub key: String,
}

impl Cli {
    pub(crate) fn unset() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, url: String::new(), key: String::new() }
    }

    /// Another organisation's.
    pub fn of(url: &str, key: &str) -> Self {
        Self { url: url.into(), key: key.into(), ..Self::unset() }
    }

    /// For files of the test's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).expect("written");
        self.path(name).display().to_string()
    }

    /// Answers the new organisation's key.
    pub fn create_organisation(&self, platform_key: &str, name: &str, more: &[&str]) -> String {
        let base = ["org", "create", name, "--time-zone", "Europe/Amsterdam", "-o", "json"];
        let args: Vec<&str> = base.iter().chain(more).copied().collect();
        let created = self.run_as(platform_key, &args).ok().json();
        created["api_key"].as_str().expect("a key").to_owned()
    }

    /// Runs the command with the organisation's key.
    pub fn run(&self, args: &[&str]) -> Done {
        self.run_as(&self.key, args)
    }

    pub fn run_as(&self, key: &str, args: &[&str]) -> Done {
        let mut command = self.command(args);
        Done::of(&command.env("CARILLON_API_KEY", key).output().expect("the command runs"))
    }

    /// Runs the command with a variable set.
    pub fn run_with(&self, args: &[&str], variable: &str, value: &str) -> Done {
        Done::of(&self.command(args).env(variable, value).output().expect("the command runs"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("CARILLON_SERVER", &self.url)
            .env("CARILLON_API_KEY", &self.key)
            .stdin(Stdio::null());
        command
    }

    /// Stores a campaign of a file's text; answers its id.
    pub fn campaign(&self, yaml: &str) -> String {
        let file = self.write("campaign.yaml", yaml);
        let created = self.run(&["campaign", "create", "-f", &file, "-o", "json"]).ok().json();
        created["id"].as_str().expect("an id").to_owned()
    }

    pub fn credit(&self, amount: u64) {
        let _ = self.run(&["balance", "credit", &amount.to_string(), "--request-id", "test"]).ok();
    }

    pub fn balance(&self) -> Json {
        self.run(&["balance", "show", "-o", "json"]).ok().json()
    }

    pub fn report(&self, campaign: &str) -> Json {
        self.run(&["report", campaign, "-o", "json"]).ok().json()
    }

    /// Every row of the detailed report, by column.
    pub fn detail(&self, campaign: &str) -> Vec<BTreeMap<String, String>> {
        let done = self.run(&["report", campaign, "--detail", "-o", "csv"]).ok();
        let mut reader = csv::Reader::from_reader(done.out.as_bytes());
        reader.deserialize().collect::<Result<_, _>>().expect("valid CSV")
    }
}
