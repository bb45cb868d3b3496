//! What users meet, row by row, and what must not happen.

use anyhow::{Context as _, Result, bail};
use testkit::{Answer, curl};

use super::foreign;
use super::mesh::{Form, Mesh, Plan};
use super::others::Other;
use super::peers::Arrived;
use super::seed::{self, Topology};

pub(super) const MODEL: &str = "sklearn-iris.kserve-test.svc.cluster.local";
pub(super) const OUTSIDE: &str = "sklearn-iris.kserve-test.example.com";
pub(super) const DASHBOARD: &str = "dashboard.example.com";
pub(super) const BROWSER: [&str; 4] = ["-H", "accept: text/html", "-H", "sec-fetch-mode: navigate"];

/// The seed's cluster.
pub(super) fn run(topology: Topology, form: Form) -> Result<()> {
    foreign::alone()?;
    judge(seed::plan(topology, form)?, |rows| {
        rows.all()?;
        match form {
            Form::Grpc | Form::Http | Form::Other(_) => Ok(()),
            Form::Fast => rows.fast_path(),
        }
    })
}

/// The same behind a gateway that no mesh configures.
pub(super) fn behind(other: Other) -> Result<()> {
    let files = seed::cluster(Topology::Shared, Form::Grpc)?;
    judged(Mesh::behind(other, &files)?, |rows| {
        rows.all()?;
        rows.otherwise(other)
    })
}

/// Starts a cluster and looks at it.
pub(super) fn judge(plan: Plan, look: impl FnOnce(&mut Rows) -> Result<()>) -> Result<()> {
    judged(Mesh::start(plan)?, look)
}

fn judged(mesh: Mesh, look: impl FnOnce(&mut Rows) -> Result<()>) -> Result<()> {
    let mut rows = Rows::of(mesh);
    if let Err(error) = look(&mut rows) {
        rows.wrong.push(format!("{error:#}"));
    }
    println!("{} rows, {} wrong", rows.done, rows.wrong.len());
    if !rows.wrong.is_empty() {
        let log = rows.mesh.log();
        let last: Vec<&str> = log.lines().rev().take(12).collect();
        bail!("{}\n{}", rows.wrong.join("\n"), last.join("\n"));
    }
    Ok(())
}

pub(super) struct Rows {
    pub(super) mesh: Mesh,
    done: usize,
    wrong: Vec<String>,
}

/// An answer, and what of it arrived at an upstream.
pub(super) struct Seen {
    pub(super) answer: Answer,
    pub(super) arrived: Option<Arrived>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.arrived
            .as_ref()
            .and_then(|arrived| arrived.header(name))
    }
}

#[derive(Clone, Copy)]
pub(super) enum Gate {
    External,
    Local,
    /// In front of the model, where its sidecar would be.
    Verifier,
}

impl Rows {
    pub(super) fn of(mesh: Mesh) -> Self {
        Self {
            mesh,
            done: 0,
            wrong: Vec::new(),
        }
    }

    fn all(&mut self) -> Result<()> {
        let in_mesh = self.mesh.other().is_none();
        if in_mesh {
            self.clients()?;
            self.bypasses()?;
            self.streams()?;
            self.foreign()?;
            self.exempt()?;
        }
        self.models()?;
        self.outside()?;
        self.platform()?;
        self.others()?;
        self.forged()?;
        self.limits()?;
        if self.mesh.verifier.is_some() {
            self.told()?;
            self.logged_out_there()?;
            if !self.mesh.asks_over_http() {
                self.certificates()?;
            }
        }
        self.bad_input()?;
        self.gone_and_back()?;
        if in_mesh {
            self.odd_answers()?;
        }
        self.secrets()
    }

    pub(super) fn ask(&self, gate: Gate, host: &str, target: &str, more: &[&str]) -> Result<Seen> {
        let gateway = match gate {
            _ if more.contains(&"--http2-prior-knowledge") => self.mesh.http2(gate),
            Gate::External => self.mesh.external,
            Gate::Local => self.mesh.local,
            Gate::Verifier => self.mesh.verifier.unwrap_or(self.mesh.external),
        };
        self.mesh.peers.arrived();
        let url = format!("http://{gateway}{target}");
        let host = format!("host: {host}");
        let mut args = vec!["--path-as-is", "-H", &host];
        args.extend(more);
        args.push(&url);
        let answer = curl(args)?;
        Ok(Seen {
            answer,
            arrived: self.mesh.peers.arrived().pop(),
        })
    }

