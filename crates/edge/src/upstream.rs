//! What upstreams may make of a path that goes on as it came: they decode it,
//! some of them twice, take `\` for `/`, drop path parameters and follow `..`.
//! Behind a route that needs a login or a token each reading needs it too. Behind
//! one that is open to everybody another reading may lead to what is not.

use percent_encoding::percent_decode_str;

/// How often it may be decoded.
const ROUNDS: usize = 3;

/// The readings of a path other than as it stands; few paths have any.
pub fn readings(path: &str) -> Vec<String> {
    let mut all = Vec::new();
    if !path.contains(['%', '\\', ';']) && !path.contains("//") {
        return all;
    }
    let mut text = path.to_owned();
    for _ in 0..ROUNDS {
        for bare in [false, true] {
            let reading = followed(&text, bare);
            if reading != path && !all.contains(&reading) {
                all.push(reading);
            }
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if decoded == text {
            break;
        }
        text = decoded;
    }
    all
}

/// Without empty segments, `.` and `..`; `bare` is without parameters of segments.
fn followed(path: &str, bare: bool) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends = true;
    for segment in path.split(['/', '\\']) {
        let name = segment.split(';').next().unwrap_or_default();
        let segment = if bare { name } else { segment };
        ends = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut followed = String::with_capacity(path.len());
    for segment in &kept {
        followed.push('/');
        followed.push_str(segment);
    }
    if ends {
        followed.push('/');
    }
    followed
}

#[cfg(test)]
mod tests {
    use super::readings;

    #[test]
    fn paths_are_read_as_upstreams_read_them() {
        for (path, expected) in [
            ("/", &[][..]),
            ("/open/a.b", &[]),
            ("/open/..%2fadmin", &["/admin"]),
            ("/open/%2e%2e%2fadmin", &["/admin"]),
            ("/open/..%5cadmin", &["/admin"]),
            ("/open/..\\admin", &["/admin"]),
            ("/open/..%252Fadmin", &["/open/..%2Fadmin", "/admin"]),
            (
                "/open/%252e%252e%252fadmin",
                &["/open/%2e%2e%2fadmin", "/admin"],
            ),
            ("/open/..;/admin", &["/admin"]),
            ("/open/..%3bx/admin", &["/open/..;x/admin", "/admin"]),
            ("/open/a%2Fb", &["/open/a/b"]),
            ("/open/a%20b", &["/open/a b"]),
            ("/open//a", &["/open/a"]),
            ("/open/%", &[]),
        ] {
            assert_eq!(readings(path), expected, "{path}");
        }
    }
}
