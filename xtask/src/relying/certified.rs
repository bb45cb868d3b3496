//! Our relying party at a certified provider of others, the package `oidc-provider`: login, renewal, both logouts, another key,
//! answers of somebody else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response};
use identity::{
    AuthserviceConfig, Clock, HttpClient, HttpError, Identity, IdentityClaims, Logins,
    Oauth2ProxyConfig, Parts, RedirectUri, RelyingParty, RpConfig, Secret, SecureCookies,
    SessionConfig, Sessions,
};
use policy::{Caller, Entrance, Reply, RequestHead, Scheme, Tokens};

use crate::child::Running;
use crate::clients::free_port;
use crate::http::ask;
use crate::oracle::read_head;
use crate::visitor::{Browser, form};
use crate::{cache, shell};

const WHO: &str = "ada@example.com";
const SECRET: &str = "a secret of the gate/+ %";

pub(super) fn ours() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(World::new()?.all())
}

/// The provider, and what asks it.
struct World {
    provider: String,
    gateway: String,
    logins: Logins,
    identity: Identity,
    /// Seconds that the gateway's clock is ahead.
    ahead: Arc<AtomicU64>,
    posts: Receiver<Post>,
    _data: tempfile::TempDir,
}

/// A logout token on its way; the status answers it.
struct Post {
    headers: HeaderMap,
    body: Vec<u8>,
    stream: TcpStream,
}

/// A browser with the cookies of the gateway and of the provider.
#[derive(Default)]
struct Person {
    gateway: Vec<(String, String)>,
}

impl World {
    fn new() -> Result<Self> {
        let provider = format!("127.0.0.1:{}", free_port()?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let gateway = listener.local_addr()?.to_string();
        let posts = received(listener);
        let data = tempfile::tempdir().context("making a folder")?;
        let ahead = Arc::new(AtomicU64::new(0));
        let shift = Arc::clone(&ahead);
        let clock: Clock =
            Arc::new(move || SystemTime::now() + Duration::from_secs(shift.load(Ordering::SeqCst)));
        let sessions = Sessions::open(data.path(), SessionConfig::default(), Arc::clone(&clock))?;
        let settings = RpConfig {
            issuer: format!("http://{provider}"),
            auth_url: None,
            client_id: "gate".to_owned(),
            client_secret: Secret::new(SECRET),
            redirect_uri: RedirectUri::OnRequestHost("/oauth2/callback".to_owned()),
            scopes: ["openid", "email", "groups", "offline_access"]
                .map(str::to_owned)
                .to_vec(),
            claims: IdentityClaims::default(),
            bearer_audiences: Vec::new(),
            after_logout_url: "/".to_owned(),
            logout_at_provider: true,
            takes_unnamed_sessions: false,
            logout_paths: vec!["/oauth2/sign_out".to_owned()],
            secure_cookies: SecureCookies::WhenHttps,
            session_cookie: identity::SESSION_COOKIE.to_owned(),
        };
        let http = Arc::new(Plain);
        let login =
            RelyingParty::new(settings, http, sessions.clone(), data.path(), clock.clone())?;
        let logins = Logins::one(Some(Arc::new(login)));
        let identity = Identity::new(Parts {
            sessions,
            logins: logins.clone(),
            cluster_issuer: None,
            cluster_api: None,
            issuers: None,
            api_keys: None,
            authservice: AuthserviceConfig::default(),
            oauth2_proxy: Oauth2ProxyConfig::default(),
            clock,
        });
        Ok(Self {
            provider,
            gateway,
            logins,
            identity,
            ahead,
            posts,
            _data: data,
        })
    }

    /// Starts the provider with a new key.
    fn start(&self, algorithm: &str) -> Result<Running> {
        let folder = shell::root().join("xtask/peers/oidc-provider");
        let modules = cache::node_modules("oidc-provider", &folder)?;
        let script = modules.with_file_name("provider.mjs");
        std::fs::copy(folder.join("provider.mjs"), &script)?;
        let mut command = Command::new("node");
        command
            .arg(script)
            .args([&self.issuer(), &format!("http://{}", self.gateway)])
            .arg(algorithm);
        let listening = |line: &str| (line == "listening").then_some(());
        Ok(Running::until_it_says(&mut command, listening)?.0)
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.provider)
    }

    async fn all(self) -> Result<()> {
        let mut provider = self.start("RS256")?;
        let (mut first, mut second) = (Person::default(), Person::default());
        let mut browser = Browser::default();
        self.log_in(&mut first, &mut browser).await?;
        // The provider knows the browser by now.
        self.log_in(&mut second, &mut browser).await?;
        self.strangers().await?;
        self.renewal(&first).await?;
        self.logout(&mut first, &second, &mut browser).await?;
        provider.end();
        self.another_key().await
    }

    async fn handle(&self, person: &mut Person, target: &str) -> Result<Reply> {
        let login = self.login()?;
        let reply = login.handle(&self.head(person, target)).await;
        let reply = reply.with_context(|| format!("the login has nothing at {target}"))?;
        person.take(&reply);
        Ok(reply)
    }

