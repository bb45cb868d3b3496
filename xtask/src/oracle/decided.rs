//! The same requests, decided by `policy::decide`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy::{
    Answers, Caller, Certificate, Check, CheckAnswer, CheckResponse, ClientTls, Connection,
    Destination, Entrance, HeaderChanges, ListenerView, NoTrace, Permit, Question, Refusal,
    RequestHead, Scheme, Settings, Snapshot, TokenAnswer, TokenCheck, Unfit, Verdict,
};
use resources::{Cluster, ServiceName};

use super::istio::OUTGOING;
use super::peers::WaysBack;
use super::world::{
    Arrived, GATEWAY_UNDER_TEST, Observed, Sent, World, is_transport_header, joined,
};

/// A compiled cluster.
pub(crate) struct Decider {
    cluster: Cluster,
    snapshot: Snapshot,
    sidecar: bool,
    /// Services that lead back to the gateway, with the ports of its listeners.
    back: WaysBack,
    /// Services that lead to the pod behind the gateway, with its ports.
    behind: WaysBack,
}

impl Decider {
    /// Compiles, or says what of the cluster is not decided here.
    pub(crate) fn new(world: &World) -> Result<Self, String> {
        let mut cluster = resources::parse(&[("cluster.yaml".into(), world.manifests())])
            .map_err(|errors| format!("does not load: {errors}"))?;
        if !world.sidecar {
            // The upstreams here have none.
            for namespace in &mut cluster.namespaces {
                let labels = &mut namespace.meta.labels;
                labels.insert("istio-injection".to_owned(), "disabled".to_owned());
            }
        }
        let snapshot = Snapshot::compile(&cluster, &Settings::default())
            .map_err(|problems| format!("does not compile: {problems:?}"))?;
        let unclear = |p: &&policy::Problem| p.message.contains("not understood");
        if let Some(problem) = snapshot.warnings().iter().find(unclear) {
            return Err(problem.to_string());
        }
        Ok(Self {
            cluster,
            snapshot,
            sidecar: world.sidecar,
            behind: world.ways_behind(Ipv4Addr::LOCALHOST),
            back: match world.sidecar {
                true => WaysBack::new(),
                false => world.ways_back(Ipv4Addr::LOCALHOST),
            },
        })
    }

    /// Listener ports that are looked at.
    pub(crate) fn entrances(&self) -> Vec<u16> {
        let listeners = self.snapshot.listeners();
        let mut ports: Vec<u16> = listeners
            .filter(|listener| listener.entrance().is_some())
            .map(|listener| listener.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// What holds for all requests.
    pub(crate) fn verify(&self) -> verify::Report {
        verify::verify(&self.snapshot)
    }

    /// What becomes of a request, or what of it is not decided here.
    pub(crate) fn observe(&self, sent: &Sent) -> Result<Observed, String> {
        let listener = self.listener(sent);
        let received = listener.map(|listener| self.head(&listener, &sent.complete()));
        let unread = matches!(received, Some(Err(Unfit::Unread(_))));
        let mut observed = self.decide(sent)?;
        observed.headers.sort();
        observed.headers = joined(std::mem::take(&mut observed.headers));
        if let Some(status) = observed.status.filter(|status| {
            *status != LOOP && is_grpc(sent) && observed.upstream.is_none() && !unread
        }) {
            // Envoy words its own answers so that gRPC clients read them.
            observed.grpc = Some(grpc_status(status));
            observed.status = Some(200);
        }
        Ok(observed)
    }

    fn listener(&self, sent: &Sent) -> Option<ListenerView<'_>> {
        let is_it = |listener: &ListenerView<'_>| {
            listener.port() == sent.port && listener.id().gateway.ends_with(GATEWAY_UNDER_TEST)
        };
        if self.sidecar {
            let found = self.snapshot.sidecars().find(is_it)?;
            return Some(found.for_client(client_tls(sent).as_ref()));
        }
        let first = self.snapshot.listeners().find(is_it)?;
        // Of the servers of a port, the one that takes the connection.
        let sni = sent.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let sni = sni.unwrap_or_default().to_ascii_lowercase();
        Some(
            self.snapshot
                .listener_for(first.id(), &sni)
                .unwrap_or(first),
        )
    }

    fn head(&self, listener: &ListenerView<'_>, sent: &Sent) -> Result<RequestHead, Unfit> {
        let behind = !self.behind.is_empty();
        head(listener, sent, behind.then_some(OUTGOING.into()))
    }

