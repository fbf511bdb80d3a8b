//! The menu: a list that is printed once, and below it one line that follows the keys and the countdown.
//!
//! Rewriting a line needs nothing but a carriage return, so the menu looks the same on a screen, on a
//! terminal and in a log of the serial console.

use crate::console::{Console, Key};
use crate::firmware::{self, Clock};
use crate::table::Table;

/// Titles are at most this long (the builder sees to it), so that the line never wraps at 80 columns.
const TITLE_COLUMNS: usize = 56;

/// Shows the menu and returns the entry to start. With a timeout, `selected` is started when it passes
/// without a key.
pub fn choose(console: &mut Console, table: &Table, mut selected: u8, timeout: Option<u16>) -> u8 {
    if timeout == Some(0) {
        return selected;
    }
    let count = table.entry_count();
    console.text("\nkiln boot menu\n\n");
    for index in 0..count {
        console.text("  ");
        console.number(u32::from(index) + 1);
        console.text("  ");
        title(console, table, index);
        console.text("\n");
    }
    console.text("\nA digit starts that entry; the arrow keys choose one, Enter starts it.\n");

    let mut clock = Clock::start();
    let mut remaining = timeout.map(u32::from);
    line(console, table, selected, remaining);
    loop {
        while let Some(key) = console.poll_key() {
            remaining = None;
            match key {
                Key::Digit(digit) if digit <= count => {
                    selected = digit - 1;
                    return finish(console, table, selected);
                }
                Key::Enter => return finish(console, table, selected),
                Key::Up => selected = selected.saturating_sub(1),
                Key::Down => selected = (selected + 1).min(count.saturating_sub(1)),
                Key::Digit(_) | Key::Other => {}
            }
            line(console, table, selected, remaining);
        }
        if let (Some(before), Some(timeout)) = (remaining, timeout) {
            let elapsed = clock.ticks() * 10 / 182;
            let now = u32::from(timeout).saturating_sub(elapsed);
            if now == 0 {
                return finish(console, table, selected);
            }
            remaining = Some(now);
            if now != before {
                line(console, table, selected, remaining);
            }
        }
        firmware::idle();
    }
}

/// Shows what is going to be started.
fn finish(console: &mut Console, table: &Table, selected: u8) -> u8 {
    line(console, table, selected, None);
    console.text("\n");
    selected
}

/// Writes the last line of the menu anew: the selected entry, and how long until it starts by itself.
fn line(console: &mut Console, table: &Table, selected: u8, remaining: Option<u32>) {
    console.text("\r> ");
    console.number(u32::from(selected) + 1);
    console.text("  ");
    let written = title(console, table, selected);
    for _ in written..TITLE_COLUMNS {
        console.text(" ");
    }
    match remaining {
        Some(seconds) => {
            console.text(" in ");
            console.number(seconds);
            console.text(" s ");
        }
        None => console.text("            "),
    }
}

/// Writes an entry's title and returns its length.
fn title(console: &mut Console, table: &Table, index: u8) -> usize {
    let title = table.entry(index).map(|entry| table.text(entry.title)).unwrap_or_default();
    console.bytes(title);
    title.len()
}
