use super::*;

#[test]
fn http_statuses_become_grpc_ones_as_in_envoy() {
    for (http, grpc) in [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (302, 2),
        (500, 2),
    ] {
        assert_eq!(
            from_http(StatusCode::from_u16(http).unwrap()),
            grpc,
            "{http}"
        );
    }
}

#[test]
fn grpc_messages_are_percent_encoded() {
    for (text, expected) in [
        ("plain text", Some("plain text")),
        ("100%", Some("100%25")),
        ("a\nb", Some("a%0Ab")),
        ("é", Some("%C3%A9")),
        ("", None),
    ] {
        let message = grpc_message(text);
        let message = message.as_ref().map(|value| value.to_str().unwrap());
        assert_eq!(message, expected, "{text}");
    }
}

#[test]
fn replies_do_not_frame_themselves() {
    let made = reply(Reply {
        status: StatusCode::FOUND,
        headers: vec![
            (header::CONTENT_LENGTH, HeaderValue::from_static("100")),
            (
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            ),
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::SET_COOKIE, HeaderValue::from_static("a=1")),
            (header::SET_COOKIE, HeaderValue::from_static("b=2")),
        ],
        body: bytes::Bytes::new(),
    });
    assert_eq!(made.headers().len(), 2);
    assert_eq!(made.headers().get_all(header::SET_COOKIE).iter().count(), 2);
    let interim = reply(Reply {
        status: StatusCode::SWITCHING_PROTOCOLS,
        headers: Vec::new(),
        body: bytes::Bytes::new(),
    });
    assert_eq!(interim.status(), StatusCode::BAD_GATEWAY);
}

#[test]
fn an_authorizers_answer_to_grpc_keeps_its_headers_and_not_its_framing() {
    let made = grpc_denial(&Refusal::Answer(Reply {
        status: StatusCode::FORBIDDEN,
        headers: vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html")),
            (
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            ),
            (
                HeaderName::from_static("x-reason"),
                HeaderValue::from_static("r"),
            ),
        ],
        body: bytes::Bytes::from_static(b"no"),
    }));
    let headers = made.headers();
    assert_eq!(made.status(), StatusCode::OK);
    assert_eq!(
        headers.get_all("grpc-status").iter().collect::<Vec<_>>(),
        ["7"]
    );
    assert_eq!(headers.get("grpc-message").unwrap(), "no");
    assert_eq!(headers.get("content-type").unwrap(), "application/grpc");
    assert_eq!(headers.get("x-reason").unwrap(), "r");
}
