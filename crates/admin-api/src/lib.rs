//! Requests and answers of the admin API: `POST /.drystone/v1` with one [`Request`] as JSON. The answer
//! is one [`Answer`], or a [`Failure`] with an HTTP status of 400 and above.
//!
//! The command line speaks this over the server's unix socket, where no signature is needed because
//! the kernel says who is at the other end, or over HTTP with a signature.

mod answer;
mod health;

pub use answer::*;
pub use health::{Health, KeyService};

use serde::{Deserialize, Serialize};

/// Path of the API. No bucket can have this name.
pub const PATH: &str = "/.drystone/v1";

/// What an administrator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Makes a key that data keys of objects are sealed under.
    KmsAdd {
        /// Id; chosen if it is empty.
        #[serde(default)]
        key: String,
        /// For people.
        #[serde(default)]
        description: String,
        /// Account that it belongs to; empty for that of the server.
        #[serde(default)]
        account: String,
    },
    /// Lists these keys.
    KmsList,
    /// Lets a key seal and open, or nothing.
    KmsEnable {
        /// Id, alias or ARN.
        key: String,
        /// Whether it does.
        enabled: bool,
    },
    /// Seals with new material from now on.
    KmsRotate {
        /// Id, alias or ARN.
        key: String,
    },
    /// Gives a key another name.
    KmsAlias {
        /// Name, with `alias/`.
        name: String,
        /// Id or ARN; none to take the name away.
        #[serde(default)]
        key: Option<String>,
    },
    /// Lets objects of a bucket be appended to, or not.
    BucketAppends {
        /// Bucket.
        bucket: String,
        /// Whether they can.
        enabled: bool,
    },
    /// Makes a second factor for the owner of the account; its secret is in the answer, this once.
    MfaEnroll,
    /// Lets the second factor count, by its first code.
    MfaConfirm {
        /// Six digits.
        code: String,
    },
    /// Tells about the second factor.
    MfaInfo,
    /// Takes the second factor away.
    MfaRemove,
    /// Says that the clock is right, although it is far ahead of where it was: locks end by it from now on.
    LockConfirmClock,
    /// Gives out the keyring, for a backup. Only over the socket of the server.
    KeyringExport,
    /// Makes a user.
    UserAdd {
        /// Name.
        name: String,
    },
    /// Lists users.
    UserList,
    /// Tells about a user.
    UserInfo {
        /// Name.
        name: String,
    },
    /// Removes a user, with keys and places in groups.
    UserRemove {
        /// Name.
        name: String,
    },
    /// Lets the keys of a user open something, or nothing.
    UserEnable {
        /// Name.
        name: String,
        /// Whether they do.
        enabled: bool,
    },
    /// Ends all sessions of a user.
    UserEndSessions {
        /// Name.
        name: String,
    },
    /// Ends all sessions that someone has, at once.
    SessionRevoke {
        /// Whose.
        of: SessionsOf,
    },
    /// Makes a group.
    GroupAdd {
        /// Name.
        name: String,
    },
    /// Lists groups.
    GroupList,
    /// Tells about a group.
    GroupInfo {
        /// Name.
        name: String,
    },
    /// Removes a group without members.
    GroupRemove {
        /// Name.
        name: String,
    },
    /// Lets the policies of a group count, or not.
    GroupEnable {
        /// Name.
        name: String,
        /// Whether they do.
        enabled: bool,
    },
    /// Puts users into a group, or takes them out.
    GroupMembers {
        /// Name of the group.
        name: String,
        /// Names of users.
        users: Vec<String>,
        /// In, or out.
        add: bool,
    },
    /// Makes a policy, or a new version of it that counts at once.
    PolicySet {
        /// Name.
        name: String,
        /// The document.
        document: String,
    },
    /// Lists policies.
    PolicyList,
    /// Tells about a policy.
    PolicyInfo {
        /// Name.
        name: String,
    },
    /// Removes a policy that no one holds.
    PolicyRemove {
        /// Name.
        name: String,
    },
    /// Attaches policies, or detaches them.
    PolicyAttach {
        /// Names of policies.
        policies: Vec<String>,
        /// To whom.
        holder: Holder,
        /// Attach, or detach.
        attach: bool,
    },
    /// Makes a key; the answer holds its secret, this once.
    KeyAdd {
        /// Name of the user; none for the owner of the account.
        #[serde(default)]
        user: Option<String>,
        /// Access key id; made up if there is none.
        #[serde(default)]
        access_key: Option<String>,
        /// Secret; made up if there is none.
        #[serde(default)]
        secret_key: Option<String>,
        /// Document that narrows what the user may do; makes it a service account.
        #[serde(default)]
        policy: Option<String>,
        /// When it ends, in milliseconds since 1970; makes it a service account.
        #[serde(default)]
        expires_ms: Option<u64>,
        /// For people.
        #[serde(default)]
        description: String,
    },
    /// Lists the keys of a user; of the owner of the account if there is none.
    KeyList {
        /// Name of the user.
        #[serde(default)]
        user: Option<String>,
    },
    /// Lets a key open something, or nothing.
    KeyEnable {
        /// Access key id.
        access_key: String,
        /// Whether it does.
        enabled: bool,
    },
    /// Removes a key.
    KeyRemove {
        /// Access key id.
        access_key: String,
    },
    /// Makes a role, or changes whom it trusts.
    RoleSet {
        /// Name.
        name: String,
        /// Document that says who may assume it.
        trust: String,
    },
    /// Lists roles.
    RoleList,
    /// Removes a role that holds no policies.
    RoleRemove {
        /// Name.
        name: String,
    },
    /// Makes an account, with keys for its owner; the answer holds the secret, this once.
    AccountAdd {
        /// 12 digits.
        id: String,
        /// For people.
        name: String,
    },
    /// Lists accounts.
    AccountList,
    /// Signs session tokens with a new key from now on.
    RotateSigningKey,
    /// Tells why a request was refused; all that are remembered if the id is empty.
    Explain {
        /// Id of the request, from the answer's `x-amz-request-id`.
        request_id: String,
    },
    /// Lists drives.
    DriveList,
    /// Makes an empty directory another drive.
    DriveAdd {
        /// The directory, on the server.
        path: String,
        /// What fails together with it; empty if that is not said.
        #[serde(default)]
        zone: String,
    },
    /// Takes a drive out that is gone.
    DriveRemove {
        /// Id or path.
        drive: String,
    },
    /// Empties a drive and takes it out, or lets it be.
    DriveDrain {
        /// Id or path.
        drive: String,
        /// Do not, if it was begun.
        #[serde(default)]
        cancel: bool,
    },
    /// Puts an empty directory into the place of a drive that is gone.
    DriveReplace {
        /// Id or path of the drive that is gone.
        old: String,
        /// The directory, on the server.
        path: String,
    },
    /// Tells the state of the store.
    Status,
    /// Begins to read everything, or what is below a prefix of a bucket.
    VerifyStart {
        /// Bucket; all of them if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bucket: Option<String>,
        /// Prefix of keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
        /// Give back what is missing or damaged.
        repair: bool,
    },
    /// Tells how far the verification is, or what the last one found.
    VerifyState,
}

