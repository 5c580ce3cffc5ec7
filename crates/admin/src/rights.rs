//! The table of rights: what each operation of each surface needs, by all names that the right has.
//!
//! The same thing can be done by several surfaces, and each has its own name for the right to do it. A row
//! holds one right with all of its names. An allow of any of `names` allows, on every surface; a deny of any
//! of `names` or of `denied_by` denies, on every surface. An operation that no row names is not served.
//!
//! `docs/identity-actions.md` is made from this table and checked by a test;
//! `tests/blackbox/abuse/test_identity_walk.py` walks it against a server.
//!
//! # Not here
//!
//! The decision itself is in `door`; where a right is decided on, in `identity::EntityArn`.

/// A row of the table. All fields but the rule are lists, separated by blanks.
pub(crate) struct Row {
    /// Names that allow, and deny. The first one is told in refusals.
    pub(crate) names: &'static str,
    /// Names that deny only: wider rights of another surface.
    pub(crate) denied_by: &'static str,
    /// What decides, where it is not an action in a policy, or not only that.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is read by the generated page"))]
    pub(crate) rule: &'static str,
    /// Operations of the query API. A `!` before an operation: a deny stops it, an allow is not needed.
    pub(crate) query: &'static str,
    /// Operations of MinIO's admin API: the path behind its prefix.
    pub(crate) minio: &'static str,
    /// Operations of the own admin API, which is also that of the socket.
    pub(crate) api: &'static str,
}

const NONE: Row = Row { names: "", denied_by: "", rule: "", query: "", minio: "", api: "" };

macro_rules! rights {
    ($($right:ident { $($field:ident: $value:literal),* $(,)? })*) => {
        /// A right, as the operations ask for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Right {
            $($right),*
        }

        /// The rows, in the order of [`Right`].
        const TABLE: &[(&str, Row)] =
            &[$((stringify!($right), Row { $($field: $value,)* ..NONE })),*];

        const ALL: &[Right] = &[$(Right::$right),*];
    };
}

