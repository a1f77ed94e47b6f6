//! Work that blocks, off the thread that waits for everything else.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Builder};

use tokio::sync::oneshot;

use super::{BoxFuture, Job, Worker};

type Queued = (Job, oneshot::Sender<thread::Result<()>>);

/// Runs jobs on one thread, which starts with the first of them. Without a thread they run where they are handed in.
#[derive(Default)]
pub struct ThreadWorker {
    jobs: OnceLock<Option<Sender<Queued>>>,
}

impl Worker for ThreadWorker {
    fn run(&self, job: Job) -> BoxFuture<'static, ()> {
        let (done, ended) = oneshot::channel();
        match self.jobs.get_or_init(start) {
            // A thread that is there takes every job: it ends with this value.
            Some(jobs) => drop(jobs.send((job, done))),
            None => run((job, done)),
        }
        Box::pin(async {
            if let Ok(Err(panic)) = ended.await {
                resume_unwind(panic);
            }
        })
    }
}

fn start() -> Option<Sender<Queued>> {
    let (jobs, queue): (_, Receiver<Queued>) = channel();
    let work = move || queue.into_iter().for_each(run);
    Builder::new().name("worker".to_owned()).spawn(work).ok().map(|_| jobs)
}

/// A panic goes on where its job is awaited, and leaves the thread to the jobs behind it.
fn run((job, done): Queued) {
    let _ = done.send(catch_unwind(AssertUnwindSafe(job)));
}

/// Runs jobs where they are handed in: for runs whose time is virtual.
pub struct InPlace;

impl Worker for InPlace {
    fn run(&self, job: Job) -> BoxFuture<'static, ()> {
        job();
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::future::FutureExt;

    use super::*;

    #[tokio::test]
    async fn jobs_run_in_order_on_another_thread_and_outlive_a_panic() {
        let worker = ThreadWorker::default();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let note = |number: u32| {
            let ran = Arc::clone(&ran);
            worker.run(Box::new(move || ran.lock().expect("no panic").push((number, thread::current().id()))))
        };
        let (first, panics, last) = (note(1), worker.run(Box::new(|| panic!("a defect"))), note(2));
        // Waiting is not what makes them run.
        last.await;
        assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
        drop(first);
        let ran = ran.lock().expect("no panic");
        assert_eq!(ran.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
        assert!(ran.iter().all(|(_, thread)| *thread != thread::current().id()));
    }

    #[tokio::test]
    async fn in_place_jobs_have_run_when_they_are_handed_in() {
        let ran = Arc::new(Mutex::new(false));
        let job = Arc::clone(&ran);
        let ended = InPlace.run(Box::new(move || *job.lock().expect("no panic") = true));
        assert!(*ran.lock().expect("no panic"));
        ended.await;
    }
}
