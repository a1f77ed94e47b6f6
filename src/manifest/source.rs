//! Manifest files as they come in: small ones whole, large ones piece by piece, so that they need not be held.

use std::sync::OnceLock;

use crate::core::model::TreePath;

/// A manifest file.
pub struct SourceFile {
    /// Path relative to the working directory, normalised, with `/`.
    pub path: String,
    /// Where it is, wherever it is read from.
    pub tree: TreePath,
    content: Content,
}

/// A file that is too large to be held while its assets are read. It is read again where that is needed.
pub trait Pieces: Send + Sync {
    /// Shows `visit` the bytes from first to last until it answers `false`.
    ///
    /// # Errors
    /// What is wrong, as it follows the file's name; also if the file is not what it was when it was found.
    fn each(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), String>;
}

enum Content {
    Whole(Vec<u8>),
    Pieces { pieces: Box<dyn Pieces>, whole: OnceLock<Result<Vec<u8>, String>> },
}

impl SourceFile {
    /// A file whose bytes were read.
    pub fn whole(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(path.into(), Content::Whole(bytes.into()))
    }

    /// A large file.
    pub fn in_pieces(path: impl Into<String>, pieces: Box<dyn Pieces>) -> Self {
        Self::new(path.into(), Content::Pieces { pieces, whole: OnceLock::new() })
    }

    fn new(path: String, content: Content) -> Self {
        let tree = TreePath { path: path.clone(), ..TreePath::default() };
        Self { path, tree, content }
    }

    /// The same file, known by its tree.
    #[must_use]
    pub fn of_tree(self, tree: TreePath) -> Self {
        Self { tree, ..self }
    }

    /// All bytes. Those of a large file are held from now on.
    ///
    /// # Errors
    /// As [`Pieces::each`].
    pub fn text(&self) -> Result<&[u8], &str> {
        match &self.content {
            Content::Whole(bytes) => Ok(bytes),
            Content::Pieces { pieces, whole } => {
                let read = || {
                    let mut bytes = Vec::new();
                    pieces.each(&mut |piece| {
                        bytes.extend_from_slice(piece);
                        true
                    })?;
                    Ok(bytes)
                };
                whole.get_or_init(read).as_deref().map_err(String::as_str)
            }
        }
    }

    /// Shows `visit` the bytes from first to last until it answers `false`.
    ///
    /// # Errors
    /// As [`Pieces::each`].
    pub fn each(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), String> {
        match &self.content {
            Content::Whole(bytes) => {
                visit(bytes);
                Ok(())
            }
            Content::Pieces { pieces, .. } => pieces.each(visit),
        }
    }
}

impl std::fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceFile").field("path", &self.path).finish_non_exhaustive()
    }
}
