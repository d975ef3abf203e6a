//! How full the engine's tables are. Each module tells its own, taken apart field by field, so that a new table
//! does not compile until somebody says how large it may become.

/// One table, or the longest of several of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Which.
    pub table: &'static str,
    /// Entries.
    pub entries: usize,
    /// Most there can be.
    pub bound: usize,
}

impl Size {
    /// A table.
    pub fn of(table: &'static str, entries: usize, bound: usize) -> Size {
        Size {
            table,
            entries,
            bound,
        }
    }

    /// Whether it is within its bound.
    pub fn holds(self) -> bool {
        self.entries <= self.bound
    }
}
