//! A table of clients, and what an edge answers them on each kind of route.
//!
//! Both edges are held to it: `sidegate up`, and Envoy that asks `sidegate authz`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Answer, Error};

/// What is asked for beside the seed's cluster.
pub const CLUSTER: &str = include_str!("cluster.yaml");

const TABLE: &str = include_str!("clients.yaml");

/// Where a request goes, and with which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// As the table calls it.
    pub name: &'static str,
    /// Whether it arrives at the listener for workloads.
    pub inside: bool,
    /// Host of the request.
    pub host: &'static str,
    /// Path of a GET where the client has none of its own; a POST adds `:predict` to a model's.
    path: &'static str,
    /// Token, in the place of what the client sends.
    pub token: Token,
}

/// What is sent as `authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Token {
    /// What the client sends by itself.
    Own,
    /// One that nobody signed.
    Wrong,
    /// That of a ServiceAccount in namespace `shop`.
    OfAnother,
}

const fn route(
    name: &'static str,
    inside: bool,
    host: &'static str,
    path: &'static str,
    token: Token,
) -> Route {
    Route {
        name,
        inside,
        host,
        path,
        token,
    }
}

/// All of them.
pub const ROUTES: [Route; 8] = [
    route("platform", false, "dashboard.example.com", "/", Token::Own),
    route(
        "model",
        false,
        "sklearn-iris.kserve-test.example.com",
        "/v1/models/sklearn-iris",
        Token::Own,
    ),
    route(
        "wrong-token",
        false,
        "sklearn-iris.kserve-test.example.com",
        "/v1/models/sklearn-iris",
        Token::Wrong,
    ),
    route(
        "without-right",
        false,
        "limited.kserve-test.example.com",
        "/v1/models/limited",
        Token::OfAnother,
    ),
    route(
        "model-inside",
        true,
        "sklearn-iris.kserve-test.svc.cluster.local",
        "/v1/models/sklearn-iris",
        Token::Own,
    ),
    route(
        "limited-inside",
        true,
        "limited.kserve-test.svc.cluster.local",
        "/v1/models/limited",
        Token::Own,
    ),
    route(
        "platform-inside",
        true,
        "dashboard.kubeflow.example.com",
        "/",
        Token::Own,
    ),
    route("foreign", false, "shop.example.com", "/", Token::Own),
];

/// One client, as it is on the wire.
#[derive(Clone, Debug)]
pub struct Client {
    /// Who it is.
    pub name: String,
    /// How it is to be answered, by the names of routes.
    answers: BTreeMap<String, String>,
    method: String,
    http2: bool,
    headers: Vec<(String, String)>,
    path: Option<String>,
    body: Option<String>,
}

/// The table.
///
/// # Errors
/// It is not what it should be.
pub fn clients() -> Result<Vec<Client>, Error> {
    let table: Value = serde_saphyr::from_str(TABLE).map_err(|error| Error::Message {
        what: format!("clients.yaml: {error}"),
    })?;
    let all = table.get("clients").and_then(Value::as_array);
    let all = all.into_iter().flatten();
    all.map(|one| Client::read(one, &table).ok_or_else(|| wrong(one)))
        .collect()
}

fn wrong(one: &Value) -> Error {
    Error::Message {
        what: format!("clients.yaml: `{one}`: expected name, kind and headers"),
    }
}

