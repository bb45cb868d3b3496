//! The access decision, and nothing else: resources become a [`Snapshot`], a
//! [`RequestHead`] becomes a [`Permit`] or a [`Denial`].
//!
//! No I/O, no clock, no environment, no async. Whatever a decision needs from
//! outside (who holds this session, what does that authorizer say) it asks for
//! with [`Verdict::Ask`]; the caller finds out, adds the answer to [`Answers`]
//! and decides again:
//!
//! ```text
//! loop {
//!     match decide(&snapshot, &head, &answers, &mut trace) {
//!         Verdict::Ask(question) => answers.add(find_out(question).await),
//!         Verdict::Permit(permit) => return forward(permit),
//!         Verdict::Denial(denial) => return refuse(denial),
//!     }
//! }
//! ```

mod access;
mod answers;
mod attach;
mod authorization;
mod backing;
mod caller;
mod carriers;
mod chain;
mod chainmerge;
mod channel;
mod claims;
mod client;
mod conditions;
mod connection;
mod cors;
mod crossing;
mod decide;
mod delegates;
mod denial;
mod digest;
mod duration;
mod enforce;
mod envoyfilter;
mod envoyrbac;
mod forward;
mod harmless;
mod headerops;
mod httpfilter;
mod index;
mod injection;
mod inline;
mod inside;
mod insideview;
mod intake;
mod looked;
mod lua;
mod matcher;
mod merge;
mod models;
mod mutual;
mod opaque;
mod opaquehosts;
mod owners;
mod path;
mod pattern;
mod peer;
mod permit;
mod perroute;
mod places;
mod principal;
mod proto;
mod providers;
mod rbac;
mod re2;
mod redirect;
mod request;
mod rewrite;
mod routematch;
mod routepatch;
mod routes;
mod rules;
mod settings;
mod sidecarfilters;
mod sidecarports;
mod sidecars;
mod snapshot;
mod stations;
mod steps;
mod tables;
mod tls;
mod tokenrules;
mod tokens;
mod tokenstep;
mod tokenview;
mod trace;
mod traffic;
mod unchanged;
mod unmodelled;
mod versions;
mod vhosts;
mod view;
mod walk;
mod ways;
mod when;
mod workloads;

pub use resources::rbac::ModelKind;

pub use access::{AccessLevel, Bindings, Bound, Limits, Owner, RouteAccess, RouteTarget, Whom};
pub use answers::{
    AccessAnswer, AccessCheck, Answers, Check, CheckAnswer, CheckId, CheckResponse, Question,
    TokenAnswer, TokenCheck, TokenContent, Tokens,
};
pub use caller::{
    Caller, KEY_HEADER, KEY_PREFIX, Key, KeyScope, Person, Service, ServiceAccount, TokenError,
    TokenHolder, Workload, is_api_key,
};
pub use carriers::Carrier;
pub use channel::{Channel, Channels};
pub use claims::{ClaimPath, Claims};
pub use conditions::{Attribute, Condition, Test, TestValue};
pub use connection::{Certificate, ClientTls, Connection, ListenerId};
pub use crossing::{At, Crossing, Earlier, Passage};
pub use decide::{Verdict, decide};
pub use denial::{Denial, Refusal};
pub use digest::Digest;
pub use duration::duration;
pub use inline::is_one_line;
pub use insideview::InsideView;
pub use intake::Unfit;
pub use looked::{Alternative, Clause, Comparison, Looked};
pub use matcher::Matcher;
pub use opaque::{NotUnderstood, Scope};
pub use owners::is_login_service;
pub use path::{BadPath, normalise};
pub use pattern::Pattern;
pub use peer::trust_domains;
pub use permit::{Audience, Cors, Destination, HeaderChange, HeaderChanges, Permit, Reply};
pub use request::{
    Entrance, IDENTITY_HEADERS, KNATIVE_HEADERS, RequestHead, Scheme, host_name,
    is_identity_header, is_knative_header,
};
pub use settings::{IstioVersion, Problem, Settings};
pub use snapshot::Snapshot;
pub use steps::{RouteStep, StepView};
pub use tls::{ClientCertificates, TlsServer};
pub use tokenrules::TokenKeys;
pub use tokenview::{TokenRuleView, TokenVerdict};
pub use trace::{Everything, NoTrace, Stage, Step, Trace};
pub use versions::EnvoyVersion;
pub use view::{
    AuthorizerView, HostView, ListenerView, RewriteView, RouteView, RuleAction, RuleView, Way,
};
pub use workloads::{ExposedPort, GatewayPods, selects};
