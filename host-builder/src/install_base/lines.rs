//! Small changes to files of lines, as the configuration of a system is. All of them may be made twice to the same end.

/// A text without the lines that `unwanted` picks.
pub fn without(text: &str, unwanted: impl Fn(&str) -> bool) -> String {
    text.split_inclusive('\n').filter(|line| !unwanted(line.trim_end_matches('\n'))).collect()
}

/// A text with a line at its end, whether or not the one before it was ended.
pub fn with(mut text: String, line: &str) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + line + "\n"
}

/// A text with every line changed.
pub fn changed(text: &str, change: impl Fn(&str) -> String) -> String {
    let line = |line: &str| match line.strip_suffix('\n') {
        Some(line) => change(line) + "\n",
        None => change(line),
    };
    text.split_inclusive('\n').map(line).collect()
}

/// A text of lines `NAME=VALUE` in which one name has that value, in the last line.
pub fn with_variable(text: &str, name: &str, value: &str) -> String {
    let of_name = |line: &str| line.split_once('=').is_some_and(|(before, _)| before.trim() == name);
    with(without(text, of_name), &format!("{name}={value}"))
}

/// A text of lines `WORD VALUE` in which one word, case aside, has that value: where it stood first, or else before the first line
/// that begins with `section`, or else at the end. Comments stay.
pub fn with_word(text: &str, word: &str, value: &str, section: &str) -> String {
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| first(line).eq_ignore_ascii_case(section)).unwrap_or(lines.len());
    let wanted = format!("{word} {value}");
    let is_word = |line: &&str| first(line).eq_ignore_ascii_case(word);
    let at = lines[..end].iter().position(is_word).unwrap_or(end);
    let rest = lines.split_off(end);
    lines.retain(|line| !is_word(line));
    lines.insert(at.min(lines.len()), &wanted);
    lines.extend(rest);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_and_come() {
        assert_eq!(without("a\nb\na", |line| line == "a"), "b\n");
        assert_eq!(with(String::new(), "x"), "x\n");
        assert_eq!(with("a".into(), "x"), "a\nx\n");
        assert_eq!(changed("a\nb", |line| format!("<{line}>")), "<a>\n<b>");
    }

    #[test]
    fn a_name_has_one_value() {
        let once = with_variable("TZ=UTC\nLANG=de\n#LANG=x\n", "LANG", "C");
        assert_eq!(once, "TZ=UTC\n#LANG=x\nLANG=C\n");
        assert_eq!(with_variable(&once, "LANG", "C"), once);
    }

    #[test]
    fn a_word_is_set_where_it_counts() {
        let text = "# PermitRootLogin yes\nPermitRootLogin yes\nX 1\npermitrootlogin no\nMatch User a\n  PermitRootLogin yes\n";
        let once = with_word(text, "PermitRootLogin", "without-password", "Match");
        assert_eq!(
            once,
            "# PermitRootLogin yes\nPermitRootLogin without-password\nX 1\nMatch User a\n  PermitRootLogin yes\n"
        );
        assert_eq!(with_word(&once, "PermitRootLogin", "without-password", "Match"), once);
        assert_eq!(with_word("X 1\nmatch all\n", "Y", "2", "Match"), "X 1\nY 2\nmatch all\n");
        assert_eq!(with_word("", "Y", "2", "Match"), "Y 2\n");
    }
}
