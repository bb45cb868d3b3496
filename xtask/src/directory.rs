//! The provider's `ldap` connector against OpenLDAP's server, which a Debian system brings: its
//! packages are unpacked into the cache, nothing is installed and no service starts.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::{Answer, curl};

use crate::child::Running;
use crate::oracle::Check;
use crate::{cache, shell};

const BASE: &str = "dc=example,dc=com";
const DEADLINE: Duration = Duration::from_secs(30);
/// An answer of the directory serves for five seconds.
const ASKED_AGAIN: Duration = Duration::from_secs(6);

/// How the connector reaches the directory.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    StartTls,
    Tls,
}

pub(crate) fn suite() -> Vec<Check> {
    let check = |name, way| -> Check { (name, Box::new(move || logins(way))) };
    vec![
        check("OpenLDAP's directory, in the clear", Way::Plain),
        check("OpenLDAP's directory, StartTLS", Way::StartTls),
        check("OpenLDAP's directory, TLS", Way::Tls),
        (
            "OpenLDAP's directory of another authority",
            Box::new(other_authority),
        ),
    ]
}

/// The suite alone.
pub(crate) fn run() -> Result<()> {
    shell::run(shell::cargo().args(["build", "--package", "sidegate"]))?;
    for (name, check) in suite() {
        check().with_context(|| name)?;
        println!("{name} ... ok");
    }
    Ok(())
}

pub(crate) fn peers() -> PathBuf {
    shell::root().join("xtask/peers/ldap")
}

/// A running directory.
struct Slapd {
    running: Running,
    plain: u16,
    tls: u16,
    server: PathBuf,
    folder: tempfile::TempDir,
}

/// Starts the server on these ports and waits until it answers.
fn serve(root: &Path, config: &Path, plain: u16, tls: u16) -> Result<Running> {
    let mut running = Running::start(
        command(root, "slapd")
            .arg("-f")
            .arg(config)
            .args(["-d", "0", "-h"])
            .arg(format!("ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}")),
    )?;
    let listens = || std::net::TcpStream::connect(("127.0.0.1", tls)).is_ok();
    running
        .until(DEADLINE, listens)
        .context("slapd does not answer")?;
    Ok(running)
}

fn command(root: &Path, program: &str) -> Command {
    let mut command = Command::new(root.join("usr/sbin/slapd"));
    command.env("LD_LIBRARY_PATH", cache::libraries(root));
    // It is several programs, by the name that it is called.
    std::os::unix::process::CommandExt::arg0(&mut command, program);
    command
}

impl Slapd {
    fn start() -> Result<Self> {
        let root = cache::debian("slapd")?;
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let peers = peers();
        let schema = |name: &str| {
            let file = root.join(format!("etc/ldap/schema/{name}.schema"));
            format!("include {}\n", file.display())
        };
        let schemas: String = ["core", "cosine", "inetorgperson"].map(schema).concat();
        let config = folder.path().join("slapd.conf");
        std::fs::write(
            &config,
            format!(
                "{schemas}modulepath {}\nmoduleload back_mdb\n\
                 TLSCertificateFile {}\nTLSCertificateKeyFile {}\n\
                 database mdb\nsuffix \"{BASE}\"\nrootdn \"cn=root,{BASE}\"\nrootpw of-root\n\
                 directory {}\n\
                 access to attrs=userPassword by anonymous auth by * none\n\
                 access to * by dn.exact=\"cn=service,{BASE}\" read by self read by * none\n",
                root.join("usr/lib/ldap").display(),
                peers.join("server.pem").display(),
                peers.join("server.key").display(),
                data.display(),
            ),
        )?;
        shell::run(
            command(&root, "slapadd")
                .arg("-f")
                .arg(&config)
                .arg("-l")
                .arg(peers.join("people.ldif")),
        )?;
        let (plain, tls) = (free_port()?, free_port()?);
        Ok(Self {
            running: serve(&root, &config, plain, tls)?,
            plain,
            tls,
            server: root,
            folder,
        })
    }

    /// Takes an entry away while it runs.
    fn remove(&mut self, dn: &str) -> Result<()> {
        // A client of its own would be another package: the server is stopped for a moment.
        self.running.end();
        let ldif = std::fs::read_to_string(peers().join("people.ldif"))?;
        let start = format!("dn: {dn}\n");
        let kept: Vec<&str> = ldif
            .split("\n\n")
            .filter(|entry| !entry.starts_with(&start))
            .collect();
        let file = self.folder.path().join("kept.ldif");
        std::fs::write(&file, kept.join("\n\n"))?;
        let data = self.folder.path().join("data");
        std::fs::remove_dir_all(&data)?;
        std::fs::create_dir(&data)?;
        let config = self.folder.path().join("slapd.conf");
        shell::run(
            command(&self.server, "slapadd")
                .arg("-f")
                .arg(&config)
                .arg("-l")
                .arg(&file),
        )?;
        self.running = serve(&self.server, &config, self.plain, self.tls)?;
        Ok(())
    }

