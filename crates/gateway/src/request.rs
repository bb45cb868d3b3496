//! One request, from its head to its answer.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use policy::{Answers, CheckAnswer, NoTrace, Permit, Question, RequestHead, Snapshot, Verdict};

use crate::body::{Body, BodyFault, Progress, RequestBody};
use crate::check;
use crate::connection::Connection;
use crate::draw;
use crate::forward::Outbound;
use crate::host::Answer;
use crate::hygiene::{self, Admitted, Origin};
use crate::respond::{self, Fault};

/// Answers a request.
pub(crate) async fn answer(
    connection: &Arc<Connection>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let shared = &connection.shared;
    let snapshot = shared.host.snapshot();
    let on_upgrade = request
        .headers()
        .contains_key(header::UPGRADE)
        .then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let version = parts.version;
    let grpc = is_grpc(&parts.headers);
    let too_long = incoming.size_hint().lower() > shared.limits.body_bytes;
    let admitted = hygiene::admit(
        parts,
        &Origin {
            entrance: connection.entrance,
            peer: connection.peer,
            peer_text: &connection.peer_text,
        },
        &snapshot,
        &*shared.host,
        &shared.limits,
        !incoming.is_end_stream(),
    );
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(unfit) => {
            tracing::info!(target: "gateway::access", peer = %connection.peer, ?unfit, "refused");
            return closing(version, respond::fault(&Fault::Unfit(unfit), grpc));
        }
    };
    if too_long {
        let fault = Fault::Body(BodyFault::TooLarge);
        return closing(version, respond::fault(&fault, grpc));
    }
    let close = admitted.upgrade_sent;
    let (body, progress) = bounded(incoming, &admitted, connection);
    let exchange = Exchange {
        connection,
        snapshot: &snapshot,
        admitted,
        body,
        on_upgrade,
        progress: progress.as_ref(),
    };
    let response = exchange.answer().await;
    let response = match progress.and_then(|progress| progress.fault()) {
        Some(fault) => closing(version, respond::fault(&Fault::Body(fault), grpc)),
        None => response,
    };
    // A connection that asked for an upgrade and did not get it may have bytes
    // of the other protocol behind the request (CVE-2026-2833).
    match close && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        true => closing(version, response),
        false => response,
    }
}

/// As [`RequestHead::is_grpc`], for requests that never get a head.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

fn bounded(
    incoming: Incoming,
    admitted: &Admitted,
    connection: &Arc<Connection>,
) -> (Body, Option<Arc<Progress>>) {
    if incoming.is_end_stream() {
        return (Body::empty(), None);
    }
    let limits = &connection.shared.limits;
    let body = RequestBody::new(
        incoming,
        limits.body_bytes,
        limits.stall_timeout,
        admitted.trailers,
    );
    let progress = body.progress();
    let mut body = Body::request(body);
    body.hold(connection.busy());
    (body, Some(progress))
}

/// Has the connection closed after this response.
fn closing(version: Version, mut response: Response<Body>) -> Response<Body> {
    if version != Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

struct Exchange<'a> {
    connection: &'a Arc<Connection>,
    snapshot: &'a Arc<Snapshot>,
    admitted: Admitted,
    body: Body,
    on_upgrade: Option<OnUpgrade>,
    progress: Option<&'a Arc<Progress>>,
}