    /// One more row, and what is wrong with it.
    pub(super) fn count(&mut self, wrong: Option<String>) {
        self.done += 1;
        self.wrong.extend(wrong);
    }

    /// Whether something is as expected, counted.
    pub(super) fn expect(&mut self, what: &str, holds: bool, seen: &Seen) {
        let wrong = || {
            let arrived = seen.arrived.as_ref();
            format!(
                "{what}: {} {:?} {:.300}; arrived: {arrived:?}",
                seen.answer.status, seen.answer.headers, seen.answer.body
            )
        };
        self.count((!holds).then(wrong));
    }

    /// A request that has to reach an upstream.
    pub(super) fn through(
        &mut self,
        what: &str,
        gate: Gate,
        host: &str,
        target: &str,
        more: &[&str],
    ) -> Result<Seen> {
        let seen = self.ask(gate, host, target, more)?;
        let through = seen.answer.status == 200 && seen.arrived.is_some();
        self.expect(what, through, &seen);
        if self.mesh.other().is_none() {
            let mark = seen.header("x-sidegate-mark");
            self.expect(&format!("{what}: no mark leaves"), mark.is_none(), &seen);
        }
        Ok(seen)
    }

    /// A request that must not.
    pub(super) fn stopped(
        &mut self,
        what: &str,
        status: u16,
        gate: Gate,
        host: &str,
        target: &str,
        more: &[&str],
    ) -> Result<Seen> {
        let seen = self.ask(gate, host, target, more)?;
        let stopped = seen.answer.status == status && seen.arrived.is_none();
        self.expect(what, stopped, &seen);
        Ok(seen)
    }

    /// Workloads call models without anything.
    fn models(&mut self) -> Result<()> {
        let post = ["-d", "{\"instances\": [[6.8, 2.8, 4.8, 1.4]]}"];
        for (version, target) in [
            ("V1", "/v1/models/sklearn-iris:predict"),
            ("V2", "/v2/models/sklearn-iris/infer"),
        ] {
            let what = format!("in-cluster predict {version}");
            let seen = self.through(&what, Gate::Local, MODEL, target, &post)?;
            let at = seen.arrived.as_ref().map(|arrived| arrived.at.clone());
            if self.mesh.other().is_none() {
                let predictor = at.is_some_and(|at| at.contains("sklearn-iris"));
                self.expect("it is the predictor's", predictor, &seen);
            }
        }
        let grpc = [
            "--http2-prior-knowledge",
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "-X",
            "POST",
        ];
        let target = "/inference.GRPCInferenceService/ModelInfer";
        self.through("in-cluster gRPC", Gate::Local, MODEL, target, &grpc)?;
        let cookies = ["-H", "cookie: a=1; authservice_session=x; b=2"];
        let target = "/v1/models/sklearn-iris";
        let seen = self.through("a call with cookies", Gate::Local, MODEL, target, &cookies)?;
        let kept = seen.header("cookie").as_deref() == Some("a=1; b=2");
        self.expect("no session reaches a model", kept, &seen);
        Ok(())
    }

