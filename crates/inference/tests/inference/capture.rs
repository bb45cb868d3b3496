//! Recorded requests and answers of other servers, and how ours are held against them.

use bytes::Bytes;
use http::Response;
use inference::encoding::Coding;

/// A request, and what was answered.
pub(crate) struct Probe<'f> {
    pub(crate) title: &'f str,
    pub(crate) method: &'f str,
    pub(crate) path: &'f str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    answer_headers: Vec<(&'f str, &'f str)>,
    answer: &'f str,
}

/// An answer that differs on purpose: the probe, the status, and the answer in full or up to `…`.
pub(crate) type Difference = (&'static str, u16, &'static str);

/// Such answers, by the reason that docs/runtime.md gives.
pub(crate) type Differences = [(&'static str, &'static [Difference])];

/// The requests of a file.
pub(crate) fn probes(file: &str) -> Vec<Probe<'_>> {
    let probes = file.split("\n== ").skip(1);
    probes.map(Probe::parse).collect()
}

/// Asks everything in order and compares the answers. `typed` are those whose body has a content type here and has none there.
pub(crate) fn replay(
    probes: &[Probe<'_>],
    differences: &Differences,
    typed: &[&str],
    ask: impl Fn(&Probe<'_>) -> Response<Bytes>,
) {
    let differences = differences.iter().flat_map(|(_, list)| *list);
    let mut differences: Vec<Difference> = differences.copied().collect();
    let mut wrong = Vec::new();
    for probe in probes {
        let response = plain(ask(probe));
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
            wrong.extend(probe.compare_headers(&response, typed));
        }
    }
    assert!(differences.is_empty(), "no such probes: {differences:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that the page has a line for each reason, with the number of requests.
pub(crate) fn the_page_counts(differences: &Differences) {
    let page = include_str!("../../../../docs/runtime.md");
    for (reason, list) in differences {
        let line = format!("| {reason} | {} |", list.len());
        assert!(page.lines().any(|found| found == line), "{line}");
    }
}

/// The answer as it was before it was compressed.
fn plain(response: Response<Bytes>) -> Response<Bytes> {
    let gzip = |value: &http::HeaderValue| value == "gzip";
    if !response.headers().get("content-encoding").is_some_and(gzip) {
        return response;
    }
    response.map(|body| {
        let inflated = Coding::Gzip.inflate(&body, &mut |_| true);
        Bytes::from(inflated.unwrap())
    })
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

    fn compare_headers(&self, response: &Response<Bytes>, typed: &[&str]) -> Vec<String> {
        let mut found: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), mask(value.to_str().unwrap())))
            .filter(|(name, _)| !(name == "content-type" && typed.contains(&self.title)))
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

pub(crate) fn unescape(text: &str) -> Vec<u8> {
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

pub(crate) fn escape(bytes: &[u8]) -> String {
    let show = |byte: &u8| match byte {
        b'\\' => r"\\".to_owned(),
        0x20..0x7f => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(show).collect()
}

/// Hides fresh ids and times.
pub(crate) fn mask(text: &str) -> String {
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
