//! Compressed bodies: read where a model of `sidegate up` answers, untouched on their way to anybody else.

use std::io::Write as _;

use testkit::Upstream;

use super::runtime_edges::packed;
use super::{IRIS, LOCAL_HOST, PREDICT, example, inside, outside};

const GZIP: &str = "content-encoding: gzip";

fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let data = format!("@{}", file.path().display());
    (file, data)
}

#[test]
fn models_read_compressed_bodies_and_others_get_them_as_they_are() {
    let dashboard = Upstream::start("dashboard").unwrap();
    let program = example("seed-blog-fix")
        .arg("--backend")
        .arg(format!(
            "kubeflow/centraldashboard:80={}",
            dashboard.address()
        ))
        .arg("--limit")
        .arg("body-bytes=2000000")
        .start()
        .unwrap();
    let ask = |headers: &[&str], body: &[u8]| {
        let (_file, data) = file(body);
        let mut args = vec!["-H", "expect:", "--data-binary", &data];
        headers
            .iter()
            .for_each(|header| args.extend(["-H", *header]));
        inside(&program, LOCAL_HOST, PREDICT, &args)
    };
    let iris = packed(IRIS.as_bytes());
    let answer = ask(&[GZIP], &iris);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"predictions":[1,1]}"#)
    );
    // The bound holds for what comes out, and what is no gzip is a mistake of the client.
    assert_eq!(ask(&[GZIP], &packed(&vec![b' '; 3_000_000])).status, 413);
    assert_eq!(ask(&[GZIP], &iris[..iris.len() / 2]).status, 400);
    assert_eq!(ask(&[GZIP], IRIS.as_bytes()).status, 400);
    let answer = ask(&["content-encoding: br"], &iris);
    assert_eq!(answer.status, 415);
    assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"));

    let (_file, data) = file(&iris);
    let args = ["-H", "expect:", "-H", GZIP, "--data-binary", &data];
    let answer = outside(&program, "kf.example.com", "/v1anything", &args);
    assert_eq!(answer.status, 200);
    let seen = dashboard.wait_for(1).unwrap();
    assert_eq!(seen[0].header("content-encoding"), Some("gzip"));
    assert_eq!(seen[0].body, iris);
}
