//! What lints know about the platform and its modes, and that all are tested.

use super::*;

/// A tenant's routes on a host of the platform (ISTIO-SECURITY-2026-002).
#[test]
fn routes_on_a_host_of_the_platform() {
    let platform = "apiVersion: sidegate.dev/v1alpha1\nkind: Sidegate\nmetadata: {name: s, namespace: infra}\nspec: {platform: {gateways: [infra/gw], namespaces: [infra]}}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: dashboard, namespace: infra}\nspec: {hosts: [kubeflow.example.com], gateways: [gw], http: [{route: [{destination: {host: dash.infra.svc.cluster.local, port: {number: 80}}}]}]}\n---\n";
    let tenant = |host: &str| {
        platform.to_owned()
            + &route(&format!(
                "hosts: [{host}], gateways: [infra/gw], http: [{{match: [{{uri: {{prefix: /pipeline}}}}], route: [{{destination: {{host: mine.apps.svc.cluster.local, port: {{number: 80}}}}}}]}}]"
            ))
    };
    check(
        "R6",
        &tenant("kubeflow.example.com"),
        &tenant("shop.example.com"),
    );
    // A profile's notebooks are served by the platform's host; other paths are not.
    let profile = |path: &str| {
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: apps, labels: {app.kubernetes.io/part-of: kubeflow-profile}}\n---\n";
        namespace.to_owned() + &tenant("kubeflow.example.com").replace("/pipeline", path)
    };
    check(
        "R6",
        &profile("/pipeline"),
        &profile("/notebook/apps/mine/"),
    );
}

/// Access levels take the place of the login service: what is wrong about how
/// it is asked is wrong no more.
#[test]
fn a_login_that_access_levels_take_over_is_not_told_about() {
    let mesh = BASE.replace(
        "name: check\n      envoyExtAuthzHttp: {service: checker",
        "name: oauth2-proxy\n      envoyExtAuthzHttp: {service: oauth2-proxy",
    );
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: oauth2-proxy, namespace: istio-system}\nspec: {ports: [{port: 80}]}\n---\n";
    let login = policy(
        "action: CUSTOM, provider: {name: oauth2-proxy}, rules: [{to: [{operation: {notPaths: ['/dex/*']}}]}]",
    );
    let sidegate = |mode: &str| {
        format!(
            "apiVersion: sidegate.dev/v1alpha1\nkind: Sidegate\nmetadata: {{name: s, namespace: infra}}\nspec: {{mode: {mode}, platform: {{gateways: [infra/gw], namespaces: [infra]}}, entrances: {{external: infra/gw}}}}\n---\n"
        )
    };
    let found = |mode: &str| {
        let text = format!("{mesh}{service}{login}{}", sidegate(mode));
        let cluster = resources::parse(&[("t.yaml".into(), text)]).unwrap();
        let snapshot = Snapshot::compile(&cluster, &Settings::default()).unwrap();
        lint(&cluster, &snapshot).iter().any(|f| f.id == "P1")
    };
    assert!(found("as-written"));
    assert!(!found("enforce"));
}

/// The catalogue: each id that a lint has, with a test that names it.
#[test]
fn every_lint_is_tested_and_every_id_of_the_catalogue_has_a_lint() {
    let sources = [
        include_str!("../filters.rs"),
        include_str!("../hosts.rs"),
        include_str!("../paths.rs"),
        include_str!("../policies.rs"),
        include_str!("../ports.rs"),
        include_str!("../providers.rs"),
        include_str!("../routes.rs"),
        include_str!("../secrets.rs"),
        include_str!("../sources.rs"),
        include_str!("../tokens.rs"),
    ];
    let mut ids: Vec<&str> = Vec::new();
    for source in sources {
        for rest in source.split("Lint(").skip(1) {
            let id = rest
                .trim_start()
                .strip_prefix('"')
                .and_then(|r| r.split('"').next());
            ids.extend(id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let catalogue = [
        "C1", "C2", "C3", "C4", "C5", "H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9", "H10",
        "M1", "M2", "M3", "M4", "M5", "M6", "L1", "L2", "L3",
    ];
    for id in catalogue {
        assert!(ids.contains(&id), "{id} of the catalogue has no lint");
    }
    let tests = concat!(include_str!("../tests.rs"), include_str!("platform.rs"));
    let tests: String = tests
        .lines()
        .filter(|l| !l.contains("\"C1\", \"C2\"") && !l.contains("\"M1\", \"M2\""))
        .collect();
    for id in ids {
        assert!(tests.contains(&format!("\"{id}\"")), "{id} has no test");
    }
}
