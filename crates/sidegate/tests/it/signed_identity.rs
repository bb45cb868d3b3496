//! Who is calling, as upstreams of `sidegate up` are told.

use tempfile::NamedTempFile;
use testkit::{Start, Upstream, curl};

use super::{SIDEGATE, log_in};

const CLUSTER: &str = include_str!("../../../../examples/seed/cluster.yaml");
const OURS: &str = include_str!("../../../../examples/seed/sidegate.yaml");

#[test]
fn the_platform_is_told_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let ours = OURS.replacen("spec:\n", "spec:\n  signedIdentity: {issuer: here}\n", 1);
    std::fs::write(
        folder.path().join("cluster.yaml"),
        format!("{CLUSTER}\n---\n{ours}"),
    )
    .unwrap();
    let upstream = Upstream::start("dashboard").unwrap();
    let shop = Upstream::start("shop").unwrap();
    let program = Start::new(SIDEGATE)
        .arg("--health=127.0.0.1:0")
        .arg("--backend")
        .arg(format!("kubeflow/centraldashboard={}", upstream.address()))
        .arg("--backend")
        .arg(format!("shop/storefront={}", shop.address()))
        .arg(folder.path())
        .start()
        .unwrap();
    let jar = NamedTempFile::new().unwrap();
    assert_eq!(log_in(&program, jar.path(), "12341234").status, 200);
    let requests = upstream.requests();
    let told = requests.last().unwrap().header("x-sidegate-identity");
    let told = told.unwrap().to_owned();
    let claims = super::authz::part(told.split('.').nth(1).unwrap());
    assert_eq!(claims["iss"], "here");
    assert_eq!(claims["aud"], "kubeflow/centraldashboard");
    assert_eq!(claims["sub"], "user@example.com");
    let said = program.stderr();
    let health = said
        .lines()
        .find_map(|line| line.strip_prefix("health on "))
        .unwrap();
    let keys = curl([format!("http://{health}/.well-known/jwks.json")]).unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys.body).unwrap();
    let head = super::authz::part(told.split('.').next().unwrap());
    assert_eq!(keys["keys"][0]["kid"], head["kid"]);
    let ready = curl([format!("http://{health}/readyz")]).unwrap();
    assert_eq!(ready.status, 200);
    let forged = [
        "-H",
        "x-sidegate-identity: x",
        "-H",
        "X_Sidegate_Identity: x",
    ];
    let host = "host: shop.example.com";
    let url = format!("{}/cart", program.external());
    curl([&forged[..], &["-H", host, &url]].concat()).unwrap();
    let arrived = shop.wait_for(1).unwrap();
    for name in ["x-sidegate-identity", "x_sidegate_identity"] {
        assert_eq!(arrived[0].header(name), None);
    }
}
