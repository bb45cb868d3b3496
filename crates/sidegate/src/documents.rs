//! Fetches the documents that RequestAuthentications name, key sets above all:
//! from Services of the cluster where they are on this machine, else from the web.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use gateway::{Body, CallContext, Embedded, Endpoint};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use identity::{HttpClient, HttpError};
use ipnet::IpNet;
use policy::{Caller, Destination, Entrance, Scheme};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use resources::ServiceName;

use crate::backends::Backends;

/// Longer documents are cut off, and then make no sense.
const MAX_BODY: usize = 256 * 1024;

/// Whoever asks has a limit of their own, for everything.
const STALL: Duration = Duration::from_secs(30);

pub(crate) struct Documents {
    backends: Arc<Backends>,
    networks: Networks,
    web: LateClient,
    /// To addresses that YAML gives for a Service.
    inside: LateClient,
}

/// A client that is made when it is first asked for: it reads the certificates of all authorities, which takes longer
/// than the rest of a start, and most clusters fetch nothing.
#[derive(Default)]
struct LateClient(OnceLock<Result<reqwest::Client, HttpError>>);

impl LateClient {
    fn get(&self, resolver: Option<&Networks>) -> Result<&reqwest::Client, HttpError> {
        let made = self.0.get_or_init(|| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(STALL)
                .read_timeout(STALL)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy();
            if let Some(networks) = resolver {
                builder = builder.dns_resolver(Arc::new(networks.clone()));
            }
            builder.build().map_err(|error| failed(&error))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

/// Addresses that may be called: public ones, and those that the operator lists.
#[derive(Clone, Debug)]
struct Networks(Arc<[IpNet]>);

impl Networks {
    fn may_call(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !is_nowhere(address)
            && (is_public(address) || self.0.iter().any(|network| network.contains(&address)))
    }

    /// The error names the setting: it is read by who wrote the rule.
    fn check(&self, host: &str, address: IpAddr) -> Result<(), String> {
        if self.may_call(address) {
            return Ok(());
        }
        Err(format!(
            "`{host}` is at {address}, which is no public address: list its network under `spec.keys.networks` of the Sidegate object if keys may come from there"
        ))
    }
}

/// Addresses that no issuer has: cloud metadata is at a link-local one.
fn is_nowhere(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Not on this machine and not in a private or provider's network (RFC 1918,
/// 6598, 4193, 2544).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            let benchmark = a == 198 && b & 0xfe == 18;
            !(v4.is_loopback() || v4.is_private() || a == 0 || a >= 240 || shared || benchmark)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local()),
    }
}

/// Looks names up, and keeps those addresses that may be called.
impl Resolve for Networks {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let checked = found.iter().map(|at| networks.check(host, at.ip()));
            match checked.collect::<Result<Vec<()>, String>>() {
                Ok(_) => Ok(Box::new(found.into_iter()) as Addrs),
                Err(why) => Err(why.into()),
            }
        })
    }
}

fn failed(error: &dyn std::error::Error) -> HttpError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    HttpError(text)
}

impl Documents {
    /// `networks`: where keys may come from beside public addresses.
    pub(crate) fn new(backends: Arc<Backends>, networks: &[IpNet]) -> Self {
        Self {
            backends,
            networks: Networks(networks.into()),
            web: LateClient::default(),
            inside: LateClient::default(),
        }
    }

    async fn fetch(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default();
        let scheme = uri.scheme_str().unwrap_or_default();
        let port = uri
            .port_u16()
            .unwrap_or(if scheme == "https" { 443 } else { 80 });
        let inside = host.ends_with(".svc") || host.ends_with(".svc.cluster.local");
        let service = ServiceName::from_host(host, "istio-system");
        let endpoint = service.map(|service| {
            self.backends
                .endpoint(&Destination::Service { service, port })
        });
        match endpoint {
            Some(Endpoint::Embedded(service)) => embedded(&*service, request).await,
            Some(Endpoint::Tcp { authority, .. }) if scheme == "http" => {
                let address = authority.parse().map(|at: SocketAddr| at.ip());
                if address.is_ok_and(is_nowhere) {
                    return Err(HttpError(format!("`{host}` is at {authority}")));
                }
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                let client = self.inside.get(None)?;
                let mut sent = client.get(format!("http://{authority}{path}"));
                if let Some(authority) = uri.authority() {
                    sent = sent.header(header::HOST, authority.as_str());
                }
                collect(sent).await
            }
            Some(Endpoint::Missing(why)) if inside => Err(HttpError(why)),
            _ => {
                // A literal address, in any of its spellings, is not looked up.
                let url = Url::parse(&uri.to_string()).map_err(|error| failed(&error))?;
                let literal = url.host_str().unwrap_or_default();
                let literal = literal.trim_start_matches('[').trim_end_matches(']');
                if let Ok(address) = literal.parse() {
                    self.networks.check(host, address).map_err(HttpError)?;
                }
                collect(self.web.get(Some(&self.networks))?.get(url)).await
            }
        }
    }
}

