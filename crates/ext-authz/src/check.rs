//! One check, from what is asked to the reply.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use edge::Ambiguous;
use edge::refusal;
use http::{HeaderName, StatusCode, header};
use policy::{
    Answers, Caller, Crossing, Denial, Earlier, Entrance, Owner, Passage, Permit, Question,
    Refusal, Reply, RequestHead, Scheme, Snapshot,
};

use crate::asked::{Admitted, Asked};
use crate::cookies::Cookies;
use crate::host::Host;
use crate::mark::MARK;
use crate::pass;
use crate::place::{Form, Place};
use crate::readings::readings;
use crate::reply::{CheckReply, Mutations, is_handed};
use crate::seen::is_seen;
use crate::service::Authorizer;

/// A crossing asks who is calling, and whether they may, once at most.
const MAX_QUESTIONS: usize = 4;

impl<H: Host> Authorizer<H> {
    /// Decides, and says so in the log.
    pub(crate) async fn check(&self, asked: Asked, form: Form) -> CheckReply {
        let logged = tracing::enabled!(target: "ext_authz::access", tracing::Level::INFO);
        let (peer, place) = (asked.peer, asked.place.clone());
        let (principal, listed) = (asked.principal.clone(), asked.listed);
        let line = logged.then(|| {
            let path = asked.target.split('?').next().unwrap_or_default();
            shown(&[&asked.method, " ", &asked.authority, path])
        });
        let snapshot = self.host.snapshot();
        let (reply, why) = match asked.admit(&snapshot) {
            // The answer to a client is about the verdict of before.
            Ok(admitted) if form != Form::Exact && !admitted.claimed.iter().all(is_handed) => {
                let why = "it has a header that says who is calling, and that the gateway does not remove";
                (unfit(why), why.into())
            }
            Ok(admitted) if form != Form::Exact && !admitted.knative.is_empty() => {
                let why = "it has a header that Knative alone writes, and that the gateway does not remove";
                (unfit(why), why.into())
            }
            Ok(admitted) => {
                let principal = principal.as_deref();
                let from = (&place, principal, listed);
                self.decided(&snapshot, from, admitted, form).await
            }
            Err(Ambiguous(why)) => (unfit(why), why.into()),
        };
        if let Some(mut line) = line {
            let status = reply.denial().map_or(200, |reply| reply.status.as_u16());
            // One text and no fields: those are formatted one by one, for each check.
            line.push_str(" peer=");
            push_address(&mut line, peer);
            let place = write!(line, " at={} status=", place.at());
            line.push_str(itoa::Buffer::new().format(status));
            line.push_str(" why=");
            if place.is_ok() && quote(&mut line, &why).is_ok() {
                tracing::info!(target: "ext_authz::access", "{line}");
            }
        }
        reply
    }

    async fn decided(
        &self,
        snapshot: &Arc<Snapshot>,
        (place, principal, listed): (&Place, Option<&str>, bool),
        admitted: Admitted,
        form: Form,
    ) -> (CheckReply, Arc<str>) {
        let Admitted {
            mut head,
            mut claimed,
            knative,
            marks,
        } = admitted;
        let crossing = match snapshot.crossing(place.at(), &head) {
            Ok(crossing) => crossing,
            Err(denial) => return self.denied(*denial, &head, form),
        };
        head.entrance = crossing.side();
        if form != Form::Exact
            && let Err(why) = self.reads_alike(snapshot, place, &crossing, &head)
        {
            return (unfit(why), why.into());
        }
        if listed && crossing.may_be_another(is_seen) {
            let denial = Denial {
                refusal: Refusal::Forbidden("nothing that may be reached is known here".into()),
                reason: "routes of this host that need different things are chosen by a header that checks over HTTP do not see".into(),
            };
            return self.denied(denial, &head, form);
        }
        // The route is the one that the gateway has chosen; nothing else goes by what a client claims.
        for name in &claimed {
            head.headers.remove(name);
        }
        head.workload = principal.and_then(|id| crossing.workload(id));
        let mut answers = Answers::new();
        let earlier = self.earlier(&crossing, &marks);
        let crossed = earlier.is_some();
        if !crossed {
            claimed.extend(knative);
        }
        if let Some(earlier) = earlier {
            head.entrance = earlier.entrance;
            head.workload = earlier.workload;
            if let Some(caller) = earlier.caller {
                answers.caller_is(caller);
            }
        }
        for _ in 0..MAX_QUESTIONS {
            match crossing.decide(&head, crossed, &answers) {
                Passage::Permit(permit) => {
                    if permit.is_open() && climbs(snapshot, place, &head) {
                        let Ambiguous(why) = edge::CLIMBS;
                        return (unfit(why), why.into());
                    }
                    let why = Arc::clone(permit.route());
                    let reply = self.allowed(&crossing, permit, head, claimed, &answers);
                    return (reply, why);
                }
                Passage::Login if form == Form::Verdict => {
                    // The login acts when it is asked for the answer, once.
                    let reply = refusal::json(StatusCode::UNAUTHORIZED, "the login's own", None);
                    return (CheckReply::deny(reply), "the login's own".into());
                }
                Passage::Login => {
                    let page = self.host.login_page(&head).await;
                    let nothing = || {
                        let why = Some("the login has nothing at this path");
                        refusal::json(StatusCode::FORBIDDEN, "forbidden", why)
                    };
                    let mut reply = page.unwrap_or_else(nothing);
                    if self.settings.passes.is_some() {
                        // The next one is given by a check that finds a session.
                        pass::forget(&mut reply, head.scheme == Scheme::Https);
                    }
                    return (CheckReply::deny(reply), "the login's own".into());
                }
                Passage::Reply(reply) => return (CheckReply::deny(reply), "preflight".into()),
                Passage::Denial(denial) => return self.denied(*denial, &head, form),
                Passage::Ask(Question::Caller(tokens)) => {
                    let caller = self.host.caller(&head, tokens).await;
                    answers.caller_is(caller);
                }
                Passage::Ask(Question::Access(check)) => {
                    let answer = self.host.access(&check).await;
                    answers.access_is(*check, answer);
                }
                Passage::Ask(_) => break,
            }
        }
        let denial = Denial {
            refusal: Refusal::Forbidden("the decision could not be completed".into()),
            reason: "a question was not answered".into(),
        };
        self.denied(denial, &head, form)
    }

