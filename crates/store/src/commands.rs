//! Several commands on their way together, in one flat buffer.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::script::{self, Script};

/// The arguments of one command, its name first.
pub type Argv<'a> = SmallVec<[&'a [u8]; 8]>;

/// Commands in order, for [`Store::pipeline`](crate::Store::pipeline) and
/// [`Store::transaction`](crate::Store::transaction). Adding one copies its
/// bytes and allocates nothing else once the buffers have grown.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_field_names, reason = "what it holds is commands")]
pub struct Commands {
    bytes: Vec<u8>,
    /// Where each argument ends in `bytes`.
    ends: Vec<usize>,
    /// Where each command ends in `ends`.
    commands: Vec<usize>,
    /// Which of them are scripts, in order.
    scripts: Vec<(usize, &'static Script)>,
}

/// How a script is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Name,
    Text,
}

impl Commands {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command: its name, then its arguments.
    pub fn push(&mut self, argv: &[&[u8]]) -> &mut Self {
        for arg in argv {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len());
        }
        self.commands.push(self.ends.len());
        self
    }

    /// Adds a script. A pipeline sends it by its name and, where the store does not
    /// know that, again with its text, alone and after the others; a transaction
    /// sends the text at once.
    pub fn push_script(
        &mut self,
        script: &'static Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> &mut Self {
        self.scripts.push((self.len(), script));
        let (_, name) = script.sent(false);
        self.push(&script::argv(
            "EVALSHA",
            name,
            &script::count(keys.len()),
            keys,
            args,
        ))
    }

    /// Keeps the first `count` commands, scripts as scripts.
    pub fn truncate(&mut self, count: usize) {
        self.commands.truncate(count);
        self.ends
            .truncate(self.commands.last().copied().unwrap_or(0));
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        self.scripts.retain(|(place, _)| *place < count);
    }

    /// The scripts' places among the commands.
    pub(crate) fn scripts(&self) -> &[(usize, &'static Script)] {
        &self.scripts
    }

    /// The commands with their scripts in this form.
    pub(crate) fn with_scripts(&self, by: By, locks_keys: bool) -> Cow<'_, Commands> {
        if self.scripts.is_empty() || (by == By::Name && !locks_keys) {
            return Cow::Borrowed(self);
        }
        let mut spelled = Commands::new();
        let mut scripts = self.scripts.iter().peekable();
        for (at, argv) in self.iter().enumerate() {
            match scripts.next_if(|(place, _)| *place == at) {
                Some((_, script)) => spelled.push(&as_script(argv, script, by, locks_keys)),
                None => spelled.push(&argv),
            };
        }
        Cow::Owned(spelled)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of all arguments.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The command at `index`.
    pub fn get(&self, index: usize) -> Option<Argv<'_>> {
        let last = *self.commands.get(index)?;
        let first = match index {
            0 => 0,
            _ => *self.commands.get(index - 1)?,
        };
        let mut start = match first {
            0 => 0,
            _ => *self.ends.get(first - 1)?,
        };
        let ends = self.ends.get(first..last)?;
        ends.iter()
            .map(|end| {
                let arg = self.bytes.get(start..*end);
                start = *end;
                arg
            })
            .collect()
    }

    /// Each command's arguments, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Argv<'_>> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}

/// A script's call in another form.
pub(crate) fn as_script<'a>(
    mut argv: Argv<'a>,
    script: &'a Script,
    by: By,
    locks_keys: bool,
) -> Argv<'a> {
    let (text, name) = script.sent(locks_keys);
    let form: [&[u8]; 2] = match by {
        By::Name => [b"EVALSHA", name.as_bytes()],
        By::Text => [b"EVAL", text.as_bytes()],
    };
    for (to, from) in argv.iter_mut().zip(form) {
        *to = from;
    }
    argv
}

impl<'a, A: AsRef<[&'a [u8]]>> FromIterator<A> for Commands {
    fn from_iter<I: IntoIterator<Item = A>>(all: I) -> Self {
        let mut commands = Commands::new();
        for argv in all {
            commands.push(argv.as_ref());
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_comes_back() {
        let mut commands = Commands::new();
        commands
            .push(&[b"SET", b"k", b""])
            .push(&[])
            .push(&[b"GET", b"k"]);
        let all: Vec<Vec<&[u8]>> = commands.iter().map(SmallVec::into_vec).collect();
        assert_eq!(
            all,
            [vec![&b"SET"[..], b"k", b""], vec![], vec![b"GET", b"k"]]
        );
        assert_eq!(commands.get(3), None);
        assert_eq!(commands.bytes(), 8);
    }
}
