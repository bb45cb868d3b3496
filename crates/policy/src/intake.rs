//! What a gateway's connection manager does with a request before any filter
//! sees it (istio `buildHTTPConnectionManager`, `connection_settings.go`, envoy
//! `ConnectionManagerUtility::mutateRequestHeaders`).

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use resources::mesh::Normalization;
use resources::proxy::{ConnectionSettings, ProxyConfig};

use crate::connection::Certificate;
use crate::inline;
use crate::path::{BadPath, EscapedSlashes, Normalised, PathRules};
use crate::request::{RequestHead, Scheme, absolute, split};
use crate::settings::IstioVersion;
use crate::view::ListenerView;

/// How the connection managers of some pods are set up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Intake {
    pub(crate) paths: PathRules,
    underscores: Underscores,
    /// Trusted proxies before the gateway.
    pub(crate) proxies: u32,
    certificates: Forwarded,
    /// A sidecar's: where a request comes from is what its headers say.
    pub(crate) inside: bool,
}

/// What becomes of headers with `_` in their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Underscores {
    #[default]
    Allow,
    Reject,
    Drop,
}

/// What becomes of `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forwarded {
    /// Removed, and set from the client's certificate.
    SanitizeSet,
    /// Removed.
    Sanitize,
    /// Kept on connections with a client certificate.
    ForwardOnly,
    /// The same, and added to.
    AppendForward,
    /// Kept.
    Always,
}

