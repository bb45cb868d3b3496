//! Path normalisation as Istio configures Envoy
//! (envoy `source/common/http/path_utility.cc`; four modes of the mesh).

use resources::mesh::Normalization;

/// A path that has no single reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path cannot be normalised: {0}")]
pub struct BadPath(pub &'static str);

/// Normalises a path without query.
///
/// # Errors
/// Control bytes, bytes outside ASCII, an encoded NUL, or a path that does not
/// begin with `/`.
pub fn normalise(path: &str, mode: Normalization) -> Result<String, BadPath> {
    normalise_with(path, mode, true)
}

/// Whether no rules change or refuse this byte, other than for what is before it.
fn is_plain(byte: u8) -> bool {
    let mark = matches!(
        byte,
        b'/' | b'.'
            | b'-'
            | b'_'
            | b'~'
            | b':'
            | b'@'
            | b'='
            | b'&'
            | b','
            | b'+'
            | b'!'
            | b'$'
            | b'*'
    );
    byte.is_ascii_alphanumeric() | mark
}

/// What a connection manager does to paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathRules {
    pub(crate) normalise: bool,
    pub(crate) merge_slashes: bool,
    pub(crate) escaped_slashes: EscapedSlashes,
    /// `..;x` is read as `..`.
    pub(crate) dots_with_parameters: bool,
}

/// What becomes of `%2F` and `%5C`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EscapedSlashes {
    #[default]
    Keep,
    Reject,
    Decode,
    /// Decoded, and the client is sent there.
    Redirect,
}

/// A path as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Normalised {
    Path(String),
    /// The client is sent here instead.
    Redirect(String),
}

impl PathRules {
    pub(crate) fn of(mode: Normalization, dots_with_parameters: bool) -> Self {
        Self {
            normalise: mode != Normalization::None,
            merge_slashes: matches!(
                mode,
                Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes
            ),
            escaped_slashes: match mode {
                Normalization::DecodeAndMergeSlashes => EscapedSlashes::Decode,
                _ => EscapedSlashes::Keep,
            },
            dots_with_parameters,
        }
    }

    /// Whether every path that others have read stays as it is.
    pub(crate) fn leave_what(&self, others: &Self) -> bool {
        let decodes = |rules: &Self| rules.escaped_slashes != EscapedSlashes::Keep;
        (others.normalise || !self.normalise)
            && (others.dots_with_parameters || !self.dots_with_parameters)
            && (others.merge_slashes || !self.merge_slashes)
            && (decodes(others) || !decodes(self))
    }

    /// Whether there is nothing in a path that any rules would change or refuse:
    /// so for most, and told without a copy.
    pub(crate) fn leave(path: &str) -> bool {
        // Without a branch for each byte: all of them are looked at for nearly every request.
        let plain = path.bytes().fold(true, |all, byte| all & is_plain(byte));
        let bytes = path.as_bytes().iter();
        let behind = bytes.clone().skip(1);
        let segments = bytes.zip(behind).fold(true, |all, (before, byte)| {
            let odd = (*before == b'/') & ((*byte == b'/') | (*byte == b'.'));
            all & !odd
        });
        plain & segments & path.starts_with('/')
    }

    /// In the order of envoy's `maybeNormalizePath`.
    pub(crate) fn apply(&self, path: &str) -> Result<Normalised, BadPath> {
        if path == "*" {
            return Ok(Normalised::Path(path.to_owned()));
        }
        if !path.starts_with('/') {
            return Err(BadPath("expected it to begin with `/`"));
        }
        let strange = path
            .bytes()
            .fold(false, |any, b| any | (b <= 0x20) | (b >= 0x7f));
        if strange {
            return Err(BadPath("control character, space or byte outside ASCII"));
        }
        let mut path = path.to_owned();
        if Self::leave(&path) {
            return Ok(Normalised::Path(path));
        }
        let mut redirect = false;
        if self.escaped_slashes != EscapedSlashes::Keep {
            let decoded = decode_slashes(&path);
            match self.escaped_slashes {
                EscapedSlashes::Reject if decoded != path => {
                    return Err(BadPath("encoded slash"));
                }
                EscapedSlashes::Redirect => redirect = decoded != path,
                _ => {}
            }
            path = decoded;
        }
        if self.normalise {
            if self.dots_with_parameters {
                path = strip_dot_parameters(&path);
            }
            path = resolve_dots(&canonical_bytes(&path)?);
        }
        if self.merge_slashes {
            path = merge_slashes(&path);
        }
        Ok(if redirect {
            Normalised::Redirect(path)
        } else {
            Normalised::Path(path)
        })
    }
}

