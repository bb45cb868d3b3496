//! What models are told of callers, and that the ways to verify it in docs/signed-identity.md do.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use identity::IdentitySigner;
use testkit::curl;

use super::rows::{DASHBOARD, Gate, MODEL, OUTSIDE, Rows};
use crate::{cache, shell};

const PAGE: &str = "docs/signed-identity.md";
const HEADER: &str = "x-sidegate-identity";
const PREDICT: &str = "/v1/models/sklearn-iris:predict";
/// Where the page's manifests expect the keys.
const KEYS: &str = "http://sidegate-keys.sidegate.svc.cluster.local/.well-known/jwks.json";

/// A gateway in the place of the model's sidecar, with the page's objects.
const VERIFIER: &str = "
apiVersion: v1
kind: Service
metadata: {name: verifier, namespace: kserve-test}
spec:
  selector: {serving.kserve.io/inferenceservice: sklearn-iris}
  ports: [{name: http, port: 8080, targetPort: 8080}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: verifier, namespace: kserve-test}
spec:
  selector: {serving.kserve.io/inferenceservice: sklearn-iris}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: verifier, namespace: kserve-test}
spec:
  gateways: [verifier]
  hosts: ['*']
  http:
  - route:
    - destination:
        host: sklearn-iris-predictor.kserve-test.svc.cluster.local
        port: {number: 80}
---
";

/// Labels of the pod that verifies.
pub(super) const POD: (&str, &str) = ("serving.kserve.io/inferenceservice", "sklearn-iris");

/// The objects of the page for a pod that verifies, with these keys in the place of their address.
pub(super) fn verifier(keys: &Path) -> Result<String> {
    let jwks = IdentitySigner::of_file(keys.to_owned())?.jwks();
    let objects = fenced("yaml")?;
    let address = format!("    jwksUri: {KEYS}");
    if !objects.contains(&address) {
        bail!("{PAGE}: the address of the keys is another");
    }
    let objects = objects.replace(&address, &format!("    jwks: '{jwks}'"));
    Ok(format!("{VERIFIER}{objects}"))
}

/// A block of code of the page.
fn fenced(language: &str) -> Result<String> {
    let text = std::fs::read_to_string(shell::root().join(PAGE))?;
    let begin = format!("```{language}\n");
    let code = text.split_once(&begin).map(|(_, code)| code);
    let code = code.and_then(|code| code.split_once("\n```"));
    let (code, _) = code.with_context(|| format!("{PAGE} has no {language}"))?;
    Ok(code.to_owned())
}

impl Rows {
    /// Models and the platform are told, and can verify it.
    pub(super) fn told(&mut self) -> Result<()> {
        let bearer = format!("authorization: Bearer {}", self.mesh.token("kserve-test")?);
        let forged = format!("{HEADER}: forged");
        let with = [
            "-d",
            "{}",
            "-H",
            &bearer,
            "-H",
            &forged,
            "-H",
            "X_Sidegate_Identity: forged",
        ];
        let seen = self.through(
            "a call with a token",
            Gate::External,
            OUTSIDE,
            PREDICT,
            &with,
        )?;
        let token = seen.header(HEADER).unwrap_or_default();
        let alone = !token.is_empty() && !token.contains("forged");
        let none = seen.header("x_sidegate_identity").is_none();
        self.expect("the model is told who it is", alone && none, &seen);
        let bare = ["-d", "{}", "-H", &forged];
        let seen = self.through("a call without", Gate::Local, MODEL, PREDICT, &bare)?;
        self.expect("it is told nobody", seen.header(HEADER).is_none(), &seen);
        let shop = ["-H", &bearer, "-H", &forged];
        let seen = self.through(
            "a call of others",
            Gate::External,
            "shop.example.com",
            "/",
            &shop,
        )?;
        self.expect("they are told nobody", seen.header(HEADER).is_none(), &seen);
        let jar = self.mesh.folder.path().join("jar-of-the-told");
        let jar = jar.to_string_lossy().into_owned();
        let seen = self.log_in(&jar)?;
        let person = seen.header(HEADER).unwrap_or_default();
        self.expect("the dashboard is told who it is", !person.is_empty(), &seen);
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        let with = ["-d", "{}", "-H", &theirs];
        let seen = self.through("a call of another", Gate::External, OUTSIDE, PREDICT, &with)?;
        let other = seen.header(HEADER).unwrap_or_default();
        let stopped = self.ask(Gate::External, DASHBOARD, "/", &["-H", &forged])?;
        self.expect("it is no way in", stopped.arrived.is_none(), &stopped);
        self.by_envoy(&token, &person, &other)?;
        self.by_python(&token, &person, &other)
    }

