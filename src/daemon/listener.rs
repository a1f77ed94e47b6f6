//! Starts the listener of the watch, if one is wanted.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;

use super::log_line;
use crate::core::report::Report;
use crate::core::time::Tick;
use crate::engine::Stop;
use crate::host::{Host, background};
use crate::serve::{Listener, MOST_TOKEN_BYTES, Settings, Token};
use crate::state::Backend;

/// Where the daemon reports how it is, over HTTP.
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    /// Where it listens; nowhere if there is none.
    pub address: Option<std::net::SocketAddr>,
    /// File with the token that readers have to send.
    pub token_file: Option<std::path::PathBuf>,
    /// Other names and addresses of this machine by which readers may ask.
    pub hosts: Vec<String>,
    /// How long targets may be pending at a provider, and a run may read files, before it is not ready, in milliseconds.
    pub ready_within_ms: u64,
}

/// The token of a listener, and the file that it is from.
pub struct TokenFile {
    path: String,
    token: watch::Sender<Token>,
}

impl TokenFile {
    fn open(host: &Host, path: &Path) -> Result<Self> {
        let path = path.to_string_lossy().into_owned();
        let token = watch::channel(read(host, &path)?).0;
        Ok(Self { path, token })
    }

    /// Reads the file anew: from now on only what it holds is taken, unless it cannot be a token.
    pub fn renew(&self, host: &Host) {
        match read(host, &self.path) {
            Ok(token) => drop(self.token.send_replace(token)),
            Err(error) => tracing::error!("{}; the token stays as it was", log_line(&format!("{error:#}"))),
        }
    }
}

/// Listens, and says where; returns the token, if readers need one.
///
/// # Errors
/// Bad input: an address that is not ours or is taken, a token that is missing or cannot be used.
pub async fn start(
    host: &Host,
    state: Arc<dyn Backend>,
    options: &ListenOptions,
    report: &Arc<watch::Sender<Report>>,
    turned: watch::Receiver<Tick>,
) -> Result<Option<TokenFile>> {
    let Some(address) = options.address else { return Ok(None) };
    let token = options.token_file.as_deref().map(|path| TokenFile::open(host, path)).transpose()?;
    if token.is_none() && !address.ip().is_loopback() {
        return Err(Stop::bad_input(format!(
            "`--listen {address}` can be reached by other machines: give `--listen-token-file`, or listen at 127.0.0.1"
        ))
        .into());
    }
    let bound = background::spawn(Listener::bind(address)).await?;
    let listener = bound.map_err(|error| {
        Stop::bad_input(format!("`--listen {address}`: {error}; is another program there? Port 0 takes a free one"))
    })?;
    tracing::info!("listening at http://{}", listener.address());
    let settings = Settings {
        token: token.as_ref().map(|file| file.token.subscribe()),
        hosts: options.hosts.clone(),
        ready_within_ms: options.ready_within_ms,
        turned,
        write_probe: Arc::new(move || state.write_probe()),
    };
    background::spawn(listener.serve(Arc::clone(&host.clock), report.subscribe(), settings));
    Ok(token)
}

fn read(host: &Host, path: &str) -> Result<Token> {
    let refuse = |problem: String| Stop::bad_input(format!("token file `{path}` {problem}"));
    let bytes = host.env.read_private(path, MOST_TOKEN_BYTES).map_err(|error| refuse(error.to_string()))?;
    Ok(Token::of(&bytes).map_err(|problem| refuse(problem.to_owned()))?)
}
