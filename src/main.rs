//! Makes the runtime, runs the command line, exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic's own text may hold what must not be shown; the place is enough to report it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tell(&format!("error: internal error at {place}; please report it\n"));
    }));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: the runtime cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    ExitCode::from(runtime.block_on(freshen::cli::run(std::env::args_os())))
}

/// Standard error may be gone; that is no reason to panic.
fn tell(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}
