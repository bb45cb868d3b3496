//! How the pages look: our stylesheet, and what a folder changes about it.
//!
//! A theme is read whole and checked before anything of it is shown. It comes to the browser inside
//! of the page, under a policy that loads nothing from anywhere.

mod contrast;
mod files;
mod look;
mod style;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::words::Language;

pub(crate) use look::{Look, SCRIPT};

/// What a folder changes about the pages. Clones are cheap enough for reloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Theme {
    /// `style.css`, behind our own.
    style: String,
    /// `logo.svg` or `logo.png`, as a `data:` URL.
    logo: Option<String>,
    /// `favicon.svg`, `favicon.png` or `favicon.ico`, as a `data:` URL.
    favicon: Option<String>,
    /// `messages.<language>.yaml`: texts by their names.
    messages: Vec<(Language, Vec<(String, String)>)>,
    warnings: Vec<String>,
}

impl Theme {
    /// Reads a folder. Files whose name begins with a dot are passed over: volumes of a ConfigMap
    /// have such.
    ///
    /// # Errors
    /// The first file that cannot be part of a theme, and why.
    pub fn load(folder: &Path) -> Result<Self, ThemeError> {
        files::load(folder)
    }

    /// What is accepted but deserves a word: colours that are hard to read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Why a folder is no theme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{file}`: {what}")]
pub struct ThemeError {
    /// The file, with the folder as it was given.
    pub file: String,
    /// What is wrong, and what was expected.
    pub what: String,
}
