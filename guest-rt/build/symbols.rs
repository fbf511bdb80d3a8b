//! Reads `symbols.txt`.

/// The section of names that the oldest platform does not have. No library is made of it: it only lets the linker
/// wrapper say since when a name exists.
pub const ABSENT: &str = "absent";

/// A section of the list: one shared library of the oldest platform.
#[derive(Debug)]
pub struct Library {
    /// The name that programs record as needed, such as `libc.so.1`.
    pub soname: String,
    /// Its names, in the order of the list.
    pub symbols: Vec<Symbol>,
}

/// A name that programs may use.
#[derive(Debug)]
pub struct Symbol {
    pub name: String,
    /// Whether it is a variable instead of a function.
    pub is_data: bool,
}

/// Reads the list: `[soname mapfile]` opens a section, every other line is a name, the version under which the mapfile
/// has it (or the date it came, among the absent), and `data` for a variable. `#` begins a comment.
///
/// # Errors
/// A line of another form, or a name that occurs twice, with the number of the line.
pub fn parse(text: &str) -> Result<Vec<Library>, String> {
    let mut libraries: Vec<Library> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(heading) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let soname = heading
                .split_whitespace()
                .next()
                .ok_or(format!("line {number}: a section without a name"))?;
            libraries.push(Library { soname: soname.to_owned(), symbols: Vec::new() });
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, is_data) = match words[..] {
            [name, _version] => (name, false),
            [name, _version, "data"] => (name, true),
            _ => return Err(format!("line {number}: not a name, its version, and perhaps the word data")),
        };
        if libraries.iter().flat_map(|library| &library.symbols).any(|symbol| symbol.name == name) {
            return Err(format!("line {number}: {name} occurs a second time"));
        }
        let library =
            libraries.last_mut().ok_or(format!("line {number}: a name before the first section"))?;
        library.symbols.push(Symbol { name: name.to_owned(), is_data });
    }
    Ok(libraries)
}
