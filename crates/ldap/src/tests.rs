//! Filters as text and as bytes, and servers that do not behave.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn bytes(filter: &Filter) -> Vec<u8> {
    let mut out = Vec::new();
    filter.write(&mut out);
    out
}

#[test]
fn filters_are_read_and_written_alike() {
    for text in [
        "(objectClass=person)",
        "(&(objectClass=person)(|(uid=a)(mail=a@example.com))(!(disabled=TRUE)))",
        "(cn=*)",
        "(cn=a*)",
        "(cn=*a)",
        "(cn=a*b*c)",
        "(memberOf:1.2.840.113556.1.4.1941:=cn=staff,dc=example,dc=com)",
        "(cn:dn:caseExactMatch:=x)",
        "(:dn:2.4.6.8.10:=x)",
        "(a>=5)",
        "(a<=5)",
        "(a~=5)",
        "(cn;lang-de=x)",
        r"(cn=\28\29\2a\5c\00)",
        "(&)",
        "(|)",
        "(cn=)",
    ] {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.to_string(), text);
    }
    // Bytes that are not of ASCII are written as such.
    let korean = Filter::parse("(cn=박)").unwrap();
    assert_eq!(korean, Filter::equal("cn", "박"));
    assert_eq!(korean.to_string(), r"(cn=\eb\b0\95)");
}

#[test]
fn what_is_no_filter_says_where() {
    for (text, at) in [
        ("", 0),
        ("objectClass=person", 0),
        ("(objectClass=person", 19),
        ("(objectClass=person))", 20),
        ("(=x)", 1),
        ("(a)", 2),
        ("(a=(b)", 3),
        (r"(a=\zz)", 5),
        (r"(a=\2)", 5),
        (r"(a=\+2)", 5),
        // At the end and not behind it.
        (r"(a=\", 4),
        ("(a>=*)", 5),
        ("(a=**)", 5),
        ("(!a=b)", 2),
        ("(a:=*)", 5),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.at, at, "{text}: {error}");
    }
    let deep = format!("{}(a=b){}", "(!".repeat(40), ")".repeat(40));
    assert!(Filter::parse(&deep).is_err());
}

/// RFC 4511 section 4.5.1.7; the bytes are those that OpenLDAP's client sends.
#[test]
fn filters_have_the_bytes_of_the_standard() {
    assert_eq!(
        bytes(&Filter::equal("uid", "a")),
        b"\xa3\x08\x04\x03uid\x04\x01a"
    );
    assert_eq!(bytes(&Filter::Present("uid".into())), b"\x87\x03uid");
    let parts = Filter::parse("(cn=a*b*c)").unwrap();
    assert_eq!(
        bytes(&parts),
        b"\xa4\x0f\x04\x02cn\x30\x09\x80\x01a\x81\x01b\x82\x01c"
    );
    let any = Filter::parse("(|(a=b)(!(a=b)))").unwrap();
    let inner = b"\xa3\x06\x04\x01a\x04\x01b";
    assert_eq!(
        bytes(&any),
        [b"\xa1\x12", &inner[..], b"\xa2\x08", inner].concat()
    );
}

/// A name that somebody types is a value, whatever is in it.
#[test]
fn a_value_is_never_syntax() {
    let typed = "*)(uid=*))(|(uid=*";
    let filter = Filter::And(vec![
        Filter::parse("(objectClass=person)").unwrap(),
        Filter::equal("uid", typed),
    ]);
    let written = bytes(&filter);
    assert!(written.ends_with(typed.as_bytes()));
    assert_eq!(
        filter.to_string(),
        r"(&(objectClass=person)(uid=\2a\29\28uid=\2a\29\29\28|\28uid=\2a))"
    );
    assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
}

/// A server that sends `answers`, one for each message that it gets.
async fn server(answers: Vec<Vec<u8>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        for answer in answers {
            if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        // Until the other side has enough.
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    });
    Server::new("127.0.0.1", port, Security::None, &Trust::default()).unwrap()
}

fn message(id: u8, operation: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ber::element(&mut out, ber::SEQUENCE, |out| {
        ber::number(out, ber::INTEGER, id.into());
        out.extend_from_slice(operation);
    });
    out
}

fn result(tag: u8, code: u8) -> Vec<u8> {
    let mut out = Vec::new();
    ber::element(&mut out, tag, |out| {
        ber::number(out, ber::ENUMERATED, code.into());
        ber::octets(out, ber::OCTETS, b"");
        ber::octets(out, ber::OCTETS, b"said\nso");
    });
    out
}

