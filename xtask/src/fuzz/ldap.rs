//! What a directory answers, and filters as somebody writes them.

use std::io::Cursor;
use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ldap::{Connection, Entry, Error, Filter, Scope, Search};

use super::Target;
use super::bytes::mutated;
use super::random::Random;

/// Of RFC 4515, OpenLDAP and Active Directory.
const FILTERS: [&str; 16] = [
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
    "(cn;lang-de=\\eb\\b0\\95)",
    r"(cn=\28\29\2a\5c\00)",
    "(&(|)(!(&)))",
    "(!(!(!(!(!(!(!(!(a=b)))))))))",
];
/// What people type as their names.
const NAMES: [&str; 6] = [
    "user@example.com",
    "*)(uid=*))(|(uid=*",
    "a\\2a\u{0}b",
    "박",
    "CN=a,DC=b",
    "",
];
/// Entries that a search asks for.
const LIMIT: u32 = 5;

/// Answers of a directory to a bind and a search, and filters.
pub(super) struct Directories {
    runtime: tokio::runtime::Runtime,
    answers: Vec<Vec<u8>>,
    filters: Vec<Vec<u8>>,
    names: Vec<Vec<u8>>,
}

enum Made {
    Answers(Vec<u8>),
    Filter(String),
    Name(String),
}