rights! {
    // Users.
    CreateUser {
        names: "iam:CreateUser admin:CreateUser",
        query: "CreateUser", minio: "add-user", api: "user-add",
    }
    GetUser {
        names: "iam:GetUser admin:GetUser",
        query: "GetUser", minio: "user-info", api: "user-info",
    }
    ListUsers {
        names: "iam:ListUsers admin:ListUsers",
        query: "ListUsers", minio: "list-users", api: "user-list",
    }
    UpdateUser { names: "iam:UpdateUser admin:UpdateUser", query: "UpdateUser" }
    DeleteUser {
        names: "iam:DeleteUser admin:DeleteUser",
        query: "DeleteUser", minio: "remove-user", api: "user-remove",
    }
    EnableUser {
        names: "admin:EnableUser iam:EnableUser",
        minio: "set-user-status !add-user", api: "user-enable",
    }
    DisableUser {
        names: "admin:DisableUser iam:DisableUser",
        minio: "set-user-status !add-user", api: "user-enable",
    }
    RevokeSessions {
        names: "admin:RevokeSessions iam:RevokeSessions admin:DisableUser iam:DisableUser",
        rule: "those of the owner of the account: the owner only; of a name of another directory: \
            administrators of the server",
        api: "session-revoke user-end-sessions",
    }
    TagUser { names: "iam:TagUser admin:TagUser", query: "TagUser !CreateUser" }
    UntagUser { names: "iam:UntagUser admin:UntagUser", query: "UntagUser" }
    ListUserTags { names: "iam:ListUserTags admin:ListUserTags", query: "ListUserTags" }
    GetLoginProfile { names: "iam:GetLoginProfile admin:GetLoginProfile", query: "GetLoginProfile" }
    DeleteLoginProfile {
        names: "iam:DeleteLoginProfile admin:DeleteLoginProfile",
        query: "DeleteLoginProfile",
    }
    ListMfaDevices { names: "iam:ListMFADevices admin:ListMFADevices", query: "ListMFADevices" }
    ListSshPublicKeys {
        names: "iam:ListSSHPublicKeys admin:ListSSHPublicKeys",
        query: "ListSSHPublicKeys",
    }
    ListSigningCertificates {
        names: "iam:ListSigningCertificates admin:ListSigningCertificates",
        query: "ListSigningCertificates",
    }
    ListServiceSpecificCredentials {
        names: "iam:ListServiceSpecificCredentials admin:ListServiceSpecificCredentials",
        query: "ListServiceSpecificCredentials",
    }
    ListVirtualMfaDevices {
        names: "iam:ListVirtualMFADevices admin:ListVirtualMFADevices", query: "ListVirtualMFADevices",
    }
    ListAccountAliases {
        names: "iam:ListAccountAliases admin:ListAccountAliases",
        query: "ListAccountAliases",
    }

    // Access keys.
    CreateAccessKey {
        names: "iam:CreateAccessKey admin:CreateAccessKey admin:CreateServiceAccount",
        rule: "everybody for their own keys, unless denied; who manages keys: docs/semantics.md",
        query: "CreateAccessKey", minio: "add-service-account !add-user", api: "key-add !account-add",
    }
    UpdateAccessKey {
        names: "iam:UpdateAccessKey admin:UpdateAccessKey admin:UpdateServiceAccount",
        rule: "as CreateAccessKey",
        query: "UpdateAccessKey", minio: "update-service-account !add-user", api: "key-enable",
    }
    DeleteAccessKey {
        names: "iam:DeleteAccessKey admin:DeleteAccessKey admin:RemoveServiceAccount",
        rule: "as CreateAccessKey",
        query: "DeleteAccessKey",
        minio: "delete-service-account !remove-user",
        api: "key-remove !user-remove",
    }
    ListAccessKeys {
        names: "iam:ListAccessKeys admin:ListAccessKeys admin:ListServiceAccounts",
        rule: "as CreateAccessKey",
        query: "ListAccessKeys",
        minio: "list-service-accounts list-access-keys-bulk info-service-account info-access-key",
        api: "key-list",
    }
    GetAccessKeyLastUsed {
        names: "iam:GetAccessKeyLastUsed admin:GetAccessKeyLastUsed", query: "GetAccessKeyLastUsed",
    }

    // Groups.
    CreateGroup {
        names: "iam:CreateGroup admin:CreateGroup admin:AddUserToGroup",
        query: "CreateGroup", minio: "update-group-members", api: "group-add",
    }
    GetGroup {
        names: "iam:GetGroup admin:GetGroup",
        query: "GetGroup", minio: "group", api: "group-info",
    }
    ListGroups {
        names: "iam:ListGroups admin:ListGroups",
        query: "ListGroups", minio: "groups", api: "group-list",
    }
    UpdateGroup { names: "iam:UpdateGroup admin:UpdateGroup", query: "UpdateGroup" }
    DeleteGroup {
        names: "iam:DeleteGroup admin:DeleteGroup admin:RemoveUserFromGroup",
        query: "DeleteGroup", minio: "update-group-members", api: "group-remove",
    }
    AddUserToGroup {
        names: "iam:AddUserToGroup admin:AddUserToGroup",
        query: "AddUserToGroup", minio: "update-group-members", api: "group-members",
    }
    RemoveUserFromGroup {
        names: "iam:RemoveUserFromGroup admin:RemoveUserFromGroup",
        query: "RemoveUserFromGroup", minio: "update-group-members", api: "group-members",
    }
    ListGroupsForUser {
        names: "iam:ListGroupsForUser admin:ListGroupsForUser",
        rule: "everybody for themselves, unless denied", query: "ListGroupsForUser",
    }
    EnableGroup {
        names: "admin:EnableGroup iam:EnableGroup",
        minio: "set-group-status", api: "group-enable",
    }
    DisableGroup {
        names: "admin:DisableGroup iam:DisableGroup",
        minio: "set-group-status", api: "group-enable",
    }

    // Roles.
    CreateRole { names: "iam:CreateRole admin:CreateRole", query: "CreateRole", api: "role-set" }
    GetRole { names: "iam:GetRole admin:GetRole", query: "GetRole" }
    ListRoles { names: "iam:ListRoles admin:ListRoles", query: "ListRoles", api: "role-list" }
    UpdateRole { names: "iam:UpdateRole admin:UpdateRole", query: "UpdateRole" }
    UpdateRoleDescription {
        names: "iam:UpdateRoleDescription admin:UpdateRoleDescription", query: "UpdateRoleDescription",
    }
    UpdateAssumeRolePolicy {
        names: "iam:UpdateAssumeRolePolicy admin:UpdateAssumeRolePolicy admin:CreateRole",
        query: "UpdateAssumeRolePolicy", api: "role-set",
    }
    DeleteRole { names: "iam:DeleteRole admin:DeleteRole", query: "DeleteRole", api: "role-remove" }
    TagRole { names: "iam:TagRole admin:TagRole", query: "TagRole !CreateRole" }
    UntagRole { names: "iam:UntagRole admin:UntagRole", query: "UntagRole" }
    ListRoleTags { names: "iam:ListRoleTags admin:ListRoleTags", query: "ListRoleTags" }
    ListInstanceProfilesForRole {
        names: "iam:ListInstanceProfilesForRole admin:ListInstanceProfilesForRole",
        query: "ListInstanceProfilesForRole",
    }

    // OpenID providers of an account. Those of the settings are the server's.
    CreateOpenIdConnectProvider {
        names: "iam:CreateOpenIDConnectProvider",
        query: "CreateOpenIDConnectProvider",
    }
    GetOpenIdConnectProvider {
        names: "iam:GetOpenIDConnectProvider",
        query: "GetOpenIDConnectProvider",
    }
    ListOpenIdConnectProviders {
        names: "iam:ListOpenIDConnectProviders",
        query: "ListOpenIDConnectProviders",
    }
    DeleteOpenIdConnectProvider {
        names: "iam:DeleteOpenIDConnectProvider",
        query: "DeleteOpenIDConnectProvider",
    }
    UpdateOpenIdConnectProviderThumbprint {
        names: "iam:UpdateOpenIDConnectProviderThumbprint",
        query: "UpdateOpenIDConnectProviderThumbprint",
    }
    AddClientIdToOpenIdConnectProvider {
        names: "iam:AddClientIDToOpenIDConnectProvider",
        query: "AddClientIDToOpenIDConnectProvider",
    }
    RemoveClientIdFromOpenIdConnectProvider {
        names: "iam:RemoveClientIDFromOpenIDConnectProvider",
        query: "RemoveClientIDFromOpenIDConnectProvider",
    }
    TagOpenIdConnectProvider {
        names: "iam:TagOpenIDConnectProvider",
        query: "TagOpenIDConnectProvider !CreateOpenIDConnectProvider",
    }
    UntagOpenIdConnectProvider {
        names: "iam:UntagOpenIDConnectProvider",
        query: "UntagOpenIDConnectProvider",
    }
    ListOpenIdConnectProviderTags {
        names: "iam:ListOpenIDConnectProviderTags",
        query: "ListOpenIDConnectProviderTags",
    }

    // Managed policies.
    CreatePolicy {
        names: "iam:CreatePolicy admin:CreatePolicy",
        query: "CreatePolicy", minio: "add-canned-policy", api: "policy-set",
    }
    CreatePolicyVersion {
        names: "iam:CreatePolicyVersion admin:CreatePolicyVersion admin:CreatePolicy",
        query: "CreatePolicyVersion", minio: "add-canned-policy", api: "policy-set",
    }
    SetDefaultPolicyVersion {
        names: "iam:SetDefaultPolicyVersion admin:SetDefaultPolicyVersion admin:CreatePolicy",
        query: "SetDefaultPolicyVersion",
    }
    DeletePolicyVersion {
        names: "iam:DeletePolicyVersion admin:DeletePolicyVersion admin:DeletePolicy",
        query: "DeletePolicyVersion",
    }
    DeletePolicy {
        names: "iam:DeletePolicy admin:DeletePolicy",
        query: "DeletePolicy", minio: "remove-canned-policy", api: "policy-remove",
    }
    GetPolicy { names: "iam:GetPolicy admin:GetPolicy", query: "GetPolicy" }
    GetPolicyVersion {
        names: "iam:GetPolicyVersion admin:GetPolicyVersion admin:GetPolicy",
        query: "GetPolicyVersion",
        minio: "info-canned-policy !list-canned-policies",
        api: "policy-info",
    }
    ListPolicyVersions {
        names: "iam:ListPolicyVersions admin:ListPolicyVersions",
        query: "ListPolicyVersions",
    }
    ListPolicies {
        names: "iam:ListPolicies admin:ListPolicies admin:ListUserPolicies admin:GetPolicy",
        query: "ListPolicies", minio: "list-canned-policies", api: "policy-list",
    }
    ListEntitiesForPolicy {
        names: "iam:ListEntitiesForPolicy admin:ListEntitiesForPolicy admin:ListUserPolicies \
            admin:ListUsers \
            admin:GetPolicy",
        query: "ListEntitiesForPolicy", minio: "idp/builtin/policy-entities",
    }
    TagPolicy { names: "iam:TagPolicy admin:TagPolicy", query: "TagPolicy !CreatePolicy" }
    UntagPolicy { names: "iam:UntagPolicy admin:UntagPolicy", query: "UntagPolicy" }
    ListPolicyTags { names: "iam:ListPolicyTags admin:ListPolicyTags", query: "ListPolicyTags" }

    // Who holds which managed policy.
    AttachUserPolicy {
        names: "iam:AttachUserPolicy admin:AttachUserPolicy admin:AttachUserOrGroupPolicy \
            admin:UpdatePolicyAssociation iam:AttachUserOrGroupPolicy",
        query: "AttachUserPolicy", minio: "idp/builtin/policy/attach set-user-or-group-policy add-user",
        api: "policy-attach",
    }
    DetachUserPolicy {
        names: "iam:DetachUserPolicy admin:DetachUserPolicy admin:AttachUserOrGroupPolicy \
            admin:UpdatePolicyAssociation iam:AttachUserOrGroupPolicy",
        query: "DetachUserPolicy", minio: "idp/builtin/policy/detach set-user-or-group-policy add-user",
        api: "policy-attach",
    }
    AttachGroupPolicy {
        names: "iam:AttachGroupPolicy admin:AttachGroupPolicy admin:AttachUserOrGroupPolicy \
            admin:UpdatePolicyAssociation iam:AttachUserOrGroupPolicy",
        query: "AttachGroupPolicy", minio: "idp/builtin/policy/attach set-user-or-group-policy",
        api: "policy-attach",
    }
    DetachGroupPolicy {
        names: "iam:DetachGroupPolicy admin:DetachGroupPolicy admin:AttachUserOrGroupPolicy \
            admin:UpdatePolicyAssociation iam:AttachUserOrGroupPolicy",
        query: "DetachGroupPolicy", minio: "idp/builtin/policy/detach set-user-or-group-policy",
        api: "policy-attach",
    }
    AttachRolePolicy {
        names: "iam:AttachRolePolicy admin:AttachRolePolicy admin:AttachUserOrGroupPolicy \
            iam:AttachUserOrGroupPolicy",
        query: "AttachRolePolicy", api: "policy-attach",
    }
    DetachRolePolicy {
        names: "iam:DetachRolePolicy admin:DetachRolePolicy admin:AttachUserOrGroupPolicy \
            iam:AttachUserOrGroupPolicy",
        query: "DetachRolePolicy", api: "policy-attach",
    }
    AttachNamePolicy {
        names: "admin:UpdatePolicyAssociation admin:AttachUserOrGroupPolicy",
        denied_by: "iam:AttachUserPolicy iam:AttachGroupPolicy",
        rule: "a name of the LDAP server; for administrators of the server",
        minio: "idp/ldap/policy/attach", api: "policy-attach",
    }
    DetachNamePolicy {
        names: "admin:UpdatePolicyAssociation admin:AttachUserOrGroupPolicy",
        denied_by: "iam:DetachUserPolicy iam:DetachGroupPolicy",
        rule: "as AttachNamePolicy",
        minio: "idp/ldap/policy/detach", api: "policy-attach",
    }
    ListAttachedUserPolicies {
        names: "iam:ListAttachedUserPolicies admin:ListAttachedUserPolicies",
        query: "ListAttachedUserPolicies",
    }
    ListAttachedGroupPolicies {
        names: "iam:ListAttachedGroupPolicies admin:ListAttachedGroupPolicies",
        query: "ListAttachedGroupPolicies",
    }
    ListAttachedRolePolicies {
        names: "iam:ListAttachedRolePolicies admin:ListAttachedRolePolicies",
        query: "ListAttachedRolePolicies",
    }

    // Permissions boundaries.
    PutUserPermissionsBoundary {
        names: "iam:PutUserPermissionsBoundary admin:PutUserPermissionsBoundary",
        query: "PutUserPermissionsBoundary",
    }
    DeleteUserPermissionsBoundary {
        names: "iam:DeleteUserPermissionsBoundary admin:DeleteUserPermissionsBoundary",
        query: "DeleteUserPermissionsBoundary",
    }
    PutRolePermissionsBoundary {
        names: "iam:PutRolePermissionsBoundary admin:PutRolePermissionsBoundary",
        query: "PutRolePermissionsBoundary",
    }
    DeleteRolePermissionsBoundary {
        names: "iam:DeleteRolePermissionsBoundary admin:DeleteRolePermissionsBoundary",
        query: "DeleteRolePermissionsBoundary",
    }

    // Inline policies. Anyone who must not attach must not put either: the effect is the same.
    PutUserPolicy {
        names: "iam:PutUserPolicy admin:PutUserPolicy",
        denied_by: "admin:AttachUserOrGroupPolicy admin:UpdatePolicyAssociation",
        query: "PutUserPolicy",
    }
    PutGroupPolicy {
        names: "iam:PutGroupPolicy admin:PutGroupPolicy",
        denied_by: "admin:AttachUserOrGroupPolicy admin:UpdatePolicyAssociation",
        query: "PutGroupPolicy",
    }
    PutRolePolicy {
        names: "iam:PutRolePolicy admin:PutRolePolicy",
        denied_by: "admin:AttachUserOrGroupPolicy", query: "PutRolePolicy",
    }
    DeleteUserPolicy {
        names: "iam:DeleteUserPolicy admin:DeleteUserPolicy",
        denied_by: "admin:AttachUserOrGroupPolicy admin:UpdatePolicyAssociation",
        query: "DeleteUserPolicy",
    }
    DeleteGroupPolicy {
        names: "iam:DeleteGroupPolicy admin:DeleteGroupPolicy",
        denied_by: "admin:AttachUserOrGroupPolicy admin:UpdatePolicyAssociation",
        query: "DeleteGroupPolicy",
    }
    DeleteRolePolicy {
        names: "iam:DeleteRolePolicy admin:DeleteRolePolicy",
        denied_by: "admin:AttachUserOrGroupPolicy", query: "DeleteRolePolicy",
    }
    GetUserPolicy { names: "iam:GetUserPolicy admin:GetUserPolicy", query: "GetUserPolicy" }
    GetGroupPolicy { names: "iam:GetGroupPolicy admin:GetGroupPolicy", query: "GetGroupPolicy" }
    GetRolePolicy { names: "iam:GetRolePolicy admin:GetRolePolicy", query: "GetRolePolicy" }
    ListUserPolicies { names: "iam:ListUserPolicies admin:ListUserPolicies", query: "ListUserPolicies" }
    ListGroupPolicies {
        names: "iam:ListGroupPolicies admin:ListGroupPolicies",
        query: "ListGroupPolicies",
    }
    ListRolePolicies { names: "iam:ListRolePolicies admin:ListRolePolicies", query: "ListRolePolicies" }

    // Sessions.
    AssumeRole {
        names: "sts:AssumeRole", rule: "the trust policy of the role, and policies of the caller",
        query: "AssumeRole",
    }
    TagSession { names: "sts:TagSession", rule: "as AssumeRole, for its tags", query: "AssumeRole" }
    GetSessionToken {
        names: "sts:GetSessionToken",
        rule: "everybody for themselves, unless denied",
        query: "GetSessionToken",
    }
    GetAccessKeyInfo { names: "sts:GetAccessKeyInfo admin:GetUser", query: "GetAccessKeyInfo" }
    OfToken {
        rule: "the token or password in the request, and the trust policy of the role",
        query: "AssumeRoleWithWebIdentity AssumeRoleWithLDAPIdentity",
    }
    OfCaller { rule: "everybody, about themselves", query: "GetCallerIdentity", minio: "accountinfo" }
    NotThere {
        rule: "not implemented: 501",
        query: "AssumeRoleWithSAML AssumeRoleWithCertificate AssumeRoleWithClientGrants \
            AssumeRoleWithCustomToken GetFederationToken DecodeAuthorizationMessage",
    }

    // The server. Only callers of the default account have these.
    CreateAccount { names: "admin:CreateAccount", rule: "server", api: "account-add" }
    ListAccounts { names: "admin:ListAccounts", rule: "server", api: "account-list" }
    RotateSigningKey {
        names: "admin:RotateSigningKey", rule: "server", api: "rotate-signing-key",
    }
    Explain { names: "admin:Explain", rule: "server", api: "explain" }
    ServerInfo { names: "admin:ServerInfo", rule: "server", minio: "info" }
    StorageInfo {
        names: "admin:StorageInfo", rule: "server",
        minio: "storageinfo", api: "drive-list status",
    }
    DataUsageInfo { names: "admin:DataUsageInfo", rule: "server", minio: "datausageinfo" }
    Decommission {
        names: "admin:Decommission", rule: "server",
        api: "drive-add drive-remove drive-drain drive-replace",
    }
    Heal { names: "admin:Heal", rule: "server", api: "verify-start verify-state" }
    ConfigUpdate { names: "admin:ConfigUpdate", rule: "server", api: "bucket-appends" }
    OfOwner {
        rule: "the owner of the account; some of them only by the socket",
        api: "mfa-enroll mfa-confirm mfa-info mfa-remove lock-confirm-clock",
    }
    OfSocket { rule: "anyone who is at the machine of the server", api: "keyring-export" }

    // Keys of the key service.
    KmsStatus { names: "kms:Status admin:KMSStatus", rule: "server", minio: "kms:status" }
    KmsVersion { names: "kms:Version admin:KMSVersion", rule: "server", minio: "kms:version" }
    KmsCreateKey {
        names: "kms:CreateKey admin:KMSCreateKey", rule: "server",
        minio: "kms:key/create", api: "kms-add",
    }
    KmsListKeys {
        names: "kms:ListKeys admin:KMSListKeys", rule: "server",
        minio: "kms:key/list", api: "kms-list",
    }
    KmsKeyStatus {
        names: "kms:KeyStatus admin:KMSKeyStatus", rule: "server", minio: "kms:key/status",
    }
    KmsEnableKey { names: "kms:EnableKey admin:KMSEnableKey", rule: "server", api: "kms-enable" }
    KmsDisableKey {
        names: "kms:DisableKey admin:KMSDisableKey", rule: "server", api: "kms-enable",
    }
    KmsRotateKey { names: "kms:RotateKey admin:KMSRotateKey", rule: "server", api: "kms-rotate" }
    KmsCreateAlias {
        names: "kms:CreateAlias admin:KMSCreateAlias", rule: "server", api: "kms-alias",
    }
    KmsDeleteAlias {
        names: "kms:DeleteAlias admin:KMSDeleteAlias", rule: "server", api: "kms-alias",
    }
}