    /// Somebody logs out at the provider, which posts a logout token to the gateway.
    pub(super) fn logged_out_there(&mut self) -> Result<()> {
        let jar = self.mesh.folder.path().join("jar-of-the-logout");
        let jar = jar.to_string_lossy().into_owned();
        self.log_in(&jar)?;
        let host = self.mesh.external.to_string();
        let kept = std::fs::read_to_string(&jar)?;
        let session = kept
            .lines()
            .find_map(|line| line.split_once("authservice_session\t"));
        let session = session.context("no session was given")?.1;
        let with = format!("cookie: authservice_session={session}");
        let with = ["-H", with.as_str()];
        self.through("before the logout", Gate::External, &host, "/", &with)?;
        let forged = ["-d", "logout_token=x"];
        let path = "/oauth2/backchannel-logout";
        let seen = self.ask(Gate::External, &host, path, &forged)?;
        let refused = seen.answer.status == 400 && seen.answer.body.contains("invalid_request");
        self.expect("a token of nobody", refused, &seen);
        let base = format!("http://{host}");
        let url = format!("{base}/dex/logout");
        let page = curl(["-b", &jar, "-c", &jar, &url])?;
        let action = page.body.split_once("<form method=\"post\" action=\"");
        let action = action.and_then(|(_, rest)| rest.split('"').next());
        let action = action.with_context(|| format!("no form: {page:?}"))?;
        let action = format!("{base}{}", action.replace("&amp;", "&"));
        let origin = format!("origin: {base}");
        let post = [
            "-b",
            &jar,
            "-c",
            &jar,
            "-H",
            &origin,
            "-d",
            "logout=yes",
            &action,
        ];
        let done = curl(post)?;
        if done.status != 200 {
            bail!("the provider's logout: {done:?}");
        }
        let began = std::time::Instant::now();
        loop {
            let seen = self.ask(Gate::External, &host, "/", &with)?;
            let ended = seen.answer.status == 401 && seen.arrived.is_none();
            if ended || began.elapsed().as_secs() > 20 {
                self.expect("the session ends behind Envoy", ended, &seen);
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn by_envoy(&mut self, token: &str, person: &str, other: &str) -> Result<()> {
        let reversed = reversed(token);
        for (what, token, status) in [
            ("what the model was told", token, 200),
            ("of another namespace", other, 403),
            ("for the dashboard", person, 403),
            ("with another signature", &*reversed, 401),
            ("nothing", "", 403),
        ] {
            let header = format!("{HEADER}: {token}");
            let sent = match token {
                "" => vec![],
                _ => vec!["-H", &*header],
            };
            let seen = self.ask(Gate::Verifier, MODEL, PREDICT, &sent)?;
            let arrived = seen.arrived.is_some() == (status == 200);
            let right = seen.answer.status == status && arrived;
            self.expect(&format!("Envoy about {what}"), right, &seen);
        }
        Ok(())
    }

    /// The page's code, with the keys that the authorizer publishes.
    fn by_python(&mut self, token: &str, person: &str, other: &str) -> Result<()> {
        let folder = shell::root().join("xtask/peers/pyjwt");
        let python = cache::python("peer-pyjwt", &folder.join("requirements.txt"))?;
        let published = format!("http://{}/.well-known/jwks.json", self.mesh.authz()?.health);
        let code = fenced("python")?.replace(KEYS, &published);
        let file = self.mesh.folder.path().join("caller.py");
        std::fs::write(&file, code)?;
        let mut run = Command::new(python)
            .arg(folder.join("ask.py"))
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let tokens = [token, other, person, &reversed(token), ""].join("\n") + "\n";
        let input = run.stdin.take().context("no standard input")?;
        { input }.write_all(tokens.as_bytes())?;
        let output = run.wait_with_output()?;
        let said = String::from_utf8(output.stdout)?;
        let lines: Vec<&str> = said.lines().collect();
        let [first, second, dashboard, changed, nothing] = lines.as_slice() else {
            bail!("Python said {said}");
        };
        let right = first.contains("\"sub\": \"system:serviceaccount:kserve-test:default\"")
            && second.contains("\"sub\": \"system:serviceaccount:shop:default\"")
            && *dashboard == "InvalidAudienceError"
            && *changed == "InvalidSignatureError"
            && *nothing == "DecodeError";
        let seen = super::rows::Seen {
            answer: curl([published])?,
            arrived: None,
        };
        self.expect(&format!("PyJWT says {said}"), right, &seen);
        Ok(())
    }
}

/// The token with another signature.
fn reversed(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
    // The last letter has bits that have to be zero.
    let mut letters = signature.chars().rev();
    let last = letters.next();
    let changed: String = letters.chain(last).collect();
    format!("{signed}.{changed}")
}
