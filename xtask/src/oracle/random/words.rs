//! The small vocabulary that routes, policies and requests share, so that
//! they meet.

pub(super) const HOSTS: &[&str] = &[
    "a.example.com",
    "b.example.com",
    "x.a.example.com",
    "example.com",
    "app.ns1.svc.cluster.local",
];

pub(super) const HOST_PATTERNS: &[&str] = &[
    "*",
    "*.example.com",
    "*.a.example.com",
    "a.example.com",
    "b.example.com",
    "x.a.example.com",
    "example.com",
    "app.ns1.svc.cluster.local",
];

/// What policies say about hosts.
pub(super) const HOST_VALUES: &[&str] = &[
    "a.example.com",
    "a.example.com:*",
    "A.Example.com",
    "*.example.com",
    "*example.com",
    "a.*",
    "*",
    "a.*.com",
    "example.com*",
    "b.example.com:8080",
    "*.com.",
    "**",
];

pub(super) const PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/ab", "/abc", "/b", "/b/a", "/A", "/a/x.txt",
    "/open", "/open/x",
];

/// What policies say about paths.
pub(super) const PATH_VALUES: &[&str] = &[
    "/a",
    "/a*",
    "/a/*",
    "/a/",
    "/a/b",
    "/a/b*",
    "*/b",
    "*b",
    "*",
    "/",
    "/*",
    "/open*",
    "*.txt",
    "/a/**",
    "/a/*/c",
    "*/a*",
    "**",
    "/A*",
    "/a%2Fb",
    "/a;*",
    "/a/{*}",
    "/a/{**}",
    "/{*}/b",
    "/a/{*}/c",
    "/{**}",
    "/a/{**}/",
    "/{*}/{**}",
    "/{*}",
];

pub(super) const METHODS: &[&str] = &["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"];

pub(super) const METHOD_VALUES: &[&str] = &["GET", "POST", "HEAD", "*", "P*", "*T", "get", "PATCH"];

pub(super) const HEADERS: &[&str] = &[
    "x-a",
    "x-b",
    "x-user",
    "kubeflow-userid",
    "cookie",
    "authorization",
];

pub(super) const HEADER_NAMES: &[&str] = &[
    "x-a",
    "X-A",
    "x-b",
    "X-User",
    "x-user",
    "cookie",
    "kubeflow-userid",
];

pub(super) const VALUES: &[&str] = &["1", "2", "", "on", "On", "a,b", "a", "1x", "x1", "a b"];

/// What policies say about header values.
pub(super) const VALUE_PATTERNS: &[&str] = &[
    "1", "2", "on", "*", "1*", "*1", "a", "a,b", "*b", "o*", "**",
];

pub(super) const REGEXES: &[&str] = &[
    "/a.*",
    "/a/[^/]+",
    "/(a|b)/.*",
    ".*",
    "/a",
    "/a/b/?",
    "(?i)/A/b",
    "/[a-c]+",
    "/.*b.*",
    ".+txt",
];

pub(super) const VALUE_REGEXES: &[&str] = &["1", ".*", "[0-9]+", "a.*", "(on|On)", "*", "a,b"];

/// Places that requests come from.
pub(super) const SOURCES: &[[u8; 4]] = &[
    [127, 0, 0, 1],
    [127, 200, 0, 1],
    [127, 200, 1, 7],
    [127, 201, 0, 9],
];

pub(super) const BLOCKS: &[&str] = &[
    "127.0.0.1",
    "127.200.0.0/16",
    "127.200.0.0/24",
    "127.200.1.7/32",
    "127.0.0.0/8",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "127.200.1.9/24",
    "127.220.0.0/24",
    "::1",
];

pub(super) const NAMESPACES: &[&str] = &[
    "istio-system",
    "istio-system",
    "istio-system",
    "kubeflow",
    "ns1",
];

pub(super) const SERVICES: &[(&str, u16)] = &[
    ("app.ns1.svc.cluster.local", 80),
    ("app2.ns2.svc.cluster.local", 80),
    ("app2.ns2.svc.cluster.local", 8080),
    ("dash.istio-system.svc.cluster.local", 80),
];
