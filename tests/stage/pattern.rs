//! Compares what came with what a test expects.
//!
//! A pattern is an element. Attributes and children must be the same, except: `*` stands for any value, `{name}` for
//! the value it stood for before or, the first time, for any; `etc='...'` allows more attributes, and the text `...`
//! allows more children. The order of attributes and children, and white space between them, do not matter.

use std::collections::BTreeMap;

use super::xml::{Node, Tree};

/// What the variables of a test stand for.
pub type Variables = BTreeMap<String, String>;

/// Whether the element is what the pattern says; the variables that were bound on the way are kept only then.
///
/// # Errors
/// Says where they differ.
pub fn matches(pattern: &Tree, found: &Tree, variables: &mut Variables) -> Result<(), String> {
    let mut bound = variables.clone();
    tree(pattern, found, &mut bound)?;
    *variables = bound;
    Ok(())
}

/// Replaces `{name}` by what it stands for, where it stands for something.
pub fn expand(text: &str, variables: &Variables) -> String {
    variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn tree(pattern: &Tree, found: &Tree, variables: &mut Variables) -> Result<(), String> {
    if (&pattern.name, &pattern.ns) != (&found.name, &found.ns) {
        return Err(format!("<{} xmlns='{}'> is not <{} xmlns='{}'>", found.name, found.ns, pattern.name, pattern.ns));
    }
    for (name, expected) in pattern.attrs.iter().filter(|(name, _)| *name != "etc") {
        match found.attrs.get(name) {
            Some(value) => self::value(expected, value, variables).map_err(|why| format!("{name}: {why}"))?,
            None => return Err(format!("<{}> lacks {name}", found.name)),
        }
    }
    let more = pattern.attrs.contains_key("etc");
    if let Some(extra) = found.attrs.keys().find(|name| !more && !pattern.attrs.contains_key(*name)) {
        return Err(format!("<{}> has {extra}", found.name));
    }
    content(pattern, found, variables).map_err(|why| format!("in <{}>: {why}", found.name))
}

fn content(pattern: &Tree, found: &Tree, variables: &mut Variables) -> Result<(), String> {
    let text = pattern.text();
    let open = text.trim() == "...";
    let mut left: Vec<&Tree> = found.children().collect();
    for expected in pattern.children() {
        let mut why = format!("{expected} is missing");
        let at = left.iter().position(|child| match matches(expected, child, variables) {
            Ok(()) => true,
            Err(other) => {
                if (&child.name, &child.ns) == (&expected.name, &expected.ns) {
                    why = other;
                }
                false
            }
        });
        left.remove(at.ok_or(why)?);
    }
    if open {
        return Ok(());
    }
    if let Some(extra) = left.first() {
        return Err(format!("there is {extra}"));
    }
    if pattern.children().next().is_none() {
        return value(text.trim(), found.text().trim(), variables);
    }
    let is_text = |node: &Node| matches!(node, Node::Text(text) if !text.trim().is_empty());
    match found.nodes.iter().find(|node| is_text(node)) {
        Some(Node::Text(text)) => Err(format!("there is text: {text}")),
        _ => Ok(()),
    }
}

fn value(expected: &str, found: &str, variables: &mut Variables) -> Result<(), String> {
    if expected == "*" {
        return Ok(());
    }
    let name = expected.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).filter(|name| !name.contains('{'));
    if let Some(name) = name
        && !variables.contains_key(name)
    {
        variables.insert(name.to_owned(), found.to_owned());
        return Ok(());
    }
    let expected = expand(expected, variables);
    if expected == found { Ok(()) } else { Err(format!("`{found}` is not `{expected}`")) }
}
