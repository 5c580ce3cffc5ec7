//! Sealing and opening for clients.

use super::error::ApiError;
use super::{Answer, Call, Context};
use crate::rights::Right;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_kms::PLAIN_LEN_MAX;
use serde_json::{Value, json};

/// Bytes of what was sealed.
const SEALED_LEN_MAX: usize = 6144;
const ALGORITHM: &str = "SYMMETRIC_DEFAULT";

pub(super) async fn run(call: &Call<'_>, operation: &str) -> Option<Answer> {
    Some(match operation {
        "Encrypt" => encrypt(call).await,
        "Decrypt" => decrypt(call).await,
        "ReEncrypt" => reencrypt(call).await,
        "GenerateDataKey" => generate_data_key(call, true).await,
        "GenerateDataKeyWithoutPlaintext" => generate_data_key(call, false).await,
        "GenerateRandom" => generate_random(call),
        _ => return None,
    })
}

/// The key that the call names, for an encryption context.
fn key_for(call: &Call<'_>, right: Right, context: &Context) -> Result<String, ApiError> {
    let id = call.named()?;
    // Grants act as soon as they are made: a token adds nothing.
    call.fields.texts("GrantTokens")?;
    call.require(right, &id, context)?;
    Ok(id)
}

async fn encrypt(call: &Call<'_>) -> Answer {
    let context = call.fields.context("EncryptionContext")?;
    let id = key_for(call, call.right, &context)?;
    call.fields.only("EncryptionAlgorithm", &[ALGORITHM])?;
    let plain = call.fields.bytes("Plaintext", PLAIN_LEN_MAX)?;
    let sealed = call.changes()?.seal_blob(&id, &context, &plain).await?;
    Ok(json!({
        "CiphertextBlob": STANDARD.encode(sealed), "KeyId": call.kms.arn(&id),
        "EncryptionAlgorithm": ALGORITHM,
    }))
}

/// What was sealed, and the key that it names, which must be the one of a field if that is given.
fn sealed(call: &Call<'_>, field: &str) -> Result<(Vec<u8>, String), ApiError> {
    let blob = call.fields.bytes("CiphertextBlob", SEALED_LEN_MAX)?;
    let invalid = || ApiError::new("InvalidCiphertextException", "");
    let id = call.kms.key_of_blob(&blob).ok_or_else(invalid)?;
    if let Some(text) = call.fields.text(field)?
        && call.resolve(&text)? != id
    {
        let message = "The key ID in the request does not identify a CMK that can perform this \
                       operation.";
        return Err(ApiError::new("IncorrectKeyException", message));
    }
    Ok((blob, id))
}

async fn decrypt(call: &Call<'_>) -> Answer {
    let context = call.fields.context("EncryptionContext")?;
    let (blob, id) = sealed(call, "KeyId")?;
    call.fields.texts("GrantTokens")?;
    call.fields.only("EncryptionAlgorithm", &[ALGORITHM])?;
    call.require(call.right, &id, &context)?;
    let plain = call.changes()?.open_blob(&context, &blob).await?;
    Ok(json!({
        "KeyId": call.kms.arn(&id), "Plaintext": plain.reveal(),
        "EncryptionAlgorithm": ALGORITHM,
    }))
}

async fn reencrypt(call: &Call<'_>) -> Answer {
    let from = call.fields.context("SourceEncryptionContext")?;
    let to = call.fields.context("DestinationEncryptionContext")?;
    let (blob, source) = sealed(call, "SourceKeyId")?;
    let target = call.resolve(&call.fields.need("DestinationKeyId")?)?;
    call.fields.texts("GrantTokens")?;
    call.fields.only("SourceEncryptionAlgorithm", &[ALGORITHM])?;
    call.fields.only("DestinationEncryptionAlgorithm", &[ALGORITHM])?;
    call.require(Right::KmsReEncryptFrom, &source, &from)?;
    call.require(Right::KmsReEncryptTo, &target, &to)?;
    let kms = call.changes()?;
    let plain = kms.open_blob(&from, &blob).await?;
    let plain = STANDARD.decode(plain.reveal()).unwrap_or_default();
    let sealed = kms.seal_blob(&target, &to, &plain).await?;
    Ok(json!({
        "CiphertextBlob": STANDARD.encode(sealed), "SourceKeyId": kms.arn(&source),
        "KeyId": kms.arn(&target), "SourceEncryptionAlgorithm": ALGORITHM,
        "DestinationEncryptionAlgorithm": ALGORITHM,
    }))
}

async fn generate_data_key(call: &Call<'_>, shows_plain: bool) -> Answer {
    let context = call.fields.context("EncryptionContext")?;
    let id = key_for(call, call.right, &context)?;
    let len = match (call.fields.text("KeySpec")?.as_deref(), call.fields.number("NumberOfBytes")?)
    {
        (Some("AES_256"), None) => 32,
        (Some("AES_128"), None) => 16,
        (None, Some(len @ 1..=1024)) => len as usize,
        _ => {
            let message = "Please specify either number of bytes, from 1 to 1024, or key spec, \
                           AES_256 or AES_128.";
            return Err(ApiError::validation(message));
        }
    };
    let kms = call.changes()?;
    let plain = kms.random(len);
    let sealed = kms.seal_blob(&id, &context, &plain).await?;
    let mut answer = json!({ "CiphertextBlob": STANDARD.encode(sealed), "KeyId": kms.arn(&id) });
    if shows_plain {
        answer["Plaintext"] = json!(STANDARD.encode(plain));
    }
    Ok(answer)
}

fn generate_random(call: &Call<'_>) -> Answer {
    call.require_on(call.right, "key/", "*")?;
    match call.fields.number("NumberOfBytes")? {
        Some(len @ 1..=1024) => {
            let bytes = call.changes()?.random(len as usize);
            Ok::<Value, _>(json!({ "Plaintext": STANDARD.encode(bytes) }))
        }
        _ => Err(ApiError::validation("NumberOfBytes must be from 1 to 1024.")),
    }
}
