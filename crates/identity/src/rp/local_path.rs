//! Paths of this site that a browser may be sent back to, and nothing else.

use url::Url;

/// Longer ones are not kept.
const MAX_BYTES: usize = 1500;

/// More often nobody decodes.
const DECODINGS: usize = 8;

/// A path and query that no browser reads as another site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalPath(String);

impl LocalPath {
    pub(crate) fn root() -> Self {
        Self("/".to_owned())
    }

    /// The path, if it is beyond doubt local: visible ASCII, one leading
    /// slash however it is decoded, and the same host after resolution as
    /// browsers do it (WHATWG URL).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() > MAX_BYTES || !visible || text.contains(['\\', '#', '<', '>', '"', '`']) {
            return None;
        }
        if !is_rooted(text) {
            return None;
        }
        let base = Url::parse("http://sidegate.invalid/").ok()?;
        let resolved = base.join(text).ok()?;
        if resolved.host_str() != base.host_str()
            || resolved.scheme() != base.scheme()
            || resolved.port().is_some()
            || !resolved.username().is_empty()
            || !is_rooted(resolved.path())
        {
            return None;
        }
        Some(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Exactly one leading slash, however often it is decoded.
fn is_rooted(text: &str) -> bool {
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    let mut path = path.to_owned();
    for _ in 0..DECODINGS {
        let Some(rest) = path.strip_prefix('/') else {
            return false;
        };
        if rest.starts_with(['/', '\\']) || rest.starts_with(char::is_control) {
            return false;
        }
        path = percent_encoding::percent_decode_str(&path)
            .decode_utf8_lossy()
            .into_owned();
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn local_paths_are_kept() {
        for path in [
            "/",
            "/pipeline/",
            "/pipeline/?ns=team-a",
            "/_/pipeline/#/runs".split_once('#').unwrap().0,
            "/a?next=https://example.com/x",
            "/a?x=//b",
            "/a%20b",
            "/a//b",
            "/notebook/ns/name/lab;x=1",
            "/@user",
            "/a:b",
            "/a?u=%2f%2fb",
            "/v1/models/iris:predict",
        ] {
            assert_eq!(LocalPath::parse(path).unwrap().as_str(), path);
        }
    }

    /// Every way to begin that was used against other programs, before hosts in every spelling.
    #[test]
    fn no_spelling_of_another_site_is_kept() {
        let beginnings = [
            "//",
            "///",
            "////",
            "/\\",
            "\\\\",
            "\\/",
            "/\\/",
            "//\\",
            "\\\\/",
            "/%5c",
            "/%5C",
            "/%2f",
            "/%2F",
            "/%2f%2f",
            "/%2F/",
            "/%5c%5c",
            "/%252f",
            "/%255c",
            "/%25252f",
            "/\t",
            "/\t/",
            "/\n/",
            "/\r/",
            "/\r\n/",
            "\t//",
            "\n//",
            " //",
            "/ /",
            "/\u{b}/",
            "/\u{c}/",
            "/%09/",
            "/%0a/",
            "/%0d/",
            "/%0d%0a/",
            "/%00/",
            "/.//",
            "/..//",
            "/%2e//",
            "/%2e%2e//",
            "/a/..//",
            "/a/%2e%2e//",
            "/./%2f",
            "/x/../%5c",
            "/;/..//",
            "http://",
            "https://",
            "HTTP://",
            "hTTps://",
            "http:",
            "https:",
            "https:/",
            "https:///",
            "http:\\\\",
            "https:%2f%2f",
            "ftp://",
            "javascript://",
            "data:",
            "//user@",
            "//u:p@",
            "//%00",
            "//\u{ff0f}",
            "/\u{2044}/",
            "\u{ff0f}/",
            "?//",
            "#//",
            ".",
            "..",
            "@",
            ":@",
            "./",
            "../",
        ];
        let sites = [
            "evil.example",
            "evil.example/",
            "evil.example:443/",
            "evil.example?x=1",
            "kubeflow.example.evil.example",
            "kubeflow.example@evil.example",
            "kubeflow.example%40evil.example",
            "evil.example%2f%2e%2e",
            "[::1]/",
            "2130706433",
            "0x7f.1",
            "evil%E3%80%82example",
        ];
        let mut count = 0;
        for beginning in beginnings {
            for site in sites {
                let text = format!("{beginning}{site}");
                assert_eq!(LocalPath::parse(&text), None, "{text:?}");
                count += 1;
            }
        }
        assert!(count >= 500, "{count}");
    }

    #[test]
    fn other_sites_are_not() {
        let corpus = [
            "",
            "evil.example",
            "https://evil.example",
            "http://evil.example/",
            "HTTP://evil.example",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "//evil.example",
            "///evil.example",
            "////evil.example",
            "//evil.example/%2e%2e",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "/\\/evil.example",
            "//\\evil.example",
            "/%5cevil.example",
            "/%5Cevil.example",
            "/%2fevil.example",
            "/%2Fevil.example",
            "/%2f%2fevil.example",
            "/%252fevil.example",
            "/%255cevil.example",
            "/\tevil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r/evil.example",
            "\t//evil.example",
            " //evil.example",
            " https://evil.example",
            "/ /evil.example",
            "/%09/evil.example",
            "/%0a/evil.example",
            "/%0d%0aLocation:%20x",
            "/a\r\nSet-Cookie: x=1",
            "/a b",
            "/\0",
            "/.//evil.example",
            "/..//evil.example",
            "/%2e%2e//evil.example",
            "/a/..//evil.example",
            "/./%2fevil.example",
            "/x/../%5cevil.example",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "//user@evil.example",
            "//evil.example:80",
            "@evil.example",
            ".evil.example",
            ":80",
            "?x",
            "#x",
            "/#x",
            "/a#//x",
            "/\u{2028}evil",
            "/\u{ff0f}evil.example",
            "\u{ff0f}/evil.example",
            "//ⓔvil.example",
            "/<script>",
            "/\"onload=x",
            "http:\\\\evil.example",
            "ftp://evil.example",
            "/\u{7f}",
            "/`x`",
            "//[::1]/",
            "//google%E3%80%82com",
            "//\u{3002}com",
            "/\u{85}/x",
            "blob:https://evil.example",
            "//%65vil.example",
            "/%2f/evil.example",
            "/%2f%5cevil.example",
        ];
        assert!(corpus.len() >= 60);
        for text in corpus {
            assert_eq!(LocalPath::parse(text), None, "{text:?}");
        }
        assert_eq!(
            LocalPath::parse(&format!("/{}", "a".repeat(MAX_BYTES))),
            None
        );
    }

    proptest! {
        #[test]
        fn whatever_is_kept_resolves_to_this_site(text in "[/\\\\a-z%0-9@:?.# \\t]{0,24}") {
            if let Some(path) = LocalPath::parse(&text) {
                let base = Url::parse("https://here.example/deep/page").unwrap();
                let resolved = base.join(path.as_str()).unwrap();
                prop_assert_eq!(resolved.host_str(), Some("here.example"));
                prop_assert_eq!(resolved.scheme(), "https");
                prop_assert!(!resolved.path().starts_with("//"));
            }
        }
    }
}
