//! What somebody wants to be true of all requests, and how backends read
//! paths: in a Sidegate object, or in a file of their own. Unknown fields are
//! errors here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::document::{self, Document};
use crate::error::{LoadError, LoadErrors};
use crate::kinds::typed;
use crate::meta::Source;
use yaml::{Step, dotted};

/// A file of statements.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Statements {
    /// What is to be true of all requests.
    pub intents: Vec<Intent>,
    /// How backends read paths.
    pub backends: Vec<Backend>,
}

/// One statement about all requests from somebody to something.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Intent {
    /// What it is called in reports.
    pub name: Option<String>,
    /// Where requests come from; anywhere if absent.
    #[serde(default)]
    pub from: From,
    /// What they bring along.
    #[serde(default)]
    pub identity: Identity,
    /// Where they go.
    pub to: Target,
    /// What becomes of them.
    pub expect: Expect,
    /// Where it is written.
    #[serde(skip)]
    pub source: Option<Source>,
}

/// Where requests come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// Any listener, whoever it is.
    #[default]
    Anywhere,
    /// Outside the cluster.
    Outside,
    /// Inside the cluster, any workload or none that is known.
    Inside,
    /// Some workloads.
    Pods(Pods),
}

/// Workloads of a namespace: all, those with some labels, or those of a
/// ServiceAccount.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pods {
    /// Namespace.
    pub namespace: String,
    /// Labels that the pods have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Their ServiceAccount.
    pub service_account: Option<String>,
}

/// What requests bring along.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// Neither a login nor a token.
    #[default]
    None,
    /// The session of a person who is logged in.
    Login,
    /// A token that verifies.
    Token,
}

/// Who a route belongs to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RouteOwner {
    /// The platform.
    Platform,
    /// An InferenceService.
    Model,
    /// Applications of others.
    Foreign,
    /// The login machinery.
    Login,
}

/// Where requests go: all that is given applies.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Owner of the route that serves them.
    pub owner: Option<RouteOwner>,
    /// Host they name, `*.example.com` for all below.
    pub host: Option<String>,
    /// Service they are routed to, `namespace/name` or `namespace/name:port`.
    pub service: Option<String>,
    /// Path, exact, or a prefix that ends in `*`.
    pub path: Option<String>,
}

/// What becomes of requests.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// They get where the route leads.
    Allow,
    /// They do not, whatever they are told instead.
    Deny,
    /// They are sent to the login.
    Login,
    /// They are asked for a token.
    Token,
}

/// How a backend reads paths.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Service, `namespace/name`, or a host outside.
    pub service: String,
    /// What it does to a path that the gateway does not; nothing if empty.
    pub reads: Vec<Reading>,
    /// Where it is written.
    #[serde(skip)]
    pub source: Option<Source>,
}

/// Something a backend does to a path before it looks at it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// `%2f` is a slash, and `..` behind one goes up.
    DecodesSlashes,
    /// `/a;x/b` is `/a/b`.
    StripsParameters,
    /// `//a` is `/a`.
    MergesSlashes,
    /// `/A` is `/a`.
    FoldsCase,
}

impl Reading {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::DecodesSlashes,
        Self::StripsParameters,
        Self::MergesSlashes,
        Self::FoldsCase,
    ];
}

impl Serialize for From {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Anywhere => serializer.serialize_str("anywhere"),
            Self::Outside => serializer.serialize_str("outside"),
            Self::Inside => serializer.serialize_str("inside"),
            Self::Pods(pods) => pods.serialize(serializer),
        }
    }
}

