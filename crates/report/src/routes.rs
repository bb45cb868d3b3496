//! All routes, grouped for a reader: by listener, by domain, by host.

use std::collections::{BTreeMap, HashMap};

use policy::{Destination, Entrance, Limits, ListenerView, Snapshot};
use resources::istio::VirtualService;
use resources::{Cluster, Object, ObjectRef};
use verify::RouteFates;

use crate::rich::Rich;
use crate::who::{Who, owner_class, owner_name, owner_rank};

/// Up to here all hosts of a listener are unfolded.
const FEW: usize = 12;

/// Routes that are written out; a page with more is no longer read.
const MOST: usize = 2_000;

/// Hosts of which no route can match: a VirtualService has all its routes on all
/// its hosts.
const UNUSED: &str = "none of whose routes gets a request";

pub(crate) struct Listener {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) describe: String,
    pub(crate) groups: Vec<Group>,
    pub(crate) routes: usize,
}

/// Hosts below one domain, or of one namespace.
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) hosts: Vec<Host>,
    pub(crate) routes: usize,
    pub(crate) open: bool,
    /// Too many hosts to show them all unfolded.
    pub(crate) many: bool,
    /// Its name is that of its one host.
    pub(crate) alone: bool,
    /// It is written out on the page.
    pub(crate) linked: bool,
    /// Routes that are not written out.
    pub(crate) left_out: usize,
    /// Who gets in, with how many routes.
    pub(crate) who: Vec<(Who, usize)>,
}

/// Virtual hosts with the same routes.
pub(crate) struct Host {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) who: Vec<(Who, usize)>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Alternatives, in each what all has to hold.
    pub(crate) matches: Vec<Vec<String>>,
    pub(crate) gateway: String,
    pub(crate) object: String,
    pub(crate) place: Rich,
    pub(crate) source: String,
    pub(crate) owner: &'static str,
    pub(crate) owner_class: &'static str,
    pub(crate) owner_rank: usize,
    pub(crate) who: Who,
    pub(crate) level: Option<&'static str>,
    pub(crate) limits: Vec<String>,
    pub(crate) leads_to: Vec<String>,
}

pub(crate) fn entrance(entrance: Entrance) -> &'static str {
    match entrance {
        Entrance::External => "external",
        Entrance::Local => "cluster-local",
    }
}

/// Groups the routes of a configuration.
pub(crate) fn listeners(
    cluster: &Cluster,
    snapshot: &Snapshot,
    routes: &[RouteFates],
) -> Vec<Listener> {
    let bound = Bound::of(cluster);
    let mut out: Vec<Listener> = Vec::new();
    for view in snapshot.listeners() {
        let own: Vec<&RouteFates> = routes
            .iter()
            .filter(|r| r.listener == view.index())
            .collect();
        let Some(first) = own.first() else { continue };
        let mut groups: BTreeMap<String, Vec<Host>> = BTreeMap::new();
        for (host, rows) in by_host(&own, &view, &bound, snapshot.enforces()) {
            let name = if rows.iter().all(|row| row.who == Who::Never) {
                UNUSED.to_owned()
            } else {
                group(first.entrance, host)
            };
            let hosts = groups.entry(name).or_default();
            match hosts.iter_mut().find(|known| known.rows == rows) {
                Some(same) => same.names.push(host.to_owned()),
                None => hosts.push(Host {
                    names: vec![host.to_owned()],
                    who: tally(&rows),
                    rows,
                }),
            }
        }
        for hosts in groups.values_mut() {
            hosts.sort_by_cached_key(|host| host.names.first().map(|name| natural(name)));
        }
        let mut groups: Vec<(String, Vec<Host>)> = groups.into_iter().collect();
        groups.sort_by_key(|(name, _)| name == UNUSED);
        let count: usize = groups.iter().map(|(_, hosts)| hosts.len()).sum();
        let groups: Vec<Group> = groups
            .into_iter()
            .enumerate()
            .map(|(number, (name, hosts))| Group {
                id: format!("hosts-{}-{number}", view.index()),
                open: count <= FEW && name != UNUSED,
                many: hosts.len() > FEW,
                linked: true,
                left_out: 0,
                routes: hosts.iter().map(|host| host.rows.len()).sum(),
                who: tally(hosts.iter().flat_map(|host| &host.rows)),
                alone: alone(&hosts),
                name: match hosts.as_slice() {
                    [one] if alone(&hosts) => one.names.join(" "),
                    [_] => name,
                    several => format!("{} hosts {name}", several.len()),
                },
                hosts,
            })
            .collect();
        out.push(Listener {
            port: view.port(),
            name: entrance(first.entrance),
            describe: view.describe().to_string(),
            routes: groups.iter().map(|group| group.routes).sum(),
            groups,
        });
    }
    // From outside first, as most readers come from there.
    out.sort_by_key(|listener| listener.name != entrance(Entrance::External));
    out
}

/// Leaves out what is too much to be read, host by host from the end.
pub(crate) fn bound(listeners: &mut [Listener]) {
    let mut shown = 0;
    for group in listeners
        .iter_mut()
        .flat_map(|listener| &mut listener.groups)
    {
        group.hosts.retain(|host| {
            shown += host.rows.len();
            let fits = shown <= MOST;
            if !fits {
                group.left_out += host.rows.len();
            }
            fits
        });
    }
}

fn alone(hosts: &[Host]) -> bool {
    matches!(hosts, [one] if one.names.len() == 1 && one.names != ["*"])
}

