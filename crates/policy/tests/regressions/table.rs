//! Objects, requests and their answers.

/// One entry, by its id in the list of regressions.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    /// Modes of `pathNormalization`.
    pub(crate) modes: &'static [&'static str],
    /// Kind and spec.
    pub(crate) objects: &'static [&'static str],
    /// Request and status.
    pub(crate) requests: &'static [(&'static str, u16)],
}

const NONE: &str = "NONE";
const BASE: &str = "BASE";
const MERGE: &str = "MERGE_SLASHES";
const DECODE: &str = "DECODE_AND_MERGE_SLASHES";
const ALL: &[&str] = &[NONE, BASE, MERGE, DECODE];
const NORMALISED: &[&str] = &[BASE, MERGE, DECODE];

const ADMIN: &[&str] = &[
    "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {paths: [/admin, /admin/*]}}]}]",
];
const TEMPLATE: &[&str] =
    &["AuthorizationPolicy action: DENY, rules: [{to: [{operation: {paths: ['/tpl/{**}']}}]}]"];
const ROLE: &[&str] = &[
    "AuthorizationPolicy action: DENY, rules: [{when: [{key: 'request.headers[X-Role]', values: [admin]}]}]",
];
const LOGIN: &str = "AuthorizationPolicy action: CUSTOM, provider: {name: login}, rules: [{when: [{key: 'request.headers[authorization]', notValues: ['*']}], to: [{operation: {notPaths: [/dex/*, /dex/**, /oauth2/*]}}]}]";
const TOKENS: &str = "RequestAuthentication jwtRules: [{issuer: 'https://login.example', jwksUri: 'https://login.example/keys'}]";
const REQUIRE: &str = "AuthorizationPolicy action: DENY, rules: [{from: [{source: {notRequestPrincipals: ['*']}}], to: [{operation: {notPaths: [/dex/*, /dex/**, /oauth2/*]}}]}]";

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "P01",
        what: "repeated slashes miss a path rule",
        modes: &[NONE, BASE],
        objects: ADMIN,
        requests: &[("GET a.example//admin", 200), ("GET a.example/admin", 403)],
    },
    Row {
        id: "P01",
        what: "and do not once they are merged",
        modes: &[MERGE, DECODE],
        objects: ADMIN,
        requests: &[("GET a.example//admin", 403)],
    },
    Row {
        id: "P02",
        what: "encoded slashes miss a path rule",
        modes: &[NONE, BASE, MERGE],
        objects: ADMIN,
        requests: &[
            ("GET a.example/x%2f..%2fadmin", 200),
            ("GET a.example/x/..%2fadmin", 200),
            ("GET a.example/%2fadmin", 200),
            ("GET a.example/admin%2fx", 200),
            ("GET a.example/x%5c..%5cadmin", 200),
        ],
    },
    Row {
        id: "P02",
        what: "and do not once they are decoded",
        modes: &[DECODE],
        objects: ADMIN,
        requests: &[
            ("GET a.example/x%2f..%2fadmin", 403),
            ("GET a.example/x/..%2Fadmin", 403),
            ("GET a.example/%2fadmin", 403),
            ("GET a.example/admin%2fx", 403),
            ("GET a.example/x%5C..%5cadmin", 403),
        ],
    },
    Row {
        id: "P03",
        what: "dot segments",
        modes: NORMALISED,
        objects: ADMIN,
        requests: &[
            ("GET a.example/x/../admin", 403),
            ("GET a.example/x/%2e%2E/admin", 403),
            ("GET a.example/x/.%2e/admin", 403),
        ],
    },
    Row {
        id: "P03",
        what: "dot segments without normalisation",
        modes: &[NONE],
        objects: ADMIN,
        requests: &[("GET a.example/x/../admin", 200)],
    },
    Row {
        id: "P04",
        what: "dot segments with a parameter",
        modes: NORMALISED,
        objects: ADMIN,
        requests: &[("GET a.example/user/..;foo=bar/admin", 403)],
    },
    Row {
        id: "P05",
        what: "path parameters are part of a segment",
        modes: ALL,
        objects: ADMIN,
        requests: &[
            ("GET a.example/admin;x=1/users", 200),
            ("GET a.example/admin;", 200),
            ("GET a.example/;x/admin", 200),
        ],
    },
    Row {
        id: "P07",
        what: "an encoded semicolon is none",
        modes: ALL,
        objects: ADMIN,
        requests: &[
            ("GET a.example/x/..%3b/admin", 200),
            ("GET a.example/admin%3bx", 200),
        ],
    },
    Row {
        id: "P08",
        what: "double encoding is decoded once",
        modes: ALL,
        objects: ADMIN,
        requests: &[("GET a.example/x/..%252fadmin", 200)],
    },
    Row {
        id: "P09",
        what: "a fragment is cut before the decision",
        modes: ALL,
        objects: ADMIN,
        requests: &[
            ("GET a.example/admin#section1", 403),
            ("GET a.example/admin#/public", 403),
            ("GET a.example/admin/x?a#b", 403),
        ],
    },
    Row {
        id: "P11",
        what: "a query neither satisfies nor hides a path",
        modes: ALL,
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {notPaths: ['*/public/']}}]}]",
        ],
        requests: &[
            ("GET a.example/admin?x=/public/", 403),
            ("GET a.example/public/?x=/admin", 200),
        ],
    },
    Row {
        id: "P14",
        what: "`//admin` is a path, not an authority",
        modes: &[MERGE, DECODE],
        objects: ADMIN,
        requests: &[("GET a.example//admin/people", 403)],
    },
    Row {
        id: "P15",
        what: "a target without leading slash has no reading",
        modes: ALL,
        objects: ADMIN,
        requests: &[
            ("POST a.example admin.Service/Delete", 400),
            ("GET a.example admin", 400),
        ],
    },
    Row {
        id: "P17",
        what: "resolved first, matched then",
        modes: NORMALISED,
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {notPaths: [/public/*]}}]}]",
        ],
        requests: &[
            ("GET a.example/public/../admin/secrets", 403),
            ("GET a.example/public/a", 200),
        ],
    },
    Row {
        id: "P20",
        what: "a template takes a star in the path",
        modes: ALL,
        objects: TEMPLATE,
        requests: &[
            ("GET a.example/tpl/a*b", 403),
            ("GET a.example/tpl/ab", 403),
        ],
    },
    Row {
        id: "P21",
        what: "a template does not take brackets",
        modes: ALL,
        objects: TEMPLATE,
        requests: &[
            ("GET a.example/tpl/a[b", 200),
            ("GET a.example/tpl/a]b", 200),
        ],
    },
    Row {
        id: "P24",
        what: "an exemption by the end of the path is one for every path",
        modes: ALL,
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{from: [{source: {notRequestPrincipals: ['*']}}], to: [{operation: {notPaths: ['*/healthz', '*/ready']}}]}]",
        ],
        requests: &[
            ("POST a.example/v1/models/iris:predict/ready", 200),
            ("POST a.example/v1/models/iris:predict", 403),
        ],
    },
    Row {
        id: "P26",
        what: "case, trailing dot and trailing space make other paths",
        modes: ALL,
        objects: ADMIN,
        requests: &[
            ("GET a.example/Admin", 200),
            ("GET a.example/admin.", 200),
            ("GET a.example/admin%20", 200),
            ("GET a.example/admin%2e", 200),
        ],
    },
    Row {
        id: "H01",
        what: "hosts ignore case",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {hosts: [secret.com]}}]}]",
        ],
        requests: &[("GET Secret.Com/", 403), ("GET secret.com/", 403)],
    },
    Row {
        id: "H02",
        what: "an exact host does not cover its ports, the route does",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {hosts: [secret.example]}}]}]",
        ],
        requests: &[
            ("GET secret.example/", 403),
            ("GET secret.example:1/", 200),
            ("GET SECRET.EXAMPLE:443/", 200),
        ],
    },
    Row {
        id: "H02",
        what: "and with its ports it does",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {hosts: [secret.example, 'secret.example:*']}}]}]",
        ],
        requests: &[
            ("GET secret.example:1/", 403),
            ("GET Secret.example:00080/", 403),
        ],
    },
    Row {
        id: "H03",
        what: "wildcard hosts ignore case",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {hosts: ['*.admin.example5.com']}}]}]",
        ],
        requests: &[("GET secure.ADMIN.example5.com/", 403)],
    },
    Row {
        id: "H09",
        what: "an exemption without a host is one on every host",
        modes: &[BASE],
        objects: &[TOKENS, REQUIRE],
        requests: &[
            ("POST iris.team-a.example.com/dex/predict", 200),
            ("POST iris.team-a.example.com/v1", 403),
        ],
    },
    Row {
        id: "D01, D03, D08",
        what: "every line of a header is compared, by its name in any case",
        modes: &[BASE],
        objects: ROLE,
        requests: &[
            ("GET a.example/\nx-role: admin", 403),
            ("GET a.example/\nX-Role: user\nx-role: admin", 403),
            ("GET a.example/\nx-role: admin\nx-role: user", 403),
            ("GET a.example/\nx-role: user", 200),
            // One line is one value, in its own case.
            ("GET a.example/\nx-role: user,admin", 200),
            ("GET a.example/\nx-role: Admin", 200),
        ],
    },
    Row {
        id: "D05",
        what: "a byte outside ASCII does not make a value unmatchable",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{when: [{key: 'request.headers[x-role]', values: ['admin*']}]}]",
        ],
        requests: &[("GET a.example/\nx-role: admin\u{ff}", 403)],
    },
    Row {
        id: "D09, X08",
        what: "an empty or invented `authorization` skips the login",
        modes: &[BASE],
        objects: &[LOGIN],
        requests: &[
            ("GET a.example/pipeline/", 302),
            ("GET a.example/pipeline/\nauthorization:", 200),
            ("GET a.example/pipeline/\nauthorization: Bearer x", 200),
        ],
    },
    Row {
        id: "D09, X08",
        what: "and is refused by the rule behind it",
        modes: &[BASE],
        objects: &[LOGIN, TOKENS, REQUIRE],
        requests: &[
            ("GET a.example/pipeline/\nauthorization:", 403),
            ("GET a.example/pipeline/\nauthorization: Bearer x", 401),
        ],
    },
    Row {
        id: "S07",
        what: "an exemption by prefix opens the platform's catch-all route",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: CUSTOM, provider: {name: login}, rules: [{to: [{operation: {notPaths: ['/v1*']}}]}]",
        ],
        requests: &[
            ("GET kubeflow.example/v1", 200),
            ("GET kubeflow.example/v1anything", 200),
            ("GET kubeflow.example/", 302),
        ],
    },
    Row {
        id: "J14",
        what: "a token that is not accepted is refused, none is not demanded",
        modes: &[BASE],
        objects: &[TOKENS],
        requests: &[
            ("GET a.example/\nauthorization: Bearer x", 401),
            ("GET a.example/", 200),
        ],
    },
    Row {
        id: "T01, T03",
        what: "without client certificates a source field never matches",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{from: [{source: {namespaces: [foo]}}, {source: {serviceAccounts: [x/cert-manager.io]}}]}]",
        ],
        requests: &[("GET a.example/", 200)],
    },
    Row {
        id: "T03",
        what: "and its negation always does",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: ALLOW, rules: [{from: [{source: {notNamespaces: [foo]}}]}]",
        ],
        requests: &[("GET a.example/", 200)],
    },
    Row {
        id: "C01",
        what: "`from` and `to` of two rules are alternatives",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: ALLOW, rules: [{from: [{source: {principals: [gw]}}]}, {to: [{operation: {methods: [POST], paths: ['/v1*']}}]}]",
        ],
        requests: &[("POST a.example/v1/x", 200), ("GET a.example/v1/x", 403)],
    },
    Row {
        id: "C02",
        what: "`/dex/**` is a prefix that ends with a star",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {paths: [/dex/**]}}]}]",
        ],
        requests: &[
            ("GET a.example/dex/auth", 200),
            ("GET a.example/dex/*x", 403),
        ],
    },
    Row {
        id: "C04",
        what: "the Service's port is not the listener's",
        modes: &[BASE],
        objects: &[
            "AuthorizationPolicy action: DENY, rules: [{to: [{operation: {paths: [/a], ports: ['80']}}, {operation: {paths: [/b], ports: ['8080']}}]}]",
        ],
        requests: &[("GET a.example/a", 200), ("GET a.example/b", 403)],
    },
];
