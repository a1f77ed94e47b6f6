//! The manifests of a world as files: which list a target, which are there, under which name, and in which place they are read.

use fastrand::Rng;

use crate::vendors::Key;

/// Where the hidden file is.
const HIDDEN: &str = ".ci/hidden.yaml";
/// Most files of a world: a person that copies more tidies up first.
const MOST: usize = 5;
/// Checkouts of the one tree; what is edited in one is edited in all.
const CHECKOUTS: [&str; 2] = ["/site", "/ci/job/site"];

/// The files, in order of number.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    files: Vec<File>,
    /// The last one is hidden, so a run over the folder does not read it. Nobody else lists what it does.
    has_hidden: bool,
}

#[derive(Clone, Debug)]
struct File {
    /// Which file of the beginning it is, or is a copy of: it lists the same.
    origin: usize,
    /// How often it was renamed.
    renamed: u32,
    is_there: bool,
}

/// In which checkout a run reads the files, and how it writes their paths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    checkout: usize,
    /// As seen from the folder above.
    from_above: bool,
}

impl Place {
    /// Any of them, or in the checkout with this root.
    pub(crate) fn draw(dice: &mut Rng, root: Option<&str>) -> Self {
        let drawn = dice.usize(..CHECKOUTS.len());
        let given = CHECKOUTS.iter().position(|checkout| Some(*checkout) == root);
        Self { checkout: given.unwrap_or(drawn), from_above: dice.bool() }
    }

    /// The root of the tree.
    pub(crate) const fn root(self) -> &'static str {
        CHECKOUTS[self.checkout]
    }

    pub(crate) fn working_directory(self) -> &'static str {
        let above = self.root().trim_end_matches("/site");
        if self.from_above { above } else { self.root() }
    }

    /// The path of a file as it is written from there.
    pub(crate) fn written(self, path: &str) -> String {
        if self.from_above { format!("site/{path}") } else { path.to_owned() }
    }
}

/// What a run is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paths {
    /// The folder in which all are.
    #[default]
    Folder,
    /// The hidden file, by its name.
    Hidden,
}

impl Files {
    /// One file that lists everything.
    pub(crate) fn one() -> Self {
        Self::of(1, false)
    }

    fn of(number: usize, has_hidden: bool) -> Self {
        let file = |origin| File { origin, renamed: 0, is_there: true };
        Self { files: (0..number).map(file).collect(), has_hidden }
    }

    /// One file, or several in some worlds.
    pub(crate) fn draw(dice: &mut Rng) -> Self {
        let several = dice.u8(..3) == 0;
        let number = if several { dice.usize(2..=3) } else { 1 };
        let has_hidden = several && dice.u8(..3) == 0;
        Self::of(number, has_hidden)
    }

    pub(crate) const fn has_hidden(&self) -> bool {
        self.has_hidden
    }

    /// Whether there is more than one.
    pub(crate) const fn are_several(&self) -> bool {
        self.files.len() > 1
    }

    /// Somebody renames a file, copies it, takes it away or takes it back.
    pub(crate) fn change(&mut self, dice: &mut Rng) {
        if !self.are_several() || dice.u8(..3) > 0 {
            return;
        }
        let number = dice.usize(..self.files.len());
        if self.is_hidden(number) {
            return;
        }
        match dice.u8(..4) {
            0 | 1 => self.files[number].renamed += 1,
            2 if self.files.len() < MOST => {
                let copy = File { renamed: 0, ..self.files[number].clone() };
                self.files.push(copy);
            }
            _ => self.files[number].is_there ^= true,
        }
    }

    /// How many there were in the beginning that are not hidden.
    fn shown(&self) -> usize {
        let origins = self.files.iter().map(|file| file.origin + 1).max().unwrap_or(1);
        origins - usize::from(self.has_hidden)
    }

    fn is_hidden(&self, number: usize) -> bool {
        self.has_hidden && self.files[number].origin == self.shown()
    }

    /// Whether a run over these paths is about a target.
    pub(crate) fn covers(&self, paths: Paths, key: Key) -> bool {
        (paths == Paths::Hidden) == (self.has_hidden && key.1 % 4 == 3)
    }

    /// Whether a file is to list a target; each target has at least one.
    fn lists(&self, number: usize, key: Key) -> bool {
        if self.covers(Paths::Hidden, key) || self.is_hidden(number) {
            return self.covers(Paths::Hidden, key) && self.is_hidden(number);
        }
        let sets = (1 << self.shown()) - 1;
        ((key.1 * 7 + 3) % sets + 1) & (1 << self.files[number].origin) > 0
    }

    /// Numbers of the files that a run over these paths reads.
    fn read(&self, paths: Paths) -> impl Iterator<Item = usize> {
        let is_read =
            move |number: &usize| self.files[*number].is_there && self.is_hidden(*number) == (paths == Paths::Hidden);
        (0..self.files.len()).filter(is_read)
    }

    /// Paths of the files that a run reads.
    pub(crate) fn paths(&self, paths: Paths) -> Vec<String> {
        self.read(paths).map(|number| self.path(number)).collect()
    }

    /// Whether a file is there, by its absolute path.
    pub(crate) fn is_there(&self, file: &str) -> bool {
        let path = CHECKOUTS.iter().find_map(|root| file.strip_prefix(root)?.strip_prefix('/'));
        path.is_some_and(|path| {
            (0..self.files.len()).any(|number| self.files[number].is_there && self.path(number) == path)
        })
    }

    fn path(&self, number: usize) -> String {
        match (self.is_hidden(number), self.files[number].renamed) {
            (true, _) => HIDDEN.to_owned(),
            (false, renamed) => format!("m{number}r{renamed}.yaml"),
        }
    }

    /// Which of the files that a run reads list a target, by their place in [`Files::paths`].
    pub(crate) fn listing(&self, paths: Paths, key: Key) -> Vec<usize> {
        self.read(paths).enumerate().filter(|(_, number)| self.lists(*number, key)).map(|(place, _)| place).collect()
    }
}
