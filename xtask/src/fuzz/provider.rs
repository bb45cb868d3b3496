//! Requests to every endpoint of the identity provider, made of real ones with codes, tokens, cookies and sealed logins that are
//! good, and configurations of Dex: an answer, and for mistakes one that says so and leads nobody astray.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use provider::{DexConfig, Options, Provider, Storage, examined};

use super::Target;
use super::bytes::mutated;
use super::random::Random;
use crate::http::{decoded, encoded};

const CONFIG: &str = include_str!("../../peers/dex/config.yaml");
const PASSWORD: &str = "correct horse";
const SECRET: &str = "pq4p8f9qJx2t";
const CALLBACK: &str = "/oauth2/callback";
/// Where codes may go.
const CALLBACKS: [&str; 3] = [
    CALLBACK,
    "https://app.example/cb",
    "https://peer.example/cb",
];

/// What can be asked for alone.
pub(super) const PARTS: [&str; 4] = ["authorization", "token", "forms", "configuration"];

pub(super) struct Requests {
    runtime: tokio::runtime::Runtime,
    provider: Provider,
    /// Queries and bodies by the endpoints that take them.
    seeds: Vec<(Method, &'static str, Vec<u8>)>,
    all: Vec<Vec<u8>>,
    cookies: String,
    // Its files are there as long as the provider.
    _folder: tempfile::TempDir,
}

impl Requests {
    /// Requests of one of the first three of [`PARTS`], or of all.
    pub(super) fn new(part: Option<&str>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let folder = tempfile::tempdir()?;
        let (config, _) = DexConfig::parse(CONFIG, &|_| None)?;
        let storage = Storage::open(folder.path())?;
        let provider = {
            let _inside = runtime.enter();
            Provider::open(config, storage, Options::default())?
        };
        let mut made = Self {
            runtime,
            provider,
            seeds: Vec::new(),
            all: Vec::new(),
            cookies: String::new(),
            _folder: folder,
        };
        let wanted = |name: &str| part.is_none_or(|part| part == name);
        let known = made.log_in()?;
        for (name, method, path, text) in SEEDS {
            if wanted(name) {
                let mut text = text.to_owned();
                for (word, value) in &known {
                    text = text.replace(word, &encoded(value));
                }
                made.seeds.push((method, path, text.into_bytes()));
            }
        }
        made.all = made.seeds.iter().map(|(_, _, text)| text.clone()).collect();
        Ok(made)
    }

    /// Logs in twice, redeems one code, and returns what requests can name.
    fn log_in(&mut self) -> Result<BTreeMap<&'static str, String>> {
        let mut known = BTreeMap::new();
        for _ in 0..2 {
            let start = format!(
                "/dex/auth?{}",
                AUTHORIZATION.replace("CALLBACK", &encoded(CALLBACK))
            );
            let reply = self.ask(Method::GET, &start, &[], b"")?;
            let form = location(&reply).context("a login begins with a redirect")?;
            let cookie = reply
                .headers()
                .get("set-cookie")
                .and_then(|value| value.to_str().ok());
            let cookie = cookie
                .and_then(|value| value.split(';').next())
                .unwrap_or_default();
            cookie.clone_into(&mut self.cookies);
            let req = form
                .split_once("req=")
                .map(|(_, req)| decoded(req))
                .unwrap_or_default();
            known.insert("SEALED", req);
            let fields = format!(
                "login={}&password={}",
                encoded("user@example.com"),
                encoded(PASSWORD)
            );
            let reply = self.ask(Method::POST, &form, &[], fields.as_bytes())?;
            let back = location(&reply).context("a login ends with a redirect")?;
            let code = back
                .split(['?', '&'])
                .find_map(|pair| pair.strip_prefix("code="));
            known.insert("CODE", decoded(code.context("a login ends with a code")?));
            if known.contains_key("REFRESH") {
                continue;
            }
            let code = known.get("CODE").cloned().unwrap_or_default();
            let fields = format!(
                "grant_type=authorization_code&code={}&redirect_uri={}",
                encoded(&code),
                encoded(CALLBACK)
            );
            let reply = self.ask(
                Method::POST,
                "/dex/token",
                &[("authorization", &basic())],
                fields.as_bytes(),
            )?;
            let tokens: serde_json::Value = serde_json::from_slice(reply.body())?;
            for (word, name) in [
                ("REFRESH", "refresh_token"),
                ("ACCESS", "access_token"),
                ("IDTOKEN", "id_token"),
            ] {
                let token = tokens.get(name).and_then(serde_json::Value::as_str);
                known.insert(
                    word,
                    token.with_context(|| format!("no {name}"))?.to_owned(),
                );
            }
        }
        let reply = self.ask(
            Method::POST,
            "/dex/device/code",
            &[],
            b"client_id=cli&scope=openid",
        )?;
        let device: serde_json::Value = serde_json::from_slice(reply.body())?;
        for (word, name) in [("DEVICECODE", "device_code"), ("USERCODE", "user_code")] {
            let code = device.get(name).and_then(serde_json::Value::as_str);
            known.insert(word, code.with_context(|| format!("no {name}"))?.to_owned());
        }
        Ok(known)
    }

