//! Runs the real binary in a scratch folder, and reads what it left in the state.

use std::process::Command;

use serde_json::Value;

use super::schemas;

/// A scratch folder to run the program in, with manifests under `manifests`.
pub(crate) struct Program {
    folder: tempfile::TempDir,
}

/// How one run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code.
    pub(crate) code: i32,
    /// Results.
    pub(crate) stdout: String,
    /// Everything else.
    pub(crate) stderr: String,
}

impl Program {
    /// A folder without manifests.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::fs::create_dir(folder.path().join("manifests")).expect("a folder");
        Self { folder }
    }

    /// Writes a manifest below `manifests`.
    pub(crate) fn write_manifest(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("manifests").join(name), text).expect("a manifest");
    }

    /// Runs the binary with these arguments and an empty environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_freshen"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .output()
            .expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let (code, stdout) = (output.status.code().expect("no signal"), text(output.stdout));
        schemas::check(&stdout);
        Ran { code, stdout, stderr: text(output.stderr) }
    }

    /// What `state export` knows of the target, of a single provider.
    pub(crate) fn exported(&self, target: &str) -> Value {
        let ran = self.run(&["state", "export"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let rows = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut found: Vec<Value> = rows.filter(|row| row["target"] == target).collect();
        assert_eq!(found.len(), 1, "{target} in {}", ran.stdout);
        found.remove(0)
    }
}

impl Ran {
    /// The same run, if it ended with this code.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Whether people read this, on either stream.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "no `{text}` in {}{}",
            self.stdout,
            self.stderr
        );
    }
}
