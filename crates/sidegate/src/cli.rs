//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::graphs::GraphArgs;

/// Models answer the workloads that may call them, people log in to the
/// platform, foreign applications are left alone, and nobody writes a path list.
#[derive(Debug, Parser)]
#[command(name = "sidegate", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sidegate up                              the built-in cluster, gated and serving
  sidegate up ./manifests                  your own Kubernetes YAML
  sidegate exec myapp-pod -- sh            a shell as that pod
  sidegate explain --example seed-broken POST \\
    http://sklearn-iris.kserve-test.svc.cluster.local/v1/models/sklearn-iris:predict

Exit codes: 0 done or holds, 1 it failed or does not hold, 2 not decided,
3 the input cannot be used.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up the cluster of some YAML on this machine
    #[command(after_help = UP_EXAMPLES)]
    Up(Box<UpArgs>),
    /// Run a command as a pod of the running cluster
    #[command(after_help = EXEC_EXAMPLES)]
    Exec(ExecArgs),
    /// Make tokens of ServiceAccounts; make, list and revoke API keys
    #[command(after_help = crate::token::EXAMPLES)]
    Token(crate::token::TokenArgs),
    /// Say which objects decide a request, and the answer
    #[command(after_help = EXPLAIN_EXAMPLES, override_usage = EXPLAIN_USAGE)]
    Explain(ExplainArgs),
    /// Prove who may reach what, for all requests, or show one that breaks it
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Say which requests are answered otherwise by another configuration
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Say who gets to a Service, a host, or the routes of an owner
    #[command(after_help = WHO_EXAMPLES)]
    WhoReaches(WhoArgs),
    /// Propose the smallest change with which every claim holds
    #[command(after_help = FIX_EXAMPLES)]
    Fix(FixArgs),
    /// Write one page with who gets where, what is broken and what would change
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Serve models from a folder, as the servers of KServe's runtimes do
    #[command(after_help = crate::runtime::EXAMPLES)]
    Runtime(Box<crate::runtime::RuntimeArgs>),
    /// Look into a model file, check its answers, measure them
    #[command(after_help = crate::model::EXAMPLES)]
    Model(crate::model::ModelArgs),
    /// Run the OpenID provider alone, from Dex's configuration
    #[command(after_help = crate::provider::EXAMPLES)]
    Provider(crate::provider::ProviderArgs),
    /// Answer Envoy's external authorization checks, for gateways of a cluster
    #[command(after_help = crate::authz::EXAMPLES)]
    Authz(Box<crate::authz::AuthzArgs>),
    /// Add, list, disable, enable and reset users of the provider
    #[command(after_help = crate::user::EXAMPLES)]
    User(crate::user::UserArgs),
    /// Add, list and remove applications that people log in to
    #[command(after_help = crate::client::EXAMPLES)]
    Client(crate::client::ClientArgs),
    /// List and end sessions of people at the gateway
    #[command(after_help = crate::session::EXAMPLES)]
    Session(crate::session::SessionArgs),
    /// Copy the provider's keys, users and tokens into one file
    #[command(after_help = crate::backup::EXAMPLES)]
    Backup(crate::backup::BackupArgs),
    /// Hash a password for the provider's configuration
    #[command(after_help = crate::hash_password::EXAMPLES)]
    HashPassword(crate::hash_password::HashPasswordArgs),
}

impl Command {
    /// The form of what it prints.
    pub(crate) fn output(&self) -> VerifyOutput {
        let output = match self {
            Self::Verify(args) => return args.output,
            Self::Up(args) => args.output,
            Self::Explain(args) => args.output,
            Self::Diff(args) => args.output,
            Self::WhoReaches(args) => args.output,
            Self::Fix(args) => args.output,
            Self::Report(args) => args.output,
            Self::Model(args) => args.command.output(),
            Self::Provider(args) => args.output,
            Self::User(args) => args.command.output(),
            Self::Client(args) => args.command.output(),
            Self::Session(args) => args.command.output(),
            Self::Backup(args) => args.place.output,
            Self::Token(args) => args.command.output(),
            Self::Exec(_) | Self::Runtime(_) | Self::Authz(_) | Self::HashPassword(_) => {
                Output::Text
            }
        };
        match output {
            Output::Text => VerifyOutput::Text,
            Output::Json => VerifyOutput::Json,
        }
    }
}

