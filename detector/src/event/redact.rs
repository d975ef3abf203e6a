//! Secrets are taken out of command lines before anything is stored or sent.
//!
//! Works on bytes, before they become text, and leaves every byte that is no secret as it is. Known are: options and
//! assignments whose name says so (`--password=…`, `--token …`, `MYSQL_PWD=…`), the short options of programs that take a
//! password there (`mysql -p…`), passwords and keys in URLs, headers that authenticate, and tokens of well-known
//! form; also inside a script that a shell gets as one argument. An operator adds expressions of their own.
//!
//! It cannot know a secret that looks like nothing: `program hunter2` goes out as it is.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use regex::bytes::{Regex, RegexBuilder};

/// Scripts within scripts that are looked into: `sh -c "ssh host 'mysql …'"`.
const SCRIPTS_MAX: u32 = 3;

/// What stands in place of a secret.
pub const REDACTED: &[u8] = b"[redacted]";

/// Expressions an operator may add.
pub const OWN_MAX: usize = 64;
/// Memory of one compiled expression, bytes: a mistake must not cost more than the detector itself.
const OWN_BYTES: usize = 1 << 20;

/// Takes secrets out of command lines. The default knows what the module says.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    own: Vec<Regex>,
}

impl PartialEq for Redactor {
    fn eq(&self, other: &Redactor) -> bool {
        let texts = |redactor: &Redactor| -> Vec<String> {
            redactor
                .own
                .iter()
                .map(|own| own.as_str().to_owned())
                .collect()
        };
        texts(self) == texts(other)
    }
}

/// Parts of names that say: what follows is a secret. In lower case, without `-` and `_`.
const SECRET_NAMES: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authkey",
    "credential",
    "bearer",
];
/// Names that hold one of the above and mean where a secret lies, not what it is.
const NO_SECRETS: [&str; 4] = ["file", "path", "stdin", "prompt"];

/// Short options that take a password, and the beginnings of the programs' names for which they do.
const SHORT_OPTIONS: [(&str, &[&str]); 5] = [
    (
        "-p",
        &["mysql", "mariadb", "sshpass", "mongo", "xtrabackup"],
    ),
    ("-a", &["redis-cli", "valkey-cli", "keydb-cli"]),
    ("-w", &["ldap"]),
    ("-P", &["plink", "pscp"]),
    ("-W", &["ldap"]),
];
/// Programs whose `-p` alone asks for the password: the next argument is something else.
const ASKS: [&str; 2] = ["mysql", "mariadb"];
/// Options with `user:password`, and the programs that have them.
const USER_OPTIONS: [&str; 4] = ["-u", "--user", "-U", "--proxy-user"];
const USER_PROGRAMS: [&str; 1] = ["curl"];
/// Programs that others start and whose options mean something else again.
const STARTED: [&str; 5] = ["ssh", "scp", "sftp", "rsync", "git"];

/// Group 1 is the secret.
static KNOWN: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // scheme://user:secret@host
        r"(?i-u)\b[a-z][a-z0-9+.-]*://[^\s/@:]*:([^\s/@]+)@",
        // ?token=secret&…
        r"(?i-u)[?&;][a-z0-9_.-]*(?:password|passwd|pwd|secret|token|api_?key|access_?key|signature|sig|auth)[a-z0-9_]*=([^\s&;#]+)",
        // A header, to the end of the argument or its quotation.
        r#"(?i-u)\b(?:(?:proxy-)?authorization|x-api-key|x-auth-token|private-token|api-key|(?:set-)?cookie)\s*:\s*([^"'\r\n]+)"#,
        // Tokens of GitHub, GitLab, Slack, AWS, Stripe, Google, and JSON Web Tokens.
        r"(?-u)\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}|[rs]k_live_[A-Za-z0-9]{16,}|AIza[0-9A-Za-z_-]{35}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)",
        r"(?s-u)-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)(?:-----END|$)",
    ]
    .into_iter()
    .map(|text| Regex::new(text).expect("a test compiles them"))
    .collect()
});

impl Redactor {
    /// With expressions of the operator's: of each match the first group is taken out, or all of it where there is none.
    ///
    /// # Errors
    /// Which expression cannot be used, and why.
    pub fn new(own: &[String]) -> Result<Redactor, String> {
        if own.len() > OWN_MAX {
            return Err(format!("more than {OWN_MAX} expressions"));
        }
        let compile = |text: &String| {
            let regex = RegexBuilder::new(text).size_limit(OWN_BYTES).build();
            regex.map_err(|error| format!("{text:?} cannot be used: {error}"))
        };
        let own = own.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Redactor { own })
    }

    /// The arguments of a NUL-separated argv, without secrets.
    pub fn arguments<'a>(&self, argv: &'a [u8]) -> Cow<'a, [u8]> {
        let mut secrets = Vec::new();
        let words = split(argv, 0..argv.len(), |byte| byte == 0, false);
        by_name(argv, &words, SCRIPTS_MAX, &mut secrets);
        for word in words {
            self.by_form(argv, word, &mut secrets);
        }
        without(argv, secrets)
    }

    /// A text that is one argument, such as a title.
    pub fn text<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut secrets = Vec::new();
        self.by_form(text, 0..text.len(), &mut secrets);
        without(text, secrets)
    }

    /// Secrets that are known by what they look like.
    fn by_form(&self, text: &[u8], word: Range<usize>, secrets: &mut Vec<Range<usize>>) {
        for regex in KNOWN.iter().chain(&self.own) {
            for found in regex.captures_iter(&text[word.clone()]) {
                let secret = found.get(1).or_else(|| found.get(0));
                if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
                    secrets.push(word.start + secret.start()..word.start + secret.end());
                }
            }
        }
    }
}

