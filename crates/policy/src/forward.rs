//! What happens to a request on its way: header changes, rewrites, the choice
//! of a destination, answers a route makes by itself.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::caller::Caller;
use crate::permit::{Destination, HeaderChanges, Permit, Reply};
use crate::request::{Entrance, RequestHead};
use crate::routes::{Route, RouteAction, Weighted};
use crate::snapshot::{Listener, Snapshot};

/// Changes gathered over all hops.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) request: HeaderChanges,
    pub(crate) response: HeaderChanges,
    authority: Option<Arc<str>>,
    path_and_query: Option<String>,
}

impl Changes {
    /// Follows a route: says where it leads, and at which listener of ours the
    /// request goes on, if it does. What the route changes is applied for that
    /// one to see; otherwise it is only kept for the permit.
    pub(crate) fn follow<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        route: &Route,
        head: &mut Cow<'_, RequestHead>,
        draw: u32,
    ) -> (Destination, Option<&'s Listener>) {
        let weighted = match &route.action {
            RouteAction::Forward(all) => choose(all, draw),
            RouteAction::Redirect(redirect) => {
                self.response.extend(&route.response_headers);
                return (redirect.reply(head), None);
            }
            RouteAction::Direct { status, body } => {
                self.response.extend(&route.response_headers);
                let mut headers = Vec::new();
                if !body.is_empty() {
                    headers.push((header::CONTENT_TYPE, HeaderValue::from_static("text/plain")));
                }
                let reply = Reply {
                    status: *status,
                    headers,
                    body: body.clone().into(),
                };
                return (Destination::Reply(reply), None);
            }
        };
        let destination = destination(weighted);
        let next = match &destination {
            Destination::Service { service, port } => snapshot.own_listener(service, *port),
            _ => None,
        };
        // Somebody on the way looks at the request again.
        let goes_on = next.is_some() || snapshot.sidecar_of(&destination).is_some();
        // The most specific first: what the route sets wins.
        let levels = weighted.map(|w| (&w.request_headers, &w.response_headers));
        let levels = levels
            .into_iter()
            .chain([(&route.request_headers, &route.response_headers)]);
        for (request, response) in levels {
            self.request.extend(request);
            self.response.extend(response);
            for change in request.iter().filter(|_| goes_on) {
                change.apply(&mut head.to_mut().headers);
            }
        }
        let of_weighted = weighted.and_then(|weighted| weighted.authority.as_ref());
        if let Some(authority) = of_weighted.or(route.authority.as_ref()) {
            if goes_on {
                authority.as_ref().clone_into(&mut head.to_mut().authority);
            }
            self.authority = Some(Arc::clone(authority));
        }
        if let Some(rewrite) = &route.rewrite {
            let path = rewrite.apply(&head.path);
            self.path_and_query = Some(match &head.query {
                Some(query) => format!("{path}?{query}"),
                None => path.clone(),
            });
            if goes_on {
                head.to_mut().path = path;
            }
        }
        (destination, next)
    }

    /// One line about where a request goes, for the trace.
    pub(crate) fn describe(&self, destination: &Destination, head: &RequestHead) -> String {
        match destination {
            Destination::Service { service, port } => {
                let target = self.path_and_query.clone();
                format!(
                    "to {service}:{port} as {} {} (host `{}`)",
                    head.method,
                    target.unwrap_or_else(|| head.path_and_query()),
                    self.authority.as_deref().unwrap_or(&head.authority)
                )
            }
            Destination::Host { host, port } => format!("to {host}:{port}"),
            Destination::Login => "to the embedded login".to_owned(),
            Destination::Reply(reply) => format!("answered by the route: {}", reply.status),
        }
    }

    /// The answer of a fault, with the response headers of the route.
    pub(crate) fn abort(&mut self, route: &Route, status: StatusCode, draw: u32) -> Destination {
        if let RouteAction::Forward(all) = &route.action
            && let Some(weighted) = choose(all, draw)
        {
            self.response.extend(&weighted.response_headers);
        }
        self.response.extend(&route.response_headers);
        Destination::Reply(Reply {
            status,
            headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))],
            body: bytes::Bytes::from_static(b"fault filter abort"),
        })
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
            audience: route.audience(),
            open: false,
        }
    }
}

fn destination(weighted: Option<&Weighted>) -> Destination {
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
pub(crate) fn preflight(head: &RequestHead) -> Reply {
    let mut headers = vec![(header::VARY, HeaderValue::from_static("origin"))];
    if head.entrance == Entrance::External {
        let set = |name: HeaderName, value| (name, HeaderValue::from_static(value));
        headers.push(set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
        headers.push(set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"));
        headers.push(set(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, x-api-key",
        ));
        headers.push(set(header::ACCESS_CONTROL_MAX_AGE, "600"));
    }
    Reply {
        status: StatusCode::NO_CONTENT,
        headers,
        body: bytes::Bytes::new(),
    }
}

/// Where a route leads that somebody else follows: by the first of its weights.
pub(crate) fn first_way(route: &Route) -> Destination {
    match &route.action {
        RouteAction::Forward(ways) => destination(ways.first()),
        RouteAction::Redirect(_) | RouteAction::Direct { .. } => destination(None),
    }
}

fn place(destination: &Destination) -> String {
    match destination {
        Destination::Service { service, port } => format!("port {port} of Service {service}"),
        Destination::Host { host, port } => format!("{host}:{port}"),
        Destination::Login | Destination::Reply(_) => "destination".to_owned(),
    }
}