fn by_host<'r>(
    routes: &[&'r RouteFates],
    listener: &ListenerView<'_>,
    bound: &Bound<'_>,
    enforced: bool,
) -> Vec<(&'r str, Vec<Row>)> {
    let mut out: Vec<(&str, Vec<Row>)> = Vec::new();
    for route in routes {
        let row = Row::of(route, bound.gateway(listener, route), enforced);
        match out.last_mut() {
            Some((host, rows)) if *host == route.host => rows.push(row),
            _ => out.push((&route.host, vec![row])),
        }
    }
    out
}

fn tally<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Vec<(Who, usize)> {
    let mut out: BTreeMap<Who, usize> = BTreeMap::new();
    for row in rows {
        *out.entry(row.who).or_default() += 1;
    }
    out.into_iter().collect()
}

/// Numbers sort by their value: `app2` before `app10`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut out = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let at = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (text, after) = rest.split_at(at);
        let end = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        out.push((text.to_owned(), number.parse().unwrap_or(0)));
        rest = after;
    }
    out
}

/// Which Gateways routes are bound to.
struct Bound<'c>(HashMap<(&'c str, &'c str, &'c str), &'c Object<VirtualService>>);

impl<'c> Bound<'c> {
    fn of(cluster: &'c Cluster) -> Self {
        let all = cluster.virtual_services.iter();
        Self(
            all.map(|vs| ((&*vs.kind, &*vs.meta.namespace, &*vs.meta.name), vs))
                .collect(),
        )
    }

    /// The Gateway of a listener that a route is there through. A delegate does
    /// not name its own.
    fn gateway(&self, listener: &ListenerView<'_>, route: &RouteFates) -> String {
        let name = |gateway: &ObjectRef| format!("{}/{}", gateway.namespace, gateway.name);
        let object = &route.object;
        let key = (&*object.kind, &*object.namespace, &*object.name);
        let named = self.0.get(&key).map_or(&[][..], |vs| &vs.spec.gateways);
        let full = |text: &String| match text.contains('/') {
            true => text.clone(),
            false => format!("{}/{text}", object.namespace),
        };
        let named: Vec<String> = named.iter().map(full).collect();
        let all: Vec<String> = listener.gateways().iter().map(|(g, _)| name(g)).collect();
        let own: Vec<String> = all.iter().filter(|g| named.contains(g)).cloned().collect();
        let gateways = if own.is_empty() { all } else { own };
        match gateways.as_slice() {
            [one] => one.clone(),
            [] => "-".to_owned(),
            several => format!("{} gateways", several.len()),
        }
    }
}

/// What a host is listed under: the domain above it, and of names inside the
/// cluster, which come in several lengths, the namespace.
pub(crate) fn group(entrance: Entrance, host: &str) -> String {
    let bare = host.strip_prefix("*.").unwrap_or(host);
    if bare == "*" {
        return "every other host".to_owned();
    }
    let mut labels = bare.split('.');
    let (first, second) = (labels.next(), labels.next());
    let inside = entrance == Entrance::Local || bare.ends_with(".svc.cluster.local");
    match (first, second) {
        (Some(_), Some(namespace)) if inside && first != Some("svc") => {
            format!("in namespace {namespace}")
        }
        _ if host.starts_with("*.") => format!("below {bare}"),
        _ => match bare.split_once('.') {
            Some((_, above)) if above.contains('.') => format!("below {above}"),
            _ => bare.to_owned(),
        },
    }
}

impl Row {
    fn of(route: &RouteFates, gateway: String, enforced: bool) -> Self {
        Self {
            gateway,
            matches: route.matches.clone(),
            object: route.object.to_string(),
            place: Rich::of(&route.place),
            source: route.source.to_string(),
            owner: owner_name(route.owner),
            owner_class: owner_class(route.owner),
            owner_rank: owner_rank(route.owner),
            who: Who::of(route),
            level: enforced.then(|| route.level.name()),
            limits: limits(&route.limits),
            leads_to: route.destinations.iter().map(leads_to).collect(),
        }
    }
}

pub(crate) fn leads_to(destination: &Destination) -> String {
    match destination {
        Destination::Service { service, port } => format!("{service}:{port}"),
        Destination::Host { host, port } => format!("{host}:{port}"),
        Destination::Login => "the embedded login".to_owned(),
        Destination::Reply(reply) => format!("answers {}", reply.status),
    }
}

fn limits(limits: &Limits) -> Vec<String> {
    let lists = [
        ("namespaces", &limits.namespaces),
        ("service accounts", &limits.service_accounts),
        ("users", &limits.users),
        ("groups", &limits.groups),
    ];
    let named = lists.into_iter().filter(|(_, list)| !list.is_empty());
    named
        .map(|(name, list)| format!("only {name} {}", list.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_listed_under_what_they_share() {
        let check =
            |entrance, host, expected| assert_eq!(group(entrance, host), expected, "{host}");
        check(Entrance::External, "*", "every other host");
        check(Entrance::External, "shop.example.com", "below example.com");
        check(Entrance::External, "*.example.com", "below example.com");
        check(Entrance::External, "example.com", "example.com");
        check(
            Entrance::External,
            "m.ns.svc.cluster.local",
            "in namespace ns",
        );
        check(Entrance::Local, "m.ns", "in namespace ns");
        check(Entrance::Local, "m.ns.svc", "in namespace ns");
    }

    #[test]
    fn numbers_sort_as_numbers() {
        let mut names = ["app10.a", "app9.a", "app", "app9.b"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["app", "app9.a", "app9.b", "app10.a"]);
    }
}
