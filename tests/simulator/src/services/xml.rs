//! As much of XML as manifests are written in: elements, attributes, comments; text and the document type are skipped.

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes in order.
    pub attributes: Vec<(String, String)>,
    /// The elements in it.
    pub children: Vec<Element>,
}

impl Element {
    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The children of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a document; gives its outermost element.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Element, String> {
    let mut stack = vec![Element::default()];
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = after(comment, "-->")?;
        } else if rest.starts_with('?') {
            rest = after(rest, "?>")?;
        } else if rest.starts_with('!') {
            rest = after(rest, ">")?;
        } else if let Some(closing) = rest.strip_prefix('/') {
            let end = closing.find('>').ok_or("a tag does not end")?;
            let element =
                stack.pop().filter(|_| !stack.is_empty()).ok_or("an element ends that never began")?;
            if element.name != closing[..end].trim() {
                return Err(format!("{} ends as {}", element.name, &closing[..end]));
            }
            stack.last_mut().ok_or("no outermost element")?.children.push(element);
            rest = &closing[end + 1..];
        } else {
            let (element, is_empty, behind) = opening(rest)?;
            if is_empty {
                stack.last_mut().ok_or("no outermost element")?.children.push(element);
            } else if stack.len() > 64 {
                return Err("elements are nested too deep".to_owned());
            } else {
                stack.push(element);
            }
            rest = behind;
        }
    }
    let mut outermost = stack.pop().filter(|_| stack.is_empty()).ok_or("an element does not end")?.children;
    if outermost.len() == 1 { Ok(outermost.remove(0)) } else { Err("not one outermost element".to_owned()) }
}

fn after<'a>(text: &'a str, end: &str) -> Result<&'a str, String> {
    text.split_once(end).map(|(_, rest)| rest).ok_or_else(|| format!("{end} is missing"))
}

/// The element that begins here, whether it is empty, and what is behind its tag.
fn opening(text: &str) -> Result<(Element, bool, &str), String> {
    let end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/').ok_or("a tag does not end")?;
    let mut element = Element { name: text[..end].to_owned(), ..Element::default() };
    if end == 0 {
        return Err("a tag has no name".to_owned());
    }
    let mut rest = text[end..].trim_start();
    loop {
        if let Some(behind) = rest.strip_prefix("/>") {
            return Ok((element, true, behind));
        }
        if let Some(behind) = rest.strip_prefix('>') {
            return Ok((element, false, behind));
        }
        let (name, behind) = rest.split_once('=').ok_or("an attribute has no value")?;
        let behind = behind.trim_start();
        let quote = behind.chars().next().filter(|c| "'\"".contains(*c)).ok_or("a value has no quotes")?;
        let (value, behind) = behind[1..].split_once(quote).ok_or("a value does not end")?;
        element.attributes.push((name.trim().to_owned(), unescape(value)));
        rest = behind.trim_start();
    }
}

fn unescape(value: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn elements_attributes_and_comments() {
        let text =
            "<?xml version='1.0'?><!DOCTYPE a SYSTEM 'x'><a b='1 &amp; 2'><!-- <c> --><d e=\"f\" /></a>";
        let element = parse(text).unwrap();
        assert_eq!((element.name.as_str(), element.attribute("b")), ("a", Some("1 & 2")));
        assert_eq!(element.children[0].attribute("e"), Some("f"));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in ["<a>", "<a></b>", "</a>", "<a b=1/>", "<a/><b/>", "", "<a b='1>"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
