//! What MLServer reads of its environment and of `settings.json`, put in the place of our own flags.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use inference::ModelSettings;
use serde_json::Value;

use super::RuntimeArgs;

/// Where KServe's runtime for MLServer has models.
const MODELS: &str = "/mnt/models";
/// MLServer's port of metrics.
const METRICS: u16 = 8082;
/// gRPC's own limit, which MLServer leaves as it is.
const MESSAGE: usize = 4 << 20;

/// Fills in what flags leave at their defaults, and returns what the environment says of a model. What a file says goes
/// before the environment, as in MLServer.
///
/// # Errors
/// A file that is no JSON, or a value of another type.
pub(super) fn apply(args: &mut RuntimeArgs) -> Result<ModelSettings> {
    let given = [
        "MLSERVER_MODEL_REPOSITORY_ROOT",
        "MLSERVER_MODELS_DIR",
        "MODELS_DIR",
    ];
    let folder = args.model_dir.clone().or_else(|| {
        let found = given.into_iter().find_map(env::var_os);
        found.map(PathBuf::from)
    });
    let folder = folder.unwrap_or_else(|| PathBuf::from(MODELS));
    let settings = Settings::read(&folder)?;
    if args.http_port == 8080 {
        args.http_port = settings.number("http_port")?.unwrap_or(args.http_port);
    }
    if args.grpc_port == 8081 {
        args.grpc_port = settings.number("grpc_port")?.unwrap_or(args.grpc_port);
    }
    if args.metrics_port.is_none() {
        args.metrics_port = Some(settings.number("metrics_port")?.unwrap_or(METRICS));
    }
    if let (true, Some(host)) = (args.host.is_unspecified(), settings.text("host")) {
        args.host = host
            .parse()
            .with_context(|| format!("MLSERVER_HOST: expected an address, found `{host}`"))?;
    }
    if args.max_receive == 8 << 20 {
        let length = settings.number("grpc_max_message_length")?;
        args.max_receive = length.unwrap_or(MESSAGE);
        args.max_send = length.unwrap_or(args.max_send);
    }
    args.model_dir = Some(folder);
    let model = |name: &str| env::var(format!("MLSERVER_MODEL_{name}")).ok();
    Ok(ModelSettings {
        name: model("NAME").unwrap_or_default(),
        implementation: model("IMPLEMENTATION"),
        uri: model("URI"),
        version: model("VERSION"),
        ..ModelSettings::default()
    })
}

/// `settings.json` of a folder, and the environment.
struct Settings(Value);

impl Settings {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("settings.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let value = serde_json::from_str(&text);
        value
            .map(Self)
            .with_context(|| format!("reading {}", path.display()))
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Null) | None => {
                env::var(format!("MLSERVER_{}", name.to_ascii_uppercase())).ok()
            }
            Some(other) => Some(other.to_string()),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.parse().ok();
        let number =
            number.with_context(|| format!("`{name}`: expected a number, found `{text}`"))?;
        Ok(Some(number))
    }
}
