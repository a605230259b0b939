//! Who owns a data folder: an advisory lock on a file that also names its holder.
//!
//! Only its owner can open the file, so that no other user of the machine can hold the lock, and it is never a link.
//! The kernel frees the lock when the holder dies, however it dies; the text in the file is for people only.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::{EmbeddedError, files::ours_alone};

/// A lock in hand; dropping it frees the folder.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Said aloud, because closing is not enough: a child that another thread is just spawning shares the file until
        // its exec. Should it fail, the close that follows does the same a moment later.
        let _ = self.0.unlock();
    }
}

/// What an attempt to take the folder brought.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is ours.
    Taken(Lock),
    /// It is somebody else's: what they wrote about themselves.
    HeldBy(String),
}

impl Lock {
    /// Takes the lock if it is free. Never waits.
    pub(super) fn attempt(path: &Path) -> Result<Attempt, EmbeddedError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = ours_alone(&mut options, path).map_err(|source| EmbeddedError::io("open", path, source))?;
        match file.try_lock() {
            Ok(()) => {
                write_holder(&mut file).map_err(|source| EmbeddedError::io("write", path, source))?;
                Ok(Attempt::Taken(Self(file)))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Unreadable text about the holder must not hide that there is one.
                let named = file.read_to_string(&mut holder).is_ok_and(|_| !holder.trim().is_empty());
                Ok(Attempt::HeldBy(if named { holder.trim().to_owned() } else { "another process".to_owned() }))
            }
            Err(TryLockError::Error(source)) => Err(EmbeddedError::io("lock", path, source)),
        }
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    write!(file, "process {} ({})", std::process::id(), program())
}

/// Program and subcommand. Never an option: its value could be a secret.
fn program() -> String {
    let mut words = std::env::args_os().take(2).map(|word| word.to_string_lossy().into_owned());
    let path = words.next().unwrap_or_default();
    let name = Path::new(&path).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    match words.next() {
        Some(subcommand) if !subcommand.starts_with('-') => format!("{name} {subcommand}"),
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_taker_is_told_the_process_id_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let Attempt::Taken(first) = Lock::attempt(&path).unwrap() else { panic!("a fresh folder has no owner") };
        let Attempt::HeldBy(holder) = Lock::attempt(&path).unwrap() else { panic!("two owners of one folder") };
        assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        drop(first);
        assert!(matches!(Lock::attempt(&path).unwrap(), Attempt::Taken(_)));
    }

    #[test]
    fn the_lock_is_of_one_user_and_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // As an earlier release left it.
        std::fs::write(&path, "process 1").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        drop(Lock::attempt(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let (link, victim) = (dir.path().join("link"), dir.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(Lock::attempt(&link).is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