/// `outside`, or a selector of pods.
impl<'de> Deserialize<'de> for From {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = From;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`outside`, `inside`, `anywhere`, or `namespace` with `labels` or `serviceAccount`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<From, E> {
                match text {
                    "outside" => Ok(From::Outside),
                    "inside" => Ok(From::Inside),
                    "anywhere" => Ok(From::Anywhere),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<From, A::Error> {
                Pods::deserialize(MapAccessDeserializer::new(map)).map(From::Pods)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// An owner by its name, or fields.
impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Fields {
            owner: Option<RouteOwner>,
            host: Option<String>,
            service: Option<String>,
            path: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Target;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`platform`, `model`, `foreign`, `login`, or one or more of `owner`, `host`, `service`, `path`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Target, E> {
                let name = de::value::StrDeserializer::<E>::new(text);
                let owner = RouteOwner::deserialize(name)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
                Ok(Target {
                    owner: Some(owner),
                    ..Target::default()
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
                let target = Target {
                    owner: fields.owner,
                    host: fields.host,
                    service: fields.service,
                    path: fields.path,
                };
                if target == Target::default() {
                    return Err(de::Error::invalid_length(0, &self));
                }
                Ok(target)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Intent {
    /// What cannot be meant, with the field.
    fn problem(&self) -> Option<(&'static str, String)> {
        let text = |field, text: &Option<String>, wanted: &str, is: fn(&str) -> bool| {
            let text = text.as_deref().filter(|text| !is(text))?;
            Some((field, format!("expected {wanted}, found `{text}`")))
        };
        let pods = match &self.from {
            From::Pods(pods) if pods.namespace.is_empty() => {
                Some(("from.namespace", "expected a namespace".to_owned()))
            }
            _ => None,
        };
        let to = &self.to;
        pods.or_else(|| {
            text("to.path", &to.path, "a path that begins with `/`", |t| {
                t.starts_with('/')
            })
        })
        .or_else(|| text("to.service", &to.service, SERVICE, |t| service(t).is_some()))
        .or_else(|| text("to.host", &to.host, "a host without a port", is_host))
    }
}

const SERVICE: &str = "`namespace/name` or `namespace/name:port`";

/// Namespace, name and port of `namespace/name[:port]`.
pub fn service(text: &str) -> Option<(&str, &str, Option<u16>)> {
    let (namespace, rest) = text.split_once('/')?;
    let (name, port) = match rest.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (rest, None),
    };
    let is_name = |name: &str| !name.is_empty() && !name.contains('/');
    (is_name(namespace) && is_name(name)).then_some((namespace, name, port))
}

fn is_host(text: &str) -> bool {
    let rest = text.strip_prefix('*').unwrap_or(text);
    !text.is_empty() && !rest.contains(['*', ':', '/'])
}

/// Reads a file of statements: a sequence of intents, or `intents` and
/// `backends`.
///
/// # Errors
/// Everything that is wrong, with line and field.
pub fn parse_statements(file: &Arc<str>, text: &str) -> Result<Statements, LoadErrors> {
    let mut errors = Vec::new();
    let mut all = Statements::default();
    for document in document::read_plain(file, text, &mut errors) {
        let read = if document.value.is_array() {
            typed(&document, &document.value, &[]).map(|intents| Statements {
                intents,
                backends: Vec::new(),
            })
        } else {
            typed(&document, &document.value, &[])
        };
        match read {
            Ok(mut found) => {
                let Statements { intents, backends } = &mut found;
                errors.extend(locate(&document, &[], intents, backends));
                all.intents.append(&mut found.intents);
                all.backends.append(&mut found.backends);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        return Ok(all);
    }
    for error in &mut errors {
        error.object = None;
    }
    errors.sort_by_key(|error| error.line);
    Err(LoadErrors { errors })
}

/// Tells statements where they are written, and what of them cannot be meant.
pub(crate) fn locate(
    document: &Document,
    prefix: &[&str],
    intents: &mut [Intent],
    backends: &mut [Backend],
) -> Vec<LoadError> {
    let mut errors = Vec::new();
    let is_list = document.value.is_array();
    let place = |list: &str, index: usize, field: &str| {
        let list = Some(list).filter(|_| !is_list);
        let keys = prefix.iter().copied().chain(list);
        let mut path: Vec<Step> = keys.map(|key| Step::Key(key.to_owned())).collect();
        path.push(Step::Index(index));
        let fields = field.split('.').filter(|key| !key.is_empty());
        path.extend(fields.map(|key| Step::Key(key.to_owned())));
        path
    };
    let source = |path: &[Step]| {
        let whole = [&document.path, path].concat();
        let line = document.text.line_of(&whole);
        Source {
            line: line.unwrap_or(document.source.line),
            ..document.source.clone()
        }
    };
    let reference = document.reference();
    let fail = |path: &[Step], message: String| {
        LoadError::new(&source(path), Some(&reference), message).at(dotted(path))
    };
    for (index, intent) in intents.iter_mut().enumerate() {
        intent.source = Some(source(&place("intents", index, "")));
        if let Some((field, message)) = intent.problem() {
            errors.push(fail(&place("intents", index, field), message));
        }
    }
    for (index, backend) in backends.iter_mut().enumerate() {
        backend.source = Some(source(&place("backends", index, "")));
        let is_service = backend.service.contains('/');
        if is_service && service(&backend.service).is_none() || backend.service.is_empty() {
            let message = format!("expected {SERVICE}, or a host, found `{}`", backend.service);
            errors.push(fail(&place("backends", index, "service"), message));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        parse_statements(&"i.yaml".into(), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_list_and_a_mapping_are_read() {
        let text = "- {from: outside, to: platform, expect: login}\n- name: shop\n  from: {namespace: team, labels: {app: shop}}\n  identity: token\n  to: {service: 'team/m:80', path: /v1/*}\n  expect: allow\n";
        let all = parse_statements(&"i.yaml".into(), text).unwrap();
        assert_eq!(all.intents[0].to.owner, Some(RouteOwner::Platform));
        assert_eq!(all.intents[0].identity, Identity::None);
        let From::Pods(pods) = &all.intents[1].from else {
            panic!("{:?}", all.intents[1].from)
        };
        assert_eq!(pods.namespace, "team");
        assert_eq!(all.intents[1].source.as_ref().unwrap().line, 2);
        let text = format!("intents:\n{text}backends:\n- {{service: a/b, reads: [folds-case]}}\n");
        let again = parse_statements(&"i.yaml".into(), &text).unwrap();
        assert_eq!(again.intents.len(), 2);
        assert_eq!(again.backends[0].reads, [Reading::FoldsCase]);
        assert_eq!(again.backends[0].source.as_ref().unwrap().line, 9);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_field() {
        for (text, expected) in [
            (
                "- from: outside\n  to: plattform\n  expect: deny\n",
                "i.yaml:2: [0].to: expected `platform`, `model`, `foreign`, `login`, or one or more of `owner`, `host`, `service`, `path`, found string \"plattform\"",
            ),
            (
                "- from: outsid\n  to: model\n  expect: deny\n",
                "i.yaml:1: [0].from: expected `outside`",
            ),
            (
                "- from: outside\n  to: model\n  expect: denied\n",
                "i.yaml:3: [0].expect: expected one of `allow`, `deny`, `login`, `token`, found `denied`",
            ),
            (
                "- to: model\n  expect: deny\n  identiy: none\n",
                "i.yaml:3: [0].identiy: unknown field `identiy`",
            ),
            (
                "intents:\n- to: {service: a}\n  expect: deny\n",
                "i.yaml:2: intents[0].to.service: expected `namespace/name` or `namespace/name:port`, found `a`",
            ),
            (
                "- to: {}\n  expect: deny\n",
                "i.yaml:1: [0].to: invalid length 0, expected `platform`",
            ),
            (
                "- from: {namespace: a, pods: b}\n  to: model\n  expect: deny\n",
                "i.yaml:1: [0].from.pods: unknown field `pods`",
            ),
            (
                "- to: {path: v1}\n  expect: deny\n",
                "i.yaml:1: [0].to.path: expected a path that begins with `/`, found `v1`",
            ),
            ("- to: model\n", "i.yaml:1: [0]: missing field `expect`"),
            ("7\n", "i.yaml:1: "),
        ] {
            let found = errors(text);
            assert!(found.contains(expected), "{text}\n{found}");
        }
    }
}
