//! The permit: a value that only a decision can make and that forwarding consumes.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use resources::ServiceName;
use smallvec::SmallVec;

use crate::caller::Caller;
use crate::inline;

/// Leave to forward one request. There is no public constructor: whoever holds
/// one got it from [`decide`](crate::decide).
#[derive(Debug)]
#[must_use = "a permit is leave to forward; dropping it refuses the request silently"]
pub struct Permit {
    pub(crate) destination: Destination,
    pub(crate) authority: Option<Arc<str>>,
    pub(crate) path_and_query: Option<String>,
    pub(crate) request_headers: HeaderChanges,
    pub(crate) response_headers: HeaderChanges,
    pub(crate) caller: Caller,
    pub(crate) timeout: Option<std::time::Duration>,
    pub(crate) cors: Option<Cors>,
    pub(crate) route: Arc<str>,
    pub(crate) audience: Option<Audience>,
    pub(crate) open: bool,
}

/// Whom something that is said about the caller is for: a model by its
/// InferenceService, anything else of the platform by its Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Audience {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where a permitted request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A Service and its port.
    Service {
        /// The Service.
        service: ServiceName,
        /// Service port.
        port: u16,
    },
    /// A host outside the cluster (ServiceEntry).
    Host {
        /// Host name.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
    /// The embedded login: callback and logout.
    Login,
    /// An answer made by the route itself: redirect, direct response,
    /// preflight, or what an authorizer put in place of the upstream.
    Reply(Reply),
}

impl Destination {
    /// The Service and its port, where it is one.
    pub(crate) fn service_port(&self) -> Option<(ServiceName, u16)> {
        match self {
            Self::Service { service, port } => Some((service.clone(), *port)),
            Self::Host { .. } | Self::Login | Self::Reply(_) => None,
        }
    }
}

/// A ready answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub body: bytes::Bytes,
}

/// One change to headers, applied in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderChange {
    /// Replace all values.
    Set(HeaderName, HeaderValue),
    /// Add a value.
    Add(HeaderName, HeaderValue),
    /// Add these values where there is none.
    AddIfAbsent(HeaderName, Vec<HeaderValue>),
    /// Replace all values where there is one.
    SetIfPresent(HeaderName, HeaderValue),
    /// Remove all values.
    Remove(HeaderName),
}

/// Changes to headers, as lists that are shared with the routes they come from:
/// gathering them allocates nothing.
#[derive(Clone, Default)]
pub struct HeaderChanges(SmallVec<[Arc<[HeaderChange]>; 6]>);

impl HeaderChanges {
    pub(crate) fn extend(&mut self, more: &Arc<[HeaderChange]>) {
        if !more.is_empty() {
            self.0.push(Arc::clone(more));
        }
    }

    /// In the order in which they are applied.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderChange> {
        self.0.iter().flat_map(|list| list.iter())
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for HeaderChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What a browser of another origin may do with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// `access-control-allow-origin` to put on the response.
    pub allow_origin: HeaderValue,
}

impl HeaderChange {
    /// The header that changes.
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::Set(name, _)
            | Self::Add(name, _)
            | Self::AddIfAbsent(name, _)
            | Self::SetIfPresent(name, _)
            | Self::Remove(name) => name,
        }
    }

    /// Applies the change.
    pub fn apply(&self, headers: &mut http::HeaderMap) {
        match self {
            Self::Set(name, value) => {
                headers.insert(name.clone(), value.clone());
            }
            Self::Add(name, value) => inline::append(headers, name, value),
            Self::AddIfAbsent(name, values) => {
                if !headers.contains_key(name) {
                    for value in values {
                        inline::append(headers, name, value);
                    }
                }
            }
            Self::SetIfPresent(name, value) => {
                if headers.contains_key(name) {
                    headers.insert(name.clone(), value.clone());
                }
            }
            Self::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}

impl Permit {
    /// An answer that no route gives, with what routes before it add.
    pub(crate) fn reply(
        destination: Destination,
        response_headers: HeaderChanges,
        route: Arc<str>,
    ) -> Self {
        Self {
            destination,
            authority: None,
            path_and_query: None,
            request_headers: HeaderChanges::default(),
            response_headers,
            caller: Caller::Anonymous,
            timeout: None,
            cors: None,
            route,
            audience: None,
            open: false,
        }
    }

    /// Where to.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// New authority, if a route rewrote it.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// New path and query, if a route rewrote them.
    pub fn path_and_query(&self) -> Option<&str> {
        self.path_and_query.as_deref()
    }

    /// Changes to the request's headers, in order.
    pub fn request_headers(&self) -> &HeaderChanges {
        &self.request_headers
    }

    /// Changes to the response's headers, in order.
    pub fn response_headers(&self) -> &HeaderChanges {
        &self.response_headers
    }

    /// Who is calling, as far as the decision had to know.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Time limit of the route.
    pub fn timeout(&self) -> Option<std::time::Duration> {
        self.timeout
    }

    /// CORS header for the response.
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }

    /// Who the upstream is, for what is said to it about the caller; `None` where
    /// nothing is: on routes of others.
    pub fn audience(&self) -> Option<&Audience> {
        self.audience.as_ref()
    }

    /// Whether everybody may have it, by the level `public`.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The deciding route, `namespace/name` of its object, for logs.
    pub fn route(&self) -> &Arc<str> {
        &self.route
    }
}
