//! What a configuration can have wrong, and what deserves a word.

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not YAML, or a value of another type.
    #[error("the Dex configuration is not readable: {message}")]
    Yaml {
        /// What the parser says, with line and column.
        message: String,
        /// The line, 1-based, where that is known.
        line: Option<u32>,
    },
    /// A field that must be there.
    #[error("`{field}` is missing: expected {expected}")]
    Missing {
        /// Path of the field.
        field: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A field with a value that cannot be used. The value of a secret is not shown.
    #[error("`{field}` is `{value}`: expected {expected}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What was found, or `(hidden)`.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// An environment variable named by a field is unset or empty.
    #[error("`{field}` names the environment variable `{variable}`, which is unset or empty")]
    Environment {
        /// Path of the field.
        field: String,
        /// The variable.
        variable: String,
    },
    /// Two fields that exclude each other.
    #[error("`{field}` and `{other}` exclude each other: expected one of them")]
    Exclusive {
        /// Path of the first field.
        field: String,
        /// Name of the other.
        other: &'static str,
    },
    /// The same identifier twice.
    #[error("`{field}` is `{value}`, which an earlier entry has already")]
    Duplicate {
        /// Path of the field.
        field: String,
        /// The identifier.
        value: String,
    },
}

/// What is accepted but deserves a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// No key of Dex that we know: probably a spelling mistake.
    #[error("unknown key `{key}` has no effect")]
    UnknownKey {
        /// Path of the key.
        key: String,
    },
    /// A key of Dex whose effect is missing here.
    #[error("`{key}` is not supported by the embedded provider and has no effect")]
    UnsupportedKey {
        /// Path of the key.
        key: String,
    },
    /// A value of a list that is not offered.
    #[error("`{key}` lists `{value}`, which the embedded provider does not offer")]
    UnsupportedValue {
        /// Path of the key.
        key: String,
        /// The value.
        value: String,
    },
    /// A client secret that is published in a repository or in documentation.
    #[error(
        "the secret of client `{client}` is a published default: anyone can use it; set your own"
    )]
    PublishedSecret {
        /// Id of the client.
        client: String,
    },
}
