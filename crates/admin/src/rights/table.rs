//! The rows of the table of rights.

use super::{NONE, Row};

/// What decides on keys by the KMS API, and on keys that other surfaces know too.
const OF_KEY: &str = "the account of the key, its policy and its grants";
const OF_SERVER_OR_KEY: &str =
    "server; by the KMS API the account of the key, its policy and its grants";

macro_rules! rights {
    ($($right:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        /// A right, as the operations ask for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Right {
            $($right),*
        }

        /// The rows, in the order of [`Right`].
        pub(super) const TABLE: &[(&str, Row)] =
            &[$((stringify!($right), Row { $($field: $value,)* ..NONE })),*];

        pub(super) const ALL: &[Right] = &[$(Right::$right),*];
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
    KmsKeyStatus {
        names: "kms:KeyStatus admin:KMSKeyStatus", rule: "server", minio: "kms:key/status",
    }
    KmsCreateKey {
        names: "kms:CreateKey admin:KMSCreateKey",
        rule: OF_SERVER_OR_KEY,
        minio: "kms:key/create", api: "kms-add", kms: "CreateKey",
    }
    KmsListKeys {
        names: "kms:ListKeys admin:KMSListKeys",
        rule: OF_SERVER_OR_KEY,
        minio: "kms:key/list", api: "kms-list", kms: "ListKeys",
    }
    KmsEnableKey {
        names: "kms:EnableKey admin:KMSEnableKey",
        rule: OF_SERVER_OR_KEY,
        api: "kms-enable", kms: "EnableKey",
    }
    KmsDisableKey {
        names: "kms:DisableKey admin:KMSDisableKey",
        rule: OF_SERVER_OR_KEY,
        api: "kms-enable", kms: "DisableKey",
    }
    KmsRotateKey {
        names: "kms:RotateKeyOnDemand kms:RotateKey admin:KMSRotateKey",
        rule: OF_SERVER_OR_KEY,
        api: "kms-rotate", kms: "RotateKeyOnDemand",
    }
    KmsCreateAlias {
        names: "kms:CreateAlias admin:KMSCreateAlias",
        rule: OF_SERVER_OR_KEY,
        api: "kms-alias", kms: "CreateAlias",
    }
    KmsDeleteAlias {
        names: "kms:DeleteAlias admin:KMSDeleteAlias",
        rule: OF_SERVER_OR_KEY,
        api: "kms-alias", kms: "DeleteAlias",
    }
    KmsDescribeKey { names: "kms:DescribeKey", rule: OF_KEY, kms: "DescribeKey" }
    KmsUpdateKeyDescription { names: "kms:UpdateKeyDescription", rule: OF_KEY, kms: "UpdateKeyDescription" }
    KmsUpdateAlias { names: "kms:UpdateAlias", rule: OF_KEY, kms: "UpdateAlias" }
    KmsListAliases { names: "kms:ListAliases", rule: OF_KEY, kms: "ListAliases" }
    KmsGetKeyPolicy { names: "kms:GetKeyPolicy", rule: OF_KEY, kms: "GetKeyPolicy" }
    KmsPutKeyPolicy { names: "kms:PutKeyPolicy", rule: OF_KEY, kms: "PutKeyPolicy" }
    KmsListKeyPolicies { names: "kms:ListKeyPolicies", rule: OF_KEY, kms: "ListKeyPolicies" }
    KmsListResourceTags { names: "kms:ListResourceTags", rule: OF_KEY, kms: "ListResourceTags" }
    KmsTagResource { names: "kms:TagResource", rule: OF_KEY, kms: "TagResource !CreateKey" }
    KmsUntagResource { names: "kms:UntagResource", rule: OF_KEY, kms: "UntagResource" }
    KmsEnableKeyRotation { names: "kms:EnableKeyRotation", rule: OF_KEY, kms: "EnableKeyRotation" }
    KmsDisableKeyRotation { names: "kms:DisableKeyRotation", rule: OF_KEY, kms: "DisableKeyRotation" }
    KmsGetKeyRotationStatus { names: "kms:GetKeyRotationStatus", rule: OF_KEY, kms: "GetKeyRotationStatus" }
    KmsListKeyRotations { names: "kms:ListKeyRotations", rule: OF_KEY, kms: "ListKeyRotations" }
    KmsScheduleKeyDeletion { names: "kms:ScheduleKeyDeletion", rule: OF_KEY, kms: "ScheduleKeyDeletion" }
    KmsCancelKeyDeletion { names: "kms:CancelKeyDeletion", rule: OF_KEY, kms: "CancelKeyDeletion" }
    KmsEncrypt { names: "kms:Encrypt", rule: OF_KEY, kms: "Encrypt" }
    KmsDecrypt { names: "kms:Decrypt", rule: OF_KEY, kms: "Decrypt" }
    KmsGenerateDataKey { names: "kms:GenerateDataKey", rule: OF_KEY, kms: "GenerateDataKey" }
    KmsGenerateDataKeyWithoutPlaintext {
        names: "kms:GenerateDataKeyWithoutPlaintext", rule: OF_KEY,
        kms: "GenerateDataKeyWithoutPlaintext",
    }
    KmsGenerateRandom { names: "kms:GenerateRandom", rule: OF_KEY, kms: "GenerateRandom" }
    KmsCreateGrant { names: "kms:CreateGrant", rule: OF_KEY, kms: "CreateGrant" }
    KmsListGrants { names: "kms:ListGrants", rule: OF_KEY, kms: "ListGrants" }
    KmsRevokeGrant { names: "kms:RevokeGrant", rule: OF_KEY, kms: "RevokeGrant" }
    KmsRetireGrant { names: "kms:RetireGrant", rule: OF_KEY, kms: "RetireGrant" }
    KmsListRetirableGrants { names: "kms:ListRetirableGrants", rule: OF_KEY, kms: "ListRetirableGrants" }
    KmsReEncryptFrom { names: "kms:ReEncryptFrom", rule: OF_KEY, kms: "ReEncrypt" }
    KmsReEncryptTo { names: "kms:ReEncryptTo", rule: OF_KEY, kms: "ReEncrypt" }
}
