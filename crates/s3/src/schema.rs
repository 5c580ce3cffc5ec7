//! Shapes of configuration documents: which elements, how often, in which order, of which type.
//!
//! A document that does not fit its shape is `MalformedXML`. One that does is kept as it is written back:
//! every element in the order of the shape, whatever the order in which it came.

use crate::error::{S3Code, S3Error};
use crate::xml::{Element, Xml};
use drystone_base::Timestamp;

/// How often an element stands in its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occurs {
    /// Once.
    One,
    /// At most once.
    Optional,
    /// Any number of times.
    Many,
    /// At least once.
    Some,
}

/// What stands in an element.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// Text.
    Text,
    /// An integer from 0 on. Whether it is in range is for the checks of the document.
    Int,
    /// `true` or `false`.
    Bool,
    /// A moment in ISO 8601, written back with milliseconds.
    Date,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Elements.
    Group(&'static [Node]),
}

/// An element of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) occurs: Occurs,
    pub(crate) content: Content,
}

/// An element that stands once.
pub(crate) const fn one(name: &'static str, content: Content) -> Node {
    Node { name, occurs: Occurs::One, content }
}

/// An element that may be missing.
pub(crate) const fn optional(name: &'static str, content: Content) -> Node {
    Node { name, occurs: Occurs::Optional, content }
}

/// An element that stands any number of times.
pub(crate) const fn many(name: &'static str, content: Content) -> Node {
    Node { name, occurs: Occurs::Many, content }
}

/// An element that stands at least once.
pub(crate) const fn some(name: &'static str, content: Content) -> Node {
    Node { name, occurs: Occurs::Some, content }
}

fn malformed() -> S3Error {
    S3Code::MalformedXML.into()
}

/// Checks a document against its shape and writes it as it will be returned.
///
/// # Errors
///
/// `MalformedXML`.
pub(crate) fn canonical(root: &Element, nodes: &[Node]) -> Result<String, S3Error> {
    let mut xml = Xml::new(&root.name);
    group(root, nodes, &mut xml)?;
    Ok(xml.finish(&root.name))
}

fn group(element: &Element, nodes: &[Node], xml: &mut Xml) -> Result<(), S3Error> {
    let is_known = |child: &Element| nodes.iter().any(|node| node.name == child.name);
    if !element.children.iter().all(is_known) {
        return Err(malformed());
    }
    for node in nodes {
        let count = element.children_named(node.name).count();
        let fits = match node.occurs {
            Occurs::One => count == 1,
            Occurs::Optional => count <= 1,
            Occurs::Many => true,
            Occurs::Some => count >= 1,
        };
        if !fits {
            return Err(malformed());
        }
        for child in element.children_named(node.name) {
            write(child, node, xml)?;
        }
    }
    Ok(())
}

fn write(element: &Element, node: &Node, xml: &mut Xml) -> Result<(), S3Error> {
    let text = element.text.as_str();
    if !matches!(node.content, Content::Group(_)) && !element.children.is_empty() {
        return Err(malformed());
    }
    match node.content {
        Content::Text => drop(xml.text(node.name, text)),
        Content::Int => {
            let value: i64 = text.trim().parse().map_err(|_| malformed())?;
            xml.text(node.name, &value.to_string());
        }
        Content::Bool => match text.trim() {
            "true" | "false" => drop(xml.text(node.name, text.trim())),
            "TRUE" | "True" => drop(xml.text(node.name, "true")),
            "FALSE" | "False" => drop(xml.text(node.name, "false")),
            _ => return Err(malformed()),
        },
        Content::Date => {
            let moment = Timestamp::parse_iso(text.trim()).ok_or_else(malformed)?;
            xml.text(node.name, &moment.to_iso());
        }
        Content::OneOf(words) if words.contains(&text) => drop(xml.text(node.name, text)),
        Content::OneOf(_) => return Err(malformed()),
        Content::Group(nodes) => {
            xml.open(node.name);
            group(element, nodes, xml)?;
            xml.close(node.name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::parse;

    const SHAPE: &[Node] = &[
        one("A", Content::Text),
        optional("B", Content::Bool),
        many("C", Content::Group(&[some("D", Content::Int)])),
        optional("E", Content::OneOf(&["x", "y"])),
        optional("F", Content::Date),
    ];

    fn check(inner: &str) -> Option<String> {
        let document = format!("<R>{inner}</R>");
        let root = parse(document.as_bytes(), "R").expect("well-formed");
        let text = canonical(&root, SHAPE).ok()?;
        let (_, rest) = text.split_once("2006-03-01/\">")?;
        rest.strip_suffix("</R>").map(ToOwned::to_owned)
    }

    #[test]
    fn documents_are_written_in_the_order_of_the_shape() {
        let found = check("<F>2030-01-01</F><C><D> 5 </D><D>6</D></C><B>True</B><A>&lt;</A>");
        let expected =
            "<A>&lt;</A><B>true</B><C><D>5</D><D>6</D></C><F>2030-01-01T00:00:00.000Z</F>";
        assert_eq!(found.as_deref(), Some(expected));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for inner in [
            "",
            "<A/><A/>",
            "<A/><B>maybe</B>",
            "<A/><C></C>",
            "<A/><C><D>five</D></C>",
            "<A/><E>z</E>",
            "<A/><F>tomorrow</F>",
            "<A/><G/>",
            "<A><X/></A>",
        ] {
            assert_eq!(check(inner), None, "{inner}");
        }
    }
}