impl Client {
    fn read(one: &Value, table: &Value) -> Option<Self> {
        let text = |name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = text("kind")?;
        let answers = table.get("answers")?.get(&kind)?.as_object()?;
        let lines = one.get("headers")?.as_str()?.lines();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        });
        Some(Self {
            name: text("client")?,
            answers: answers
                .iter()
                .map(|(route, answer)| match answer.as_str() {
                    Some(word) => (route.clone(), word.to_owned()),
                    None => (route.clone(), answer.to_string()),
                })
                .collect(),
            method: text("method").unwrap_or_else(|| "GET".to_owned()),
            http2: text("protocol").as_deref() == Some("h2"),
            headers: headers.collect::<Option<_>>()?,
            path: text("path"),
            body: text("body"),
        })
    }

    /// What it is answered on a route, in the words of the table.
    pub fn expected(&self, route: &Route) -> &str {
        self.answers.get(route.name).map_or("", String::as_str)
    }

    /// The target of its request.
    pub fn target(&self, route: &Route) -> String {
        match &self.path {
            Some(path) => path.clone(),
            None if self.method == "POST" && route.path != "/" => {
                format!("{}:predict", route.path)
            }
            None => route.path.to_owned(),
        }
    }

    /// Arguments of curl that send exactly its headers.
    pub fn curl(&self, authorization: Option<&str>) -> Vec<String> {
        let mut args = vec!["--path-as-is".to_owned()];
        if self.http2 {
            args.push("--http2-prior-knowledge".to_owned());
        }
        match self.method.as_str() {
            "HEAD" => args.push("--head".to_owned()),
            method => args.extend(["--request".to_owned(), method.to_owned()]),
        }
        let own = self.headers.iter();
        let own = own.filter(|(name, _)| authorization.is_none() || name != "authorization");
        let mut headers: Vec<(&str, &str)> = own.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        headers.extend(authorization.map(|token| ("authorization", token)));
        let mut line = |text: String| args.extend(["--header".to_owned(), text]);
        for added in ["accept", "user-agent", "content-type"] {
            if headers.iter().all(|(name, _)| *name != added) {
                line(format!("{added}:"));
            }
        }
        for (name, value) in headers {
            line(format!("{name}: {value}"));
        }
        if let Some(body) = &self.body {
            args.extend(["--data-binary".to_owned(), body.clone()]);
        }
        args
    }

    /// How an answer is not as expected; `arrived` says whether the request
    /// got behind the edge.
    pub fn differs(&self, route: &Route, answer: &Answer, arrived: bool) -> Option<String> {
        let expected = self.expected(route);
        let is = |name: &str, value: &str| answer.header(name) == Some(value);
        let json = |status: u16| {
            let challenged = answer
                .header("www-authenticate")
                .is_some_and(|challenge| challenge.starts_with("Bearer"));
            // Envoy says nothing of a body that it does not send.
            let told =
                is("content-type", "application/json") && answer.body.starts_with("{\"error\":");
            answer.status == status
                && (status != 401 || challenged)
                && answer.header("location").is_none()
                && answer.header("set-cookie").is_none()
                && (self.method == "HEAD" || told)
        };
        let holds = match expected {
            "through" => arrived,
            _ if arrived => false,
            "login" => {
                let to = answer.header("location").unwrap_or_default();
                answer.status == 302
                    && to.starts_with("/dex/auth?")
                    && is("cache-control", "no-store")
            }
            "form" => {
                answer.status == 401
                    && is("content-type", "text/html; charset=utf-8")
                    && answer.body.contains("href=\"/dex/auth?")
                    && is("cache-control", "no-store")
            }
            "preflight" => {
                let open = is("access-control-allow-origin", "*");
                answer.status == 204 && open != route.inside && answer.body.is_empty()
            }
            other => match other.strip_prefix("grpc ") {
                Some(status) => {
                    answer.status == 200
                        && is("grpc-status", status)
                        && is("content-type", "application/grpc")
                        && answer.body.is_empty()
                }
                None => other.parse().is_ok_and(json),
            },
        };
        (!holds).then(|| {
            format!(
                "{} at `{}`: expected {expected}, got {} {:?} {:.200}{}",
                self.name,
                route.name,
                answer.status,
                answer.headers,
                answer.body,
                if arrived { ", and it arrived" } else { "" }
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let clients = clients().unwrap();
        assert!(clients.len() >= 40, "{}", clients.len());
        let mut names: Vec<&str> = clients.iter().map(|client| &*client.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), clients.len());
        for client in &clients {
            for route in &ROUTES {
                assert!(!client.expected(route).is_empty(), "{}", client.name);
                assert!(client.target(route).starts_with('/'));
            }
            assert_eq!(client.answers.len(), ROUTES.len());
        }
    }

    #[test]
    fn an_answer_that_is_another_is_told() {
        let clients = clients().unwrap();
        let answer = |status, headers: &[(&str, &str)], body: &str| Answer {
            status,
            headers: headers
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            body: body.to_owned(),
        };
        let login = answer(
            302,
            &[("location", "/dex/auth?a"), ("cache-control", "no-store")],
            "",
        );
        let refused = answer(
            401,
            &[
                ("www-authenticate", "Bearer"),
                ("content-type", "application/json"),
            ],
            "{\"error\":1}",
        );
        let (page, program) = (
            &clients[0],
            clients.iter().find(|c| c.name == "curl").unwrap(),
        );
        let platform = &ROUTES[0];
        assert_eq!(page.differs(platform, &login, false), None);
        assert_eq!(program.differs(platform, &refused, false), None);
        for (client, answer, arrived) in [
            (page, &refused, false),
            (program, &login, false),
            (page, &login, true),
            (program, &refused, true),
        ] {
            assert!(client.differs(platform, answer, arrived).is_some());
        }
        let foreign = &ROUTES[7];
        assert_eq!(page.differs(foreign, &refused, true), None);
        assert!(page.differs(foreign, &refused, false).is_some());
    }
}
