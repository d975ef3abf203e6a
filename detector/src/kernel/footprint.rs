//! Memory that was only needed for a while goes back to the kernel.

use std::fs;

/// Gives back what the allocator holds and nobody uses, and the pages of code that were needed once.
///
/// Parsing the kernel's types takes 30 MB for half a second, for one; the allocator would keep them. Code that only a start
/// runs (loading programs, reading packages, migrating the state) stays resident because it was touched: 9 MiB of code
/// were, 7 are needed.
#[expect(unsafe_code, reason = "malloc_trim has no safe interface")]
pub fn give_memory_back() {
    // SAFETY: always callable; it only returns free pages to the kernel.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(code).for_each(forget);
}

/// First address and bytes of a mapping of code from a file.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let is_file = fields.nth(3)?.starts_with('/');
    let (first, end) = range.split_once('-')?;
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    let (first, end) = (address(first)?, address(end)?);
    (rights == "r-xp" && is_file).then(|| Some((first, end.checked_sub(first)?)))?
}

/// Refused: it stays.
#[expect(unsafe_code, reason = "madvise can throw away what was written")]
fn forget((first, bytes): (usize, usize)) {
    // SAFETY: nobody can have written to these pages: the file's own content comes back with the next look.
    let _ = unsafe { libc::madvise(first as *mut _, bytes, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_comes_from_a_file_and_cannot_be_written() {
        let program = "55790000-55791000 r-xp 003a8000 fe:00 10043398                   /usr/bin/x";
        assert_eq!(code(program), Some((0x5579_0000, 0x1000)));
        for other in [
            "55790000-55791000 r--p 003a8000 fe:00 10043398                   /usr/bin/x",
            "55790000-55791000 rwxp 003a8000 fe:00 10043398                   /usr/bin/x",
            "7ffd0000-7ffd2000 r-xp 00000000 00:00 0                          [vdso]",
            "7f550000-7f560000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    #[test]
    fn this_program_goes_on_and_holds_less_of_its_code() {
        let resident = || {
            let statm = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
            let mut in_code = false;
            let mut kib = 0;
            for line in statm.lines() {
                if line.contains('-') && line.split(' ').nth(1).is_some_and(|r| r.len() == 4) {
                    in_code = code(line).is_some();
                }
                if in_code && let Some(rss) = line.strip_prefix("Rss:") {
                    let rss = rss.trim().trim_end_matches(" kB");
                    kib += rss.parse::<u64>().unwrap_or(0);
                }
            }
            kib
        };
        let before = resident();
        give_memory_back();
        let after = resident();
        assert!(
            before > 1_024 && after < before,
            "{before} KiB, {after} KiB"
        );
    }
}
