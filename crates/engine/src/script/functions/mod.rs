//! Libraries of functions: what FUNCTION LOAD keeps and FCALL calls.
//!
//! Libraries are data. [`Libraries`] is the registry: what a keyspace has of
//! them, undone with a unit, journaled as the commands that made it, kept in
//! snapshots by its code. It is shared, and copied when it changes while somebody
//! else holds it, so a unit's undo list and a snapshot keep an older one for the
//! price of a pointer.
//!
//! The compiled functions live in a VM of their own beside that of scripts: what
//! scripts set in `cjson` does not reach them, and SCRIPT FLUSH leaves them. It is
//! made with the first library and stays.
//!
//! Function names are found in any case, across libraries; names of libraries are
//! exact. Cost of a change: a run of the library's code, a few allocations a
//! function, and a copy of the registry where an older one is held.

mod metadata;
mod register;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use mlua::RegistryKey;
use smallvec::SmallVec;

use super::shebang::Flags;
use super::vm::{Entry, Takes};
pub(crate) use metadata::Metadata;
pub(super) use register::{Registering, register};

/// A function of a library.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: Box<[u8]>,
    pub(crate) description: Option<Box<[u8]>>,
    pub(crate) flags: Flags,
    callback: RegistryKey,
}

impl Function {
    /// To run it.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            name: &self.name,
            function: &self.callback,
            takes: Takes::Arguments,
        }
    }
}

/// A library: its code, and what that registered.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) name: Box<[u8]>,
    pub(crate) code: Arc<[u8]>,
    /// By name.
    pub(crate) functions: Vec<Arc<Function>>,
}

impl Library {
    pub(super) fn new(name: &[u8], code: &[u8], functions: Vec<Function>) -> Self {
        let mut functions: Vec<_> = functions.into_iter().map(Arc::new).collect();
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        Library {
            name: name.into(),
            code: code.into(),
            functions,
        }
    }

    /// Bytes that it takes up outside of the VM, roughly.
    fn bytes(&self) -> usize {
        const LIBRARY: usize = 128;
        const FUNCTION: usize = 192;
        let function = |function: &Arc<Function>| {
            FUNCTION
                + 2 * function.name.len()
                + function.description.as_ref().map_or(0, |text| text.len())
        };
        let functions: usize = self.functions.iter().map(function).sum();
        LIBRARY + 2 * self.name.len() + self.code.len() + functions
    }
}

/// The registry of a keyspace; see the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Libraries {
    by_name: BTreeMap<Box<[u8]>, Arc<Library>>,
    /// By their names in lower case.
    functions: HashMap<Box<[u8]>, Arc<Function>, RandomState>,
    bytes: usize,
}

impl Libraries {
    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// Number of libraries.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Number of functions.
    pub(crate) fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// Bytes that they take up outside of the VM, roughly.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is a library of this name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.by_name.contains_key(name)
    }

    /// The function of this name, in any case.
    pub(crate) fn function(&self, name: &[u8]) -> Option<&Arc<Function>> {
        let mut lower: SmallVec<[u8; 64]> = SmallVec::from_slice(name);
        lower.make_ascii_lowercase();
        self.functions.get(&*lower)
    }

    /// Whether the library may be added, in place of one of its name; the error is
    /// the name of a function that another library has.
    pub(crate) fn admit<'a>(&self, library: &'a Library) -> Result<(), &'a [u8]> {
        let old = self.by_name.get(&library.name);
        let goes = |function: &Arc<Function>| {
            let mut of = old.iter().flat_map(|old| &old.functions);
            of.any(|own| Arc::ptr_eq(own, function))
        };
        for function in &library.functions {
            let there = self.function(&function.name);
            if there.is_some_and(|there| !goes(there)) {
                return Err(&function.name);
            }
        }
        Ok(())
    }

    /// Adds a library, in place of one of its name, that [`Libraries::admit`]
    /// has let in.
    pub(crate) fn insert(&mut self, library: Arc<Library>) {
        self.remove(&library.name);
        self.bytes += library.bytes();
        for function in &library.functions {
            // Two of one library that differ in case: the first is called.
            self.functions
                .entry(function.name.to_ascii_lowercase().into())
                .or_insert_with(|| Arc::clone(function));
        }
        self.by_name.insert(library.name.clone(), library);
    }

    /// Takes a library out; whether there was one.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.by_name.remove(name) else {
            return false;
        };
        self.bytes -= library.bytes();
        for function in &library.functions {
            self.functions.remove(&*function.name.to_ascii_lowercase());
        }
        true
    }
}

/// How many there are, readable without the keyspace's lock.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    libraries: AtomicUsize,
    functions: AtomicUsize,
}

impl Counts {
    pub(crate) fn set(&self, libraries: &Libraries) {
        self.libraries.store(libraries.len(), Ordering::Relaxed);
        self.functions
            .store(libraries.function_count(), Ordering::Relaxed);
    }

    /// Libraries and functions.
    pub(crate) fn get(&self) -> (usize, usize) {
        (
            self.libraries.load(Ordering::Relaxed),
            self.functions.load(Ordering::Relaxed),
        )
    }
}

/// Whether a library or a function may have this name.
fn is_name(name: &[u8]) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.iter().all(known)
}

const BAD_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and \
                        must be at least one character long";

#[cfg(test)]
mod tests;
