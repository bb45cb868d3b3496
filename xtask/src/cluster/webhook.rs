//! Another authorizer of the cluster, which the API server asks before its own about users of `webhook.example`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::api::text;
use crate::directory::peers;

pub(super) const ALLOWED: &str = "allowed@webhook.example";
pub(super) const DENIED: &str = "denied@webhook.example";
/// It never answers about this one.
pub(super) const SILENT: &str = "silent@webhook.example";

/// How long the API server waits for it.
const PATIENCE: &str = "2s";

/// Starts it for as long as this process is there; the file that tells the API server of it.
pub(super) fn start(folder: &Path) -> Result<PathBuf> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(peers().join("server.pem"))?.collect();
    let key = PrivateKeyDer::from_pem_file(peers().join("server.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            // Who asks ends connections as it likes.
            std::thread::spawn(move || drop(answer(stream, config)));
        }
    });
    written(folder, address)
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> Result<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let review: Value = serde_json::from_slice(&body)?;
    let status = match text(&review, "/spec/user") {
        ALLOWED => json!({"allowed": true, "reason": "it is one of ours"}),
        DENIED => json!({"allowed": false, "denied": true, "reason": "it is nobody's"}),
        SILENT => {
            std::thread::sleep(Duration::from_secs(3600));
            return Ok(());
        }
        _ => json!({"allowed": false}),
    };
    let said = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        said.len()
    );
    let stream = stream.get_mut();
    stream.write_all(format!("{head}{said}").as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush().context("answering")
}

fn written(folder: &Path, address: SocketAddr) -> Result<PathBuf> {
    let (config, server) = (
        folder.join("authorization.yaml"),
        folder.join("webhook.yaml"),
    );
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "webhook",
        "clusters": [{"name": "webhook", "cluster": {"server": format!("https://{address}/"),
            "certificate-authority": peers().join("ca.pem")}}],
        "users": [{"name": "api-server", "user": {}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": "api-server"}}]});
    std::fs::write(&server, kubeconfig.to_string())?;
    let authorization = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "Webhook", "name": "others", "webhook": {
                "timeout": PATIENCE, "authorizedTTL": "1s", "unauthorizedTTL": "1s",
                "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
                "failurePolicy": "NoOpinion",
                "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": server},
                "matchConditions": [{"expression": "request.user.endsWith('@webhook.example')"}]}},
            {"type": "RBAC", "name": "rbac"}]});
    std::fs::write(&config, authorization.to_string())?;
    Ok(config)
}
