//! What an image really runs: itself, a file it was given, or code that is in no file.
//!
//! `bash x.sh` loads bash, `ld.so ./x` loads the loader: neither is the program that matters. Known by
//! the name of the loaded file (never `comm`), then by the options that come before the operand. An
//! interpreter under another name runs "itself": then it is judged as a program of its own, which a
//! renamed packaged one would not excuse anyway. What is understood: shells, Python, Perl, Ruby, PHP,
//! Node, Lua, busybox and the dynamic loader. `env` chains need nothing here: `env` becomes what it
//! starts, in another exec.
//!
//! False positives: `ldd x` may ask the loader to map `x` without running it, and looks the same.

use super::path::base_name;
use crate::input::Exec;

/// What an image runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs<'a> {
    /// The loaded file.
    Itself,
    /// A script, by its path as given; may be relative.
    Script(&'a [u8]),
    /// A program through the dynamic loader, by its path as given.
    Loaded(&'a [u8]),
    /// Code that is in no file.
    Inline(Inline),
}

/// Where code comes from that is in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inline {
    /// The command line (`-c`, `-e`).
    Argument,
    /// Standard input.
    Stdin,
    /// A descriptor (`/dev/fd/63`).
    Descriptor,
    /// Beyond the arguments that were kept: so many options come before it.
    Beyond,
}

impl<'a> Runs<'a> {
    /// The file it was given.
    pub fn file(self) -> Option<&'a [u8]> {
        match self {
            Runs::Script(path) | Runs::Loaded(path) => Some(path),
            Runs::Itself | Runs::Inline(_) => None,
        }
    }

    /// Whether that is a script.
    pub fn is_script(self) -> bool {
        matches!(self, Runs::Script(_))
    }
}

/// What `exec` runs.
pub fn runs(exec: &Exec) -> Runs<'_> {
    if exec.interpreter.is_some() {
        return Runs::Script(&exec.filename);
    }
    let name: &[u8] = if exec.name.is_empty() {
        base_name(&exec.filename)
    } else {
        &exec.name
    };
    let Some(language) = Language::of(name) else {
        return Runs::Itself;
    };
    let complete = exec.args_total_bytes as usize <= exec.args.len();
    let mut args = Arguments::new(&exec.args, complete);
    let argv0 = base_name(args.next().unwrap_or_default());
    let language = match language {
        Language::Busybox => match busybox(argv0, &mut args) {
            Some(shell) => shell,
            None => return Runs::Itself,
        },
        other => other,
    };
    let found = language.operand(&mut args);
    match found {
        Operand::File(path) if is_descriptor(path) && language != Language::Loader => {
            Runs::Inline(Inline::Descriptor)
        }
        Operand::File(path) if language == Language::Loader => Runs::Loaded(path),
        Operand::File(path) => Runs::Script(path),
        Operand::Code => Runs::Inline(Inline::Argument),
        Operand::None if args.cut => Runs::Inline(Inline::Beyond),
        Operand::None if language == Language::Loader => Runs::Itself,
        Operand::None => Runs::Inline(Inline::Stdin),
        Operand::Other => Runs::Itself,
    }
}

/// Whether a path names an open descriptor.
pub fn is_descriptor(path: &[u8]) -> bool {
    path.starts_with(b"/dev/fd/")
        || path == b"/dev/stdin"
        || path.starts_with(b"/proc/") && path.windows(4).any(|part| part == b"/fd/")
}

/// Families of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Shell,
    Python,
    Perl,
    Ruby,
    Php,
    Node,
    Lua,
    Busybox,
    Loader,
}

const SHELLS: [&[u8]; 11] = [
    b"sh", b"bash", b"rbash", b"dash", b"ash", b"zsh", b"ksh", b"ksh93", b"mksh", b"fish", b"zsh5",
];

