//! What each module ends with, and the page that says so.

use std::fmt::Write as _;

/// How the suite ends a module that has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Passed,
    /// A person has to look at a page: the certification takes screenshots.
    Review,
    /// Allowed, and the suite would like it otherwise.
    Warning,
    /// It is about something that is optional and not offered here.
    Skipped,
}

pub(super) struct Plan {
    name: &'static str,
    /// The source of its tests.
    tests: &'static str,
    file: &'static str,
    modules: &'static [Module],
}

pub(super) struct Module {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    note: &'static str,
}

const fn module(name: &'static str, verdict: Verdict, note: &'static str) -> Module {
    Module {
        name,
        verdict,
        note,
    }
}

use Verdict::{Passed, Review, Skipped, Warning};

const DYNAMIC: &str = "left out of the plan for clients that are registered by hand";
const PAGE: &str = "a page that says what is wrong";

const BASIC: &[Module] = &[
    module("oidcc-server", Passed, ""),
    module(
        "oidcc-response-type-missing",
        Passed,
        "`invalid_request` goes back to the application",
    ),
    module("oidcc-idtoken-signature", Passed, DYNAMIC),
    module(
        "oidcc-idtoken-unsigned",
        Skipped,
        "no token is unsigned here; left out of the plan for clients that are registered by hand",
    ),
    module("oidcc-userinfo-get", Passed, ""),
    module("oidcc-userinfo-post-header", Passed, ""),
    module("oidcc-userinfo-post-body", Passed, ""),
    module(
        "oidcc-ensure-request-without-nonce-succeeds-for-code-flow",
        Passed,
        "",
    ),
    module(
        "oidcc-scope-profile",
        Warning,
        "of fourteen claims of `profile`, users have `name` and `preferred_username`",
    ),
    module("oidcc-scope-email", Passed, ""),
    module("oidcc-scope-address", Skipped, "the scope is not offered"),
    module("oidcc-scope-phone", Skipped, "the scope is not offered"),
    module(
        "oidcc-scope-all",
        Skipped,
        "two of the scopes are not offered",
    ),
    module("oidcc-alternate-happy-flow", Passed, ""),
    module("oidcc-display-page", Passed, ""),
    module("oidcc-display-popup", Passed, ""),
    module("oidcc-prompt-login", Review, "the second login page"),
    module("oidcc-prompt-none-not-logged-in", Passed, ""),
    module("oidcc-prompt-none-logged-in", Passed, ""),
    module("oidcc-max-age-1", Review, "the second login page"),
    module("oidcc-max-age-10000", Passed, ""),
    module(
        "oidcc-ensure-request-with-unknown-parameter-succeeds",
        Passed,
        "",
    ),
    module("oidcc-id-token-hint", Passed, ""),
    module("oidcc-login-hint", Passed, ""),
    module("oidcc-ui-locales", Passed, ""),
    module("oidcc-claims-locales", Passed, ""),
    module(
        "oidcc-ensure-request-with-acr-values-succeeds",
        Passed,
        "`1` for a password, `2` with a second factor",
    ),
    module("oidcc-codereuse", Passed, ""),
    module(
        "oidcc-codereuse-30seconds",
        Passed,
        "the tokens of the first use are revoked",
    ),
    module("oidcc-ensure-registered-redirect-uri", Review, PAGE),
    module("oidcc-ensure-post-request-succeeds", Passed, ""),
    module("oidcc-server-client-secret-post", Passed, ""),
    module(
        "oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
        Skipped,
        "`request_uri_not_supported`; left out of the plan for clients that are registered by hand",
    ),
    module(
        "oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported",
        Skipped,
        "`request_not_supported`",
    ),
    module("oidcc-claims-essential", Passed, ""),
    module(
        "oidcc-ensure-request-object-with-redirect-uri",
        Review,
        PAGE,
    ),
    module("oidcc-refresh-token", Passed, ""),
    module("oidcc-ensure-request-with-valid-pkce-succeeds", Passed, ""),
];

const CONFIGURATION: &[Module] = &[module("oidcc-discovery-endpoint-verification", Passed, "")];

const LOGGED_OUT: &str = "the page that says so, after a question";

