//! A disk that is soon full: a loop-mounted ext4 image where the system allows it, else a small tmpfs.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small mounted file system, unmounted when this goes.
#[derive(Debug)]
pub struct SmallDisk {
    mount: PathBuf,
    what: &'static str,
}

impl SmallDisk {
    /// Mounts one of `mebibytes` at `mount`, which is made; `image` is where the loop image lies. The error names
    /// what refused and why.
    pub fn mount(mebibytes: u64, mount: &Path, image: &Path) -> Result<SmallDisk, String> {
        fs::create_dir_all(mount).map_err(|error| error.to_string())?;
        let mount = mount.to_owned();
        let loop_refusal = match loop_ext4(image, mebibytes, &mount) {
            Ok(()) => return Ok(SmallDisk { mount, what: "loop-mounted ext4" }),
            Err(refusal) => refusal,
        };
        let mut tmpfs = Command::new("mount");
        tmpfs.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(&mount);
        match done(tmpfs) {
            Ok(()) => Ok(SmallDisk { mount, what: "tmpfs" }),
            Err(tmpfs_refusal) => Err(format!("{loop_refusal}; {tmpfs_refusal}")),
        }
    }

    /// Takes every free byte of it by a file `name`, whose removal gives them back.
    ///
    /// # Panics
    ///
    /// If the file cannot be made.
    pub fn take_the_rest(&self, name: &str) {
        let mut file = File::create(self.mount.join(name)).expect("a file can be made");
        // synced, or a file system that allocates late finds room that is none
        while file.write_all(&[1; 4096]).and_then(|()| file.sync_data()).is_ok() {}
    }

    /// Which of the two it is.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

/// Writes a script to `script` that runs `program` with no file larger than `kibibytes`: the stand-in where nothing
/// may be mounted. A write beyond it then fails with EFBIG, as one to a full disk does with ENOSPC.
///
/// # Panics
///
/// If the script cannot be written.
pub fn limit_files(program: &Path, kibibytes: u64, script: &Path) {
    // The shell counts in blocks of 512 bytes; with its signal ignored the write fails instead of ending the process.
    let blocks = kibibytes * 2;
    let text = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -f {blocks}\nexec '{}' \"$@\"\n", program.display());
    fs::write(script, text).expect("the script can be written");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("our own file");
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        // Lazily: the agent may hold it until it is dropped, just after.
        unmount.arg("-l").arg(&self.mount);
        if let Err(refusal) = done(unmount) {
            eprintln!("the small disk stays mounted: {refusal}");
        }
    }
}

fn loop_ext4(image: &Path, mebibytes: u64, mount: &Path) -> Result<(), String> {
    let file = File::create(image).map_err(|error| error.to_string())?;
    file.set_len(mebibytes * 1024 * 1024).map_err(|error| error.to_string())?;
    let mut format = Command::new("mkfs.ext4");
    format.arg("-q").arg(image);
    done(format)?;
    let mut attach = Command::new("mount");
    attach.args(["-o", "loop"]).arg(image).arg(mount);
    done(attach)
}

fn done(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_beyond_the_limit_fails_and_kills_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (script, file) = (folder.path().join("limited"), folder.path().join("file"));
        limit_files(Path::new("/bin/sh"), 4, &script);
        let write = format!("head -c 9000 /dev/zero >'{}' || exit 7", file.display());
        // Through a shell: another test's fork may still hold the script open for writing.
        let status = Command::new("/bin/sh").arg(&script).args(["-c", &write]).status().unwrap();
        assert_eq!((status.code(), fs::metadata(&file).unwrap().len()), (Some(7), 4096));
    }

    #[test]
    fn a_small_disk_is_soon_full_or_says_who_refused_it() {
        let folder = tempfile::tempdir().unwrap();
        match SmallDisk::mount(8, &folder.path().join("disk"), &folder.path().join("image")) {
            Ok(disk) => {
                let full = fs::write(disk.mount.join("file"), vec![1; 9 << 20]).unwrap_err();
                assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
            }
            Err(refusal) => assert!(refusal.contains("mount"), "{refusal}"),
        }
    }
}