async fn collect(request: reqwest::RequestBuilder) -> Result<Response<Bytes>, HttpError> {
    let mut answer = request.send().await.map_err(|error| failed(&error))?;
    let mut body = BytesMut::new();
    while body.len() < MAX_BODY
        && let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))?
    {
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    Ok(response)
}

async fn embedded(
    service: &dyn Embedded,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let uri = request.uri().clone();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let mut sent = Request::new(Body::empty());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *sent.uri_mut() = path.parse().map_err(|error| failed(&error))?;
    let host = HeaderValue::from_str(authority).map_err(|error| failed(&error))?;
    sent.headers_mut().insert(header::HOST, host);
    let context = CallContext {
        caller: Caller::Anonymous,
        entrance: Entrance::Local,
        scheme: Scheme::Http,
        authority: authority.to_owned(),
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        workload: None,
    };
    let (parts, body) = service.call(sent, context).await.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| HttpError(error.to_string()))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

impl HttpClient for Documents {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(self.fetch(request))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn fetch(networks: &[&str], address: &str) -> Result<Bytes, HttpError> {
        let networks: Vec<IpNet> = networks.iter().map(|n| n.parse().unwrap()).collect();
        let documents = Documents::new(Arc::default(), &networks);
        let request = Request::get(address).body(Bytes::new()).unwrap();
        documents.send(request).await.map(Response::into_body)
    }

    #[tokio::test]
    async fn keys_come_from_public_addresses_and_listed_networks() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answered = tokio::spawn(async move {
            let mut answered = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                stream.write_all(answer).await.unwrap();
                answered += 1;
                if answered == 2 {
                    break;
                }
            }
            answered
        });
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"] {
            let refused = fetch(&[], &format!("http://{host}:{port}/keys")).await;
            let why = refused.unwrap_err().0;
            assert!(why.contains("spec.keys.networks"), "{host}: {why}");
        }
        for host in ["127.0.0.1", "localhost"] {
            let address = format!("http://{host}:{port}/keys");
            let found = fetch(&["127.0.0.0/8", "::1/128"], &address).await;
            assert_eq!(found.unwrap(), "{}", "{host}");
        }
        assert_eq!(answered.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_client_is_made_for_those_who_ask_it() {
        let networks = ["127.0.0.0/8".parse().unwrap()];
        let documents = Documents::new(Arc::default(), &networks);
        let made = |client: &LateClient| client.0.get().is_some();
        let ask = |address: &str| {
            let request = Request::get(address).body(Bytes::new()).unwrap();
            documents.send(request)
        };
        ask("http://10.0.0.1/keys").await.unwrap_err();
        assert!(!made(&documents.web) && !made(&documents.inside));
        ask("http://127.0.0.1:1/keys").await.unwrap_err();
        assert!(made(&documents.web) && !made(&documents.inside));
    }

    #[test]
    fn metadata_addresses_are_no_issuers_whatever_is_listed() {
        let all = Networks(["0.0.0.0/0", "::/0"].map(|n| n.parse().unwrap()).into());
        let none = Networks([].into());
        for (address, listed, unlisted) in [
            ("169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
            ("10.0.0.1", true, false),
            ("172.31.0.1", true, false),
            ("100.64.0.1", true, false),
            ("198.19.0.1", true, false),
            ("fd00:ec2::254", true, false),
            ("::1", true, false),
            ("8.8.8.8", true, true),
            ("2001:4860:4860::8888", true, true),
        ] {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(all.may_call(ip), listed, "{address}, everything listed");
            assert_eq!(none.may_call(ip), unlisted, "{address}, nothing listed");
        }
    }
}
