//! `sidegate runtime`: the model server of one container.

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Args};
use inference::{Compat, EventSettings, Manner, ModelSettings};
use runtime::{Folder, FolderSettings, Limits};
use server::{ConnectionLimits, Server};
use serving::Format;

use crate::graphs::GraphArgs;
use crate::model_limits::ModelLimitArgs;
use crate::output::{self, Style};
use crate::pages;
use crate::signals::Signals;

mod mlserver;

pub(crate) const EXAMPLES: &str = "\
Examples:
  sidegate runtime --model_dir=/mnt/models --model_name=iris
  sidegate runtime --model_dir=./models --http_port=8080 --grpc_port=8081
  sidegate runtime --model_dir=./boosters --framework=xgboost
  sidegate runtime --model_dir=./graphs --framework=onnx
  curl localhost:8080/v1/models/iris:predict -d '{\"instances\": [[6.8, 2.8, 4.8, 1.4]]}'

Flags are those of KServe's sklearnserver, xgbserver, lgbserver and predictiveserver; others are
passed over with a warning, as there. A folder without a model file at its top level is a
repository: every folder in it is a model of that name.

Environment: PREDICT_PROBA=true answers with probabilities, KSERVE_LOGLEVEL says how much is told;
with --compat=mlserver also MLSERVER_*, and settings.json in the folder;
CE_MERGE, CE_TYPE and CE_SOURCE say what answers to events say of themselves.
Exit codes: 0 ended by a signal, 1 a model cannot be served (the reason is on standard error and in
the termination log of the container).";

