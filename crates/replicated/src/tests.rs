use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::position::Position;
use super::recent::Recent;
use super::*;
use secret::Secret;

fn settings(url: &str) -> Result<Settings, BadSettings> {
    Settings::new(&Secret::new(url), None, None, None, "sidegate")
}

#[test]
fn addresses_of_three_kinds_are_read_and_secrets_are_not_shown() {
    for (url, address) in [
        ("redis://:of-redis@127.0.0.1:7000/3", "127.0.0.1:7000"),
        ("rediss://me:of-redis@localhost:7000", "localhost:7000"),
        ("unix:///run/redis.sock?pass=of-redis", "/run/redis.sock"),
    ] {
        let settings = settings(url).unwrap();
        assert_eq!(settings.address(), address);
        assert!(!format!("{settings:?}").contains("of-redis"));
    }
    for url in [
        "",
        "http://127.0.0.1",
        "127.0.0.1:6379",
        "rediss://host/#insecure",
    ] {
        assert!(matches!(settings(url), Err(BadSettings::Url(_))), "{url}");
    }
}

#[test]
fn prefixes_have_no_letters_that_patterns_have() {
    for prefix in ["", "a*", "a b", "{a}", "a?", "[a]", &"a".repeat(65)] {
        let url = Secret::new("redis://127.0.0.1");
        let refused = Settings::new(&url, None, None, None, prefix);
        assert!(matches!(refused, Err(BadSettings::Prefix(_))), "{prefix}");
    }
}

#[test]
fn an_authority_needs_tls() {
    let url = |url: &str| Settings::new(&Secret::new(url), None, None, Some(b"x"), "sidegate");
    assert!(matches!(url("redis://127.0.0.1"), Err(BadSettings::NoTls)));
    assert!(matches!(
        url("rediss://127.0.0.1"),
        Err(BadSettings::Authority(_))
    ));
}

/// What is said to a server that lets nobody in, by each of these connections.
fn said_to_a_server(connect: impl FnOnce(&str)) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", server.local_addr().unwrap());
    let (told, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in server.incoming().map_while(Result::ok) {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).unwrap_or_default();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if told.send(text).is_err() {
                return;
            }
            let _ = stream.write_all(b"-WRONGPASS\r\n");
        }
    });
    connect(&url);
    said.try_iter().collect()
}

#[test]
fn each_connection_has_the_password_that_is_there_then() {
    let password = Arc::new(Mutex::new(Some("first")));
    let known = Arc::clone(&password);
    let said = said_to_a_server(|url| {
        let url = Secret::new(url);
        let read = move || {
            let password = (*known.lock().unwrap()).map(Secret::new)?;
            Settings::new(&url, None, Some(&password), None, "sidegate").ok()
        };
        let settings = read().unwrap().read_again(read);
        for next in [Some("second"), None, Some("third"), None] {
            assert!(settings.connect().is_err());
            *password.lock().unwrap() = next;
        }
    });
    let order: Vec<&str> = said
        .split_ascii_whitespace()
        .filter(|word| ["first", "second", "third"].contains(word))
        .collect();
    // While there is none the last one counts.
    assert_eq!(order, ["first", "second", "second", "third"], "{said}");
}

#[test]
fn positions_are_read_as_they_are_written_and_nothing_else_is() {
    let start = Position::start(5);
    assert_eq!(Position::parse(b"", 5), Some(start.clone()));
    let next = start.next(1).unwrap();
    assert_eq!(
        Position::parse(next.text().as_bytes(), 9),
        Some(next.clone())
    );
    let other = start.next(5).unwrap();
    assert_ne!(other, next, "a name of its own");
    assert!(!other.is_of(&next) && other.is_of(&start), "another birth");
    assert!(next.next(5).unwrap().is_of(&next));
    for text in [
        "5",
        "5.1.0",
        "5.0.0.0",
        "5.1.0.x",
        "5.1.0.0.0",
        "x.1.0.0",
        "\u{fffd}",
    ] {
        assert_eq!(Position::parse(text.as_bytes(), 5), None, "{text}");
    }
}

#[test]
fn what_changed_after_a_position_is_known_for_a_while() {
    let start = Position::start(1);
    let mut recent = Recent::at(start.clone());
    let first = start.next(1).unwrap();
    recent.push(first.clone(), vec!["a".to_owned(), "b".to_owned()]);
    let second = first.next(1).unwrap();
    recent.push(second.clone(), vec!["b".to_owned(), "c".to_owned()]);
    let since = |recent: &Recent, position: &Position| {
        let names = recent.since(position);
        names.map(|names| names.into_iter().collect::<String>())
    };
    assert_eq!(since(&recent, &start).as_deref(), Some("abc"));
    assert_eq!(since(&recent, &first).as_deref(), Some("bc"));
    assert_eq!(since(&recent, &second).as_deref(), Some(""));
    assert_eq!(
        since(&recent, &start.next(1).unwrap()),
        None,
        "another history"
    );
    let mut last = second;
    for _ in 0..5000 {
        last = last.next(1).unwrap();
        recent.push(last.clone(), vec!["d".to_owned()]);
    }
    assert_eq!(since(&recent, &first), None, "too long ago");
    recent.push(last.next(1).unwrap(), vec![String::new(); 70_000]);
    assert_eq!(since(&recent, &last), None, "too much");
}