    /// Whether a gateway that has a reading of its own would route the request
    /// to where it is decided for.
    fn reads_alike(
        &self,
        snapshot: &Snapshot,
        place: &Place,
        crossing: &Crossing<'_>,
        head: &RequestHead,
    ) -> Result<(), &'static str> {
        const PATH: &str = "gateways of this kind may route its path otherwise";
        if policy::host_name(&head.authority).ends_with('.') {
            return Err("gateways of this kind may route its host otherwise");
        }
        let others = readings(&head.path);
        if others.is_empty() {
            return Ok(());
        }
        let need = |crossing: &Crossing<'_>, head: &RequestHead| {
            let passage = crossing.decide(head, false, &Answers::new());
            std::mem::discriminant(&passage)
        };
        let ours = need(crossing, head);
        for path in others {
            let other = RequestHead {
                path,
                ..head.clone()
            };
            let found = snapshot.crossing(place.at(), &other).map_err(|_| PATH)?;
            if found.route() != crossing.route() || need(&found, &other) != ours {
                return Err(PATH);
            }
        }
        Ok(())
    }

    /// What an earlier check wrote down. Several marks are none: one of them is
    /// somebody else's.
    fn earlier(&self, crossing: &Crossing<'_>, marks: &[http::HeaderValue]) -> Option<Earlier> {
        let [mark] = marks else { return None };
        let opened = self
            .keys
            .load()
            .open(mark.as_bytes(), crossing.route()?, self.host.now());
        if opened.is_none() {
            tracing::info!(target: "ext_authz::access", "a mark that does not count is removed");
        }
        opened
    }

    fn allowed(
        &self,
        crossing: &Crossing<'_>,
        permit: Permit,
        head: RequestHead,
        claimed: Vec<HeaderName>,
        answers: &Answers,
    ) -> CheckReply {
        let mut more = Mutations {
            remove: claimed,
            ..Mutations::default()
        };
        if let Some(passes) = &self.settings.passes
            && let Caller::Session(person) = permit.caller()
            && crossing.opens_to_sessions()
            && head.entrance == Entrance::External
        {
            let https = head.scheme == Scheme::Https;
            more.response
                .extend(passes.cookie(person, self.host.now(), https));
        }
        match crossing.owner() {
            Some(Owner::Platform) => {
                more.set
                    .extend(self.host.identity_headers(&head, permit.caller()));
            }
            Some(Owner::Model) => {
                match self.settings.strip(&head.headers) {
                    Cookies::Stay => {}
                    Cookies::Are(kept) => more.set.push((header::COOKIE, kept)),
                    Cookies::Go => more.remove.push(header::COOKIE),
                }
                if poses_as_kubelet(&head) {
                    more.remove.push(header::USER_AGENT);
                }
            }
            _ => {}
        }
        if permit.audience().is_some() {
            // A key that has done its work could be used again by whoever gets it.
            let keys = head
                .headers
                .iter()
                .filter(|(n, v)| policy::is_api_key(n, v));
            more.remove.extend(keys.map(|(name, _)| name.clone()));
        }
        let (entrance, workload) = (head.entrance, head.workload.clone());
        let routes = crossing.leads_on_to(head);
        if routes.is_empty() {
            // The last crossing says it to the upstream itself.
            let told = permit.audience();
            let told = told.and_then(|to| self.host.signed_identity(to, permit.caller()));
            more.set.extend(told);
        } else {
            let earlier = Earlier {
                entrance,
                caller: answers.caller().cloned(),
                workload,
            };
            let mark = self.keys.load().seal(&earlier, &routes, self.host.now());
            let mark = mark.and_then(|mark| http::HeaderValue::try_from(mark).ok());
            let Some(mut mark) = mark else {
                let why = "who is calling does not fit into a header";
                return CheckReply::deny(refusal::json(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    Some(why),
                ));
            };
            mark.set_sensitive(true);
            more.set.push((HeaderName::from_static(MARK), mark));
        }
        CheckReply::allow(permit, more)
    }

    fn denied(&self, denial: Denial, head: &RequestHead, form: Form) -> (CheckReply, Arc<str>) {
        let mut reply = refusal::denial(&denial, head, true, || self.host.login(head));
        if head.is_grpc() && form != Form::Answer {
            // Envoy makes trailers of it; a status of success would be leave
            // for whoever does not.
            reply.status = denial.refusal.status();
        }
        if matches!(reply.status.as_u16(), 404 | 503) {
            // Probes of Knative wait for ever on these.
            reply.status = StatusCode::FORBIDDEN;
        }
        (CheckReply::deny(reply), denial.reason.into())
    }
}