#[derive(Debug, Clone, Args)]
pub(crate) struct RuntimeArgs {
    /// Folder with the model file, or with a folder for each model
    #[arg(long = "model_dir", alias = "model-dir", value_name = "DIR")]
    pub(crate) model_dir: Option<PathBuf>,
    /// Name of the model, if there is one
    #[arg(
        long = "model_name",
        alias = "model-name",
        default_value = "model",
        value_name = "NAME"
    )]
    pub(crate) model_name: String,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDR")]
    pub(crate) host: IpAddr,
    /// Port of metrics alone, besides that of HTTP (0: any); 8082 with --compat=mlserver
    #[arg(long = "metrics_port", value_name = "PORT")]
    pub(crate) metrics_port: Option<u16>,
    /// Rows of several requests that are answered together
    #[arg(long = "max_batch_size", alias = "max-batchsize", requires = "max_latency", value_parser = clap::value_parser!(u32).range(1..), value_name = "ROWS")]
    pub(crate) max_batch_size: Option<u32>,
    /// Milliseconds that a request waits for others
    #[arg(long = "max_latency", alias = "max-latency", requires = "max_batch_size", value_parser = clap::value_parser!(u64).range(1..=60_000), value_name = "MS")]
    pub(crate) max_latency: Option<u64>,
    /// Port of HTTP, which answers gRPC too (0: any)
    #[arg(
        long = "http_port",
        alias = "http-port",
        default_value_t = 8080,
        value_name = "PORT"
    )]
    pub(crate) http_port: u16,
    /// Port of gRPC, which answers HTTP too (0: any)
    #[arg(
        long = "grpc_port",
        alias = "grpc-port",
        default_value_t = 8081,
        value_name = "PORT"
    )]
    pub(crate) grpc_port: u16,
    /// Whether to open the port of gRPC
    #[arg(long = "enable_grpc", default_value = "true", value_name = "BOOL", value_parser = truth, action = ArgAction::Set)]
    pub(crate) enable_grpc: bool,
    /// Bytes of a message of gRPC that comes in
    #[arg(
        long = "grpc_max_receive_message_length",
        default_value_t = 8 << 20,
        value_name = "BYTES"
    )]
    pub(crate) max_receive: usize,
    /// Bytes of a message of gRPC that goes out
    #[arg(
        long = "grpc_max_send_message_length",
        default_value_t = 8 << 20,
        value_name = "BYTES"
    )]
    pub(crate) max_send: usize,
    /// Bytes of an HTTP body
    #[arg(long = "max_body_bytes", default_value_t = 256 << 20, value_name = "BYTES")]
    pub(crate) max_body: usize,
    /// Bytes of all bodies together that are being read or answered
    #[arg(long = "max_bodies_bytes", default_value_t = 1 << 30, value_name = "BYTES")]
    pub(crate) max_bodies: usize,
    /// Requests that may wait for a model that takes a while; more are answered 503
    #[arg(long = "max_queue", alias = "max-queue", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..), value_name = "REQUESTS")]
    pub(crate) max_queue: u32,
    /// Seconds that a body may pause
    #[arg(
        long = "body_timeout",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        value_name = "SECONDS"
    )]
    pub(crate) body_timeout: u64,
    /// Seconds that a connection may be idle
    #[arg(
        long = "timeout-keep-alive",
        alias = "timeout_keep_alive",
        default_value_t = 65,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        value_name = "SECONDS"
    )]
    pub(crate) keep_alive: u64,
    /// Seconds that requests under way may take after a signal
    #[arg(
        long = "drain_timeout",
        alias = "drain-timeout",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(..=86_400),
        value_name = "SECONDS"
    )]
    pub(crate) drain_timeout: u64,
    /// Kind of model files: sklearn, xgboost, lightgbm, catboost or onnx
    #[arg(long, default_value_t = Format::Sklearn, value_name = "NAME")]
    pub(crate) framework: Format,
    #[command(flatten)]
    pub(crate) graphs: GraphArgs,
    #[command(flatten)]
    pub(crate) model_limits: ModelLimitArgs,
    /// Answer with probabilities where models have them
    #[arg(long = "predict_proba", env = "PREDICT_PROBA", default_value = "false", value_name = "BOOL", value_parser = truth, action = ArgAction::Set)]
    pub(crate) predict_proba: bool,
    /// Whose answers are given: kserve, strict for KServe's statuses where a client's mistake is 500 there, or mlserver
    #[arg(long, default_value = "kserve", value_name = "NAME", value_parser = compat)]
    pub(crate) compat: Compat,
    /// Whether answers to events repeat the attributes of the request
    #[arg(long = "ce_merge", env = "CE_MERGE", default_value = "false", value_name = "BOOL", value_parser = true_or_not, action = ArgAction::Set, hide_short_help = true)]
    pub(crate) ce_merge: bool,
    /// Type of answers to events
    #[arg(
        long = "ce_type",
        env = "CE_TYPE",
        value_name = "TEXT",
        hide_short_help = true
    )]
    pub(crate) ce_type: Option<String>,
    /// Source of answers to events
    #[arg(
        long = "ce_source",
        env = "CE_SOURCE",
        value_name = "TEXT",
        hide_short_help = true
    )]
    pub(crate) ce_source: Option<String>,
    /// How much is told: DEBUG, INFO, WARNING, ERROR or CRITICAL
    #[arg(
        long = "log_level",
        env = "KSERVE_LOGLEVEL",
        default_value = "INFO",
        value_name = "LEVEL"
    )]
    pub(crate) log_level: String,
    /// Where Kubernetes reads why a container ended; left alone if it does not exist
    #[arg(
        long = "termination_log",
        default_value = "/dev/termination-log",
        value_name = "FILE"
    )]
    pub(crate) termination_log: PathBuf,
    #[command(flatten)]
    pub(crate) unused: Unused,
}

