//! The auth map as a picture: listeners, gateways, hosts, routes, who gets in,
//! with a ribbon for what goes from one to the next. Large configurations are
//! drawn by group, so that it stays a picture.

mod units;

use std::collections::{BTreeMap, HashMap};

use crate::routes::Listener;
use crate::who::Who;

use units::{Unit, key, units};

const COLUMNS: [(f64, usize, &str); 5] = [
    (0.0, 21, "Listener"),
    (165.0, 35, "Gateway"),
    (420.0, 37, "Host"),
    (690.0, 37, "Route"),
    (960.0, 30, "Who gets in with nothing in hand"),
];
const WIDTH: f64 = 1180.0;
const TOP: f64 = 34.0;
const BAR: f64 = 9.0;
const GAP: f64 = 9.0;
/// Enough for a line of text.
const LEAST: f64 = 19.0;
/// Height that the routes share, and of one where there are few.
const HEIGHT: f64 = 520.0;
const ONE: f64 = 30.0;

pub(crate) struct Picture {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) words: String,
    pub(crate) width: String,
    pub(crate) height: String,
    pub(crate) headings: Vec<(String, &'static str)>,
    pub(crate) ribbons: Vec<Ribbon>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) who: Vec<Who>,
    pub(crate) owners: Vec<(usize, &'static str, &'static str)>,
    /// Routes that are left out since no request gets to them.
    pub(crate) never: usize,
}

pub(crate) struct Ribbon {
    pub(crate) path: String,
    pub(crate) class: &'static str,
    pub(crate) title: String,
}

pub(crate) struct Node {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) height: String,
    pub(crate) text_x: String,
    pub(crate) text_y: String,
    pub(crate) class: &'static str,
    pub(crate) label: String,
    pub(crate) count: usize,
    pub(crate) title: String,
    pub(crate) href: Option<String>,
}

/// What is drawn in a column.
struct Draft {
    label: String,
    weight: usize,
    class: &'static str,
    href: Option<String>,
    y: f64,
    height: f64,
}

/// Draws the routes of a configuration; nothing if there is none.
pub(crate) fn draw(id: &str, title: &str, listeners: &[Listener]) -> Option<Picture> {
    let units = units(listeners);
    if units.is_empty() {
        return None;
    }
    let scale = (HEIGHT / as_f64(units.len())).min(ONE);
    let mut columns: Vec<Vec<Draft>> = Vec::new();
    let mut at: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
    for column in 0..COLUMNS.len() {
        let drafts = drafts(&units, column, &mut at, scale);
        columns.push(drafts);
    }
    let height = columns.iter().map(|c| column_height(c)).fold(0.0, f64::max);
    for column in &mut columns {
        let mut y = TOP + (height - column_height(column)) / 2.0;
        for draft in column {
            draft.y = y;
            y += draft.height + GAP;
        }
    }
    let mut who: Vec<Who> = units.iter().map(|unit| unit.who).collect();
    who.sort_unstable();
    who.dedup();
    let mut owners: Vec<_> = units
        .iter()
        .map(|u| (u.owner.2, u.owner.0, u.owner.1))
        .collect();
    owners.sort_unstable();
    owners.dedup();
    let never = listeners
        .iter()
        .flat_map(|l| &l.groups)
        .flat_map(|g| &g.who);
    let never = never
        .filter(|(who, _)| *who == Who::Never)
        .map(|(_, n)| n)
        .sum();
    Some(Picture {
        id: id.to_owned(),
        title: title.to_owned(),
        words: words(listeners, &units),
        width: number(WIDTH),
        height: number(TOP + height + 8.0),
        headings: COLUMNS
            .iter()
            .map(|(x, _, name)| (number(*x), *name))
            .collect(),
        ribbons: ribbons(&units, &columns, &at),
        nodes: nodes(&columns),
        who,
        owners,
        never,
    })
}

