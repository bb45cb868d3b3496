//! `sidegate runtime` asked what KServe's servers and MLServer were asked, over sockets; what differs is what differs without.

use bytes::Bytes;
use http::Response;

use super::capture::{Probe, probes, replay};
use super::runtime::{Server, one_model};

/// The answer of a started server, without the headers of the transport.
fn ask(server: &Server, probe: &Probe<'_>) -> Response<Bytes> {
    let mut request =
        format!("{} {} HTTP/1.1\r\nhost: x\r\n", probe.method, probe.path).into_bytes();
    for (name, value) in &probe.headers {
        request.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    request.extend(format!("content-length: {}\r\n\r\n", probe.body.len()).into_bytes());
    request.extend(&probe.body);
    let mut socket = server.socket();
    socket.send(request).unwrap();
    let answer = match probe.method {
        "HEAD" => socket.response_to_head(),
        _ => socket.response(),
    };
    let answer = answer.unwrap().unwrap();
    let mut response = Response::builder().status(answer.status().unwrap());
    for (name, value) in &answer.headers {
        let transport = ["date", "content-length", "connection", "transfer-encoding"];
        if !transport.contains(&name.to_lowercase().as_str()) {
            response = response.header(name, value);
        }
    }
    response.body(Bytes::from(answer.body)).unwrap()
}

#[test]
fn the_program_answers_every_recorded_request_of_kserve() {
    let folder = one_model();
    let server = Server::start(folder.path(), &[]);
    let mut all = probes(include_str!("../../../inference/tests/golden/v1.txt"));
    all.extend(probes(include_str!(
        "../../../inference/tests/golden/v2.txt"
    )));
    assert_eq!(all.len(), 147);
    // What is above the library: bodies are inflated, and a folder knows why there is no model.
    let above = all.extract_if(.., |probe| {
        ["v1 gzip", "load nobody"].contains(&probe.title)
    });
    let above: Vec<(u16, String)> = above
        .map(|probe| {
            let answer = ask(&server, &probe);
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            (answer.status().as_u16(), text)
        })
        .collect();
    let why = r#"{"error":"Model with name nope is not ready. There is no such folder in the model repository."}"#;
    let expected = [(200, r#"{"predictions":[1,1]}"#), (503, why)];
    assert_eq!(
        above,
        expected.map(|(status, text)| (status, text.to_owned()))
    );
    let typed = [
        "infer outputs binary",
        "infer params binary_out",
        "bin outputs bin",
        "bin all out",
        "v2 ce bin",
    ];
    replay("kserve", &all, &typed, |probe| ask(&server, probe));
}

#[test]
fn the_program_answers_every_recorded_request_for_boosters() {
    let serve = |framework: &str, name: &str, file: &str, bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), bytes).unwrap();
        let (framework, name) = (
            format!("--framework={framework}"),
            format!("--model_name={name}"),
        );
        Server::start_in(folder.path(), &["--model_dir=.", &framework, &name])
    };
    let xgb = include_bytes!("../../../inference/tests/models/iris.ubj");
    let lgb = include_bytes!("../../../inference/tests/models/iris.bst");
    let xgb = serve("xgboost", "xgb", "model.ubj", xgb);
    let lgb = serve("lightgbm", "lgb", "model.bst", lgb);
    let all = probes(include_str!("../../../inference/tests/golden/boosters.txt"));
    let typed = ["xgb v2 bin out", "lgb v2 bin out"];
    replay("boosters", &all, &typed, |probe| {
        ask(
            if probe.title.starts_with("xgb") {
                &xgb
            } else {
                &lgb
            },
            probe,
        )
    });
}

#[test]
fn the_program_answers_every_recorded_request_of_mlserver() {
    let folder = one_model();
    std::fs::write(
        folder.path().join("model-settings.json"),
        r#"{"name": "iris", "parameters": {"version": "v1"}}"#,
    )
    .unwrap();
    let args = ["--compat=mlserver", "--model_dir=.", "--metrics_port=0"];
    let server = Server::start_in(folder.path(), &args);
    let all = probes(include_str!("../../../inference/tests/golden/mlserver.txt"));
    replay("mlserver", &all, &[], |probe| ask(&server, probe));
}

/// With files as the runtimes of MLServer find them.
#[test]
fn the_program_answers_every_recorded_request_for_mlserver_s_boosters() {
    let folder = tempfile::tempdir().unwrap();
    let models = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../inference/tests/models/mlserver"
    );
    for model in std::fs::read_dir(models).unwrap() {
        let from = model.unwrap().path();
        let name = from.file_name().unwrap().to_str().unwrap();
        let to = folder.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(&from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        let class = match name.split('-').next() {
            Some("xgb") => "mlserver_xgboost.XGBoostModel",
            Some("lgb") => "mlserver_lightgbm.LightGBMModel",
            _ => "mlserver_catboost.CatboostModel",
        };
        let settings =
            format!(r#"{{"implementation": "{class}", "parameters": {{"version": "v1"}}}}"#);
        std::fs::write(to.join("model-settings.json"), settings).unwrap();
    }
    let args = ["--compat=mlserver", "--model_dir=.", "--metrics_port=0"];
    let server = Server::start_in(folder.path(), &args);
    let all = probes(include_str!(
        "../../../inference/tests/golden/mlserver_boosters.txt"
    ));
    assert_eq!(all.len(), 70);
    replay("mlserver_boosters", &all, &[], |probe| ask(&server, probe));
}