/// A request that gets its answer before any policy is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// 400.
    Bad(&'static str),
    /// 400 before there is a request: in plain HTTP, to gRPC clients too.
    Unread(&'static str),
    /// 403.
    Forbidden(&'static str),
    /// 307 to this path, with its query.
    Redirect(String),
    /// The connection comes to nothing: no server for it, or one that does not
    /// take it.
    Closed(String),
}

impl From<BadPath> for Unfit {
    fn from(BadPath(why): BadPath) -> Self {
        Self::Bad(why)
    }
}

impl Intake {
    pub(crate) fn of(
        proxy: &ProxyConfig,
        normalization: Normalization,
        version: IstioVersion,
    ) -> Self {
        let topology = &proxy.gateway_topology;
        let mut intake = Self {
            paths: PathRules::of(normalization, version.dots_with_parameters()),
            underscores: Underscores::Allow,
            proxies: topology.num_trusted_proxies,
            certificates: match topology.forward_client_cert_details.as_deref() {
                Some("SANITIZE") => Forwarded::Sanitize,
                Some("FORWARD_ONLY") => Forwarded::ForwardOnly,
                Some("APPEND_FORWARD") => Forwarded::AppendForward,
                Some("ALWAYS_FORWARD_ONLY") => Forwarded::Always,
                _ => Forwarded::SanitizeSet,
            },
            inside: false,
        };
        // The API server drops fields that the version does not have.
        if version >= IstioVersion::CONNECTION_SETTINGS {
            let edge = proxy.connection_settings.profile.as_deref() == Some("EDGE");
            intake.connections(&proxy.connection_settings, edge);
        }
        intake
    }

    /// Of a sidecar: it is no edge, takes what came before it at its word and
    /// knows clients by what they show.
    pub(crate) fn of_sidecar(
        proxy: &ProxyConfig,
        normalization: Normalization,
        version: IstioVersion,
    ) -> Self {
        let mut intake = Self {
            paths: PathRules::of(normalization, version.dots_with_parameters()),
            underscores: Underscores::Allow,
            proxies: 0,
            certificates: Forwarded::AppendForward,
            inside: true,
        };
        if version >= IstioVersion::CONNECTION_SETTINGS {
            intake.connections(&proxy.connection_settings, false);
        }
        intake
    }

    fn connections(&mut self, settings: &ConnectionSettings, edge: bool) {
        let or = |written: &Option<String>, default: &str| match written.as_deref() {
            None if edge => default.to_owned(),
            written => written.unwrap_or_default().to_owned(),
        };
        let action = or(
            &settings.http_headers_with_underscores_action,
            "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        );
        self.underscores = match action.as_str() {
            "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST" => Underscores::Reject,
            "HEADERS_WITH_UNDERSCORES_DROP_HEADER" => Underscores::Drop,
            _ => Underscores::Allow,
        };
        if let Some(merge) = settings.http_merge_slashes.or(edge.then_some(true)) {
            self.paths.merge_slashes = merge;
        }
        let action = or(
            &settings.http_path_with_escaped_slashes_action,
            "UNESCAPE_AND_REDIRECT",
        );
        self.paths.escaped_slashes = match action.as_str() {
            "" | "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED" => self.paths.escaped_slashes,
            "REJECT_REQUEST" => EscapedSlashes::Reject,
            "UNESCAPE_AND_REDIRECT" => EscapedSlashes::Redirect,
            "UNESCAPE_AND_FORWARD" => EscapedSlashes::Decode,
            _ => EscapedSlashes::Keep,
        };
    }

    fn names(&self, headers: &mut HeaderMap) -> Result<(), Unfit> {
        let odd: Vec<HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().contains('_'))
            .cloned()
            .collect();
        match self.underscores {
            Underscores::Allow => {}
            Underscores::Reject if odd.is_empty() => {}
            Underscores::Reject => {
                return Err(Unfit::Unread("a header name has an underscore"));
            }
            Underscores::Drop => {
                for name in odd {
                    headers.remove(name);
                }
            }
        }
        Ok(())
    }

    /// Says where the request comes from: appends the peer to `x-forwarded-for`,
    /// sets the scheme unless a trusted proxy did.
    fn origin(&self, head: &mut RequestHead, tls: bool) {
        const FOR: &str = "x-forwarded-for";
        const PROTO: &str = "x-forwarded-proto";
        if !self.inside {
            let peer = head.peer.ip().to_canonical().to_string();
            let before = head.headers.get_all(FOR).iter();
            let before = before.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
            let all: Vec<String> = before.chain([peer]).collect();
            if let Ok(all) = HeaderValue::from_str(&all.join(",")) {
                head.headers.insert(FOR, all);
            }
        }
        let own = HeaderValue::from_static(if tls { "https" } else { "http" });
        let trusts = self.inside || self.proxies > 0;
        if !trusts || !head.headers.contains_key(PROTO) {
            head.headers.insert(PROTO, own);
        }
        head.scheme = match head.header(PROTO) {
            Some(proto) if proto.eq_ignore_ascii_case("https") => Scheme::Https,
            _ => Scheme::Http,
        };
    }

    /// Headers that only Envoys speak to each other are not taken from outside.
    fn internal(headers: &mut HeaderMap) {
        const NAMES: [&str; 17] = [
            "x-envoy-internal",
            "x-envoy-decorator-operation",
            "x-envoy-downstream-service-cluster",
            "x-envoy-downstream-service-node",
            "x-envoy-retry-on",
            "x-envoy-retry-grpc-on",
            "x-envoy-max-retries",
            "x-envoy-upstream-alt-stat-name",
            "x-envoy-upstream-rq-timeout-ms",
            "x-envoy-upstream-rq-per-try-timeout-ms",
            "x-envoy-upstream-rq-timeout-alt-response",
            "x-envoy-expected-rq-timeout-ms",
            "x-envoy-force-trace",
            "x-envoy-ip-tags",
            "x-envoy-original-url",
            "x-envoy-hedge-on-per-try-timeout",
            "x-envoy-original-host",
        ];
        for name in NAMES {
            headers.remove(name);
        }
    }

    /// Envoy's `mutateXfccRequestHeader`. What is set leaves out the hash and
    /// the certificate itself.
    fn certificate(&self, headers: &mut HeaderMap, shown: Option<&Certificate>) {
        const NAME: &str = "x-forwarded-client-cert";
        if self.certificates == Forwarded::Always {
            return;
        }
        let Some(shown) = shown.filter(|_| self.certificates != Forwarded::Sanitize) else {
            headers.remove(NAME);
            return;
        };
        if self.certificates == Forwarded::ForwardOnly {
            return;
        }
        let mut parts = vec![format!("Subject=\"{}\"", shown.subject)];
        parts.extend(shown.uris.iter().map(|uri| format!("URI={uri}")));
        parts.extend(shown.dns_names.iter().map(|name| format!("DNS={name}")));
        let mut all: Vec<String> = Vec::new();
        if self.certificates == Forwarded::AppendForward {
            let before = headers.get_all(NAME).iter();
            all.extend(before.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()));
        }
        all.push(parts.join(";"));
        if let Ok(value) = HeaderValue::from_str(&all.join(",")) {
            headers.insert(NAME, value);
        }
    }
}

impl ListenerView<'_> {
    /// Lets a request arrive here as a client sent it, and makes of it what the
    /// filters see: the target, in origin or absolute form, is split and
    /// normalised, headers about the client are added, those that clients may
    /// not send are gone.
    ///
    /// # Errors
    /// [`Unfit`] for requests that are answered before that.
    pub fn receive(&self, head: &mut RequestHead, target: &str) -> Result<(), Unfit> {
        head.arrive_at(self);
        if let Some(Err(why)) = self.snapshot.arrival(head) {
            return Err(Unfit::Closed(why));
        }
        if self.listener.opaque {
            head.path = target.to_owned();
            return Ok(());
        }
        let tls = self.listener.tls.as_ref().filter(|tls| tls.asks());
        let client = head.connection.tls.clone();
        let shown = tls
            .and(client.as_ref())
            .and_then(|tls| tls.certificate.as_ref());
        self.listener
            .intake
            .read(head, target, (client.is_some(), shown))
    }
}