    fn decide(&self, sent: &Sent) -> Result<Observed, String> {
        if let Some(what) = beyond(sent) {
            return Err(what);
        }
        let sent = &*sent.complete();
        let mut observed = Observed {
            status: Some(400),
            grpc: None,
            location: None,
            headers: Vec::new(),
            checks: Vec::new(),
            upstream: None,
        };
        let Some(listener) = self.listener(sent) else {
            observed.status = None;
            return Ok(observed);
        };
        let head = match self.head(&listener, sent) {
            Ok(head) => head,
            Err(Unfit::Bad(_) | Unfit::Unread(_)) => return Ok(observed),
            Err(Unfit::Forbidden(_)) => {
                observed.status = Some(403);
                return Ok(observed);
            }
            Err(Unfit::Closed(_)) => {
                observed.status = None;
                return Ok(observed);
            }
            Err(Unfit::Redirect(location)) => {
                observed.status = Some(307);
                observed.location = Some(location);
                return Ok(observed);
            }
        };
        let mut answers = Answers::new();
        loop {
            match policy::decide(&self.snapshot, &head, &answers, &mut NoTrace) {
                Verdict::Ask(Question::Access(check)) => {
                    answers.access_is(*check, policy::AccessAnswer::NoServer);
                }
                Verdict::Ask(Question::Caller(_)) => answers.caller_is(Caller::Anonymous),
                Verdict::Ask(Question::Check(check)) => {
                    let answer = self.answer(sent, &check, &mut observed);
                    answers.check_is(check.id, answer);
                }
                Verdict::Ask(Question::Tokens { hop, checks }) => {
                    for check in &checks {
                        answers.token_is(hop, check, read(check));
                    }
                }
                Verdict::Permit(permit) => {
                    self.forward(&permit, head, &mut observed);
                    break;
                }
                Verdict::Denial(denial) => {
                    observed.status = match &denial.refusal {
                        Refusal::Closed => None,
                        refusal => Some(refusal.status().as_u16()),
                    };
                    if let Refusal::Answer(reply) = &denial.refusal {
                        answer_headers(&reply.headers, &mut observed);
                    }
                    break;
                }
            }
        }
        Ok(observed)
    }

    fn answer(&self, sent: &Sent, check: &Check, observed: &mut Observed) -> CheckAnswer {
        // A namespace may stand before the host.
        let host = check
            .settings
            .service
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let at = format!("{host}:{}", check.settings.port);
        if !self.exists(host, check.settings.port) {
            return CheckAnswer::Failed("the Service has no such port".into());
        }
        let unread = check.path_and_query.is_empty();
        observed.checks.push(Arrived {
            at,
            method: if unread {
                String::new()
            } else {
                check.method.to_string()
            },
            target: check.path_and_query.clone(),
            host: check.authority.clone(),
            headers: visible(&check.headers),
        });
        // Over gRPC there is no answer with such a status but an error.
        if check.grpc && sent.checker.status >= 500 {
            return CheckAnswer::Failed("unavailable".into());
        }
        let headers = sent.checker.headers.iter();
        CheckAnswer::Response(CheckResponse {
            status: StatusCode::from_u16(sent.checker.status).unwrap_or_default(),
            headers: headers
                .filter_map(|(name, value)| pair(name, value))
                .collect(),
            body: bytes::Bytes::new(),
        })
    }

    fn forward(&self, permit: &Permit, head: RequestHead, observed: &mut Observed) {
        let target = permit
            .path_and_query()
            .map_or_else(|| head.path_and_query(), str::to_owned);
        let host = permit.authority().unwrap_or(&head.authority).to_owned();
        let mut headers = head.headers;
        for change in permit.request_headers().iter() {
            change.apply(&mut headers);
        }
        let at = match permit.destination() {
            Destination::Reply(reply) => {
                observed.status = Some(reply.status.as_u16());
                answer_headers(&reply.headers, observed);
                response_changes(permit.response_headers(), observed);
                return;
            }
            Destination::Login => return,
            Destination::Service { service, port } => (
                format!("{}.{}.svc.cluster.local", service.name, service.namespace),
                *port,
            ),
            Destination::Host { host, port } => (host.to_string(), *port),
        };
        if !self.exists(&at.0, at.1) || self.is_cut_off(&at) {
            observed.status = Some(503);
            response_changes(permit.response_headers(), observed);
            return;
        }
        observed.status = Some(200);
        let at = format!("{}:{}", at.0, at.1);
        let inside = head.connection.listener.filter(|_| self.sidecar);
        let inside = inside.map(|listener| listener.port);
        let inside = inside.or_else(|| Some(self.behind.get(&at)?.port()));
        observed.upstream = Some(Arrived {
            at: inside.map_or(at, Arrived::inside),
            method: head.method.to_string(),
            target,
            host,
            headers: visible(&headers),
        });
        response_changes(permit.response_headers(), observed);
    }

