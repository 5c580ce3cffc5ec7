//! Operations of AWS KMS that are not there: they are refused before any effect, in the words of KMS.

use super::error::ApiError;

/// Why an operation is refused that no row of rights names.
pub(super) fn refusal(operation: &str) -> ApiError {
    if NAMES.binary_search(&operation).is_ok() {
        let message = format!("The operation {operation} is not implemented.");
        return ApiError::new("UnsupportedOperationException", message);
    }
    ApiError::new("UnknownOperationException", "")
}

/// Sorted.
const NAMES: &[&str] = &[
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "DeleteCustomKeyStore",
    "DeleteImportedKeyMaterial",
    "DeriveSharedSecret",
    "DescribeCustomKeyStores",
    "DisconnectCustomKeyStore",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "GetKeyLastUsage",
    "GetParametersForImport",
    "GetPublicKey",
    "ImportKeyMaterial",
    "ReplicateKey",
    "Sign",
    "UpdateCustomKeyStore",
    "UpdatePrimaryRegion",
    "Verify",
    "VerifyMac",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Right;

    #[test]
    fn what_is_there_is_not_named() {
        assert!(NAMES.is_sorted());
        assert!(NAMES.iter().all(|name| Right::of_kms(name).is_none()));
    }
}
