//! What the system and the user ask of a program that stays up.

use crate::host::BoxFuture;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Read and try everything now: SIGHUP.
    Reload,
    /// End: SIGTERM or SIGINT.
    Stop,
}

/// Where signals come from.
pub trait SignalSource {
    /// The next one.
    fn next(&mut self) -> BoxFuture<'_, Signal>;
}

impl SignalSource for Signals {
    fn next(&mut self) -> BoxFuture<'_, Signal> {
        Box::pin(Self::next(self))
    }
}

/// Signals of the system as they come.
pub struct Signals {
    #[cfg(unix)]
    streams: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the system said.
    #[cfg(unix)]
    pub fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // Tools that rotate logs send them out of habit. They are ignored, but the program outlives them from now on.
        for kind in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
            drop(signal(kind)?);
        }
        let streams =
            [signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        Ok(Self { streams })
    }

    #[cfg(not(unix))]
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
    #[cfg(unix)]
    async fn next(&mut self) -> Signal {
        let [hangup, interrupt, terminate] = &mut self.streams;
        tokio::select! {
            _ = hangup.recv() => Signal::Reload,
            _ = interrupt.recv() => Signal::Stop,
            _ = terminate.recv() => Signal::Stop,
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }
}
