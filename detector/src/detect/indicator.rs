//! Names and arguments that coin miners are known by: `indicators.toml`, compiled in.
//!
//! Facts from public lists, each with its source. They add to what is known about a suspect; nothing is
//! accused by them alone.

use std::sync::Arc;

use aho_corasick::AhoCorasick;
use serde::Deserialize;

use super::hash::Map;

/// Most matches of one image.
const MAX_MATCHES: usize = 8;

/// What kind of indicator matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of a file.
    Name,
    /// A part of the arguments.
    Argument,
}

impl Kind {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Name => "name",
            Kind::Argument => "argument",
        }
    }
}

/// One match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What kind.
    pub kind: Kind,
    /// The word of the list.
    pub word: Arc<str>,
    /// The public list it is from.
    pub source: Arc<str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    list: Vec<List>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    source: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    arguments: Vec<String>,
}

/// The lists.
#[derive(Debug)]
pub struct Indicators {
    names: Map<Box<[u8]>, Match>,
    arguments: Vec<Match>,
    search: AhoCorasick,
}

impl Default for Indicators {
    fn default() -> Self {
        Indicators::parse(include_str!("indicators.toml")).expect("the compiled-in lists are valid")
    }
}

impl Indicators {
    fn parse(text: &str) -> Result<Indicators, Box<dyn std::error::Error>> {
        let file: File = toml::from_str(text)?;
        let mut names = Map::default();
        let mut arguments = Vec::new();
        for list in file.list {
            let source: Arc<str> = list.source.into();
            let of = |kind, word: String| Match {
                kind,
                word: word.into(),
                source: Arc::clone(&source),
            };
            for name in list.names {
                let key = name.to_ascii_lowercase().into_bytes().into();
                names.entry(key).or_insert_with(|| of(Kind::Name, name));
            }
            arguments.extend(
                list.arguments
                    .into_iter()
                    .map(|word| of(Kind::Argument, word)),
            );
        }
        let search = AhoCorasick::builder().ascii_case_insensitive(true).build(
            arguments.iter().flat_map(|found| {
                let word = found.word.to_string();
                [word.replace(' ', "\0"), word]
            }),
        )?;
        Ok(Indicators {
            names,
            arguments,
            search,
        })
    }

    /// What matches: any of `names`, whole, and any part of `args` (NUL-separated, where a list has a
    /// blank between two arguments).
    pub fn find<'a>(&self, names: impl IntoIterator<Item = &'a [u8]>, args: &[u8]) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        for name in names {
            let known = if name.iter().any(u8::is_ascii_uppercase) {
                self.names.get(&*name.to_ascii_lowercase())
            } else {
                self.names.get(name)
            };
            if let Some(known) = known
                && !found.contains(known)
            {
                found.push(known.clone());
            }
        }
        for hit in self.search.find_iter(args) {
            // Each word is there twice: as it is, and with NUL for its blanks.
            let known = &self.arguments[hit.pattern().as_usize() / 2];
            if !found.contains(known) && found.len() < MAX_MATCHES {
                found.push(known.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(names: &[&str], args: &str) -> Vec<String> {
        let names = names.iter().map(|name| name.as_bytes());
        let found = Indicators::default().find(names, args.as_bytes());
        found.iter().map(|found| found.word.to_string()).collect()
    }

    #[test]
    fn names_match_whole_and_arguments_anywhere_in_any_case() {
        assert_eq!(words(&["XMRig"], ""), ["xmrig"]);
        assert_eq!(
            words(&["xmrig-notes.txt"], "less\0xmrig-notes.txt\0"),
            [""; 0]
        );
        assert_eq!(
            words(&["x"], "./x\0-o\0STRATUM+TCP://h:1\0--donate-level=0\0"),
            ["stratum+tcp://", "--donate-level"]
        );
        assert_eq!(words(&["x"], "x\0-o\0pool.h:1\0"), [" -o pool."]);
    }

    #[test]
    fn ordinary_command_lines_match_nothing() {
        for args in [
            "nginx: master process",
            "php-fpm\0--nodaemonize\0",
            "tar\0-c\0/donate\0",
        ] {
            assert_eq!(
                words(&["nginx", "php-fpm8.2", "tar"], args),
                [""; 0],
                "{args}"
            );
        }
    }

    #[test]
    fn the_first_of_every_list_is_known_and_eight_marks_are_told() {
        for name in ["xmrig", "kdevtmpfsi"] {
            assert_eq!(words(&[name], ""), [name]);
        }
        let marks = [
            "stratum2+tcp://",
            "--cpu-priority=",
            "--wallet-address",
            "stratum+ssl://",
            "--donate-level",
            "--nicehash",
            "--algo=rx/0",
            "stratum+tcp://",
            "stratum+udp://",
            "yespower",
        ];
        let told = words(&["x"], &marks.join("\0"));
        assert_eq!(told.len(), 8, "{told:?}");
        for mark in marks {
            let told = words(&["x"], &format!("x\0{mark}\0"));
            assert_eq!(
                told,
                [if mark == "--nicehash" {
                    " --nicehash"
                } else {
                    mark
                }]
            );
        }
    }

    #[test]
    fn a_list_with_an_unknown_key_is_refused() {
        assert!(Indicators::parse("[[list]]\nsource = \"x\"\nname = [\"x\"]").is_err());
    }
}
