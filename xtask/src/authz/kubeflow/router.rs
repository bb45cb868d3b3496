//! What the router of an InferenceGraph asks models (KServe `cmd/router/main.go`, `callService`): each step by POST, by the
//! model's name in the cluster, with those of its caller's headers that are configured to go on
//! (`router.headers.propagate`) and no others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use testkit::{Answer, curl};

use crate::oracle::{header, read_head};

/// Answers at its address as long as the program runs.
pub(super) struct Router {
    pub(super) address: SocketAddr,
}

struct Graph {
    namespace: &'static str,
    /// A sequence of models, each a hard dependency of those behind it.
    models: &'static [&'static str],
    /// What names of headers that go on begin with.
    headers: &'static [&'static str],
    /// What the names of models lead to.
    gateway: SocketAddr,
}

impl Router {
    pub(super) fn start(
        namespace: &'static str,
        models: &'static [&'static str],
        headers: &'static [&'static str],
        gateway: SocketAddr,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("opening a port")?;
        let address = listener.local_addr()?;
        let graph = Arc::new(Graph {
            namespace,
            models,
            headers,
            gateway,
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let graph = Arc::clone(&graph);
                std::thread::spawn(move || drop(graph.serve(stream)));
            }
        });
        Ok(Self { address })
    }
}

impl Graph {
    /// One request; any path is the graph's.
    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let mut rest = Vec::new();
        let head = read_head(&mut stream, &mut rest).context("no request")?;
        let headers: Vec<(String, String)> =
            head.split("\r\n").skip(1).filter_map(header).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(Ok(0), |(_, length)| length.parse())?;
        let mut body = vec![0; length];
        let there = rest.len().min(length);
        let (known, missing) = body.split_at_mut(there);
        known.copy_from_slice(rest.get(..there).unwrap_or_default());
        stream.read_exact(missing)?;
        let (status, body) = self.run(&headers, &String::from_utf8_lossy(&body))?;
        let answer = format!(
            "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(stream.write_all(answer.as_bytes())?)
    }

    /// What the last step answered, or the first that failed.
    fn run(&self, headers: &[(String, String)], body: &str) -> Result<(u16, String)> {
        let mut last = (500, String::new());
        for model in self.models {
            let answer = self.call(model, headers, body)?;
            last = (answer.status, answer.body);
            if !(200..300).contains(&last.0) {
                break;
            }
        }
        Ok(last)
    }

    fn call(&self, model: &str, headers: &[(String, String)], body: &str) -> Result<Answer> {
        let mut args = vec![
            "-H".to_owned(),
            format!("host: {model}.{}.svc.cluster.local", self.namespace),
            "-H".to_owned(),
            "content-type: application/json".to_owned(),
            "-d".to_owned(),
            body.to_owned(),
        ];
        for (name, value) in headers {
            if self.headers.iter().any(|begin| name.starts_with(begin)) {
                args.extend(["-H".to_owned(), format!("{name}: {value}")]);
            }
        }
        args.push(format!("http://{}/v1/models/{model}:predict", self.gateway));
        Ok(curl(args)?)
    }
}
