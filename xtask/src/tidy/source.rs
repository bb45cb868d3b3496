//! Rust source without what is not code.

/// The source with comments and the insides of literals blanked out. Lines and
/// columns stay.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        let end = match (c, next) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => block_end(&chars, at),
            ('"', _) => string_end(&chars, at + 1),
            ('r', Some('"' | '#')) if !follows_word(&chars, at) => {
                raw_end(&chars, at + 1).unwrap_or(at + 1)
            }
            ('\'', _) => char_end(&chars, at),
            _ => at + 1,
        };
        let whole = end == at + 1;
        for &c in chars.get(at..end).unwrap_or_default() {
            out.push(if c == '\n' || whole { c } else { ' ' });
        }
        at = end;
    }
    out
}

/// The code without modules and items behind `#[cfg(test)]`.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        out.push_str(before);
        let item_end = item_end(after);
        let (item, remainder) = after.split_at_checked(item_end).unwrap_or((after, ""));
        out.extend(item.chars().filter(|c| *c == '\n'));
        rest = remainder;
    }
    out.push_str(rest);
    out
}

/// Where the item at the start ends: at its `;`, or with its block.
fn item_end(code: &str) -> usize {
    let mut depth = 0_u32;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// 1-based lines where `word` stands, not as a part of a longer word.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| has_word(line, word))
        .map(|(index, _)| index + 1)
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let bound_left = word.starts_with(is_word);
    let bound_right = word.ends_with(is_word);
    line.match_indices(word).any(|(at, found)| {
        let before = line
            .split_at_checked(at)
            .and_then(|(before, _)| before.chars().next_back());
        let after = line
            .split_at_checked(at + found.len())
            .and_then(|(_, after)| after.chars().next());
        let longer =
            bound_left && before.is_some_and(is_word) || bound_right && after.is_some_and(is_word);
        !longer
    })
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at.checked_sub(1)
        .and_then(|before| chars.get(before))
        .is_some_and(|c| (c.is_alphanumeric() && *c != 'b') || *c == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    let rest = chars.get(at..).unwrap_or_default();
    at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

fn block_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_u32;
    let mut index = at;
    while index < chars.len() {
        match (chars.get(index), chars.get(index + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                index += 2;
            }
            (Some('*'), Some('/')) => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while let Some(c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `at` is behind the `r`. `None` for a raw identifier.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars.get(at..)?.iter().take_while(|c| **c == '#').count();
    let start = at + hashes;
    if chars.get(start) != Some(&'"') {
        return None;
    }
    let body = chars.get(start + 1..)?;
    let close = body.iter().enumerate().position(|(index, c)| {
        *c == '"'
            && body
                .get(index + 1..index + 1 + hashes)
                .is_some_and(|tail| tail.iter().all(|c| *c == '#'))
    });
    Some(close.map_or(chars.len(), |index| start + 1 + index + 1 + hashes))
}

/// End of a character literal, or just behind the `'` of a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let rest = chars.get(at + 3..).unwrap_or_default();
            rest.iter()
                .take(12)
                .position(|c| *c == '\'')
                .map_or(at + 1, |index| at + 3 + index + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", b)"#, "f(      , b)"),
            ("r#\"a\"b\"# r#fn r", "         r#fn r"),
            ("br\"a\" bar", "b     bar"),
            ("'a' 'b '\\n' '\\u{1f}' &'a x", "    'b               &'a x"),
            ("\"a\nb\" c", "  \n   c"),
        ] {
            let code = code(text);
            assert_eq!(code, expected, "{text}");
        }
    }

    #[test]
    fn test_items_are_left_out() {
        let text = "a\n#[cfg(test)]\nmod tests {\n  fn x() { y }\n}\nb\n#[cfg(test)]\nmod t;\nc\n";
        assert_eq!(without_tests(text), "a\n\n\n\n\nb\n\n\nc\n");
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(
            lines_with(
                "std::fs::read\nmy_std::fs\nstd::fsx\nuse std::fs;",
                "std::fs"
            ),
            [1, 4]
        );
        assert_eq!(lines_with("x.await\nxawait", ".await"), [1]);
    }
}
