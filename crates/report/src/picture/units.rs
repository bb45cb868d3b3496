//! What is drawn: each route of each host, by name or by group.

use std::collections::BTreeMap;

use crate::routes::{Group, Listener};
use crate::who::Who;

/// Things in one column; more are drawn by group.
const MOST: usize = 16;

/// One route of one host, by what it is drawn as in each column.
pub(super) struct Unit<'r> {
    pub(super) labels: [String; 5],
    pub(super) listener: usize,
    pub(super) owner: (&'static str, &'static str, usize),
    pub(super) who: Who,
    pub(super) group: &'r Group,
}

impl Unit<'_> {
    fn place(&self) -> (usize, &str, usize, &str, &str) {
        let [_, gateway, host, object, _] = &self.labels;
        (self.listener, gateway, self.owner.2, object, host)
    }
}

/// All routes that get requests.
pub(super) fn units(listeners: &[Listener]) -> Vec<Unit<'_>> {
    let mut units = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        for group in &listener.groups {
            for host in &group.hosts {
                let name = host.names.first().map_or("", String::as_str);
                let name = match host.names.len() {
                    0 | 1 => name.to_owned(),
                    several => format!("{name} +{}", several - 1),
                };
                for row in host.rows.iter().filter(|row| row.who != Who::Never) {
                    let listener = format!("{} {}", listener.name, listener.port);
                    units.push(Unit {
                        labels: [
                            listener,
                            row.gateway.clone(),
                            name.clone(),
                            row.object.clone(),
                            row.who.name().to_owned(),
                        ],
                        listener: index,
                        owner: (row.owner, row.owner_class, row.owner_rank),
                        who: row.who,
                        group,
                    });
                }
            }
        }
    }
    // What leads to the same object stands together.
    units.sort_by(|a: &Unit<'_>, b| a.place().cmp(&b.place()));
    let by_group = |unit: &Unit<'_>| unit.group.name.clone();
    let by_namespace = |unit: &Unit<'_>| {
        let [.., object, _] = &unit.labels;
        let namespace = object
            .rsplit(' ')
            .next()
            .and_then(|name| name.split_once('/'));
        match namespace {
            Some((namespace, _)) => format!("{} in {namespace}", unit.owner.0),
            None => unit.owner.0.to_owned(),
        }
    };
    shorten(&mut units, 2, &by_group);
    shorten(&mut units, 3, &by_namespace);
    shorten(&mut units, 3, &|unit| unit.owner.0.to_owned());
    units
}

/// Draws a column by group where it has too much in it; what is left beyond the
/// bound is one.
fn shorten(units: &mut [Unit<'_>], column: usize, group: &dyn Fn(&Unit<'_>) -> String) {
    let distinct = |units: &[Unit<'_>]| -> BTreeMap<(String, String), usize> {
        let mut all = BTreeMap::new();
        for unit in units {
            *all.entry(key(unit, column)).or_default() += 1;
        }
        all
    };
    if distinct(units).len() <= MOST {
        return;
    }
    for unit in units.iter_mut() {
        let label = group(unit);
        if let Some(place) = unit.labels.get_mut(column) {
            *place = label;
        }
    }
    let all = distinct(units);
    if all.len() <= MOST {
        return;
    }
    let mut largest: Vec<(&(String, String), &usize)> = all.iter().collect();
    largest.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let kept: Vec<(String, String)> = largest
        .iter()
        .take(MOST - 2)
        .map(|(key, _)| (*key).clone())
        .collect();
    let left = |of: &str| {
        all.keys()
            .filter(|k| k.0 == of && !kept.contains(k))
            .count()
    };
    for unit in units.iter_mut() {
        let key = key(unit, column);
        let together = left(&key.0);
        // One that is left alone keeps its name.
        if !kept.contains(&key)
            && together > 1
            && let Some(place) = unit.labels.get_mut(column)
        {
            *place = format!("{together} smaller groups");
        }
    }
}

/// Gateways and hosts of different listeners are different things.
pub(super) fn key(unit: &Unit<'_>, column: usize) -> (String, String) {
    let label = unit.labels.get(column).cloned().unwrap_or_default();
    let [listener, ..] = &unit.labels;
    let of = if (1..=2).contains(&column) {
        listener.clone()
    } else {
        String::new()
    };
    (of, label)
}
