//! Conditions of the policy views in SMT-LIB, theory of strings (QF_SLIA).
//!
//! A request is a host, a port, a path, a method, and for each header that is
//! named whether it is there and its value. What a view says that is not written
//! here is an error, never left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use policy::{
    Attribute, Condition, Destination, HostView, ListenerView, Matcher, RewriteView, RouteStep,
    RouteView, RuleAction, RuleView, StepView, Test, TestValue,
};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// What paths, hosts and the rest are made of: nothing that normalisation
/// changes, so that a model is a request as it stands. In place of a port there
/// may be anything: the virtual host is found without it, and rules that name
/// hosts by their ends look at it.
const DOMAIN: &str = r#"
(define-fun authority () String (str.++ host port))
(define-fun lower () RegLan (re.union (re.range "a" "z") (re.range "0" "9") (str.to_re "-")))
(define-fun label () RegLan (re.+ lower))
(define-fun segment () RegLan (re.* (re.union (re.range "a" "z") (re.range "A" "Z") (re.range "0" "9")
  (str.to_re "-") (str.to_re "_") (str.to_re "~") (str.to_re "!") (str.to_re "$") (str.to_re "&")
  (str.to_re "'") (str.to_re "(") (str.to_re ")") (str.to_re "*") (str.to_re "+") (str.to_re ",")
  (str.to_re "=") (str.to_re ":") (str.to_re "@"))))
(assert (str.in_re host (re.++ label (re.* (re.++ (str.to_re ".") label)))))
(assert (str.in_re port (re.opt (re.++ (str.to_re ":") (re.+ (re.union lower (str.to_re ".")))))))
(assert (str.in_re path (re.+ (re.++ (str.to_re "/") segment))))
(assert (str.in_re method (re.+ (re.range "A" "Z"))))
"#;

/// A question, and the headers that it speaks of.
pub(super) struct Question {
    pub(super) text: String,
    pub(super) headers: Vec<String>,
}

/// Whether a request on this listener reaches the destination without a login:
/// no gate is open, no DENY rule matches, an ALLOW rule does where there is one,
/// and the first route that matches leads there.
pub(super) fn question(listener: ListenerView<'_>, to: &Destination) -> Result<Question> {
    if !listener.not_understood().is_empty() {
        bail!("not everything of {} is understood", listener.describe());
    }
    let mut writer = Writer::default();
    let mut all = Vec::new();
    for (index, step) in listener.steps().into_iter().enumerate() {
        if listener.is_disabled(index) || listener.hosts().any(|host| has_own(host, index)) {
            bail!("step {index} is not the same for all routes");
        }
        match step {
            StepView::Gate { authorizer, .. } => {
                if !authorizer.is_login() || !authorizer.denying.is_empty() {
                    bail!("the authorizer {} is not a plain login", authorizer.name());
                }
                let rules = authorizer.rules.context("the gate has no rules")?;
                all.push(not(&writer.any_rule(&rules)?));
            }
            StepView::Rules { action, rules } => {
                let any = writer.any_rule(&rules)?;
                all.push(match action {
                    RuleAction::Allow => any,
                    RuleAction::Deny | RuleAction::Custom => not(&any),
                });
            }
            StepView::Tokens if listener.token_rules().next().is_some() => {
                bail!("tokens are not written in SMT-LIB")
            }
            StepView::Authorizer(_) | StepView::Headers { .. } => {
                bail!("a filter is not written in SMT-LIB: {step:?}")
            }
            // A login's own step comes with its gate; the rest decides nothing here.
            StepView::Access
            | StepView::Custom { .. }
            | StepView::Tokens
            | StepView::Fault
            | StepView::Cors
            | StepView::Other => {}
        }
    }
    let mut reached = Vec::new();
    let names: Vec<&str> = listener.hosts().map(|host| host.name()).collect();
    for host in listener.hosts() {
        if let Some(leads) = writer.leads(host, to)? {
            reached.push(and(&[selected(host.name(), &names), leads]));
        }
    }
    all.push(or(&reached));
    Ok(writer.question(&all))
}

/// Whether a route says something of its own about a step.
fn has_own(host: HostView<'_>, step: usize) -> bool {
    let mut routes = host.routes();
    routes.any(|route| !matches!(route.step(step), RouteStep::AsListener))
}

/// The virtual host of the name is chosen: the longest that fits.
fn selected(name: &str, names: &[&str]) -> String {
    let fits = |name: &str| match name.strip_prefix('*') {
        Some("") => "true".to_owned(),
        Some(suffix) => format!(
            "(and (str.suffixof {0} host) (not (= host {0})))",
            text(suffix)
        ),
        None => format!("(= host {})", text(name)),
    };
    let goes_before = |other: &&&str| {
        let (exact, other_exact) = (!name.starts_with('*'), !other.starts_with('*'));
        !exact && (other_exact || other.len() > name.len())
    };
    let mut all = vec![fits(name)];
    all.extend(names.iter().filter(goes_before).map(|n| not(&fits(n))));
    and(&all)
}

