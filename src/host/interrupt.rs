//! SIGINT and SIGTERM: the first lets calls under way end, the second ends the program at once.

use std::sync::OnceLock;

use tokio::sync::watch;

use super::background;

/// What this process has heard since it began to listen.
static HEARD: OnceLock<watch::Receiver<bool>> = OnceLock::new();

/// Starts to listen, once; the value turns true with the first signal, after `on_first`. The second ends the process with this
/// code.
pub fn listen(on_first: fn(), code: u8) -> watch::Receiver<bool> {
    HEARD.get_or_init(|| begin(on_first, code)).clone()
}

fn begin(on_first: fn(), code: u8) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    background::spawn(async move {
        if next().await.is_err() {
            return;
        }
        on_first();
        let _ = sender.send(true);
        if next().await.is_ok() {
            std::process::exit(i32::from(code));
        }
    });
    receiver
}

/// Makes a limit on the size of files an error of the write that meets it; else the system would end the process
/// without a word (C7).
pub fn outlive_size_limit() {
    #[cfg(unix)]
    {
        // The number is the same on all systems that Rust's standard library serves well; MIPS differs.
        const SIGXFSZ: i32 = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 31 } else { 25 };
        use tokio::signal::unix::{SignalKind, signal};
        // Once there, the handler stays; without it the process ends as it did before.
        let _ = signal(SignalKind::from_raw(SIGXFSZ));
    }
}

#[cfg(unix)]
async fn next() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn next() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