/// Flags of KServe's servers that are accepted and change nothing: one process uses all cores, and a predictor asks no
/// other.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Accepted from KServe, without effect here")]
pub(crate) struct Unused {
    #[arg(long, value_name = "N", hide_short_help = true)]
    workers: Option<String>,
    #[arg(long, value_name = "N", hide_short_help = true)]
    nthread: Option<String>,
    #[arg(long = "max_threads", value_name = "N", hide_short_help = true)]
    max_threads: Option<String>,
    #[arg(long = "max_asyncio_workers", value_name = "N", hide_short_help = true)]
    max_asyncio_workers: Option<String>,
    #[arg(long = "enable_docs_url", value_name = "BOOL", hide_short_help = true)]
    enable_docs_url: Option<String>,
    #[arg(
        long = "enable_latency_logging",
        value_name = "BOOL",
        hide_short_help = true
    )]
    enable_latency_logging: Option<String>,
    #[arg(
        long = "configure_logging",
        value_name = "BOOL",
        hide_short_help = true
    )]
    configure_logging: Option<String>,
    #[arg(long = "log_config_file", value_name = "FILE", hide_short_help = true)]
    log_config_file: Option<String>,
    #[arg(
        long = "access_log_format",
        value_name = "FORMAT",
        hide_short_help = true
    )]
    access_log_format: Option<String>,
    #[arg(
        long = "event-loop",
        alias = "event_loop",
        value_name = "NAME",
        hide_short_help = true
    )]
    event_loop: Option<String>,
    #[arg(long = "predictor_host", value_name = "HOST", hide_short_help = true)]
    predictor_host: Option<String>,
    #[arg(long = "protocol", value_name = "NAME", hide_short_help = true)]
    protocol: Option<String>,
    #[arg(
        long = "predictor_protocol",
        value_name = "NAME",
        hide_short_help = true
    )]
    predictor_protocol: Option<String>,
    #[arg(
        long = "predictor_use_ssl",
        value_name = "BOOL",
        hide_short_help = true
    )]
    predictor_use_ssl: Option<String>,
    #[arg(
        long = "predictor_request_timeout_seconds",
        value_name = "SECONDS",
        hide_short_help = true
    )]
    predictor_request_timeout_seconds: Option<String>,
    #[arg(
        long = "predictor_request_retries",
        value_name = "N",
        hide_short_help = true
    )]
    predictor_request_retries: Option<String>,
    #[arg(
        long = "enable_predictor_health_check",
        value_name = "BOOL",
        num_args = 0..=1,
        hide_short_help = true
    )]
    enable_predictor_health_check: Option<Option<String>>,
}

fn compat(name: &str) -> Result<Compat, String> {
    match name {
        "kserve" => Ok(Compat::Kserve),
        "strict" => Ok(Compat::Strict),
        "mlserver" => Ok(Compat::Mlserver),
        _ => Err("expected kserve, strict or mlserver".to_owned()),
    }
}

/// Truth values as KServe reads them in the environment: everything but `true` is false.
fn true_or_not(text: &str) -> Result<bool, std::convert::Infallible> {
    Ok(text.eq_ignore_ascii_case("true"))
}

/// Truth values as Python's `strtobool` reads them.
fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// The arguments without flags that `runtime` does not know, each with the values after it, and the names of those flags.
/// KServe's servers pass over them (`parse_known_args`), and manifests rely on that.
pub(crate) fn known(arguments: Vec<OsString>) -> (Vec<OsString>, PassedOver) {
    if arguments.get(1).is_none_or(|command| command != "runtime") {
        return (arguments, PassedOver::default());
    }
    let command = RuntimeArgs::augment_args(clap::Command::new("runtime"));
    let flags: Vec<&str> = command
        .get_arguments()
        .flat_map(|flag| {
            let aliases = flag.get_all_aliases().unwrap_or_default();
            aliases.into_iter().chain(flag.get_long())
        })
        .chain(["help"])
        .collect();
    let (mut kept, mut passed, mut passing) = (Vec::new(), Vec::new(), false);
    for argument in arguments {
        let text = argument.to_string_lossy();
        if let Some(flag) = text.strip_prefix("--") {
            let name = flag.split_once('=').map_or(flag, |(name, _)| name);
            passing = !flags.contains(&name);
            if passing {
                passed.push(name.to_owned());
            }
        }
        if !passing {
            kept.push(argument);
        }
    }
    (kept, PassedOver(passed))
}

/// Names of flags that are not known.
#[derive(Debug, Default)]
pub(crate) struct PassedOver(Vec<String>);

impl PassedOver {
    pub(crate) fn tell(&self) {
        for name in &self.0 {
            let line = format!("`--{name}` is not known here and passed over");
            output::note(&Style::Warning, &line);
        }
    }
}

pub(crate) fn run(args: &RuntimeArgs, passed_over: &PassedOver) -> anyhow::Result<ExitCode> {
    output::start_log_with(filter(&args.log_level));
    let prepared = Prepared::of(args);
    passed_over.tell();
    let served = prepared.and_then(serve);
    if let Err(error) = &served {
        terminated(&args.termination_log, &format!("{error:#}"));
    }
    served
}

/// What is known before anything is opened or told.
struct Prepared {
    args: RuntimeArgs,
    mlserver: Option<ModelSettings>,
    path: PathBuf,
}

