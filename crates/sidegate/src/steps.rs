//! The steps of a decision, for people and for programs.

mod json;

use policy::{Alternative, Clause, Comparison, Looked, Stage, Step};
use resources::{Cluster, Metadata, ObjectRef, Source};

use crate::paint::Paint;

pub(crate) use json::{as_json, brief_json};

/// Values of one field, objects of one host and rules of one policy that are
/// shown before "and more".
const SHOWN: usize = 4;

/// How much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// What decided, without routes and whose they are: below a finding.
    Brief,
    /// What decided.
    Short,
    /// Everything that was looked at.
    All,
}

/// How steps are written.
pub(crate) struct Text<'c> {
    pub(crate) form: Form,
    pub(crate) indent: usize,
    pub(crate) paint: Paint,
    /// Where the age of objects is looked up, which is what orders them.
    pub(crate) created: Option<&'c Cluster>,
}

pub(crate) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Listener => "listener",
        Stage::VirtualHost => "host",
        Stage::Filter => "filter",
        Stage::Policy => "policy",
        Stage::Check => "check",
        Stage::Route => "route",
        Stage::Access => "access",
        Stage::Token => "token",
        Stage::Forward => "forward",
        Stage::Answer => "answer",
    }
}

impl Text<'_> {
    fn all(&self) -> bool {
        self.form == Form::All
    }

    /// The steps, each beginning on a line of its own.
    pub(crate) fn steps<'s>(&self, steps: impl Iterator<Item = &'s Step>) -> String {
        let mut out = String::new();
        let mut hop = None;
        let mut route = None;
        for step in steps.filter(|step| step.decides || self.all()) {
            if hop.is_some_and(|hop| hop != step.hop) && self.form != Form::Brief {
                out.push('\n');
            }
            hop = Some(step.hop);
            if step.stage == Stage::Route {
                route = step.object.as_ref();
            }
            // What a route says about itself is said once.
            let again = matches!(step.stage, Stage::Forward | Stage::Access)
                && step.object.as_ref() == route;
            self.step(&mut out, step, again);
        }
        out
    }

    fn line(&self, out: &mut String, depth: usize, text: &str) {
        out.push_str(&" ".repeat(self.indent + depth));
        out.push_str(text.trim_end());
        out.push('\n');
    }

    fn step(&self, out: &mut String, step: &Step, again: bool) {
        if self.form == Form::Brief {
            return self.brief(out, step);
        }
        let name = format!("{:<9}", stage(step.stage));
        let text = if step.decides {
            step.text.clone()
        } else {
            self.paint.faint(&step.text)
        };
        self.line(out, 0, &format!("{} {text}", self.paint.faint(name)));
        if let Some(object) = step.object.as_ref().filter(|_| !again) {
            self.line(out, 10, &self.object(object));
        }
        self.order(out, &step.order);
        if step.stage == Stage::Route {
            self.routes(out, &step.looked);
        } else {
            self.rules(out, step);
        }
    }

    fn brief(&self, out: &mut String, step: &Step) {
        let line = match &step.object {
            Some((object, source)) => format!("{}: {object} ({source})", step.text),
            None => step.text.clone(),
        };
        self.line(out, 0, &line);
        if step.stage != Stage::Route {
            let rules: Vec<&Looked> = step.deciding().collect();
            for rule in rules.iter().take(SHOWN) {
                self.line(out, 2, &self.in_one_line(rule));
            }
            let rest = rules.len().saturating_sub(SHOWN);
            self.more(out, 2, rest, "rule", "rules");
        }
    }

    /// A rule with what tells its outcome.
    fn in_one_line(&self, rule: &Looked) -> String {
        let clauses: Vec<String> = rule
            .deciding()
            .map(|clause| {
                let alternatives = clause.deciding().take(SHOWN).map(|one| {
                    let telling = one.all.iter().filter(|c| c.holds == one.holds);
                    let all: Vec<String> = telling.map(|c| self.comparison(c)).collect();
                    all.join(" and ")
                });
                let any: Vec<String> = alternatives.filter(|one| !one.is_empty()).collect();
                format!("{} {}", clause.name, any.join(" or "))
            })
            .collect();
        let mark = self.paint.mark(rule.holds);
        if clauses.is_empty() {
            format!("{mark} {}, which asks nothing of a request", rule.place)
        } else {
            format!("{mark} {}: {}", rule.place, clauses.join("; "))
        }
    }

    fn object(&self, (object, source): &(ObjectRef, Source)) -> String {
        format!("{object}  {}", self.paint.faint(source))
    }

    fn order(&self, out: &mut String, order: &[(ObjectRef, Source)]) {
        if order.len() < 2 {
            return;
        }
        let heading = format!(
            "{} objects have routes there, tried in this order (exported to the gateway's namespace before public, then older first, then by name; what matches everything last)",
            order.len()
        );
        self.line(out, 10, &self.paint.faint(heading));
        let shown = if self.all() { order.len() } else { SHOWN };
        for (number, object) in order.iter().take(shown).enumerate() {
            let age = self.created.map(|cluster| created(cluster, &object.0));
            let age = age.map_or(String::new(), |age| format!("  {}", self.paint.faint(age)));
            let line = format!("{}. {}{age}", number + 1, self.object(object));
            self.line(out, 10, &line);
        }
        self.more(
            out,
            10,
            order.len().saturating_sub(shown),
            "object",
            "objects",
        );
    }

    fn more(&self, out: &mut String, depth: usize, count: usize, one: &str, many: &str) {
        let what = match count {
            0 => return,
            1 => one,
            _ => many,
        };
        let hint = if self.form == Form::Brief {
            format!("and {count} more {what}")
        } else {
            format!("and {count} more {what}, shown with `--all`")
        };
        self.line(out, depth, &self.paint.faint(hint));
    }

    /// Routes that were tried before the one that matched.
    fn routes(&self, out: &mut String, looked: &[Looked]) {
        let mut tried = looked.iter().filter(|route| !route.holds);
        if let Some(found) = looked.iter().find(|route| route.holds)
            && let [clause] = found.clauses.as_slice()
        {
            let [alternative] = clause.any.as_slice() else {
                return;
            };
            for comparison in &alternative.all {
                let line = self.comparison(comparison);
                self.line(out, 10, &line);
            }
        }
        if !self.all() {
            let count = tried.count();
            let hint = match count {
                0 => return,
                // The text of the step says that none did.
                _ if looked.iter().all(|route| !route.holds) => "why: `--all`".to_owned(),
                1 => "1 route before it does not match, shown with `--all`".to_owned(),
                _ => format!("{count} routes before it do not match, shown with `--all`"),
            };
            return self.line(out, 10, &self.paint.faint(hint));
        }
        for route in &mut tried {
            let line = format!(
                "{} {}, {}",
                self.paint.mark(false),
                route.place,
                self.object(&route.object)
            );
            self.line(out, 10, &line);
            let failed = route.clauses.iter().flat_map(|clause| &clause.any);
            for comparison in failed.flat_map(|one| &one.all).filter(|one| !one.holds) {
                self.line(out, 14, &self.comparison(comparison));
            }
        }
    }

    /// Rules as the logic they are. In short those that matched, or for each
    /// one that did not, what failed.
    fn rules(&self, out: &mut String, step: &Step) {
        let rules: Vec<&Looked> = if self.all() {
            step.looked.iter().collect()
        } else {
            step.deciding().collect()
        };
        let shown = if self.all() { rules.len() } else { SHOWN };
        for rule in rules.iter().take(shown) {
            let head = if rule.clauses.is_empty() {
                format!(
                    "{}: nothing is asked of a request, it matches all",
                    rule.place
                )
            } else {
                rule.place.clone()
            };
            let elsewhere = step
                .object
                .as_ref()
                .is_some_and(|(object, _)| *object != rule.object.0);
            let head = if elsewhere {
                format!("{head} of {}", self.object(&rule.object))
            } else {
                head
            };
            self.line(out, 10, &format!("{} {head}", self.paint.mark(rule.holds)));
            let clauses: Vec<&Clause> = if self.all() {
                rule.clauses.iter().collect()
            } else {
                rule.deciding().collect()
            };
            for clause in clauses {
                self.clause(out, clause);
            }
        }
        self.more(out, 10, rules.len().saturating_sub(shown), "rule", "rules");
    }

    fn clause(&self, out: &mut String, clause: &Clause) {
        let alternatives: Vec<&Alternative> = if self.all() {
            clause.any.iter().collect()
        } else {
            clause.deciding().collect()
        };
        let shown = if self.all() {
            alternatives.len()
        } else {
            SHOWN
        };
        for (number, alternative) in alternatives.iter().take(shown).enumerate() {
            let name = if number == 0 { clause.name } else { "or" };
            if alternative.all.is_empty() {
                let line = format!("{name:>6}  {} anything", self.paint.mark(true));
                self.line(out, 12, &line);
            }
            for (position, comparison) in alternative.all.iter().enumerate() {
                let name = if position == 0 { name } else { "and" };
                let line = format!("{name:>6}  {}", self.comparison(comparison));
                self.line(out, 12, &line);
            }
        }
        let rest = alternatives.len().saturating_sub(shown);
        self.more(out, 20, rest, "alternative", "alternatives");
    }

    fn comparison(&self, comparison: &Comparison) -> String {
        let shown = if self.all() { usize::MAX } else { SHOWN };
        let wanted = comparison.wanted.iter().take(shown);
        let mut list = wanted.map(|v| visible(v)).collect::<Vec<_>>().join(", ");
        let rest = comparison.wanted.len().saturating_sub(shown);
        if rest > 0 {
            list.push_str(&format!(" and {rest} more"));
        }
        format!(
            "{}{}: {list} {}",
            match self.form {
                Form::Brief => String::new(),
                _ => format!("{} ", self.paint.mark(comparison.holds)),
            },
            comparison.field,
            self.paint.faint(format!("({})", got(comparison)))
        )
    }
}

