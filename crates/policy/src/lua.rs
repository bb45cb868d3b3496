//! Lua filters, as far as they are the common kind: a function that removes,
//! replaces or adds request headers with constant values, and nothing else.

use http::{HeaderName, HeaderValue};

use crate::permit::HeaderChange;

/// Scripts longer than this are programs.
const MAX_SCRIPT: usize = 64 << 10;

/// The changes a script makes to the headers of a request, in order.
///
/// # Errors
/// The first thing in it that is not understood.
pub(crate) fn request_changes(script: &str) -> Result<Vec<HeaderChange>, String> {
    if script.len() > MAX_SCRIPT {
        return Err("a long Lua script".to_owned());
    }
    let mut reader = Reader {
        tokens: tokens(script)?,
        at: 0,
    };
    let mut changes = Vec::new();
    while !reader.done() {
        reader.function(&mut changes)?;
    }
    Ok(changes)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(script: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = script;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("--") {
            if comment.starts_with("[[") || comment.starts_with("[=") {
                return Err("a Lua block comment".to_owned());
            }
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if c.is_whitespace() || c == ';' {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        } else if c == '"' || c == '\'' {
            let inside = rest.get(1..).unwrap_or_default();
            let (text, after) = inside
                .split_once(c)
                .ok_or_else(|| "a Lua text without end".to_owned())?;
            if text.contains(['\\', '\n']) {
                return Err("a Lua text with escapes".to_owned());
            }
            out.push(Token::Text(text.to_owned()));
            rest = after;
        } else if c.is_ascii_alphabetic() || c == '_' {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            out.push(Token::Word(word.to_owned()));
            rest = after;
        } else if matches!(c, '(' | ')' | ':' | ',' | '=') {
            out.push(Token::Sign(c));
            rest = rest.get(1..).unwrap_or_default();
        } else {
            return Err(format!("`{c}` in a Lua script"));
        }
    }
    Ok(out)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn sign(&mut self, sign: char) -> Result<(), String> {
        match self.next() {
            Some(Token::Sign(found)) if found == sign => Ok(()),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn word(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn keyword(&mut self, wanted: &str) -> Result<(), String> {
        let word = self.word()?;
        if word == wanted {
            Ok(())
        } else {
            Err(unexpected(Some(&Token::Word(word))))
        }
    }

    /// `function envoy_on_request(handle) … end`.
    fn function(&mut self, changes: &mut Vec<HeaderChange>) -> Result<(), String> {
        self.keyword("function")?;
        let name = self.word()?;
        let request = match name.as_str() {
            "envoy_on_request" => true,
            // What happens to a response lets nobody in.
            "envoy_on_response" => false,
            _ => return Err(format!("the Lua function `{name}`")),
        };
        self.sign('(')?;
        let handle = self.word()?;
        self.sign(')')?;
        let mut headers = None;
        loop {
            match self.word()?.as_str() {
                "end" => return Ok(()),
                // `local headers = request_handle:headers()`
                "local" => {
                    let name = self.word()?;
                    self.sign('=')?;
                    self.keyword(&handle)?;
                    self.method("headers")?;
                    self.sign(')')?;
                    headers = Some(name);
                }
                word if word == handle => {
                    self.sign(':')?;
                    let method = self.word()?;
                    self.sign('(')?;
                    if method.starts_with("log") {
                        self.text()?;
                        self.sign(')')?;
                        continue;
                    }
                    if method != "headers" {
                        return Err(format!("the Lua call `{method}`"));
                    }
                    self.sign(')')?;
                    self.change(request, changes)?;
                }
                word if Some(word) == headers.as_deref() => self.change(request, changes)?,
                word => return Err(unexpected(Some(&Token::Word(word.to_owned())))),
            }
        }
    }

    /// `:name(`.
    fn method(&mut self, name: &str) -> Result<(), String> {
        self.sign(':')?;
        self.keyword(name)?;
        self.sign('(')
    }

    /// `:remove("name")`, `:replace("name", "value")`, `:add("name", "value")`.
    fn change(&mut self, request: bool, changes: &mut Vec<HeaderChange>) -> Result<(), String> {
        self.sign(':')?;
        let method = self.word()?;
        self.sign('(')?;
        let name = self.text()?;
        let value = if self.peek() == Some(&Token::Sign(',')) {
            self.at += 1;
            Some(self.text()?)
        } else {
            None
        };
        self.sign(')')?;
        let change = change(&method, &name, value.as_deref())?;
        if request {
            changes.push(change);
        }
        Ok(())
    }
}

/// A change of a header by constants.
pub(crate) fn change(
    method: &str,
    name: &str,
    value: Option<&str>,
) -> Result<HeaderChange, String> {
    // Pseudo headers and Host decide where a request goes.
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(format!("a change of `{name}`"));
    }
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}`, which is no header name"))?;
    let constant = |value: &str| {
        HeaderValue::from_str(value)
            .map_err(|_| format!("a value of `{name}` that is no header value"))
    };
    match (method, value) {
        ("remove", None) => Ok(HeaderChange::Remove(header)),
        ("replace", Some(value)) => Ok(HeaderChange::Set(header, constant(value)?)),
        ("add", Some(value)) => Ok(HeaderChange::Add(header, constant(value)?)),
        _ => Err(format!("the Lua call `{method}`")),
    }
}

fn unexpected(token: Option<&Token>) -> String {
    match token {
        None => "the end of a Lua script where more was expected".to_owned(),
        Some(Token::Word(word)) => format!("`{word}` in a Lua script"),
        Some(Token::Text(_)) => "a text in a Lua script".to_owned(),
        Some(Token::Sign(sign)) => format!("`{sign}` in a Lua script"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str) -> String {
        match request_changes(script) {
            Ok(changes) => {
                let texts: Vec<String> = changes
                    .iter()
                    .map(|change| match change {
                        HeaderChange::Set(name, value) => {
                            format!("{name}={}", value.to_str().unwrap())
                        }
                        HeaderChange::Add(name, value) => {
                            format!("{name}+{}", value.to_str().unwrap())
                        }
                        HeaderChange::AddIfAbsent(name, _) => format!("?{name}"),
                        HeaderChange::SetIfPresent(name, _) => format!("!{name}"),
                        HeaderChange::Remove(name) => format!("-{name}"),
                    })
                    .collect();
                texts.join(" ")
            }
            Err(what) => format!("? {what}"),
        }
    }

    #[test]
    fn scripts() {
        for (script, expected) in [
            (
                "function envoy_on_request(request_handle)\n  request_handle:headers():remove(\"kubeflow-userid\")\nend",
                "-kubeflow-userid",
            ),
            (
                "-- strip\nfunction envoy_on_request(h)\n local headers = h:headers()\n headers:remove('a'); headers:replace('B', 'c')\n h:headers():add(\"d\", \"e\")\n h:logInfo('x')\nend\nfunction envoy_on_response(r)\n r:headers():remove('server')\nend",
                "-a b=c d+e",
            ),
            ("", ""),
            (
                "function envoy_on_request(h) h:respond({[':status']='403'}, 'no') end",
                "? `{` in a Lua script",
            ),
            (
                "function envoy_on_request(h) if x then h:headers():remove('a') end end",
                "? `if` in a Lua script",
            ),
            (
                "function envoy_on_request(h) h:headers():replace(':path', '/x') end",
                "? a change of `:path`",
            ),
            (
                "function envoy_on_request(h) h:headers():replace('a', h:headers():get('b')) end",
                "? `h` in a Lua script",
            ),
            ("function other(h) end", "? the Lua function `other`"),
            (
                "function envoy_on_request(h) h:headers():remove('a')",
                "? the end of a Lua script where more was expected",
            ),
            (
                "function envoy_on_request(h) h:httpCall('a') end",
                "? the Lua call `httpCall`",
            ),
        ] {
            assert_eq!(read(script), expected, "{script}");
        }
    }
}
