//! What the document in the body of a request says that conditions of policies look at: for writes of
//! objects it is in headers.

use crate::document::Document;
use crate::error::{S3Code, S3Error};
use crate::operation::Operation;
use crate::ops::read_object_tags;
use crate::request::S3Request;
use crate::xml::{Element, parse};
use drystone_base::limits::BUCKET_TAG_COUNT_MAX;

/// A document, read before it was decided whether the request may be carried out. What its headers say of the
/// same does not count.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) document: Document,
    headers: Vec<(&'static str, String)>,
    /// Tags of an object.
    pub(super) tags: Vec<(String, String)>,
    /// Tags that a bucket or an access point gets; without a value, those that it loses.
    pub(super) resource_tags: Vec<(String, Option<String>)>,
    /// Region of a new bucket.
    pub(super) location: Option<String>,
    /// What a report of an inventory is to hold.
    pub(super) fields: Vec<String>,
}

fn text_in(root: Option<&Element>, name: &str) -> Option<String> {
    root.and_then(|root| root.text_of(name)).map(|text| text.trim().to_owned())
}

/// Tags in a list.
fn tags_in(list: Option<&Element>) -> Vec<(String, Option<String>)> {
    let tags = list.into_iter().flat_map(|list| list.children_named("Tag"));
    let text = |tag: &Element, name| tag.text_of(name).unwrap_or_default().to_owned();
    tags.map(|tag| (text(tag, "Key"), Some(text(tag, "Value")))).collect()
}

impl Said {
    /// Tags that a request sets without naming them.
    pub(super) fn of_tags(tags: Vec<(String, String)>) -> Self {
        Self { tags, ..Self::default() }
    }

    /// Whether conditions look at the document of an operation.
    pub(crate) fn is_in(operation: Operation) -> bool {
        use Operation as O;
        matches!(
            operation,
            O::PutObjectTagging
                | O::PutObjectRetention
                | O::PutObjectLegalHold
                | O::PutBucketTagging
                | O::PutBucketInventoryConfiguration
                | O::CreateBucket
        )
    }

    /// Refuses more tags, or fields of a report, than a resource may have: each is compared with each
    /// pattern of the policies that decide.
    fn within_bounds(self) -> Result<Self, S3Error> {
        let count = self.resource_tags.len().max(self.fields.len());
        if count > BUCKET_TAG_COUNT_MAX {
            let message = format!("At most {BUCKET_TAG_COUNT_MAX} tags or fields can be given.");
            return Err(S3Error::with(S3Code::BadRequest, message));
        }
        Ok(self)
    }

    /// What a document says; nothing if it is malformed, which is refused later.
    ///
    /// # Errors
    ///
    /// It says more than a resource may have.
    pub(crate) fn of(operation: Operation, document: Document) -> Result<Self, S3Error> {
        let mut said = Self::default();
        let read = |root| parse(&document, root).ok();
        match operation {
            Operation::PutObjectTagging => {
                said.tags = read_object_tags(&document).unwrap_or_default();
            }
            Operation::PutObjectRetention => {
                let root = read("Retention");
                let names = [
                    ("x-amz-object-lock-mode", "Mode"),
                    ("x-amz-object-lock-retain-until-date", "RetainUntilDate"),
                ];
                let texts = names.map(|(header, name)| (header, text_in(root.as_ref(), name)));
                said.headers = texts.into_iter().filter_map(|(h, t)| Some((h, t?))).collect();
            }
            Operation::PutObjectLegalHold => {
                let status = text_in(read("LegalHold").as_ref(), "Status");
                said.headers =
                    status.map(|s| ("x-amz-object-lock-legal-hold", s)).into_iter().collect();
            }
            Operation::CreateBucket => {
                let root = read("CreateBucketConfiguration");
                said.location = text_in(root.as_ref(), "LocationConstraint");
                said.resource_tags = tags_in(root.as_ref().and_then(|root| root.child("Tags")));
            }
            Operation::PutBucketTagging => {
                let root = read("Tagging");
                said.resource_tags = tags_in(root.as_ref().and_then(|root| root.child("TagSet")));
            }
            Operation::PutBucketInventoryConfiguration => {
                let root = read("InventoryConfiguration");
                let list = root.as_ref().and_then(|root| root.child("OptionalFields"));
                let fields = list.into_iter().flat_map(|list| list.children_named("Field"));
                said.fields = fields.map(|field| field.text.trim().to_owned()).collect();
            }
            _ => {}
        }
        Self { document, ..said }.within_bounds()
    }

    /// What a request of S3 Control says about tags: a document with this root, or names in the query.
    ///
    /// # Errors
    ///
    /// It says more than a resource may have.
    pub(crate) fn of_control(
        request: &S3Request,
        root: &'static str,
        document: Document,
    ) -> Result<Self, S3Error> {
        let parsed = parse(&document, root).ok();
        let mut resource_tags = tags_in(parsed.as_ref().and_then(|root| root.child("Tags")));
        let gone = request.query.iter().filter(|(name, ..)| name == "tagKeys");
        resource_tags.extend(gone.map(|(_, key, _)| (key.clone(), None)));
        Self { document, resource_tags, ..Self::default() }.within_bounds()
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
        let said = Said::of(Operation::PutObjectRetention, Document::of(text)).expect("few tags");
        assert_eq!(said.header("x-amz-object-lock-mode"), Some("COMPLIANCE"));
        assert!(said.header("x-amz-object-lock-retain-until-date").is_some());
        assert_eq!(said.header("x-amz-object-lock-legal-hold"), None);
        let held = Said::of(
            Operation::PutObjectLegalHold,
            Document::of(b"<LegalHold><Status>OFF</Status></LegalHold>"),
        )
        .expect("few tags");
        assert_eq!(held.header("x-amz-object-lock-legal-hold"), Some("OFF"));
        let torn = Said::of(Operation::PutObjectRetention, Document::of(b"<Retention><Mode>"))
            .expect("few tags");
        assert_eq!(torn.header("x-amz-object-lock-mode"), None);
    }
}
