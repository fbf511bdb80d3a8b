//! An XML document as a tree of elements, with the line of each.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Deepest nesting of elements; manifests have ten levels.
const DEEPEST: usize = 32;

/// Most elements of one document.
const MOST: usize = 100_000;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// The line on which it ends its opening tag, from 1.
    pub line: usize,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// The elements in it.
    pub children: Vec<Element>,
    /// Whether there is text in it beside blanks.
    pub has_text: bool,
}

impl Element {
    /// An attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// The elements in it with this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a document: the name after `<!DOCTYPE`, and the outermost element. No entity is resolved but the five that XML
/// itself has, and nothing is fetched.
///
/// # Errors
/// It is not well-formed, or it is larger than any manifest. The message names the line.
pub fn parse(text: &str) -> Result<(Option<String>, Element)> {
    let mut reader = Reader::from_str(text);
    let mut lines = Lines { text, position: 0, line: 1 };
    let mut open: Vec<Element> = Vec::new();
    let mut outermost = None;
    let mut doctype = None;
    let mut count = 0;
    loop {
        let event = reader.read_event();
        let line = lines.at(reader.buffer_position());
        let at = || format!("line {line}");
        match event.with_context(at)? {
            Event::Start(tag) => open.push(element(&tag, line, &mut count, open.len())?),
            Event::Empty(tag) => {
                let element = element(&tag, line, &mut count, open.len())?;
                close(element, &mut open, &mut outermost).with_context(at)?;
            }
            Event::End(_) => {
                let element = open.pop().with_context(|| format!("line {line}: a tag closes nothing"))?;
                close(element, &mut open, &mut outermost).with_context(at)?;
            }
            Event::Text(given) => {
                let blank = given.trim_ascii().is_empty();
                match open.last_mut() {
                    Some(element) => element.has_text |= !blank,
                    None if blank => {}
                    None => bail!("line {line}: text outside of the outermost element"),
                }
            }
            Event::CData(_) | Event::GeneralRef(_) => {
                if let Some(element) = open.last_mut() {
                    element.has_text = true;
                }
            }
            Event::DocType(given) => {
                doctype = given.split_whitespace().next().map(str::to_owned);
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if let Some(element) = open.last() {
        bail!("line {}: <{}> is never closed", element.line, element.name);
    }
    Ok((doctype, outermost.context("there is no element in it")?))
}

fn element(tag: &BytesStart<'_>, line: usize, count: &mut usize, depth: usize) -> Result<Element> {
    *count += 1;
    if *count > MOST || depth >= DEEPEST {
        bail!("line {line}: this has more elements than any manifest");
    }
    let name = tag.name().as_ref().to_owned();
    let mut attributes = BTreeMap::new();
    for attribute in tag.attributes() {
        let attribute = attribute.with_context(|| format!("line {line}: <{name}>"))?;
        let key = attribute.key.as_ref().to_owned();
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .with_context(|| format!("line {line}: <{name}> {key}"))?;
        attributes.insert(key, value.into_owned());
    }
    Ok(Element { name, line, attributes, children: Vec::new(), has_text: false })
}

fn close(element: Element, open: &mut [Element], outermost: &mut Option<Element>) -> Result<()> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if outermost.is_none() => *outermost = Some(element),
        None => bail!("<{}> is a second outermost element", element.name),
    }
    Ok(())
}

/// Counts lines while a text is read.
struct Lines<'a> {
    text: &'a str,
    position: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of a position, which never goes back.
    fn at(&mut self, position: u64) -> usize {
        let end = usize::try_from(position).unwrap_or(usize::MAX).clamp(self.position, self.text.len());
        self.line += self.text.as_bytes()[self.position..end].split(|&byte| byte == b'\n').count() - 1;
        self.position = end;
        self.line
    }
}