const LOGOUT: &[Module] = &[
    module(
        "oidcc-rp-initiated-logout-discovery-endpoint-verification",
        Passed,
        "",
    ),
    module("oidcc-rp-initiated-logout", Passed, ""),
    module(
        "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri",
        Review,
        PAGE,
    ),
    module(
        "oidcc-rp-initiated-logout-modified-id-token-hint",
        Review,
        PAGE,
    ),
    module("oidcc-rp-initiated-logout-no-id-token-hint", Review, PAGE),
    module("oidcc-rp-initiated-logout-no-params", Review, LOGGED_OUT),
    module(
        "oidcc-rp-initiated-logout-no-post-logout-redirect-uri",
        Review,
        "the page that says so",
    ),
    module("oidcc-rp-initiated-logout-no-state", Passed, ""),
    module("oidcc-rp-initiated-logout-only-state", Review, LOGGED_OUT),
    module(
        "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri",
        Review,
        PAGE,
    ),
    module("oidcc-rp-initiated-logout-bad-id-token-hint", Review, PAGE),
];

const CHANNEL: &[Module] = &[
    module(
        "oidcc-backchannel-logout-discovery-endpoint-verification",
        Passed,
        "",
    ),
    module(
        "oidcc-backchannel-rp-initiated-logout",
        Passed,
        "the suite looks at the TLS of the call, too: not here",
    ),
];

static PLANS: [Plan; 4] = [
    Plan {
        name: "oidcc-basic-certification-test-plan",
        tests: include_str!("basic.rs"),
        file: "basic.rs",
        modules: BASIC,
    },
    Plan {
        name: "oidcc-config-certification-test-plan",
        tests: include_str!("configuration.rs"),
        file: "configuration.rs",
        modules: CONFIGURATION,
    },
    Plan {
        name: "oidcc-rp-initiated-logout-certification-test-plan",
        tests: include_str!("logout.rs"),
        file: "logout.rs",
        modules: LOGOUT,
    },
    Plan {
        name: "oidcc-backchannel-rp-initiated-logout-certification-test-plan",
        tests: include_str!("channel.rs"),
        file: "channel.rs",
        modules: CHANNEL,
    },
];

/// The module of that name.
pub(super) fn find(name: &str) -> &'static Module {
    let mut all = PLANS.iter().flat_map(|plan| plan.modules);
    all.find(|module| module.name == name)
        .unwrap_or_else(|| panic!("`{name}` is in no plan"))
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Passed => "passed",
            Review => "review",
            Warning => "warning",
            Skipped => "skipped",
        }
    }
}

fn page() -> String {
    let mut text = include_str!("page.md").to_owned();
    for plan in &PLANS {
        let count = |verdict| plan.modules.iter().filter(|m| m.verdict == verdict).count();
        let counts: Vec<String> = [Passed, Review, Warning, Skipped]
            .into_iter()
            .filter(|verdict| count(*verdict) > 0)
            .map(|verdict| format!("{} {}", count(verdict), verdict.word()))
            .collect();
        let _ = write!(
            text,
            "\n## {}\n\n{} modules: {}. Tests in `{}`.\n\n| module | result | test | note |\n|---|---|---|---|\n",
            plan.name,
            plan.modules.len(),
            counts.join(", "),
            plan.file
        );
        for module in plan.modules {
            let _ = writeln!(
                text,
                "| {} | {} | `{}` | {} |",
                module.name,
                module.verdict.word(),
                module.name.replace('-', "_"),
                module.note
            );
        }
    }
    text + include_str!("relying.md")
}

#[test]
fn the_page_about_the_plans_is_up_to_date() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/oidc-conformance.md"
    );
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let page = page();
    if written != page {
        std::fs::write(path, page).unwrap();
        panic!("docs/oidc-conformance.md was not what the tests say: it is now");
    }
}

#[test]
fn every_module_has_its_test_and_every_test_its_module() {
    for plan in &PLANS {
        let mut tests: Vec<&str> = plan
            .tests
            .split("#[tokio::test]\nasync fn ")
            .skip(1)
            .map(|rest| rest.split('(').next().unwrap())
            .collect();
        let mut modules: Vec<String> = plan
            .modules
            .iter()
            .map(|module| module.name.replace('-', "_"))
            .collect();
        for module in plan.modules {
            let named = format!("\"{}\"", module.name);
            assert_eq!(plan.tests.matches(&named).count(), 1, "{named}");
        }
        tests.sort_unstable();
        modules.sort_unstable();
        assert_eq!(tests, modules, "{}", plan.file);
    }
}
