//! Access levels, enforced.

use std::sync::Arc;

use http::HeaderValue;

use crate::access::{AccessLevel, Limits, Owner, RouteAccess, RouteTarget};
use crate::answers::{AccessAnswer, AccessCheck, Answers, Question, Tokens};
use crate::caller::{
    Caller, Key, Person, Service, ServiceAccount, TokenError, TokenHolder, Workload,
};
use crate::denial::{Denial, Refusal};
use crate::permit::HeaderChange;
use crate::request::{Entrance, RequestHead};
use crate::routes::Route;
use crate::settings::Settings;

/// What an access level says to a request.
pub(crate) enum Access {
    /// Through, as this caller.
    Granted(Caller),
    Denied(Denial),
    Ask(Question),
}

/// Applies the level that a route has on the listener of the request.
pub(crate) fn check(
    access: &RouteAccess,
    level: AccessLevel,
    head: &RequestHead,
    answers: &Answers,
) -> Access {
    match level {
        AccessLevel::Public | AccessLevel::AsWritten => Access::Granted(Caller::Anonymous),
        AccessLevel::Cluster => cluster(access, head, answers),
        AccessLevel::Token => token(access, head, answers),
        AccessLevel::Login => login(access, answers),
    }
}

/// What a request needs on a route.
pub(crate) enum Need {
    /// Nothing: it is the login's own.
    Login,
    /// Nothing: a preflight, which carries no credentials.
    Preflight,
    Level(AccessLevel),
}

/// What a request needs on a route; `earlier` says that it has crossed a
/// gateway before.
pub(crate) fn need(settings: &Settings, route: &Route, head: &RequestHead, earlier: bool) -> Need {
    let is = |paths: &[String]| paths.contains(&head.path);
    let access = &*route.access;
    let external = head.entrance == Entrance::External;
    let platform = matches!(access.owner, Owner::Platform | Owner::LoginMachinery);
    if platform && external && !earlier && is(&settings.login_paths) {
        return Need::Login;
    }
    if access.owner == Owner::Model && head.is_preflight() && route.cors.is_none() {
        return Need::Preflight;
    }
    // Only the paths the login needs are open; the rest of its routes is the platform's.
    let machinery = access.owner == Owner::LoginMachinery;
    if machinery && external && !is(&settings.provider_paths) {
        return Need::Level(AccessLevel::Login);
    }
    Need::Level(level(access, head))
}

/// The level of a route for a request.
fn level(access: &RouteAccess, head: &RequestHead) -> AccessLevel {
    match head.entrance {
        Entrance::External => access.external,
        Entrance::Local => access.local,
    }
}

/// Whether everybody may have it.
pub(crate) fn is_open(access: &RouteAccess, head: &RequestHead) -> bool {
    level(access, head) == AccessLevel::Public
}

fn cluster(access: &RouteAccess, head: &RequestHead, answers: &Answers) -> Access {
    if head.entrance == Entrance::External {
        return deny(
            Refusal::Token { invalid: None },
            "level `cluster` does not exist on the external listener",
        );
    }
    if access.limits.is_empty() && access.bindings.is_none() {
        return Access::Granted(workload_caller(head));
    }
    if let Some(workload) = &head.workload {
        return limited(access, workload_token(workload), answers);
    }
    match answers.caller() {
        None => Access::Ask(Question::Caller(Tokens::BearerOnly)),
        Some(Caller::Token(holder)) => limited(access, holder.clone(), answers),
        Some(Caller::Key(key)) => keyed(access, key, answers),
        Some(Caller::BadToken(error)) => bad_token(error),
        Some(Caller::Anonymous | Caller::Session(_)) => deny(
            Refusal::Unknown(
                "only some workloads may call this model, and the request does not say which one it is from".into(),
            ),
            "the route is limited and the caller is unknown",
        ),
    }
}

fn token(access: &RouteAccess, head: &RequestHead, answers: &Answers) -> Access {
    if let Some(workload) = &head.workload {
        return limited(access, workload_token(workload), answers);
    }
    match answers.caller() {
        None => Access::Ask(Question::Caller(Tokens::BearerOnly)),
        Some(Caller::Token(holder)) => limited(access, holder.clone(), answers),
        Some(Caller::Key(key)) => keyed(access, key, answers),
        Some(Caller::BadToken(error)) => bad_token(error),
        Some(Caller::Anonymous | Caller::Session(_)) => {
            deny(Refusal::Token { invalid: None }, "no token")
        }
    }
}

fn login(access: &RouteAccess, answers: &Answers) -> Access {
    match answers.caller() {
        None => Access::Ask(Question::Caller(Tokens::SessionOrBearer)),
        Some(Caller::Session(person)) => {
            match limited(access, TokenHolder::Person(person.clone()), answers) {
                Access::Granted(_) => Access::Granted(Caller::Session(person.clone())),
                other => other,
            }
        }
        Some(Caller::Token(TokenHolder::Person(person))) => {
            limited(access, TokenHolder::Person(person.clone()), answers)
        }
        Some(Caller::Token(TokenHolder::ServiceAccount(account))) => deny(
            Refusal::Forbidden(
                "a person's login is needed here, the token is a ServiceAccount's".into(),
            ),
            &format!("{} is not a person", account.user_name()),
        ),
        Some(Caller::Token(TokenHolder::Service(service))) => deny(
            Refusal::Forbidden("a person's login is needed here, the token is a program's".into()),
            &format!("{} is not a person", service.user_name()),
        ),
        Some(Caller::Key(key)) => deny(
            Refusal::Scope("a login is needed here, API keys are for models".into()),
            &format!("the API key {} opens no platform", key.id),
        ),
        Some(Caller::BadToken(error)) => bad_token(error),
        Some(Caller::Anonymous) => deny(Refusal::Login, "no session and no token"),
    }
}

