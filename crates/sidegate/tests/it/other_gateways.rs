//! docs/other-gateways.md, and what `sidegate authz manifests --for` prints. `cargo xtask authz` starts the gateways.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::authz::{Authz, SEED};
use super::docs::{commands, folder_with_examples};
use super::{SIDEGATE, stderr, stdout};

const PAGE: &str = include_str!("../../../../docs/other-gateways.md");

/// The objects that are printed.
pub(super) fn printed(gateway: &str, more: &[&str]) -> (String, Vec<Value>) {
    let folder = folder_with_examples();
    let output = Command::new(SIDEGATE)
        .args([
            "authz",
            "manifests",
            "--for",
            gateway,
            "-f",
            SEED[0],
            SEED[1],
        ])
        .args(more)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let objects = text.split("\n---\n").skip(1);
    let objects = objects.map(|object| serde_saphyr::from_str(object).unwrap());
    (text.clone(), objects.collect())
}

fn of<'v>(objects: &'v [Value], kind: &str, name: &str) -> &'v Value {
    let mut objects = objects.iter();
    let found = objects.find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn commands_of_the_page() {
    let folder = folder_with_examples();
    let mut gateways = BTreeSet::new();
    for command in commands(PAGE) {
        let output = Command::new("sh")
            .args(["-c", &command.replace("sidegate ", &format!("{SIDEGATE} "))])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}\n{}", stderr(&output));
        let gateway = command.split("--for ").nth(1).unwrap();
        gateways.insert(gateway.split(' ').next().unwrap().to_owned());
        // The authorizer is started as it would be anywhere.
        let told = stdout(&output);
        assert!(told.contains("kind: Deployment"), "{command}");
        let file = folder.path().join("printed.yaml");
        std::fs::write(&file, told).unwrap();
        drop(Authz::start_with(
            folder.path(),
            &["-f", SEED[0], SEED[1], "printed.yaml"],
            "",
        ));
    }
    assert_eq!(gateways.len(), 6, "{gateways:?}");
}

/// Each header that says who somebody is, and those that sessions and calls are known by.
#[test]
fn every_list_has_every_header_that_goes_on() {
    let handed: Vec<&str> = ext_authz::handed().collect();
    let all = handed.len();
    assert!(all > 15 && handed.contains(&"cookie") && handed.contains(&"kubeflow-userid"));
    let same = |list: &[String]| {
        let list: BTreeSet<String> = list.iter().map(|name| name.to_ascii_lowercase()).collect();
        let expected: BTreeSet<String> = handed.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(list, expected);
    };
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let (_, objects) = printed("nginx", &[]);
    let files = &of(&objects, "ConfigMap", "sidegate-nginx")["data"];
    let ask = files["ask.conf"].as_str().unwrap();
    for directive in ["proxy_set_header", "grpc_set_header"] {
        let lines = ask.lines().filter_map(|line| line.strip_prefix(directive));
        let lines =
            lines.filter(|line| line.contains("$sidegate_") && !line.contains("connection"));
        let names: Vec<String> = lines
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .collect();
        same(&names);
    }
    let (_, objects) = printed("traefik", &[]);
    for side in ["external", "local"] {
        let middleware = of(&objects, "Middleware", &format!("sidegate-{side}"));
        let forward = &middleware["spec"]["forwardAuth"];
        same(&texts(&forward["authResponseHeaders"]));
        assert_eq!(forward["trustForwardHeader"], false);
        let address = forward["address"].as_str().unwrap();
        assert!(
            address.ends_with(&format!(":9000/forwarded/{side}")),
            "{address}"
        );
    }
    let (_, objects) = printed("caddy", &[]);
    let file = &of(&objects, "ConfigMap", "sidegate-caddy")["data"]["sidegate.caddy"];
    for line in file.as_str().unwrap().lines() {
        if let Some((_, names)) = line.split_once("copy_headers ") {
            same(&names.split(' ').map(str::to_owned).collect::<Vec<_>>());
        }
    }
    let (_, objects) = printed("envoy-gateway", &[]);
    let mut policies = objects
        .iter()
        .filter(|object| object["kind"] == "SecurityPolicy");
    assert!(policies.clone().count() >= 2);
    assert!(policies.all(|policy| {
        let auth = &policy["spec"]["extAuth"];
        same(&texts(&auth["http"]["headersToBackend"]));
        let seen = texts(&auth["headersToExtAuth"]);
        assert!(
            handed
                .iter()
                .all(|name| seen.iter().any(|seen| seen == name))
        );
        auth["failOpen"] == false
    }));
}

#[test]
fn each_side_says_which_it_is() {
    let (text, objects) = printed("contour", &[]);
    for side in ["external", "local"] {
        assert!(text.contains(&format!("sidegate-place: {side}")), "{text}");
    }
    assert_eq!(
        of(&objects, "ExtensionService", "sidegate-authz")["spec"]["protocol"],
        "h2c"
    );
    for (more, expected) in [(&[][..], "authority"), (&["--http"], "path_prefix")] {
        let (_, objects) = printed("envoy", more);
        let files = &of(&objects, "ConfigMap", "sidegate-envoy")["data"];
        for side in ["external", "local"] {
            let filter = files[format!("{side}.yaml")].as_str().unwrap();
            let line = filter.lines().find(|line| line.contains(expected)).unwrap();
            assert!(line.contains(side), "{line}");
            assert!(filter.contains("failure_mode_allow: false"), "{filter}");
        }
    }
}

#[test]
fn options_of_istio_are_refused_elsewhere() {
    let folder = folder_with_examples();
    let output = Command::new(SIDEGATE)
        .args([
            "authz",
            "manifests",
            "--for",
            "nginx",
            "--http",
            "-f",
            SEED[0],
            SEED[1],
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let told = stderr(&output);
    assert!(told.contains("`--http`: not with `--for nginx`"), "{told}");
}
