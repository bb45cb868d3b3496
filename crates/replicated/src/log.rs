//! The log and the records as they are in Redis. One connection, for one thread, which waits.

use std::sync::LazyLock;

use redis::{Cmd, Connection, Value, cmd};

use crate::position::Position;
use crate::{Error, Settings};

/// How many transactions a replica catches up with; with more it reads everything anew.
const FOLLOWED: usize = 2048;
/// How many keys one step of reading everything looks at.
const SCANNED: usize = 1000;
/// How much longer than its end a record stays: clocks of replicas and of Redis differ.
const SKEW: u64 = 60;
/// What is not a time that anybody meant (the year 5138).
const FAR: u64 = 100_000_000_000;

static APPEND: &str = include_str!("append.lua");
static FOLLOW: &str = include_str!("follow.lua");
static LONGEST: LazyLock<String> = LazyLock::new(|| FOLLOWED.to_string());

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name, unique among all records.
    pub name: String,
    /// Its value with the Unix second after which nobody needs it (`u64::MAX` for never); without,
    /// the record is removed.
    pub value: Option<(u64, Vec<u8>)>,
}

/// What has happened since a position.
pub(crate) enum Progress {
    Same,
    /// These records have changed.
    Changed(Position, Vec<Change>),
    /// The position is not in the log, or far back; this is the end of the log.
    Other(Position),
}

pub(crate) struct Log {
    connection: Connection,
    schema: u64,
    head: String,
    log: String,
    records: String,
}

impl Log {
    pub(crate) fn connect(settings: &Settings, state: &str, schema: u64) -> Result<Self, Error> {
        // In braces: all of it is in one slot of a cluster.
        let prefix = format!("{{{}:{state}}}", settings.prefix());
        let mut log = Self {
            connection: settings.connect().map_err(told)?,
            schema,
            head: format!("{prefix}:head"),
            log: format!("{prefix}:log"),
            records: format!("{prefix}:record:"),
        };
        log.look_at_policy();
        Ok(log)
    }

    /// Says when Redis may evict what is kept here.
    fn look_at_policy(&mut self) {
        let info: Result<String, _> = cmd("INFO").arg("memory").query(&mut self.connection);
        let evicts = info.is_ok_and(|info| {
            let policy = info
                .lines()
                .find_map(|line| line.strip_prefix("maxmemory_policy:"));
            policy.is_some_and(|policy| policy.trim() != "noeviction")
        });
        if evicts {
            tracing::warn!(
                "Redis may evict records to save memory: set `maxmemory-policy noeviction`, or \
                 logins and revocations can vanish"
            );
        }
    }