impl Prepared {
    /// May begin the program anew, see [`pages::suit`].
    fn of(args: &RuntimeArgs) -> anyhow::Result<Self> {
        let mut args = args.clone();
        let mlserver = match args.compat {
            Compat::Mlserver => Some(mlserver::apply(&mut args)?),
            Compat::Kserve | Compat::Strict => None,
        };
        let path = args.model_dir.clone();
        let path = path.context("expected a folder in `--model_dir`")?;
        pages::suit(&path);
        Ok(Self {
            args,
            mlserver,
            path,
        })
    }
}

fn serve(prepared: Prepared) -> anyhow::Result<ExitCode> {
    let Prepared {
        args,
        mlserver,
        path,
    } = prepared;
    let batching = args.max_batch_size.zip(args.max_latency);
    let batching = batching.and_then(|(rows, wait)| {
        Some(inference::Batching {
            rows: usize::try_from(rows).ok()?,
            wait: Duration::from_millis(wait),
        })
    });
    let model_limits = args.model_limits.limits();
    let max_file = u64::try_from(model_limits.file_bytes)?;
    let folder = Folder::open(FolderSettings {
        path,
        mlserver,
        name: args.model_name.clone(),
        format: args.framework,
        options: inference::Options {
            predict_proba: args.predict_proba,
            batching,
            graphs: args.graphs.open()?,
            estimators: args.compat == Compat::Mlserver,
            limits: model_limits,
        },
        max_file,
    })?;
    let folder = Arc::new(folder);
    let limits = Limits {
        connections: ConnectionLimits {
            keep_alive: Duration::from_secs(args.keep_alive),
            ..ConnectionLimits::default()
        },
        stall: Duration::from_secs(args.body_timeout),
        body: args.max_body,
        bodies: args.max_bodies,
        receive: args.max_receive,
        send: args.max_send,
        queue: usize::try_from(args.max_queue)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("serve")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(answer(&args, folder, limits));
    runtime.shutdown_background();
    outcome
}

async fn answer(
    args: &RuntimeArgs,
    folder: Arc<Folder>,
    limits: Limits,
) -> anyhow::Result<ExitCode> {
    let mut ports = vec![args.http_port];
    if args.enable_grpc {
        ports.push(args.grpc_port);
    }
    ports.extend(args.metrics_port);
    let addresses: Vec<SocketAddr> = ports
        .into_iter()
        .map(|port| SocketAddr::new(args.host, port))
        .collect();
    let mut signals = Signals::new()?;
    let server = Server::bind(&addresses)
        .context("choose other ports with `--http_port` and `--grpc_port`")?;
    let names: Vec<String> = inference::Repository::index(&*folder)
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let names_of = match (args.enable_grpc, args.metrics_port) {
        (false, Some(_)) => ["HTTP", "metrics", ""],
        _ => ["HTTP", "gRPC", "metrics"],
    };
    for (address, what) in server.addresses().iter().zip(names_of) {
        output::note(&Style::Plain, &format!("{what} on {address}"));
    }
    output::note(&Style::Plain, &format!("serving {}", names.join(", ")));
    let until = async {
        signals.received().await;
        output::note(&Style::Plain, "ending: requests under way complete first");
    };
    let manner = Manner {
        compat: args.compat,
        events: EventSettings {
            merge: args.ce_merge,
            kind: args.ce_type.clone(),
            source: args.ce_source.clone(),
        },
        ..Manner::default()
    };
    pages::forget_the_start();
    let grace = Duration::from_secs(args.drain_timeout);
    if !runtime::serve(server, folder, manner, limits, until, grace).await {
        let line = format!("connections were cut after {} s", args.drain_timeout);
        output::note(&Style::Warning, &line);
    }
    Ok(ExitCode::SUCCESS)
}

/// What the log tells at a level of Python's.
fn filter(level: &str) -> &'static str {
    match level.to_ascii_uppercase().as_str() {
        "DEBUG" | "TRACE" => "debug",
        "WARNING" | "WARN" => "warn",
        "ERROR" | "CRITICAL" | "FATAL" => "error",
        _ => "info",
    }
}

/// Writes the reason into a file that is there: Kubernetes makes it, and shows what is in it.
fn terminated(path: &Path, reason: &str) {
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path);
    if let Ok(mut file) = opened {
        // It is on standard error too.
        drop(file.write_all(reason.as_bytes()));
    }
}
