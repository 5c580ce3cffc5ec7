//! Accounts as answers name them: by canonical id and by name.
//!
//! The name is the one that the account has (`drystone account list`). An account that is not there any
//! more has no name, and is named by its id alone.

use crate::authorize::canonical_of;
use crate::gateway::Context;
use crate::xml::Xml;
use drystone_engine::{Initiator, UploadRow};
use std::collections::BTreeMap;

/// An account that owns something, or began it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// 64 hexadecimal digits.
    pub(crate) canonical: String,
    name: Option<String>,
}

impl Owner {
    /// The account with this id.
    pub(crate) fn of_account(context: &Context<'_>, account: &str) -> Self {
        Self::of_canonical(context, canonical_of(context, account))
    }

    /// The account with this canonical id.
    pub(crate) fn of_canonical(context: &Context<'_>, canonical: String) -> Self {
        let name = context.directory.name_of_canonical(&canonical).ok().flatten();
        Self { canonical, name }
    }

    /// Writes who it is into an element that is open.
    pub(crate) fn write_into(&self, document: &mut Xml) {
        document.text("ID", &self.canonical).text_if("DisplayName", self.name.as_deref());
    }

    /// Writes who it is, as an element of this name.
    pub(crate) fn write(&self, document: &mut Xml, element: &str) {
        document.open(element);
        self.write_into(document);
        document.close(element);
    }
}

/// The owners of what one answer lists, each looked up once. An answer has at most one for each of its
/// entries.
pub(crate) struct Owners<'a> {
    context: &'a Context<'a>,
    of_bucket: Owner,
    others: BTreeMap<String, Owner>,
}

impl<'a> Owners<'a> {
    /// Those of a bucket of this account.
    pub(crate) fn new(context: &'a Context<'a>, of_bucket: &str) -> Self {
        let of_bucket = Owner::of_account(context, of_bucket);
        Self { context, of_bucket, others: BTreeMap::new() }
    }

    /// The owner of an entry; `account` is empty where it is that of the bucket.
    pub(crate) fn of(&mut self, account: &str) -> &Owner {
        if account.is_empty() {
            return &self.of_bucket;
        }
        let looked_up = || Owner::of_account(self.context, account);
        self.others.entry(account.to_owned()).or_insert_with(looked_up)
    }

    /// Writes who began an upload, and whose its object is to be. A user is named by ARN, the owner of an
    /// account as an owner is (S3 API reference, "Initiator").
    pub(crate) fn write_of_upload(&mut self, document: &mut Xml, row: &UploadRow) {
        match &row.initiator {
            Some(Initiator { arn: Some(arn), .. }) => {
                let name = arn.rsplit('/').next();
                document.open("Initiator").text("ID", arn).text_if("DisplayName", name);
                document.close("Initiator");
            }
            Some(Initiator { account, arn: None }) => self.of(account).write(document, "Initiator"),
            None => self.of_bucket.write(document, "Initiator"),
        }
        self.of(&row.template.owner).write(document, "Owner");
    }
}
