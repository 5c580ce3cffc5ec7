//! `GetBucketLocation`.

use super::Handled;
use crate::gateway::Context;
use crate::response::xml;
use crate::xml::NAMESPACE;

pub(crate) fn run(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.find_bucket(name.as_str())?;
    // The first region of S3 has no name here.
    let region = match context.config.region.as_str() {
        "us-east-1" => "",
        region => region,
    };
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let root = "LocationConstraint";
    Ok(xml(format!("{declaration}<{root} xmlns=\"{NAMESPACE}\">{region}</{root}>")))
}