fn drafts(units: &[Unit<'_>], column: usize, at: &mut [Vec<usize>], scale: f64) -> Vec<Draft> {
    let mut order: Vec<(String, String)> = Vec::new();
    let mut known: HashMap<(String, String), usize> = HashMap::new();
    let mut place: Vec<usize> = Vec::new();
    for unit in units {
        let key = key(unit, column);
        let index = *known.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            order.len() - 1
        });
        place.push(index);
    }
    // Routes stand where most of what leads to them stands, the last column in
    // its own order.
    let mut sorted: Vec<usize> = (0..order.len()).collect();
    let mean = |index: usize| -> f64 {
        let mut sum = 0.0;
        let mut count = 0.0;
        for (unit, own) in place.iter().enumerate() {
            if *own == index {
                sum += at
                    .get(unit)
                    .and_then(|a| a.last())
                    .map_or(0.0, |a| as_f64(*a));
                count += 1.0;
            }
        }
        sum / f64::max(count, 1.0)
    };
    if column + 1 == COLUMNS.len() {
        sorted.sort_by_key(|index| {
            let unit = place.iter().position(|own| own == index);
            unit.and_then(|unit| units.get(unit)).map(|unit| unit.who)
        });
    } else if column == 3 {
        let means: Vec<f64> = sorted.iter().map(|index| mean(*index)).collect();
        let mean = |index: &usize| means.get(*index).copied().unwrap_or_default();
        sorted.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
    }
    let mut position = vec![0; order.len()];
    for (rank, index) in sorted.iter().enumerate() {
        if let Some(place) = position.get_mut(*index) {
            *place = rank;
        }
    }
    let mut drafts: Vec<Draft> = sorted
        .iter()
        .map(|index| Draft {
            label: order
                .get(*index)
                .map(|(_, label)| label.clone())
                .unwrap_or_default(),
            weight: 0,
            class: "",
            href: None,
            y: 0.0,
            height: 0.0,
        })
        .collect();
    for ((unit, own), at) in units.iter().zip(&place).zip(at) {
        let rank = position.get(*own).copied().unwrap_or_default();
        at.push(rank);
        if let Some(draft) = drafts.get_mut(rank) {
            draft.weight += 1;
            match column {
                2 if unit.group.linked => draft.href = Some(unit.group.id.clone()),
                3 => draft.class = unit.owner.1,
                4 => draft.class = unit.who.class(),
                _ => {}
            }
        }
    }
    for draft in &mut drafts {
        draft.height = f64::max(as_f64(draft.weight) * scale, LEAST);
    }
    drafts
}

fn column_height(column: &[Draft]) -> f64 {
    let heights: f64 = column.iter().map(|draft| draft.height + GAP).sum();
    heights - GAP
}

