//! The shortest program there is: it ends. Nothing is linked, mapped or read besides, so that whoever runs it as often as
//! possible measures the kernel, and not a dynamic linker (which takes two thirds of `/bin/true`).

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

/// Where it is loaded: any page that is not the lowest.
const ADDRESS: u64 = 0x40_0000;
/// Bytes of an ELF header and of one program header (`Elf64_Ehdr`, `Elf64_Phdr`).
const HEADERS: u64 = 64 + 56;

/// `exit_group(0)`.
#[cfg(target_arch = "x86_64")]
const CODE: [u8; 9] = [
    0x31, 0xff, // xor edi, edi
    0xb8, 0xe7, 0x00, 0x00, 0x00, // mov eax, 231
    0x0f, 0x05, // syscall
];
/// `exit_group(0)`.
#[cfg(target_arch = "aarch64")]
const CODE: [u8; 12] = [
    0x00, 0x00, 0x80, 0xd2, // mov x0, #0
    0xc8, 0x0b, 0x80, 0xd2, // mov x8, #94
    0x01, 0x00, 0x00, 0xd4, // svc #0
];

/// `e_machine` of elf(5).
const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    62
} else {
    183
};

/// Writes it, to be executed.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path) -> io::Result<()> {
    fs::write(path, program())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// A file of elf(5), 64 bits, little endian: one segment that is all of it.
fn program() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    put(&2_u16.to_le_bytes()); // e_type: ET_EXEC
    put(&MACHINE.to_le_bytes());
    put(&1_u32.to_le_bytes()); // e_version
    put(&(ADDRESS + HEADERS).to_le_bytes()); // e_entry
    put(&64_u64.to_le_bytes()); // e_phoff
    put(&0_u64.to_le_bytes()); // e_shoff: no sections
    put(&0_u32.to_le_bytes()); // e_flags
    for field in [64_u16, 56, 1, 64, 0, 0] {
        put(&field.to_le_bytes()); // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    }
    put(&1_u32.to_le_bytes()); // p_type: PT_LOAD
    put(&5_u32.to_le_bytes()); // p_flags: read, execute
    for field in [0, ADDRESS, ADDRESS, size, size, 64 << 10] {
        put(&field.to_le_bytes()); // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    }
    put(&CODE);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn it_runs_and_ends_with_success() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("shortest");
        write(&path).expect("the folder is writable");
        assert!(Command::new(path).status().expect("it runs").success());
    }
}