    fn ask(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Bytes>> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, &self.cookies);
        }
        let request = request.body(Bytes::copy_from_slice(body))?;
        Ok(self.runtime.block_on(self.provider.handle(request)))
    }

    fn made(&self, random: &mut Random) -> Made {
        let (method, path, text) = random.of(&self.seeds).cloned().unwrap_or_default();
        let text = match random.one_in(6) {
            true => text,
            false => mutated(random, &[vec![text], self.all.clone()].concat()),
        };
        let mut headers = Vec::new();
        for _ in 0..random.below(3) {
            headers.extend(random.of(&HEADERS).copied());
        }
        Made {
            method: if random.one_in(12) {
                random.of(&METHODS).cloned().unwrap_or(method)
            } else {
                method
            },
            path,
            text,
            headers,
            cookie: !random.one_in(3),
            form: !random.one_in(12),
            client: random.one_in(2),
        }
    }
}

/// The part that a seed belongs to, method, path, and query or body. Words in capitals stand for what is good.
const SEEDS: [(&str, Method, &str, &str); 32] = [
    (
        "authorization",
        Method::GET,
        "/dex/auth",
        "client_id=platform&redirect_uri=%2Foauth2%2Fcallback&response_type=code&scope=openid+email&state=a&nonce=b",
    ),
    (
        "authorization",
        Method::GET,
        "/dex/auth",
        "client_id=platform&redirect_uri=https%3A%2F%2Fapp.example%2Fcb%3Ftenant%3Da&response_type=code&scope=openid+groups&prompt=none",
    ),
    (
        "authorization",
        Method::POST,
        "/dex/auth",
        "client_id=cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A1234%2Fcb&response_type=code&scope=openid+offline_access&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
    ),
    (
        "authorization",
        Method::GET,
        "/dex/auth",
        "client_id=platform&redirect_uri=%2Foauth2%2Fcallback&response_type=code&scope=openid+audience%3Aserver%3Aclient_id%3Apeer&max_age=10&login_hint=user%40example.com&ui_locales=ko+en",
    ),
    (
        "authorization",
        Method::GET,
        "/dex/auth",
        "client_id=platform&redirect_uri=%2Foauth2%2Fcallback&response_type=code&scope=openid&id_token_hint=IDTOKEN&prompt=login+consent&display=popup&acr_values=1",
    ),
    (
        "authorization",
        Method::GET,
        "/dex/auth/local",
        "client_id=platform&redirect_uri=%2Foauth2%2Fcallback&response_type=code&scope=openid&request=eyJhbGciOiJub25lIn0.e30.&claims=%7B%22id_token%22%3A%7B%22auth_time%22%3A%7B%22essential%22%3Atrue%7D%7D%7D",
    ),
    (
        "authorization",
        Method::GET,
        "/dex/auth",
        "client_id=platform&redirect_uri=%2Foauth2%2Fcallback&response_type=code&scope=openid&claims=%7B%22userinfo%22%3A%7B%22name%22%3A%7B%22essential%22%3Atrue%7D%7D%2C%22id_token%22%3A%7B%22email%22%3Anull%2C%22sub%22%3A%7B%22value%22%3A%22a%22%7D%7D%7D",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=authorization_code&code=CODE&redirect_uri=%2Foauth2%2Fcallback",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=authorization_code&code=CODE&redirect_uri=%2Foauth2%2Fcallback&code_verifier=0123456789-0123456789-0123456789-0123456789&client_id=platform&client_secret=pq4p8f9qJx2t",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=refresh_token&refresh_token=REFRESH",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=refresh_token&refresh_token=REFRESH&scope=openid+email&client_id=platform",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=DEVICECODE&client_id=cli",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=IDTOKEN&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token&connector_id=local&audience=peer",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=client_credentials&scope=openid",
    ),
    (
        "token",
        Method::POST,
        "/dex/token",
        "grant_type=password&username=user%40example.com&password=x&scope=openid",
    ),
    (
        "token",
        Method::POST,
        "/dex/token/introspect",
        "token=ACCESS&token_type_hint=access_token",
    ),
    (
        "token",
        Method::POST,
        "/dex/token/introspect",
        "token=REFRESH&token_type_hint=refresh_token",
    ),
    (
        "token",
        Method::POST,
        "/dex/token/revoke",
        "token=nothing&token_type_hint=x",
    ),
    (
        "token",
        Method::POST,
        "/dex/userinfo",
        "access_token=ACCESS",
    ),
    ("token", Method::GET, "/dex/userinfo", "access_token=ACCESS"),
    (
        "token",
        Method::POST,
        "/dex/device/code",
        "client_id=cli&scope=openid+email&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
    ),
    ("forms", Method::GET, "/dex/auth/local", "req=SEALED"),
    (
        "forms",
        Method::GET,
        "/dex/auth/local/login",
        "req=SEALED&back=x",
    ),
    (
        "forms",
        Method::POST,
        "/dex/auth/local?req=SEALED",
        "login=user%40example.com&password=",
    ),
    (
        "forms",
        Method::POST,
        "/dex/auth/local?req=SEALED",
        "account=continue&login=x",
    ),
    ("forms", Method::GET, "/dex/approval", "req=SEALED"),
    (
        "forms",
        Method::POST,
        "/dex/approval?req=SEALED",
        "approval=approve&req=SEALED",
    ),
    ("forms", Method::GET, "/dex/device", "user_code=USERCODE"),
    (
        "forms",
        Method::POST,
        "/dex/device/auth/verify_code",
        "user_code=USERCODE",
    ),
    ("forms", Method::GET, "/dex/callback", "state=SEALED&code=x"),
    (
        "forms",
        Method::GET,
        "/dex/logout",
        "id_token_hint=IDTOKEN&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2F&state=a",
    ),
    ("forms", Method::POST, "/dex/account", "password=x&new=y"),
];