#[derive(Default)]
struct Writer {
    headers: BTreeSet<String>,
}

impl Writer {
    fn question(self, asserted: &[String]) -> Question {
        let mut text = String::from("(set-option :produce-models true)\n(set-logic QF_SLIA)\n");
        let mut values = String::from("host port path method");
        for name in ["host", "port", "path", "method"] {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "(declare-const {name} String)");
        }
        text.push_str(DOMAIN.trim_start());
        for header in &self.headers {
            let (there, value) = (there(header), value(header));
            let _ = writeln!(
                text,
                "(declare-const {there} Bool)\n(declare-const {value} String)\n\
                 (assert (str.in_re {value} label))"
            );
            let _ = write!(values, " {there} {value}");
        }
        for one in asserted {
            let _ = writeln!(text, "(assert {one})");
        }
        let _ = writeln!(text, "(check-sat)\n(get-value ({values}))");
        Question {
            text,
            headers: self.headers.into_iter().collect(),
        }
    }

    fn any_rule(&mut self, rules: &[RuleView<'_>]) -> Result<String> {
        let all: Result<Vec<String>> = rules.iter().map(|r| self.condition(&r.condition)).collect();
        Ok(or(&all?))
    }

    /// The first route that matches leads there; nothing if none does.
    fn leads(&mut self, host: HostView<'_>, to: &Destination) -> Result<Option<String>> {
        if host.requires_tls() {
            bail!("{} redirects to HTTPS", host.name());
        }
        let mut earlier = Vec::new();
        let mut any = Vec::new();
        for route in host.routes() {
            let matches = self.condition(&route.condition())?;
            if goes_to(route, to)? {
                let mut all = vec![matches.clone()];
                all.extend(earlier.iter().map(|e: &String| not(e)));
                any.push(and(&all));
            }
            earlier.push(matches);
        }
        Ok((!any.is_empty()).then(|| or(&any)))
    }

    fn condition(&mut self, condition: &Condition) -> Result<String> {
        let mut each = |all: &[Condition]| -> Result<Vec<String>> {
            all.iter().map(|inner| self.condition(inner)).collect()
        };
        Ok(match condition {
            Condition::All(all) => and(&each(all)?),
            Condition::Any(all) => or(&each(all)?),
            Condition::Not(inner) => not(&self.condition(inner)?),
            Condition::Test(test) => self.test(test)?,
        })
    }

    fn test(&mut self, test: &Test) -> Result<String> {
        match (&test.attribute, &test.value) {
            // No host here has a capital letter.
            (Attribute::Authority, TestValue::TextIgnoringCase(matcher)) => {
                matches(&lowered(matcher)?, "authority")
            }
            (Attribute::Method, TestValue::Text(matcher)) => matches(matcher, "method"),
            (Attribute::Path, TestValue::Text(matcher)) => matches(matcher, "path"),
            (Attribute::Header(name), TestValue::Text(matcher)) => {
                self.headers.insert(name.to_string());
                let holds = matches(matcher, &value(name))?;
                Ok(and(&[there(name), holds]))
            }
            _ => bail!("not written in SMT-LIB: {test:?}"),
        }
    }
}

fn goes_to(route: RouteView<'_>, to: &Destination) -> Result<bool> {
    let ways = route.ways();
    let [way] = ways.as_slice() else {
        bail!("{} has more than one way on", route.place());
    };
    if way.missing
        || route.answers_preflights()
        || !matches!(route.rewrite(), RewriteView::None)
        || !way.headers.is_empty()
    {
        bail!("{} changes the request, or leads nowhere", route.place());
    }
    Ok(way.destination == Some(to))
}

fn lowered(matcher: &Matcher) -> Result<Matcher> {
    Ok(match matcher {
        Matcher::Exact(text) => Matcher::Exact(text.to_ascii_lowercase()),
        Matcher::Prefix(text) => Matcher::Prefix(text.to_ascii_lowercase()),
        Matcher::Suffix(text) => Matcher::Suffix(text.to_ascii_lowercase()),
        Matcher::Present => Matcher::Present,
        Matcher::PathPrefix(_) | Matcher::Regex(_) => bail!("a host compared by {matcher}"),
    })
}

/// A matcher over a string term.
fn matches(matcher: &Matcher, of: &str) -> Result<String> {
    Ok(match matcher {
        Matcher::Present => "true".to_owned(),
        Matcher::Exact(exact) => format!("(= {of} {})", text(exact)),
        Matcher::Prefix(prefix) => format!("(str.prefixof {} {of})", text(prefix)),
        Matcher::Suffix(suffix) => format!("(str.suffixof {} {of})", text(suffix)),
        Matcher::PathPrefix(prefix) => format!(
            "(or (= {of} {}) (str.prefixof {} {of}))",
            text(prefix),
            text(&format!("{prefix}/"))
        ),
        Matcher::Regex(regex) => format!("(str.in_re {of} {})", whole(regex.as_str())?),
    })
}

