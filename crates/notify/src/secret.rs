//! Secrets and addresses that stand in the configuration or in a file of their own.

use std::path::PathBuf;

use config::{Mapping, Secret};

use crate::SendError;

/// In place, or in a file that is read again for every notification, so that a rotated secret counts at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Inline(Secret),
    File(PathBuf),
}

impl SecretSource {
    /// Asks a section for `inline` and `file`, of which at most one may be given.
    pub(crate) fn decode(fields: &Mapping<'_>, inline: &'static str, file: &'static str) -> Option<Self> {
        let (text, path) = (fields.secret(inline), fields.path(file));
        if text.is_some() && path.is_some() {
            fields.node().problem(format!("at most one of {inline} and {file} may be given; keep one"));
        }
        text.map(Self::Inline).or(path.map(Self::File))
    }

    /// The same for a pair of which one must be given.
    pub(crate) fn required(fields: &Mapping<'_>, inline: &'static str, file: &'static str) -> Option<Self> {
        let found = Self::decode(fields, inline, file);
        if found.is_none() {
            fields.node().problem(format!("{inline} is missing; give {inline} or {file}"));
        }
        found
    }

    /// The secret itself; white space around what a file holds does not count.
    pub(crate) fn read(&self) -> Result<String, SendError> {
        match self {
            Self::Inline(secret) => Ok(secret.expose().to_owned()),
            Self::File(path) => std::fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| {
                // The file may be on its way: secrets are often mounted late.
                SendError::retry(format!("cannot read {}: {error}; check the path and its rights", path.display()))
            }),
        }
    }
}