const AUTHORIZATION: &str = "client_id=platform&redirect_uri=CALLBACK&response_type=code&scope=openid+email+profile+groups+offline_access&state=a&nonce=b";

const METHODS: [Method; 6] = [
    Method::GET,
    Method::POST,
    Method::HEAD,
    Method::PUT,
    Method::OPTIONS,
    Method::DELETE,
];

const HEADERS: [(&str, &str); 10] = [
    ("authorization", "Bearer x.y.z"),
    ("authorization", "Basic Og=="),
    ("authorization", "Negotiate"),
    ("accept-language", "ko-KR,ko;q=0.9,en;q=0.1"),
    ("accept-language", ";;q=,,*"),
    ("sec-fetch-site", "cross-site"),
    ("origin", "https://evil.example"),
    ("x-forwarded-proto", "https"),
    ("host", "evil.example"),
    ("content-encoding", "gzip"),
];

struct Made {
    method: Method,
    path: &'static str,
    text: Vec<u8>,
    headers: Vec<(&'static str, &'static str)>,
    cookie: bool,
    form: bool,
    client: bool,
}

impl Target for Requests {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let made = self.made(random);
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = made.method.clone();
        let query = made.method != Method::POST;
        // Only what a server's parser lets through arrives.
        let uri = if query {
            let text: String = made.text.iter().map(|byte| char::from(*byte)).collect();
            format!("{}?{text}", made.path.split('?').next().unwrap_or_default())
        } else {
            made.path.replace("SEALED", self.sealed())
        };
        let Ok(uri) = uri.parse() else {
            return Ok("no address");
        };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        for (name, value) in made.headers {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if made.form {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, form);
        }
        if let (true, Ok(cookies)) = (made.cookie, HeaderValue::from_str(&self.cookies)) {
            headers.insert(COOKIE, cookies);
        }
        if let (true, Ok(basic)) = (made.client, HeaderValue::from_str(&basic())) {
            headers.insert("authorization", basic);
        }
        if !query {
            *request.body_mut() = made.text.into();
        }
        let reply = self.runtime.block_on(self.provider.handle(request));
        judged(made.path, &reply)
    }

    fn input(&self, random: &mut Random) -> String {
        let made = self.made(random);
        let text = STANDARD.encode(&made.text);
        format!("{} {} {:?} {text}", made.method, made.path, made.headers)
    }
}

