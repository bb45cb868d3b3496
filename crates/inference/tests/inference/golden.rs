//! Requests replayed that KServe's Python server was asked, and its answers.

use crate::requests::{iris, send, send_as};
use http::Response;
use inference::{Compat, Manner};

struct Probe<'f> {
    title: &'f str,
    method: &'f str,
    path: &'f str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    status: u16,
    answer_headers: Vec<(&'f str, &'f str)>,
    answer: &'f str,
}

/// An answer that differs on purpose: the probe, the status, and the answer in full or up to `…`.
type Difference = (&'static str, u16, &'static str);

/// Answers that differ on purpose, by the reason that docs/runtime.md gives.
const DIFFERENCES: &[(&str, &[Difference])] = &[
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
    let differences = DIFFERENCES.iter().flat_map(|(_, list)| *list);
    let mut differences: Vec<Difference> = differences.copied().collect();
    let probes = probes();
    let mut wrong = Vec::new();
    for probe in &probes {
        let response = send(
            &model,
            probe.method,
            probe.path,
            &probe.headers,
            &probe.body,
        );
        let difference = differences
            .iter()
            .position(|(title, ..)| *title == probe.title)
            .map(|at| differences.remove(at));
        let (status, answer) = match difference {
            None => (probe.status, probe.answer.to_owned()),
            Some((_, status, answer)) => match answer.strip_suffix('…') {
                Some(start) => (status, escape(start.as_bytes()) + "…"),
                None => (status, escape(answer.as_bytes())),
            },
        };
        // The transport sends the head alone.
        let found = if probe.method == "HEAD" {
            String::new()
        } else {
            mask(&escape(response.body()))
        };
        let mended = difference.is_some();
        if mended && (status, answer.as_str()) == (probe.status, probe.answer) {
            wrong.push(format!("{}: no difference any more", probe.title));
        }
        if response.status().as_u16() != status || !matches(&answer, &found) {
            wrong.push(format!(
                "{}: {} {found}\n    expected: {status} {answer}",
                probe.title,
                response.status()
            ));
        } else if !mended {
            wrong.extend(probe.compare_headers(&response));
        }
    }
    assert!(differences.is_empty(), "no such probes: {differences:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
    let page = include_str!("../../../../docs/runtime.md");
    for (reason, list) in DIFFERENCES {
        let line = format!("| {reason} | {} |", list.len());
        assert!(page.lines().any(|found| found == line), "{line}");
    }
}

fn probes() -> Vec<Probe<'static>> {
    let files = [
        include_str!("../golden/v1.txt"),
        include_str!("../golden/v2.txt"),
    ];
    let probes: Vec<Probe<'_>> = files
        .into_iter()
        .flat_map(|file| file.split("\n== ").skip(1).map(Probe::parse))
        .collect();
    assert_eq!(probes.len(), 144);
    probes
}

fn matches(expected: &str, found: &str) -> bool {
    match expected.strip_suffix('…') {
        Some(start) => found.starts_with(start),
        None => found == expected,
    }
}

impl<'f> Probe<'f> {
    fn parse(text: &'f str) -> Self {
        let mut lines = text.trim_end_matches('\n').split('\n').peekable();
        let title = lines.next().unwrap();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let (mut headers, mut body) = (Vec::new(), Vec::new());
        let status = loop {
            let line = lines.next().unwrap();
            if let Some(text) = line.strip_prefix("> ") {
                body = unescape(text);
            } else if let Some((name, value)) = line.split_once(": ") {
                headers.push((name.to_owned(), value.to_owned()));
            } else if line != ">" {
                break line.parse().unwrap();
            }
        };
        let rest: Vec<&str> = lines.collect();
        let (answer, answer_headers) = rest.split_last().unwrap();
        let answer_headers = answer_headers
            .iter()
            .map(|line| line.split_once(": ").unwrap())
            .collect();
        let answer = answer.strip_prefix("<").unwrap().trim_start();
        Self {
            title,
            method,
            path,
            headers,
            body,
            status,
            answer_headers,
            answer,
        }
    }

    fn compare_headers(&self, response: &Response<bytes::Bytes>) -> Vec<String> {
        let mut found: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), mask(value.to_str().unwrap())))
            .filter(|(name, _)| !(name == "content-type" && TYPED.contains(&self.title)))
            .collect();
        let mut expected: Vec<(String, String)> = self
            .answer_headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        found.sort();
        expected.sort();
        if found == expected {
            Vec::new()
        } else {
            vec![format!(
                "{}: {found:?}\n    expected: {expected:?}",
                self.title
            )]
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(u8::try_from(character).unwrap());
        } else if characters.next() == Some('x') {
            let digits: String = characters.by_ref().take(2).collect();
            out.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            out.push(b'\\');
        }
    }
    out
}

fn escape(bytes: &[u8]) -> String {
    let show = |byte: &u8| match byte {
        b'\\' => r"\\".to_owned(),
        0x20..0x7f => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(show).collect()
}

/// Hides fresh ids and times.
fn mask(text: &str) -> String {
    let shaped = |window: &str, shape: &str| {
        window.len() == shape.len()
            && window
                .bytes()
                .zip(shape.bytes())
                .all(|(byte, shape)| match shape {
                    b'h' => byte.is_ascii_hexdigit(),
                    b'd' => byte.is_ascii_digit(),
                    _ => byte == shape,
                })
    };
    let mut out = String::new();
    let masks = [
        ("hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh", "<uuid>"),
        ("dddd-dd-ddTdd:dd:dd.dddddd+00:00", "<time>"),
    ];
    let mut rest = text.chars();
    loop {
        let here = rest.as_str();
        let hit = masks.iter().find(|(shape, _)| {
            here.get(..shape.len())
                .is_some_and(|window| shaped(window, shape))
        });
        if let Some((shape, name)) = hit {
            out.push_str(name);
            rest.nth(shape.len() - 1);
        } else if let Some(character) = rest.next() {
            out.push(character);
        } else {
            return out;
        }
    }
}
