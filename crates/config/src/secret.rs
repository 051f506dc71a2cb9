//! Text that must not be shown, in a configuration or in a file of its own.

use std::fmt;
use std::path::PathBuf;

use crate::Mapping;

/// A password, token or key. `Debug` shows `<secret>`; [`Secret::expose`] is the only way to the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A secret written in place, or in a file that is read again for every use, so that a rotated one counts at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In place.
    Inline(Secret),
    /// In a file; surrounding white space does not count.
    File(PathBuf),
}

/// A secret's file that cannot be read now. It may come later: secrets are often mounted late.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}; check the path and its rights")]
pub struct SecretError {
    path: String,
    source: std::io::Error,
}

impl SecretSource {
    /// Asks a section for the keys `inline` and `file`, of which at most one may be given.
    pub fn decode(fields: &Mapping<'_>, inline: &'static str, file: &'static str) -> Option<Self> {
        let (text, path) = (fields.secret(inline), fields.path(file));
        if text.is_some() && path.is_some() {
            fields.node().problem(format!("at most one of {inline} and {file} may be given; keep one"));
        }
        text.map(Self::Inline).or(path.map(Self::File))
    }

    /// The same for a pair of which one must be given.
    pub fn required(fields: &Mapping<'_>, inline: &'static str, file: &'static str) -> Option<Self> {
        let found = Self::decode(fields, inline, file);
        if found.is_none() && fields.get(inline).is_none() && fields.get(file).is_none() {
            fields.node().problem(format!("{inline} is missing; give {inline} or {file}"));
        }
        found
    }

    /// The secret itself.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn read(&self) -> Result<String, SecretError> {
        match self {
            Self::Inline(secret) => Ok(secret.expose().to_owned()),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim().to_owned()),
                Err(source) => Err(SecretError { path: path.display().to_string(), source }),
            },
        }
    }
}
