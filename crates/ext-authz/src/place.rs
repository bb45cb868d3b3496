//! What a gateway says about a check beside the request: where the request
//! arrived, and how it reads the answer.

use policy::{At, Entrance};

/// Where the request arrived, as the gateway says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Port {
        port: u16,
        side: Option<Entrance>,
        sni: Option<String>,
    },
    Side {
        side: Entrance,
        port: Option<u16>,
    },
}

impl Place {
    pub(crate) fn at(&self) -> At<'_> {
        match self {
            Self::Port { port, side, sni } => At::Port {
                port: *port,
                side: *side,
                sni: sni.as_deref(),
            },
            Self::Side { side, port } => At::Side {
                side: *side,
                port: *port,
            },
        }
    }

    /// A place in words: `external`, `local`, or with a port, `external-8443`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (side, port) = match text.split_once('-') {
            Some((side, port)) => (side, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let side = match side {
            "external" => Entrance::External,
            "local" => Entrance::Local,
            _ => return None,
        };
        Some(Self::Side { side, port })
    }
}

/// How a gateway reads the answer to a check over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Envoy: exactly 200 is leave, and everything else goes to the client.
    Exact,
    /// nginx: any 2xx is leave, and 401 is none. What the client gets then is
    /// asked for in the form of an [answer](Self::Answer).
    Verdict,
    /// What the client gets, if the request may not go on.
    Answer,
    /// Traefik and Caddy: any 2xx is leave, everything else goes to the client.
    /// Method, host and path are in `x-forwarded-*`, which the gateway writes.
    Forwarded,
}

impl Form {
    /// Whether the gateway takes a list of headers from an allow in place of
    /// the client's, and cannot be told to remove others.
    pub(crate) fn hands_over(self) -> bool {
        matches!(self, Self::Verdict | Self::Forwarded)
    }
}

/// The form and the place that a path begins with, and the path behind them:
/// `/external`, `/local`, or with a port, `/external-8443`, for Envoy; behind
/// `/verdict`, `/answer` or `/forwarded` for others. The gateway's configuration
/// puts it there, before whatever the client asked for.
pub(crate) fn place_of(path: &str) -> Option<(Form, Place, &str)> {
    let (segment, rest) = segment(path)?;
    let form = match segment {
        "verdict" => Form::Verdict,
        "answer" => Form::Answer,
        "forwarded" => Form::Forwarded,
        place => {
            let place = Place::parse(place)?;
            return rest.starts_with('/').then_some((Form::Exact, place, rest));
        }
    };
    let (place, target) = self::segment(rest)?;
    let place = Place::parse(place)?;
    if form == Form::Forwarded {
        // Headers say what was asked for and nothing else does; Caddy leaves
        // the client's query there.
        return (target.is_empty() || target.starts_with('?')).then_some((form, place, ""));
    }
    target.starts_with('/').then_some((form, place, target))
}

/// The first segment of a path, and what is behind it.
fn segment(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix('/')?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest.split_at_checked(end)
}

/// The side that a Service's name says, by its ending: `sidegate-authz-local.…`
/// may be asked by one deployment of gateways, `sidegate-authz-external.…` by
/// another. Envoy writes the name of its cluster where nothing else is set,
/// `outbound|9000||sidegate-authz-local.…`.
pub(crate) fn side_of(authority: &str) -> Option<Entrance> {
    let host = authority.rsplit('|').next()?;
    let name = host.split(['.', ':']).next()?;
    match name.rsplit_once('-')?.1 {
        "local" => Some(Entrance::Local),
        "external" => Some(Entrance::External),
        _ => None,
    }
}
