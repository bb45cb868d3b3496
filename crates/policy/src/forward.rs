//! What happens to a request on its way: header changes, rewrites, the choice
//! of a destination, answers a route makes by itself.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::caller::Caller;
use crate::permit::{Destination, HeaderChange, Permit, Reply};
use crate::request::{Entrance, RequestHead};
use crate::routes::{Route, RouteAction, Weighted};

/// Changes gathered over all hops.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) request: Vec<HeaderChange>,
    pub(crate) response: Vec<HeaderChange>,
    authority: Option<String>,
    path_and_query: Option<String>,
}

impl Changes {
    /// Follows a route: applies what it changes to the request, for the next
    /// hop to see, and says where it leads.
    pub(crate) fn follow(
        &mut self,
        route: &Route,
        head: &mut Cow<'_, RequestHead>,
        draw: u32,
    ) -> Destination {
        let weighted = match &route.action {
            RouteAction::Forward(all) => choose(all, draw),
            RouteAction::Redirect(redirect) => {
                self.response.extend(route.response_headers.iter().cloned());
                return redirect.reply(head);
            }
            RouteAction::Direct { status, body } => {
                self.response.extend(route.response_headers.iter().cloned());
                let mut headers = Vec::new();
                if !body.is_empty() {
                    headers.push((header::CONTENT_TYPE, HeaderValue::from_static("text/plain")));
                }
                return Destination::Reply(Reply {
                    status: *status,
                    headers,
                    body: body.clone().into(),
                });
            }
        };
        // The most specific first: what the route sets wins.
        let mut changes: Vec<HeaderChange> = Vec::new();
        let mut authority = route.authority.as_ref();
        if let Some(weighted) = weighted {
            changes.extend(weighted.request_headers.iter().cloned());
            self.response
                .extend(weighted.response_headers.iter().cloned());
            authority = weighted.authority.as_ref().or(authority);
        }
        changes.extend(route.request_headers.iter().cloned());
        self.response.extend(route.response_headers.iter().cloned());
        for change in &changes {
            change.apply(&mut head.to_mut().headers);
        }
        self.request.extend(changes);
        if let Some(authority) = authority {
            head.to_mut().authority.clone_from(authority);
            self.authority = Some(authority.clone());
        }
        if let Some(rewrite) = &route.rewrite {
            let path = rewrite.apply(&head.path);
            head.to_mut().path = path;
            self.path_and_query = Some(head.path_and_query());
        }
        match weighted {
            Some(Weighted {
                destination,
                missing: Some(status),
                ..
            }) => Destination::Reply(Reply {
                status: *status,
                headers: Vec::new(),
                body: format!("there is no {}", place(destination)).into(),
            }),
            Some(weighted) => weighted.destination.clone(),
            None => Destination::Reply(Reply {
                status: StatusCode::SERVICE_UNAVAILABLE,
                headers: Vec::new(),
                body: bytes::Bytes::from_static(b"the route has no destination"),
            }),
        }
    }

    /// The path and query are now those of the request.
    pub(crate) fn target_is(&mut self, head: &RequestHead) {
        self.path_and_query = Some(head.path_and_query());
    }

    /// The permit at the end of the way.
    pub(crate) fn permit(
        &mut self,
        destination: Destination,
        caller: Caller,
        route: &Route,
    ) -> Permit {
        Permit {
            destination,
            authority: self.authority.take(),
            path_and_query: self.path_and_query.take(),
            request_headers: std::mem::take(&mut self.request),
            response_headers: std::mem::take(&mut self.response),
            caller,
            timeout: route.timeout,
            cors: None,
            route: Arc::clone(&route.label),
        }
    }
}

fn choose(all: &[Weighted], draw: u32) -> Option<&Weighted> {
    let total: u64 = all.iter().map(|w| u64::from(w.weight)).sum();
    let mut at = u64::from(draw) % total.max(1);
    all.iter().find(|w| {
        let here = at < u64::from(w.weight);
        at = at.saturating_sub(u64::from(w.weight));
        here
    })
}

/// The answer to a CORS preflight for a model. From outside any origin may
/// try, since a token is needed and none travels by itself; in the cluster,
/// where being there is enough, no page of another origin may.
pub(crate) fn preflight(head: &RequestHead) -> Destination {
    let mut headers = vec![(header::VARY, HeaderValue::from_static("origin"))];
    if head.entrance == Entrance::External {
        let set = |name: HeaderName, value| (name, HeaderValue::from_static(value));
        headers.push(set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
        headers.push(set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"));
        headers.push(set(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type",
        ));
        headers.push(set(header::ACCESS_CONTROL_MAX_AGE, "600"));
    }
    Destination::Reply(Reply {
        status: StatusCode::NO_CONTENT,
        headers,
        body: bytes::Bytes::new(),
    })
}

fn place(destination: &Destination) -> String {
    match destination {
        Destination::Service { service, port } => format!("port {port} of Service {service}"),
        Destination::Host { host, port } => format!("{host}:{port}"),
        Destination::Login | Destination::Reply(_) => "destination".to_owned(),
    }
}

/// One line about where a request goes, for the trace.
pub(crate) fn describe(destination: &Destination, head: &RequestHead) -> String {
    match destination {
        Destination::Service { service, port } => {
            format!(
                "to {service}:{port} as {} {} (host `{}`)",
                head.method,
                head.path_and_query(),
                head.authority
            )
        }
        Destination::Host { host, port } => format!("to {host}:{port}"),
        Destination::Login => "to the embedded login".to_owned(),
        Destination::Reply(reply) => format!("answered by the route: {}", reply.status),
    }
}
