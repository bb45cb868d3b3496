//! A witness for people: as a curl line, whose it is, how easy it is to read.

use http::{HeaderName, Method};
use policy::{Claims, RequestHead, ServiceAccount, TokenHolder};

use crate::standins;
use crate::witness::Witness;

impl Witness {
    /// The request as a curl command line; `base` is where the listener is
    /// reached, for example `http://127.0.0.1:8080`.
    pub fn curl(&self, base: &str) -> String {
        let line = self.line(base);
        let Some(claims) = self.claims() else {
            return line;
        };
        let token = standins::text(claims.object());
        let says = serde_json::Value::Object(claims.object().clone());
        format!(
            "{}  # TOKEN says {says}",
            line.replace(&token, "'\"$TOKEN\"'")
        )
    }

    fn line(&self, base: &str) -> String {
        let mut line = String::from("curl -si --path-as-is");
        if self.head.method == Method::HEAD {
            line.push_str(" --head");
        } else if self.head.method != Method::GET {
            line.push_str(&format!(" -X {}", self.head.method));
        }
        line.push_str(&format!(" -H 'Host: {}'", self.head.authority));
        if self.asker.session.is_some() {
            line.push_str(" -H \"cookie: $SESSION\"");
        }
        for (name, value) in self.sent_headers() {
            if self.asker.token.is_some() && name == http::header::AUTHORIZATION {
                line.push_str(" -H \"authorization: Bearer $TOKEN\"");
                continue;
            }
            // curl sends an empty header only when it is written with a semicolon.
            if value.is_empty() {
                line.push_str(&format!(" -H '{name};'"));
            } else {
                line.push_str(&format!(" -H '{name}: {}'", value.replace('\'', "'\\''")));
            }
        }
        let target = self.head.path_and_query().replace('\'', "'\\''");
        let origin = self.origin(base, &mut line);
        line.push_str(&format!(" '{origin}{target}'"));
        let tls = self.head.connection.tls.as_ref();
        if let Some(shown) = tls.and_then(|tls| tls.certificate.as_ref()) {
            line.push_str(&format!(
                " # with a certificate of {}",
                shown.uris.join(", ")
            ));
        }
        line
    }

    /// What the tokens of the request say, if it has good ones: it cannot be
    /// sent without somebody who has such a token.
    pub fn claims(&self) -> Option<Claims> {
        let headers = self.head.headers.values();
        let texts = headers.filter_map(|value| value.to_str().ok());
        let query = self.head.query.as_deref();
        let mut words = texts
            .chain(query)
            .flat_map(|text| text.split([' ', '=', '&', ';', ',']));
        words.find_map(standins::claims_of)
    }

    /// Who it is from, if that is not anybody.
    pub fn caller(&self) -> Option<String> {
        let account = |account: &ServiceAccount| {
            format!("ServiceAccount {}/{}", account.namespace, account.name)
        };
        match (&self.asker.token, &self.asker.session, &self.head.workload) {
            (Some(TokenHolder::ServiceAccount(holder)), ..) => {
                Some(format!("with a token of {}", account(holder)))
            }
            (Some(TokenHolder::Person(person)), ..) => {
                Some(format!("with a token of {}", person.email))
            }
            (Some(holder @ TokenHolder::Service(_)), ..) => {
                Some(format!("with a token of {}", holder.user_name()))
            }
            (None, Some(person), _) => Some(format!("with the session of {}", person.email)),
            (None, None, Some(workload)) => {
                let of = account(&workload.service_account);
                Some(format!("from a pod of {of}"))
            }
            (None, None, None) => {
                let claims = self.claims()?;
                let says = serde_json::Value::Object(claims.object().clone());
                Some(format!("with a token that says {says}"))
            }
        }
    }

    /// The headers as the client sends them: without itself in `x-forwarded-for`.
    pub fn sent_headers(&self) -> impl Iterator<Item = (&HeaderName, String)> {
        let own = format!(", {}", self.head.peer.ip());
        self.head.headers.iter().map(move |(name, value)| {
            let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if name == "x-forwarded-for" && value.ends_with(&own) {
                value.truncate(value.len() - own.len());
            }
            (name, value)
        })
    }

    /// Scheme and host of the URL; a listener that is no entrance is reached at
    /// its port of the same gateway.
    fn origin(&self, base: &str, line: &mut String) -> String {
        let connection = &self.head.connection;
        let Some(id) = &connection.listener else {
            return base.to_owned();
        };
        let address = base.split_once("://").map_or(base, |(_, rest)| rest);
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let Some(tls) = &connection.tls else {
            return format!("http://{host}:{}", id.port);
        };
        line.push_str(" -k");
        if tls.certificate.is_some() {
            line.push_str(" --cert client.pem --key client.key");
        }
        match &tls.sni {
            None => format!("https://{host}:{}", id.port),
            Some(sni) => {
                line.push_str(&format!(" --connect-to '::{host}:{}'", id.port));
                format!("https://{sni}")
            }
        }
    }

    /// How easy it is to read.
    pub(crate) fn cost(&self) -> (usize, usize, &str) {
        cost(&self.head)
    }
}

/// What a reader has to look at, the length of host and path, then the path
/// itself: smaller is easier to read.
pub(crate) fn cost(head: &RequestHead) -> (usize, usize, &str) {
    let plain = |text: &str| !text.bytes().any(|b| b.is_ascii_uppercase() || b == b'%');
    let odd = [
        head.method != Method::GET,
        !plain(&head.authority),
        head.authority.contains(':'),
        !plain(&head.path),
        head.query.is_some(),
    ];
    let odd = odd.into_iter().filter(|is| *is).count();
    (
        head.headers.len() + odd,
        head.authority.len() + head.path.len(),
        &head.path,
    )
}
