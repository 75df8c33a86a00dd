//! Prints docs/commands.md.

fn main() {
    print!("{}", sangam_engine::command::commands_page());
}