/// Whether a request has the name of the kubelet, which asks pods and no gateway: Knative's queue proxy lets it past the limit
/// of requests at a time, and neither counts nor logs it (networking `IsKubeletProbe`).
fn poses_as_kubelet(head: &RequestHead) -> bool {
    let mut names = head.headers.get_all(header::USER_AGENT).iter();
    names.any(|name| name.as_bytes().starts_with(b"kube-probe/"))
}

/// Whether an upstream may read the path of what is open to everybody as one that
/// is not.
fn climbs(snapshot: &Snapshot, place: &Place, head: &RequestHead) -> bool {
    let is_open = |path: String| {
        let head = RequestHead {
            path,
            ..head.clone()
        };
        let crossing = snapshot.crossing(place.at(), &head);
        let passage = crossing.map(|found| found.decide(&head, false, &Answers::new()));
        matches!(passage, Ok(Passage::Permit(permit)) if permit.is_open())
    };
    let readings = edge::upstream::readings(&head.path);
    !readings.into_iter().all(is_open)
}

/// As much of a request's line as a log takes, on one line whatever is in it.
pub(crate) fn shown(parts: &[&str]) -> String {
    const MAX: usize = 1_000;
    // For what is behind it in the line, too.
    const ROOM: usize = 256;
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    let mut shown = String::with_capacity(ROOM);
    let mut left = MAX;
    for part in parts {
        if part.len() <= left && part.bytes().all(|byte| plain(char::from(byte))) {
            shown.push_str(part);
            left -= part.len();
            continue;
        }
        for c in part.chars() {
            if left == 0 {
                shown.push_str("...");
                return shown;
            }
            left -= 1;
            match plain(c) {
                true => shown.push(c),
                false => shown.extend(c.escape_unicode()),
            }
        }
    }
    shown
}

/// Writes an address as `Display` does, which goes through a buffer of its own.
pub(crate) fn push_address(line: &mut String, address: SocketAddr) {
    let mut number = itoa::Buffer::new();
    if let IpAddr::V4(ip) = address.ip() {
        for (octet, end) in ip
            .octets()
            .into_iter()
            .zip(["."; 3].into_iter().chain([":"]))
        {
            line.push_str(number.format(octet));
            line.push_str(end);
        }
        line.push_str(number.format(address.port()));
    } else {
        line.push_str(&address.to_string());
    }
}

/// Writes a text as `Debug` does, which looks at each character of it.
pub(crate) fn quote(line: &mut String, text: &str) -> std::fmt::Result {
    let plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"\"\\".contains(&byte);
    if !text.bytes().all(plain) {
        return write!(line, "{text:?}");
    }
    line.push('"');
    line.push_str(text);
    line.push('"');
    Ok(())
}

/// A request that has no single reading, or a check that is none.
pub(crate) fn unfit(why: &str) -> CheckReply {
    let reply: Reply = refusal::json(StatusCode::BAD_REQUEST, "bad request", Some(why));
    CheckReply::deny(reply)
}