    /// From outside a model wants a token.
    fn outside(&mut self) -> Result<()> {
        let target = "/v1/models/sklearn-iris:predict";
        let post = ["-d", "{}"];
        let seen = self.stopped("outside", 401, Gate::External, OUTSIDE, target, &post)?;
        let challenged = seen.answer.header("www-authenticate") == Some("Bearer")
            && seen.answer.body.contains("authentication required");
        self.expect("it is told so", challenged, &seen);
        let grpc = [
            "--http2-prior-knowledge",
            "-H",
            "content-type: application/grpc",
            "-X",
            "POST",
        ];
        let call = "/inference.GRPCInferenceService/ModelInfer";
        let seen = self.ask(Gate::External, OUTSIDE, call, &grpc)?;
        let refused = self.mesh.other().map_or(200, Other::refuses_grpc_with);
        let trailers = seen.answer.status == refused
            && seen.arrived.is_none()
            && seen.answer.header("grpc-status") == Some("16");
        self.expect("outside over gRPC", trailers, &seen);
        let token = format!("authorization: Bearer {}", self.mesh.token("kserve-test")?);
        let with = ["-d", "{}", "-H", &token];
        self.through(
            "outside with a token",
            Gate::External,
            OUTSIDE,
            target,
            &with,
        )?;
        let wrong = ["-d", "{}", "-H", "authorization: Bearer a.b.c"];
        let seen = self.stopped(
            "with a wrong one",
            401,
            Gate::External,
            OUTSIDE,
            target,
            &wrong,
        )?;
        self.challenged("with a wrong one", "invalid_token", &seen);
        let twice = ["-d", "{}", "-H", &token, "-H", &token];
        let seen = self.stopped("with two", 400, Gate::External, OUTSIDE, target, &twice)?;
        // nginx takes no such request by itself.
        if self.mesh.other() != Some(Other::Nginx) {
            self.challenged("with two", "invalid_request", &seen);
        }
        let key = format!("x-api-key: {}", self.mesh.key("twice")?);
        let both = ["-d", "{}", "-H", &token, "-H", &key];
        let seen = self.stopped("with both", 400, Gate::External, OUTSIDE, target, &both)?;
        self.challenged("with both", "invalid_request", &seen);
        let elsewhere = ["-H", "accept: application/json", "-H", &key];
        let what = "a key at the platform";
        let seen = self.stopped(what, 403, Gate::External, DASHBOARD, "/", &elsewhere)?;
        self.challenged(what, "insufficient_scope", &seen);
        let preflight = [
            "-X",
            "OPTIONS",
            "-H",
            "origin: https://page.example.com",
            "-H",
            "access-control-request-method: POST",
        ];
        if self.mesh.other().is_some_and(Other::takes_2xx_for_leave) {
            self.stopped(
                "preflight",
                403,
                Gate::External,
                OUTSIDE,
                target,
                &preflight,
            )?;
            return Ok(());
        }
        let seen = self.stopped(
            "preflight",
            204,
            Gate::External,
            OUTSIDE,
            target,
            &preflight,
        )?;
        let open = seen.answer.header("access-control-allow-origin") == Some("*");
        self.expect("it is answered", open, &seen);
        Ok(())
    }

    /// Whether a program is told what is wrong with its credential (RFC 6750 §3).
    fn challenged(&mut self, what: &str, error: &str, seen: &Seen) {
        let challenge = seen.answer.header("www-authenticate").unwrap_or_default();
        let told = challenge.starts_with(&format!("Bearer error=\"{error}\", error_description="));
        self.expect(&format!("{what}: `{error}`"), told, seen);
    }

