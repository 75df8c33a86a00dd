//! A settings' file that is followed.

use std::fs;
use std::path::PathBuf;

use sangam::limit::{Event, Guard, Settings, Watch, WatchError, WatchState};
use sangam_rig::wait::until;

use crate::{check, passed, still, user};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("sangam-watch-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("sangam.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(limit: u32) -> String {
    format!(
        "http = '127.0.0.1:1'\n[limits]\nbuiltin = false\n[limits.classes.a]\n\
         rules = [{{ by = 'user', algorithm = 'fixed-window', limit = {limit}, window = '1h' }}]\n"
    )
}

fn limit(guard: &Guard) -> Option<u64> {
    let class = guard.classes().get("a").cloned();
    class.map(|it| it.tiers[0].rule.limit())
}

async fn reaches(watch: &Watch, what: &str, good: impl Fn(&WatchState) -> bool) -> WatchState {
    until(what, async || {
        let state = watch.state();
        if good(&state) {
            Ok(state)
        } else {
            Err(format!("{state:?}"))
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn settings_follow_their_file_and_counts_stay() {
    let folder = Folder::new("follow");
    fs::write(folder.file(), text(3)).unwrap();
    let (_, store) = still();
    let guard = Guard::new(store, Settings::default());
    let watch = guard.watch(folder.file());
    reaches(&watch, "the file", |it| it.replaced == 1).await;
    assert!(guard.classes().get("auth").is_none());
    assert_eq!(passed(&guard, "a", user("ann"), 5).await, 3);

    // Over the file itself.
    fs::write(folder.file(), text(5)).unwrap();
    reaches(&watch, "a raised limit", |it| it.replaced == 2).await;
    assert_eq!(passed(&guard, "a", user("ann"), 5).await, 2, "counts stay");
    assert_eq!(guard.counts()["a"].allowed, 5);

    // By renaming another one into its place.
    fs::write(folder.0.join("new"), text(6)).unwrap();
    fs::rename(folder.0.join("new"), folder.file()).unwrap();
    reaches(&watch, "the one in its place", |it| it.replaced == 3).await;
    assert_eq!(limit(&guard), Some(6));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_file_changes_nothing_and_is_told() {
    let folder = Folder::new("wrong");
    fs::write(folder.file(), text(3)).unwrap();
    let (_, store) = still();
    let guard = Guard::new(store, Settings::default());
    let watch = guard.watch(folder.file());
    reaches(&watch, "the file", |it| it.replaced == 1).await;
    let mut events = guard.events();

    fs::write(folder.file(), text(4).replace("limit =", "limt =")).unwrap();
    let state = reaches(&watch, "an error", |it| it.error.is_some()).await;
    let Some(WatchError::Invalid { error, path }) = state.error.clone() else {
        panic!("{state:?}");
    };
    assert_eq!((error.line, state.replaced), (5, 1));
    assert!(error.reason.contains("\"limt\"") && path.ends_with("sangam.toml"));
    match events.recv().await.unwrap() {
        Event::Invalid(told) => assert_eq!(Some(told), state.error),
        other => panic!("{other:?}"),
    }
    assert_eq!(limit(&guard), Some(3));
    assert_eq!(passed(&guard, "a", user("ann"), 5).await, 3);

    for (what, bytes) in [
        ("half of it", &text(9).as_bytes()[..100]),
        ("bytes", b"\xff\xfe"),
    ] {
        let before = watch.state().error;
        fs::write(folder.file(), bytes).unwrap();
        reaches(&watch, what, |it| it.error.is_some() && it.error != before).await;
        assert_eq!(limit(&guard), Some(3), "{what}");
    }
    fs::remove_file(folder.file()).unwrap();
    let unreadable = |it: &WatchState| matches!(&it.error, Some(WatchError::Unreadable { reason, .. }) if reason.contains("No such"));
    reaches(&watch, "the file's end", unreadable).await;
    assert_eq!(limit(&guard), Some(3));
    fs::create_dir(folder.file()).unwrap();
    let folder_there = |it: &WatchState| matches!(&it.error, Some(WatchError::Unreadable { reason, .. }) if reason.contains("no file"));
    reaches(&watch, "a folder in its place", folder_there).await;
    fs::remove_dir(folder.file()).unwrap();

    fs::write(folder.file(), text(3)).unwrap();
    let state = reaches(&watch, "the file again", |it| it.error.is_none()).await;
    assert_eq!(state.replaced, 2);
    assert!(!check(&guard, "a", user("ann")).await.allowed);
}

#[tokio::test(start_paused = true)]
async fn a_file_without_the_table_drops_nothing_of_ones_own() {
    let folder = Folder::new("emptied");
    fs::write(folder.file(), "http = '127.0.0.1:1'\n").unwrap();
    let (_, store) = still();
    let guard = Guard::new(store, Settings::default());
    let watch = guard.watch(folder.file());
    reaches(&watch, "what is built in", |it| it.replaced == 1).await;

    fs::write(folder.file(), text(3)).unwrap();
    reaches(&watch, "the file", |it| it.replaced == 2).await;
    assert!(guard.classes().get("auth").is_none());
    for (what, without) in [
        ("an empty file", ""),
        ("another file", "[limit]\nnear = 8\n"),
    ] {
        fs::write(folder.file(), without).unwrap();
        let state = reaches(&watch, what, |it| it.error.is_some()).await;
        let Some(WatchError::Invalid { error, .. }) = &state.error else {
            panic!("{state:?}");
        };
        assert!(error.reason.contains("no table [limits]"), "{error}");
        assert_eq!(limit(&guard), Some(3), "{what}");
        let before = state.replaced;
        fs::write(folder.file(), text(3)).unwrap();
        reaches(&watch, "the file again", |it| it.replaced > before).await;
    }

    fs::write(folder.file(), "[limits]\n").unwrap();
    reaches(&watch, "an empty table", |it| it.replaced == 5).await;
    assert_eq!(limit(&guard), None);
    assert!(guard.classes().get("auth").is_some());
}

#[tokio::test(start_paused = true)]
async fn following_ends_with_the_watch_or_the_guard() {
    let folder = Folder::new("ends");
    let (_, store) = still();
    let guard = Guard::new(store.clone(), Settings::default());
    let watch = guard.watch(folder.file());
    let mut states = watch.states();
    drop(watch);
    assert!(states.changed().await.is_err(), "the task is over");

    let guard = Guard::new(store, Settings::default());
    let watch = guard.watch(folder.file());
    let mut states = watch.states();
    reaches(&watch, "the missing file", |it| it.error.is_some()).await;
    states.mark_unchanged();
    drop(guard);
    assert!(states.changed().await.is_err(), "the task is over");
}