fn entry(dn: &str) -> Vec<u8> {
    let mut out = Vec::new();
    ber::element(&mut out, 0x64, |out| {
        ber::octets(out, ber::OCTETS, dn.as_bytes());
        ber::element(out, ber::SEQUENCE, |out| {
            ber::element(out, ber::SEQUENCE, |out| {
                ber::octets(out, ber::OCTETS, b"Mail");
                ber::element(out, ber::SET, |out| {
                    ber::octets(out, ber::OCTETS, b"\xff");
                    ber::octets(out, ber::OCTETS, b"a@example.com");
                });
            });
        });
    });
    out
}

async fn searched(answer: Vec<u8>, limit: u32) -> Result<Vec<Entry>, Error> {
    let server = server(vec![answer]).await;
    let mut connection = Connection::open(&server, Duration::from_secs(5)).await?;
    let filter = Filter::Present("objectClass".into());
    let search = Search {
        base: "dc=example",
        scope: Scope::Sub,
        filter: &filter,
        attributes: &["mail"],
        limit,
    };
    connection.search(search).await
}

#[tokio::test]
async fn a_search_takes_no_more_than_it_asked_for() {
    let done = message(1, &result(0x65, 0));
    let one = message(1, &entry("cn=a"));
    let reference = message(1, &[0x73, 0x02, 0x04, 0x00]);
    let found = searched([&one[..], &reference, &done].concat(), 1)
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].value("mail"), Some("a@example.com"));
    assert_eq!(found[0].value("DN"), Some("cn=a"));
    assert_eq!(found[0].value("uid"), None);
    let two = searched([&one[..], &one, &done].concat(), 1).await;
    assert!(matches!(two, Err(Error::TooMuch(_))), "{two:?}");
    let limited = searched(message(1, &result(0x65, 4)), 1).await;
    assert!(matches!(limited, Err(Error::TooMuch(_))), "{limited:?}");
    let endless = searched(reference.repeat(2000), 1).await;
    assert!(matches!(endless, Err(Error::TooMuch(_))), "{endless:?}");
    let refused = searched(message(1, &result(0x65, 32)), 1)
        .await
        .unwrap_err();
    assert!(refused.is_no_such_object());
    assert_eq!(refused.to_string(), "result 32: saidso");
}

#[tokio::test]
async fn servers_that_do_not_speak_ldap_are_left() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "element of another kind",
        ),
        (b"\x30\x84\x7f\xff\xff\xff", "above 1 MiB"),
        (b"\x30\x80", "length of another form"),
        (b"\x30\x05\x02\x01\x01\x65\x10", "ends early"),
        (
            b"\x30\x0c\x02\x01\x09\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
            "answer to something else",
        ),
        (b"\x1f\x01\x00", "element of another kind"),
    ] {
        let error = searched(answer.to_vec(), 1).await.unwrap_err().to_string();
        assert!(
            expected.split('|').any(|e| error.contains(e)),
            "{answer:?}: {error}"
        );
    }
    let notice = searched(message(0, &result(0x78, 52)), 1).await;
    assert!(
        matches!(notice, Err(Error::Refused { code: 52, .. })),
        "{notice:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_after_a_while() {
    let server = server(vec![Vec::new()]).await;
    let mut connection = Connection::open(&server, Duration::from_secs(5))
        .await
        .unwrap();
    let late = connection.bind("cn=a", "secret").await;
    assert!(matches!(late, Err(Error::Late)), "{late:?}");
}

#[tokio::test]
async fn an_empty_password_is_never_sent() {
    let server = server(vec![
        message(1, &result(0x61, 0)),
        message(2, &result(0x61, 49)),
    ])
    .await;
    let mut connection = Connection::open(&server, Duration::from_secs(5))
        .await
        .unwrap();
    let empty = connection.bind("cn=a", "").await;
    assert!(matches!(empty, Err(Error::EmptyPassword)), "{empty:?}");
    connection.bind_anonymously().await.unwrap();
    let wrong = connection.bind("cn=a", "wrong").await.unwrap_err();
    assert!(wrong.is_wrong_password(), "{wrong}");
}

/// Neither a server that declines TLS, nor one behind which somebody adds answers to it, gets a
/// password.
#[tokio::test]
async fn nothing_goes_on_without_the_tls_that_was_asked_for() {
    let agreed = message(1, &result(0x78, 0));
    let added = [&agreed[..], &message(2, &result(0x61, 0))].concat();
    for (answer, expected) in [
        (message(1, &result(0x78, 52)), "result 52"),
        (message(1, &result(0x61, 0)), "answer to something else"),
        (added, "before the TLS handshake"),
    ] {
        let plain = server(vec![answer]).await;
        let trust = Trust::default();
        let port = plain.port();
        let server = match Server::new("127.0.0.1", port, Security::StartTls, &trust) {
            Ok(server) => server,
            // A system without authorities trusts nobody.
            Err(TrustError::NoSystem) => continue,
            Err(error) => panic!("{error}"),
        };
        let error = Connection::open(&server, Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