    /// People log in to the platform.
    fn platform(&mut self) -> Result<()> {
        let program = ["-H", "accept: application/json"];
        for target in ["/", "/v1anything", "/v1/..%2fpipeline", "/pipeline?a=/v1/x"] {
            if self.mesh.other().is_some_and(Other::routes_by_itself) && target.contains('%') {
                // Refused where it could be routed otherwise than it is written.
                let seen = self.ask(Gate::External, DASHBOARD, target, &BROWSER)?;
                let refused = matches!(seen.answer.status, 302 | 400) && seen.arrived.is_none();
                self.expect(target, refused, &seen);
                continue;
            }
            let seen = self.stopped(target, 302, Gate::External, DASHBOARD, target, &BROWSER)?;
            let location = seen.answer.header("location").unwrap_or_default();
            let to_login = location.starts_with("/dex/auth?");
            self.expect("it is sent to the login", to_login, &seen);
            self.stopped(target, 401, Gate::External, DASHBOARD, target, &program)?;
        }
        let claims = [
            "-H",
            "x-forwarded-uri: /dex/keys",
            "-H",
            "x-original-url: /dex/keys",
        ];
        self.stopped(
            "another path by header",
            401,
            Gate::External,
            DASHBOARD,
            "/",
            &claims,
        )?;
        let probe = ["-H", "user-agent: kube-probe/1.30"];
        self.stopped(
            "a probe by its name",
            401,
            Gate::External,
            DASHBOARD,
            "/readyz",
            &probe,
        )?;
        let jar = self.mesh.folder.path().join("jar");
        let jar = jar.to_string_lossy().into_owned();
        let seen = self.log_in(&jar)?;
        let inside = seen.answer.status == 200
            && seen.header("kubeflow-userid").as_deref() == Some("user@example.com");
        self.expect("the login ends at the dashboard", inside, &seen);
        let mut forged = vec![
            "-b",
            &*jar,
            "-H",
            "kubeflow-userid: victim@example.com",
            "-H",
            "Kubeflow-Groups: admins",
            "-H",
            "x-auth-request-email: victim@example.com",
            "-H",
            "Remote-User: victim@example.com",
        ];
        let host = self.mesh.external.to_string();
        let folded = ["-H", "kubeflow_userid: victim@example.com"];
        if self.mesh.other().is_some_and(Other::passes_folded_names) {
            let with = [&forged[..], &folded].concat();
            self.stopped("a folded name", 400, Gate::External, &host, "/", &with)?;
        } else {
            forged.extend(folded);
        }
        let seen = self.through(
            "forged while logged in",
            Gate::External,
            &host,
            "/",
            &forged,
        )?;
        let headers = seen.arrived.iter().flat_map(|arrived| &arrived.headers);
        let forged = headers
            .filter(|(_, v)| v.contains("victim") || v.contains("admins"))
            .count();
        let right = seen.header("kubeflow-userid").as_deref() == Some("user@example.com");
        self.expect(
            "it arrives with the right name alone",
            right && forged == 0,
            &seen,
        );
        let out = ["-b", &jar, "-X", "POST", "-d", ""];
        let seen = self.ask(Gate::External, &host, "/authservice/logout", &out)?;
        let ended = seen.answer.status == 201 && seen.arrived.is_none();
        self.expect("logout is answered", ended, &seen);
        // A pass would count for some seconds more.
        let kept = std::fs::read_to_string(&jar)?;
        let session = kept
            .lines()
            .find_map(|line| line.split_once("authservice_session\t"));
        let session = session.context("no session was given")?.1;
        let after = format!("cookie: authservice_session={session}");
        self.stopped("after it", 401, Gate::External, &host, "/", &["-H", &after])?;
        Ok(())
    }

    /// Follows the redirects from the dashboard to the form, and back with a password.
    pub(super) fn log_in(&self, jar: &str) -> Result<Seen> {
        self.log_in_as(jar, "user@example.com")
    }

    /// The same as somebody else.
    pub(super) fn log_in_as(&self, jar: &str, user: &str) -> Result<Seen> {
        let cookies = ["-L", "-b", jar, "-c", jar, "-H", "accept: text/html"];
        let base = format!("http://{}", self.mesh.external);
        let mut args: Vec<&str> = cookies.to_vec();
        args.extend(["-w", "\n%{url_effective}", &base]);
        let form = curl(args)?;
        let at = form.body.lines().last().unwrap_or_default().to_owned();
        if !at.contains("/dex/auth/local") {
            bail!("the login's form is at {at}: {}", form.status);
        }
        let mut args: Vec<&str> = cookies.to_vec();
        let fields = format!("login={user}&password=12341234");
        args.extend(["-d", &fields, &at]);
        self.mesh.peers.arrived();
        let answer = curl(args)?;
        let arrived = self.mesh.peers.arrived().pop();
        Ok(Seen { answer, arrived })
    }

