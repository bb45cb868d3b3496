//! Other readings of a path. Envoy routes by the path that a check has; nginx,
//! Traefik and Caddy route by one of their own, which is decoded, tidied up and
//! in part compared without case. Where another reading would lead elsewhere or
//! need something else, the request is refused.

use percent_encoding::percent_decode_str;

/// How a gateway may read a path that is not as it stands.
pub(crate) fn readings(path: &str) -> Vec<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let tidy = tidied(&decoded);
    let folded = tidy.to_ascii_lowercase();
    let mut all = vec![decoded.into_owned(), tidy, folded];
    all.dedup();
    all.retain(|reading| reading != path);
    all
}

/// Without empty segments, `.` and `..`.
fn tidied(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends = true;
    for segment in path.split(['/', '\\']) {
        ends = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut tidy = String::with_capacity(path.len());
    for segment in &kept {
        tidy.push('/');
        tidy.push_str(segment);
    }
    if ends {
        tidy.push('/');
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_others_read_them() {
        for (path, expected) in [
            ("/", &[][..]),
            ("/a/b", &[]),
            ("/a/b/", &[]),
            ("/A/b", &["/a/b"]),
            ("//a", &["/a"]),
            ("/a/../b/.", &["/b/"]),
            ("/a\\b", &["/a/b"]),
            ("/%61", &["/a"]),
            ("/a%2Fb", &["/a/b"]),
            ("/A%2f%2e%2e%2fb", &["/A/../b", "/b"]),
            ("/%2561", &["/%61"]),
            ("/%C3%84", &["/\u{c4}"]),
            ("/../..", &["/"]),
            ("", &["/"]),
        ] {
            assert_eq!(readings(path), expected, "{path}");
        }
    }
}