    /// Whether a Service leads back to a port of the gateway where nobody takes
    /// plain text.
    fn is_cut_off(&self, (host, port): &(String, u16)) -> bool {
        let Some(back) = self.back.get(&format!("{host}:{port}")) else {
            return false;
        };
        let mut listeners = self.snapshot.listeners();
        !listeners.any(|listener| {
            listener.port() == back.port()
                && listener.id().gateway.ends_with(GATEWAY_UNDER_TEST)
                && listener.tls().is_none()
        })
    }

    /// Whether Envoy would have a cluster of that name.
    fn exists(&self, host: &str, port: u16) -> bool {
        let service = ServiceName::from_host(host, "istio-system");
        let service = service.and_then(|name| self.cluster.service(&name));
        service.is_some_and(|s| s.spec.ports.iter().any(|p| p.port == port))
    }
}

/// What a token says, with the keys that are written in its rule.
fn read(check: &TokenCheck) -> TokenAnswer {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |elapsed| elapsed.as_secs());
    if check.keys.jwks.is_empty() {
        return identity::read_token(&check.token, Err("its keys are not fetched here"), now);
    }
    let keys = identity::Jwks::parse(check.keys.jwks.as_bytes());
    identity::read_token(&check.token, Ok(&keys), now)
}

/// What of a request is not decided here.
fn beyond(sent: &Sent) -> Option<String> {
    let host = |(name, _): &(String, String)| name.eq_ignore_ascii_case("host");
    if sent.headers.iter().any(host) {
        return Some("two Hosts: refused with 400 on purpose, before any policy".into());
    }
    None
}

/// The peers say it, not Envoy.
const LOOP: u16 = 508;

fn is_grpc(sent: &Sent) -> bool {
    sent.headers.iter().any(|(name, value)| {
        let plain = value == "application/grpc";
        name.eq_ignore_ascii_case("content-type")
            && (plain || value.starts_with("application/grpc+"))
    })
}

/// Envoy `Grpc::Utility::httpToGrpcStatus`.
fn grpc_status(status: u16) -> u16 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

fn response_changes(changes: &HeaderChanges, observed: &mut Observed) {
    let mut headers = HeaderMap::new();
    for (name, value) in &observed.headers {
        if let Some((name, value)) = pair(name, value) {
            headers.append(name, value);
        }
    }
    for change in changes.iter() {
        change.apply(&mut headers);
    }
    observed.headers = lines(&headers)
        .into_iter()
        .filter(|(name, _)| name.starts_with("x-"))
        .collect();
}

fn answer_headers(headers: &[(HeaderName, HeaderValue)], observed: &mut Observed) {
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name == http::header::LOCATION {
            observed.location = Some(value);
        } else if name.as_str().starts_with("x-") && !is_transport_header(name.as_str()) {
            observed.headers.push((name.to_string(), value));
        }
    }
}

/// As a peer of Envoy would see them.
fn visible(headers: &HeaderMap) -> Vec<(String, String)> {
    joined(lines(headers))
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !is_transport_header(name.as_str()))
        .map(|(name, value)| {
            (
                name.to_string(),
                // Space around a value is not part of it.
                String::from_utf8_lossy(value.as_bytes()).trim().to_owned(),
            )
        })
        .collect()
}

fn pair(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((
        HeaderName::from_bytes(name.as_bytes()).ok()?,
        HeaderValue::from_bytes(value.as_bytes()).ok()?,
    ))
}

/// The client's side of a handshake.
fn client_tls(sent: &Sent) -> Option<ClientTls> {
    sent.tls.as_ref().map(|tls| ClientTls {
        sni: tls
            .sni
            .as_deref()
            .map(|sni| sni.to_ascii_lowercase().into()),
        certificate: tls.identity.as_deref().map(|uri| Certificate {
            subject: "CN=client".into(),
            ..Certificate::of(uri)
        }),
    })
}

/// The request as it reaches the filters of the listener.
fn head(
    listener: &ListenerView<'_>,
    sent: &Sent,
    local: Option<IpAddr>,
) -> Result<RequestHead, Unfit> {
    let bad = || Unfit::Bad("no head of a request");
    let mut headers = HeaderMap::new();
    for (name, value) in &sent.headers {
        let (name, value) = pair(name, value.trim()).ok_or_else(bad)?;
        headers.append(name, value);
    }
    let mut head = RequestHead {
        entrance: Entrance::External,
        method: Method::from_bytes(sent.method.as_bytes()).map_err(|_| bad())?,
        scheme: Scheme::Http,
        authority: sent.authority.clone(),
        path: String::new(),
        query: None,
        headers,
        peer: SocketAddr::from((sent.source, 1)),
        connection: Connection {
            tls: client_tls(sent),
            local,
            ..Connection::default()
        },
        workload: None,
    };
    listener.receive(&mut head, &sent.target)?;
    Ok(head)
}