impl Language {
    fn of(name: &[u8]) -> Option<Language> {
        // Nearly every exec leaves here.
        let first = *name.first()?;
        if !b"abdfklmnprsz".contains(&first) {
            return None;
        }
        if SHELLS.contains(&name) {
            return Some(Language::Shell);
        }
        let versioned = |stem: &[u8]| {
            name.strip_prefix(stem).is_some_and(|rest| {
                rest.iter()
                    .all(|byte| byte.is_ascii_digit() || *byte == b'.')
            })
        };
        if versioned(b"python") {
            Some(Language::Python)
        } else if versioned(b"perl") {
            Some(Language::Perl)
        } else if versioned(b"ruby") {
            Some(Language::Ruby)
        } else if versioned(b"php") {
            Some(Language::Php)
        } else if name == b"node" || name == b"nodejs" {
            Some(Language::Node)
        } else if versioned(b"lua") || versioned(b"luajit") || name.starts_with(b"luajit-") {
            Some(Language::Lua)
        } else if name.starts_with(b"busybox") {
            Some(Language::Busybox)
        } else if is_loader(name) {
            Some(Language::Loader)
        } else {
            None
        }
    }

    fn operand<'a>(self, args: &mut Arguments<'a>) -> Operand<'a> {
        while let Some(arg) = args.next() {
            match self.option(arg) {
                Word::Operand => return Operand::File(arg),
                Word::Flag => {}
                Word::WithValue => drop(args.next()),
                Word::FileNext => return args.next().map_or(Operand::None, Operand::File),
                Word::FileHere(path) => return Operand::File(path),
                Word::Code => return Operand::Code,
                Word::Stdin => return Operand::None,
                Word::Other => return Operand::Other,
            }
        }
        Operand::None
    }

    fn option(self, arg: &[u8]) -> Word<'_> {
        let sign = arg.first().copied();
        let shell_plus = self == Language::Shell && sign == Some(b'+') && arg.len() > 1;
        if sign != Some(b'-') && !shell_plus {
            return Word::Operand;
        }
        match arg {
            b"-" => return Word::Stdin,
            b"--" => return Word::FileNext,
            _ => {}
        }
        match self {
            Language::Shell | Language::Busybox => shell(arg),
            Language::Python => python(arg),
            Language::Perl => letters(arg, b"eE", b"", b"I", b"MmxCFiDdV"),
            Language::Ruby => letters(arg, b"e", b"", b"rICEK", b"0FiWTx"),
            Language::Php => php(arg),
            Language::Node => node(arg),
            Language::Lua => letters(arg, b"e", b"", b"l", b""),
            Language::Loader => loader(arg),
        }
    }
}

/// What one argument is.
enum Word<'a> {
    /// The file.
    Operand,
    /// An option by itself.
    Flag,
    /// An option that takes the next argument.
    WithValue,
    /// The next argument is the file, whatever it looks like.
    FileNext,
    /// The file, attached to its option.
    FileHere(&'a [u8]),
    /// Code follows, or is attached.
    Code,
    /// Standard input.
    Stdin,
    /// It runs no file: it lists, serves or loads a module by name.
    Other,
}

/// What was found among the arguments.
enum Operand<'a> {
    File(&'a [u8]),
    Code,
    None,
    Other,
}

fn shell(arg: &[u8]) -> Word<'_> {
    if let Some(long) = arg.strip_prefix(b"--") {
        return match long {
            b"rcfile" | b"init-file" => Word::WithValue,
            b"command" => Word::Code,
            b"version" | b"help" => Word::Other,
            _ => Word::Flag,
        };
    }
    let letters = &arg[1..];
    if arg[0] == b'-' && letters.contains(&b'c') {
        Word::Code
    } else if arg[0] == b'-' && letters.contains(&b's') {
        Word::Stdin
    } else if matches!(letters.last(), Some(b'o' | b'O')) {
        Word::WithValue
    } else {
        Word::Flag
    }
}

fn python(arg: &[u8]) -> Word<'_> {
    match arg {
        b"--check-hash-based-pycs" => Word::WithValue,
        b"--version" | b"--help" => Word::Other,
        _ if arg.starts_with(b"--") => Word::Flag,
        _ => letters(arg, b"c", b"mVh", b"WX", b""),
    }
}

