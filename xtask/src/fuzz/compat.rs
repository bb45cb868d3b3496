//! Configurations of the login services that Sidegate takes the place of: taken or refused with a reason, and no secret told.

use anyhow::{Result, ensure};
use compat::{Around, Imported, Standing};

use super::Target;
use super::bytes::mutated;
use super::random::Random;

/// What can be asked for alone; configurations of Dex are another target's too.
pub(super) const PARTS: [&str; 5] = ["oauth2-proxy", "alpha", "environment", "authservice", "dex"];
const OWN: [&str; 4] = ["oauth2-proxy", "alpha", "environment", "authservice"];

const FILE: &str = include_str!("../../peers/relying/kubeflow/oauth2_proxy.cfg");
const ENVIRONMENT: &str = include_str!("../../peers/relying/kubeflow/authservice.env");
const SECRET: &str = "sEcReT-of-this-installation";
/// Of sixteen bytes, as cookies need it.
const COOKIE_SECRET: &str = "sEcReT-of-cookie";

/// Kubeflow's of 1.8.
const ALPHA: &str = "\
injectResponseHeaders:
- name: kubeflow-groups
  values:
  - claim: groups
- name: kubeflow-userid
  values:
  - claim: email
metricsServer:
  BindAddress: 0.0.0.0:44180
providers:
- clientID: kubeflow-oidc-authservice
  clientSecret: sEcReT-of-this-installation
  id: oidc=kubeflow-oidc-authservice
  loginURL: /dex/auth
  oidcConfig:
    audienceClaims: [aud]
    emailClaim: email
    groupsClaim: groups
    issuerURL: http://dex.auth.svc.cluster.local:5556/dex
    jwksURL: http://dex.auth.svc.cluster.local:5556/dex/keys
    skipDiscovery: true
    userIDClaim: email
  scope: openid profile email groups
  provider: oidc
  redeemURL: http://dex.auth.svc.cluster.local:5556/dex/token
server:
  BindAddress: 0.0.0.0:8080
upstreamConfig:
  upstreams:
  - id: static://200
    path: /
    static: true
    staticCode: 200
";

