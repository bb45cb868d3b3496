//! `sidegate report`.

use serde_json::Value;

use super::{sidegate, stderr, stdout};

/// What stands on the page between a claim and its next element.
fn claim<'p>(page: &'p str, id: &str) -> &'p str {
    let (_, after) = page
        .split_once(&format!("<details data-claim=\"{id}\""))
        .unwrap();
    after.split_once("</summary>").unwrap().0
}

#[test]
fn the_page_says_what_verify_says() {
    let folder = tempfile::tempdir().unwrap();
    for example in ["seed", "seed-broken", "seed-blog-fix", "kubeflow"] {
        let file = folder.path().join(format!("{example}.html"));
        let file = file.display().to_string();
        let told = sidegate(&[
            "report",
            "--example",
            example,
            "-o",
            &file,
            "--output",
            "json",
        ]);
        assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
        let told: Value = serde_json::from_str(&stdout(&told)).unwrap();
        let page = std::fs::read_to_string(&file).unwrap();
        assert_eq!(told["bytes"], page.len());
        let verified = sidegate(&["verify", "--example", example, "--output", "json"]);
        let verified: Value = serde_json::from_str(&stdout(&verified)).unwrap();
        assert_eq!(told["verdict"], verified["verdict"], "{example}");
        for one in verified["claims"].as_array().unwrap() {
            let summary = claim(&page, one["id"].as_str().unwrap());
            let verdict = format!(">{}<", one["verdict"].as_str().unwrap());
            assert!(
                summary.contains(&verdict),
                "{example}: {verdict}\n{summary}"
            );
        }
        let lints = verified["hygiene"].as_array().unwrap();
        assert_eq!(told["hygiene"], lints.len());
        for lint in lints {
            let source = &lint["source"];
            let place = format!("{}:{}", source["file"].as_str().unwrap(), source["line"]);
            assert!(page.contains(&place), "{example}: {place}");
        }
    }
}

#[test]
fn a_comparison_shows_before_and_after() {
    let page = sidegate(&[
        "report",
        "--example",
        "seed-broken",
        "--compare",
        "example:seed-blog-fix",
        "-o",
        "-",
    ]);
    assert_eq!(page.status.code(), Some(0), "{}", stderr(&page));
    let page = stdout(&page);
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    let count = |example: &str| {
        let verified = sidegate(&["verify", "--example", example, "--output", "json"]);
        let verified: Value = serde_json::from_str(&stdout(&verified)).unwrap();
        let claims = verified["claims"].as_array().unwrap();
        let broken = claims.iter().filter(|c| c["verdict"] == "violated").count();
        format!("{broken} of {} claims do not hold", claims.len())
    };
    for expected in [
        format!("Before: {}", count("seed-broken")),
        format!("After: {}", count("seed-blog-fix")),
        "reach something they did not reach".to_owned(),
    ] {
        assert!(page.contains(&expected), "{expected}");
    }
}

#[test]
fn an_upgrade_is_a_change() {
    let page = sidegate(&[
        "report",
        "--example",
        "seed-broken",
        "--istio-version",
        "1.18..1.19",
        "-o",
        "-",
    ]);
    assert_eq!(page.status.code(), Some(0), "{}", stderr(&page));
    let page = stdout(&page);
    assert!(
        page.contains("compared with</span> Istio 1.19"),
        "names what is compared"
    );
    assert!(claim(&page, "platform-needs-login").contains("after:"));
    assert!(page.contains("reach something they did not reach"));
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let output = sidegate(&[
        "report",
        "--example",
        "seed",
        "-o",
        "/nonexistent/report.html",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(
        error.contains("`/nonexistent/report.html` cannot be written: "),
        "{error}"
    );
}