    fn config(&self, way: Way, authority: &str) -> String {
        let root = peers().join(authority);
        let (host, security) = match way {
            Way::Plain => (format!("127.0.0.1:{}", self.plain), "insecureNoSSL: true"),
            Way::StartTls => (format!("localhost:{}", self.plain), "startTLS: true"),
            Way::Tls => (format!("localhost:{}", self.tls), "startTLS: false"),
        };
        format!(
            r#"issuer: http://127.0.0.1:5556/dex
web: {{http: 127.0.0.1:0}}
oauth2: {{skipApprovalScreen: true, passwordConnector: directory}}
connectors:
- type: ldap
  id: directory
  name: The directory
  config:
    host: {host}
    {security}
    rootCA: {root}
    bindDN: cn=service,{BASE}
    bindPW: $DIRECTORY_PASSWORD
    usernamePrompt: Name or address
    userSearch:
      baseDN: ou=people,{BASE}
      filter: (objectClass=inetOrgPerson)
      username: [uid, mail, cn]
      idAttr: uid
      emailAttr: mail
      nameAttr: cn
      preferredUsernameAttr: uid
    groupSearch:
      baseDN: ou=groups,{BASE}
      filter: (objectClass=groupOfNames)
      userMatchers:
      - {{userAttr: DN, groupAttr: member, recursionGroupAttr: member}}
      nameAttr: cn
staticClients:
- {{id: app, secret: of the app, redirectURIs: ["http://127.0.0.1/cb"], name: App}}
"#,
            root = root.display(),
        )
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// `sidegate provider` with that configuration.
struct Provider {
    _running: Running,
    base: String,
    folder: tempfile::TempDir,
}

impl Provider {
    fn start(config: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("dex.yaml");
        std::fs::write(&file, config)?;
        let port = free_port()?;
        let told = std::fs::File::create(folder.path().join("told"))?;
        let mut command = Command::new(shell::target().join("debug/sidegate"));
        command
            .args(["provider", "--listen"])
            .arg(format!("127.0.0.1:{port}"))
            .arg("--config")
            .arg(&file)
            .arg("--data")
            .arg(folder.path().join("data"))
            .env("DIRECTORY_PASSWORD", "of the service")
            .stderr(told);
        let mut running = Running::start(&mut command)?;
        let base = format!("http://127.0.0.1:{port}");
        let answers = || curl([format!("{base}/dex/healthz")]).is_ok();
        running.until(DEADLINE, answers).with_context(|| {
            let told = std::fs::read_to_string(folder.path().join("told"));
            format!("sidegate provider: {}", told.unwrap_or_default())
        })?;
        Ok(Self {
            _running: running,
            base,
            folder,
        })
    }

    /// What comes of a name and a password in the form.
    fn log_in(&self, login: &str, password: &str) -> Result<Answer> {
        let jar = self.folder.path().join(format!("jar{}", login.len()));
        drop(std::fs::remove_file(&jar));
        let jar = jar.display().to_string();
        let auth = format!(
            "{}/dex/auth?response_type=code&client_id=app&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&scope=openid+email+profile+groups+offline_access&state=s",
            self.base
        );
        let began = curl(["-c", &jar, "-b", &jar, &auth])?;
        let form = began.header("location").unwrap_or_default();
        ensure!(
            form.starts_with("/dex/auth/directory/login?req="),
            "no form: {began:?}"
        );
        let form = format!("{}{form}", self.base);
        let shown = curl(["-c", &jar, "-b", &jar, &form])?;
        ensure!(shown.body.contains("Name or address"), "{}", shown.body);
        let (login, password) = (format!("login={login}"), format!("password={password}"));
        let fields = ["--data-urlencode", &login, "--data-urlencode", &password];
        Ok(curl(
            [&["-c", &*jar, "-b", &*jar, &*form], &fields[..]].concat(),
        )?)
    }

    fn token(&self, params: &[&str]) -> Result<(u16, Value)> {
        let url = format!("{}/dex/token", self.base);
        let mut args = vec!["-u", "app:of the app", url.as_str()];
        for param in params {
            args.extend(["--data-urlencode", param]);
        }
        let answer = curl(args)?;
        Ok((answer.status, serde_json::from_str(&answer.body)?))
    }

    /// The tokens of a login.
    fn tokens(&self, login: &str, password: &str) -> Result<Value> {
        let answer = self.log_in(login, password)?;
        let to = answer.header("location").unwrap_or_default().to_owned();
        let code = to
            .split("code=")
            .nth(1)
            .and_then(|rest| rest.split('&').next());
        let code = code.with_context(|| format!("no code for {login}: {answer:?}"))?;
        let (_, tokens) = self.token(&[
            "grant_type=authorization_code",
            &format!("code={code}"),
            "redirect_uri=http://127.0.0.1/cb",
        ])?;
        Ok(tokens)
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    let member = value.get(name).and_then(Value::as_str);
    member.unwrap_or_default()
}

fn claims(tokens: &Value) -> Result<Value> {
    let token = tokens.get("id_token").and_then(Value::as_str);
    let token = token.with_context(|| format!("no ID token: {tokens}"))?;
    let payload = token.split('.').nth(1).unwrap_or_default();
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

fn logins(way: Way) -> Result<()> {
    let mut slapd = Slapd::start()?;
    let provider = Provider::start(&slapd.config(way, "ca.pem"))?;
    let tokens = provider.tokens("jane", "of jane")?;
    let about = claims(&tokens)?;
    // base64url of `{1: "jane", 2: "directory"}`.
    let expected = json!({"sub": "CgRqYW5lEglkaXJlY3Rvcnk", "email": "jane@example.com",
        "email_verified": true, "name": "Jane Doe", "preferred_username": "jane",
        "groups": ["admins", "developers", "everybody"]});
    for (name, value) in expected.as_object().into_iter().flatten() {
        ensure!(about.get(name) == Some(value), "{name}: {about}");
    }
    // By address, and by a name that has the letters of filters.
    let by_address = claims(&provider.tokens("JANE@example.com", "of jane")?)?;
    ensure!(
        text(&by_address, "sub") == text(&about, "sub"),
        "{by_address}"
    );
    let odd = claims(&provider.tokens("John (the \"2nd\") * \\ 박", "of john")?)?;
    ensure!(text(&odd, "email") == "john@example.com", "{odd}");
    // An application hands the password over, as the configuration lets it.
    let handed = |password: &str| {
        let password = format!("password={password}");
        let scope = "scope=openid email profile groups";
        provider.token(&["grant_type=password", "username=jane", &password, scope])
    };
    let (_, tokens_of_application) = handed("of jane")?;
    let told = claims(&tokens_of_application)?;
    for name in ["sub", "groups"] {
        ensure!(told.get(name) == about.get(name), "{name}: {told}");
    }
    let (status, refused) = handed("of john")?;
    ensure!(
        status == 400 && text(&refused, "error") == "invalid_grant",
        "a wrong password of an application: {refused}"
    );
    for (login, password, expected) in [
        ("jane", "of john", 401),
        ("jane", "", 401),
        ("", "of jane", 401),
        ("nobody", "of jane", 401),
        ("*", "of jane", 401),
        ("jane)(uid=*", "of jane", 401),
        ("*)(|(uid=*", "of jane", 401),
        ("j\\61ne", "of jane", 401),
        ("uid=jane,ou=people,dc=example,dc=com", "of jane", 401),
        ("cn=service,dc=example,dc=com", "of the service", 401),
        // Two have this address: nobody is let in.
        ("shared@example.com", "of twin", 401),
        ("twin", "of twin", 303),
        // Without an address the entry is not enough.
        ("addressless", "of addressless", 502),
    ] {
        let answer = provider.log_in(login, password)?;
        ensure!(
            answer.status == expected,
            "`{login}` with `{password}`: expected {expected}, found {}",
            answer.status
        );
    }
    if matches!(way, Way::Plain) {
        loses_access(&mut slapd, &provider, &tokens)?;
    }
    // A directory that is not there lets nobody in, and says so.
    drop(slapd);
    let down = provider.log_in("john", "of john")?;
    ensure!(down.status == 502, "{}", down.status);
    Ok(())
}

/// Who is removed loses access at the next refresh.
fn loses_access(slapd: &mut Slapd, provider: &Provider, tokens: &Value) -> Result<()> {
    let before = claims(tokens)?;
    let refresh = text(tokens, "refresh_token");
    let params = [
        "grant_type=refresh_token",
        &format!("refresh_token={refresh}"),
    ];
    std::thread::sleep(ASKED_AGAIN);
    let (status, refreshed) = provider.token(&params)?;
    ensure!(status == 200, "a refresh: {refreshed}");
    ensure!(
        claims(&refreshed)?.get("groups") == before.get("groups"),
        "{refreshed}"
    );
    slapd.remove("uid=jane,ou=people,dc=example,dc=com")?;
    std::thread::sleep(ASKED_AGAIN);
    let refresh = text(&refreshed, "refresh_token");
    let params = [
        "grant_type=refresh_token",
        &format!("refresh_token={refresh}"),
    ];
    let (status, refused) = provider.token(&params)?;
    ensure!(
        status == 400 && text(&refused, "error") == "invalid_grant",
        "a refresh of somebody who is gone: {refused}"
    );
    Ok(())
}

/// Nothing is sent to a server whose certificate is not of the authority.
fn other_authority() -> Result<()> {
    let slapd = Slapd::start()?;
    for way in [Way::StartTls, Way::Tls] {
        let provider = Provider::start(&slapd.config(way, "other.pem"))?;
        let answer = provider.log_in("jane", "of jane")?;
        ensure!(answer.status == 502, "{}", answer.status);
        let told = std::fs::read_to_string(provider.folder.path().join("told"))?;
        ensure!(told.contains("certificate"), "{told}");
    }
    Ok(())
}
