//! The registry by itself.

use super::*;

fn library(name: &str, functions: &[&str]) -> Arc<Library> {
    let lua = mlua::Lua::new();
    let function = |name: &&str| Function {
        name: name.as_bytes().into(),
        description: None,
        flags: Flags::default(),
        callback: lua.create_registry_value(1).unwrap(),
    };
    let functions = functions.iter().map(function).collect();
    Arc::new(Library::new(name.as_bytes(), b"#!lua", functions))
}

#[test]
fn functions_are_found_in_any_case_and_libraries_are_not() {
    let mut libraries = Libraries::default();
    libraries.insert(library("lib", &["Some_Name", "other"]));
    assert!(libraries.has(b"lib") && !libraries.has(b"LIB"));
    let name = |name: &[u8]| libraries.function(name).map(|found| found.name.clone());
    assert_eq!(name(b"some_name").as_deref(), Some(&b"Some_Name"[..]));
    assert_eq!(name(b"OTHER").as_deref(), Some(&b"other"[..]));
    assert_eq!(name(b"oth"), None);
}

#[test]
fn what_collides_is_named() {
    let mut libraries = Libraries::default();
    libraries.insert(library("one", &["f", "g"]));
    libraries.insert(library("two", &["h"]));
    assert_eq!(libraries.admit(&library("one", &["f", "x"])), Ok(()));
    let thief = library("one", &["f", "H"]);
    assert_eq!(libraries.admit(&thief), Err(&b"H"[..]));
    let third = library("three", &["a", "G"]);
    assert_eq!(libraries.admit(&third), Err(&b"G"[..]));
}

#[test]
fn what_goes_leaves_nothing() {
    let mut libraries = Libraries::default();
    libraries.insert(library("one", &["f", "F", "g"]));
    assert_eq!((libraries.len(), libraries.function_count()), (1, 2));
    libraries.insert(library("one", &["h"]));
    assert_eq!((libraries.len(), libraries.function_count()), (1, 1));
    assert!(libraries.function(b"f").is_none());
    assert!(libraries.bytes() > 0);
    assert!(libraries.remove(b"one") && !libraries.remove(b"one"));
    assert_eq!((libraries.function_count(), libraries.bytes()), (0, 0));
}
