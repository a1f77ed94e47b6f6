//! The real binary in a folder of its own with an empty environment: arrange files and variables, run, compare.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use freshen::vendor::VENDORS;
use serde_json::Value;
use tempfile::TempDir;

use super::cloud::{Cloud, HOSTS, KEY_ID, KEY_SECRET, clouds};
use super::{schemas, vendor};

/// A folder with files, and the variables that runs see.
pub(crate) struct Bench {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Where the state is unless a run says otherwise.
pub(crate) const STATE: &str = ".freshen/state.db";

/// Changes rows of a state by hand; what they add up to follows.
pub(crate) fn by_hand(state: &Path, sql: &str) {
    rusqlite::Connection::open(state).and_then(|db| db.execute_batch(sql)).expect(sql);
    freshen::state::add_up(state).expect("added up");
}

impl Bench {
    /// Changes rows of the state by hand.
    pub(crate) fn by_hand(&self, sql: &str) {
        by_hand(&self.path(STATE), sql);
    }

    /// An empty folder, no variables.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), variables: Vec::new() }
    }

    /// A provider `own` of `kind` at `cloud`, with the usual credentials in the environment.
    pub(crate) fn at(kind: &str, cloud: &Cloud) -> Self {
        Self::new().provider("own", kind, &cloud.url(), "").keys(kind, KEY_ID, KEY_SECRET, None)
    }

    /// Writes a file, its folders included.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(name, content);
        self
    }

    /// Writes a file between runs.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, content).expect("written");
    }

    /// Configures a provider in a manifest of its own; `extra` are further lines, ended by line feeds.
    pub(crate) fn provider(self, name: &str, kind: &str, url: &str, extra: &str) -> Self {
        let text = provider(name, kind, url, extra);
        self.file(&format!("manifests/provider-{name}.yaml"), text)
    }

    /// Sets a variable for all runs.
    pub(crate) fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the vendor's usual variables of `kind`.
    pub(crate) fn keys(self, kind: &str, id: &str, secret: &str, token: Option<&str>) -> Self {
        let fields = vendor::fields(VENDORS.find(kind).expect("a kind"), (id, secret, token));
        fields.into_iter().fold(self, |bench, (field, value)| bench.var(field.variable, value))
    }

    /// Writes `manifests/site.yaml` with these URLs, all with the same hash.
    pub(crate) fn assets<T: AsRef<str>>(&self, urls: &[T], revision: &str) {
        self.write("manifests/site.yaml", manifest(urls, revision));
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The bytes of a file; `None` if it is not there.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    /// The command line, not yet started.
    #[expect(clippy::disallowed_methods, reason = "the binary is what is tested")]
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.arranged(Command::new(env!("CARGO_BIN_EXE_freshen")), arguments)
    }

    /// The command line as another program runs it that is given its own arguments first.
    #[expect(clippy::disallowed_methods, reason = "the binary is what is tested")]
    pub(crate) fn wrapped(&self, program: &str, before: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(before).arg(env!("CARGO_BIN_EXE_freshen"));
        self.arranged(command, arguments)
    }

    /// Another program in the folder, with the variables that runs see, not yet started.
    #[expect(clippy::disallowed_methods, reason = "runs the binary in a setting of its own")]
    pub(crate) fn other(&self, program: &str, arguments: &[&str]) -> Command {
        self.arranged(Command::new(program), arguments)
    }

    fn arranged(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a run and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("started")
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().expect("started"))
    }

    /// Runs to the end with a limit on the size of files, in blocks of 512 bytes.
    pub(crate) fn limited(&self, blocks: usize, arguments: &[&str]) -> Ran {
        self.within(&["-f", &blocks.to_string()], arguments)
    }

    /// Runs to the end within a limit, as `ulimit` takes it.
    pub(crate) fn within(&self, limit: &[&str; 2], arguments: &[&str]) -> Ran {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "ulimit \"$1\" \"$2\"; shift 2; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_freshen")])
            .args(limit)
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ran::of(&command.output().expect("started"))
    }

    /// What the state holds, one value a target, in order.
    pub(crate) fn exported(&self) -> Vec<Value> {
        let ran = self.run(&["state", "export"]).exits(0);
        let lines = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON line"));
        lines.filter(|line: &Value| line["target"].is_string()).collect()
    }

    /// Targets with work that is left, in order.
    pub(crate) fn due(&self) -> Vec<String> {
        let rows = self.exported();
        let due = rows.iter().filter(|row| !row["work"].is_null());
        due.map(|row| row["target"].as_str().expect("text").to_owned()).collect()
    }

    /// Targets for which a hash is recorded, as `provider target hash`.
    pub(crate) fn recorded(&self) -> Vec<String> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = self.exported();
        let recorded = rows.iter().filter(|row| row["work"].is_null() && row["hash"].is_string());
        recorded.map(|row| format!("{} {} {}", text(row, "provider"), text(row, "target"), text(row, "hash"))).collect()
    }
}

impl Ran {
    /// What a process left behind. No run may ever panic or die of a signal.
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let status = output.status.code().unwrap_or(-1);
        let ran = Self { status, stdout: text(&output.stdout), stderr: text(&output.stderr) };
        assert!(status >= 0, "ended by a signal: {ran:?}");
        // X5: nothing that comes from outside drives the terminal, and nobody looks at one here.
        assert!(!ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'), "{ran:?}");
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("internal error"), "{ran:?}");
        schemas::check(&ran.stdout);
        ran
    }

    /// Checks the status.
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Checks that standard output or standard error holds `text`.
    pub(crate) fn says(self, text: &str) -> Self {
        let both = format!("{}\n{}", self.stdout, self.stderr);
        assert!(both.contains(text), "`{text}` is not in\n{both}");
        self
    }

    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A manifest that configures one provider and nothing else.
pub(crate) fn provider(name: &str, kind: &str, url: &str, extra: &str) -> String {
    let mut place = if clouds().any(|cloud| cloud == kind) {
        format!("endpoint: {url}")
    } else {
        format!("endpoints: [\"{url}\"]\n    limits: {{calls_per_second: 1000}}")
    };
    for (key, value) in vendor::fact::<BTreeMap<&str, Value>>(kind, "manifest") {
        if !key.starts_with("endpoint") {
            place.push_str(&format!("\n    {key}: {value}"));
        }
    }
    let hosts = HOSTS.map(|host| format!("\"{host}\"")).join(", ");
    let mut text = format!("providers:\n  {name}:\n    kind: {kind}\n    hosts: [{hosts}]\n    {place}\n");
    for line in extra.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// A manifest with URLs that all have the hash `rev:REVISION`.
pub(crate) fn manifest<T: AsRef<str>>(urls: &[T], revision: &str) -> String {
    let mut text = "assets:\n".to_owned();
    for url in urls {
        text.push_str(&format!("  {}: rev:{revision}\n", serde_json::to_string(url.as_ref()).expect("JSON")));
    }
    text
}

/// Sends SIGINT, as a terminal does.
#[expect(clippy::disallowed_methods, reason = "the standard library cannot send signals")]
pub(crate) fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("/bin/sh").args(["-c", "kill -INT \"$0\"", &pid]).status().expect("a shell");
    assert!(sent.success());
}

/// Makes a pipe with a name.
#[expect(clippy::disallowed_methods, reason = "the standard library makes no pipes with names")]
pub(crate) fn make_pipe(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("started").success());
}