const REPORT_EXAMPLES: &str = "\
Examples:
  sidegate report --example seed-blog-fix -o report.html
  sidegate report ./cluster.yaml --compare ./tomorrow.yaml -o change.html
  sidegate report ./cluster.yaml --istio-version 1.18..1.31 -o upgrade.html
  kubectl kustomize ./overlay | sidegate report - -o report.html";

const WHO_EXAMPLES: &str = "\
Examples:
  sidegate who-reaches model --example seed
  sidegate who-reaches kubeflow/centraldashboard ./cluster.yaml
  sidegate who-reaches shop.example.com ./cluster.yaml --output json";

const FIX_EXAMPLES: &str = "\
Examples:
  sidegate fix --example seed-broken          once with Istio alone, once with Sidegate
  sidegate fix ./cluster.yaml --means istio > change.yaml
  sidegate verify ./cluster.yaml ./change.yaml";

const VERIFY_EXAMPLES: &str = "\
Examples:
  sidegate verify --example seed-blog-fix      every hole with a request that shows it
  sidegate verify ./cluster.yaml ./overlays    files and folders
  kubectl kustomize ./overlay | sidegate verify -
  sidegate verify ./cluster.yaml --intents ./intents.yaml   statements of your own, too
  sidegate verify --example seed-blog-fix --replay     send the requests to a running gateway";

const DIFF_EXAMPLES: &str = "\
Examples:
  sidegate diff ./today.yaml ./tomorrow.yaml
  sidegate diff ./cluster.yaml --istio-version 1.18..1.31   what an upgrade alone changes
  sidegate diff example:seed-broken example:seed-blog-fix
  sidegate diff ./today.yaml ./tomorrow.yaml --allow opened";

const UP_EXAMPLES: &str = "\
Examples:
  sidegate up                                  the example `seed`
  sidegate up --example seed-broken            the same cluster before any cure
  sidegate up ./cluster.yaml ./overlays        files and folders, reloaded on change
  sidegate up ./m --backend shop/web:80=127.0.0.1:3000
  sidegate up ./m --mirror gs://bucket/=./models";

const EXEC_EXAMPLES: &str = "\
Examples:
  sidegate exec myapp-pod -- sh
  sidegate exec myapp-pod -n default -- \\
    curl http://sklearn-iris.kserve-test.svc.cluster.local/v1/models/sklearn-iris";

const EXPLAIN_USAGE: &str = "sidegate explain [OPTIONS] [PATH]... METHOD URL";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  sidegate explain --example seed GET http://kubeflow.example.com/v1anything
  sidegate explain ./manifests POST http://m.ns.svc.cluster.local/v1/models/m:predict --from pod/default/myapp-pod
  sidegate explain --example seed GET http://localhost/ -H 'accept: text/html' --as user:user@example.com
  sidegate explain ./manifests GET http://shop.example.com/admin --all
  kubectl get gateways,virtualservices,authorizationpolicies,services -A -o yaml |
    sidegate explain - GET http://shop.example.com/admin --port 8080 --ip 203.0.113.9";

/// Which cluster.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct ClusterArgs {
    /// Use a built-in example
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) example: Option<Example>,
    /// Istio version whose semantics apply, for example 1.16
    /// [default: the mesh annotation, else the newest]
    #[arg(long, value_name = "VERSION")]
    pub(crate) istio_version: Option<String>,
}

