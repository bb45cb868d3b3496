//! The page: what it is made of, and what browsers let it do.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use verify::{Report, Verdict};

use crate::picture::{Picture, draw};
use crate::rich::Rich;
use crate::routes::{Listener, bound, listeners};
use crate::told::{ChangeView, ClaimView, LintGroup, REASONS, changes, claims, lints, sign};
use crate::who::Who;
use crate::{Compared, Input};

const STYLE: &str = concat!(
    include_str!("../../console/style/base.css"),
    include_str!("../style/report.css"),
);
const SCRIPT: &str = include_str!("../script/report.js");

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    policy: String,
    name: &'a str,
    compared: Option<&'a str>,
    facts: Vec<String>,
    verdict: Banner,
    after: Option<Banner>,
    pictures: Vec<Picture>,
    legend: Vec<Who>,
    owners: Vec<(usize, &'static str, &'static str)>,
    claims: Vec<ClaimView>,
    changes: Vec<ChangeView>,
    changes_undecided: Vec<Rich>,
    more_undecided: usize,
    changed: usize,
    lints: Vec<LintGroup>,
    found: usize,
    listeners: Vec<Listener>,
    routes: usize,
    warnings: Vec<Rich>,
}

/// What came out, in one line.
struct Banner {
    class: &'static str,
    sign: &'static str,
    text: String,
}

impl Banner {
    fn of(report: &Report) -> Self {
        let all = report.claims.len();
        let open = report.count(Verdict::NotDecided) + report.count(Verdict::Vacuous);
        let broken = report.count(Verdict::Violated);
        let (sign, _, class) = sign(report.overall());
        let text = match (broken, open) {
            (0, 0) => "Every claim holds.".to_owned(),
            (0, 1) => format!("1 of {all} claims is not decided, the others hold."),
            (0, open) => format!("{open} of {all} claims are not decided, the others hold."),
            (1, 0) => format!("1 of {all} claims does not hold."),
            (broken, 0) => format!("{broken} of {all} claims do not hold."),
            (1, open) => format!("1 of {all} claims does not hold, {open} not decided."),
            (broken, open) => format!("{broken} of {all} claims do not hold, {open} not decided."),
        };
        Self { class, sign, text }
    }
}

pub(crate) fn write(input: &Input<'_>) -> Result<String, askama::Error> {
    let snapshot = input.snapshot;
    let mut own = listeners(input.cluster, snapshot, &verify::map(snapshot));
    let routes = own.iter().map(|listener| listener.routes).sum();
    let titles = match input.compared {
        None => ["Who gets where", ""],
        Some(_) => ["Before", "After"],
    };
    let mut pictures: Vec<Picture> = draw("map", titles[0], &own).into_iter().collect();
    if let Some(Compared {
        cluster, snapshot, ..
    }) = input.compared
    {
        let mut other = listeners(cluster, snapshot, &verify::map(snapshot));
        // The table below is about the first one: nothing to lead to.
        other
            .iter_mut()
            .flat_map(|l| &mut l.groups)
            .for_each(|group| {
                group.linked = false;
            });
        pictures.extend(draw("map-after", titles[1], &other));
    }
    bound(&mut own);
    let mut legend: Vec<Who> = pictures.iter().flat_map(|p| &p.who).copied().collect();
    legend.sort_unstable();
    legend.dedup();
    let mut owners: Vec<_> = pictures.iter().flat_map(|p| &p.owners).copied().collect();
    owners.sort_unstable();
    owners.dedup();
    let page = Page {
        policy: policy(),
        name: input.name,
        compared: input.compared.map(|after| after.name),
        facts: facts(input, routes),
        verdict: Banner::of(input.report),
        after: input.compared.map(|after| Banner::of(after.report)),
        pictures,
        legend,
        owners,
        claims: claims(input),
        changed: input.compared.map_or(0, |a| a.difference.changes.len()),
        changes: changes(input),
        changes_undecided: input
            .compared
            .iter()
            .flat_map(|after| &after.difference.undecided)
            .take(REASONS)
            .map(|reason| Rich::of(reason))
            .collect(),
        more_undecided: input.compared.map_or(0, |after| {
            after.difference.undecided.len().saturating_sub(REASONS)
        }),
        found: input.lints.len(),
        lints: lints(input),
        listeners: own,
        routes,
        warnings: snapshot
            .warnings()
            .iter()
            .map(|warning| Rich::of(&warning.to_string()))
            .collect(),
    };
    let html = page.render()?;
    Ok(html
        .replacen("/*style*/", STYLE, 1)
        .replacen("/*script*/", SCRIPT, 1))
}

fn facts(input: &Input<'_>, routes: usize) -> Vec<String> {
    let snapshot = input.snapshot;
    vec![
        format!("Istio {}", snapshot.istio_version()),
        match snapshot.enforces() {
            true => "access levels are enforced".to_owned(),
            false => "policies as written".to_owned(),
        },
        crate::picture::routes(routes),
        format!("all requests, in {} cells", input.report.cells),
    ]
}

/// Nothing but this style and this script, and nothing from anywhere.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}
