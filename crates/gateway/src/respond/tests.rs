use super::*;

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
