//! Turns core dumps off, makes the runtime, runs the command line, exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    freshen::host::room::begin_with_few_heaps();
    forbid_core_dumps();
    // A panic's own text may hold what must not be shown; the place is enough to report it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tell(&format!("error: internal error at {place}; please report it\n"));
    }));
    if let Err(shortage) = freshen::host::room::check() {
        tell(&format!("error: {shortage}\n"));
        return ExitCode::FAILURE;
    }
    let started = freshen::host::background::start();
    let runtime = match started.and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build()) {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("error: the runtime cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(freshen::cli::run(std::env::args_os()));
    // Whatever a thread still reads is not wanted any more.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// A core dump would hold credentials (X4). Where the system does not allow this, nothing changes.
fn forbid_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    // The limit means nothing to dumps that the system pipes into a program; this also keeps debuggers of others out.
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Standard error may be gone; that is no reason to panic.
fn tell(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}
