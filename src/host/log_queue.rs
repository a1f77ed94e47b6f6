//! Records on their way to the reader of the log. Their writer never waits for the reader: what does not fit is counted.
//!
//! By hand, since `tracing-appender` bounds lines and not bytes, and neither counts records that a full disk refused nor logs the
//! number of those that are missing.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Records that wait to be written. Each write to it is one record.
pub struct Queue {
    most_bytes: usize,
    waiting: Mutex<Queued>,
    changed: Condvar,
}

struct Queued {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Records that did not fit, and of which nothing was logged yet.
    missing: u64,
    /// Something that was taken out is not written yet.
    is_writing: bool,
}

enum Next {
    Record(Vec<u8>),
    Missing(u64),
}

impl Queue {
    /// An empty one that holds so many bytes.
    pub const fn new(most_bytes: usize) -> Self {
        let waiting = Queued { records: VecDeque::new(), bytes: 0, missing: 0, is_writing: false };
        Self { most_bytes, waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    /// Writes to `out` whatever comes, for ever. Once all that fitted is written, `tell` is given the number of records that
    /// did not fit meanwhile, and once one could be written again, the number of those that could not.
    pub fn write_to(&self, mut out: impl Write, tell: impl Fn(u64)) -> ! {
        let mut unwritten = 0;
        loop {
            match self.next() {
                Next::Record(mut record) => {
                    if unwritten > 0 {
                        // Half of the last one may stand there.
                        record.insert(0, b'\n');
                    }
                    match out.write_all(&record) {
                        Ok(()) if unwritten > 0 => tell(std::mem::take(&mut unwritten)),
                        Ok(()) => {}
                        // A reader that went away is no concern of ours.
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                        Err(_) => unwritten += 1,
                    }
                }
                Next::Missing(number) => tell(number),
            }
        }
    }

    /// Waits until all is written, but not longer than this.
    pub fn drain(&self, longest: Duration) {
        let is_busy = |waiting: &mut Queued| waiting.is_writing || waiting.missing > 0 || waiting.bytes > 0;
        drop(self.changed.wait_timeout_while(self.lock(), longest, is_busy));
    }

    fn push(&self, record: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes + record.len() > self.most_bytes {
            waiting.missing += 1;
        } else {
            waiting.bytes += record.len();
            waiting.records.push_back(record.to_owned());
        }
        self.changed.notify_all();
    }

    fn next(&self) -> Next {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some(record) = waiting.records.pop_front() {
                waiting.bytes -= record.len();
                waiting.is_writing = true;
                return Next::Record(record);
            }
            if waiting.missing > 0 {
                waiting.is_writing = true;
                return Next::Missing(std::mem::take(&mut waiting.missing));
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Queue {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.push(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that takes a record whenever it gets the order.
    struct Reader {
        may: Receiver<()>,
        took: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, record: &[u8]) -> io::Result<usize> {
            self.may.recv().map_err(io::Error::other)?;
            self.took.send(String::from_utf8_lossy(record).into_owned()).map_err(io::Error::other)?;
            Ok(record.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read(queue: &'static Queue) -> (Sender<()>, Receiver<String>) {
        let ((go, may), (took, taken)) = (channel(), channel());
        let tell = move |number| queue.push(format!("{number} missing\n").as_bytes());
        std::thread::spawn(move || queue.write_to(Reader { may, took }, tell));
        (go, taken)
    }

    /// W6: a reader that stops holds up nobody, and learns afterwards how much it has missed, once.
    #[test]
    fn what_does_not_fit_is_counted_and_told_once() {
        static QUEUE: Queue = Queue::new(20);
        let (go, taken) = read(&QUEUE);
        QUEUE.push(b"first\n");
        // Taken out before others come, so that what fits is known.
        go.send(()).expect("there");
        assert_eq!(taken.recv().expect("written"), "first\n");
        for number in 1..=9 {
            QUEUE.push(format!("record {number}\n").as_bytes());
        }
        QUEUE.drain(Duration::from_millis(1));
        drop((0..9).map(|_| go.send(())).collect::<Vec<_>>());
        QUEUE.drain(Duration::from_mins(1));
        let taken: String = taken.try_iter().collect();
        let all = (1..=9).map(|number| format!("record {number}\n"));
        let kept: Vec<String> = all.filter(|record| taken.contains(record)).collect();
        assert!(matches!(kept.len(), 2..=3), "{taken}");
        assert_eq!(taken, format!("{}{} missing\n", kept.concat(), 9 - kept.len()));
    }

    /// A file on a disk that is full for a while.
    struct Disk(&'static AtomicBool, Sender<String>);

    impl Write for Disk {
        fn write(&mut self, record: &[u8]) -> io::Result<usize> {
            if self.0.load(Ordering::Acquire) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.1.send(String::from_utf8_lossy(record).into_owned()).map_err(io::Error::other)?;
            Ok(record.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// C7: records that could not be written are counted as well, and logged once there is room; no half of one spoils another.
    #[test]
    fn what_could_not_be_written_is_told_once_there_is_room() {
        static QUEUE: Queue = Queue::new(1000);
        static IS_FULL: AtomicBool = AtomicBool::new(true);
        let (took, taken) = channel();
        std::thread::spawn(move || {
            QUEUE.write_to(Disk(&IS_FULL, took), |number| QUEUE.push(format!("{number} missing\n").as_bytes()));
        });
        QUEUE.push(b"a\n");
        QUEUE.push(b"b\n");
        QUEUE.drain(Duration::from_mins(1));
        IS_FULL.store(false, Ordering::Release);
        QUEUE.push(b"c\n");
        let bound = Duration::from_mins(1);
        let told: Vec<String> = (0..2).map(|_| taken.recv_timeout(bound).expect("written")).collect();
        assert_eq!(told, ["\nc\n", "2 missing\n"]);
    }

    /// C14: what is queued at the end is written if somebody reads, and the end comes either way.
    #[test]
    fn the_end_waits_for_readers_but_not_for_ever() {
        static STOPPED: Queue = Queue::new(100);
        let (go, taken) = read(&STOPPED);
        STOPPED.push(b"a\n");
        STOPPED.push(b"b\n");
        STOPPED.drain(Duration::from_millis(1));
        assert!(taken.try_recv().is_err());
        drop((0..2).map(|_| go.send(())).collect::<Vec<_>>());
        STOPPED.drain(Duration::from_mins(1));
        assert_eq!(taken.try_iter().collect::<String>(), "a\nb\n");
    }
}
