//! The example `seed`: access levels in force.

use testkit::{Socket, Upstream};

use super::{
    IRIS, LOCAL_HOST, OUTSIDE_HOST, PREDICT, example, inside, log_in, outside, sidegate, stdout,
    token,
};

const V2: &str = r#"{"inputs":[{"name":"x","shape":[2,4],"datatype":"FP64","data":[[6.8,2.8,4.8,1.4],[6.0,3.4,4.5,1.6]]}]}"#;
const FORGED: [&str; 5] = [
    "kubeflow-userid",
    "Kubeflow-UserID",
    "kubeflow_userid",
    "x-auth-request-email",
    "x-forwarded-user",
];

#[test]
fn models_answer_workloads_without_a_login_and_the_outside_with_a_token() {
    let program = example("seed").start().unwrap();
    let v1 = inside(&program, LOCAL_HOST, PREDICT, &["-d", IRIS]);
    assert_eq!(
        (v1.status, v1.body.as_str()),
        (200, r#"{"predictions":[1,1]}"#)
    );
    let v2 = inside(
        &program,
        LOCAL_HOST,
        "/v2/models/sklearn-iris/infer",
        &["-H", "content-type: application/json", "-d", V2],
    );
    assert_eq!(v2.status, 200, "{}", v2.body);
    assert!(
        v2.body
            .contains(r#""datatype":"INT64","parameters":null,"data":[1,1]"#),
        "{}",
        v2.body
    );

    for path in [PREDICT, "/v2/models/sklearn-iris/infer"] {
        let refused = outside(&program, OUTSIDE_HOST, path, &["-d", IRIS]);
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("content-type"), Some("application/json"));
        assert_eq!(refused.header("location"), None);
        assert!(
            refused
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
    }
    let bearer = format!("authorization: Bearer {}", token(&program, "kserve-test"));
    let allowed = outside(
        &program,
        OUTSIDE_HOST,
        PREDICT,
        &["-H", &bearer, "-d", IRIS],
    );
    assert_eq!(
        (allowed.status, allowed.body.as_str()),
        (200, r#"{"predictions":[1,1]}"#)
    );
    let wrong = outside(
        &program,
        OUTSIDE_HOST,
        PREDICT,
        &["-H", "authorization: Bearer a.b.c", "-d", IRIS],
    );
    assert_eq!(wrong.status, 401);
    assert!(
        wrong
            .header("www-authenticate")
            .unwrap()
            .contains("invalid_token")
    );
}

#[test]
fn a_provider_id_token_opens_a_model_from_outside() {
    let program = example("seed").start().unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    let jar_path = jar.path().display().to_string();
    // The provider's client is public knowledge on this cluster; a script asks it for a token of its own.
    let authorize = format!(
        "{}/dex/auth?client_id=kubeflow-oidc-authservice&redirect_uri=%2Flogin%2Foidc&response_type=code&scope=openid+email&state=s",
        program.external()
    );
    let form = testkit::curl([
        "-c",
        &jar_path,
        "-b",
        &jar_path,
        "--location",
        "-o",
        "/dev/null",
        "--write-out",
        "%{url_effective}",
        &authorize,
    ])
    .unwrap();
    let redirected = testkit::curl([
        "-c",
        &jar_path,
        "-b",
        &jar_path,
        "--data-urlencode",
        "login=user@example.com",
        "--data-urlencode",
        "password=12341234",
        &form.body,
    ])
    .unwrap();
    let location = redirected.header("location").unwrap();
    let code = location
        .split(['?', '&'])
        .find_map(|part| part.strip_prefix("code="))
        .unwrap();
    let code = format!("code={code}");
    let answer = testkit::curl([
        "-u",
        "kubeflow-oidc-authservice:pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok",
        "-d",
        "grant_type=authorization_code",
        "-d",
        &code,
        "-d",
        "redirect_uri=/login/oidc",
        &format!("{}/dex/token", program.external()),
    ])
    .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let tokens: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    for kind in ["id_token", "access_token"] {
        let bearer = format!("authorization: Bearer {}", tokens[kind].as_str().unwrap());
        let allowed = outside(
            &program,
            OUTSIDE_HOST,
            PREDICT,
            &["-H", &bearer, "-d", IRIS],
        );
        assert_eq!(allowed.body, r#"{"predictions":[1,1]}"#, "{kind}");
    }
}

#[test]
fn the_platform_wants_a_login_whatever_the_path() {
    let program = example("seed").start().unwrap();
    for path in [
        "/",
        "/v1anything",
        "/v1/x",
        "/v1/..%2fpipeline",
        "/dex/x",
        "/dex/..%2fpipeline",
        "//v1",
        "/v2",
    ] {
        for host in ["kf.example.com", "unknown.example.org"] {
            let browser = outside(&program, host, path, &["-H", "accept: text/html"]);
            assert_eq!(browser.status, 302, "{host}{path}");
            assert!(
                browser
                    .header("location")
                    .unwrap()
                    .starts_with("/dex/auth?"),
                "{host}{path}"
            );
        }
    }
    for args in [
        &["-H", "accept: application/json"][..],
        &["-X", "POST", "-H", "accept: text/html"],
        &[
            "-H",
            "accept: text/html",
            "-H",
            "x-requested-with: XMLHttpRequest",
        ],
        &["-H", "accept: text/html", "-H", "sec-fetch-mode: cors"],
        &[
            "-X",
            "OPTIONS",
            "-H",
            "origin: https://evil.example",
            "-H",
            "access-control-request-method: GET",
        ],
    ] {
        let program_client = outside(&program, "kf.example.com", "/", args);
        assert_eq!(program_client.status, 401, "{args:?}");
        assert_eq!(program_client.header("location"), None, "{args:?}");
    }
    let unknown_inside = inside(
        &program,
        "unknown.example.org",
        "/",
        &["-H", "accept: text/html"],
    );
    assert_eq!(unknown_inside.status, 404);
}

#[test]
fn grpc_clients_get_trailers_only_refusals() {
    let program = example("seed").start().unwrap();
    let args = [
        "--http2-prior-knowledge",
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        "-d",
        "",
    ];
    let refused = outside(
        &program,
        OUTSIDE_HOST,
        "/inference.GRPCInferenceService/ModelInfer",
        &args,
    );
    assert_eq!(refused.status, 200);
    assert_eq!(refused.header("grpc-status"), Some("16"));
    assert_eq!(refused.body, "");
}

#[test]
fn a_preflight_to_a_model_is_answered_and_never_redirected() {
    let program = example("seed").start().unwrap();
    let args = [
        "-X",
        "OPTIONS",
        "-H",
        "origin: https://app.example",
        "-H",
        "access-control-request-method: POST",
    ];
    let answered = outside(&program, OUTSIDE_HOST, PREDICT, &args);
    assert_eq!(answered.status, 204);
    assert_eq!(answered.header("access-control-allow-origin"), Some("*"));
    let inside = inside(&program, LOCAL_HOST, PREDICT, &args);
    assert_eq!(
        (inside.status, inside.header("access-control-allow-origin")),
        (204, None)
    );
    let bearer = format!("authorization: Bearer {}", token(&program, "default"));
    let real = outside(
        &program,
        OUTSIDE_HOST,
        PREDICT,
        &[
            "-H",
            "origin: https://app.example",
            "-H",
            &bearer,
            "-d",
            IRIS,
        ],
    );
    assert_eq!(real.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn forged_identity_headers_reach_no_upstream() {
    let dashboard = Upstream::start("dashboard").unwrap();
    let shop = Upstream::start("shop").unwrap();
    let program = example("seed")
        .arg("--backend")
        .arg(format!(
            "kubeflow/centraldashboard:80={}",
            dashboard.address()
        ))
        .arg("--backend")
        .arg(format!("shop/storefront:80={}", shop.address()))
        .start()
        .unwrap();
    let jar = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
    let jar = jar.path().display().to_string();
    let before = dashboard.requests().len();
    for (i, name) in FORGED.iter().enumerate() {
        let header = format!("{name}: victim@example.com");
        assert_eq!(
            outside(&program, "shop.example.com", "/", &["-H", &header]).status,
            200
        );
        assert_eq!(
            testkit::curl([
                "-b",
                &jar,
                "-H",
                &header,
                &format!("{}/", program.external())
            ])
            .unwrap()
            .status,
            200
        );
        let pod = inside(&program, LOCAL_HOST, PREDICT, &["-H", &header, "-d", IRIS]);
        assert_eq!(pod.status, 200);
        let seen = dashboard.wait_for(before + i + 1).unwrap();
        let last = seen.last().unwrap();
        assert_eq!(
            last.values("kubeflow-userid").collect::<Vec<_>>(),
            ["user@example.com"]
        );
        assert_eq!(last.values("kubeflow-groups").collect::<Vec<_>>(), [""]);
        assert!(!last.text().contains("victim"), "{}", last.text());
        let seen = shop.wait_for(i + 1).unwrap();
        assert!(!seen.last().unwrap().text().contains("victim"), "{name}");
    }
}

#[test]
fn the_foreign_application_passes_unchanged() {
    let shop = Upstream::start("shop").unwrap();
    let backend = format!("shop/storefront:80={}", shop.address());
    let program = example("seed")
        .arg("--backend")
        .arg(backend)
        .start()
        .unwrap();
    let address = program.external().strip_prefix("http://").unwrap();
    let request = "PATCH /cart/a%2Fb;v=1?q=%20x&y#z HTTP/1.1\r\nHost: shop.example.com\r\nX-Custom: One, two\r\n\
                   Cookie: a=b; authservice_session=mine\r\nAuthorization: Basic Zm9vOmJhcg==\r\nContent-Length: 5\r\n\r\nh\x01llo";
    shop.answer("HTTP/1.1 418 I'm a teapot\r\nX-Shop: yes\r\nSet-Cookie: s=1\r\nSet-Cookie: t=2\r\nContent-Length: 3\r\n\r\nbye");
    let mut socket = Socket::connect(address).unwrap();
    let response = socket.send(request).unwrap().response().unwrap().unwrap();
    assert_eq!(response.status(), Some(418));
    assert_eq!(response.text(), "bye");
    assert_eq!(response.header("x-shop"), Some("yes"));
    assert_eq!(
        response.values("set-cookie").collect::<Vec<_>>(),
        ["s=1", "t=2"]
    );
    let seen = shop.wait_for(1).unwrap();
    let seen = seen.first().unwrap();
    assert_eq!(
        (seen.method(), seen.target()),
        ("PATCH", "/cart/a%2Fb;v=1?q=%20x&y")
    );
    assert_eq!(seen.text(), "h\x01llo");
    let mut names: Vec<String> = seen
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "authorization",
            "content-length",
            "cookie",
            "host",
            "x-custom",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-request-id"
        ]
    );
    for (name, value) in [
        ("host", "shop.example.com"),
        ("x-custom", "One, two"),
        ("cookie", "a=b; authservice_session=mine"),
        ("authorization", "Basic Zm9vOmJhcg=="),
    ] {
        assert_eq!(seen.header(name), Some(value));
    }
}

#[test]
fn explain_names_the_objects_that_decide() {
    let url = format!("http://{LOCAL_HOST}{PREDICT}");
    let told = sidegate(&[
        "explain",
        "--example",
        "seed",
        "POST",
        &url,
        "--from",
        "pod/default/myapp-pod",
    ]);
    let text = stdout(&told);
    assert!(
        text.contains("level `cluster` of the model holds"),
        "{text}"
    );
    assert!(
        text.contains("answer: forwarded to Service kserve-test/sklearn-iris-predictor-00001:80"),
        "{text}"
    );
    let line = include_str!("../../../../examples/seed/cluster.yaml")
        .lines()
        .position(|l| l == "  name: knative-local-gateway")
        .unwrap();
    assert!(line > 0);
    let json = sidegate(&[
        "explain",
        "--example",
        "seed-broken",
        "POST",
        &url,
        "--output",
        "json",
    ]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(
        (json["outcome"].as_str(), json["status"].as_u64()),
        (Some("denial"), Some(302))
    );
    let steps = json["steps"].as_array().unwrap();
    let check = steps.iter().find(|step| step["stage"] == "check").unwrap();
    assert_eq!(check["object"]["name"], "authn-filter");
    assert_eq!(check["source"]["file"], "examples/seed/cluster.yaml");
    let path = "http://kf.example.com/v1anything";
    let browser = sidegate(&[
        "explain",
        "--example",
        "seed",
        "GET",
        path,
        "-H",
        "accept: text/html",
    ]);
    assert!(
        stdout(&browser).contains("answer: 302 to the login"),
        "{}",
        stdout(&browser)
    );
    let person = sidegate(&[
        "explain",
        "--example",
        "seed",
        "GET",
        path,
        "--as",
        "user:user@example.com",
    ]);
    assert!(
        stdout(&person).contains("answer: forwarded to Service kubeflow/centraldashboard:80"),
        "{}",
        stdout(&person)
    );
}

#[test]
fn the_summary_says_who_may_call() {
    let program = example("seed").start().unwrap();
    for expected in [
        "model kserve-test/sklearn-iris: Ready",
        "who may call: in the cluster any workload, from outside holders of a token",
        "exec myapp-pod -n default --data",
        "token create default -n kserve-test --data",
    ] {
        program.wait_for_stderr(expected).unwrap();
    }
}
