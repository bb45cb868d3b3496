//! The table of clients at `sidegate up`. `cargo xtask authz` holds Envoy with `sidegate authz` to the same.

use testkit::clients::{self, ROUTES, Token};
use testkit::curl;

use super::docs::folder_with_examples;
use super::{SIDEGATE, token};

/// Whether a request was answered by whom it was for: a model or another team's application.
fn arrived(status: u16, grpc: Option<&str>) -> bool {
    !matches!(status, 204 | 302 | 401 | 403 | 503) && !matches!(grpc, Some("7" | "16"))
}

#[test]
fn every_client_is_answered_in_its_language() {
    let folder = folder_with_examples();
    let more = folder.path().join("more.yaml");
    std::fs::write(&more, clients::CLUSTER).unwrap();
    let seed = folder.path().join("examples/seed");
    let program = testkit::Start::new(SIDEGATE)
        .arg(seed.join("cluster.yaml"))
        .arg(seed.join("sidegate.yaml"))
        .arg(more)
        .arg("--mirror")
        .arg(format!(
            "gs://kfserving-examples/models/sklearn/1.0/model={}",
            folder.path().join("examples/models/sklearn-iris").display()
        ))
        .start()
        .unwrap();
    let theirs = format!("Bearer {}", token(&program, "shop"));
    let mut wrong = Vec::new();
    let mut asked = 0;
    for client in clients::clients().unwrap() {
        for route in &ROUTES {
            let authorization = match route.token {
                Token::Own => None,
                Token::Wrong => Some("Bearer a.b.c"),
                Token::OfAnother => Some(&*theirs),
            };
            let at = match route.inside {
                true => program.local(),
                false => program.external(),
            };
            let mut args = client.curl(authorization);
            args.extend(["--header".into(), format!("host: {}", route.host)]);
            args.push(format!("{at}{}", client.target(route)));
            let answer = curl(args).unwrap();
            let grpc = answer.header("grpc-status");
            let arrived = arrived(answer.status, grpc);
            wrong.extend(client.differs(route, &answer, arrived));
            asked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked > 500, "{asked}");
}
