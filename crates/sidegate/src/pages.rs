//! Memory's pages: their size, and those of code that has done its work.
//!
//! The allocator asks for huge pages, and every thread begins with some of its own: 8 MB for a server of two threads
//! with a model of a few kilobytes, 14 for an identity provider. Trees of hundreds of megabytes are gone down a seventh faster in huge pages, those
//! of 30 MB no faster.
//!
//! The first of them are there before `main`: a process that does without begins anew, as itself.

use std::path::Path;

/// Bytes of model files from which on huge pages are worth what they take.
const WORTH_IT: u64 = 64 << 20;

/// Folders of models are this deep, with versions.
const DEPTH: u32 = 3;

/// Turns huge pages off for this process if the model files of the folder are small together. Begins the program anew, the
/// same process with the same arguments, unless they were off already: nothing may be open that has to stay.
pub(crate) fn suit(models: &Path) {
    if bytes(models, DEPTH) < WORTH_IT {
        small();
    }
}

/// Turns huge pages off for this process, for one that needs little memory. As [`suit`], it may begin the program anew.
pub(crate) fn small() {
    if let Err(error) = turn_off() {
        tracing::debug!(%error, "huge pages cannot be turned off");
    }
}

/// Returns if they are off from the beginning of the process on, or the process cannot begin anew.
#[cfg(target_os = "linux")]
fn turn_off() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt as _;

    // The setting outlives `execve`, so this comes to an end.
    if rustix::thread::transparent_huge_pages_are_disabled()? {
        return Ok(());
    }
    rustix::thread::disable_transparent_huge_pages(true)?;
    if !rustix::thread::transparent_huge_pages_are_disabled()? {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    Err(again.args(arguments).exec())
}

#[cfg(not(target_os = "linux"))]
fn turn_off() -> std::io::Result<()> {
    Ok(())
}

/// Lets go of the pages of code that are mapped: what only the start needed does not count as resident any more, what is
/// needed again is mapped again, from the page cache.
pub(crate) fn forget_the_start() {
    if let Err(error) = unmap_code() {
        tracing::debug!(%error, "the pages of the start stay mapped");
    }
}

#[cfg(target_os = "linux")]
fn unmap_code() -> std::io::Result<()> {
    for (start, end) in code(&std::fs::read_to_string("/proc/self/maps")?) {
        #[expect(
            unsafe_code,
            reason = "pages of a private mapping of a file that nobody can write are what the file has"
        )]
        // SAFETY: such pages are never changed, so they come back as they were.
        unsafe {
            rustix::mm::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                end - start,
                rustix::mm::Advice::LinuxDontNeed,
            )?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn unmap_code() -> std::io::Result<()> {
    Ok(())
}

/// Where files are mapped as code that cannot be written, in the text of `proc(5)`'s `maps`.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "Linux's"))]
fn code(maps: &str) -> Vec<(usize, usize)> {
    let address = |text| usize::from_str_radix(text, 16).ok();
    let lines = maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (range, mode) = (fields.next()?, fields.next()?);
        let is_file = fields.nth(3).is_some_and(|name| name.starts_with('/'));
        let (start, end) = range.split_once('-')?;
        let range = (address(start)?, address(end)?);
        (mode == "r-xp" && is_file && range.0 < range.1).then_some(range)
    });
    lines.collect()
}

/// Bytes of the files at a place, `depth` folders deep. What cannot be read counts nothing: reading the models says why.
fn bytes(path: &Path, depth: u32) -> u64 {
    let Ok(data) = std::fs::metadata(path) else {
        return 0;
    };
    if !data.is_dir() {
        return data.len();
    }
    let Some((entries, depth)) = std::fs::read_dir(path).ok().zip(depth.checked_sub(1)) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| bytes(&entry.path(), depth))
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_mapped_from_files_and_never_written() {
        let maps = "\
55d0-55e0 r--p 00000000 fe:00 12 /usr/bin/sidegate
55e0-5600 r-xp 00001000 fe:00 12 /usr/bin/sidegate (deleted)
5600-5610 rw-p 00002000 fe:00 12 /usr/bin/sidegate
5610-5620 rwxp 00002000 fe:00 12 /usr/bin/sidegate
5620-5630 r-xp 00000000 00:00 0
5630-5640 r-xp 00000000 00:00 0                          [vdso]
";
        assert_eq!(code(maps), [(0x55e0, 0x5600)]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn code_goes_on_after_its_pages_went() {
        fn mapped() -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("RssFile:"));
            let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
            kib.parse().unwrap()
        }
        let before = mapped();
        forget_the_start();
        let after = mapped();
        assert!(after < before, "{before} KiB, then {after}");
        all_files_below_the_folder_count();
    }

    #[test]
    fn all_files_below_the_folder_count() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("iris/1");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(folder.path().join("a"), [0; 3]).unwrap();
        std::fs::write(deep.join("model.joblib"), [0; 4]).unwrap();
        assert_eq!(bytes(folder.path(), DEPTH), 7);
        assert_eq!(bytes(&folder.path().join("a"), DEPTH), 3);
        assert_eq!(bytes(&folder.path().join("missing"), DEPTH), 0);
    }
}
