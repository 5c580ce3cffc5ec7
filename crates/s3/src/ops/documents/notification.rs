//! Where events go. There are no targets yet, so a configuration that names one is refused, as S3
//! refuses a destination that it cannot reach.

use super::{Form, Subject, Unset};
use crate::error::S3Error;
use crate::headers::values;
use crate::schema::{Content, Node, many, one, optional, some};
use crate::xml::Element;
use drystone_engine::plan::DocumentKind;

const FILTER: Content = Content::Group(&[one(
    "S3Key",
    Content::Group(&[many(
        "FilterRule",
        Content::Group(&[one("Name", Content::Text), one("Value", Content::Text)]),
    )]),
)]);

const fn target(name: &'static str, arn: &'static [Node; 4]) -> Node {
    many(name, Content::Group(arn))
}

const TOPIC: &[Node; 4] = &[
    optional("Id", Content::Text),
    one("Topic", Content::Text),
    some("Event", Content::Text),
    optional("Filter", FILTER),
];
const QUEUE: &[Node; 4] = &[
    optional("Id", Content::Text),
    one("Queue", Content::Text),
    some("Event", Content::Text),
    optional("Filter", FILTER),
];
const FUNCTION: &[Node; 4] = &[
    optional("Id", Content::Text),
    one("CloudFunction", Content::Text),
    some("Event", Content::Text),
    optional("Filter", FILTER),
];
const SHAPE: &[Node] = &[
    target("TopicConfiguration", TOPIC),
    target("QueueConfiguration", QUEUE),
    target("CloudFunctionConfiguration", FUNCTION),
    optional("EventBridgeConfiguration", Content::Group(&[])),
];

pub(super) const FORM: Form = Form {
    kind: DocumentKind::Notification,
    root: "NotificationConfiguration",
    shape: SHAPE,
    check,
    unset: Unset::Default(None),
};

fn check(root: &mut Element, subject: &Subject<'_>) -> Result<(), S3Error> {
    let skips = subject.context.request.read("x-amz-skip-destination-validation", values::flag)?;
    if skips == Some(true) {
        return Ok(());
    }
    for target in &root.children {
        for name in ["Topic", "Queue", "CloudFunction"] {
            if let Some(arn) = target.text_of(name) {
                let message = "A specified destination ARN does not exist or is not well-formed. \
                               Verify the destination ARN.";
                return Err(S3Error::argument(name, arn, message));
            }
        }
    }
    Ok(())
}
