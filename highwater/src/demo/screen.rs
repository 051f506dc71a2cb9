//! What the demo says: lines that stay, and on a terminal a block below them that is drawn anew.

use std::io::{IsTerminal, Write};

/// A line of the block that wraps would be counted as one: longer ones are cut.
const MAX_WIDTH: usize = 79;

/// Where lines go.
pub struct Screen {
    to_stderr: bool,
    live: bool,
    /// Lines of the block that stand below the cursor's home.
    drawn: usize,
}

impl Screen {
    /// With `--json` standard output is kept for the report.
    pub fn new(json: bool) -> Self {
        Self { to_stderr: json, live: !json && std::io::stdout().is_terminal(), drawn: 0 }
    }

    /// Whether a block can be drawn in place.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Writes lines that stay, above the block.
    pub fn say(&mut self, text: impl AsRef<str>) {
        let mut out = self.erase();
        text.as_ref().lines().for_each(|line| {
            out.push_str(line);
            out.push('\n');
        });
        self.write(&out);
    }

    /// Draws the block, over the one before.
    pub fn draw(&mut self, lines: &[String]) {
        let mut out = self.erase();
        for line in lines {
            out.extend(line.chars().take(MAX_WIDTH));
            out.push('\n');
        }
        self.drawn = lines.len();
        self.write(&out);
    }

    /// Leaves the block where it is; the next one goes below it.
    pub fn keep(&mut self) {
        self.drawn = 0;
    }

    /// Moves above the block and clears it.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    fn write(&self, text: &str) {
        // Nobody reads any more: the demo goes on all the same, and stops when it is asked to.
        let _ = match self.to_stderr {
            true => std::io::stderr().write_all(text.as_bytes()),
            false => std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()),
        };
    }
}