fn ribbons(units: &[Unit<'_>], columns: &[Vec<Draft>], at: &[Vec<usize>]) -> Vec<Ribbon> {
    let mut out = Vec::new();
    for (gap, pair) in columns.windows(2).enumerate() {
        let [from, to] = pair else { continue };
        let mut weights: BTreeMap<(usize, usize, &'static str), usize> = BTreeMap::new();
        for (unit, at) in units.iter().zip(at) {
            if let [a, b] = at.get(gap..=gap + 1).unwrap_or_default() {
                let class = if gap == 3 {
                    unit.who.class()
                } else {
                    unit.owner.1
                };
                *weights.entry((*a, *b, class)).or_default() += 1;
            }
        }
        let mut arrivals: BTreeMap<(usize, usize, &'static str), usize> = BTreeMap::new();
        for ((a, b, class), weight) in &weights {
            arrivals.insert((*b, *a, *class), *weight);
        }
        let left = offsets(from, weights.iter().map(|((a, ..), weight)| (*a, *weight)));
        let right = offsets(to, arrivals.iter().map(|((b, ..), weight)| (*b, *weight)));
        let right: HashMap<_, _> = arrivals
            .keys()
            .map(|(b, a, class)| (*a, *b, *class))
            .zip(right)
            .collect();
        let edge = |column: usize| COLUMNS.get(column).map_or(0.0, |(x, ..)| *x);
        let (x0, x1) = (edge(gap) + BAR, edge(gap + 1));
        for ((key, weight), (top, bottom)) in weights.iter().zip(left) {
            let Some((arrive, leave)) = right.get(key) else {
                continue;
            };
            let (a, b, class) = key;
            let middle = number(f64::midpoint(x0, x1));
            let path = format!(
                "M{} {}C{middle} {} {middle} {} {} {}V{}C{middle} {} {middle} {} {} {}Z",
                number(x0),
                number(top),
                number(top),
                number(*arrive),
                number(x1),
                number(*arrive),
                number(*leave),
                number(*leave),
                number(bottom),
                number(x0),
                number(bottom),
            );
            let name = |column: &[Draft], index: usize| {
                column
                    .get(index)
                    .map(|d| d.label.clone())
                    .unwrap_or_default()
            };
            out.push(Ribbon {
                path,
                class,
                title: format!("{} → {}: {}", name(from, *a), name(to, *b), routes(*weight)),
            });
        }
    }
    out
}

/// Top and bottom of each ribbon at its end, in the order given.
fn offsets(column: &[Draft], ribbons: impl Iterator<Item = (usize, usize)>) -> Vec<(f64, f64)> {
    let mut used: HashMap<usize, usize> = HashMap::new();
    let ends = ribbons.map(|(index, weight)| {
        let before = used.entry(index).or_default();
        let from = *before;
        *before += weight;
        let Some(draft) = column.get(index) else {
            return (0.0, 0.0);
        };
        let one = draft.height / as_f64(draft.weight.max(1));
        (
            draft.y + as_f64(from) * one,
            draft.y + as_f64(from + weight) * one,
        )
    });
    ends.collect()
}

fn nodes(columns: &[Vec<Draft>]) -> Vec<Node> {
    let mut out = Vec::new();
    for (column, (x, most, _)) in columns.iter().zip(COLUMNS) {
        for draft in column {
            out.push(Node {
                x: number(x),
                y: number(draft.y),
                height: number(draft.height),
                text_x: number(x + BAR + 6.0),
                text_y: number(draft.y + draft.height / 2.0 + 4.5),
                class: draft.class,
                label: cut(&draft.label, most - draft.weight.to_string().len()),
                count: draft.weight,
                title: format!("{}: {}", draft.label, routes(draft.weight)),
                href: draft.href.clone(),
            });
        }
    }
    out
}

/// The end is what tells objects and hosts apart, the beginning what they are.
fn cut(label: &str, most: usize) -> String {
    // The kind is the same for nearly all, and in the title of the node.
    let label = label.strip_prefix("VirtualService ").unwrap_or(label);
    let count = label.chars().count();
    if count <= most {
        return label.to_owned();
    }
    let (head, tail) = (most * 2 / 3, most - most * 2 / 3 - 1);
    let first: String = label.chars().take(head).collect();
    let last: String = label.chars().skip(count - tail).collect();
    format!("{first}…{last}")
}

pub(crate) fn routes(count: usize) -> String {
    match count {
        1 => "1 route".to_owned(),
        _ => format!("{count} routes"),
    }
}

/// The picture for who does not see it.
fn words(listeners: &[Listener], units: &[Unit<'_>]) -> String {
    let mut out = String::new();
    for listener in listeners {
        let label = format!("{} {}", listener.name, listener.port);
        let mut who: BTreeMap<Who, usize> = BTreeMap::new();
        let own = units.iter().filter(|unit| {
            let [listener, ..] = &unit.labels;
            *listener == label
        });
        for unit in own {
            *who.entry(unit.who).or_default() += 1;
        }
        let each: Vec<String> = who
            .iter()
            .map(|(who, count)| format!("{}: {}", who.name(), routes(*count)))
            .collect();
        out.push_str(&format!(
            "On the {} listener, {}: {}. ",
            listener.name,
            listener.describe,
            each.join(", ")
        ));
    }
    out
}

/// Coordinates need no more.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_both_ends() {
        assert_eq!(cut("VirtualService a/b", 22), "a/b");
        let long = cut("sklearn-iris-predictor.kserve-test.svc.cluster.local", 30);
        assert_eq!(long.chars().count(), 30);
        assert!(long.starts_with("sklearn-iris-predict") && long.ends_with(".local"));
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!(
            (number(10.0), number(0.25)),
            ("10".to_owned(), "0.2".to_owned())
        );
    }
}
