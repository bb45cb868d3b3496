//! The request that is explained, from the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use policy::{
    Caller, Certificate, Channel, Channels, ClientTls, Connection, Entrance, ListenerView, Person,
    RequestHead, Scheme, Service, ServiceAccount, Snapshot, TokenHolder, Workload,
};
use resources::{Cluster, ServiceName};

use crate::cli::ExplainArgs;
use crate::live;
use crate::output::{self, BadInput, Style};

fn bad(message: impl Into<String>) -> anyhow::Error {
    BadInput(vec![message.into()]).into()
}

/// The last two arguments are method and URL.
pub(super) fn split(arguments: &[String]) -> anyhow::Result<(Method, Uri, &[String])> {
    let [paths @ .., method, url] = arguments else {
        return Err(bad(
            "expected METHOD and URL, for example `sidegate explain GET http://kubeflow.example.com/`; `--help` shows more",
        ));
    };
    let parsed = Method::from_bytes(method.as_bytes())
        .ok()
        .filter(|_| method.chars().all(|c| c.is_ascii_uppercase()));
    let Some(method) = parsed else {
        let hint = if method.contains("://") {
            "; a URL has no spaces, and METHOD stands before it".to_owned()
        } else if method.chars().all(|c| c.is_ascii_alphabetic()) {
            format!("; did you mean {}?", method.to_ascii_uppercase())
        } else {
            String::new()
        };
        return Err(bad(format!(
            "`{method}` is not a method, expected for example GET, then the URL{hint}"
        )));
    };
    let uri: Uri = url
        .parse()
        .map_err(|error| bad(format!("`{url}` is not a URL: {error}")))?;
    if uri.authority().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad(format!(
            "`{url}` has no host, expected a form like `http://host/path`"
        )));
    }
    Ok((method, uri, paths))
}