    /// Other teams' applications are left alone.
    fn others(&mut self) -> Result<()> {
        let sent = [
            "-H",
            "x-a: 1",
            "-H",
            "cookie: cart=1; authservice_session=x",
            "-H",
            "authorization: Basic eDp5",
            "-H",
            "kubeflow-userid: victim@example.com",
        ];
        let target = "/cart?a=%20b";
        let seen = self.through(
            "the shop",
            Gate::External,
            "shop.example.com",
            target,
            &sent,
        )?;
        let kept = seen.header("x-a").as_deref() == Some("1")
            && seen.header("authorization").as_deref() == Some("Basic eDp5")
            && seen.header("cookie").as_deref() == Some("cart=1; authservice_session=x")
            && seen.arrived.as_ref().is_some_and(|a| a.target == target);
        self.expect("it gets what was sent", kept, &seen);
        let forged = seen.header("kubeflow-userid");
        self.expect("but no identity", forged.is_none(), &seen);
        // Its route into the cluster is no way around.
        let target = "/v1/models/sklearn-iris:predict";
        let host = "shortcut.example.com";
        if self.mesh.other().is_none() {
            // Elsewhere nothing comes back to the gateway.
            let bare = ["-d", "{}"];
            self.stopped("its shortcut", 401, Gate::External, host, target, &bare)?;
        }
        let token = format!("authorization: Bearer {}", self.mesh.token("kserve-test")?);
        let with = ["-d", "{}", "-H", &token];
        self.through(
            "its shortcut with a token",
            Gate::External,
            host,
            target,
            &with,
        )?;
        Ok(())
    }

    /// Marks of others.
    fn forged(&mut self) -> Result<()> {
        let target = "/v1/models/sklearn-iris:predict";
        for mark in [
            "",
            "x",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            let header = format!("x-sidegate-mark: {mark}");
            let with = ["-d", "{}", "-H", &header];
            self.stopped("a forged mark", 401, Gate::External, OUTSIDE, target, &with)?;
            let seen = self.through("inside with one", Gate::Local, MODEL, target, &with)?;
            let theirs = seen
                .header("x-sidegate-mark")
                .is_some_and(|sent| sent == mark);
            self.expect("it goes no further", !theirs, &seen);
        }
        Ok(())
    }

    /// Limits hold on both crossings.
    fn limits(&mut self) -> Result<()> {
        let host = "limited.kserve-test.svc.cluster.local";
        let target = "/v1/models/limited:predict";
        let nobody = ["-d", "{}"];
        let seen = self.stopped("not named", 401, Gate::Local, host, target, &nobody)?;
        let challenged = seen.answer.header("www-authenticate") == Some("Bearer")
            && seen.answer.body.contains("only some workloads");
        self.expect("it is told how", challenged, &seen);
        let ours = format!("authorization: Bearer {}", self.mesh.token("kserve-test")?);
        let with = ["-d", "{}", "-H", &ours];
        self.through("of the namespace", Gate::Local, host, target, &with)?;
        let theirs = format!("authorization: Bearer {}", self.mesh.token("shop")?);
        let with = ["-d", "{}", "-H", &theirs];
        self.stopped("of another", 403, Gate::Local, host, target, &with)?;
        Ok(())
    }

    /// Requests that nobody should send.
    fn bad_input(&mut self) -> Result<()> {
        let cookies = format!("cookie: a={}", "x".repeat(40_000));
        let with = ["-H", &cookies];
        self.stopped(
            "40 KB of cookies",
            401,
            Gate::External,
            DASHBOARD,
            "/",
            &with,
        )?;
        for target in [
            "/v1/%2e%2e/pipeline",
            "//v1/x",
            "/v1;x/../pipeline",
            "/v1%00x",
        ] {
            let seen = self.ask(Gate::External, DASHBOARD, target, &BROWSER)?;
            let refused = matches!(seen.answer.status, 302 | 400 | 401 | 403 | 307);
            self.expect(target, refused && seen.arrived.is_none(), &seen);
        }
        Ok(())
    }

    /// Nothing that opens a door is in the log.
    fn secrets(&mut self) -> Result<()> {
        let log = self.mesh.log();
        // What a line says was expected is no token.
        let log = log.replace("Bearer <token>", "");
        let begin = log
            .find("Bearer ")
            .or_else(|| log.find("authservice_session="));
        self.done += 1;
        if let Some(at) = begin {
            let said = log.get(at..).unwrap_or_default().lines().next();
            bail!("the log says {}", said.unwrap_or_default());
        }
        if !log.contains("sklearn-iris") {
            bail!("the log says nothing of what was decided: {log}");
        }
        let at = self.mesh.authz().context("it runs")?.checks;
        // Without the prefix that says which listener it is, a check is no check.
        let bare = curl([
            format!("http://{at}/v1/models"),
            "-H".into(),
            "host: x".into(),
        ])?;
        if bare.status == 200 {
            bail!("a check of no listener is allowed");
        }
        Ok(())
    }
}
