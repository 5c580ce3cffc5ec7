//! What the document in the body of a request says that conditions of policies look at: for writes of
//! objects it is in headers.

use crate::operation::Operation;
use crate::ops::read_object_tags;
use crate::xml::parse;

/// A document, read before it was decided whether the request may be carried out. What its headers say of the
/// same does not count.
pub(crate) struct Said {
    pub(crate) document: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    pub(super) tags: Vec<(String, String)>,
}

impl Said {
    /// Tags that a request sets without naming them.
    pub(super) fn of_tags(tags: Vec<(String, String)>) -> Self {
        Self { document: Vec::new(), headers: Vec::new(), tags }
    }

    /// Whether conditions look at the document of an operation.
    pub(crate) fn is_in(operation: Operation) -> bool {
        use Operation as O;
        matches!(operation, O::PutObjectTagging | O::PutObjectRetention | O::PutObjectLegalHold)
    }

    /// What a document says; nothing if it is malformed, which is refused later.
    pub(crate) fn of(operation: Operation, document: Vec<u8>) -> Self {
        let (mut headers, mut tags) = (Vec::new(), Vec::new());
        let mut add = |header, root: &'static str, name: &str| {
            let root = parse(&document, root).ok();
            let text = root.and_then(|root| root.text_of(name).map(|text| text.trim().to_owned()));
            headers.extend(text.map(|text| (header, text)));
        };
        match operation {
            Operation::PutObjectTagging => tags = read_object_tags(&document).unwrap_or_default(),
            Operation::PutObjectRetention => {
                add("x-amz-object-lock-mode", "Retention", "Mode");
                add("x-amz-object-lock-retain-until-date", "Retention", "RetainUntilDate");
            }
            Operation::PutObjectLegalHold => {
                add("x-amz-object-lock-legal-hold", "LegalHold", "Status");
            }
            _ => {}
        }
        Self { document, headers, tags }
    }

    /// What would be in this header of a write.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_headers_would() {
        let text = b"<Retention><Mode>COMPLIANCE</Mode>\
                     <RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>";
        let said = Said::of(Operation::PutObjectRetention, text.to_vec());
        assert_eq!(said.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
        assert!(said.header("x-amz-object-lock-retain-until-date").is_some());
        assert_eq!(said.header("x-amz-object-lock-legal-hold"), None);
        let held = Said::of(
            Operation::PutObjectLegalHold,
            b"<LegalHold><Status>OFF</Status></LegalHold>".to_vec(),
        );
        assert_eq!(held.header("x-amz-object-lock-legal-hold"), Some("OFF"));
        let torn = Said::of(Operation::PutObjectRetention, b"<Retention><Mode>".to_vec());
        assert_eq!(torn.header("x-amz-object-lock-mode"), None);
    }
}
