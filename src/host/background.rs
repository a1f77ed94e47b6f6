//! A thread for what goes on while a run computes: signals, the listener, looks at folders. The thread of the run itself serves its
//! connections as well, so that no answer has to wake another thread.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static BACKGROUND: OnceLock<Runtime> = OnceLock::new();

/// Starts the thread.
///
/// # Errors
/// What the system said.
pub fn start() -> std::io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // One that is there already serves as well.
    let _ = BACKGROUND.set(runtime);
    Ok(())
}

/// Has the future polled by that thread; by the runtime of the caller where it was not started.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match BACKGROUND.get() {
        Some(runtime) => runtime.spawn(future),
        None => tokio::spawn(future),
    }
}