impl Intake {
    /// The same for what is known to be a request, over TLS or not, of whom it is
    /// that shows a certificate.
    pub(crate) fn read(
        &self,
        head: &mut RequestHead,
        target: &str,
        (tls, shown): (bool, Option<&Certificate>),
    ) -> Result<(), Unfit> {
        self.names(&mut head.headers)?;
        inline::join(&mut head.headers);
        let absolute = absolute(target);
        let target = absolute.as_ref().map_or(target, |(.., path)| path);
        let (path, query) = split(target);
        head.query = query;
        if let Some((scheme, authority, _)) = &absolute {
            if *scheme == Scheme::Https && !tls {
                return Err(Unfit::Forbidden(
                    "the target says https, the connection is plain",
                ));
            }
            head.authority = (*authority).to_owned();
        }
        match self.paths.apply(path)? {
            Normalised::Path(path) => head.path = path,
            // Envoy redirects no gRPC client.
            Normalised::Redirect(_) if is_grpc(&head.headers) => {
                return Err(Unfit::Bad("the path has an escaped slash"));
            }
            Normalised::Redirect(path) => {
                head.path = path;
                return Err(Unfit::Redirect(head.path_and_query()));
            }
        }
        self.origin(head, tls);
        if let Some((scheme, ..)) = absolute {
            head.scheme = scheme;
        }
        if !self.inside {
            Intake::internal(&mut head.headers);
        }
        self.certificate(&mut head.headers, shown);
        Ok(())
    }
}

/// A request that one gateway sends to the next, in plain text and in origin
/// form.
pub(crate) fn sent_on(head: &mut RequestHead, proxies: u32) {
    if proxies == 0 {
        head.headers
            .insert("x-forwarded-proto", HeaderValue::from_static("http"));
    }
    head.scheme = match head.came_by_https() {
        true => Scheme::Https,
        false => Scheme::Http,
    };
}

/// Envoy `Grpc::Common::hasGrpcContentType`.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    let rest = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'+'))
}
