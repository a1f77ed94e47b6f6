//! Manifests, checksum lists and trees of any size, the same in every run. Each is made once and kept.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::measure::{Setup, settle};

/// A provider that nobody listens at: what is measured sends nothing.
pub(crate) const PROVIDER: &str =
    "providers:\n  own: {kind: http-purge, hosts: [www.example.com], endpoints: [\"http://127.0.0.1:9\"]}\n";
pub(crate) const HEAD: &str = "version: 1\nbase_url: https://www.example.com/\n";

const SECTIONS: [&str; 12] = [
    "static/js",
    "static/css",
    "img/products",
    "img/hero",
    "media/video",
    "docs/api/v2",
    "blog",
    "en/catalog",
    "de/catalog",
    "ja/catalog",
    "fonts",
    "data/feeds",
];
const STEMS: [&str; 10] = ["index", "bundle", "vendor", "main", "product", "thumb", "hero", "chunk", "runtime", "page"];
const EXTENSIONS: [&str; 10] = ["js", "css", "png", "webp", "html", "json", "svg", "woff2", "mp4", "xml"];

/// Sizes of small files in bytes.
const SMALL: std::ops::RangeInclusive<usize> = 1024..=20480;
/// What small files are cut out of, in bytes.
const POOL: usize = 4 << 20;
const PIECE: usize = 1 << 20;

impl Setup {
    /// A folder that `make` fills, unless an earlier run did so for the same `what`.
    fn kept(&self, name: &str, what: &str, make: impl FnOnce(&Path)) -> PathBuf {
        let (folder, note) = (self.path(name), self.path(&format!("{name}.made")));
        if fs::read_to_string(&note).is_ok_and(|made| made == what) {
            return folder;
        }
        eprintln!("  making {name}: {what}");
        let _ = fs::remove_file(&note);
        remove(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        make(&folder);
        settle();
        fs::write(note, what).expect("written");
        folder
    }

    /// A folder with manifests of so many assets, in order of their paths, in so many files.
    pub(crate) fn manifests(&self, name: &str, assets: usize, files: usize) -> PathBuf {
        self.kept(name, &format!("{assets} assets in {files} manifests, two in another"), |folder| {
            let names = sorted_names(0..assets);
            for file in 0..files {
                let mut out = create(&manifest(folder, file));
                writeln!(out, "{HEAD}assets:").expect("written");
                for (name, number) in &names[file * assets / files..(file + 1) * assets / files] {
                    writeln!(out, "  {name}: blake3:{}", digest(*number)).expect("written");
                }
                out.flush().expect("written");
            }
            fs::write(folder.join("manifests/provider.yaml"), PROVIDER).expect("written");
            // Large inventories do not stand alone.
            fs::write(folder.join("manifests/small.yaml"), format!("{HEAD}assets:\n  a: rev:1\n  b: rev:1\n"))
                .expect("written");
        })
    }

    /// A folder with a manifest and the checksum lists that it names: so many assets in so many lists.
    pub(crate) fn lists(&self, name: &str, assets: usize, lists: usize) -> PathBuf {
        self.kept(name, &format!("{assets} assets in {lists} checksum lists"), |folder| {
            let mut text = format!("{PROVIDER}{HEAD}sources:\n");
            for list in 0..lists {
                text += &format!("  - checksums: ../part-{list:02}.b3\n");
                let mut out = create(&checksum_list(folder, list));
                for (name, number) in sorted_names(list * assets / lists..(list + 1) * assets / lists) {
                    writeln!(out, "{}  part-{list:02}/{name}", digest(number)).expect("written");
                }
                out.flush().expect("written");
            }
            drop(create(&manifest(folder, 0)));
            fs::write(manifest(folder, 0), text).expect("written");
        })
    }

    /// A folder with so many files of 1 to 20 KB, as a static site has them.
    pub(crate) fn small_files(&self, name: &str, files: usize) -> PathBuf {
        self.kept(name, &format!("{files} small files"), |folder| {
            let mut random = fastrand::Rng::with_seed(1);
            let mut pool = vec![0; POOL];
            random.fill(&mut pool);
            for file in 0..files {
                let below = folder.join(format!("d{:02}/s{:02}", file % 100, file / 100 % 20));
                let path = below.join(format!("page-{file:07}.html"));
                let size = random.usize(SMALL);
                let at = random.usize(..POOL - size);
                if file < 2000 {
                    fs::create_dir_all(&below).expect("a folder");
                }
                let mut bytes = pool[at..at + size].to_vec();
                bytes[..8].copy_from_slice(&(file as u64).to_le_bytes());
                fs::write(path, bytes).expect("written");
            }
        })
    }

    /// A folder with so many files of this many bytes.
    pub(crate) fn big_files(&self, name: &str, files: usize, bytes: usize) -> PathBuf {
        self.kept(name, &format!("{files} files of {bytes} bytes"), |folder| {
            let mut random = fastrand::Rng::with_seed(2);
            let mut piece = vec![0; PIECE];
            for file in 0..files {
                let mut out = File::create(folder.join(format!("big-{file}.bin"))).expect("a file");
                let mut left = bytes;
                while left > 0 {
                    random.fill(&mut piece);
                    let size = left.min(PIECE);
                    out.write_all(&piece[..size]).expect("written");
                    left -= size;
                }
            }
        })
    }
}

/// The manifest of this number in a folder.
pub(crate) fn manifest(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("manifests/site-{number:03}.yaml"))
}

/// The checksum list of this number in a folder.
pub(crate) fn checksum_list(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("part-{number:02}.b3"))
}

pub(crate) fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
}

/// Gives an asset in the middle of a file another hash: one hex digit, in place.
pub(crate) fn change_one(path: &Path) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let middle = file.metadata().expect("readable").len() / 2;
    let mut bytes = [0; 512];
    file.seek(SeekFrom::Start(middle)).expect("within");
    let read = file.read(&mut bytes).expect("readable");
    // In a manifest the hash stands at the end of its line, in a list at the beginning of the next one.
    let end = bytes[..read].iter().position(|&byte| byte == b'\n').expect("a line");
    let digit = if path.extension().is_some_and(|extension| extension == "yaml") { end - 1 } else { end + 1 };
    let other = if bytes[digit] == b'0' { b"1" } else { b"0" };
    file.seek(SeekFrom::Start(middle + digit as u64)).expect("within");
    file.write_all(other).expect("written");
}

fn create(path: &Path) -> BufWriter<File> {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    BufWriter::with_capacity(PIECE, File::create(path).expect("a file"))
}

/// Plausible paths of 44 bytes or so, each of its own, in order.
fn sorted_names(numbers: std::ops::Range<usize>) -> Vec<(String, usize)> {
    let mut names: Vec<(String, usize)> = numbers.map(|number| (asset_name(number), number)).collect();
    names.sort_unstable();
    names
}

fn asset_name(number: usize) -> String {
    let mixed = (number * 2_654_435_761) & 0xffff_ffff;
    let (section, stem) = (SECTIONS[mixed % SECTIONS.len()], STEMS[(mixed >> 8) % STEMS.len()]);
    let extension = EXTENSIONS[(mixed >> 16) % EXTENSIONS.len()];
    format!("{section}/{:04}/{stem}-{number:08}.{mixed:08x}.{extension}", (mixed >> 5) % 4096)
}

fn digest(number: usize) -> String {
    blake3::hash(&number.to_le_bytes()).to_hex().to_string()
}