/// What is to hold beside the built-in claims.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct IntentArgs {
    /// Statements of your own, a YAML file (repeatable); those of the Sidegate object count
    /// without it
    #[arg(long, value_name = "FILE")]
    pub(crate) intents: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Example {
    /// The cluster with Sidegate enforcing access levels
    Seed,
    /// The cluster as it was: an in-cluster call meets the login page
    SeedBroken,
    /// The cluster with its published cure, holes included
    SeedBlogFix,
    /// Kubeflow as its manifests install it: oauth2-proxy, tokens, one profile
    Kubeflow,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq, Default)]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Files and folders of Kubernetes YAML, `-` for standard input
    /// [default: the example `seed`]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Address of the external listener: platform, login, models from outside (port 0: any)
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) external: SocketAddr,
    /// Address of the cluster-local listener: models for workloads (port 0: any)
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDR")]
    pub(crate) local: SocketAddr,
    /// Folder for keys, sessions and fetched models
    #[arg(long, env = "SIDEGATE_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Written when everything answers: JSON with the base URLs and the data folder
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Where a Service's requests go: NS/SERVICE[:PORT]=HOST:PORT (repeatable)
    #[arg(long = "backend", value_name = "NS/SERVICE[:PORT]=ADDR")]
    pub(crate) backends: Vec<String>,
    /// Take model files under a prefix from a folder or https URL: gs://bucket/=PATH (repeatable)
    #[arg(long = "mirror", value_name = "PREFIX=TARGET")]
    pub(crate) mirrors: Vec<String>,
    /// Folder with style, logo and words of the login pages
    #[arg(long, value_name = "DIR")]
    pub(crate) theme: Option<PathBuf>,
    /// Bound of the gateway, for example body-bytes=1048576 (repeatable); names: header-bytes,
    /// headers, body-bytes, connections, header-seconds, idle-seconds, stall-seconds
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    pub(crate) limits: Vec<String>,
    #[command(flatten)]
    pub(crate) graphs: GraphArgs,
    #[command(flatten)]
    pub(crate) kubernetes: crate::cluster_api::KubernetesArgs,
    /// Address for /healthz, /readyz and /.well-known/jwks.json (port 0: any) [default: none]
    #[arg(long, value_name = "ADDR")]
    pub(crate) health: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) identity_keys: crate::signed_identity::IdentityKeysArgs,
    /// Summary as text or JSON
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Pod of the YAML
    pub(crate) pod: String,
    /// Namespace of the pod
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
    /// Data folder of the running program
    #[arg(long, env = "SIDEGATE_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Command and its arguments [default: $SHELL]
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Files and folders of Kubernetes YAML, `-` for standard input [default: the example
    /// `seed`]; then METHOD and URL of the request
    #[arg(value_name = "PATH… METHOD URL", hide_default_value = true)]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// A request header (repeatable)
    #[arg(short = 'H', long = "header", value_name = "K: V")]
    pub(crate) headers: Vec<String>,
    /// Who sends it: `outside`, or `pod/NS/NAME`
    /// [default: a pod nobody knows for *.svc.cluster.local hosts, else outside]
    #[arg(long, value_name = "FROM")]
    pub(crate) from: Option<String>,
    /// Assume these credentials: `user:EMAIL`, `serviceaccount:NS/NAME` or `service:NAME`
    #[arg(long = "as", value_name = "WHO")]
    pub(crate) identity: Option<String>,
    /// The listener it arrives at, by port of the gateway's pods: PORT, or
    /// NAMESPACE/WORKLOAD:PORT where several gateways have it
    /// [default: the external or the cluster-local one]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// The server name of the client's TLS handshake
    /// [default with an https URL: its host]
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// The client's certificate, by its SPIFFE ID or another alternative name
    #[arg(long = "cert", value_name = "SPIFFE_ID")]
    pub(crate) certificate: Option<String>,
    /// The address it comes from
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<std::net::IpAddr>,
    /// Show every rule and route that was looked at, instead of what decided
    #[arg(short = 'a', long, visible_alias = "verbose")]
    pub(crate) all: bool,
    /// The token it brings: a JSON object of claims, taken as verified, or a JWT,
    /// verified with the keys that are written in the YAML (`@FILE` for either)
    #[arg(long, value_name = "CLAIMS|JWT")]
    pub(crate) token: Option<String>,
    /// Trace as text or JSON
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Files and folders of Kubernetes YAML, `-` for standard input
    /// [default: the example `seed`]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) own: IntentArgs,
    /// Where the external listener is reached, for the curl lines
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) external: String,
    /// Where the cluster-local listener is reached, for the curl lines
    #[arg(long, default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub(crate) local: String,
    /// Send each request to the gateways at `--external` and `--local`, and say which
    /// answers are not as decided
    #[arg(long)]
    pub(crate) replay: bool,
    /// Write the proofs of what holds to a file, for `--check`
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub(crate) certificate: Option<PathBuf>,
    /// Check the proofs in a file against the configuration, with code that
    /// shares nothing with what wrote them
    #[arg(long, value_name = "FILE")]
    pub(crate) check: Option<PathBuf>,
    /// Exit with 1 also for what lints find
    #[arg(long)]
    pub(crate) strict: bool,
    /// Findings as text, JSON or SARIF
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: VerifyOutput,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq, Default)]
pub(crate) enum VerifyOutput {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For code hosts (SARIF 2.1.0)
    Sarif,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum FixMeans {
    /// Istio's own objects
    Istio,
    /// A Sidegate object
    Sidegate,
}

#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// NAMESPACE/SERVICE[:PORT], a host, or `platform`, `model`, `foreign`, `login`
    pub(crate) target: String,
    /// Files and folders of Kubernetes YAML, `-` for standard input
    /// [default: the example `seed`]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Answer as text or JSON
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct FixArgs {
    /// Files and folders of Kubernetes YAML, `-` for standard input
    /// [default: the example `seed`]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) own: IntentArgs,
    /// Only proposals of this kind
    #[arg(long, value_enum, value_name = "MEANS")]
    pub(crate) means: Option<FixMeans>,
    /// Proposals as YAML or JSON
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Files and folders of Kubernetes YAML, `-` for standard input
    /// [default: the example `seed`]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) own: IntentArgs,
    /// Where the page is written, `-` for standard output
    #[arg(short, long, default_value = "report.html", value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The configuration that would come after: a file, a folder, several joined by commas, or
    /// `example:NAME`
    #[arg(long, value_name = "NEW")]
    pub(crate) compare: Option<PathBuf>,
    /// Where the external listener is reached, for the curl lines
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) external: String,
    /// Where the cluster-local listener is reached, for the curl lines
    #[arg(long, default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub(crate) local: String,
    /// What was found and where it was written, as text or JSON
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The configuration as it is, and as it will be (a file, a folder, several joined by commas,
    /// or `example:NAME`); one alone with a range of versions
    #[arg(required_unless_present = "example", num_args = 1..=2, value_name = "OLD [NEW]")]
    pub(crate) paths: Vec<PathBuf>,
    /// A built-in example as the configuration that is, instead of OLD
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) example: Option<Example>,
    /// Istio version of both, or a range for an upgrade: 1.18..1.31
    #[arg(long, value_name = "VERSION[..VERSION]")]
    pub(crate) istio_version: Option<String>,
    #[command(flatten)]
    pub(crate) own: IntentArgs,
    /// Changes that are wanted: `opened`, `closed`, `redirected`, `moved` (repeatable)
    #[arg(long = "allow", value_name = "CHANGE")]
    pub(crate) allow: Vec<String>,
    /// Changes as text or JSON
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let message =
        || format!("`{text}` is not a duration, expected a form like `10m`, `1h` or `90d`");
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(message)?;
    let (number, unit) = text.split_at_checked(at).ok_or_else(message)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(message()),
    };
    let number: u64 = number.parse().map_err(|_| message())?;
    let total = number
        .checked_mul(seconds)
        .filter(|s| (1..=365 * 24 * 3600).contains(s))
        .ok_or_else(|| format!("`{text}` is out of range, expected between 1s and 365d"))?;
    Ok(std::time::Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("10m", Some(600)),
            ("1h", Some(3600)),
            ("90s", Some(90)),
            ("0s", None),
            ("1d", Some(86_400)),
            ("366d", None),
            ("5", None),
            ("9999999999999999h", None),
        ] {
            assert_eq!(
                super::duration(text).ok().map(|d| d.as_secs()),
                expected,
                "{text}"
            );
        }
    }
}
