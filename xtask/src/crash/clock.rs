//! A clock that runs ahead, for a program that reads the system's: Debian's libfaketime, unpacked, between the two.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::cache;

/// The time of the programs that were started with it. Their timers are those of the system.
pub(crate) struct Clock {
    /// Where libfaketime reads how far the clock is ahead.
    file: PathBuf,
    library: PathBuf,
    /// Held while the file changes, so that nobody takes a time of before for one of after.
    moved: Mutex<Moved>,
}

#[derive(Clone, Copy, Default)]
struct Moved {
    /// Seconds.
    ahead: u64,
    jumps: u64,
}

impl Clock {
    /// One that is right; `folder` is for its file.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let root = cache::debian("libfaketime")?;
        let clock = Self {
            file: folder.join("clock"),
            library: library(&root)?,
            moved: Mutex::default(),
        };
        clock.write(0)?;
        Ok(clock)
    }

    /// Has a program read this clock.
    pub(crate) fn put_before(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }

    /// The time, in Unix seconds.
    pub(crate) fn now(&self) -> u64 {
        let moved = self.moved();
        system() + moved.ahead
    }

    fn moved(&self) -> MutexGuard<'_, Moved> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass at once.
    pub(crate) fn jump(&self, seconds: u64) -> Result<()> {
        let mut moved = self.moved();
        self.write(moved.ahead + seconds)?;
        moved.ahead += seconds;
        moved.jumps += 1;
        Ok(())
    }

    /// How often it has jumped, one that programs may have seen already among them.
    pub(crate) fn jumps(&self) -> u64 {
        self.moved().jumps
    }

    /// Whole: programs read it at any moment.
    fn write(&self, ahead: u64) -> Result<()> {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("+{ahead}\n"))?;
        std::fs::rename(&new, &self.file).context("moving the clock")
    }
}

/// Seconds since 1970, by the clock of the machine.
pub(crate) fn system() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The form for programs with threads.
fn library(root: &Path) -> Result<PathBuf> {
    let folders = std::fs::read_dir(root.join("usr/lib"))?.flatten();
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = files.find(|file| file.exists());
    found.context("no libfaketimeMT.so.1 in Debian's package libfaketime")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since 1970, as a program started with the clock reads them.
    fn read(clock: &Clock) -> u64 {
        let mut command = Command::new("date");
        clock.put_before(command.arg("+%s"));
        let said = command.output().unwrap().stdout;
        String::from_utf8(said).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn programs_have_the_time_of_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(folder.path()).unwrap();
        for (jump, ahead) in [(0, 0), (2400, 2400), (86_400, 88_800)] {
            clock.jump(jump).unwrap();
            let before = clock.now();
            let theirs = read(&clock);
            assert!((before..=clock.now()).contains(&theirs), "{ahead}");
            assert!(before >= system() + ahead - 1, "{ahead}");
        }
        assert_eq!(clock.jumps(), 3);
    }
}