/// A key does what it is for, as far as its holder may.
fn keyed(access: &RouteAccess, key: &Key, answers: &Answers) -> Access {
    if !key.scope.covers(&access.target) {
        return deny(
            Refusal::Scope("the API key is for other namespaces or models".into()),
            &format!(
                "the scope of the API key {} does not cover the route",
                key.id
            ),
        );
    }
    match limited(access, key.holder.clone(), answers) {
        Access::Granted(_) => Access::Granted(Caller::Key(key.clone())),
        other => other,
    }
}

fn limited(access: &RouteAccess, holder: TokenHolder, answers: &Answers) -> Access {
    let limits = &access.limits;
    let within = match &holder {
        TokenHolder::Person(person) => within_person(limits, person),
        TokenHolder::ServiceAccount(account) => within_account(limits, account),
        TokenHolder::Service(service) => within_service(limits, service),
    };
    if !within {
        return forbidden(&holder.user_name());
    }
    let Some(bindings) = &access.bindings else {
        return Access::Granted(Caller::Token(holder));
    };
    let by_yaml = || bindings.allows(&holder).is_some();
    let allowed = match bindings.reviewed {
        false => by_yaml(),
        true => {
            let check = AccessCheck {
                holder: holder.clone(),
                target: access.target.clone(),
            };
            match answers.access(&check) {
                None => return Access::Ask(Question::Access(Box::new(check))),
                Some(AccessAnswer::Allowed) => true,
                Some(AccessAnswer::Denied) => false,
                Some(AccessAnswer::NoServer) => by_yaml(),
                Some(AccessAnswer::Unknown(why)) => {
                    let who = holder.user_name();
                    return deny(
                        Refusal::Forbidden(format!(
                            "whether {who} may call this model cannot be found out just now"
                        )),
                        &format!("the API server was not asked: {why}"),
                    );
                }
            }
        }
    };
    if allowed {
        return Access::Granted(Caller::Token(holder));
    }
    let who = holder.user_name();
    let RouteTarget {
        namespace,
        kind,
        model,
    } = &access.target;
    let (resource, model) = (kind.resource(), model.as_deref().unwrap_or("unknown"));
    deny(
        Refusal::Forbidden(format!(
            "{who} may not `get` {resource}/{model} in namespace {namespace}"
        )),
        "no RoleBinding or ClusterRoleBinding lets the caller `get` the model",
    )
}

/// The binding that a caller got through by, for the trace.
pub(crate) fn bound_by<'a>(access: &'a RouteAccess, caller: &Caller) -> Option<&'a str> {
    let bindings = access.bindings.as_ref()?;
    let person;
    let holder = match caller {
        Caller::Token(holder) | Caller::Key(Key { holder, .. }) => holder,
        Caller::Session(session) => {
            person = TokenHolder::Person(session.clone());
            &person
        }
        Caller::Anonymous | Caller::BadToken(_) => return None,
    };
    bindings.allows(holder).map(|bound| &*bound.by)
}

/// Any list that names the caller lets it through.
fn within_person(limits: &Limits, person: &Person) -> bool {
    limits.is_empty()
        || limits.users.contains(&person.email)
        || person
            .groups
            .iter()
            .any(|group| limits.groups.contains(group))
}

fn within_account(limits: &Limits, account: &ServiceAccount) -> bool {
    let is_named = |allowed: &Arc<str>| {
        let name = allowed.split_once('/');
        name == Some((&*account.namespace, &*account.name))
    };
    limits.is_empty()
        || limits.namespaces.contains(&account.namespace)
        || limits.service_accounts.iter().any(is_named)
}

fn within_service(limits: &Limits, service: &Service) -> bool {
    let name = service.user_name();
    limits.is_empty()
        || limits.users.iter().any(|user| **user == name)
        || service
            .groups
            .iter()
            .any(|group| limits.groups.contains(group))
}

fn workload_token(workload: &Workload) -> TokenHolder {
    TokenHolder::ServiceAccount(workload.service_account.clone())
}

fn workload_caller(head: &RequestHead) -> Caller {
    head.workload
        .as_ref()
        .map_or(Caller::Anonymous, |w| Caller::Token(workload_token(w)))
}

fn forbidden(who: &str) -> Access {
    deny(
        Refusal::Forbidden(format!("{who} may not do this")),
        "known, but not among those the route is limited to",
    )
}

/// The log says what is wrong with it too; the token itself is in neither.
fn bad_token(TokenError(why): &TokenError) -> Access {
    let refusal = Refusal::Token {
        invalid: Some(why.clone()),
    };
    deny(refusal, &format!("the token is not valid: {why}"))
}

fn deny(refusal: Refusal, reason: &str) -> Access {
    Access::Denied(Denial {
        refusal,
        reason: reason.to_owned(),
    })
}

/// The identity headers the platform's upstreams are promised: always both,
/// the user and the groups, so that neither can be anybody else's.
pub(crate) fn identity_headers(owner: Owner, caller: &Caller) -> Option<Arc<[HeaderChange]>> {
    let person = caller.person().filter(|_| owner == Owner::Platform)?;
    let value =
        |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    Some(Arc::new([
        HeaderChange::Set(
            http::HeaderName::from_static("kubeflow-userid"),
            value(&person.email),
        ),
        HeaderChange::Set(
            http::HeaderName::from_static("kubeflow-groups"),
            value(&person.groups.join(",")),
        ),
    ]))
}
