//! The kernel's command line by the rules of illumos (uts/i86pc/os/fakebop.c): path, boot arguments,
//! properties.

use core::fmt::{self, Display};

use crate::Text;

const PATH: &[u8] = b"/platform/i86pc/kernel/amd64/unix";
const PATH_START: &[u8] = b"/platform/";

/// A command line taken apart.
pub struct CommandLine<'a> {
    /// The kernel's path, from `/platform/` on.
    pub path: &'a [u8],
    /// What is neither path nor property, as it stands before and after the properties.
    arguments: [&'a [u8]; 2],
    /// The properties as they stand on the line.
    list: &'a [u8],
}

impl<'a> CommandLine<'a> {
    /// Takes `line` apart.
    pub fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let line = line.trim_ascii();
        let (first, rest) =
            line.split_at(line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len()));
        let start = find(first, PATH_START).ok_or("the kernel's path does not hold /platform/")?;
        let path = first.get(start..).unwrap_or_default();
        if path != PATH {
            return Err("the kernel's path is not /platform/i86pc/kernel/amd64/unix");
        }
        let Some(option) = find(rest, b" -B ") else {
            return Ok(Self { path, arguments: [rest.trim_ascii(), b""], list: b"" });
        };
        let (before, after) = rest.split_at(option);
        let after = after.get(4..).unwrap_or_default().trim_ascii_start();
        let (list, behind) = after.split_at(Properties(after).end());
        Ok(Self { path, arguments: [before.trim_ascii(), behind.trim_ascii()], list })
    }

    /// The properties in their order.
    pub fn properties(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        Properties(self.list)
    }
}

/// The boot arguments.
impl Display for CommandLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let [before, behind] = self.arguments;
        let between = if before.is_empty() || behind.is_empty() { "" } else { " " };
        write!(formatter, "{}{between}{}", Text(before), Text(behind))
    }
}

/// Takes properties off the front of a list.
struct Properties<'a>(&'a [u8]);

impl Properties<'_> {
    /// How many bytes belong to the list.
    fn end(mut self) -> usize {
        let length = self.0.len();
        while self.next().is_some() {}
        length - self.0.len()
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // A word without `=` is no property and ends the list.
        let equals =
            self.0.iter().position(|&byte| byte == b'=' || byte == b',' || byte.is_ascii_whitespace())?;
        let (name, rest) = self.0.split_at(equals);
        let rest = rest.strip_prefix(b"=")?;
        let (value, rest) = if let Some((quote @ (b'"' | b'\''), quoted)) = rest.split_first() {
            let end = quoted.iter().position(|byte| byte == quote).unwrap_or(quoted.len());
            (quoted.get(..end)?, quoted.get(end + 1..).unwrap_or_default())
        } else {
            let ends = |&byte: &u8| byte == b',' || byte.is_ascii_whitespace();
            rest.split_at(rest.iter().position(ends).unwrap_or(rest.len()))
        };
        // Behind a comma the next property follows, behind white space other arguments do.
        self.0 = rest.strip_prefix(b",").unwrap_or(rest);
        Some((name, if value.is_empty() { b"true" } else { value }))
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