/// One element of BER, its length in so many bytes more than it takes.
fn element(tag: u8, longer: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    let first = length.iter().position(|byte| *byte != 0).unwrap_or(7);
    let first = first.saturating_sub(longer);
    let digits = length.get(first..).unwrap_or_default();
    let mut out = vec![tag];
    match digits {
        [short] if *short < 0x80 && longer == 0 => out.push(*short),
        digits => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

fn message(id: u8, longer: usize, operation: &[u8]) -> Vec<u8> {
    let id = element(0x02, 0, &[id]);
    element(0x30, longer, &[&id, operation].concat())
}

fn done(tag: u8, code: u8, text: &str) -> Vec<u8> {
    let parts = [
        element(0x0a, 0, &[code]),
        element(0x04, 0, b""),
        element(0x04, 0, text.as_bytes()),
    ];
    element(tag, 0, &parts.concat())
}

fn entry(dn: &str, attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, values) in attributes {
        let values: Vec<u8> = values
            .iter()
            .flat_map(|value| element(0x04, 0, value))
            .collect();
        let parts = [element(0x04, 0, name.as_bytes()), element(0x31, 0, &values)];
        list.extend(element(0x30, 0, &parts.concat()));
    }
    let parts = [element(0x04, 0, dn.as_bytes()), element(0x30, 0, &list)];
    element(0x64, 1, &parts.concat())
}

impl Directories {
    pub(super) fn new() -> Result<Self> {
        let person = entry(
            "uid=a,ou=people,dc=example,dc=com",
            &[
                ("uid", &[b"a"]),
                ("mail", &[b"a@example.com", b"b@example.com"]),
                ("jpegPhoto", &[b"\xff\xd8\xff\xe0"]),
                ("cn", &["박".as_bytes()]),
                ("empty", &[]),
            ],
        );
        let group = entry("cn=staff,dc=example,dc=com", &[("cn", &[b"staff"])]);
        let bound = message(1, 0, &done(0x61, 0, ""));
        let found = |entries: &[&[u8]]| {
            let mut out = bound.clone();
            for entry in entries {
                out.extend(message(2, 2, entry));
            }
            out.extend(message(2, 0, &done(0x65, 0, "")));
            out
        };
        let reference = element(0x73, 0, &element(0x04, 0, b"ldap://other/dc=example"));
        let long = entry("cn=long", &[("description", &[&[b'x'; 700]])]);
        let answers = vec![
            found(&[]),
            found(&[&person]),
            found(&[&person, &group, &long]),
            found(&[&reference, &group]),
            found(&[group.as_slice(); 6]),
            message(
                1,
                0,
                &done(0x61, 49, "80090308: LdapErr: DSID-0C090400, data 52e"),
            ),
            message(0, 0, &done(0x78, 52, "the server is going down")),
            [
                bound.clone(),
                message(2, 0, &done(0x65, 32, "no such object")),
            ]
            .concat(),
        ];
        let of_text = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let made = Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            answers,
            filters: of_text(&FILTERS),
            names: of_text(&NAMES),
        };
        // What is changed has to be right to begin with.
        let entries = made.answered(found(&[&person, &group]));
        ensure!(
            entries.as_ref().is_ok_and(|found| found.len() == 2),
            "{entries:?}"
        );
        for text in FILTERS {
            ensure!(Filter::parse(text).is_ok(), "{text}");
        }
        Ok(made)
    }

    fn made(&self, random: &mut Random) -> Made {
        match random.below(4) {
            0 => Made::Filter(text_of(&mutated(random, &self.filters))),
            1 => Made::Name(text_of(&mutated(random, &self.names))),
            _ => Made::Answers(mutated(random, &self.answers)),
        }
    }

    /// Binds and searches with a server that sends these bytes and ends.
    fn answered(&self, bytes: Vec<u8>) -> Result<Vec<Entry>, Error> {
        let filter = Filter::equal("uid", "a");
        let search = Search {
            base: "dc=example,dc=com",
            scope: Scope::Sub,
            filter: &filter,
            attributes: &["uid", "mail"],
            limit: LIMIT,
        };
        self.runtime.block_on(async {
            let stream = tokio::io::join(Cursor::new(bytes), tokio::io::sink());
            let mut connection = Connection::over(stream, Duration::from_secs(60));
            connection.bind("cn=admin", "secret").await?;
            connection.search(search).await
        })
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A filter that is read, written and read again is the same.
fn same_again(filter: &Filter) -> Result<(), String> {
    let text = filter.to_string();
    match Filter::parse(&text) {
        Ok(again) if again == *filter => Ok(()),
        Ok(again) => Err(format!("`{text}` is read as {again:?}, was {filter:?}")),
        Err(error) => Err(format!("`{text}` was written and is not read: {error}")),
    }
}

impl Target for Directories {
    fn run(&self, random: &mut Random) -> Result<&'static str, String> {
        match self.made(random) {
            Made::Filter(text) => match Filter::parse(&text) {
                Ok(filter) => same_again(&filter).map(|()| "a filter"),
                Err(error) if error.at > text.len() => Err(format!("{error}, of `{text}`")),
                Err(_) => Ok("no filter"),
            },
            Made::Name(name) => {
                let filter = Filter::And(vec![
                    Filter::Present("objectClass".to_owned()),
                    Filter::equal("uid", &name),
                ]);
                same_again(&filter)?;
                let stars = filter.to_string().matches('*').count();
                match stars {
                    1 => Ok("a name"),
                    _ => Err(format!("`{name}` is syntax in `{filter}`")),
                }
            }
            Made::Answers(bytes) => match self.answered(bytes) {
                Ok(entries) if entries.len() > LIMIT as usize => {
                    Err(format!("{} entries, {LIMIT} were asked for", entries.len()))
                }
                Ok(_) => Ok("found"),
                Err(Error::Late) => Err("waits for nothing".to_owned()),
                Err(error) if error.to_string().is_empty() => {
                    Err("refused without a reason".to_owned())
                }
                Err(Error::Refused { .. }) => Ok("the server's refusal"),
                Err(_) => Ok("refused"),
            },
        }
    }

    fn input(&self, random: &mut Random) -> String {
        match self.made(random) {
            Made::Filter(text) => format!("filter {text}"),
            Made::Name(name) => format!("name {name}"),
            Made::Answers(bytes) => format!("answers {}", STANDARD.encode(bytes)),
        }
    }
}