/// A regular expression that is anchored at both ends.
fn whole(pattern: &str) -> Result<String> {
    let hir = regex_syntax::parse(pattern).with_context(|| format!("reading `{pattern}`"))?;
    let HirKind::Concat(parts) = hir.kind() else {
        bail!("`{pattern}` is not anchored");
    };
    let [first, middle @ .., last] = parts.as_slice() else {
        bail!("`{pattern}` is not anchored");
    };
    if *first.kind() != HirKind::Look(Look::Start) || *last.kind() != HirKind::Look(Look::End) {
        bail!("`{pattern}` is not anchored");
    }
    concatenated(middle)
}

fn concatenated(parts: &[Hir]) -> Result<String> {
    let parts: Result<Vec<String>> = parts.iter().map(language).collect();
    Ok(joined("re.++", &parts?, r#"(str.to_re "")"#))
}

fn language(hir: &Hir) -> Result<String> {
    Ok(match hir.kind() {
        HirKind::Empty => r#"(str.to_re "")"#.to_owned(),
        HirKind::Literal(literal) => {
            let literal = std::str::from_utf8(&literal.0).context("bytes that are no text")?;
            format!("(str.to_re {})", text(literal))
        }
        HirKind::Class(Class::Unicode(class)) => {
            // Only printable ASCII is in any string here.
            let ranges = class.iter().filter_map(|range| {
                let (from, to) = (range.start().max(' '), range.end().min('~'));
                let range = || format!("(re.range {} {})", text_of(from), text_of(to));
                (from <= to).then(range)
            });
            joined("re.union", &ranges.collect::<Vec<_>>(), "re.none")
        }
        HirKind::Repetition(repetition) => {
            let inner = language(&repetition.sub)?;
            match (repetition.min, repetition.max) {
                (0, None) => format!("(re.* {inner})"),
                (1, None) => format!("(re.+ {inner})"),
                (least, None) => format!("(re.++ ((_ re.^ {least}) {inner}) (re.* {inner}))"),
                (least, Some(most)) => format!("((_ re.loop {least} {most}) {inner})"),
            }
        }
        HirKind::Capture(capture) => language(&capture.sub)?,
        HirKind::Concat(parts) => concatenated(parts)?,
        HirKind::Alternation(parts) => {
            let parts: Result<Vec<String>> = parts.iter().map(language).collect();
            joined("re.union", &parts?, "re.none")
        }
        HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => bail!("`{hir}` is not a language"),
    })
}

fn there(header: &str) -> String {
    format!("|has {header}|")
}

fn value(header: &str) -> String {
    format!("|value {header}|")
}

/// A string as SMT-LIB 2.6 writes it.
fn text(value: &str) -> String {
    value.chars().fold(String::from("\""), |mut out, c| {
        match c {
            '"' => out.push_str("\"\""),
            ' '..='~' if c != '\\' => out.push(c),
            _ => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
        out
    }) + "\""
}

fn text_of(c: char) -> String {
    text(c.encode_utf8(&mut [0; 4]))
}

fn and(all: &[String]) -> String {
    joined("and", all, "true")
}

fn or(all: &[String]) -> String {
    joined("or", all, "false")
}

fn not(one: &str) -> String {
    format!("(not {one})")
}

/// Applied to any number of terms.
fn joined(operator: &str, terms: &[String], none: &str) -> String {
    match terms {
        [] => none.to_owned(),
        [one] => one.clone(),
        all => format!("({operator} {})", all.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_written_as_terms_over_strings() {
        let table = [
            (Matcher::Exact("a\"b".into()), r#"(= x "a""b")"#),
            (
                Matcher::Prefix("/a\\".into()),
                r#"(str.prefixof "/a\u{5c}" x)"#,
            ),
            (
                Matcher::of_regex("/a/[a-z0-9]+(/.?)?").unwrap(),
                r#"(str.in_re x (re.++ (str.to_re "/a/") (re.+ (re.union (re.range "0" "9") (re.range "a" "z"))) ((_ re.loop 0 1) (re.++ (str.to_re "/") ((_ re.loop 0 1) (re.range " " "~"))))))"#,
            ),
        ];
        for (matcher, expected) in table {
            assert_eq!(matches(&matcher, "x").unwrap(), expected);
        }
        assert!(whole("^(?:a|^b)$").is_err());
        assert!(whole("a").is_err());
    }

    #[test]
    fn the_virtual_host_is_the_longest_that_fits() {
        let names = ["*", "*.a.b", "*.b", "c.b"];
        assert_eq!(selected("c.b", &names), r#"(= host "c.b")"#);
        let wild = selected("*.b", &names);
        assert!(wild.contains(r#"(not (= host "c.b"))"#), "{wild}");
        assert!(
            wild.contains(r#"(not (and (str.suffixof ".a.b" host)"#),
            "{wild}"
        );
        assert!(!wild.contains("not true"), "{wild}");
    }
}
