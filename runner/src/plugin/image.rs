//! A private copy of verified bytes that the dynamic linker can open and nobody can change.
//!
//! Between the check of a file and its `dlopen` lies time in which it may be replaced, and writing into a loaded
//! library in place crashes its process. A sealed memory file rules both out.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{MemfdFlags, SealFlags};
use tempfile::TempPath;

/// A private copy of a library; it goes with the last handle.
#[derive(Debug, Clone)]
pub(super) struct Image(Arc<Backing>);

#[derive(Debug)]
enum Backing {
    /// A sealed memory file, reached through this process's descriptor table.
    #[cfg(target_os = "linux")]
    Memory(File),
    /// A file that only its owner can read, where the system has or allows no executable memory files.
    Temporary(TempPath),
}

impl Image {
    /// Copies bytes.
    pub(super) fn new(bytes: &[u8]) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Ok(file) = sealed(bytes) {
            return Ok(Self(Arc::new(Backing::Memory(file))));
        }
        temporary(bytes).map(|path| Self(Arc::new(Backing::Temporary(path))))
    }

    /// Where the linker of this process or of a child finds it.
    pub(super) fn path(&self) -> PathBuf {
        match &*self.0 {
            // Not `/proc/self`: a child has this descriptor closed.
            #[cfg(target_os = "linux")]
            Backing::Memory(file) => {
                use std::os::fd::AsRawFd as _;
                format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
            }
            Backing::Temporary(path) => Path::to_owned(path),
        }
    }

    /// Where the linker of this process finds it, now and until the process ends.
    ///
    /// The linker knows libraries by their path: were the descriptor closed and its number used for another plugin,
    /// that plugin's path would give the library that is loaded already.
    pub(super) fn keep_forever(&self) -> PathBuf {
        std::mem::forget(self.0.clone());
        self.path()
    }
}

#[cfg(target_os = "linux")]
fn sealed(bytes: &[u8]) -> io::Result<File> {
    use rustix::fs::{fcntl_add_seals, memfd_create};

    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // `EXEC` is unknown before Linux 6.3, and may be asked for by `vm.memfd_noexec` after.
    let file = memfd_create("meshrun-plugin", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("meshrun-plugin", flags))?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

fn temporary(bytes: &[u8]) -> io::Result<TempPath> {
    let mut file =
        tempfile::Builder::new().prefix("meshrun-plugin-").suffix(std::env::consts::DLL_SUFFIX).tempfile()?;
    file.write_all(bytes)?;
    Ok(file.into_temp_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_cannot_be_written_to() {
        let image = Image::new(b"bytes").expect("an image");
        assert_eq!(fs_err::read(image.path()).expect("its bytes"), b"bytes");
        #[cfg(target_os = "linux")]
        {
            let written = fs_err::OpenOptions::new()
                .write(true)
                .open(image.path())
                .and_then(|mut file| file.write_all(b"x"));
            assert_eq!(written.map_err(|error| error.kind()), Err(io::ErrorKind::PermissionDenied));
        }
    }

    #[test]
    fn temporary_copies_go_away() {
        let path = temporary(b"bytes").expect("a file");
        assert_eq!(fs_err::read(&path).expect("its bytes"), b"bytes");
        let name = path.to_path_buf();
        drop(path);
        assert!(!name.exists());
    }
}
