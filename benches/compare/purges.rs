//! Purges of a cache on loopback that accepts all of them, as fast as they come and on a disk that is slow.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::inputs::{HEAD, remove};
use crate::measure::{Setup, command, freshen, is_there, run};
use crate::table::{Amount, Row, Table};

const URLS: usize = 50_000;
/// Of them while commits are slow.
const FEW: usize = 1_000;
/// So many calls a second are allowed by default; at least these have to leave.
const SLOW_RATE: u64 = 80;
const COMMIT_MS: u64 = 50;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Without a limit, beside curl.
pub(crate) fn purges(setup: &Setup, table: &mut Table) {
    if !is_there("curl", "--version") {
        return table.skip("purges of a cache", "curl is not installed");
    }
    let urls = setup.scaled(URLS);
    let site = Site::new(setup, "purges", urls, "limits: {calls_per_second: 1000000}");
    let list = site.folder.join("urls.txt");
    let mut text = String::from("request = PURGE\nheader = \"Host: www.example.com\"\nno-progress-meter\n");
    for page in 0..urls {
        let _ = writeln!(text, "url = \"http://{}/{page:06}.html\"\noutput = /dev/null", site.cache);
    }
    fs::write(&list, text).expect("written");
    let curl = || {
        let mut curl = command("curl");
        curl.args(["--parallel", "--parallel-max", "50", "--config"]).arg(&list);
        run(curl);
    };
    let (ours, theirs) = setup.side_by_side(|| run(site.apply()), curl);
    let row = Row::time(format!("{urls} purges of a cache, without a limit"), ours);
    table.add(row.beside("curl --parallel --parallel-max 50", theirs).at_most_times(1.0 / 0.9, Duration::ZERO));
}

/// At the default limit, on a disk whose every sync takes long.
pub(crate) fn slow_commits(setup: &Setup, table: &mut Table) {
    if !is_there("strace", "--version") {
        return table.skip("purges on a slow disk", "strace is not installed");
    }
    let urls = setup.scaled(FEW);
    let site = Site::new(setup, "slow", urls, "");
    let delay = format!("inject=fsync,fdatasync:delay_exit={}", COMMIT_MS * 1000);
    let time = setup.shortest(|| {
        let apply = site.apply();
        let mut slowed = command("strace");
        slowed.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &delay]);
        slowed.arg(apply.get_program()).args(apply.get_args()).current_dir(&site.folder);
        run(slowed);
    });
    let most = Amount::Time(Duration::from_secs(urls as u64) / u32::try_from(SLOW_RATE).expect("a small number"));
    table.add(Row::time(format!("{urls} purges, each sync slowed by {COMMIT_MS} ms"), time).at_most(most));
}

/// A manifest whose pages were never purged.
struct Site {
    folder: PathBuf,
    cache: String,
}

impl Site {
    fn new(setup: &Setup, name: &str, urls: usize, limits: &str) -> Self {
        let folder = setup.path(name);
        remove(&folder);
        fs::create_dir_all(folder.join("manifests")).expect("a folder");
        let cache = listen();
        let provider =
            format!("{{kind: http-purge, hosts: [www.example.com], endpoints: [\"http://{cache}\"], {limits}}}");
        let mut text = format!("{HEAD}providers:\n  own: {provider}\nassets:\n");
        (0..urls).for_each(|page| text += &format!("  {page:06}.html: rev:{page}\n"));
        fs::write(folder.join("manifests/site.yaml"), text).expect("written");
        Self { folder, cache }
    }

    /// The first run.
    fn apply(&self) -> Command {
        remove(&self.folder.join(".freshen"));
        freshen(&self.folder, &["apply", "--purge-all"])
    }
}

/// A cache that ends with this program; its address.
fn listen() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address.to_string()
}

fn serve(mut stream: TcpStream) {
    let (mut bytes, mut held) = ([0; 4096], Vec::new());
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        held.extend_from_slice(&bytes[..read]);
        while let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            held.drain(..end + 4);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}
