//! The configuration file (`config/`).

use std::path::Path;

use crate::config::{Config, ConfigError};

/// What is taken means the same once it is written down again; what is refused is refused at a place in the text.
///
/// # Panics
/// A promise is broken.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let path = Path::new("detector.toml");
    match Config::parse(path, text) {
        Ok(config) => {
            let written = toml::to_string(&config).expect("what was read can be written");
            let again = Config::parse(path, &written);
            let again = again.unwrap_or_else(|error| panic!("{error}\n{written}"));
            assert_eq!(config, again);
        }
        Err(ConfigError::Syntax { place, .. } | ConfigError::Invalid { place, .. }) => {
            assert!(!place.to_string().is_empty());
            if let Some((line, column)) = place.position {
                let lines: Vec<&str> = text.split('\n').collect();
                assert!((1..=lines.len()).contains(&line), "line {line}");
                let chars = lines[line - 1].chars().count();
                assert!((1..=chars + 1).contains(&column), "{line}:{column}");
            }
        }
        Err(other) => panic!("a text alone cannot cause this: {other}"),
    }
}
