//! Regular expressions as RE2 reads them, which is what Istio checks and Envoy
//! runs (<https://github.com/google/re2/wiki/Syntax>, `re2/parse.cc` with Perl's
//! extensions), translated for the `regex` crate.
//!
//! Where the two differ: `{` that counts nothing is literal; `\d`, `\w`, `\s` and
//! `\b` are ASCII; `\Q…\E` and octal escapes exist; sets cannot be subtracted; no
//! operator follows another; nothing is repeated more than 1000 times.

use regex::Regex;

use crate::pattern::{MAX_DEPTH, Pattern, SIZE_LIMIT};

/// RE2's limit of a repetition, nested ones multiplied.
const MAX_REPEAT: u32 = 1000;

/// What becomes of an object with such a pattern.
const REFUSED: &str = "Istio refuses the object; where it is stored already, Envoy refuses the whole route table or listener and keeps what it had";

/// Compiles a pattern that has to match the whole value.
///
/// # Errors
/// What of it is not RE2, or not understood here.
pub(crate) fn full_match(pattern: &str) -> Result<Pattern, String> {
    let translated = translate(pattern, Boundaries::OfBytes)?;
    let built = Pattern::new(format!("^(?:{translated})$"));
    built.map_err(|why| format!("regex `{pattern}`: {why}"))
}

/// Compiles a pattern that is searched for.
///
/// # Errors
/// What of it is not RE2, or not understood here.
pub(crate) fn search(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(&translate(pattern, Boundaries::OfText)?)
        .size_limit(SIZE_LIMIT)
        .nest_limit(u32::try_from(MAX_DEPTH).unwrap_or(u32::MAX))
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!(
                    "regex `{pattern}`: takes more than {} KiB compiled",
                    limit >> 10
                )
            }
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("regex `{pattern}`: {last}")
            }
        })
}

/// Where `\B` may match: a `Regex` for text takes it at borders of characters
/// alone.
#[derive(Clone, Copy)]
enum Boundaries {
    OfBytes,
    OfText,
}

fn translate(pattern: &str, boundaries: Boundaries) -> Result<String, String> {
    let read = Reader::new(pattern, boundaries).read();
    read.map_err(|error| match error {
        Error::NotRe2(what) => format!("regex `{pattern}`: {what}: {REFUSED}"),
        Error::Unknown(what) => format!("regex `{pattern}`: {what} is RE2 but not understood here"),
    })
}

enum Error {
    /// RE2 refuses it.
    NotRe2(String),
    /// RE2 takes it.
    Unknown(String),
}

fn not_re2<T>(what: impl Into<String>) -> Result<T, Error> {
    Err(Error::NotRe2(what.into()))
}

struct Reader<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
    out: String,
    /// For each open group the greatest repetition inside of it so far.
    groups: Vec<u32>,
    /// Greatest repetition at this level.
    level: u32,
    /// How often the last item is repeated inside; 0 when there is none.
    item: u32,
    /// The last item carries an operator already.
    repeated: bool,
    boundaries: Boundaries,
}

impl<'p> Reader<'p> {
    fn new(pattern: &'p str, boundaries: Boundaries) -> Self {
        Self {
            rest: pattern.chars().peekable(),
            out: String::with_capacity(pattern.len() + 8),
            groups: Vec::new(),
            level: 1,
            item: 0,
            repeated: false,
            boundaries,
        }
    }

