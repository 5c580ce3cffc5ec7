//! The actions of the services that are here: all that AWS lists of them (Service Authorization Reference),
//! those that only MinIO has, and other names of ours. A document that names another one is refused where it
//! is put, since it would not mean what its writer thinks: a typing error allows nothing, or denies nothing.
//!
//! Names of services that are not here (`ec2:RunInstances`) are taken. They never match anything.

use crate::pattern::Pattern;

/// Service, and names of its actions.
const SERVICES: &[(&str, &str)] = &[
    (
        "s3",
        "AbortMultipartUpload AssociateAccessGrantsIdentityCenter BypassGovernanceRetention \
        CreateAccessGrant CreateAccessGrantsInstance CreateAccessGrantsLocation CreateAccessPoint \
        CreateAccessPointForObjectLambda CreateBucket CreateBucketMetadataTableConfiguration \
        CreateJob CreateMultiRegionAccessPoint CreateStorageLensGroup DeleteAccessGrant \
        DeleteAccessGrantsInstance DeleteAccessGrantsInstanceResourcePolicy \
        DeleteAccessGrantsLocation DeleteAccessPoint DeleteAccessPointForObjectLambda \
        DeleteAccessPointPolicy DeleteAccessPointPolicyForObjectLambda DeleteAccessPointScope \
        DeleteBucket DeleteBucketCors DeleteBucketMetadataTableConfiguration DeleteBucketPolicy \
        DeleteBucketWebsite DeleteJobTagging DeleteMultiRegionAccessPoint DeleteObject \
        DeleteObjectTagging DeleteObjectVersion DeleteObjectVersionTagging \
        DeleteStorageLensConfiguration DeleteStorageLensConfigurationTagging \
        DeleteStorageLensGroup DescribeJob DescribeMultiRegionAccessPointOperation \
        DissociateAccessGrantsIdentityCenter ForceDeleteBucket GetAccelerateConfiguration \
        GetAccessGrant GetAccessGrantsInstance GetAccessGrantsInstanceForPrefix \
        GetAccessGrantsInstanceResourcePolicy GetAccessGrantsLocation GetAccessPoint \
        GetAccessPointConfigurationForObjectLambda GetAccessPointForObjectLambda \
        GetAccessPointPolicy GetAccessPointPolicyForObjectLambda GetAccessPointPolicyStatus \
        GetAccessPointPolicyStatusForObjectLambda GetAccessPointScope GetAccountPublicAccessBlock \
        GetAnalyticsConfiguration GetBucketAbac GetBucketAcl GetBucketCORS GetBucketCors \
        GetBucketLocation GetBucketLogging GetBucketMetadataTableConfiguration \
        GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls \
        GetBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketQOS \
        GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite \
        GetDataAccess GetEncryptionConfiguration GetIntelligentTieringConfiguration \
        GetInventoryConfiguration GetJobTagging GetLifecycleConfiguration GetMetricsConfiguration \
        GetMultiRegionAccessPoint GetMultiRegionAccessPointPolicy \
        GetMultiRegionAccessPointPolicyStatus GetMultiRegionAccessPointRoutes GetObject \
        GetObjectAcl GetObjectAttributes GetObjectLegalHold GetObjectRetention GetObjectTagging \
        GetObjectTorrent GetObjectVersion GetObjectVersionAcl GetObjectVersionAttributes \
        GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent \
        GetReplicationConfiguration GetStorageLensConfiguration GetStorageLensConfigurationTagging \
        GetStorageLensDashboard GetStorageLensGroup HeadBucket InitiateReplication \
        ListAccessGrants ListAccessGrantsInstances ListAccessGrantsLocations ListAccessPoints \
        ListAccessPointsForObjectLambda ListAllMyBuckets ListBucket ListBucketMultipartUploads \
        ListBucketVersions ListCallerAccessGrants ListJobs ListMultiRegionAccessPoints \
        ListMultipartUploadParts ListStorageLensConfigurations ListStorageLensGroups \
        ListTagsForResource ListenBucketNotification ListenNotification \
        ObjectOwnerOverrideToBucketOwner PauseReplication PutAccelerateConfiguration \
        PutAccessGrantsInstanceResourcePolicy PutAccessPointConfigurationForObjectLambda \
        PutAccessPointPolicy PutAccessPointPolicyForObjectLambda PutAccessPointPublicAccessBlock \
        PutAccessPointScope PutAccountPublicAccessBlock PutAnalyticsConfiguration PutBucketAbac \
        PutBucketAcl PutBucketCORS PutBucketCors PutBucketLogging PutBucketNotification \
        PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy \
        PutBucketPublicAccessBlock PutBucketQOS PutBucketRequestPayment PutBucketTagging \
        PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration \
        PutIntelligentTieringConfiguration PutInventoryConfiguration PutJobTagging \
        PutLifecycleConfiguration PutMetricsConfiguration PutMultiRegionAccessPointPolicy \
        PutObject PutObjectAcl PutObjectFanOut PutObjectLegalHold PutObjectRetention \
        PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging PutReplicationConfiguration \
        PutStorageLensConfiguration PutStorageLensConfigurationTagging ReplicateDelete \
        ReplicateObject ReplicateTags ResetBucketReplicationState RestoreObject \
        SubmitMultiRegionAccessPointRoutes TagResource UntagResource UpdateAccessGrantsLocation \
        UpdateBucketMetadataInventoryTableConfiguration \
        UpdateBucketMetadataJournalTableConfiguration UpdateJobPriority UpdateJobStatus \
        UpdateObjectEncryption UpdateStorageLensGroup",
    ),
    (
        "iam",
        "AcceptDelegationRequest AcquireRole AddClientIDToOpenIDConnectProvider \
        AddRoleToInstanceProfile AddUserToGroup AssociateDelegationRequest AttachGroupPolicy \
        AttachRolePolicy AttachUserOrGroupPolicy AttachUserPolicy ChangePassword CreateAccessKey \
        CreateAccountAlias CreateDelegationRequest CreateGroup CreateInstanceProfile \
        CreateLoginProfile CreateOpenIDConnectProvider CreatePolicy CreatePolicyVersion CreateRole \
        CreateSAMLProvider CreateServiceLinkedRole CreateServiceSpecificCredential CreateUser \
        CreateVirtualMFADevice DeactivateMFADevice DeleteAccessKey DeleteAccountAlias \
        DeleteAccountPasswordPolicy DeleteCloudFrontPublicKey DeleteGroup DeleteGroupPolicy \
        DeleteInstanceProfile DeleteLoginProfile DeleteOpenIDConnectProvider DeletePolicy \
        DeletePolicyVersion DeleteRole DeleteRolePermissionsBoundary DeleteRolePolicy \
        DeleteSAMLProvider DeleteSSHPublicKey DeleteServerCertificate DeleteServiceLinkedRole \
        DeleteServiceSpecificCredential DeleteSigningCertificate DeleteUser \
        DeleteUserPermissionsBoundary DeleteUserPolicy DeleteVirtualMFADevice DetachGroupPolicy \
        DetachRolePolicy DetachUserPolicy DisableGroup \
        DisableOrganizationsRootCredentialsManagement DisableOrganizationsRootSessions \
        DisableOutboundWebIdentityFederation DisableUser EnableGroup EnableMFADevice \
        EnableOrganizationsRootCredentialsManagement EnableOrganizationsRootSessions \
        EnableOutboundWebIdentityFederation EnableUser GenerateCredentialReport \
        GenerateOrganizationsAccessReport GenerateServiceLastAccessedDetails GetAccessKeyLastUsed \
        GetAccountAuthorizationDetails GetAccountEmailAddress GetAccountName \
        GetAccountPasswordPolicy GetAccountProperties GetAccountSummary GetCloudFrontPublicKey \
        GetContextKeysForCustomPolicy GetContextKeysForPrincipalPolicy GetCredentialReport \
        GetDelegationRequest GetGroup GetGroupPolicy GetHumanReadableSummary GetInstanceProfile \
        GetLoginProfile GetMFADevice GetOpenIDConnectProvider GetOrganizationsAccessReport \
        GetOutboundWebIdentityFederationInfo GetPolicy GetPolicyVersion GetRole GetRolePolicy \
        GetRoleTemplateVersion GetSAMLProvider GetSSHPublicKey GetServerCertificate \
        GetServiceLastAccessedDetails GetServiceLastAccessedDetailsWithEntities \
        GetServiceLinkedRoleDeletionStatus GetUser GetUserPolicy ListAccessKeys ListAccountAliases \
        ListAttachedGroupPolicies ListAttachedRolePolicies ListAttachedUserPolicies \
        ListCloudFrontPublicKeys ListDelegationRequests ListEntitiesForPolicy ListGroupPolicies \
        ListGroups ListGroupsForUser ListInstanceProfileTags ListInstanceProfiles \
        ListInstanceProfilesForRole ListMFADeviceTags ListMFADevices ListOpenIDConnectProviderTags \
        ListOpenIDConnectProviders ListOrganizationsFeatures ListPolicies \
        ListPoliciesGrantingServiceAccess ListPolicyTags ListPolicyVersions ListRolePolicies \
        ListRoleTags ListRoles ListSAMLProviderTags ListSAMLProviders ListSSHPublicKeys \
        ListSTSRegionalEndpointsStatus ListServerCertificateTags ListServerCertificates \
        ListServiceSpecificCredentials ListSigningCertificates ListUserPolicies ListUserTags \
        ListUsers ListVirtualMFADevices PassRole PutAccountProperties PutGroupPolicy \
        PutRolePermissionsBoundary PutRolePolicy PutUserPermissionsBoundary PutUserPolicy \
        RejectDelegationRequest RemoveClientIDFromOpenIDConnectProvider \
        RemoveRoleFromInstanceProfile RemoveUserFromGroup ResetServiceSpecificCredential \
        ResyncMFADevice RevokeSessions SendDelegationToken SetDefaultPolicyVersion \
        SetSTSRegionalEndpointStatus SetSecurityTokenServicePreferences SimulateCustomPolicy \
        SimulatePrincipalPolicy TagInstanceProfile TagMFADevice TagOpenIDConnectProvider TagPolicy \
        TagRole TagSAMLProvider TagServerCertificate TagUser UntagInstanceProfile UntagMFADevice \
        UntagOpenIDConnectProvider UntagPolicy UntagRole UntagSAMLProvider UntagServerCertificate \
        UntagUser UpdateAccessKey UpdateAccountEmailAddress UpdateAccountName \
        UpdateAccountPasswordPolicy UpdateAssumeRolePolicy UpdateCloudFrontPublicKey \
        UpdateDelegationRequest UpdateGroup UpdateLoginProfile \
        UpdateOpenIDConnectProviderThumbprint UpdateRole UpdateRoleDescription UpdateSAMLProvider \
        UpdateSSHPublicKey UpdateServerCertificate UpdateServiceSpecificCredential \
        UpdateSigningCertificate UpdateUser UploadCloudFrontPublicKey UploadSSHPublicKey \
        UploadServerCertificate UploadSigningCertificate",
    ),
    (
        "sts",
        "AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot \
        DecodeAuthorizationMessage GetAccessKeyInfo GetCallerIdentity GetDelegatedAccessToken \
        GetFederationToken GetServiceBearerToken GetSessionToken GetWebIdentityToken SetContext \
        SetSourceIdentity TagGetWebIdentityToken TagSession",
    ),
    (
        "kms",
        "API AssignPolicy AuditLog CancelKeyDeletion ConnectCustomKeyStore CreateAlias \
        CreateCustomKeyStore CreateGrant CreateKey Decrypt DeleteAlias DeleteCustomKeyStore \
        DeleteIdentity DeleteImportedKeyMaterial DeleteKey DeletePolicy DeriveSharedSecret \
        DescribeCustomKeyStores DescribeIdentity DescribeKey DescribePolicy DescribeSelfIdentity \
        DisableKey DisableKeyRotation DisconnectCustomKeyStore Enable EnableKey EnableKeyRotation \
        Encrypt ErrorLog GenerateDataKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext \
        GenerateDataKeyWithoutPlaintext GenerateMac GenerateRandom GetKeyLastUsage GetKeyPolicy \
        GetKeyRotationStatus GetParametersForImport GetPolicy GetPublicKey ImportKey \
        ImportKeyMaterial KeyRotate KeyStatus ListAliases ListGrants ListIdentities \
        ListKeyPolicies ListKeyRotations ListKeys ListPolicies ListResourceTags \
        ListRetirableGrants Metrics PutKeyPolicy ReEncrypt ReEncryptFrom ReEncryptTo ReplicateKey \
        RetireGrant RevokeGrant RotateKey RotateKeyOnDemand ScheduleKeyDeletion SetPolicy Sign \
        Status SynchronizeMultiRegionKey TagResource UntagResource UpdateAlias \
        UpdateCustomKeyStore UpdateKeyDescription UpdatePrimaryRegion Verify VerifyMac Version",
    ),
    (
        "admin",
        "AddUserToGroup AttachGroupPolicy AttachRolePolicy AttachUserOrGroupPolicy AttachUserPolicy \
        BandwidthMonitor CancelBatchJob ClusterInfo ConfigUpdate ConsoleLog CreateAccessKey \
        CreateAccount CreateGroup CreatePolicy CreatePolicyVersion CreateRole CreateServiceAccount \
        CreateUser DataUsageInfo Decommission DeleteAccessKey DeleteGroup DeleteGroupPolicy \
        DeleteLoginProfile DeletePolicy DeletePolicyVersion DeleteRole \
        DeleteRolePermissionsBoundary DeleteRolePolicy DeleteUser DeleteUserPermissionsBoundary \
        DeleteUserPolicy DeltaSharing DeltaSharingCreateShare DeltaSharingCreateToken \
        DeltaSharingDeleteShare DeltaSharingDeleteToken DeltaSharingGetShare \
        DeltaSharingListShares DeltaSharingListTokens DeltaSharingUpdateShare DescribeBatchJob \
        DetachGroupPolicy DetachRolePolicy DetachUserPolicy DisableGroup DisableUser DriveInfo \
        DriveList EnableGroup EnableUser Explain ExportBucketMetadata ExportIAM ForceUnlock \
        GenerateBatchJob GetAccessKeyLastUsed GetBucketQuota GetBucketTarget GetGroup \
        GetGroupPolicy GetLoginProfile GetPolicy GetPolicyVersion GetRole GetRolePolicy GetUser \
        GetUserPolicy Heal ImportBucketMetadata ImportIAM InspectData InventoryControl \
        KMSCreateAlias KMSCreateKey KMSDeleteAlias KMSDisableKey KMSEnableKey KMSKeyStatus \
        KMSListKeys KMSRotateKey KMSStatus KMSVersion LicenseInfo ListAccessKeys \
        ListAccountAliases ListAccounts ListAttachedGroupPolicies ListAttachedRolePolicies \
        ListAttachedUserPolicies ListBatchJobs ListEntitiesForPolicy ListGroupPolicies ListGroups \
        ListGroupsForUser ListInstanceProfilesForRole ListMFADevices ListPolicies ListPolicyTags \
        ListPolicyVersions ListRolePolicies ListRoleTags ListRoles ListSSHPublicKeys \
        ListServiceAccounts ListServiceSpecificCredentials ListSigningCertificates \
        ListTemporaryAccounts ListTier ListUserPolicies ListUserTags ListUsers \
        ListVirtualMFADevices NodeInfo NodeList OBDInfo PoolInfo PoolList Profiling Prometheus \
        PutGroupPolicy PutRolePermissionsBoundary PutRolePolicy PutUserPermissionsBoundary \
        PutUserPolicy Rebalance RemoveServiceAccount RemoveUserFromGroup ReplicationDiff \
        RevokeSessions RotateSigningKey ServerInfo ServerTrace ServerUpdate ServiceCordon \
        ServiceFreeze ServiceRestart ServiceStop SetBucketQuota SetBucketTarget \
        SetDefaultPolicyVersion SetInfo SetTier SiteReplicationAdd SiteReplicationDisable \
        SiteReplicationInfo SiteReplicationOperation SiteReplicationRemove SiteReplicationResync \
        StartBatchJob StorageInfo TagPolicy TagRole TagUser TopLocksInfo UntagPolicy UntagRole \
        UntagUser UpdateAccessKey UpdateAssumeRolePolicy UpdateGroup UpdatePolicyAssociation \
        UpdateRole UpdateRoleDescription UpdateServiceAccount UpdateUser",
    ),
];

