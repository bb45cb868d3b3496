//! API keys: made, used, listed, taken back, beside a running program.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Sidegate;

use super::{IRIS, OUTSIDE_HOST, PREDICT, SIDEGATE, example, outside, stderr, stdout};

fn token(program: &Sidegate, args: &[&str]) -> Output {
    Command::new(SIDEGATE)
        .arg("token")
        .args(args)
        .env("SIDEGATE_DATA", program.data())
        .output()
        .unwrap()
}

fn json(program: &Sidegate, args: &[&str]) -> Value {
    let output = token(program, &[args, &["-o", "json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn predict(program: &Sidegate, key: &str) -> testkit::Answer {
    let bearer = format!("authorization: Bearer {key}");
    outside(program, OUTSIDE_HOST, PREDICT, &["-d", IRIS, "-H", &bearer])
}

#[test]
fn a_key_opens_a_model_until_it_is_revoked() {
    let program = example("seed").start().unwrap();
    let made = token(
        &program,
        &["create", "--user", "user@example.com", "--name", "laptop"],
    );
    let told = stderr(&made);
    assert!(
        told.contains("API key ") && told.contains("all models"),
        "{told}"
    );
    let key = stdout(&made).trim().to_owned();
    assert!(key.starts_with("sgk_") && key.len() == 64, "{key}");
    let answer = predict(&program, &key);
    assert!(
        answer.status == 200 && answer.body.contains("predictions"),
        "{answer:?}"
    );

    let own = format!("x-api-key: {key}");
    let ask = |more: &[&str]| {
        outside(
            &program,
            OUTSIDE_HOST,
            PREDICT,
            &[&["-d", IRIS], more].concat(),
        )
    };
    let answer = ask(&["-H", &own]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let bearer = format!("authorization: Bearer {key}");
    let twice = format!("x-api-key: {key},{key}");
    // RFC 6750 §3.1: several at once are another error than a wrong one, and none is no error.
    for (wrong, status, error) in [
        (&["-H", &*own, "-H", &*own][..], 400, "invalid_request"),
        (&["-H", &*own, "-H", &*bearer], 400, "invalid_request"),
        (
            &["-H", &*own, "-H", "x-api-key: of-the-model"],
            400,
            "invalid_request",
        ),
        (&["-H", &*twice], 401, "invalid_token"),
        (&["-H", "x-api-key: of-the-model"], 401, ""),
    ] {
        let answer = ask(wrong);
        assert_eq!(answer.status, status, "{wrong:?} {answer:?}");
        assert!(!answer.body.contains(&key));
        let told = answer.header("www-authenticate").unwrap();
        let expected = match error {
            "" => "Bearer".to_owned(),
            error => format!("Bearer error=\"{error}\", error_description="),
        };
        assert!(told.starts_with(&expected), "{wrong:?} {told}");
    }
    // It opens no platform that way either.
    let home = outside(&program, "kubeflow.example.com", "/", &["-H", &own]);
    assert_eq!(home.status, 403, "{home:?}");

    let listed = json(&program, &["list"]);
    let [known] = listed["keys"].as_array().unwrap().as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(known["user"], "user@example.com");
    assert_eq!(known["name"], "laptop");
    assert!(known["lastUsedAt"].is_u64(), "{listed}");
    assert!(!listed.to_string().contains(&key));
    let text = stdout(&token(&program, &["list"]));
    assert!(
        text.contains("laptop") && text.contains("all models"),
        "{text}"
    );

    let id = known["id"].as_str().unwrap();
    let revoked = Instant::now();
    assert!(token(&program, &["revoke", id]).status.success());
    let answer = predict(&program, &key);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(revoked.elapsed() < Duration::from_secs(1));
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(token(&program, &["revoke", id]).status.code(), Some(3));
    assert!(stderr(&token(&program, &["list"])).contains("no API keys"));
    assert!(!program.stderr().contains(&key));
}

#[test]
fn a_key_does_what_it_is_for() {
    let program = example("seed").start().unwrap();
    let made = |args: &[&str]| {
        let args = [&["create", "--service", "nightly-job"], args].concat();
        json(&program, &args)["secret"].as_str().unwrap().to_owned()
    };
    for (scope, expected) in [
        (&["--only-namespace", "kserve-test"][..], 200),
        (&["--only-model", "kserve-test/sklearn-iris"], 200),
        (
            &[
                "--only-namespace",
                "team-a",
                "--only-model",
                "kserve-test/sklearn-iris",
            ],
            200,
        ),
        (&["--only-namespace", "team-a"], 403),
        (&["--only-model", "team-a/sklearn-iris"], 403),
        (&["--only-model", "kserve-test/other"], 403),
    ] {
        let answer = predict(&program, &made(scope));
        assert_eq!(answer.status, expected, "{scope:?}: {answer:?}");
        if expected == 403 {
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(
                challenge.contains("error=\"insufficient_scope\""),
                "{challenge}"
            );
        }
    }
    // The platform is for people.
    let bearer = format!("authorization: Bearer {}", made(&[]));
    let home = format!("{}/", program.external());
    let answer = testkit::curl(["-H", &bearer, &home]).unwrap();
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains("insufficient_scope")
    );
}

#[test]
fn keys_outlive_a_restart_and_end_with_the_account() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |args: &[&str]| {
        let output = Command::new(SIDEGATE)
            .args(args)
            .env("SIDEGATE_DATA", &data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    // While nothing runs.
    run(&["user", "add", "new@example.com"]);
    let key = run(&[
        "token",
        "create",
        "--user",
        "new@example.com",
        "--duration",
        "1d",
    ]);
    let program = example("seed").data(&data).start().unwrap();
    assert_eq!(predict(&program, &key).status, 200);
    run(&["user", "disable", "new@example.com"]);
    assert_eq!(predict(&program, &key).status, 401);
    run(&["user", "enable", "new@example.com"]);
    assert_eq!(predict(&program, &key).status, 401, "gone is gone");
}

#[test]
fn what_cannot_be_made_is_named() {
    let program = example("seed").start().unwrap();
    for (args, code, expected) in [
        (&["create"][..], 3, "required"),
        (
            &["create", "default", "--user", "a@b.c"],
            3,
            "cannot be used",
        ),
        (
            &["create", "default", "--only-model", "a/b"],
            3,
            "cannot be used",
        ),
        (
            &["create", "--user", "nobody"],
            3,
            "owner: expected an e-mail address",
        ),
        (&["create", "--service", "A B"], 3, "owner: expected a name"),
        (
            &["create", "--service", "a", "--only-model", "b"],
            3,
            "models: expected",
        ),
        (
            &["create", "--service", "a", "--duration", "400d"],
            3,
            "out of range",
        ),
        (&["revoke", "x"], 3, "no such key"),
    ] {
        let output = token(&program, args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

/// Posts a form of the page, as the browser with this jar.
fn post(program: &Sidegate, jar: &str, path: &str, fields: &[&str]) -> testkit::Answer {
    let url = format!("{}{path}", program.external());
    let mut arguments = vec!["-b", jar];
    for field in fields {
        arguments.extend(["--data-urlencode", field]);
    }
    arguments.push(&url);
    testkit::curl(arguments).unwrap()
}

#[test]
fn a_person_makes_and_revokes_keys_on_the_page() {
    let program = example("seed").start().unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    super::log_in(&program, jar.path(), "12341234");
    let jar = jar.path().display().to_string();
    let url = format!("{}/keys", program.external());
    let page = testkit::curl(["-b", &jar, &url]).unwrap();
    assert!(page.body.contains("You have no API keys"), "{}", page.body);
    let field = |body: &str, name: &str| {
        let (_, rest) = body
            .split_once(&format!("name=\"{name}\" value=\""))
            .unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let form = format!("token={}", field(&page.body, "token"));
    let fields = [
        &*form,
        "label=laptop",
        "scope=kserve-test/sklearn-iris",
        "days=30",
    ];
    let made = post(&program, &jar, "/keys", &fields);
    assert_eq!(made.status, 200, "{made:?}");
    let (_, rest) = made.body.split_once("sgk_").unwrap();
    let key = format!("sgk_{}", rest.split('<').next().unwrap());
    assert_eq!(predict(&program, &key).status, 200);
    let page = testkit::curl(["-b", &jar, &url]).unwrap();
    assert!(
        page.body.contains("laptop") && !page.body.contains("sgk_"),
        "{}",
        page.body
    );

    // No other page, no other person, no program.
    assert_eq!(post(&program, &jar, "/keys", &fields[1..]).status, 403);
    let wrong = post(
        &program,
        &jar,
        "/keys",
        &[&*form, "label=x", "scope=a/b/c", "days=30"],
    );
    assert!(
        wrong.status == 400 && wrong.body.contains("NAMESPACE/NAME"),
        "{wrong:?}"
    );
    let owned = format!("id={}", field(&page.body, "id"));
    let bearer = format!("authorization: Bearer {key}");
    assert_eq!(testkit::curl(["-H", &bearer, &url]).unwrap().status, 403);

    assert_eq!(
        post(&program, &jar, "/keys/revoke", &[&*form, &*owned]).status,
        200
    );
    assert_eq!(predict(&program, &key).status, 401);
    assert_eq!(
        post(&program, &jar, "/keys/revoke", &[&*form, &*owned]).status,
        404
    );
}
