//! What INFO commandstats shows, kept by command id.

use super::spec::command_count;

/// Counts of one command.
#[derive(Debug, Default, Clone, Copy)]
pub struct CommandStat {
    /// Times executed.
    pub calls: u64,
    /// Microseconds spent.
    pub usec: u64,
    /// Times refused before execution.
    pub rejected: u64,
    /// Times that execution failed.
    pub failed: u64,
}

/// Counts of all commands.
#[derive(Debug, Default)]
pub struct CommandStats(Vec<CommandStat>);

impl CommandStats {
    pub(crate) fn of(&mut self, id: usize) -> &mut CommandStat {
        if id >= self.0.len() {
            self.0.resize(command_count().max(id + 1), CommandStat::default());
        }
        &mut self.0[id]
    }

    /// Each command id with its counts.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &CommandStat)> {
        self.0.iter().enumerate()
    }

    pub(crate) fn reset(&mut self) {
        self.0.clear();
    }
}