/// Whose sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionsOf {
    /// Of the owner of the account.
    Root,
    /// Of a user.
    User(String),
    /// Of a role, whichever identity took it on.
    Role(String),
    /// Of the users of all OpenID providers to whom these give a name, with roles too.
    OpenIdName(String),
    /// Of the user of one OpenID provider, with roles too.
    OpenIdUser {
        /// The provider: its issuer without `https://`; with `#CLAIM` where another claim than `sub`
        /// names its users.
        provider: String,
        /// The name that the provider gives.
        name: String,
    },
    /// Of a user of the LDAP server, by the distinguished name.
    LdapName(String),
}

/// Anyone who holds policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A user.
    User(String),
    /// A group.
    Group(String),
    /// A role.
    Role(String),
    /// A distinguished name of the LDAP server, of a user or a group.
    LdapName(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the wire form stays as it is.
    #[test]
    fn requests_look_like_this() {
        let request = Request::PolicyAttach {
            policies: vec!["readonly".into()],
            holder: Holder::User("anna".into()),
            attach: true,
        };
        let text = r#"{"op":"policy-attach","policies":["readonly"],"holder":{"user":"anna"},"attach":true}"#;
        assert_eq!(serde_json::to_string(&request).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<Request>(text).expect("a request"), request);
        let surplus = r#"{"op":"user-add","name":"a","x":1}"#;
        assert!(serde_json::from_str::<Request>(surplus).is_err());
    }
}
