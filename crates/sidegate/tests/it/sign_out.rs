//! A session that ends at the provider ends at the gateway.

use std::path::Path;

use tempfile::NamedTempFile;
use testkit::{Sidegate, Start, curl};

use super::{SIDEGATE, log_in};

const SESSIONS: &str = "    sessions:\n      absoluteLifetime: 8h\n";

/// The status of the platform for a browser with this jar.
fn visit(program: &Sidegate, jar: &Path) -> u16 {
    let jar = jar.display().to_string();
    let accept = ["-H", "accept: text/html", "-H", "sec-fetch-mode: navigate"];
    let url = format!("{}/", program.external());
    curl([&["-b", &*jar, &*url], &accept[..]].concat())
        .unwrap()
        .status
}

/// Logout tokens arrive beside the answer to the browser.
fn ends(program: &Sidegate, jar: &Path) {
    program
        .wait_until("the session at the gateway ends", || {
            Ok((visit(program, jar) == 302).then_some(()))
        })
        .unwrap();
}

/// Posts a form of a page of the provider, as the browser with this jar.
fn submit(program: &Sidegate, jar: &Path, path: &str, fields: &[&str]) -> u16 {
    let (jar, base) = (jar.display().to_string(), program.external());
    let url = format!("{base}{path}");
    let page = curl(["-L", "-b", &jar, "-c", &jar, &url]).unwrap();
    assert_eq!(page.status, 200, "{page:?}");
    let between = |from: &str| {
        let (_, rest) = page
            .body
            .split_once(from)
            .unwrap_or_else(|| panic!("{from}: {}", page.body));
        rest.split('"').next().unwrap().replace("&amp;", "&")
    };
    let action = format!("{base}{}", between("<form method=\"post\" action=\""));
    let token = page.body.contains("name=\"token\"").then(|| {
        let token = between("name=\"token\" value=\"");
        format!("token={token}")
    });
    let origin = format!("origin: {base}");
    let mut arguments = vec!["-b", &*jar, "-c", &*jar, "-H", &*origin];
    for field in token
        .iter()
        .map(String::as_str)
        .chain(fields.iter().copied())
    {
        arguments.extend(["--data-urlencode", field]);
    }
    arguments.push(&action);
    curl(arguments).unwrap().status
}

#[test]
fn a_session_that_ends_at_the_provider_ends_here() {
    let folder = super::provider::folder(SESSIONS, "");
    let program = Start::new(SIDEGATE).arg(folder.path()).start().unwrap();
    let [first, second] = [(); 2].map(|()| NamedTempFile::new().unwrap());
    for jar in [&first, &second] {
        assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
        assert_eq!(visit(&program, jar.path()), 200);
    }
    // On the account page, which wants a login of its own.
    let (jar, account) = (
        second.path().display().to_string(),
        format!("{}/dex/account", program.external()),
    );
    let browser = ["-L", "-b", &jar, "-c", &jar, "-w", "%{url_effective}"];
    let form = curl([&browser[..], &["-o", "/dev/null", &account]].concat()).unwrap();
    let fields = ["-d", "login=user@example.com", "-d", "password=12341234"];
    curl([&browser[..], &fields, &[&form.body]].concat()).unwrap();
    let status = submit(&program, second.path(), "/dex/account", &["do=end-others"]);
    assert_eq!(status, 303);
    ends(&program, first.path());
    assert_eq!(visit(&program, second.path()), 200);
    // By the provider's logout.
    let status = submit(&program, second.path(), "/dex/logout", &["logout=yes"]);
    assert_eq!(status, 200);
    ends(&program, second.path());
}

/// As Kubeflow configures Dex, without sessions there.
#[test]
fn who_leaves_the_configuration_is_logged_out_at_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    let cluster = include_str!("../../../../examples/seed/cluster.yaml");
    let ours = include_str!("../../../../examples/seed/sidegate.yaml");
    let write = |text: &str| {
        let new = folder.path().join("new");
        std::fs::write(&new, format!("{text}\n---\n{ours}")).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write(cluster);
    let data = tempfile::tempdir().unwrap();
    let start = || Start::new(SIDEGATE).arg(&file).data(data.path()).start();
    let program = start().unwrap();
    let jar = NamedTempFile::new().unwrap();
    assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
    assert_eq!(visit(&program, jar.path()), 200);
    let user = "email: user@example.com";
    assert!(cluster.contains(user));
    write(&cluster.replace(user, "email: another@example.com"));
    ends(&program, jar.path());
    write(cluster);
    log_in_again(&program, jar.path());
    // And while it does not run.
    program.kill().unwrap();
    write(&cluster.replace(user, "email: another@example.com"));
    let program = start().unwrap();
    assert_eq!(visit(&program, jar.path()), 302);
}

/// Once the user is back.
fn log_in_again(program: &Sidegate, jar: &Path) {
    program
        .wait_until("a login", || {
            log_in(program, jar, "12341234");
            Ok((visit(program, jar) == 200).then_some(()))
        })
        .unwrap();
}

#[test]
fn only_the_provider_can_end_sessions_so() {
    let folder = super::provider::folder(SESSIONS, "");
    let program = Start::new(SIDEGATE).arg(folder.path()).start().unwrap();
    let jar = NamedTempFile::new().unwrap();
    log_in(&program, jar.path(), "12341234");
    let path = "/oauth2/backchannel-logout";
    let url = format!("{}{path}", program.external());
    for (token, expected) in [("x", 400), ("", 400)] {
        let answer = curl(["-d", &format!("logout_token={token}"), &url]).unwrap();
        assert_eq!(answer.status, expected, "{answer:?}");
        assert!(answer.body.contains("invalid_request"), "{answer:?}");
    }
    assert_eq!(curl([&url]).unwrap().status, 405);
    // No other path, and no other host than the platform's.
    let longer = format!("{url}/x");
    assert_eq!(curl(["-d", "logout_token=x", &longer]).unwrap().status, 401);
    let shop = [
        "-H",
        "host: shop.example.com",
        "-d",
        "logout_token=x",
        &*url,
    ];
    let answer = curl(shop).unwrap();
    assert!(!answer.body.contains("invalid_request"), "{answer:?}");
    assert_eq!(visit(&program, jar.path()), 200);
    assert!(!program.stderr().contains("panicked"));
}
