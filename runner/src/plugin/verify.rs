//! Decides whether a file may be loaded, without loading it: `dlopen` is execution already.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::fs::{Mode, OFlags};

use super::{Digest, PluginError, Untrusted, elf, image::Image};

/// Larger than a debug build with everything in it.
const LARGEST: u64 = 512 * 1024 * 1024;

/// Bytes that may be loaded.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) digest: Digest,
    pub(super) image: Image,
}

/// Reads a file once and judges what was read: where it comes from, whether it is the pinned one, whether it is a
/// plugin for this machine. The copy in the answer is what to load.
pub(super) fn verify(path: &Path, pin: Option<&Digest>) -> Result<Verified, PluginError> {
    let unread = |source| PluginError::Read { path: path.to_owned(), source };
    let mut file = open(path).map_err(unread)?;
    let metadata = file.metadata().map_err(unread)?;
    trusted(&metadata).map_err(|problem| PluginError::Untrusted { path: path.to_owned(), problem })?;

    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.read_to_end(&mut bytes).map_err(unread)?;
    let digest = Digest::of(&bytes);
    if let Some(pinned) = pin.filter(|pinned| **pinned != digest) {
        return Err(PluginError::Changed { path: path.to_owned(), pinned: pinned.clone(), found: digest });
    }
    if cfg!(target_os = "linux") {
        elf::check(&bytes).map_err(|source| PluginError::Elf { path: path.to_owned(), source })?;
    }
    let image = Image::new(&bytes).map_err(unread)?;
    Ok(Verified { digest, image })
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a named pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Only the caller and root can have put the bytes there. Who can write to a parent directory can put another file
/// there, but not one that belongs to the caller.
fn trusted(metadata: &Metadata) -> Result<(), Untrusted> {
    if !metadata.is_file() {
        return Err(Untrusted::NotAFile(if metadata.is_dir() { "directory" } else { "special file" }));
    }
    if metadata.len() > LARGEST {
        return Err(Untrusted::TooLarge(metadata.len()));
    }
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Untrusted::Owner(owner));
    }
    if mode & 0o022 != 0 {
        return Err(Untrusted::Writable(mode));
    }
    Ok(())
}
