//! A `carillon dev` of its own, killed with the test.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value as Json;
use tempfile::TempDir;

/// The command, built if it is not there yet.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("the test's own path");
        let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "carillon"])
            .args(
                (profile.file_name().is_some_and(|name| name == "release")).then_some("--release"),
            )
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the command builds");
        profile.join("carillon")
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

pub struct Server {
    folder: TempDir,
    settings: Vec<(String, String)>,
    child: Option<Child>,
    pub url: String,
    /// The organisation's.
    pub key: String,
}

impl Server {
    /// A running server with one organisation. Settings are `CARILLON__…` variables.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::unstarted(settings);
        server.spawn();
        server.key = server.new_organisation("Café Carillon", &[]);
        server
    }

    /// A folder of its own, and nothing in it.
    pub fn unstarted(settings: &[(&str, &str)]) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            settings: settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            child: None,
            url: String::new(),
            key: String::new(),
        }
    }

    /// Starts the process on the same folder, and waits until it listens.
    pub fn spawn(&mut self) {
        let printed = BufReader::new(self.begin());
        let url = printed
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.trim().strip_prefix("server").map(|url| url.trim().to_owned()));
        self.url = url.unwrap_or_else(|| panic!("no address:\n{}", self.read_log()));
    }

    /// Starts the process, and answers what it prints.
    pub fn begin(&mut self) -> ChildStdout {
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("a log");
        let mut child = Command::new(binary())
            .args(["dev", "--port", "0", "--data"])
            .arg(self.data())
            .env("CARILLON__LOG__FILTER", "info")
            .envs(self.settings.iter().map(|(k, v)| (k, v)))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let printed = child.stdout.take().expect("its output");
        self.child = Some(child);
        printed
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// SIGTERM; answers how it ended.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let told = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
        assert!(told.success());
        child.wait().expect("ended").code()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// For files of the test's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).expect("written");
        self.path(name).display().to_string()
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    pub fn read_log(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub fn platform_key(&self) -> String {
        fs::read_to_string(self.data().join("api-key")).expect("the key").trim().to_owned()
    }

    /// Answers the organisation's key.
    pub fn new_organisation(&self, name: &str, more: &[&str]) -> String {
        let base = ["org", "create", name, "--time-zone", "Europe/Amsterdam", "-o", "json"];
        let args: Vec<&str> = base.iter().chain(more).copied().collect();
        let created = self.run_as(&self.platform_key(), &args).ok().json();
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

    pub fn report(&self, campaign: &str) -> Json {
        self.run(&["report", campaign, "-o", "json"]).ok().json()
    }

    /// Every row of the detailed report, by column.
    pub fn detail(&self, campaign: &str) -> Vec<BTreeMap<String, String>> {
        let done = self.run(&["report", campaign, "--detail", "-o", "csv"]).ok();
        let mut reader = csv::Reader::from_reader(done.out.as_bytes());
        reader.deserialize().collect::<Result<_, _>>().expect("valid CSV")
    }

    /// How often the sandbox accepted each message of a channel.
    pub fn accepted(&self, channel: &str) -> BTreeMap<String, u32> {
        let path = self.data().join("outbox").join(format!("{channel}.jsonl"));
        let mut accepted = BTreeMap::new();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let line: Json = serde_json::from_str(line).expect("a whole line");
            let id = line["message_id"].as_str().expect("an id").to_owned();
            *accepted.entry(id).or_default() += 1;
        }
        accepted
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