    fn read(mut self) -> Result<String, Error> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.out.push('|');
                    self.item = 0;
                    self.repeated = false;
                }
                '*' | '+' | '?' => self.operator(c, None)?,
                '{' => self.count()?,
                '}' => self.literal('}'),
                '.' | '^' | '$' => self.verbatim(c),
                c => self.literal(c),
            }
        }
        if self.groups.is_empty() {
            Ok(self.out)
        } else {
            not_re2("a `(` without `)`")
        }
    }

    fn verbatim(&mut self, c: char) {
        self.out.push(c);
        self.item_is(1);
    }

    fn literal(&mut self, c: char) {
        push_literal(&mut self.out, c);
        self.item_is(1);
    }

    fn item_is(&mut self, inside: u32) {
        self.item = inside;
        self.repeated = false;
        self.level = self.level.max(inside);
    }

    fn escape(&mut self) -> Result<(), Error> {
        let Some(c) = self.rest.next() else {
            return not_re2("a `\\` at the end");
        };
        match c {
            'Q' => {
                let mut previous = None;
                while let Some(c) = self.rest.next() {
                    if c == '\\' && self.rest.peek() == Some(&'E') {
                        self.rest.next();
                        break;
                    }
                    previous = Some(c);
                    self.literal(c);
                }
                if previous.is_none() {
                    self.repeated = false;
                }
                return Ok(());
            }
            'E' => return Ok(()),
            'A' | 'z' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(match self.boundaries {
                Boundaries::OfBytes => r"(?-u:\B)",
                Boundaries::OfText => r"\B",
            }),
            'C' => return Err(Error::Unknown("`\\C`, any single byte,".to_owned())),
            c => match set(c) {
                Some((false, set)) => self.out.push_str(&format!("[{set}]")),
                Some((true, set)) => self.out.push_str(&format!("[^{set}]")),
                None if matches!(c, 'p' | 'P') => self.unicode(c)?,
                None => {
                    let literal = self.character(c)?;
                    push_literal(&mut self.out, literal);
                }
            },
        }
        self.item_is(1);
        Ok(())
    }

    /// `\pN`, `\p{Greek}`, `\P…`, `\p{^…}`.
    fn unicode(&mut self, letter: char) -> Result<(), Error> {
        self.out.push('\\');
        self.out.push(letter);
        match self.rest.next() {
            Some('{') => {
                let mut name = String::new();
                loop {
                    match self.rest.next() {
                        Some('}') => break,
                        Some(c) if c == '^' || c == '_' || c.is_ascii_alphanumeric() => {
                            name.push(c)
                        }
                        _ => return not_re2(format!("`\\{letter}{{` without a name and `}}`")),
                    }
                }
                let bare = name.strip_prefix('^');
                if bare.is_some() {
                    self.out.pop();
                    self.out.push(if letter == 'p' { 'P' } else { 'p' });
                }
                self.out.push_str(&format!("{{{}}}", bare.unwrap_or(&name)));
                Ok(())
            }
            Some(c) if c.is_ascii_uppercase() => {
                self.out.push(c);
                Ok(())
            }
            _ => not_re2(format!("`\\{letter}` without a name")),
        }
    }

    /// The character that an escape stands for.
    fn character(&mut self, c: char) -> Result<char, Error> {
        match c {
            'a' => Ok('\u{7}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\u{b}'),
            'x' => self.hexadecimal(),
            '0'..='7' => {
                let next = self.rest.peek().copied().filter(|c| matches!(c, '0'..='7'));
                if c != '0' && next.is_none() {
                    return not_re2(format!("the back reference `\\{c}`"));
                }
                let mut value = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let digit = self.rest.peek().and_then(|c| c.to_digit(8));
                    let Some(digit) = digit else { break };
                    value = value * 8 + digit;
                    self.rest.next();
                }
                char::from_u32(value).map_or_else(|| not_re2("an octal escape"), Ok)
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            c => not_re2(format!("the escape `\\{c}`")),
        }
    }

    fn hexadecimal(&mut self) -> Result<char, Error> {
        let mut digits = String::new();
        if self.rest.peek() == Some(&'{') {
            self.rest.next();
            loop {
                match self.rest.next() {
                    Some('}') => break,
                    Some(c) if c.is_ascii_hexdigit() && digits.len() < 8 => digits.push(c),
                    _ => return not_re2("`\\x{` without digits and `}`"),
                }
            }
        } else {
            digits.extend(self.rest.next());
            digits.extend(self.rest.next());
            if digits.len() != 2 {
                return not_re2("`\\x` without two digits");
            }
        }
        let value = u32::from_str_radix(&digits, 16).ok();
        match value.and_then(char::from_u32) {
            Some(c) => Ok(c),
            None => not_re2(format!("the escape `\\x{digits}`")),
        }
    }

    fn class(&mut self) -> Result<(), Error> {
        self.out.push('[');
        if self.rest.peek() == Some(&'^') {
            self.rest.next();
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.next() else {
                return not_re2("a `[` without `]`");
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            if c == '[' && self.rest.peek() == Some(&':') && self.named_set()? {
                continue;
            }
            if c == '\\' {
                let next = self.rest.peek().copied();
                if let Some((negated, set)) = next.and_then(set) {
                    self.rest.next();
                    let sign = if negated { "^" } else { "" };
                    self.out.push_str(&format!("[{sign}{set}]"));
                    continue;
                }
                if let Some(letter) = next.filter(|c| matches!(c, 'p' | 'P')) {
                    self.rest.next();
                    self.unicode(letter)?;
                    continue;
                }
            }
            let low = self.member(c)?;
            let mut ahead = self.rest.clone();
            let range = ahead.next() == Some('-') && !matches!(ahead.peek(), None | Some(']'));
            push_literal(&mut self.out, low);
            if range {
                self.rest.next();
                let next = self.rest.next().unwrap_or(']');
                let high = self.member(next)?;
                if high < low {
                    return not_re2(format!("the range `{low}-{high}`"));
                }
                self.out.push('-');
                push_literal(&mut self.out, high);
            }
        }
        self.out.push(']');
        self.item_is(1);
        Ok(())
    }

    fn member(&mut self, c: char) -> Result<char, Error> {
        if c != '\\' {
            return Ok(c);
        }
        match self.rest.next() {
            None => not_re2("a `\\` at the end"),
            Some(c) => self.character(c),
        }
    }

    /// `[:alpha:]`, `[:^alpha:]`; the `[` is read. Whether it is one.
    fn named_set(&mut self) -> Result<bool, Error> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        let mut ahead = self.rest.clone();
        ahead.next();
        let name: String = ahead
            .by_ref()
            .take_while(|c| *c == '^' || c.is_ascii_lowercase())
            .collect();
        // `take_while` has eaten the colon.
        if ahead.next() != Some(']') {
            return Ok(false);
        }
        let bare = name.strip_prefix('^').unwrap_or(&name);
        if !NAMES.contains(&bare) {
            return not_re2(format!("the class `[:{name}:]`"));
        }
        self.out.push_str(&format!("[:{name}:]"));
        self.rest = ahead;
        Ok(true)
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.groups.len() >= MAX_DEPTH {
            return not_re2(format!("groups deeper than {MAX_DEPTH}"));
        }
        let mut start = "(".to_owned();
        if self.rest.peek() == Some(&'?') {
            self.rest.next();
            start.push('?');
            let mut flags = String::new();
            loop {
                match self.rest.next() {
                    Some(c @ ('i' | 'm' | 's' | 'U' | '-')) => flags.push(c),
                    Some(c @ (':' | ')')) => {
                        let twice = flags.matches('-').count() > 1;
                        if twice || flags.ends_with('-') || (flags.is_empty() && c == ')') {
                            return not_re2(format!("`(?{flags}{c}`"));
                        }
                        self.out.push_str(&format!("(?{flags}{c}"));
                        if c == ')' {
                            self.item = 0;
                            self.repeated = false;
                            return Ok(());
                        }
                        self.push_group();
                        return Ok(());
                    }
                    Some('P') if flags.is_empty() && self.rest.peek() == Some(&'<') => {
                        self.rest.next();
                        break;
                    }
                    Some('<')
                        if flags.is_empty() && !matches!(self.rest.peek(), Some('=' | '!')) =>
                    {
                        break;
                    }
                    Some(c @ ('=' | '!')) => return not_re2(format!("the look-ahead `(?{c}`")),
                    Some('<') => return not_re2("the look-behind `(?<`"),
                    Some(c) => return not_re2(format!("`(?{flags}{c}`")),
                    None => return not_re2("a `(` without `)`"),
                }
            }
            start.push_str("P<");
            loop {
                match self.rest.next() {
                    Some('>') if !start.ends_with('<') => break,
                    Some(c) if c == '_' || c.is_alphanumeric() => start.push(c),
                    _ => return not_re2("a group's name"),
                }
            }
            start.push('>');
        }
        self.out.push_str(&start);
        self.push_group();
        Ok(())
    }

    fn push_group(&mut self) {
        self.groups.push(self.level);
        self.level = 1;
        self.item = 0;
        self.repeated = false;
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(outer) = self.groups.pop() else {
            return not_re2("a `)` without `(`");
        };
        self.out.push(')');
        let inside = self.level;
        self.level = outer;
        self.item_is(inside);
        Ok(())
    }

    /// `{n}`, `{n,}`, `{n,m}`; anything else is literal.
    fn count(&mut self) -> Result<(), Error> {
        let mut ahead = self.rest.clone();
        let mut text = String::new();
        let closed = loop {
            match ahead.next() {
                Some('}') => break true,
                Some(c) if (c == ',' || c.is_ascii_digit()) && text.len() < 24 => text.push(c),
                _ => break false,
            }
        };
        let (low, high) = match text.split_once(',') {
            None => (text.as_str(), Some(text.as_str())),
            Some((low, "")) => (low, None),
            Some((low, high)) => (low, Some(high)),
        };
        let counts = closed && !low.is_empty() && high.is_none_or(|high| !high.contains(','));
        if !counts {
            self.literal('{');
            return Ok(());
        }
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let (least, most) = (number(low), high.map(number));
        if least.max(most.unwrap_or(0)) > MAX_REPEAT {
            return not_re2(format!(
                "the repetition `{{{text}}}`, which is more than {MAX_REPEAT} times"
            ));
        }
        if most.is_some_and(|most| most < least) {
            return not_re2(format!("the repetition `{{{text}}}`"));
        }
        self.rest = ahead;
        let text = text.clone();
        self.operator('{', Some((text, most.unwrap_or(least).max(1))))
    }

    /// An operator on the last item, with an optional `?` behind it.
    fn operator(&mut self, c: char, count: Option<(String, u32)>) -> Result<(), Error> {
        let shown = count
            .as_ref()
            .map_or_else(|| c.to_string(), |(text, _)| format!("{{{text}}}"));
        if self.item == 0 {
            return not_re2(format!("`{shown}` with nothing to repeat"));
        }
        if self.repeated {
            return not_re2(format!("`{shown}` behind another repetition"));
        }
        self.out.push_str(&shown);
        if self.rest.peek() == Some(&'?') {
            self.rest.next();
            self.out.push('?');
        }
        let times = count.map_or(1, |(_, times)| times);
        let all = self.item.saturating_mul(times);
        if all > MAX_REPEAT {
            return not_re2(format!(
                "nested repetitions of more than {MAX_REPEAT} times"
            ));
        }
        self.item_is(all);
        self.repeated = true;
        Ok(())
    }
}

/// ASCII sets, and whether the letter stands for what is not in them.
fn set(c: char) -> Option<(bool, &'static str)> {
    Some(match c {
        'd' => (false, "0-9"),
        'D' => (true, "0-9"),
        's' => (false, r"\t\n\x0C\r "),
        'S' => (true, r"\t\n\x0C\r "),
        'w' => (false, "0-9A-Za-z_"),
        'W' => (true, "0-9A-Za-z_"),
        _ => return None,
    })
}

/// Everything that is not a letter or a digit of any language is escaped.
fn push_literal(out: &mut String, c: char) {
    if c.is_control() {
        out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
    } else if c.is_ascii_punctuation()
        && !matches!(
            c,
            '/' | '_' | '<' | '>' | '"' | '\'' | ',' | ':' | ';' | '=' | '@' | '!' | '%' | '`'
        )
    {
        out.push('\\');
        out.push(c);
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests;
