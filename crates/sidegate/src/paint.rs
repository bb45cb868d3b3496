//! Colours of text on a terminal.

use std::fmt::Display;
use std::io::IsTerminal;

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colours,
}

impl Paint {
    /// Colours on a terminal only, and not where `NO_COLOR` is set.
    pub(crate) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && std::io::stdout().is_terminal() {
            Self::Colours
        } else {
            Self::Plain
        }
    }

    fn with(self, code: &str, text: impl Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Colours => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    pub(crate) fn strong(self, text: impl Display) -> String {
        self.with("1", text)
    }

    pub(crate) fn faint(self, text: impl Display) -> String {
        self.with("2", text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.with("32", text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.with("31", text)
    }

    /// `✓` or `✗`.
    pub(crate) fn mark(self, holds: bool) -> String {
        if holds {
            self.good("✓")
        } else {
            self.bad("✗")
        }
    }
}