/// The same, as Envoys do before and after they read `..;x` as `..`.
pub(crate) fn normalise_with(
    path: &str,
    mode: Normalization,
    dots_with_parameters: bool,
) -> Result<String, BadPath> {
    let (Normalised::Path(path) | Normalised::Redirect(path)) =
        PathRules::of(mode, dots_with_parameters).apply(path)?;
    Ok(path)
}

fn decode_slashes(path: &str) -> String {
    path.replace("%2F", "/")
        .replace("%2f", "/")
        .replace("%5C", "\\")
        .replace("%5c", "\\")
}

/// `.;x` and `..;x` segments lose their parameters before dots are resolved
/// (Envoy fixes of 2026, CVE-2026-73511); before percent-decoding, so `%2e%2e;` stays.
fn strip_dot_parameters(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for (i, segment) in path.split('/').enumerate() {
        if i > 0 {
            out.push('/');
        }
        let bare = segment.split_once(';').map(|(bare, _)| bare);
        out.push_str(
            bare.filter(|bare| matches!(*bare, "." | ".."))
                .unwrap_or(segment),
        );
    }
    out
}

/// Decodes unreserved `%XX`, keeps the rest verbatim, turns `\` into `/` and
/// encodes `" < > ^ ` { | }`.
fn canonical_bytes(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => out.push('/'),
            b'%' => {
                let mut ahead = rest.clone();
                match ahead
                    .next()
                    .zip(ahead.next())
                    .and_then(|(h, l)| Some(hex(h)? << 4 | hex(l)?))
                {
                    Some(0) => return Err(BadPath("encoded NUL")),
                    Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                        out.push(char::from(b));
                        rest = ahead;
                    }
                    _ => out.push('%'),
                }
            }
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            _ => out.push(char::from(byte)),
        }
    }
    Ok(out)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

