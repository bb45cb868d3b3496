//! Compiled routes (istio `route.go`, envoy `config_impl.cc`).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use http::StatusCode;
use resources::istio::{DirectResponse, Fault, HttpMatch, HttpRoute};
use resources::{ObjectRef, Source};

use crate::access::{Owner, RouteAccess};
use crate::chain::Overrides;
use crate::cors::RouteCors;
use crate::duration::duration;
use crate::headerops::Operations;
use crate::permit::{Audience, Destination, HeaderChange};
use crate::redirect::Redirect;
pub(crate) use crate::rewrite::PathRewrite;
pub(crate) use crate::routematch::RouteCondition;

/// One route of a virtual host.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Route {
    pub(crate) condition: RouteCondition,
    pub(crate) action: RouteAction,
    /// The status that its fault answers every request with.
    pub(crate) abort: Option<StatusCode>,
    pub(crate) request_headers: Arc<[HeaderChange]>,
    pub(crate) response_headers: Arc<[HeaderChange]>,
    /// Authority set by a rewrite or by a `Host` header operation.
    pub(crate) authority: Option<Arc<str>>,
    pub(crate) rewrite: Option<PathRewrite>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cors: Option<Arc<RouteCors>>,
    pub(crate) access: Arc<RouteAccess>,
    pub(crate) object: ObjectRef,
    pub(crate) source: Source,
    /// `http[].name`, joined with the match's by a dot.
    pub(crate) name: String,
    /// What EnvoyFilters configure for HTTP filters here.
    pub(crate) overrides: Overrides,
    /// `http[i]`, with the route's name if it has one.
    pub(crate) place: Arc<str>,
    /// The same after the namespace and name of the object, for logs.
    pub(crate) label: Arc<str>,
}

/// What a matching route does.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) enum RouteAction {
    Forward(Vec<Weighted>),
    Redirect(Redirect),
    Direct { status: StatusCode, body: String },
}

/// One of several destinations.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Weighted {
    pub(crate) destination: Destination,
    /// What is answered instead: the control plane knows no such Service or
    /// port, so Envoy has no cluster for it.
    pub(crate) missing: Option<StatusCode>,
    pub(crate) weight: u32,
    pub(crate) request_headers: Arc<[HeaderChange]>,
    pub(crate) response_headers: Arc<[HeaderChange]>,
    pub(crate) authority: Option<Arc<str>>,
}

impl Route {
    /// Whether Envoy has no cluster for it. A connection that is not read is
    /// then closed before authorizers are asked.
    pub(crate) fn leads_nowhere(&self) -> bool {
        let RouteAction::Forward(all) = &self.action else {
            return false;
        };
        all.iter().all(|weighted| weighted.missing.is_some())
    }

    /// Whom what is said about callers is for: the model, or the first Service
    /// of a route of the platform, so that it is the same for all its weights.
    pub(crate) fn audience(&self) -> Option<Audience> {
        let access = &self.access;
        let first = || {
            let RouteAction::Forward(ways) = &self.action else {
                return None;
            };
            let (service, _) = ways.first()?.destination.service_port()?;
            Some(Audience {
                namespace: service.namespace,
                name: service.name,
            })
        };
        match (access.owner, &access.target.model) {
            (Owner::Model, Some(model)) => Some(Audience {
                namespace: Arc::clone(&access.target.namespace),
                name: Arc::clone(model),
            }),
            (Owner::Model | Owner::Platform, _) => first(),
            (Owner::LoginMachinery | Owner::Foreign, _) => None,
        }
    }
}

/// What a route is compiled with, besides what is written in it.
pub(crate) struct Surroundings<'a> {
    pub(crate) object: &'a ObjectRef,
    pub(crate) source: &'a Source,
    pub(crate) place: Arc<str>,
    pub(crate) label: Arc<str>,
    pub(crate) access: Arc<RouteAccess>,
    /// Port of the Gateway server.
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// Where a written destination leads, and what is answered if there is no
    /// such place.
    pub(crate) resolve:
        &'a dyn Fn(&resources::istio::Destination) -> (Destination, Option<StatusCode>),
}

