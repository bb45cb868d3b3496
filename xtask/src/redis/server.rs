//! Debian's redis-server, unpacked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cache;
use crate::child::Running;
use crate::clients::free_port;
use crate::directory::peers;

pub(crate) const PASSWORD: &str = "of-redis";
const DEADLINE: Duration = Duration::from_secs(10);

/// A running server with a file that it appends to.
pub(crate) struct Server {
    running: Option<Running>,
    port: u16,
    tls: u16,
    /// `appendfsync`.
    sync: &'static str,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(sync: &'static str) -> Result<Self> {
        let mut server = Self {
            running: None,
            port: free_port()?,
            tls: free_port()?,
            sync,
            folder: tempfile::tempdir()?,
        };
        server.restart()?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// With TLS, by the certificate of the directory's tests.
    pub(super) fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls)
    }

    pub(super) fn socket_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Starts it on the data that it left.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.kill();
        let root = cache::debian("redis-tools")?;
        let mut command = Command::new(root.join("usr/bin/redis-check-rdb"));
        command
            // It is several programs, by the name that it is called.
            .arg0("redis-server")
            .env("LD_LIBRARY_PATH", cache::libraries(&root))
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args([
                "--tls-port",
                &self.tls.to_string(),
                "--tls-auth-clients",
                "no",
            ])
            .arg("--tls-cert-file")
            .arg(peers().join("server.pem"))
            .arg("--tls-key-file")
            .arg(peers().join("server.key"))
            .arg("--tls-ca-cert-file")
            .arg(peers().join("ca.pem"))
            .arg("--unixsocket")
            .arg(self.socket())
            .args(["--requirepass", PASSWORD, "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", self.sync, "--dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null());
        let mut running = Running::start(&mut command)?;
        running
            .until(DEADLINE, || self.ask(&["DBSIZE"]).is_ok())
            .context("redis-server does not answer")?;
        self.running = Some(running);
        Ok(())
    }

    /// Ends it without a warning.
    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    /// Keeps it from answering, or lets it go on.
    pub(crate) fn freeze(&self, freeze: bool) -> Result<()> {
        let running = self.running.as_ref().context("no redis-server runs")?;
        let signal = if freeze { "-STOP" } else { "-CONT" };
        let status = Command::new("kill")
            .args([signal, &running.id().to_string()])
            .status()?;
        ensure!(status.success(), "kill {signal}");
        Ok(())
    }

    /// Its files as they are.
    pub(super) fn copy(&self) -> Result<tempfile::TempDir> {
        let copy = tempfile::tempdir()?;
        copy_all(self.folder.path(), copy.path())?;
        Ok(copy)
    }

    /// Kills it and starts it on files of before.
    pub(super) fn roll_back(mut self, files: &tempfile::TempDir) -> Result<Self> {
        self.kill();
        std::fs::remove_dir_all(self.folder.path())?;
        std::fs::create_dir(self.folder.path())?;
        copy_all(files.path(), self.folder.path())?;
        self.restart()?;
        Ok(self)
    }

    /// The first line of an answer.
    pub(super) fn ask(&self, command: &[&str]) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut text = Vec::new();
        for words in [&["AUTH", PASSWORD], command] {
            write!(text, "*{}\r\n", words.len())?;
            for word in words {
                write!(text, "${}\r\n{word}\r\n", word.len())?;
            }
        }
        stream.write_all(&text)?;
        let mut lines = BufReader::new(stream).lines();
        let login = lines.next().context("no answer")??;
        ensure!(login == "+OK", "{login}");
        let answer = lines.next().context("no answer")??;
        ensure!(!answer.starts_with('-'), "{answer}");
        Ok(answer)
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy_all(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
