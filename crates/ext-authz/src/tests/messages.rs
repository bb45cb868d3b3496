//! Messages as Envoy writes and reads them.

use http::{HeaderName, HeaderValue, StatusCode};
use policy::{Entrance, Reply, Snapshot};
use proptest::prelude::*;
use wire::{Decode as _, Encoder, Malformed, Value};

use super::peer;
use crate::CheckReply;
use crate::asked::Asked;
use crate::place::{Form, Place, place_of};
use crate::question::CheckRequest;

/// What a reply says, as Envoy reads the message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) code: u64,
    pub(super) status: u64,
    pub(super) set: Vec<(String, String)>,
    pub(super) remove: Vec<String>,
    pub(super) ok: bool,
    pub(super) denied: bool,
}

impl wire::Decode for Read {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.code = value.message::<One>()?.0,
            2 => {
                self.denied = true;
                let part: Part = value.message()?;
                (self.status, self.set) = (part.status, part.headers);
            }
            3 => {
                self.ok = true;
                let part: Part = value.message()?;
                (self.set, self.remove) = (part.headers, part.remove);
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct One(u64);

impl wire::Decode for One {
    fn field(&mut self, _: u32, value: Value) -> Result<(), Malformed> {
        self.0 = value.number()?;
        Ok(())
    }
}

#[derive(Default)]
struct Part {
    status: u64,
    headers: Vec<(String, String)>,
    remove: Vec<String>,
}

impl wire::Decode for Part {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.status = value.message::<One>()?.0,
            2 => self.headers.push(value.message::<HeaderOption>()?.0),
            5 => self.remove.push(value.text()?),
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct HeaderOption((String, String));

impl wire::Decode for HeaderOption {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        if number == 1 {
            self.0 = value.message::<Pair>()?.0;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Pair((String, String));

impl wire::Decode for Pair {
    fn field(&mut self, number: u32, value: Value) -> Result<(), Malformed> {
        match number {
            1 => self.0.0 = value.text()?,
            2 => self.0.1 = value.text()?,
            _ => {}
        }
        Ok(())
    }
}

pub(super) fn read(reply: &CheckReply) -> Read {
    Read::decode(reply.to_message().into()).unwrap()
}

#[test]
fn a_prefix_names_the_listener() {
    use Form::{Answer, Exact, Forwarded, Verdict};
    let at = |form, side, port, rest| Some((form, Place::Side { side, port }, rest));
    let (external, local) = (Entrance::External, Entrance::Local);
    for (path, expected) in [
        ("/external/a?b", at(Exact, external, None, "/a?b")),
        ("/local/", at(Exact, local, None, "/")),
        ("/external-8443/a", at(Exact, external, Some(8443), "/a")),
        ("/external//a", at(Exact, external, None, "//a")),
        ("/verdict/local/a?b", at(Verdict, local, None, "/a?b")),
        (
            "/answer/external-80//",
            at(Answer, external, Some(80), "//"),
        ),
        ("/forwarded/external", at(Forwarded, external, None, "")),
        (
            "/forwarded/external?/local/a",
            at(Forwarded, external, None, ""),
        ),
        // What a client asks for behind the prefix of a gateway is a path.
        (
            "/external/forwarded/local",
            at(Exact, external, None, "/forwarded/local"),
        ),
        (
            "/verdict/external/answer/local/",
            at(Verdict, external, None, "/answer/local/"),
        ),
        ("/forwarded/external/", None),
        ("/forwarded/external/local/", None),
        ("/forwarded", None),
        ("/forwarded/", None),
        ("/verdict/external", None),
        ("/verdict/verdict/external/", None),
        ("/Forwarded/external", None),
        ("/external", None),
        ("/external?a", None),
        ("/externally/a", None),
        ("/other/a", None),
        ("/local-/a", None),
        ("/local-99999/a", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(place_of(path), expected, "{path}");
    }
}

/// A check as Envoy writes it.
fn message(port: u64, path: &str, host: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let address = Encoder::default().number(3, port).finish();
    let peer = |address: &[u8]| {
        let socket = Encoder::default().always(1, address).finish();
        Encoder::default().always(1, &socket).finish()
    };
    let mut http = Encoder::default()
        .bytes(1, b"id")
        .bytes(2, b"GET")
        .bytes(4, path.as_bytes())
        .bytes(5, host.as_bytes())
        .number(9, 12);
    for (name, value) in headers {
        let entry = Encoder::default()
            .bytes(1, name.as_bytes())
            .bytes(2, value.as_bytes());
        http = http.always(3, &entry.finish());
    }
    let request = Encoder::default().always(2, &http.finish()).finish();
    let attributes = Encoder::default()
        .always(1, &peer(&[]))
        .always(2, &peer(&address))
        .always(4, &request);
    Encoder::default().always(1, &attributes.finish()).finish()
}

#[test]
fn a_check_is_read_as_envoy_writes_it() {
    let headers = [
        (":path", "/other"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("empty", ""),
    ];
    let bytes = message(8080, "/a?b", "h.example.com", &headers);
    let CheckRequest(check) = CheckRequest::read(&bytes.into()).unwrap();
    assert_eq!(check.destination.port, 8080);
    assert_eq!(check.http.path, "/a?b");
    assert_eq!(check.http.host, "h.example.com");
    assert_eq!(check.http.headers.len(), 3);
    assert_eq!(check.http.headers.get("empty").unwrap(), "");
    let asked = |authority| {
        let bytes = message(8080, "/", "h", &[]);
        let check = CheckRequest::read(&bytes.into()).unwrap();
        match Asked::over_grpc(check, Some(authority), peer()).place {
            Place::Port { side, .. } => side,
            Place::Side { .. } => None,
        }
    };
    assert_eq!(
        asked("sidegate-authz-local.sidegate.svc.cluster.local"),
        Some(Entrance::Local)
    );
    assert_eq!(
        asked("outbound|9000||sidegate-authz-external.s.svc"),
        Some(Entrance::External)
    );
    assert_eq!(
        asked("sidegate-authz.sidegate.svc.cluster.local:9000"),
        None
    );
}

/// The gateway's configuration says where a request arrived; headers that look like it do not.
#[test]
fn a_context_extension_names_the_place() {
    let asked = |name: &str, place: &str| {
        let entry = Encoder::default()
            .bytes(1, name.as_bytes())
            .bytes(2, place.as_bytes())
            .finish();
        let attributes = Encoder::default().always(10, &entry).finish();
        let message = Encoder::default().always(1, &attributes).finish();
        let check = CheckRequest::read(&message.into()).ok()?;
        Some(Asked::over_grpc(check, None, peer()).place)
    };
    let side = |side, port| Some(Place::Side { side, port });
    let name = "sidegate-place";
    assert_eq!(asked(name, "external"), side(Entrance::External, None));
    assert_eq!(asked(name, "local-80"), side(Entrance::Local, Some(80)));
    assert_eq!(asked(name, "elsewhere"), None);
    assert_eq!(asked(name, ""), None);
    let unset = asked("other", "local");
    assert!(
        matches!(unset, Some(Place::Port { port: 0, .. })),
        "{unset:?}"
    );
    let headers = [(name, "local"), ("x-forwarded-port", "8081")];
    let check = CheckRequest::read(&message(8080, "/", "h", &headers).into()).unwrap();
    let place = Asked::over_grpc(check, None, peer()).place;
    assert!(matches!(place, Place::Port { port: 8080, .. }));
}

/// A message of one mebibyte holds half a million headers, which would be thirty.
#[test]
fn there_is_an_end_to_headers_in_either_form() {
    let many = |number: u32, count: usize| {
        let entry = Encoder::default().bytes(1, b"a").finish();
        let mut http = Encoder::default();
        if number == 13 {
            let list = (0..count).fold(Encoder::default(), |list, _| list.always(1, &entry));
            http = http.always(13, &list.finish());
        } else {
            http = (0..count).fold(http, |http, _| http.always(3, &entry));
        }
        let request = Encoder::default().always(2, &http.finish()).finish();
        let attributes = Encoder::default().always(4, &request).finish();
        let message = Encoder::default().always(1, &attributes).finish();
        CheckRequest::read(&message.into()).is_ok()
    };
    for number in [3, 13] {
        assert!(many(number, 512));
        assert!(!many(number, 513));
    }
}

proptest! {
    /// Whatever a denial says, Envoy does not read leave in it, in either protocol.
    #[test]
    fn a_denial_never_allows(
        status in 100_u16..1000,
        headers in proptest::collection::vec(("[a-z-]{1,12}", "[ -~]{0,20}"), 0..5),
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let headers = headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        });
        let reply = CheckReply::deny(Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.into(),
        });
        let read = read(&reply);
        prop_assert!(read.code != 0 && read.denied && !read.ok);
        prop_assert!(!reply.allows());
        for form in [Form::Exact, Form::Verdict, Form::Answer, Form::Forwarded] {
            let reply = CheckReply::deny(reply.denial().unwrap().clone());
            let status = reply.into_response(form, Vec::new()).status();
            prop_assert!(!status.is_informational());
            match form {
                // 5xx is an authorizer in trouble, which `failOpen` makes leave.
                Form::Exact => prop_assert!(status != StatusCode::OK && !status.is_server_error()),
                Form::Verdict => prop_assert_eq!(status, StatusCode::UNAUTHORIZED),
                Form::Forwarded => prop_assert!(!status.is_success()),
                // It lets nothing through, whatever it says.
                Form::Answer => {}
            }
        }
    }

    /// Bytes that are no check are denied and nothing worse.
    #[test]
    fn any_bytes_are_a_check_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(check) = CheckRequest::read(&bytes.into()) {
            let asked = Asked::over_grpc(check, None, peer());
            let snapshot = Snapshot::default();
            drop(asked.admit(&snapshot));
        }
    }

    /// A check that is cut anywhere is another one or none.
    #[test]
    fn a_cut_check_is_survived(path in "/[ -~]{0,20}", at in 0_usize..200) {
        let bytes = message(8080, &path, "h", &[("a", "b")]);
        let cut = bytes.get(..at.min(bytes.len())).unwrap().to_vec();
        drop(CheckRequest::read(&cut.into()));
    }

    /// No path of a client reaches another listener or looks like a call.
    #[test]
    fn a_path_behind_a_prefix_stays_there(path in "/[!-~]{0,30}") {
        let with = format!("/external{path}");
        let (form, place, rest) = place_of(&with).unwrap();
        prop_assert_eq!(form, Form::Exact);
        prop_assert_eq!(place, Place::Side { side: Entrance::External, port: None });
        prop_assert_eq!(rest, path);
    }
}

/// `AttributeContext.Peer.principal`, beside the address.
#[test]
fn a_principal_is_read_of_the_source_alone() {
    let end = |name: &str| Encoder::default().always(4, name.as_bytes()).finish();
    let of = |source: &str, destination: &str| {
        let attributes = Encoder::default()
            .always(1, &end(source))
            .always(2, &end(destination))
            .finish();
        let message = Encoder::default().always(1, &attributes).finish();
        let check = CheckRequest::read(&message.into()).unwrap();
        Asked::over_grpc(check, None, peer()).principal
    };
    assert_eq!(
        of("spiffe://a/ns/b/sa/c", "x").as_deref(),
        Some("spiffe://a/ns/b/sa/c")
    );
    assert_eq!(of("", "spiffe://a/ns/b/sa/c"), None);
}
