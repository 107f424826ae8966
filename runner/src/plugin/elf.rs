//! Judges a shared library by its bytes, before the dynamic linker runs any of them.
//!
//! The linker maps what the headers promise: a file cut short ends the process with SIGBUS, and one for another machine
//! is reported as `No such file or directory`.

use abi_stable::library::ROOT_MODULE_LOADER_NAME;
use goblin::{
    container::{Container, Ctx},
    elf::{
        Elf,
        header::{ELFMAG, ET_DYN, Header, machine_to_str},
        program_header::ProgramHeader,
        section_header::{SHT_DYNSYM, SHT_NOBITS, SectionHeader},
        sym::Symtab,
    },
};

/// Why bytes are no plugin for this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// Another kind of file.
    #[error("not a shared library")]
    NotElf,
    /// An executable or an object file.
    #[error("an ELF file, but no shared library")]
    NotShared,
    /// Headers speak of bytes that are not there.
    #[error("the file is cut short: it has {found} bytes and needs {needed}")]
    Truncated {
        /// Bytes in the file.
        found: u64,
        /// Bytes that its headers speak of.
        needed: u64,
    },
    /// Built for another machine.
    #[error("built for {found}, this meshrun runs on {}", std::env::consts::ARCH)]
    Machine {
        /// The machine's name.
        found: String,
    },
    /// Headers contradict themselves.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Any other library.
    #[error("a shared library, but no meshrun plugin: symbol `{ROOT_MODULE_LOADER_NAME}` is missing")]
    NoPlugin,
}

impl ElfError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty | Self::Truncated { .. } | Self::Damaged(_) => "build or download it again",
            Self::NotElf | Self::NotShared => {
                "give the library that `cargo build` makes of a crate-type `cdylib`"
            }
            Self::Machine { .. } => "build it for this machine",
            Self::NoPlugin => "a plugin ends with `meshrun_sdk::export_plugin!(MyStep);`",
        }
    }
}

/// Refuses what is no plugin for this machine.
pub(super) fn check(bytes: &[u8]) -> Result<(), ElfError> {
    if bytes.is_empty() {
        return Err(ElfError::Empty);
    }
    if !bytes.starts_with(ELFMAG) {
        return Err(ElfError::NotElf);
    }
    // The longest header; all that follows can then count on it.
    within(bytes, 0, 64)?;
    let header = Elf::parse_header(bytes).map_err(damaged)?;
    machine(&header)?;
    if header.e_type != ET_DYN {
        return Err(ElfError::NotShared);
    }
    let context = Ctx::new(Container::Big, header.endianness().map_err(damaged)?);
    complete(bytes, &header, context)?;
    exports(bytes, &header, context)
}

fn machine(header: &Header) -> Result<(), ElfError> {
    let (big, little) =
        (header.container().map_err(damaged)?.is_big(), header.endianness().map_err(damaged)?.is_little());
    let expected = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        "riscv64" => 243,
        "powerpc64" => 21,
        "s390x" => 22,
        "loongarch64" => 258,
        // The linker will judge.
        _ => header.e_machine,
    };
    if big && little == cfg!(target_endian = "little") && header.e_machine == expected {
        return Ok(());
    }
    let name = machine_to_str(header.e_machine).to_lowercase();
    Err(ElfError::Machine { found: if big { name } else { format!("{name} (32 bits)") } })
}

/// Everything that headers speak of is there.
fn complete(bytes: &[u8], header: &Header, context: Ctx) -> Result<(), ElfError> {
    within(bytes, header.e_phoff, u64::from(header.e_phnum) * u64::from(header.e_phentsize))?;
    within(bytes, header.e_shoff, u64::from(header.e_shnum) * u64::from(header.e_shentsize))?;
    for segment in segments(bytes, header, context)? {
        within(bytes, segment.p_offset, segment.p_filesz)?;
    }
    for section in sections(bytes, header, context)?.iter().filter(|section| section.sh_type != SHT_NOBITS) {
        within(bytes, section.sh_offset, section.sh_size)?;
    }
    Ok(())
}

/// Among the dynamic symbols is the one of a plugin. A library without a section table is left to the linker.
fn exports(bytes: &[u8], header: &Header, context: Ctx) -> Result<(), ElfError> {
    let sections = sections(bytes, header, context)?;
    let Some(symbols) = sections.iter().find(|section| section.sh_type == SHT_DYNSYM) else { return Ok(()) };
    let names = usize::try_from(symbols.sh_link).ok().and_then(|index| sections.get(index));
    let names = names.ok_or_else(|| ElfError::Damaged("its symbols have no names".into()))?;
    let names = &bytes[names.file_range().unwrap_or_default()];

    let count = symbols.sh_size / symbols.sh_entsize.max(1);
    let table = Symtab::parse(bytes, at(symbols.sh_offset)?, at(count)?, context).map_err(damaged)?;
    let wanted = format!("{ROOT_MODULE_LOADER_NAME}\0");
    let found = table.iter().any(|symbol| {
        let defined = symbol.st_shndx != 0;
        defined && names.get(symbol.st_name..).is_some_and(|name| name.starts_with(wanted.as_bytes()))
    });
    if found { Ok(()) } else { Err(ElfError::NoPlugin) }
}

fn segments(bytes: &[u8], header: &Header, context: Ctx) -> Result<Vec<ProgramHeader>, ElfError> {
    ProgramHeader::parse(bytes, at(header.e_phoff)?, header.e_phnum.into(), context).map_err(damaged)
}

fn sections(bytes: &[u8], header: &Header, context: Ctx) -> Result<Vec<SectionHeader>, ElfError> {
    SectionHeader::parse(bytes, at(header.e_shoff)?, header.e_shnum.into(), context).map_err(damaged)
}

fn within(bytes: &[u8], offset: u64, length: u64) -> Result<(), ElfError> {
    let found = bytes.len() as u64;
    let needed = offset.saturating_add(length);
    if needed <= found { Ok(()) } else { Err(ElfError::Truncated { found, needed }) }
}

fn at(offset: u64) -> Result<usize, ElfError> {
    usize::try_from(offset).map_err(|_| ElfError::Damaged(format!("offset {offset} is out of reach")))
}

fn damaged(error: goblin::error::Error) -> ElfError {
    ElfError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn survives_any_headers(mut bytes in proptest::collection::vec(any::<u8>(), 64..2048), offset in 0..2048_u64) {
            // Right in what is looked at first, so that the rest is looked at too.
            let machine = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
            bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            bytes[16..20].copy_from_slice(&[3, 0, machine, 0]);
            bytes[32..40].copy_from_slice(&offset.to_le_bytes());
            bytes[40..48].copy_from_slice(&(offset / 2).to_le_bytes());
            bytes[54..62].copy_from_slice(&[56, 0, 3, 0, 64, 0, 3, 0]);
            let _ = check(&bytes);
        }
    }
}
