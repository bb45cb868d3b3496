//! What checks are made of.

pub(super) const MODEL: &str = "sklearn-iris.kserve-test.svc.cluster.local";
pub(super) const LIMITED: &str = "limited.kserve-test.svc.cluster.local";

pub(super) const HOSTS: [&str; 14] = [
    "dash.example.com",
    "dash.example.com",
    MODEL,
    "sklearn-iris.kserve-test.example.com",
    "sklearn-iris-predictor.kserve-test.svc.cluster.local",
    LIMITED,
    "limited-predictor.kserve-test.svc.cluster.local",
    "limited.kserve-test.example.com",
    "shop.example.com",
    "shortcut.example.com",
    "DASH.example.com:8080",
    "u@dash.example.com",
    "dash.example.com.",
    "",
];

pub(super) const METHODS: [&str; 7] = ["GET", "POST", "OPTIONS", "HEAD", "CONNECT", "get", ""];

pub(super) const PATHS: [&str; 20] = [
    "/",
    "/v1/models/sklearn-iris:predict",
    "/v1/models/limited:predict",
    "/v1anything",
    "/pipeline",
    "/dex/auth",
    "/dex/keys",
    "/login/oidc",
    "/cart",
    "/external/",
    "/local/",
    "/forwarded/local",
    "/..",
    "/%2e%2e",
    "/..;/",
    "//",
    "/a%2fb",
    "/\\",
    "/%00",
    "*",
];

pub(super) const NAMES: [&str; 22] = [
    "authorization",
    "authorization",
    "cookie",
    "cookie",
    "host",
    "accept",
    "origin",
    "access-control-request-method",
    "content-type",
    "kubeflow-userid",
    "kubeflow_userid",
    "x-auth-request-email",
    "x-sidegate-mark",
    "x-sidegate-other",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-original-uri",
    "upgrade",
    "te",
    ":path",
];

pub(super) const VALUES: [&str; 17] = [
    "Bearer ada",
    "Bearer pod",
    "Bearer shop",
    "Bearer x",
    "session=ada",
    "a=1; session=ada",
    "session=",
    "text/html",
    "https://page.example.com",
    "POST",
    "GET",
    "application/grpc",
    "/cart",
    "shop.example.com",
    "sidegate-place",
    "https",
    "",
];