impl Route {
    /// Compiles the route that an `http` entry makes for one of its matches.
    pub(crate) fn compile(
        http: &HttpRoute,
        spec: Option<&HttpMatch>,
        around: &Surroundings<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Self, String> {
        let condition = match spec {
            Some(spec) => RouteCondition::compile(spec, http.gateway_api).map_err(|error| {
                let mut matches = http.matches.iter();
                let index = matches.position(|one| std::ptr::eq(one, spec));
                match (index, error.split_once(": ")) {
                    // Written as something else there.
                    (_, Some((_, why))) if http.gateway_api => why.to_owned(),
                    (Some(index), _) => format!("match[{index}].{error}"),
                    _ => error,
                }
            })?,
            None => RouteCondition::default(),
        };
        if condition.never {
            notes.push(
                "matches a claim of a token in a way that Envoy refuses; what it keeps instead is not understood: taken to match nothing".into(),
            );
        }
        let mut operations = Operations::compile(http.headers.as_ref(), notes)?;
        let action = RouteAction::compile(http, &condition, around, &mut operations, notes)?;
        let rewrite = http.rewrite.as_ref();
        if let Some(rewritten) = rewrite
            .and_then(|r| r.authority.clone())
            .filter(|a| !a.is_empty())
        {
            operations.authority = Some(rewritten);
        }
        let cors = match &http.cors_policy {
            Some(policy) => Some(Arc::new(RouteCors::compile(policy)?)),
            None => None,
        };
        Ok(Self {
            rewrite: rewrite
                .map(|r| PathRewrite::compile(r, &condition, http.gateway_api))
                .transpose()?
                .flatten(),
            condition,
            action,
            abort: http.fault.as_ref().and_then(|fault| abort(fault, notes)),
            request_headers: operations.request.changes().into(),
            response_headers: operations.response.changes().into(),
            authority: operations.authority.map(Into::into),
            timeout: http.timeout.as_deref().and_then(duration),
            cors,
            access: Arc::clone(&around.access),
            object: around.object.clone(),
            source: around.source.clone(),
            name: match spec.map(|m| m.name.as_str()).filter(|m| !m.is_empty()) {
                Some(of_match) => format!("{}.{of_match}", http.name),
                None => http.name.clone(),
            },
            overrides: Overrides::default(),
            place: Arc::clone(&around.place),
            label: Arc::clone(&around.label),
        })
    }
}

impl RouteAction {
    fn compile(
        http: &HttpRoute,
        condition: &RouteCondition,
        around: &Surroundings<'_>,
        operations: &mut Operations,
        notes: &mut Vec<String>,
    ) -> Result<Self, String> {
        if let Some(redirect) = &http.redirect {
            let redirect = Redirect::compile(redirect, condition, around.port, around.tls)?;
            return Ok(Self::Redirect(redirect));
        }
        if let Some(direct) = &http.direct_response {
            return direct_response(direct);
        }
        if let [only] = http.route.as_slice() {
            // A single destination's operations are the route's own.
            let mut own = Operations::compile(only.headers.as_ref(), notes)?;
            if operations.authority.is_none() {
                operations.authority = own.authority.take();
            }
            operations.extend(own);
            let (destination, missing) = (around.resolve)(&only.destination);
            return Ok(Self::Forward(vec![Weighted {
                destination,
                missing,
                weight: 1,
                request_headers: [].into(),
                response_headers: [].into(),
                authority: None,
            }]));
        }
        let mut all = Vec::new();
        for route in http.route.iter().filter(|route| route.weight > 0) {
            let own = Operations::compile(route.headers.as_ref(), notes)?;
            let (destination, missing) = (around.resolve)(&route.destination);
            all.push(Weighted {
                destination,
                missing,
                weight: route.weight,
                request_headers: own.request.changes().into(),
                response_headers: own.response.changes().into(),
                authority: own.authority.map(Into::into),
            });
        }
        if all.is_empty() {
            return Err(
                "expected a destination with a weight, a redirect or a direct response".into(),
            );
        }
        Ok(Self::Forward(all))
    }
}

fn direct_response(direct: &DirectResponse) -> Result<RouteAction, String> {
    let status = StatusCode::from_u16(direct.status)
        .ok()
        .filter(|status| status.as_u16() >= 200 && status.as_u16() < 600)
        .ok_or_else(|| format!("`{}` is not a status, expected 200-599", direct.status))?;
    let body = match &direct.body {
        None => String::new(),
        Some(body) => match (&body.string, &body.bytes) {
            (Some(text), _) => text.clone(),
            (None, Some(bytes)) => base64::engine::general_purpose::STANDARD
                .decode(bytes)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|_| "directResponse.body.bytes: expected base64".to_owned())?,
            (None, None) => String::new(),
        },
    };
    Ok(RouteAction::Direct { status, body })
}

/// A fault that meets every request is an answer; one that meets some is a
/// matter of chance and left out.
fn abort(fault: &Fault, notes: &mut Vec<String>) -> Option<StatusCode> {
    let abort = fault.abort.as_ref()?;
    let share = abort.percentage.as_ref().map_or(0.0, |p| p.value);
    if share <= 0.0 {
        return None;
    }
    let status = abort.http_status.and_then(|s| StatusCode::from_u16(s).ok());
    match status {
        Some(status) if share >= 100.0 => Some(status),
        _ => {
            notes.push("`fault.abort` is not understood and left out".into());
            None
        }
    }
}