fn resolve_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(segment) = parts.next() {
        let last = parts.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in segments {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// Runs of slashes become one, but nothing except slashes becomes two: Envoy
/// joins the empty list of segments between a leading and a trailing one
/// (`PathUtil::mergeSlashes`).
fn merge_slashes(path: &str) -> String {
    if path.len() > 1 && path.bytes().all(|byte| byte == b'/') {
        return "//".to_owned();
    }
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && out.ends_with('/')) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_rules() -> Vec<PathRules> {
        let switches = [false, true];
        switches
            .into_iter()
            .flat_map(|normalise| switches.map(|merge_slashes| (normalise, merge_slashes)))
            .flat_map(|(normalise, merge_slashes)| {
                let slashes = [
                    EscapedSlashes::Keep,
                    EscapedSlashes::Reject,
                    EscapedSlashes::Decode,
                    EscapedSlashes::Redirect,
                ];
                slashes.map(|escaped_slashes| PathRules {
                    normalise,
                    merge_slashes,
                    escaped_slashes,
                    dots_with_parameters: true,
                })
            })
            .collect()
    }

    #[test]
    fn what_no_rules_change_is_told_without_them() {
        let pieces = ["/", ".", "..", "a", ";", "%2f", "%2e", "\\", "-", "~", "{"];
        let mut paths = vec!["/".to_owned()];
        let mut left = 0;
        for _ in 0..3 {
            let longer = paths
                .iter()
                .flat_map(|path| pieces.map(|piece| format!("{path}{piece}")));
            paths = longer.collect();
            for path in paths.iter().filter(|path| PathRules::leave(path)) {
                left += 1;
                for rules in all_rules() {
                    assert_eq!(rules.apply(path), Ok(Normalised::Path(path.clone())));
                    // The long way, which a byte at the end asks for.
                    let longer = format!("{path}%20");
                    assert_eq!(rules.apply(&longer), Ok(Normalised::Path(longer.clone())));
                }
            }
        }
        assert!(left > 50, "{left}");
    }

    /// Each row was observed on Envoy 1.40 configured by Istio.
    #[test]
    fn rules_that_leave_what_others_read_change_none_of_it() {
        let all = all_rules();
        let paths = [
            "/a//b",
            "/a/%2f/b",
            "/a%5Cb",
            "/a/..%2fb",
            "/a/./b",
            "/a/..;x/b",
            "/a/%2e%2E/b",
            "/%252f",
            "//..//a",
            "/a\\b",
            "/a/.",
            "/..",
            "/a%2f%2e%2e%2fb",
            "/%41;b/",
        ];
        let mut changed = 0;
        for gateway in &all {
            for sidecar in &all {
                for path in paths {
                    let Ok(Normalised::Path(read)) = gateway.apply(path) else {
                        continue;
                    };
                    let stays = sidecar.apply(&read) == Ok(Normalised::Path(read.clone()));
                    let leaves = sidecar.leave_what(gateway);
                    assert!(stays || !leaves, "{sidecar:?} after {gateway:?}: {read}");
                    changed += usize::from(!stays);
                }
            }
        }
        assert!(changed > 50, "only {changed} were changed");
    }

    #[test]
    fn as_envoy() {
        use Normalization::{Base, DecodeAndMergeSlashes as Decode, MergeSlashes as Merge, None};
        for (input, mode, expected) in [
            ("/x/../admin", Base, Ok("/admin")),
            ("/x/../admin", None, Ok("/x/../admin")),
            ("//", Merge, Ok("//")),
            ("///", Merge, Ok("//")),
            ("/%2F", Decode, Ok("//")),
            ("/%61dmin", Base, Ok("/admin")),
            ("/%2e%2e/x", Base, Ok("/x")),
            ("//admin", Base, Ok("//admin")),
            ("//admin", Merge, Ok("/admin")),
            ("/a//b", Merge, Ok("/a/b")),
            ("/a%2Fb", Base, Ok("/a%2Fb")),
            ("/a%2Fb", Decode, Ok("/a/b")),
            ("/dex/..%2fpipeline", Base, Ok("/dex/..%2fpipeline")),
            ("/dex/..%2fpipeline", Decode, Ok("/pipeline")),
            ("/a%5Cb", Base, Ok("/a%5Cb")),
            ("/a\\b", Base, Ok("/a/b")),
            ("/a;v=1/b", Base, Ok("/a;v=1/b")),
            ("/x/..;a/admin", Base, Ok("/admin")),
            ("/x/%2e%2e;/admin", Base, Ok("/x/..;/admin")),
            ("/a/..b", Base, Ok("/a/..b")),
            ("/a/.../b", Base, Ok("/a/.../b")),
            ("/a/b/..", Base, Ok("/a/")),
            ("/..", Base, Ok("/")),
            ("/", Base, Ok("/")),
            ("/a^b", Base, Ok("/a%5Eb")),
            ("/%zz%", Base, Ok("/%zz%")),
            ("/a%00", Base, Err(BadPath("encoded NUL"))),
            ("/a%00", None, Ok("/a%00")),
            ("a", Base, Err(BadPath("expected it to begin with `/`"))),
        ] {
            assert_eq!(
                normalise(input, mode),
                expected.map(str::to_owned),
                "{input} {mode:?}"
            );
        }
    }
}
