//! The program under test.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// How to start `sidegate up`. Both listeners get a free port.
#[derive(Clone, Debug)]
pub struct Start {
    binary: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    data: Option<PathBuf>,
}

impl Start {
    /// `binary` is `env!("CARGO_BIN_EXE_sidegate")` of the calling test.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            args: Vec::new(),
            envs: Vec::new(),
            data: None,
        }
    }

    /// Adds an argument after `up`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Uses a data folder that outlives the program; otherwise each start gets
    /// a new one.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be run, ends early or is not ready within a minute; its
    /// standard error is in the message.
    pub fn start(&self) -> Result<Sidegate, Error> {
        let scratch = tempfile::tempdir().map_err(Error::io("creating a folder"))?;
        let ready_file = scratch.path().join("ready.json");
        let data = self
            .data
            .clone()
            .unwrap_or_else(|| scratch.path().join("data"));
        let mut child = Command::new(&self.binary)
            .args([
                "up",
                "--external",
                "127.0.0.1:0",
                "--local",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(&data)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Run {
                program: self.binary.clone(),
                source,
            })?;
        let stderr = Arc::default();
        if let Some(pipe) = child.stderr.take() {
            collect(pipe, Arc::clone(&stderr));
        }
        let mut program = Sidegate {
            child,
            stderr,
            external: String::new(),
            local: String::new(),
            data,
            _scratch: scratch,
        };
        program.wait_until_ready(&ready_file)?;
        Ok(program)
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Sidegate {
    child: Child,
    stderr: Arc<Mutex<Vec<u8>>>,
    external: String,
    local: String,
    data: PathBuf,
    _scratch: TempDir,
}

impl Sidegate {
    /// `http://127.0.0.1:port` of the external listener.
    pub fn external(&self) -> &str {
        &self.external
    }

    /// `http://127.0.0.1:port` of the cluster-local listener.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        let bytes = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until standard error holds `text`.
    ///
    /// # Errors
    /// It does not within a minute.
    pub fn wait_for_stderr(&self, text: &str) -> Result<(), Error> {
        self.wait_until(&format!("`{text}` on standard error"), || {
            Ok(self.stderr().contains(text).then_some(()))
        })
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal_term(&self) -> Result<(), Error> {
        self.signal("TERM")
    }

    /// Sends SIGHUP.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub fn signal_hup(&self) -> Result<(), Error> {
        self.signal("HUP")
    }

    fn signal(&self, name: &str) -> Result<(), Error> {
        let command = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").arg("-c").arg(&command).status();
        let io = match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => std::io::Error::other(status.to_string()),
            Err(error) => error,
        };
        Err(Error::io(command)(io))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// It does not end within a minute.
    pub fn terminate(mut self) -> Result<ExitStatus, Error> {
        self.signal_term()?;
        self.wait()
    }

    /// Kills it as a power cut would, and waits for the end.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(mut self) -> Result<ExitStatus, Error> {
        self.child.kill().map_err(Error::io("killing sidegate"))?;
        self.wait()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It does not end within a minute.
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().map_err(Error::io("waiting"))? {
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(self.deadline("the end of sidegate"));
            }
            std::thread::sleep(POLL);
        }
    }

    fn wait_until_ready(&mut self, file: &Path) -> Result<(), Error> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(ready) = read_ready(file) {
                (self.external, self.local) = ready;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().map_err(Error::io("waiting"))? {
                return Err(Error::Ended {
                    status,
                    stderr: self.stderr(),
                });
            }
            if Instant::now() > end {
                return Err(self.deadline("the ready file of sidegate"));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks `condition` until it has a value.
    ///
    /// # Errors
    /// What `condition` returns, or that it had no value within a minute.
    pub fn wait_until<T>(
        &self,
        what: &str,
        mut condition: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = condition()? {
                return Ok(value);
            }
            if Instant::now() > end {
                return Err(self.deadline(what));
            }
            std::thread::sleep(POLL);
        }
    }

    fn deadline(&self, what: &str) -> Error {
        Error::Deadline {
            what: what.to_owned(),
            seconds: DEADLINE.as_secs(),
            seen: self.stderr(),
        }
    }
}

impl Drop for Sidegate {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both URLs, once the file is there and whole.
fn read_ready(file: &Path) -> Option<(String, String)> {
    let text = std::fs::read(file).ok()?;
    let ready: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let url = |key: &str| Some(ready.get(key)?.as_str()?.trim_end_matches('/').to_owned());
    Some((url("external")?, url("local")?))
}

fn collect(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            if let Some(bytes) = buffer.get(..read) {
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(bytes);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A shell script in the program's place; `$9` is the ready file.
    fn script(dir: &TempDir, text: &str) -> PathBuf {
        let path = dir.path().join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_program_is_started_watched_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(
            &dir,
            r#"trap 'exit 7' TERM
echo "args: $*" >&2
printf '{"external": "http://127.0.0.1:1/", "local"' > "$9"
echo '{"external": "http://127.0.0.1:1/", "local": "http://127.0.0.1:2", "data": "d"}' > "$9"
while :; do sleep 0.01; done"#,
        );
        let running = Start::new(&program)
            .arg("--example")
            .arg("seed")
            .start()
            .unwrap();
        assert_eq!(running.external(), "http://127.0.0.1:1");
        assert_eq!(running.local(), "http://127.0.0.1:2");
        running.wait_for_stderr("--example seed").unwrap();
        assert_eq!(running.terminate().unwrap().code(), Some(7));
        let killed = Start::new(&program).start().unwrap().kill().unwrap();
        assert!(!killed.success());
    }

    #[test]
    fn a_program_that_ends_early_is_reported_with_its_output() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(&dir, "echo no such example >&2; exit 2");
        let error = Start::new(program).start().unwrap_err().to_string();
        assert!(error.contains("exit status: 2"), "{error}");
    }
}