impl Requests {
    fn sealed(&self) -> &str {
        let req = self.all.iter().find_map(|text| text.strip_prefix(b"req="));
        let req = req.and_then(|req| std::str::from_utf8(req).ok());
        req.and_then(|req| req.split('&').next()).unwrap_or("x")
    }
}

/// How a request ended, if it may end so.
fn judged(path: &str, reply: &Response<Bytes>) -> Result<&'static str, String> {
    let status = reply.status();
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(format!("{path}: {status}"));
    }
    if let Some(location) = location(reply) {
        let place = location.split(['?', '#']).next().unwrap_or_default();
        let own = place.starts_with("/dex/") && !place.contains("..");
        let loopback = place.starts_with("http://127.") || place.starts_with("http://localhost");
        if !own && !loopback && !CALLBACKS.contains(&place) {
            return Err(format!("{path}: leads to `{location}`"));
        }
        return Ok("redirect");
    }
    let programs = path.starts_with("/dex/token") || path == "/dex/device/code";
    if programs && status.is_client_error() && !reply.body().is_empty() {
        let body: serde_json::Value = serde_json::from_slice(reply.body()).unwrap_or_default();
        if !body.get("error").is_some_and(serde_json::Value::is_string) {
            return Err(format!("{path}: {status} without an error code"));
        }
    }
    Ok(if status.is_success() {
        "answered"
    } else {
        "refused"
    })
}

fn location(reply: &Response<Bytes>) -> Option<String> {
    let value = reply.headers().get(LOCATION)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("platform:{SECRET}")))
}

/// Configurations of Dex.
pub(super) struct Configurations {
    files: Vec<Vec<u8>>,
}

impl Configurations {
    pub(super) fn new() -> Result<Self> {
        let files: Vec<Vec<u8>> = [
            CONFIG,
            include_str!("../../peers/crash.yaml"),
            include_str!("../../peers/dex/every-key.yaml"),
        ]
        .map(|text| text.as_bytes().to_vec())
        .into();
        for file in &files {
            let text = String::from_utf8_lossy(file);
            let parsed = DexConfig::parse(&text, &environment);
            ensure!(parsed.is_ok(), "{:?}", parsed.err());
        }
        Ok(Self { files })
    }
}

fn environment(name: &str) -> Option<String> {
    (name == "THERE").then(|| "sEcReT-of-the-environment".to_owned())
}

impl Target for Configurations {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let bytes = mutated(random, &self.files);
        let text = String::from_utf8_lossy(&bytes);
        let (report, read) = examined(&text, &environment, false);
        // Pieces are moved about: elsewhere than in its own field a secret is an ordinary value.
        let of_secrets = |field: &str| field.contains("secret") || field.contains("hash");
        let mut entries = report.entries.iter();
        if let Some(entry) = entries.find(|e| of_secrets(&e.key) && e.note.contains("sEcReT")) {
            return Err(format!("a secret is told: {entry}"));
        }
        match read {
            Ok(_) => Ok("taken"),
            Err(error) if error.to_string().is_empty() => {
                Err("refused without a reason".to_owned())
            }
            Err(error)
                if error.field().is_some_and(of_secrets)
                    && error.to_string().contains("sEcReT") =>
            {
                Err(format!("a secret is told: {error}"))
            }
            Err(_) => Ok("refused"),
        }
    }

    fn input(&self, random: &mut Random) -> String {
        STANDARD.encode(mutated(random, &self.files))
    }
}
