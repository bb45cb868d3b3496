//! Requests to the API server, each over a connection of its own.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::directory::peers;
use crate::http::{Answer, parse};

const TIMEOUT: Duration = Duration::from_secs(70);

/// Who asks, and whom.
#[derive(Clone)]
pub(super) struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    bearer: Option<String>,
}

impl Api {
    /// Somebody with a token.
    pub(super) fn new(address: SocketAddr, bearer: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(peers().join("ca.pem"))? {
            roots.add(authority?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            tls: Arc::new(tls),
            bearer: Some(bearer.to_owned()),
        })
    }

    /// Somebody else, or nobody.
    pub(super) fn by(&self, bearer: Option<&str>) -> Self {
        Self {
            bearer: bearer.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The answer, whatever it is.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let name = ServerName::from(self.address.ip());
        let connection = ClientConnection::new(Arc::clone(&self.tls), name)?;
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut stream = StreamOwned::new(connection, stream);
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\naccept: {}\r\n",
            self.address,
            accept(path)
        );
        if let Some(bearer) = &self.bearer {
            write!(head, "authorization: Bearer {bearer}\r\n")?;
        }
        if !body.is_empty() {
            let length = body.len();
            write!(
                head,
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            )?;
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            // Whether all has come says its length.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error.into()),
        }
        parse(&bytes)
    }

    /// What is there after a request that is granted.
    pub(super) fn done(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.ask(method, path, body)?;
        if !matches!(answer.status, 200..=202) {
            bail!("{method} {path}: {} {}", answer.status, answer.text());
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("{method} {path}"))
    }

    /// Makes an object, in its place.
    pub(super) fn create(&self, object: &Value) -> Result<Value> {
        self.done("POST", &collection(object)?, Some(object))
    }

    /// Deletes an object now.
    pub(super) fn delete(&self, object: &Value) -> Result<()> {
        let path = format!("{}/{}", collection(object)?, text(object, "/metadata/name"));
        let now = serde_json::json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
        self.done("DELETE", &path, Some(&now)).map(drop)
    }
}

/// What is asked for. Keys are there as what they are alone, with 406 otherwise.
pub(super) fn accept(path: &str) -> &'static str {
    match path {
        "/openid/v1/jwks" => "application/jwk-set+json, application/json",
        _ => "application/json",
    }
}

/// A field of an object; empty if it has none.
pub(super) fn text<'o>(object: &'o Value, pointer: &str) -> &'o str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Where objects of its kind are.
pub(super) fn collection(object: &Value) -> Result<String> {
    let version = text(object, "/apiVersion");
    let group = match version.contains('/') {
        true => format!("/apis/{version}"),
        false => format!("/api/{version}"),
    };
    let kind = text(object, "/kind");
    let (plural, everywhere) = match kind {
        "ClusterRole" | "ClusterRoleBinding" | "Namespace" | "PersistentVolume" => {
            (format!("{}s", kind.to_ascii_lowercase()), true)
        }
        "NetworkPolicy" => ("networkpolicies".to_owned(), false),
        "" => bail!("an object without a kind: {object}"),
        kind => (format!("{}s", kind.to_ascii_lowercase()), false),
    };
    let namespace = match text(object, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    };
    Ok(match everywhere {
        true => format!("{group}/{plural}"),
        false => format!("{group}/namespaces/{namespace}/{plural}"),
    })
}
