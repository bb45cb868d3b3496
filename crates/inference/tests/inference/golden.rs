//! Requests replayed that KServe's Python server was asked, and its answers.

use crate::capture::{self, Differences, Probe, replay, the_page_counts};
use crate::requests::{iris, send, send_as};
use inference::{Compat, Manner};

/// Answers that differ on purpose, by the reason that docs/runtime.md gives.
const DIFFERENCES: &Differences = &[
    (
        "Any content type is read as JSON",
        &[
            ("v1 predict text/plain", 200, r#"{"predictions":[1,1]}"#),
            ("v1 predict form", 200, r#"{"predictions":[1,1]}"#),
            ("v1 predict json;charset", 200, r#"{"predictions":[1,1]}"#),
            ("ce struct charset", 200, r#"{"predictions":[1,1]}"#),
            (
                "infer no ctype",
                200,
                r#"{"model_name":"iris","model_version":null,"id":"<uuid>",…"#,
            ),
            (
                "infer text",
                200,
                r#"{"model_name":"iris","model_version":null,"id":"<uuid>",…"#,
            ),
            (
                "bin json ctype",
                200,
                r#"{"model_name":"iris","model_version":null,"id":"<uuid>",…"#,
            ),
        ],
    ),
    (
        "A client's mistake is 400 where KServe's server answers 500, and the text says what was expected",
        &[
            (
                "v1 list body",
                400,
                r#"{"error":"expected a JSON object with a list of rows in \"instances\""}"#,
            ),
            (
                "v1 null body",
                400,
                r#"{"error":"expected a JSON object with a list of rows in \"instances\""}"#,
            ),
            (
                "v1 number body",
                400,
                r#"{"error":"expected a JSON object with a list of rows in \"instances\""}"#,
            ),
            (
                "v1 {}",
                400,
                r#"{"error":"expected a list of rows in \"instances\", found no such key"}"#,
            ),
            (
                "v1 no instances",
                400,
                r#"{"error":"expected a list of rows in \"instances\", found no such key"}"#,
            ),
            (
                "ce struct notime",
                400,
                r#"{"error":"expected a list of rows in \"instances\", found no such key"}"#,
            ),
            (
                "ce struct data_base64",
                400,
                r#"{"error":"expected a list of rows in \"instances\", found no such key"}"#,
            ),
            (
                "v1 empty instances",
                400,
                r#"{"error":"Found array with 0 sample(s) while a minimum of 1 is required by SVC."}"#,
            ),
            (
                "v1 instances [[]]",
                400,
                r#"{"error":"Found array with 0 feature(s) (shape=(1, 0)) while a minimum of 1 is required by SVC."}"#,
            ),
            (
                "v1 wrong nfeat",
                400,
                r#"{"error":"X has 3 features, but SVC is expecting 4 features as input."}"#,
            ),
            (
                "v1 ragged",
                400,
                r#"{"error":"setting an array element with a sequence: row 1 has 2 values, row 0 has 4"}"#,
            ),
            (
                "v1 1d",
                400,
                r#"{"error":"Expected 2D array, got 1D array instead: expected a list of rows, …"#,
            ),
            (
                "v1 3d",
                400,
                r#"{"error":"Found array with dim 3. Expected <= 2: …"#,
            ),
            (
                "v1 strings",
                400,
                r#"{"error":"could not convert string to float: 'a'"}"#,
            ),
            (
                "v1 null elem",
                400,
                r#"{"error":"Input X contains NaN.\nSVC does not accept missing values: found one in row 0, column 2"}"#,
            ),
            (
                "v1 dict scalars",
                400,
                r#"{"error":"If using all scalar values, you must pass an index: write {\"a\":[…]} …"#,
            ),
            (
                "ce bin bad json",
                400,
                r#"{"error":"Unrecognized request format: unexpected character, expected a string key: line 1 column 2 (char 1)"}"#,
            ),
            (
                "ce bin bad json2",
                400,
                r#"{"error":"Unrecognized request format: unexpected character, expected a string key: line 1 column 2 (char 1)"}"#,
            ),
            (
                "infer BF16",
                400,
                r#"{"error":"invalid datatype 'BF16' in the input input-0: …"#,
            ),
            (
                "infer bad dt",
                400,
                r#"{"error":"invalid datatype 'FLOAT' in the input input-0: …"#,
            ),
            (
                "infer wrong shape",
                400,
                r#"{"error":"cannot reshape array of size 8 into shape (3,4)"}"#,
            ),
            (
                "infer shape[8]",
                400,
                r#"{"error":"Expected 2D array, got 1D array instead: …"#,
            ),
            (
                "infer wrong nfeat",
                400,
                r#"{"error":"X has 3 features, but SVC is expecting 4 features as input."}"#,
            ),
            (
                "infer empty inputs",
                400,
                r#"{"error":"expected at least one tensor in \"inputs\""}"#,
            ),
            (
                "bin short",
                400,
                r#"{"error":"the input input-0 takes 32 bytes, 20 are left in the body"}"#,
            ),
            (
                "bin hl nan",
                400,
                r#"{"error":"expected the length of the JSON in `inference-header-content-length`, …"#,
            ),
            (
                "bin size mismatch",
                400,
                r#"{"error":"cannot reshape array of size 4 into shape (2,4)"}"#,
            ),
        ],
    ),
    (
        "Metadata has names, types and shapes; there is Triton's index",
        &[
            (
                "get /v2/models/iris",
                200,
                r#"{"name":"iris","versions":null,"platform":"sklearn","inputs":[{"name":"input-0","datatype":"FP64","shape":[-1,4]}],"outputs":[{"name":"output-0","datatype":"INT64","shape":[-1],"parameters":{"classes":["0","1","2"]}}]}"#,
            ),
            (
                "get /v2/repository/index",
                405,
                r#"{"detail":"Method Not Allowed"}"#,
            ),
            (
                "index post",
                200,
                r#"[{"name":"iris","version":"","state":"READY","reason":""}]"#,
            ),
        ],
    ),
    (
        "The status is KServe's, the text says more",
        &[
            (
                "bin hl too long",
                400,
                r#"{"error":"expected the length of the JSON in `inference-header-content-length`, at most 142"}"#,
            ),
            (
                "bin no hdr",
                400,
                r#"{"error":"received byte inputs, but the 'inference-header-content-length' header is missing."}"#,
            ),
        ],
    ),
    (
        "Text in V2 is read, in the shape that it has",
        &[
            (
                "infer BYTES",
                200,
                r#"{"model_name":"iris","model_version":null,"id":"<uuid>",…"#,
            ),
            (
                "bin BYTES",
                200,
                r#"{"model_name":"iris","model_version":null,"id":"<uuid>",…"#,
            ),
        ],
    ),
];

/// Answers whose body has a content type here and has none there.
const TYPED: &[&str] = &[
    "infer outputs binary",
    "infer params binary_out",
    "bin outputs bin",
    "bin all out",
    "v2 ce bin",
];

#[test]
fn answers_are_those_of_kserve() {
    let model = iris();
    replay(&probes(), DIFFERENCES, TYPED, |probe| {
        send(
            &model,
            probe.method,
            probe.path,
            &probe.headers,
            &probe.body,
        )
    });
}

/// What KServe's server does not have, or cannot: Triton's index, and text with a shape.
const MORE: [&str; 4] = [
    "get /v2/repository/index",
    "index post",
    "infer BYTES",
    "bin BYTES",
];

#[test]
fn strict_answers_have_all_statuses_of_kserve() {
    let model = iris();
    let strict = Manner {
        compat: Compat::Strict,
        ..Manner::default()
    };
    let mut wrong = Vec::new();
    for probe in probes() {
        let response = send_as(
            &strict,
            &model,
            probe.method,
            probe.path,
            &probe.headers,
            &probe.body,
        );
        let found = response.status().as_u16();
        if (found == probe.status) == MORE.contains(&probe.title) {
            wrong.push(format!(
                "{}: {found}, expected {}",
                probe.title, probe.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_gives_every_reason() {
    the_page_counts(DIFFERENCES);
}

fn probes() -> Vec<Probe<'static>> {
    let mut probes = capture::probes(include_str!("../golden/v1.txt"));
    probes.extend(capture::probes(include_str!("../golden/v2.txt")));
    assert_eq!(probes.len(), 144);
    probes
}
