//! The texts of `--help`, laid out.

use clap::Command;

/// `command` and those below it with their long help as it is shown: paragraphs flow to the width of the terminal, and lines that
/// are indented, which are examples, stay as they are. clap does either for a whole text.
pub fn laid_out(command: Command) -> Command {
    let long = command.get_long_about().map(|text| flow(&text.to_string()));
    let command = match long {
        Some(text) => command.long_about(text),
        None => command,
    };
    command.mut_subcommands(laid_out)
}

/// The text with each paragraph on one line, which clap breaks where the terminal ends.
fn flow(text: &str) -> String {
    let mut flowing = String::new();
    let mut before = "";
    for line in text.lines() {
        let goes_on = [before, line].iter().all(|line| !line.is_empty() && !line.starts_with(' '));
        if !flowing.is_empty() {
            flowing.push(if goes_on { ' ' } else { '\n' });
        }
        flowing.push_str(line);
        before = line;
    }
    flowing
}

#[cfg(test)]
mod tests {
    use super::flow;

    #[test]
    fn paragraphs_flow_and_examples_stay() {
        let text = "One thing\n\nMore of it,\nand more:\n\n    kiln do this\n    kiln do that\n\nThe\nend.";
        let flowing = "One thing\n\nMore of it, and more:\n\n    kiln do this\n    kiln do that\n\nThe end.";
        assert_eq!(flow(text), flowing);
        assert_eq!(flow(flowing), flowing);
        assert_eq!(flow(""), "");
    }
}