    fn login(&self) -> Result<&Arc<RelyingParty>> {
        self.logins.of(&self.gateway).context("there is a login")
    }

    fn head(&self, person: &Person, target: &str) -> RequestHead {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let mut headers = HeaderMap::new();
        let cookies = person
            .gateway
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        if let Ok(cookies) = cookies.collect::<Vec<_>>().join("; ").parse() {
            headers.insert("cookie", cookies);
        }
        RequestHead {
            entrance: Entrance::External,
            method: Method::GET,
            scheme: Scheme::Http,
            authority: self.gateway.clone(),
            path: path.to_owned(),
            query,
            headers,
            peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
            connection: policy::Connection::default(),
            workload: None,
        }
    }

    async fn is_known(&self, person: &Person) -> bool {
        let head = self.head(person, "/");
        let caller = self.identity.caller(&head, Tokens::SessionOrBearer).await;
        let groups = ["ml", "ops"];
        matches!(caller, Caller::Session(person)
            if &*person.email == WHO && person.groups.iter().map(|g| &**g).eq(groups))
    }

    /// Begins a login, goes through the provider's pages, and gives the way back.
    async fn go(&self, person: &mut Person, browser: &mut Browser) -> Result<String> {
        let begun = self.handle(person, "/oauth2/start?rd=%2Fwanted").await?;
        let to = location(&begun)?;
        for part in ["code_challenge_method=S256", "nonce=", "state="] {
            ensure!(to.contains(part), "the login has no {part}: {to}");
        }
        let back = format!("http://{}", self.gateway);
        let own = self.issuer();
        let mut at = to.strip_prefix(&own).context("the provider's")?.to_owned();
        let mut fields = String::new();
        for _ in 0..20 {
            let method = if fields.is_empty() { "GET" } else { "POST" };
            let answer = browser.send(&self.provider, method, &at, &fields)?;
            fields.clear();
            if let Some(next) = answer.header("location") {
                if let Some(target) = next.strip_prefix(&back) {
                    return Ok(target.to_owned());
                }
                next.strip_prefix(&own).unwrap_or(next).clone_into(&mut at);
                continue;
            }
            let page = answer.text();
            let action = between(&page, "action=\"", "\"");
            let prompt = between(&page, "name=\"prompt\" value=\"", "\"");
            let (Some(action), Some(prompt)) = (action, prompt) else {
                bail!("{at} has no form: {} {page}", answer.status);
            };
            fields = form(&[("prompt", prompt), ("login", WHO), ("password", "any")]);
            action
                .strip_prefix(&own)
                .unwrap_or(action)
                .clone_into(&mut at);
        }
        bail!("the provider's pages do not end: {at}")
    }

    async fn log_in(&self, person: &mut Person, browser: &mut Browser) -> Result<()> {
        let back = self.go(person, browser).await?;
        ensure!(back.contains("iss="), "the provider names itself: {back}");
        let done = self.handle(person, &back).await?;
        ensure!(location(&done)? == "/wanted", "a login ends with {done:?}");
        ensure!(self.is_known(person).await, "nobody is logged in");
        Ok(())
    }

    /// Answers that are not the provider's to this browser.
    async fn strangers(&self) -> Result<()> {
        let (mut person, mut browser) = (Person::default(), Browser::default());
        let back = self.go(&mut person, &mut browser).await?;
        let iss = format!("iss=http%3A%2F%2F{}", self.provider.replace(':', "%3A"));
        ensure!(back.contains(&iss), "{back} has no {iss}");
        for (what, target) in [
            (
                "another issuer",
                back.replace(&iss, "iss=https%3A%2F%2Fother.example"),
            ),
            ("no issuer", back.replace(&iss, "x=y")),
            ("another state", back.replace("state=", "state=x")),
        ] {
            let reply = self.handle(&mut person.clone(), &target).await?;
            ensure!(reply.status == 400, "{what}: {reply:?}");
        }
        let other = self.handle(&mut Person::default(), &back).await?;
        ensure!(other.status == 400, "another browser: {other:?}");
        // Another login's answer: its verifier and nonce are others.
        let mut second = Person::default();
        let begun = self.handle(&mut second, "/oauth2/start?rd=%2F").await?;
        let to = location(&begun)?;
        let state = between(&to, "state=", "&").or_else(|| to.split("state=").nth(1));
        let old = between(&back, "state=", "&").context("a state")?;
        let swapped = back.replace(old, state.context("a state")?);
        let reply = self.handle(&mut second, &swapped).await?;
        ensure!(reply.status == 502, "a code of another login: {reply:?}");
        Ok(())
    }

    /// Tokens are renewed once they end, and the refresh token is exchanged.
    async fn renewal(&self, person: &Person) -> Result<()> {
        for _ in 0..3 {
            self.ahead.fetch_add(100, Ordering::SeqCst);
            ensure!(self.is_known(person).await, "the session ends at a renewal");
        }
        Ok(())
    }

