//! SHA-256 over parts, as hexadecimal text.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// A digest over several parts, which keeps the boundaries between them.
#[derive(Default)]
pub(crate) struct Parts(Sha256);

impl Parts {
    /// Adds a part.
    pub(crate) fn add(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        // Lengths keep the boundary between two parts from moving.
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The digest of all parts.
    pub(crate) fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The digest of bytes, as `sha256sum` prints it.
pub(crate) fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
