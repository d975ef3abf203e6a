//! Inputs from a recording, in the order in which the engine was told them.
//!
//! The same [`Input`](crate::input::Input)s as the live sources give; whoever judges cannot tell which.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use crate::{
    input::OwnedInput,
    recording::{Header, Reader, RecordingError, Skipped},
};

/// A recording that cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct ReplayError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: RecordingError,
}

/// What a recording told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Inputs.
    pub inputs: u64,
    /// First pass, ns since 1970.
    pub first_unix_ns: Option<i64>,
    /// Last pass, ns since 1970.
    pub last_unix_ns: Option<i64>,
}

/// Yields a recording's inputs; ends after its first error.
#[derive(Debug)]
pub struct Replay {
    path: PathBuf,
    reader: Reader<BufReader<File>>,
    told: Told,
}

impl Replay {
    /// Reads the header of `path`.
    ///
    /// # Errors
    /// It cannot be opened or is no recording of a version that is known.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let named = |source| ReplayError {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(|error| named(error.into()))?;
        Ok(Replay {
            reader: Reader::new(BufReader::new(file)).map_err(named)?,
            path: path.to_owned(),
            told: Told::default(),
        })
    }

    /// Of whom, by whom, with which numbers.
    pub fn header(&self) -> &Header {
        self.reader.header()
    }

    /// Inputs that this version does not understand.
    pub fn skipped(&self) -> &Skipped {
        self.reader.skipped()
    }

    /// What was told so far.
    pub fn told(&self) -> Told {
        self.told
    }
}

impl Iterator for Replay {
    type Item = Result<OwnedInput, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.reader.next()?;
        if let Ok(input) = &next {
            self.told.inputs += 1;
            if let OwnedInput::Scan(scan) = input {
                self.told.first_unix_ns.get_or_insert(scan.unix_ns);
                self.told.last_unix_ns = Some(scan.unix_ns);
            }
        }
        Some(next.map_err(|source| ReplayError {
            path: self.path.clone(),
            source,
        }))
    }
}