/// Secrets that the name of an option or variable announces.
fn by_name(
    text: &[u8],
    words: &[Range<usize>],
    scripts_left: u32,
    secrets: &mut Vec<Range<usize>>,
) {
    // Its name, without the folder: short options mean something for it. The first word that is no assignment is one.
    let mut program: Option<&[u8]> = None;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let bytes = &text[word.clone()];
        let equals = bytes.iter().position(|byte| *byte == b'=');
        let name = &bytes[..equals.unwrap_or(bytes.len())];
        let option = name.starts_with(b"-");
        if let Some(equals) = equals.filter(|_| is_secret(name)) {
            secrets.push(word.start + equals + 1..word.end);
            continue;
        }
        if let Some(program) = program
            && let Some(range) = short_option(text, word, words.peek().copied(), program)
        {
            secrets.push(range);
            continue;
        }
        if option && equals.is_none() && bytes.starts_with(b"--") && is_secret(name) {
            if let Some(value) = words.next_if(|next| !text[(*next).clone()].starts_with(b"-")) {
                secrets.push(value.clone());
            }
            continue;
        }
        // A script for a shell, or a command line in one argument.
        if bytes.iter().any(u8::is_ascii_whitespace) {
            if scripts_left > 0 {
                let inner = split(
                    text,
                    unquoted(text, word),
                    |byte| byte.is_ascii_whitespace(),
                    true,
                );
                by_name(text, &inner, scripts_left - 1, secrets);
            }
        } else if !option && equals.is_none() {
            // `env`, `sudo` and `sh -c` come before the program that matters: the last one named counts.
            let slash = bytes.iter().rposition(|byte| *byte == b'/');
            let base = &bytes[slash.map_or(0, |slash| slash + 1)..];
            if program.is_none() || knows_short_options(base) {
                program = Some(base);
            }
        }
    }
}

/// A word without the quotation marks around it.
fn unquoted(text: &[u8], word: &Range<usize>) -> Range<usize> {
    match &text[word.clone()] {
        [b'\'', .., b'\''] | [b'"', .., b'"'] => word.start + 1..word.end - 1,
        _ => word.clone(),
    }
}

/// The password after a short option, in the same word or in the next one.
fn short_option(
    text: &[u8],
    word: &Range<usize>,
    next: Option<&Range<usize>>,
    program: &[u8],
) -> Option<Range<usize>> {
    let bytes = &text[word.clone()];
    let is = |names: &[&str]| {
        names
            .iter()
            .any(|name| program.starts_with(name.as_bytes()))
    };
    for (option, programs) in SHORT_OPTIONS {
        if !is(programs) || !bytes.starts_with(option.as_bytes()) || bytes.starts_with(b"--") {
            continue;
        }
        let attached = word.start + option.len()..word.end;
        if !attached.is_empty() {
            return Some(attached);
        }
        return next.filter(|_| !is(&ASKS)).cloned();
    }
    if !is(&USER_PROGRAMS) {
        return None;
    }
    for option in USER_OPTIONS {
        let Some(rest) = bytes.strip_prefix(option.as_bytes()) else {
            continue;
        };
        let value = match rest {
            [] => next?.clone(),
            [b'=', ..] => word.start + option.len() + 1..word.end,
            _ if option.len() == 2 => word.start + option.len()..word.end,
            _ => continue,
        };
        let colon = text[value.clone()].iter().position(|byte| *byte == b':')?;
        return Some(value.start + colon + 1..value.end);
    }
    None
}

fn knows_short_options(program: &[u8]) -> bool {
    let mut names = SHORT_OPTIONS
        .iter()
        .flat_map(|(_, programs)| programs.iter())
        .chain(&USER_PROGRAMS);
    names.any(|name| program.starts_with(name.as_bytes()))
        || STARTED.iter().any(|name| program == name.as_bytes())
}

/// Whether a name announces a secret: `--db-password`, `MYSQL_PWD`, `/apikey`, but not `--password-file`.
fn is_secret(name: &[u8]) -> bool {
    if name.len() > 128 || !name.iter().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            .then(|| byte.to_ascii_lowercase())
    };
    let plain: Vec<u8> = name.iter().filter_map(plain).collect();
    let plain = String::from_utf8_lossy(&plain);
    let holds = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    (holds(&SECRET_NAMES) || plain == "pass" || plain.ends_with("dbpass")) && !holds(&NO_SECRETS)
}

/// The words within `range`; quotation marks, where they count, hold one together and lie inside it.
fn split(
    text: &[u8],
    range: Range<usize>,
    separates: impl Fn(u8) -> bool,
    quotes: bool,
) -> Vec<Range<usize>> {
    let (mut words, mut start, mut quote) = (Vec::new(), range.start, None);
    for at in range.clone() {
        let byte = text[at];
        match quote {
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if quotes && (byte == b'"' || byte == b'\'') => quote = Some(byte),
            None if separates(byte) => {
                words.push(start..at);
                start = at + 1;
            }
            None => {}
        }
    }
    words.push(start..range.end);
    words.retain(|word| !word.is_empty());
    words
}

/// `text` with each of the ranges replaced.
fn without(text: &[u8], mut secrets: Vec<Range<usize>>) -> Cow<'_, [u8]> {
    secrets.retain(|secret| !secret.is_empty());
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    secrets.sort_by_key(|secret| (secret.start, secret.end));
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for secret in secrets {
        if secret.start >= at {
            out.extend_from_slice(&text[at..secret.start]);
            out.extend_from_slice(REDACTED);
        }
        at = at.max(secret.end);
    }
    out.extend_from_slice(&text[at..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