fn php(arg: &[u8]) -> Word<'_> {
    match arg {
        b"--file" => Word::FileNext,
        b"--run" | b"--process-code" => Word::Code,
        b"--define" | b"--php-ini" | b"--docroot" => Word::WithValue,
        b"--server" | b"--version" | b"--info" | b"--modules" | b"--help" => Word::Other,
        b"-f" | b"-F" => Word::FileNext,
        _ if arg.starts_with(b"--") => Word::Flag,
        _ if arg.starts_with(b"-f") => Word::FileHere(&arg[2..]),
        _ => letters(arg, b"rRB", b"Svimh", b"dctzgb", b""),
    }
}

fn node(arg: &[u8]) -> Word<'_> {
    let plain = arg.split(|byte| *byte == b'=').next().unwrap_or(arg);
    let attached = plain.len() < arg.len();
    match plain {
        b"-e" | b"--eval" | b"-p" | b"--print" | b"-pe" => Word::Code,
        b"-i" | b"--interactive" => Word::Stdin,
        b"-v" | b"--version" | b"-h" | b"--help" => Word::Other,
        b"-r"
        | b"--require"
        | b"--import"
        | b"--loader"
        | b"--experimental-loader"
        | b"-C"
        | b"--conditions"
        | b"--env-file"
        | b"--title"
            if !attached =>
        {
            Word::WithValue
        }
        _ => Word::Flag,
    }
}

fn loader(arg: &[u8]) -> Word<'_> {
    match arg {
        b"--library-path"
        | b"--inhibit-rpath"
        | b"--audit"
        | b"--preload"
        | b"--argv0"
        | b"--glibc-hwcaps-prepend"
        | b"--glibc-hwcaps-mask" => Word::WithValue,
        b"--list"
        | b"--verify"
        | b"--help"
        | b"--version"
        | b"--list-tunables"
        | b"--list-diagnostics" => Word::Other,
        _ => Word::Flag,
    }
}

/// A cluster of one-letter options: `code` letters bring code, `other` ones run no file, `value` ones take
/// the rest of the cluster or the next argument, `attached` ones take the rest of the cluster.
fn letters<'a>(
    arg: &'a [u8],
    code: &[u8],
    other: &[u8],
    value: &[u8],
    attached: &[u8],
) -> Word<'a> {
    for (at, letter) in arg.iter().enumerate().skip(1) {
        if code.contains(letter) {
            return Word::Code;
        }
        if other.contains(letter) {
            return Word::Other;
        }
        if attached.contains(letter) {
            return Word::Flag;
        }
        if value.contains(letter) {
            return if at + 1 == arg.len() {
                Word::WithValue
            } else {
                Word::Flag
            };
        }
    }
    Word::Flag
}

/// The shell busybox is asked to be.
fn busybox(argv0: &[u8], args: &mut Arguments<'_>) -> Option<Language> {
    let applet = if argv0.starts_with(b"busybox") {
        base_name(args.next()?)
    } else {
        argv0.strip_prefix(b"-").unwrap_or(argv0)
    };
    SHELLS.contains(&applet).then_some(Language::Shell)
}

/// `ld-linux-x86-64.so.2`, `ld-musl-aarch64.so.1`, `ld-2.31.so`, `ld64.so.2`, `ld.so`.
fn is_loader(name: &[u8]) -> bool {
    let stem = name.strip_prefix(b"ld").unwrap_or_default();
    let begins = stem.starts_with(b"-") || stem.starts_with(b"64.") || stem.starts_with(b".so");
    begins && name.windows(3).any(|part| part == b".so")
}

/// NUL-separated arguments; the last one is left out where it was cut.
struct Arguments<'a> {
    rest: &'a [u8],
    complete: bool,
    /// The end was reached, and there would have been more.
    cut: bool,
}

impl<'a> Arguments<'a> {
    fn new(args: &'a [u8], complete: bool) -> Arguments<'a> {
        Arguments {
            rest: args,
            complete,
            cut: false,
        }
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            self.cut = !self.complete;
            return None;
        }
        match self.rest.iter().position(|byte| *byte == 0) {
            Some(end) => {
                let arg = &self.rest[..end];
                self.rest = &self.rest[end + 1..];
                Some(arg)
            }
            None if self.complete => Some(std::mem::take(&mut self.rest)),
            None => {
                self.rest = &[];
                self.cut = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
