//! Reads a file of credentials, which may never answer: its disk or its network can hang.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tokio::sync::oneshot;

use super::{Env, MOST_BYTES, PrivateFileError, SOURCE_TIMEOUT_MS};

/// Threads that wait for files which did not answer in time, by their paths: each holds one thread, however often it is asked for.
static HANGING: Mutex<Option<HashMap<String, JoinHandle<()>>>> = Mutex::new(None);

/// The file's content, read on a thread of its own: neither the run nor the end of the process waits for that.
pub(super) async fn read(env: &Arc<dyn Env>, path: &str) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    within(env, path, SOURCE_TIMEOUT_MS).await
}

async fn within(env: &Arc<dyn Env>, path: &str, timeout_ms: u64) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let late = PrivateFileError::TimedOut { timeout_ms };
    if with_hanging(|hanging| hanging.get(path).is_some_and(|thread| !thread.is_finished())) {
        return Err(late);
    }
    let (done, ended) = oneshot::channel();
    let (env, own) = (Arc::clone(env), path.to_owned());
    let read = move || drop(done.send(env.read_private(&own, MOST_BYTES)));
    let thread = Builder::new().name("credentials".to_owned()).spawn(read);
    let thread = thread.map_err(|error| PrivateFileError::Unreadable(error.to_string()))?;
    match tokio::time::timeout(Duration::from_millis(timeout_ms), ended).await {
        Ok(Ok(content)) => content,
        Ok(Err(_)) => Err(PrivateFileError::Unreadable("a defect of freshen; please report it".to_owned())),
        Err(_) => {
            with_hanging(|hanging| hanging.insert(path.to_owned(), thread));
            Err(late)
        }
    }
}

fn with_hanging<T>(using: impl FnOnce(&mut HashMap<String, JoinHandle<()>>) -> T) -> T {
    using(HANGING.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::host::{BoxFuture, CommandError, CommandLimits};

    /// A file that answers when the test says so.
    struct Hung {
        asked: AtomicUsize,
        answer: Mutex<Receiver<()>>,
    }

    impl Env for Hung {
        fn var(&self, _: &str) -> Option<String> {
            None
        }

        fn read_private(&self, _: &str, _: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _ = self.answer.lock().expect("no panic").recv();
            Ok(Zeroizing::new(b"{}".to_vec()))
        }

        fn run<'a>(
            &'a self,
            _: &'a [String],
            _: CommandLimits,
        ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
            unreachable!("a file is read")
        }
    }

    /// L2, S6
    #[tokio::test]
    async fn a_file_that_hangs_is_given_up_and_holds_one_thread() {
        let (answer, asked) = channel();
        let hung = Arc::new(Hung { asked: AtomicUsize::new(0), answer: Mutex::new(asked) });
        let env: Arc<dyn Env> = hung.clone();
        for _ in 0..3 {
            let late = within(&env, "hung", 20).await.expect_err("it hangs");
            assert!(late.to_string().contains("does not answer within 20 ms"), "{late}");
        }
        assert_eq!(hung.asked.load(Ordering::SeqCst), 1);
        answer.send(()).expect("the thread waits");
        while with_hanging(|hanging| hanging.get("hung").is_some_and(|thread| !thread.is_finished())) {
            tokio::task::yield_now().await;
        }
        answer.send(()).expect("the environment lives");
        assert_eq!(**within(&env, "hung", 20_000).await.expect("it answers"), *b"{}");
    }
}