impl Exchange<'_> {
    async fn answer(self) -> Response<Body> {
        let connection = self.connection;
        let head = &self.admitted.head;
        let grpc = head.is_grpc();
        let logged = tracing::enabled!(target: "gateway::access", tracing::Level::INFO);
        let line = logged.then(|| format!("{} {}{}", head.method, head.authority, head.path));
        let mut why = String::new();
        let response = match decide(connection, self.snapshot, head).await {
            Ok(Ok(permit)) if permit.is_open() && climbs(self.snapshot, head) => {
                discard(self.body, self.admitted.expects);
                edge::CLIMBS.0.clone_into(&mut why);
                respond::fault(&Fault::Unfit(edge::CLIMBS.into()), grpc)
            }
            Ok(Ok(permit)) => {
                if logged {
                    why.push_str(permit.route());
                }
                let response = self.forward(permit).await;
                response.unwrap_or_else(|fault| respond::fault(&fault, grpc))
            }
            Ok(Err(denial)) => {
                let host = &*connection.shared.host;
                let response = respond::denial(&denial, head, self.snapshot.enforces(), host);
                why = denial.reason;
                discard(self.body, self.admitted.expects);
                response
            }
            Err(fault) => {
                discard(self.body, self.admitted.expects);
                respond::fault(&fault, grpc)
            }
        };
        if let Some(line) = line {
            tracing::info!(
                target: "gateway::access",
                peer = %connection.peer,
                status = response.status().as_u16(),
                why,
                "{line}"
            );
        }
        response
    }

    async fn forward(self, permit: Permit) -> Result<Response<Body>, Fault> {
        let outbound = Outbound {
            connection: self.connection,
            permit,
            admitted: self.admitted,
            body: self.body,
            on_upgrade: self.on_upgrade,
            progress: self.progress,
        };
        outbound.send().await
    }
}

/// Whether an upstream may read the path of what is open to everybody as one that
/// is not.
fn climbs(snapshot: &Snapshot, head: &RequestHead) -> bool {
    let is_open = |path: String| {
        let head = RequestHead {
            path,
            ..head.clone()
        };
        let verdict = policy::decide(snapshot, &head, &Answers::new(), &mut NoTrace);
        matches!(verdict, Verdict::Permit(permit) if permit.is_open())
    };
    let readings = edge::upstream::readings(&head.path);
    !readings.into_iter().all(is_open)
}

/// More questions than any decision has: crossings times authorizers, and the caller.
const MAX_QUESTIONS: usize = 32;

async fn decide(
    connection: &Arc<Connection>,
    snapshot: &Snapshot,
    head: &RequestHead,
) -> Result<Result<Permit, Box<policy::Denial>>, Fault> {
    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
    let mut answers = Answers::with_draw(draw::number() as u32);
    for _ in 0..MAX_QUESTIONS {
        match policy::decide(snapshot, head, &answers, &mut NoTrace) {
            Verdict::Permit(permit) => return Ok(Ok(permit)),
            Verdict::Denial(denial) => return Ok(Err(denial)),
            Verdict::Ask(question) => {
                let answer = connection.shared.host.answer(&question, head).await;
                match (&question, answer) {
                    (Question::Caller(_), Answer::Caller(caller)) => answers.caller_is(caller),
                    (Question::Access(check), Answer::Access(answer)) => {
                        answers.access_is((**check).clone(), answer);
                    }
                    (Question::Check(check), Answer::Check(answer)) => {
                        answers.check_is(check.id, answer)
                    }
                    (Question::Check(check), Answer::AskOver(endpoint)) => {
                        let answer = check::ask(connection, head, check, endpoint).await;
                        if let CheckAnswer::Failed(why) = &answer {
                            tracing::warn!(provider = &*check.provider, %why, "an authorizer did not answer");
                        }
                        answers.check_is(check.id, answer);
                    }
                    (Question::Tokens { hop, checks }, Answer::Tokens(all))
                        if all.len() == checks.len() =>
                    {
                        for (check, answer) in checks.iter().zip(all) {
                            answers.token_is(*hop, check, answer);
                        }
                    }
                    _ => return Err(Fault::Undecided),
                }
            }
        }
    }
    Err(Fault::Undecided)
}

/// Takes the rest of a short body off the connection, so that the answer is
/// not lost in a reset and the connection can be used again. A client that
/// waits for `100 Continue` has not sent it.
fn discard(body: Body, expects: bool) {
    const MOST: usize = 256 * 1024;
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(1);
    if expects || body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(LONGEST, async move {
        use http_body_util::BodyExt as _;
        let mut body = body;
        let mut left = MOST;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, bytes::Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }));
}