    /// Everything, as it is at one moment.
    pub(crate) fn load(&mut self) -> Result<(Position, Vec<Change>), Error> {
        let answer = cmd("GET").arg(&self.head).query(&mut self.connection);
        let mut head = self.position(&answer.map_err(told)?)?;
        let mut all = Vec::new();
        let mut cursor = b"0".to_vec();
        loop {
            let scan = cmd("SCAN")
                .arg(&cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.records))
                .arg("COUNT")
                .arg(SCANNED)
                .query(&mut self.connection);
            let (next, keys): (Vec<u8>, Vec<Vec<u8>>) = scan.map_err(told)?;
            if !keys.is_empty() {
                let values = cmd("MGET").arg(&keys).query(&mut self.connection);
                let values: Vec<Value> = values.map_err(told)?;
                for (key, value) in keys.iter().zip(&values) {
                    let name = key.get(self.records.len()..).unwrap_or_default();
                    all.push(self.change(name, value)?);
                }
            }
            if next == b"0" {
                break;
            }
            cursor = next;
        }
        // What was written meanwhile may be in it or not.
        loop {
            match self.follow(&head)? {
                Progress::Same => return Ok((head, all)),
                Progress::Changed(to, changes) => {
                    all.extend(changes);
                    head = to;
                }
                Progress::Other(_) => {
                    return Err(Error::Redis(
                        "it changes faster than it can be read".to_owned(),
                    ));
                }
            }
        }
    }

    pub(crate) fn follow(&mut self, seen: &Position) -> Result<Progress, Error> {
        let answer: Value = self
            .script(FOLLOW)
            .arg(seen.text())
            .arg(seen.number)
            .arg(&self.records)
            .arg(&*LONGEST)
            .query(&mut self.connection)
            .map_err(told)?;
        let Value::Array(answer) = answer else {
            return Err(unexpected());
        };
        let [head, what, changes @ ..] = &*answer else {
            return Err(unexpected());
        };
        let head = self.position(head)?;
        match what {
            Value::BulkString(what) if what == b"same" => Ok(Progress::Same),
            Value::BulkString(what) if what == b"changed" => {
                let pairs = changes.chunks(2).map(|pair| match pair {
                    [Value::BulkString(name), value] => self.change(name, value),
                    _ => Err(unexpected()),
                });
                Ok(Progress::Changed(head, pairs.collect::<Result<_, _>>()?))
            }
            _ => Ok(Progress::Other(head)),
        }
    }

    /// Whether the transaction was appended: not when there is one that its author has not seen.
    /// After an error it may have been.
    pub(crate) fn append(
        &mut self,
        seen: &Position,
        next: &Position,
        changes: &[Change],
    ) -> Result<bool, Error> {
        let names: Vec<&str> = changes.iter().map(|change| &*change.name).collect();
        let names = serde_json::to_string(&names).map_err(|_| unexpected())?;
        let mut command = self.script(APPEND);
        command
            .arg(seen.text())
            .arg(next.text())
            .arg(next.number)
            .arg(&self.records)
            .arg(names);
        for change in changes {
            match &change.value {
                None => command.arg("-").arg(""),
                Some((expires, value)) => {
                    let end = if *expires < FAR {
                        expires.saturating_add(SKEW).to_string()
                    } else {
                        String::new()
                    };
                    let mut stored = expires.to_be_bytes().to_vec();
                    stored.extend_from_slice(value);
                    command.arg(end).arg(stored)
                }
            };
        }
        let appended: i64 = command.query(&mut self.connection).map_err(told)?;
        Ok(appended == 1)
    }

    /// Whether a transaction is in the log.
    pub(crate) fn contains(&mut self, position: &Position) -> Result<bool, Error> {
        let id = format!("{}-0", position.number);
        let entries: Value = cmd("XRANGE")
            .arg(&self.log)
            .arg(&id)
            .arg(&id)
            .query(&mut self.connection)
            .map_err(told)?;
        let wanted = position.text().into_bytes();
        Ok(holds(&entries, &wanted))
    }

    fn script(&self, text: &str) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(text).arg(2).arg(&self.head).arg(&self.log);
        command
    }

    fn position(&self, text: &Value) -> Result<Position, Error> {
        let text = match text {
            Value::BulkString(text) => text.as_slice(),
            Value::Nil => b"",
            _ => return Err(unexpected()),
        };
        let position = Position::parse(text, self.schema).ok_or_else(|| Error::Foreign {
            key: self.head.clone(),
        })?;
        if position.schema > self.schema {
            return Err(Error::Newer {
                found: position.schema,
                known: self.schema,
            });
        }
        Ok(position)
    }

    fn change(&self, name: &[u8], value: &Value) -> Result<Change, Error> {
        let name = String::from_utf8_lossy(name).into_owned();
        let value = match value {
            Value::Nil => None,
            Value::BulkString(stored) => match stored.split_first_chunk::<8>() {
                Some((expires, value)) => Some((u64::from_be_bytes(*expires), value.to_vec())),
                None => {
                    let key = format!("{}{name}", self.records);
                    return Err(Error::Foreign { key });
                }
            },
            _ => return Err(unexpected()),
        };
        Ok(Change { name, value })
    }
}

fn holds(value: &Value, wanted: &[u8]) -> bool {
    match value {
        Value::Array(parts) => parts.iter().any(|part| holds(part, wanted)),
        Value::BulkString(text) => text == wanted,
        _ => false,
    }
}

fn told(error: redis::RedisError) -> Error {
    Error::Redis(error.to_string())
}

fn unexpected() -> Error {
    Error::Redis("an answer that nobody asked for".to_owned())
}
