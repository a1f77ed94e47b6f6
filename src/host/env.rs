//! The process environment, files that only their owner can read, and programs that print credentials.
//!
//! Does not know what credentials look like; `credentials.rs` reads them.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::{BoxFuture, CommandError, CommandLimits, Env, PrivateFileError};

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct SystemEnv;

impl Env for SystemEnv {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn var(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn machine_name(&self) -> String {
        let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| self.var("HOSTNAME"));
        told.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
    }

    fn read_private(&self, path: &str, most_bytes: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
        let unreadable = |error: io::Error| PrivateFileError::Unreadable(error.to_string());
        // Opening a pipe would block, so its kind is looked at first.
        check_regular(&std::fs::metadata(path).map_err(unreadable)?)?;
        let file = File::open(path).map_err(unreadable)?;
        // Asked of the open file, so nobody can swap it between the check and the reading.
        let metadata = file.metadata().map_err(unreadable)?;
        check_regular(&metadata)?;
        check_mode(&metadata)?;
        // Room for all of it at once: a buffer that grows leaves copies behind that are not wiped.
        let mut content = Zeroizing::new(Vec::with_capacity(most_bytes + 1));
        file.take(most_bytes as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
        if content.len() > most_bytes {
            return Err(PrivateFileError::TooLarge { most_bytes });
        }
        Ok(content)
    }

    fn run<'a>(
        &'a self,
        command: &'a [String],
        limits: CommandLimits,
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
        Box::pin(async move {
            let mut started = Started(start(command)?);
            let deadline = Duration::from_millis(limits.timeout_ms);
            let ended = tokio::time::timeout(deadline, read_to_exit(&mut started.0, limits.most_bytes)).await;
            let outcome = ended.unwrap_or(Err(CommandError::TimedOut { timeout_ms: limits.timeout_ms }));
            if outcome.is_err() {
                started.stop();
                // It may have ended by itself, which is as good.
                let _ = started.0.kill().await;
            }
            outcome
        })
    }
}

fn check_regular(metadata: &Metadata) -> Result<(), PrivateFileError> {
    if metadata.is_file() { Ok(()) } else { Err(PrivateFileError::NotRegular) }
}

#[cfg(unix)]
fn check_mode(metadata: &Metadata) -> Result<(), PrivateFileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    let others = mode & 0o077;
    if others == 0 { Ok(()) } else { Err(PrivateFileError::Exposed { mode }) }
}

/// Other systems keep access in lists that the standard library cannot read.
#[cfg(not(unix))]
fn check_mode(_metadata: &Metadata) -> Result<(), PrivateFileError> {
    Ok(())
}

/// A program that is stopped, with all that it has started, once nobody waits for it any more.
struct Started(Child);

impl Started {
    fn stop(&self) {
        // Without a number it has ended, and its group may be another's by now.
        #[cfg(unix)]
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(command: &[String]) -> Result<Child, CommandError> {
    let (program, arguments) = command.split_first().ok_or(CommandError::Empty)?;
    let mut command = Command::new(program);
    // In a group of its own, which holds what it starts.
    #[cfg(unix)]
    command.process_group(0);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| not_run(&error))
}

async fn read_to_exit(child: &mut Child, most_bytes: usize) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    // As for files: one buffer that never moves.
    let mut output = Zeroizing::new(Vec::with_capacity(most_bytes + 1));
    if let Some(stdout) = child.stdout.take() {
        stdout.take(most_bytes as u64 + 1).read_to_end(&mut output).await.map_err(|error| not_run(&error))?;
    }
    if output.len() > most_bytes {
        return Err(CommandError::TooLarge { most_bytes });
    }
    let status = child.wait().await.map_err(|error| not_run(&error))?;
    if status.success() { Ok(output) } else { Err(CommandError::Failed { status: words(status) }) }
}

/// The kind only: some systems repeat the command line in the full text.
fn not_run(error: &io::Error) -> CommandError {
    CommandError::NotRun(error.kind().to_string())
}

#[cfg(unix)]
fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

#[cfg(not(unix))]
fn words(status: ExitStatus) -> String {
    status.code().map_or_else(|| "an unknown status".to_owned(), |code| format!("exit status {code}"))
}
