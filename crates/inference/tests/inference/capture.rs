//! Recorded requests and answers of other servers, and how ours are held against them.

use crate::requests::send_as;
use bytes::Bytes;
use http::Response;
use inference::encoding::Coding;
use inference::{Manner, Repository};

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

/// The requests of a file.
pub(crate) fn probes(file: &str) -> Vec<Probe<'_>> {
    let probes = file.split("\n== ").skip(1);
    probes.map(Probe::parse).collect()
}

/// An answer that differs on purpose.
#[derive(Debug)]
struct Difference {
    reason: &'static str,
    recording: &'static str,
    title: &'static str,
    status: u16,
    answer: &'static str,
}

/// All of them, in the order of the file.
fn differences() -> Vec<Difference> {
    let file = include_str!("../golden/differences.txt");
    let mut found = Vec::new();
    for part in file.split("\n# ").skip(1) {
        let mut lines = part.lines();
        let reason = lines.next().unwrap();
        found.extend(lines.filter(|line| !line.is_empty()).map(|line| {
            let (place, outcome) = line.split_once(": ").unwrap();
            let (recording, title) = place.split_once(' ').unwrap();
            let (status, answer) = outcome.split_once(' ').unwrap_or((outcome, ""));
            Difference {
                reason,
                recording,
                title,
                status: status.parse().unwrap(),
                answer,
            }
        }));
    }
    found
}

/// Answers held against the recorded ones, but for those that differ on purpose.
pub(crate) struct Comparison {
    pending: Vec<Difference>,
    wrong: Vec<String>,
}

impl Comparison {
    /// With the answers of a recording.
    pub(crate) fn with(recording: &str) -> Self {
        let mut pending = differences();
        pending.retain(|difference| difference.recording == recording);
        assert!(!pending.is_empty(), "no recording `{recording}`");
        Self {
            pending,
            wrong: Vec::new(),
        }
    }

    fn take(&mut self, title: &str) -> Option<Difference> {
        let mut titles = self.pending.iter().map(|difference| difference.title);
        let at = titles.position(|known| known == title)?;
        Some(self.pending.remove(at))
    }

    /// Whether the answer is the recorded one. Status and text are compared.
    pub(crate) fn compare(
        &mut self,
        title: &str,
        recorded: (u16, &str),
        found: (u16, &str),
    ) -> bool {
        let difference = self.take(title);
        let expected = difference
            .as_ref()
            .map_or(recorded, |d| (d.status, d.answer));
        if difference.is_some() && expected == recorded {
            self.wrong.push(format!("{title}: no difference any more"));
        }
        let right = expected.0 == found.0 && matches(expected.1, found.1);
        if !right {
            self.wrong
                .push(format!("{title}: {found:?}\n    expected: {expected:?}"));
        }
        right && difference.is_none()
    }

    /// For a request that is answered elsewhere.
    pub(crate) fn pass_over(&mut self, title: &str) {
        assert!(self.take(title).is_some(), "{title}");
    }

    /// Fails with all answers that are not as expected.
    pub(crate) fn end(self) {
        let Self { pending, wrong } = self;
        assert!(pending.is_empty(), "no such requests: {pending:?}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Asks everything in order and compares the answers. `typed` are those whose body has a content type here and has none there.
pub(crate) fn replay(
    recording: &str,
    probes: &[Probe<'_>],
    typed: &[&str],
    ask: impl Fn(&Probe<'_>) -> Response<Bytes>,
) {
    let mut comparison = Comparison::with(recording);
    for probe in probes {
        let response = plain(ask(probe));
        // The transport sends the head alone.
        let found = if probe.method == "HEAD" {
            String::new()
        } else {
            mask(&escape(response.body()))
        };
        let status = response.status().as_u16();
        let recorded = (probe.status, probe.answer);
        if comparison.compare(probe.title, recorded, (status, &found)) {
            let headers = probe.compare_headers(&response, typed);
            comparison.wrong.extend(headers);
        }
    }
    comparison.end();
}

#[test]
fn the_page_counts_every_reason() {
    let page = include_str!("../../../../docs/runtime.md");
    let all = differences();
    for Difference { reason, .. } in &all {
        let count = all.iter().filter(|other| other.reason == *reason).count();
        let line = format!("| {reason} | {count} |");
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
    /// The answer to the same request.
    pub(crate) fn send(&self, manner: &Manner, models: &dyn Repository) -> Response<Bytes> {
        send_as(
            manner,
            models,
            self.method,
            self.path,
            &self.headers,
            &self.body,
        )
    }

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