/// See [`Right::needs_lasting_key`].
const LASTING: &[&str] = &[
    "account-add",
    "key-add",
    "key-enable",
    "key-remove",
    "keyring-export",
    "mfa-confirm",
    "mfa-enroll",
    "mfa-remove",
    "user-remove",
];

impl Right {
    /// Its row.
    pub(crate) fn row(self) -> &'static Row {
        &TABLE[self as usize].1
    }

    /// The right that an operation of the query API needs by itself; `None` for one that no row names.
    pub(crate) fn of_query(operation: &str) -> Option<Self> {
        of(operation, |row| row.query)
    }

    /// As [`Right::of_query`], of MinIO's admin API.
    pub(crate) fn of_minio(operation: &str) -> Option<Self> {
        of(operation, |row| row.minio)
    }

    /// Whether the right is one to change what a user or role may do, on which AWS decides by the permissions
    /// boundary that it has (`iam:PermissionsBoundary`).
    pub(crate) fn is_on_bounded(self) -> bool {
        matches!(
            self,
            Self::AttachUserPolicy
                | Self::DetachUserPolicy
                | Self::PutUserPolicy
                | Self::DeleteUserPolicy
                | Self::DeleteUserPermissionsBoundary
                | Self::AttachRolePolicy
                | Self::DetachRolePolicy
                | Self::PutRolePolicy
                | Self::DeleteRolePolicy
                | Self::DeleteRolePermissionsBoundary
        )
    }

    /// Whether an operation of the own admin API makes, changes, opens or removes what outlasts the caller's
    /// own key: a key, an account with keys of its owner, the owner's second factor, all secrets. A session,
    /// a key with a policy and a key that expires have none of these, whatever else the caller may do.
    pub(crate) fn needs_lasting_key(operation: &str) -> bool {
        LASTING.contains(&operation)
    }

    /// As [`Right::of_query`], of the own admin API.
    pub(crate) fn of_api(operation: &str) -> Option<Self> {
        of(operation, |row| row.api)
    }
}

fn of(operation: &str, column: impl Fn(&Row) -> &'static str) -> Option<Right> {
    let names =
        |right: &Right| column(right.row()).split_whitespace().any(|name| name == operation);
    ALL.iter().copied().find(names)
}

#[cfg(test)]
mod tests;
