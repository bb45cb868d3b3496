//! What a stylesheet of a theme may say.
//!
//! The policy of the pages loads nothing from elsewhere and runs nothing, whatever is written here.
//! This says so to whoever writes the theme, who would otherwise look at a page without images.

/// Parts of CSS that load something.
const LOADING: [&str; 3] = ["@import", "image-set(", "src("];

/// What is wrong with a stylesheet, if anything.
pub(super) fn check(css: &str) -> Result<(), String> {
    if let Some(bad) = css
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(format!(
            "has the control character U+{:04X}",
            u32::from(bad)
        ));
    }
    // Only the end of an element can leave it, and no CSS needs one.
    if let Some(line) = line_of(css, "</") {
        return Err(format!("line {line}: `</` would end the stylesheet"));
    }
    if let Some(line) = line_of(css, "<!--") {
        return Err(format!("line {line}: `<!--` has no place in a stylesheet"));
    }
    let plain = without_comments(css)?.to_ascii_lowercase();
    if let Some(line) = line_of(&plain, "\\") {
        return Err(format!(
            "line {line}: expected no `\\`: write characters as they are"
        ));
    }
    for word in LOADING {
        if let Some(line) = line_of(&plain, word) {
            return Err(format!(
                "line {line}: `{word}` loads something, which the policy of the pages forbids"
            ));
        }
    }
    for (at, _) in plain.match_indices("url(") {
        let (before, rest) = plain.split_at_checked(at).unwrap_or_default();
        let target = rest.trim_start_matches("url(").trim_start();
        let target = target.trim_start_matches(['"', '\'']);
        if !target.starts_with("data:image/") {
            let line = before.lines().count().max(1);
            return Err(format!(
                "line {line}: expected `url(data:image/…)`: the policy of the pages loads nothing else"
            ));
        }
    }
    let (open, closed) = (plain.matches('{').count(), plain.matches('}').count());
    if open != closed {
        return Err(format!(
            "has {open} `{{` and {closed} `}}`: expected as many"
        ));
    }
    Ok(())
}

/// The same length in lines, with spaces where comments were.
pub(super) fn without_comments(css: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(css.len());
    let mut rest = css;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        let Some((comment, behind)) = after.split_once("*/") else {
            return Err("has a comment without an end".to_owned());
        };
        plain.push(' ');
        plain.extend(comment.chars().filter(|c| *c == '\n'));
        rest = behind;
    }
    plain.push_str(rest);
    Ok(plain)
}

fn line_of(text: &str, word: &str) -> Option<usize> {
    let (before, _) = text.split_once(word)?;
    Some(before.matches('\n').count() + 1)
}
