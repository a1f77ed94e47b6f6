//! SIGINT and SIGTERM: the first lets calls under way end, the second ends the program at once.

use tokio::sync::watch;

use super::exit::Exit;

/// Starts to listen; the value turns true with the first signal.
pub(super) fn listen() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        if next().await.is_err() {
            return;
        }
        super::terminal::tell(
            "stopping: calls under way may end, nothing new is sent; interrupt again to stop at once\n",
        );
        let _ = sender.send(true);
        if next().await.is_ok() {
            std::process::exit(i32::from(Exit::Failed.code()));
        }
    });
    receiver
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
