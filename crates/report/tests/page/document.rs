//! A page as the HTML parser of a browser builds it.

use html5ever::tendril::TendrilSink as _;
use markup5ever_rcdom::{Handle, NodeData, RcDom};

pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) text: String,
}

pub(crate) struct Document {
    /// In the order of the page.
    pub(crate) elements: Vec<Element>,
    /// What the parser had to mend.
    pub(crate) errors: Vec<String>,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Document {
    pub(crate) fn parse(html: &str) -> Self {
        let dom = html5ever::parse_document(RcDom::default(), Default::default()).one(html);
        let mut elements = Vec::new();
        walk(&dom.document, &mut elements);
        let errors = dom.errors.borrow();
        Self {
            elements,
            errors: errors.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn all<'d>(&'d self, name: &'d str) -> impl Iterator<Item = &'d Element> {
        self.elements.iter().filter(move |e| e.name == name)
    }

    /// What a reader sees.
    pub(crate) fn text(&self) -> &str {
        &self.all("main").next().unwrap().text
    }

    /// The summary of a `details`.
    pub(crate) fn summary_of(&self, id: &str) -> &str {
        let at = self
            .elements
            .iter()
            .position(|e| e.attribute("data-claim") == Some(id));
        let summary = &self.elements[at.unwrap() + 1];
        assert_eq!(summary.name, "summary");
        &summary.text
    }
}

fn walk(node: &Handle, out: &mut Vec<Element>) {
    if let NodeData::Element { name, attrs, .. } = &node.data {
        let attributes = attrs.borrow();
        let attributes = attributes.iter();
        out.push(Element {
            name: name.local.to_string(),
            attributes: attributes
                .map(|a| (a.name.local.to_string(), a.value.to_string()))
                .collect(),
            text: text(node),
        });
    }
    for child in node.children.borrow().iter() {
        walk(child, out);
    }
}

fn text(node: &Handle) -> String {
    if let NodeData::Text { contents } = &node.data {
        return contents.borrow().to_string();
    }
    node.children.borrow().iter().map(text).collect()
}