    /// One of two sessions is ended here, and the other by the provider.
    async fn logout(
        &self,
        first: &mut Person,
        second: &Person,
        browser: &mut Browser,
    ) -> Result<()> {
        ensure!(self.is_known(second).await, "the second session counts");
        let session = first.clone();
        let mut head = self.head(first, "/oauth2/sign_out");
        head.headers.insert(
            "sec-fetch-site",
            http::HeaderValue::from_static("same-origin"),
        );
        let reply = self.login()?.handle(&head).await.context("a logout")?;
        let to = location(&reply)?;
        let own = format!("{}/session/end?", self.issuer());
        ensure!(to.starts_with(&own), "the logout goes on to {to}");
        ensure!(!self.is_known(&session).await, "it has not ended here");
        let at = to.strip_prefix(&self.issuer()).context("the provider's")?;
        let page = browser.get(&self.provider, at)?.text();
        let xsrf = between(&page, "name=\"xsrf\" value=\"", "\"");
        let fields = form(&[("xsrf", xsrf.context("a form")?), ("logout", "yes")]);
        // It posts the logout token before it answers.
        let (address, done) = (self.provider.clone(), std::mem::take(browser));
        let ending = std::thread::spawn(move || {
            let mut browser = done;
            browser.send(&address, "POST", "/session/end/confirm", &fields)
        });
        let post = self.posts.recv_timeout(Duration::from_secs(20));
        let mut post = post.context("no logout token is posted")?;
        let mut head = self.head(&Person::default(), identity::BACKCHANNEL_LOGOUT_PATH);
        head.method = Method::POST;
        head.headers = post.headers;
        // A logout token counts for two minutes, by the clock of who made it.
        let ahead = self.ahead.swap(0, Ordering::SeqCst);
        let reply = self.logins.backchannel_logout(&head, &post.body).await;
        let reply = reply.context("a login")?;
        ensure!(reply.status == 200, "the logout token: {reply:?}");
        let again = self.logins.backchannel_logout(&head, &post.body).await;
        self.ahead.store(ahead, Ordering::SeqCst);
        ensure!(again.is_some_and(|r| r.status == 400), "it counts twice");
        post.stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        let ended = ending.join().map_err(|_| anyhow::anyhow!("a thread"))??;
        let back = format!("http://{}/", self.gateway);
        ensure!(ended.header("location") == Some(&*back), "{ended:?}");
        ensure!(!self.is_known(second).await, "the other session lives on");
        Ok(())
    }

    /// A key of another kind signs from now on.
    async fn another_key(&self) -> Result<()> {
        let _provider = self.start("ES256")?;
        self.ahead.fetch_add(100, Ordering::SeqCst);
        self.log_in(&mut Person::default(), &mut Browser::default())
            .await
    }
}

impl Clone for Person {
    fn clone(&self) -> Self {
        Self {
            gateway: self.gateway.clone(),
        }
    }
}

impl Person {
    fn take(&mut self, reply: &Reply) {
        let set = reply
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        for (_, value) in set {
            let text = value.to_str().unwrap_or_default();
            let Some((name, rest)) = text.split_once('=') else {
                continue;
            };
            self.gateway.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0") {
                let value = rest.split(';').next().unwrap_or_default();
                self.gateway.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

fn location(reply: &Reply) -> Result<String> {
    let mut headers = reply.headers.iter();
    let found = headers.find(|(name, _)| name == "location");
    let (_, value) = found.with_context(|| format!("no redirect: {reply:?}"))?;
    Ok(value.to_str()?.to_owned())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// Plain HTTP, for one machine.
struct Plain;

impl HttpClient for Plain {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move {
            let sent = tokio::task::spawn_blocking(move || exchange(&request)).await;
            let answered = sent.map_err(|error| HttpError(error.to_string()))?;
            answered.map_err(|error| HttpError(format!("{error:#}")))
        })
    }
}

fn exchange(request: &Request<Bytes>) -> Result<Response<Bytes>> {
    let uri = request.uri();
    let address = uri.authority().context("an absolute URI")?.as_str();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    // A form says so itself.
    let named = request
        .headers()
        .iter()
        .filter(|(name, _)| *name != "content-type");
    let headers: Vec<(&str, &str)> = named
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let body = std::str::from_utf8(request.body())?;
    let answer = ask(address, request.method().as_str(), target, &headers, body)?;
    let mut response = Response::new(Bytes::from(answer.body));
    *response.status_mut() = http::StatusCode::from_u16(answer.status)?;
    Ok(response)
}

/// What is posted to the gateway.
fn received(listener: TcpListener) -> Receiver<Post> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut rest = Vec::new();
            let Some(head) = read_head(&mut stream, &mut rest) else {
                continue;
            };
            let mut headers = HeaderMap::new();
            for (name, value) in head.split("\r\n").skip(1).filter_map(crate::oracle::header) {
                if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), value.parse()) {
                    headers.append(name, value);
                }
            }
            let length = headers.get("content-length");
            let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
            let missing = length.unwrap_or(0).saturating_sub(rest.len());
            let mut more = vec![0; missing];
            if stream.read_exact(&mut more).is_err() {
                continue;
            }
            rest.extend(more);
            let post = Post {
                headers,
                body: rest,
                stream,
            };
            if sender.send(post).is_err() {
                return;
            }
        }
    });
    receiver
}