/// When an object was made, as far as the YAML says.
fn created(cluster: &Cluster, wanted: &ObjectRef) -> String {
    let is_it =
        |meta: &Metadata| *meta.namespace == *wanted.namespace && *meta.name == *wanted.name;
    let services = cluster.virtual_services.iter();
    let services = services.map(|o| (&o.kind, &o.meta));
    let routes = cluster.http_routes.iter().chain(&cluster.grpc_routes);
    let mut all = services.chain(routes.map(|o| (&o.kind, &o.meta)));
    let found = all.find(|(kind, meta)| **kind == wanted.kind && is_it(meta));
    match found.and_then(|(_, meta)| meta.creation_timestamp.as_deref()) {
        Some(time) => format!("created {time}"),
        None => "no creationTimestamp".to_owned(),
    }
}

/// What the request has.
fn got(comparison: &Comparison) -> String {
    match comparison.got.as_slice() {
        [] => "the request has none".to_owned(),
        [one] => format!("the request has `{}`", visible(one)),
        lines if comparison.field.contains("eaders[") => {
            format!("the request has {} lines: {}", lines.len(), quoted(lines))
        }
        several => format!("the request has {}", quoted(several)),
    }
}

fn quoted(values: &[String]) -> String {
    let all: Vec<String> = values
        .iter()
        .map(|value| format!("`{}`", visible(value)))
        .collect();
    all.join(", ")
}

/// Text of others, without what a terminal would act on.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
