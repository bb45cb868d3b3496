//! Lines of a log that are written together.
//!
//! A system call for each line costs as much as a check of the authorizer decides in, and threads wait for each other at
//! standard error. Lines of a few milliseconds go out as one.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// How long a line waits for others.
const TOGETHER: Duration = Duration::from_millis(5);

/// Lines that nobody takes from standard error; more than this is lost, and said to be.
const MAX_BYTES: usize = 4 << 20;

/// Lines on their way.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
    ending: bool,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    some: Condvar,
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Shared>);

/// Whoever drops it has waited for the last line.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ending {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// Begins to write lines to `out`, with a thread of its own.
///
/// # Errors
/// When there is no thread.
pub(crate) fn collected(out: impl Write + Send + 'static) -> std::io::Result<(Lines, Ending)> {
    let shared = Arc::new(Shared::default());
    let writer = {
        let shared = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_on(&shared, out))?
    };
    let ending = Ending {
        shared: Arc::clone(&shared),
        writer: Some(writer),
    };
    Ok((Lines(shared), ending))
}

fn write_on(shared: &Shared, mut out: impl Write) {
    let mut going = Vec::new();
    loop {
        let mut waiting = shared.waiting();
        while waiting.bytes.is_empty() && !waiting.ending {
            let woken = shared.some.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if !waiting.ending {
            drop(waiting);
            std::thread::sleep(TOGETHER);
            waiting = shared.waiting();
        }
        std::mem::swap(&mut going, &mut waiting.bytes);
        let lost = std::mem::take(&mut waiting.lost);
        let ending = waiting.ending;
        drop(waiting);
        // Nobody is left to tell when it is gone.
        let _ = out.write_all(&going);
        if lost > 0 {
            let _ = writeln!(
                out,
                "{lost} lines of the log were lost: they were not taken in time"
            );
        }
        going.clear();
        if ending {
            let _ = out.flush();
            return;
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut waiting = self.0.waiting();
        if waiting.bytes.len() + line.len() > MAX_BYTES {
            waiting.lost += 1;
            return Ok(line.len());
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.some.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// Formats lines about requests, which are one text without control characters, at less cost than all others: those are
/// looked through for such characters once more, field by field.
#[derive(Debug, Default)]
pub(crate) struct Requests(Format);

/// The target of such lines.
const ACCESS: &str = "ext_authz::access";

impl<S, N> FormatEvent<S, N> for Requests
where
    S: tracing::Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let one_text = event.fields().count() == 1 && *metadata.level() == Level::INFO;
        if metadata.target() != ACCESS || !one_text || writer.has_ansi_escapes() {
            return self.0.format_event(context, writer, event);
        }
        write_time(&mut writer)?;
        writer.write_str("  INFO ")?;
        writer.write_str(ACCESS)?;
        writer.write_str(": ")?;
        let mut text = Text(&mut writer, Ok(()));
        event.record(&mut text);
        text.1?;
        writer.write_char('\n')
    }
}

/// Writes what [`SystemTime`] does, which is put together anew once in a second only.
fn write_time(writer: &mut Writer<'_>) -> fmt::Result {
    thread_local! {
        /// A second, and how its times begin.
        static WRITTEN: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since_1970 = || UNIX_EPOCH.elapsed().unwrap_or_default();
    let mut now = since_1970();
    WRITTEN.with_borrow_mut(|(second, begin)| {
        while *second != now.as_secs() {
            begin.clear();
            SystemTime.format_time(&mut Writer::new(begin))?;
            begin.truncate(begin.find('.').map_or(0, |point| point + 1));
            *second = now.as_secs();
            // What the library wrote is of its own look at the clock.
            now = since_1970();
        }
        writer.write_str(begin)?;
        let mut number = itoa::Buffer::new();
        // With a digit before it that keeps the zeros.
        let digits = number.format(1_000_000 + now.subsec_micros());
        writer.write_str(digits.get(1..).unwrap_or_default())?;
        writer.write_char('Z')
    })
}

struct Text<'t, 'w>(&'t mut Writer<'w>, fmt::Result);

impl Visit for Text<'_, '_> {
    fn record_debug(&mut self, _: &Field, text: &dyn fmt::Debug) {
        self.1 = write!(self.0, "{text:?}");
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.waiting().ending = true;
        self.shared.some.notify_one();
        if let Some(writer) = self.writer.take() {
            // It does not panic, and is not worth one.
            drop(writer.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Takes what is written when it is asked for.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn all(from: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(from.iter().flatten().collect()).unwrap()
    }

    #[test]
    fn every_line_is_written_once_and_in_turn() {
        let (to, from) = sync_channel(1_000);
        let (mut lines, ending) = collected(Slow(to)).unwrap();
        let mut expected = String::new();
        for number in 0..1_000 {
            let line = format!("{number}\n");
            lines.write_all(line.as_bytes()).unwrap();
            expected += &line;
        }
        drop(ending);
        assert_eq!(all(&from), expected);
    }

    #[test]
    fn what_nobody_takes_is_lost_and_said_to_be() {
        let (to, from) = sync_channel(0);
        let (mut lines, ending) = collected(Slow(to)).unwrap();
        lines.write_all(b"first\n").unwrap();
        // The writer waits with the first one, or soon will.
        std::thread::sleep(TOGETHER * 20);
        let line = [b'x'; 1 << 20];
        for _ in 0..6 {
            lines.write_all(&line).unwrap();
        }
        let reader = std::thread::spawn(move || all(&from));
        drop(ending);
        let found = reader.join().unwrap();
        assert!(found.starts_with("first\nxx"));
        assert!(found.contains("\n2 lines of the log were lost") || found.contains("x2 lines"));
        assert!(found.len() < MAX_BYTES + 200);
    }

    #[test]
    fn lines_about_requests_read_as_the_library_writes_them() {
        let written = |log: &dyn Fn(Lines) -> tracing::subscriber::DefaultGuard| {
            let (to, from) = sync_channel(1_000);
            let (lines, ending) = collected(Slow(to)).unwrap();
            let logging = log(lines);
            tracing::info!(target: "ext_authz::access", "GET a/b peer={} why={:?}", "::1", "x\ny");
            tracing::warn!(target: "ext_authz::access", why = "odd", "a check cannot be read");
            tracing::info!("something else");
            drop((logging, ending));
            let text = all(&from);
            // Without the time.
            let lines = text.lines().map(|line| line.split_once(' ').unwrap().1);
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let ours = written(&|lines| {
            let log = tracing_subscriber::fmt().with_ansi(false);
            let log = log.event_format(Requests::default()).with_writer(lines);
            tracing::subscriber::set_default(log.finish())
        });
        let theirs = written(&|lines| {
            let log = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(lines);
            tracing::subscriber::set_default(log.finish())
        });
        assert_eq!(ours, theirs);
        assert_eq!(ours.len(), 3);
        assert_eq!(
            ours[0],
            r#" INFO ext_authz::access: GET a/b peer=::1 why="x\ny""#
        );
    }
}