/// Whether there is no action that a name or a pattern stands for, of a service that is here.
pub(crate) fn is_unknown(text: &str) -> bool {
    let Some((service, _)) = text.split_once(':') else { return false };
    if service.contains(['*', '?']) {
        return false;
    }
    let Some((service, names)) =
        SERVICES.iter().find(|(name, _)| service.eq_ignore_ascii_case(name))
    else {
        return false;
    };
    let pattern = Pattern::of(text);
    !names.split(' ').any(|name| pattern.matches_ignoring_case(&format!("{service}:{name}")))
}

/// Actions of S3.
pub(crate) fn of_s3() -> impl Iterator<Item = &'static str> {
    SERVICES[0].1.split(' ')
}

/// Whether a name is that of an action of a service that is here.
#[must_use]
pub fn is_known_action(name: &str) -> bool {
    let service =
        |known: &&(&str, &str)| name.split_once(':').is_some_and(|(service, _)| service == known.0);
    SERVICES.iter().any(|known| service(&known)) && !is_unknown(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, DocumentKind};

    #[test]
    fn names_and_patterns_of_services_that_are_here_stand_for_something() {
        let known = [
            "s3:GetObject",
            "S3:getobject",
            "s3:*",
            "s3:Get*",
            "s3:?etObject",
            "*",
            "iam:PassRole",
            "kms:ReEncrypt*",
            "sts:TagSession",
            "admin:*",
            "admin:ServerInfo",
            "*:*",
            "s?:Nope",
            "ec2:RunInstances",
            "ec2:Nope",
            "s3express:CreateSession",
        ];
        for text in known {
            assert!(!is_unknown(text), "{text}");
        }
        let unknown = [
            "s3:GetObjet",
            "iam:Nope",
            "kms:Decrpyt",
            "sts:AssumeRol",
            "admin:Nope",
            "s3:GetObjet*",
            "s3:Ge?",
        ];
        for text in unknown {
            assert!(is_unknown(text), "{text}");
        }
    }

    /// Goal: a document that an older version stored is read, and acts.
    #[test]
    fn what_was_stored_before_is_read() {
        let of = |action: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Deny","Resource":"*",
                "Action":["s3:GetObject","{action}"]}}}}"#
            )
        };
        for action in ["s3:GetObjet", "iam:Nope", "admin:Nope*"] {
            let text = of(action);
            assert!(Document::parse(&text, DocumentKind::Identity).is_ok(), "{action}");
            let refused = Document::parse_new(&text).expect_err("it is new").to_string();
            assert!(refused.ends_with(action), "{refused}");
        }
        assert!(Document::parse_new(&of("ec2:Nope")).is_ok());
    }

    #[test]
    fn each_name_is_there_once() {
        for (service, names) in SERVICES {
            let mut names: Vec<_> = names.split(' ').collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{service}");
            assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphanumeric())));
        }
    }
}
