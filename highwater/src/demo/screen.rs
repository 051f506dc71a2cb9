//! What the demo says: lines that stay, and on a terminal a block below them that is drawn anew.

use std::io::{IsTerminal, Write};

/// A line of the block that wraps would be counted as one: longer ones are cut.
const MAX_WIDTH: usize = 79;

/// Where lines go.
pub struct Screen {
    to_stderr: bool,
    live: bool,
    /// The block that stands above the cursor.
    block: Vec<String>,
}

impl Screen {
    /// With `--json` standard output is kept for the report.
    pub fn new(json: bool) -> Self {
        Self { to_stderr: json, live: !json && std::io::stdout().is_terminal(), block: Vec::new() }
    }

    /// Whether a block can be drawn in place.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Writes lines that stay, above the block.
    pub fn say(&mut self, text: impl AsRef<str>) {
        let said: String = text.as_ref().lines().map(|line| format!("{line}\n")).collect();
        self.write(&format!("{}{said}{}", erase(&self.block), self.block.concat()));
    }

    /// Draws the block, over the one before; an empty one removes it.
    pub fn draw(&mut self, lines: &[String]) {
        let cut = |line: &String| line.chars().take(MAX_WIDTH).chain(['\n']).collect();
        let block: Vec<String> = lines.iter().map(cut).collect();
        self.write(&format!("{}{}", erase(&self.block), block.concat()));
        self.block = block;
    }

    /// Leaves the block where it is; what follows goes below it.
    pub fn keep(&mut self) {
        self.block.clear();
    }

    fn write(&self, text: &str) {
        // Nobody reads any more: the demo goes on all the same, and stops when it is asked to.
        let _ = match self.to_stderr {
            true => std::io::stderr().write_all(text.as_bytes()),
            false => std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()),
        };
    }
}

/// Moves above a block and clears it.
fn erase(block: &[String]) -> String {
    if block.is_empty() { String::new() } else { format!("\x1b[{}A\x1b[J", block.len()) }
}
