//! Which machines are emulated, and what each is called by whom.

use crate::cross;
use std::env::consts::ARCH;

/// A machine, by Rust's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// What most people have.
    #[value(name = "x86_64")]
    X86_64,
    /// AWS Graviton and its like.
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    /// This machine's, if it is one of them.
    pub fn own() -> Option<Arch> {
        [Arch::X86_64, Arch::Aarch64]
            .into_iter()
            .find(|arch| arch.is_own())
    }

    /// Whether this machine can run its programs.
    pub fn is_own(self) -> bool {
        self.name() == ARCH
    }

    /// Rust's name, which QEMU's program has in its own.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// Debian's.
    pub fn debian(self) -> &'static str {
        cross::debian(self.name())
    }

    /// Where Debian keeps its libraries, below `lib`.
    pub fn libraries(self) -> String {
        format!("{}-linux-gnu", self.name())
    }

    /// The Debian package of its emulator.
    pub fn emulator(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86",
            Arch::Aarch64 => "qemu-system-arm",
        }
    }

    /// The processor with everything, and the board around it.
    ///
    /// The architecture's own cipher for signed return addresses is slow to emulate (a boot of Linux 5.10 takes 15 s with it),
    /// and any other will do (5 s).
    pub fn machine(self) -> &'static [&'static str] {
        match self {
            Arch::X86_64 => &["-cpu", "max"],
            Arch::Aarch64 => &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
        }
    }

    /// How many times as long as on x86-64 everything may take.
    ///
    /// Loading the probes into Linux 7 takes the emulator 35 to 45 s here, and about 16 on x86-64.
    pub fn patience(self) -> u64 {
        match self {
            Arch::X86_64 => 1,
            Arch::Aarch64 => 3,
        }
    }

    /// The first serial line, as Linux calls it.
    pub fn console(self) -> &'static str {
        match self {
            Arch::X86_64 => "ttyS0",
            Arch::Aarch64 => "ttyAMA0",
        }
    }
}
