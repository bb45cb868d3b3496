//! What the program tells the console.

use std::fmt;

use subtle::ConstantTimeEq;

/// Everything a page shows, gathered for one request.
#[derive(Debug, Clone)]
pub struct PageView {
    /// Who is logged in.
    pub user: Option<UserView>,
    /// The models, in the order to show them.
    pub models: Vec<ModelView>,
    /// Whether access levels are enforced.
    pub mode: Mode,
    /// Where the gateway listens.
    pub listeners: Vec<ListenerView>,
    /// The configuration in force.
    pub config: ConfigView,
    /// Where the log-out link leads.
    pub logout_path: String,
    /// Belongs to this user; without it the page offers no forms and accepts none.
    pub form_token: Option<FormToken>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// E-mail address.
    pub email: String,
    /// Group names.
    pub groups: Vec<String>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelView {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name of the InferenceService.
    pub name: String,
    /// Whether it answers.
    pub state: ModelState,
    /// What is known about its file.
    pub detail: ModelDetail,
    /// Base URL on the external listener, without a trailing slash.
    pub external_url: Option<String>,
    /// Base URL on the cluster-local listener, without a trailing slash.
    pub local_url: Option<String>,
    /// Who gets through on the external listener.
    pub access_external: Access,
    /// Who gets through on the cluster-local listener.
    pub access_local: Access,
    /// A V1 request body that the model answers.
    pub example_input: Option<String>,
}

/// Whether a model answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelState {
    /// It does.
    Ready,
    /// Not yet.
    Loading,
    /// It will not, and why.
    Failed(String),
}

/// What is known about a model's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDetail {
    /// Class or format, such as `sklearn.svm.SVC`.
    pub class: Option<String>,
    /// Version of the library that wrote it.
    pub version: Option<String>,
    /// How many features one row has.
    pub features: Option<usize>,
}

/// An access level, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// People with a session, machines with a token.
    Login,
    /// A valid token.
    Token,
    /// Any workload of the cluster.
    Cluster,
    /// Everyone.
    Public,
    /// What the cluster's own policies say.
    AsWritten,
    /// Not served on this listener.
    None,
}

/// Whether access levels are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The cluster's policies as they are, nothing added.
    AsWritten,
    /// Every route has its access level.
    Enforce,
}

/// A listener of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerView {
    /// What it is for, such as `external`.
    pub name: String,
    /// Where it listens.
    pub address: String,
}

/// The configuration in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigView {
    /// When it was loaded, as people write it.
    pub loaded_at: String,
    /// How many objects it has.
    pub objects: usize,
    /// Why a newer configuration was refused.
    pub errors: Vec<String>,
    /// What deserves a word.
    pub warnings: Vec<String>,
}

/// Proof that a form was made for this user: derived by the program from a key and the user.
#[derive(Clone)]
pub struct FormToken(String);

impl FormToken {
    /// Wraps `value`, which must be secret, not empty and of one user.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn matches(&self, candidate: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(candidate.as_bytes()))
    }
}

impl fmt::Debug for FormToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormToken(..)")
    }
}

impl Access {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Token => "token",
            Self::Cluster => "cluster",
            Self::Public => "public",
            Self::AsWritten => "as written",
            Self::None => "not served",
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Login => "people who are logged in, or a token of the provider",
            Self::Token => "a valid bearer token",
            Self::Cluster => "any workload of the cluster, without a token",
            Self::Public => "everyone",
            Self::AsWritten => "whoever the cluster’s own policies let through",
            Self::None => "no one",
        }
    }

    pub(crate) fn wants_token(self) -> bool {
        matches!(self, Self::Login | Self::Token)
    }
}

impl ModelView {
    pub(crate) fn is_ready(&self) -> bool {
        self.state == ModelState::Ready
    }

    /// A command to paste for the external listener.
    pub(crate) fn external_command(&self) -> Option<String> {
        let token = self.access_external.wants_token();
        self.command(self.external_url.as_deref()?, token)
    }

    /// A command to paste in a pod.
    pub(crate) fn local_command(&self) -> Option<String> {
        self.command(self.local_url.as_deref()?, self.access_local.wants_token())
    }

    fn command(&self, base: &str, token: bool) -> Option<String> {
        let url = quote(&format!("{base}/v1/models/{}:predict", self.name));
        let body = quote(self.example_input.as_deref()?);
        let token = if token {
            " \\\n  -H \"Authorization: Bearer $TOKEN\""
        } else {
            ""
        };
        Some(format!(
            "curl {url}{token} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"
        ))
    }
}

/// `text` as one word of a POSIX shell.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