pub(super) fn head(
    args: &ExplainArgs,
    cluster: &Cluster,
    snapshot: &Snapshot,
    method: Method,
    url: Uri,
) -> anyhow::Result<RequestHead> {
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    let in_cluster = url
        .host()
        .is_some_and(|h| h.ends_with(".svc.cluster.local"));
    let (entrance, workload) = match args.from.as_deref() {
        Some("outside") => (Entrance::External, None),
        Some(from) => (Entrance::Local, Some(pod(cluster, from)?)),
        None if in_cluster => (Entrance::Local, None),
        None => (Entrance::External, None),
    };
    let target = url.path_and_query().map_or("/", |p| p.as_str());
    let (path, query) = snapshot
        .split_target(target)
        .map_err(|error| bad(error.to_string()))?;
    let scheme = if url.scheme_str() == Some("https") {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let asked_host = url.host().map(str::to_owned);
    let mut head = RequestHead {
        entrance,
        method,
        scheme,
        authority,
        path,
        query,
        headers: headers(args, snapshot)?,
        peer: SocketAddr::new(args.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0),
        connection: Connection {
            tls: tls(args, &url),
            ..Connection::default()
        },
        workload,
    };
    match &args.port {
        Some(wanted) => {
            let listener = listener(snapshot, wanted)?;
            head.arrive_at(&listener);
            if let Some(from) = args.from.as_deref().filter(|_| listener.is_sidecar())
                && head.connection.tls.is_none()
            {
                head.connection.tls = channel(cluster, from, &listener)?;
            }
        }
        // A client that speaks TLS comes to where TLS is spoken.
        None if head.connection.tls.is_some() || scheme == Scheme::Https => {
            let mut secure = snapshot.listeners().filter(|l| l.tls().is_some());
            if let Some(listener) = secure.find(|l| l.side() == entrance) {
                head.arrive_at(&listener);
                if head.connection.tls.is_none() {
                    head.connection.tls = asked_host.as_deref().map(ClientTls::asking_for);
                }
            }
        }
        None => {}
    }
    Ok(head)
}

fn headers(args: &ExplainArgs, snapshot: &Snapshot) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| bad(format!("header `{line}`: expected `Name: value`")))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| bad(format!("`{name}` is not a header name")))?;
        let value = HeaderValue::from_str(value.trim())
            .map_err(|_| bad(format!("header `{line}` has a bad value")))?;
        if snapshot.enforces() && policy::is_identity_header(&name) {
            output::note(
                &Style::Plain,
                &format!("`{name}` claims an identity: removed before anything looks at it"),
            );
            continue;
        }
        if snapshot.enforces() && policy::is_knative_header(&name) {
            output::note(
                &Style::Plain,
                &format!(
                    "`{name}` is written by Knative alone: removed before anything looks at it"
                ),
            );
            continue;
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// What the client says in its handshake; nothing if it speaks plain text.
fn tls(args: &ExplainArgs, url: &Uri) -> Option<ClientTls> {
    let secure = url.scheme_str() == Some("https");
    let named = args.sni.as_deref();
    if named.is_none() && args.certificate.is_none() && !(secure && args.port.is_some()) {
        return None;
    }
    // Clients ask for the host of the URL.
    let host = url.host().filter(|_| secure);
    let mut tls = named
        .or(host)
        .map_or_else(ClientTls::default, ClientTls::asking_for);
    tls.certificate = args.certificate.as_deref().map(Certificate::of);
    Some(tls)
}

/// `8080`, or `NAMESPACE/WORKLOAD:8080` where several gateways open it.
fn listener<'s>(snapshot: &'s Snapshot, wanted: &str) -> anyhow::Result<ListenerView<'s>> {
    let (gateway, port) = match wanted.rsplit_once(':') {
        Some((gateway, port)) => (Some(gateway), port),
        None => (None, wanted),
    };
    let port: u16 = port.parse().map_err(|_| {
        bad(format!(
            "`--port {wanted}`: expected a port, or NAMESPACE/WORKLOAD:PORT"
        ))
    })?;
    let mut all: Vec<ListenerView<'_>> = snapshot.listeners().chain(snapshot.sidecars()).collect();
    // Servers that share a port are told apart by the server name.
    all.dedup_by_key(|l| l.id().clone());
    let names = |listeners: &[&ListenerView<'_>]| -> String {
        let names = listeners.iter().map(|l| {
            let id = l.id();
            format!("{}:{} ({})", id.gateway, id.port, l.describe())
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let found: Vec<&ListenerView<'_>> = all
        .iter()
        .filter(|l| l.id().port == port && gateway.is_none_or(|name| *l.id().gateway == *name))
        .collect();
    match found.as_slice() {
        [one] => Ok(**one),
        [] => Err(bad(format!(
            "`--port {wanted}`: no gateway listens there; these do: {}",
            names(&all.iter().collect::<Vec<_>>())
        ))),
        several => Err(bad(format!(
            "`--port {wanted}`: several gateways listen there, name one: {}",
            names(several)
        ))),
    }
}

/// What a pod shows that calls another one straight, past the gateways.
fn channel(
    cluster: &Cluster,
    from: &str,
    to: &ListenerView<'_>,
) -> anyhow::Result<Option<ClientTls>> {
    let client = cluster.workloads.iter().find(|workload| {
        let own = format!("pod/{}/{}", workload.meta.namespace, workload.meta.name);
        own == from
    });
    let served = to.gateways().first().and_then(|(service, _)| {
        let mut all = cluster.services.iter();
        all.find(|s| *s.meta.namespace == *service.namespace && *s.meta.name == *service.name)
    });
    let (Some(client), Some(service)) = (client, served) else {
        return Ok(None);
    };
    let mut ports = service.spec.ports.iter();
    let leads_here = |port: u16| {
        let name = ServiceName {
            namespace: service.meta.namespace.as_str().into(),
            name: service.meta.name.as_str().into(),
        };
        Channels::new(cluster).port(service, &name, port) == Some(to.port())
    };
    let Some(port) = ports.find(|port| leads_here(port.port)) else {
        return Ok(None);
    };
    match Channels::new(cluster).of(client, service, port.port) {
        Channel::Plain => Ok(None),
        Channel::As(name) => Ok(Some(ClientTls {
            sni: None,
            certificate: Some(Certificate::of(&name)),
        })),
        Channel::Unknown => Err(bad(format!(
            "`--from {from}`: whether it speaks mutual TLS to {} is not in the YAML; say it with `--cert`",
            to.describe()
        ))),
    }
}

fn pod(cluster: &Cluster, from: &str) -> anyhow::Result<Workload> {
    let mut parts = from.split('/');
    let (Some("pod"), Some(namespace), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad(format!(
            "`--from {from}`: expected `outside` or `pod/NAMESPACE/NAME`"
        )));
    };
    let found = live::pods(cluster)
        .find(|pod| *pod.service_account.namespace == *namespace && *pod.pod == *name);
    found.ok_or_else(|| {
        let known: Vec<String> = live::pods(cluster)
            .take(8)
            .map(|pod| format!("{}/{}", pod.service_account.namespace, pod.pod))
            .collect();
        let there = if known.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        bad(format!("no pod `{namespace}/{name}` in the YAML; {there}"))
    })
}

pub(super) fn identity(text: &str) -> anyhow::Result<Caller> {
    match text.split_once(':') {
        Some(("user", email)) if !email.is_empty() => Ok(Caller::Session(Person {
            email: email.into(),
            subject: "".into(),
            groups: Vec::new().into(),
        })),
        Some(("serviceaccount", account)) => {
            let (namespace, name) = account.split_once('/').ok_or_else(|| {
                bad(format!(
                    "`--as {text}`: expected `serviceaccount:NAMESPACE/NAME`"
                ))
            })?;
            let account = ServiceAccount {
                namespace: namespace.into(),
                name: name.into(),
            };
            Ok(Caller::Token(TokenHolder::ServiceAccount(account)))
        }
        Some(("service", name)) if !name.is_empty() => {
            Ok(Caller::Token(TokenHolder::Service(Service {
                name: name.into(),
                groups: [].into(),
            })))
        }
        _ => Err(bad(format!(
            "`--as {text}`: expected `user:EMAIL`, `serviceaccount:NAMESPACE/NAME` or `service:NAME`"
        ))),
    }
}