/// Settings that are in no file of Kubeflow's.
const MORE: &str = "
# More
client_id = \"kubeflow\"
client_secret = \"sEcReT-of-this-installation\"
cookie_secret = \"sEcReT-of-cookie\"
cookie_secure = false
cookie_domains = [ \".example.com\" ]
allowed_groups = [ \"ml\", \"admins\" ]
whitelist_domains = [ \".example.com:8080\" ]
skip_jwt_bearer_tokens = true
extra_jwt_issuers = [ \"https://issuer.example=audience\" ]
skip_auth_regex = [ \"^/healthz$\" ]
http_address = \"0.0.0.0:4180\"
reverse_proxy = true
oidc_groups_claim = \"groups\"
ping_path = \"/ping\"
session_store_type = \"cookie\"
";

const VARIABLES: &str = "\
OAUTH2_PROXY_CLIENT_ID=kubeflow-oidc-authservice
OAUTH2_PROXY_CLIENT_SECRET=sEcReT-of-this-installation
OAUTH2_PROXY_COOKIE_SECRET=sEcReT-of-cookie
OAUTH2_PROXY_COOKIE_SECURE=false
OAUTH2_PROXY_SSL_INSECURE_SKIP_VERIFY=true
OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS=true
OAUTH2_PROXY_EXTRA_JWT_ISSUERS=https://kubernetes.default.svc=https://kubernetes.default.svc
OAUTH2_PROXY_EMAIL_DOMAINS=example.com,example.org
OAUTH2_PROXY_HTTP_ADDRESS=:4180
OAUTH2_PROXY_COOKIE_EXPIRE=168h
";

const OLD_VARIABLES: &str = "\
CLIENT_ID=kubeflow-oidc-authservice
CLIENT_SECRET=sEcReT-of-this-installation
REDIRECT_URL=/login/oidc
OIDC_AUDIENCES=a,b
SESSION_MAX_AGE=3600
GROUPS_ALLOWLIST=ml,admins
SKIP_AUTH_URI=/dex /healthz
SESSION_STORE_PATH=/var/lib/a
";

pub(super) struct Configurations {
    part: Option<&'static str>,
}

/// One configuration of each kind; those that are not changed are as they should be.
struct Made {
    authservice: bool,
    file: String,
    alpha: Option<String>,
    environment: Vec<(String, String)>,
}

fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Configurations {
    pub(super) fn new(part: Option<&str>) -> Result<Self> {
        let part = PARTS.into_iter().find(|known| part == Some(known));
        let made = |part: &str| {
            let made = Made {
                authservice: part == "authservice",
                file: if part == "alpha" {
                    String::new()
                } else {
                    FILE.to_owned()
                },
                alpha: (part == "alpha").then(|| ALPHA.to_owned()),
                environment: variables(VARIABLES),
            };
            made.imported()
        };
        for part in ["oauth2-proxy", "alpha"] {
            let read = made(part).map_err(anyhow::Error::msg)?;
            ensure!(read.login.is_some(), "{part}: {:?}", read.report);
        }
        let old = Made {
            authservice: true,
            file: String::new(),
            alpha: None,
            environment: variables(&format!("{ENVIRONMENT}{OLD_VARIABLES}")),
        };
        ensure!(old.imported().is_ok(), "an environment of oidc-authservice");
        Ok(Self { part })
    }

    fn made(&self, random: &mut Random) -> Made {
        let part = self.part.unwrap_or_else(|| random.word(&OWN));
        let changed = |random: &mut Random, texts: &[&str]| {
            let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            String::from_utf8_lossy(&mutated(random, &texts)).into_owned()
        };
        let mut made = Made {
            authservice: part == "authservice",
            file: FILE.to_owned(),
            alpha: None,
            environment: variables(VARIABLES),
        };
        match part {
            "authservice" => {
                let text = format!("{ENVIRONMENT}{OLD_VARIABLES}");
                made.environment = variables(&changed(random, &[&text]));
            }
            "environment" => made.environment = variables(&changed(random, &[VARIABLES])),
            "alpha" => {
                made.file = String::new();
                made.alpha = Some(changed(random, &[ALPHA]));
            }
            _ => {
                let text = format!("{FILE}{MORE}");
                made.file = changed(random, &[&text, MORE]);
            }
        }
        made
    }
}

impl Made {
    fn imported(&self) -> Result<Imported, String> {
        let around = Around {
            environment: &self.environment,
            file: &|path| match path.len() {
                0..40 => Ok(SECRET.to_owned()),
                _ => Err("there is none".to_owned()),
            },
            known_secrets: false,
        };
        match self.authservice {
            true => Ok(compat::authservice(around)),
            false => compat::oauth2_proxy(&self.file, self.alpha.as_deref(), around),
        }
    }
}

impl Target for Configurations {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        let made = self.made(random);
        let read = match made.imported() {
            Err(why) if why.is_empty() => return Err("refused without a reason".to_owned()),
            Err(why) if why.contains(SECRET) => return Err(format!("a secret is told: {why}")),
            Err(_) => return Ok("not read"),
            Ok(read) => read,
        };
        // Pieces are moved about: elsewhere than in its own field a secret is an ordinary value.
        let of_secrets = |key: &str| key.to_ascii_lowercase().contains("secret");
        let mut entries = read.report.entries.iter();
        let told = entries.find(|entry| {
            of_secrets(&entry.key)
                && [SECRET, COOKIE_SECRET]
                    .iter()
                    .any(|secret| entry.note.contains(secret))
        });
        if let Some(entry) = told {
            return Err(format!("a secret is told: {entry}"));
        }
        if let Some(login) = &read.login
            && format!("{login:?}").contains("sEcReT")
            && made.environment == variables(VARIABLES)
            && made.alpha.is_none()
            && made.file == FILE
        {
            return Err("a login prints its secret".to_owned());
        }
        let silent =
            |entry: &&compat::Entry| entry.standing == Standing::Refused && entry.note.is_empty();
        if let Some(entry) = read.report.entries.iter().find(silent) {
            return Err(format!("refused without a reason: {entry}"));
        }
        match (read.login.is_some(), read.report.count(Standing::Refused)) {
            (true, 0) => Ok("taken"),
            (true, _) => Err("a login in spite of a refused key".to_owned()),
            (false, 0) => Err("no login, and no key is refused".to_owned()),
            (false, _) => Ok("refused"),
        }
    }

    fn input(&self, random: &mut Random) -> String {
        let made = self.made(random);
        format!(
            "{:?}\n{}\n{}",
            made.environment,
            made.file,
            made.alpha.unwrap_or_default()
        )
    }
}
