//! People: login, page, logout.

use testkit::Start;

use super::{IRIS, SIDEGATE, example, log_in, sidegate};

#[test]
fn a_program_that_was_refused_may_begin_a_login() {
    let program = example("seed").start().unwrap();
    let refused = testkit::curl([program.external()]).unwrap();
    assert_eq!(refused.status, 401);
    for (wanted, kept) in [("/", true), ("https://evil.example/", false)] {
        let start = format!("{}/oauth2/start?rd={wanted}", program.external());
        let begun = testkit::curl([start]).unwrap();
        let to = begun.header("location").unwrap_or_default();
        assert!(
            begun.status == 302 && to.starts_with("/dex/auth?"),
            "{begun:?}"
        );
        assert!(kept || !to.contains("evil"), "{to}");
    }
}

#[test]
fn login_page_and_logout() {
    let program = example("seed").start().unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    let page = log_in(&program, jar.path(), "12341234");
    assert_eq!(page.status, 200);
    for text in ["user@example.com", "sklearn-iris", "sklearn.svm"] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let cookies = std::fs::read_to_string(jar.path()).unwrap();
    let session = cookies
        .lines()
        .find(|l| l.contains("authservice_session"))
        .unwrap();
    assert!(session.starts_with("#HttpOnly_"), "{session}");
    assert!(session.split('\t').next_back().unwrap().len() < 200);

    let jar_path = jar.path().display().to_string();
    let token = page
        .body
        .split("name=\"token\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let url = format!("{}/try/kserve-test/sklearn-iris", program.external());
    let token_field = format!("token={token}");
    let body_field = format!("body={IRIS}");
    let tried = testkit::curl([
        "-b",
        &jar_path,
        "--data-urlencode",
        &token_field,
        "--data-urlencode",
        &body_field,
        &url,
    ])
    .unwrap();
    assert!(tried.body.contains("predictions"), "{}", tried.body);
    let forged = testkit::curl([
        "-b",
        &jar_path,
        "--data-urlencode",
        "token=x",
        "--data-urlencode",
        &body_field,
        &url,
    ])
    .unwrap();
    assert_eq!(forged.status, 403);

    let out = testkit::curl([
        "-b",
        &jar_path,
        "-X",
        "POST",
        &format!("{}/authservice/logout", program.external()),
    ])
    .unwrap();
    assert!(out.body.contains("afterLogoutURL"), "{out:?}");
    let home = format!("{}/", program.external());
    let after = testkit::curl(["-b", &jar_path, "-H", "accept: text/html", &home]).unwrap();
    assert_eq!(after.status, 302, "the old cookie is worth nothing");
}

/// The pages for it are the login's own: whoever has no session yet gets to them.
#[test]
fn a_second_factor_that_is_demanded_is_made_at_the_gateway() {
    let folder = super::provider::folder("    secondFactor: required\n", "");
    let program = Start::new(SIDEGATE).arg(folder.path()).start().unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    let page = log_in(&program, jar.path(), "12341234");
    assert_eq!(page.status, 200, "{page:?}");
    for text in [r#"name="code""#, r#"class="qr""#] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
}

#[test]
fn a_wrong_password_stays_outside() {
    let program = example("seed").start().unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    let page = log_in(&program, jar.path(), "wrong");
    assert!(
        !std::fs::read_to_string(jar.path())
            .unwrap()
            .contains("authservice_session")
    );
    assert!(
        page.body.contains(r#"name="password""#),
        "the form again: {}",
        page.body
    );
}

#[test]
fn another_site_cannot_bring_its_own_callback() {
    let program = example("seed").start().unwrap();
    let url = format!("{}/login/oidc?code=x&state=y", program.external());
    let answer = testkit::curl(["-H", "accept: text/html", &url]).unwrap();
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(
        answer.headers.iter().all(
            |(_, value)| !value.contains("authservice_session=") || value.contains("Max-Age=0")
        )
    );
}

#[test]
fn help_has_examples() {
    for command in [
        &["--help"][..],
        &["up", "--help"],
        &["exec", "--help"],
        &["explain", "--help"],
        &["token", "create", "--help"],
    ] {
        let text = super::stdout(&sidegate(command));
        assert!(text.contains("Example"), "{command:?}: {text}");
    }
}

/// A tenant's ConfigMap of the same name decides nothing, wherever it stands.
#[test]
fn only_the_platform_says_who_can_log_in() {
    let folder = tempfile::tempdir().unwrap();
    let ours = include_str!("../../../../examples/seed/cluster.yaml");
    let tenant = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dex, namespace: a-tenant}\n\
                  data: {config.yaml: 'issuer: nonsense'}\n";
    let enforce = include_str!("../../../../examples/seed/sidegate.yaml");
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, format!("{tenant}---\n{ours}\n---\n{enforce}")).unwrap();
    let program = testkit::Start::new(super::SIDEGATE)
        .arg(&file)
        .start()
        .unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    let page = log_in(&program, jar.path(), "12341234");
    assert!(page.body.contains("user@example.com"), "{}", page.body);
}
