//! Starts the listener of the watch, if one is wanted.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;

use crate::cli::args::ListenArgs;
use crate::cli::exit::Stop;
use crate::core::report::Report;
use crate::host::Host;
use crate::serve::{Listener, MOST_TOKEN_BYTES, Settings, Token};
use crate::state;

/// Listens, and says where.
///
/// # Errors
/// Bad input: an address that is not ours or is taken, a token that is missing or cannot be used.
pub(super) async fn start(
    host: &Host,
    state: &Path,
    args: &ListenArgs,
    report: &Arc<watch::Sender<Report>>,
) -> Result<()> {
    let Some(address) = args.listen else { return Ok(()) };
    let token = match &args.listen_token_file {
        Some(path) => Some(token(host, &path.to_string_lossy())?),
        None if address.ip().is_loopback() => None,
        None => {
            return Err(Stop::bad_input(format!(
                "`--listen {address}` can be reached by other machines: give `--listen-token-file`, or listen at 127.0.0.1"
            ))
            .into());
        }
    };
    let listener = Listener::bind(address).await.map_err(|error| {
        Stop::bad_input(format!("`--listen {address}`: {error}; is another program there? Port 0 takes a free one"))
    })?;
    tracing::info!("listening at http://{}", listener.address());
    let state = state.to_owned();
    let settings = Settings {
        token,
        hosts: args.listen_host.clone(),
        ready_within_ms: args.ready_within,
        obstacle: Arc::new(move || state::obstacle(&state)),
    };
    tokio::spawn(listener.serve(Arc::clone(&host.clock), report.subscribe(), settings));
    Ok(())
}

fn token(host: &Host, path: &str) -> Result<Token> {
    let refuse = |problem: String| Stop::bad_input(format!("token file `{path}` {problem}"));
    let bytes = host.env.read_private(path, MOST_TOKEN_BYTES).map_err(|error| refuse(error.to_string()))?;
    Ok(Token::of(&bytes).map_err(|problem| refuse(problem.to_owned()))?)
}
