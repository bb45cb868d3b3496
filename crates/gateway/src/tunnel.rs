//! WebSocket tunnels: bytes both ways once the upstream has agreed.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::time::timeout;

use crate::body::Body;
use crate::connection::Connection;
use crate::respond::Fault;
use edge::names;

const BUFFER: usize = 8 * 1024;
/// From the 101 to the end of the handshake on both sides.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Passes the upstream's 101 on and copies from then on, for as long as both
/// sides like. Counts as an open connection, so a drain waits for it up to its
/// deadline.
pub(crate) fn open(
    connection: &Arc<Connection>,
    client: OnUpgrade,
    mut response: Response<Incoming>,
) -> Result<Response<Body>, Fault> {
    let to_websocket = response
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !to_websocket {
        return Err(Fault::Broken("the upstream switched to another protocol"));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let open = Arc::clone(connection);
    tokio::spawn(async move {
        let both = async { tokio::try_join!(client, upstream) };
        let Ok(Ok((client, upstream))) = timeout(HANDSHAKE, both).await else {
            return;
        };
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        let copied =
            copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await;
        if let Err(error) = copied {
            tracing::debug!(peer = %open.peer, %error, "tunnel ended");
        }
    });
    let (parts, _) = response.into_parts();
    let mut switching = Response::new(Body::empty());
    *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = switching.headers_mut();
    *headers = parts.headers;
    let gone: Vec<_> = headers
        .keys()
        .filter(|name| names::is_hop_by_hop(name) || **name == header::CONTENT_LENGTH)
        .cloned()
        .collect();
    for name in gone {
        headers.remove(name);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    Ok(switching)
}
