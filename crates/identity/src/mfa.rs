//! Second factors of owners of accounts: codes by time (RFC 6238 over RFC 4226, SHA-1, 6 digits, 30
//! seconds), for MFA Delete.
//!
//! A code counts once. After five wrong ones none counts for a minute, and for longer after more.

use crate::arn::mfa_serial;
use crate::directory::{Directory, Scope};
use crate::entity::{Entity, Unknown};
use crate::error::IdentityError;
use crate::rows;
use drystone_base::Timestamp;
use drystone_catalog::Tx;
use drystone_keyring::Secret;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Seconds that a code is shown.
const STEP_S: u64 = 30;
/// Bytes of a secret.
const SECRET_LEN: usize = 20;
/// Wrong codes in a row that stay without consequence.
const FAILURE_COUNT_MAX: u32 = 5;
/// How long no code counts after one wrong one too many, in milliseconds; doubled by each further one.
const LOCKED_MS: u64 = 60_000;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The device of the owner of an account.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct MfaDevice {
    sealed_secret: String,
    created_ms: u64,
    /// Whether a code of it was seen: before, it counts for nothing.
    is_confirmed: bool,
    /// The last step whose code was used.
    last_step: u64,
    #[serde(flatten)]
    guesses: Guesses,
    /// Wrong codes of those who are not the owner: they must not keep the owner out.
    #[serde(default)]
    guesses_of_others: Guesses,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Wrong codes in a row, and what they lead to.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Guesses {
    failures: u32,
    locked_until_ms: u64,
}

/// Who gives a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeOf {
    /// The owner of the account, whose device it is.
    Owner,
    /// Another, who may do what the code is asked for.
    Other,
}

impl Entity for MfaDevice {
    const KIND: u8 = 11;
    const NAME: &'static str = "MFA device";
}

/// A device as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MfaInfo {
    /// Serial number, as `x-amz-mfa` names it.
    pub serial: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// Whether its codes count.
    pub is_confirmed: bool,
}

/// What became of a code.
enum Verdict {
    Right,
    Wrong,
    /// It is that of a step whose code was used; counted as a wrong one.
    Used,
    /// The device counts for nothing before a code of it was confirmed.
    Unconfirmed,
    /// None counts until then, in milliseconds since 1970.
    Locked(u64),
}

/// The caller has proved who it is, and may do what the code is for: the limit says nothing that it must not
/// know. A wrong serial number gets the same text.
const WRONG: &str = "The MFA code is not valid. After 5 wrong ones in a row none is accepted for a \
                     minute, which each further one doubles.";

/// There is no device.
const MISSING: &str = "The owner of the account has no second factor: its server's operator makes one \
                       with `drystone mfa enroll`.";
/// There is one, without effect yet.
const UNCONFIRMED: &str =
    "The second factor is not switched on: run `drystone mfa confirm CODE` with a code of it.";
/// A code counts once.
const USED: &str = "This MFA code was used already: wait for the next one.";

fn seal_context(account: &str) -> String {
    format!("identity/mfa/{account}")
}

/// The code of a step.
fn code_of(secret: &[u8], step: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest[19] & 0x0F);
    let word = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
    format!("{:06}", (word & 0x7FFF_FFFF) % 1_000_000)
}

fn base32(bytes: &[u8]) -> String {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let letter = |five: &[u8]| five.iter().fold(0, |n, bit| n << 1 | usize::from(*bit));
    bits.chunks(5).map(|five| char::from(BASE32[letter(five) << (5 - five.len())])).collect()
}

impl MfaDevice {
    /// Looks at a code; a right one is used up, a wrong one counted.
    fn try_code(&mut self, secret: &[u8], code: &str, by: CodeOf, now_ms: u64) -> Verdict {
        let guesses = match by {
            CodeOf::Owner => &mut self.guesses,
            CodeOf::Other => &mut self.guesses_of_others,
        };
        if now_ms < guesses.locked_until_ms {
            return Verdict::Locked(guesses.locked_until_ms);
        }
        let now = now_ms / 1000 / STEP_S;
        // Clocks of people and servers differ by a step.
        let steps = now.saturating_sub(1)..=now + 1;
        let is = |step: &u64| bool::from(code_of(secret, *step).as_bytes().ct_eq(code.as_bytes()));
        match steps.filter(|step| *step > self.last_step).find(is) {
            Some(step) => {
                (self.last_step, *guesses) = (step, Guesses::default());
                Verdict::Right
            }
            None => {
                guesses.failures = guesses.failures.saturating_add(1);
                if let Some(more) = guesses.failures.checked_sub(FAILURE_COUNT_MAX) {
                    guesses.locked_until_ms = now_ms + (LOCKED_MS << more.min(10));
                }
                let mut used = now.saturating_sub(1)..=now + 1;
                let was_used = used.any(|step| step <= self.last_step && is(&step));
                if was_used { Verdict::Used } else { Verdict::Wrong }
            }
        }
    }
}

impl Directory {
    /// The device of an account's owner, if there is one.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the catalog failed.
    pub fn mfa_device(&self, account: &str) -> Result<Option<MfaInfo>, IdentityError> {
        let device: Option<MfaDevice> = rows::get(&self.shared.catalog, &[account])?;
        Ok(device.map(|device| MfaInfo {
            serial: mfa_serial(account),
            created_ms: device.created_ms,
            is_confirmed: device.is_confirmed,
        }))
    }

    /// Makes a device for an account's owner; its secret, in base32, is shown this once. It counts when
    /// its first code was confirmed.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`] if there is one that counts, or the catalog failed.
    pub async fn enroll_mfa(&self, account: &str) -> Result<Secret, IdentityError> {
        let mut secret = [0; SECRET_LEN];
        self.shared.rng.fill(&mut secret);
        let sealed_secret =
            self.shared.keyring.seal(&*self.shared.rng, &seal_context(account), &secret);
        let device = MfaDevice {
            sealed_secret,
            created_ms: self.now_ms(),
            is_confirmed: false,
            last_step: 0,
            guesses: Guesses::default(),
            guesses_of_others: Guesses::default(),
            unknown: Unknown::new(),
        };
        let account = account.to_owned();
        self.commit(Scope::of(&account), move |tx| {
            if let Some(Some(old)) = rows::find::<MfaDevice>(tx, &[&account]).ok()
                && old.is_confirmed
            {
                let name = mfa_serial(&account);
                return Err(IdentityError::Exists { kind: MfaDevice::NAME, name });
            }
            rows::save(tx, &[&account], &device)
        })
        .await?;
        Ok(Secret::new(base32(&secret)))
    }

    /// Lets a device count, by its first code.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Forbidden`] for a wrong code, [`IdentityError::NotFound`], or the catalog failed.
    pub async fn confirm_mfa(&self, account: &str, code: &str) -> Result<(), IdentityError> {
        self.use_code(account, code, CodeOf::Owner, true).await
    }

    /// Takes a device away.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub async fn remove_mfa(&self, account: &str) -> Result<(), IdentityError> {
        let account = account.to_owned();
        self.commit(Scope::of(&account), move |tx| {
            rows::load_readable::<MfaDevice>(tx, &[&account])?;
            rows::remove::<MfaDevice>(tx, &[&account])
        })
        .await
    }

    /// Uses up what `x-amz-mfa` says: the serial number of the device of an account's owner, and a code.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Forbidden`] for a code that does not count, or the catalog failed.
    pub async fn check_mfa(
        &self,
        account: &str,
        header: &str,
        by: CodeOf,
    ) -> Result<(), IdentityError> {
        let refused = || IdentityError::Forbidden(WRONG.to_owned());
        let (serial, code) = header.trim().rsplit_once(' ').ok_or_else(refused)?;
        if serial.trim() != mfa_serial(account) {
            return Err(refused());
        }
        match self.use_code(account, code, by, false).await {
            Err(IdentityError::NotFound { .. }) => {
                Err(IdentityError::Forbidden(MISSING.to_owned()))
            }
            outcome => outcome,
        }
    }

    async fn use_code(
        &self,
        account: &str,
        code: &str,
        by: CodeOf,
        confirms: bool,
    ) -> Result<(), IdentityError> {
        let device: Option<MfaDevice> = rows::get(&self.shared.catalog, &[account])?;
        let name = mfa_serial(account);
        let missing = || IdentityError::NotFound { kind: MfaDevice::NAME, name: name.clone() };
        let sealed = device.ok_or_else(missing)?.sealed_secret;
        let secret = self.shared.keyring.open(&seal_context(account), &sealed)?;
        let (account, code, now_ms) = (account.to_owned(), code.to_owned(), self.now_ms());
        // A wrong code is counted: the transaction happens either way.
        let verdict = self.commit(Scope::of(&account), move |tx: &mut Tx<'_>| {
            let parts = [account.as_str()];
            rows::change(tx, &parts, |device: &mut MfaDevice| {
                if device.sealed_secret != sealed {
                    return Ok(Verdict::Wrong);
                }
                if !(device.is_confirmed || confirms) {
                    return Ok(Verdict::Unconfirmed);
                }
                let verdict = device.try_code(&secret, &code, by, now_ms);
                device.is_confirmed |= matches!(verdict, Verdict::Right);
                Ok(verdict)
            })
        });
        let refused = |message: String| Err(IdentityError::Forbidden(message));
        match verdict.await? {
            Verdict::Right => Ok(()),
            Verdict::Wrong => refused(WRONG.to_owned()),
            Verdict::Used => refused(USED.to_owned()),
            Verdict::Unconfirmed => refused(UNCONFIRMED.to_owned()),
            Verdict::Locked(until_ms) => {
                let until = Timestamp(until_ms).to_iso();
                refused(format!(
                    "There were too many wrong MFA codes: none is accepted until {until}. Try again then."
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> MfaDevice {
        MfaDevice {
            sealed_secret: String::new(),
            created_ms: 0,
            is_confirmed: true,
            last_step: 0,
            guesses: Guesses::default(),
            guesses_of_others: Guesses::default(),
            unknown: Unknown::new(),
        }
    }

    /// Vectors of RFC 6238, appendix B (their last six digits), and of RFC 4648 for base32.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_of(secret, time / STEP_S), code);
        }
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(base32(b"foob"), "MZXW6YQ");
    }

    #[test]
    fn a_code_counts_once_and_guessing_is_stopped() {
        let (secret, mut device, now) = (b"12345678901234567890", device(), 1_234_567_890_000);
        let code = code_of(secret, now / 1000 / STEP_S);
        assert!(matches!(device.try_code(secret, &code, CodeOf::Owner, now), Verdict::Right));
        assert!(
            matches!(device.try_code(secret, &code, CodeOf::Owner, now), Verdict::Used),
            "used up"
        );
        for _ in 0..4 {
            assert!(matches!(
                device.try_code(secret, "000000", CodeOf::Owner, now),
                Verdict::Wrong
            ));
        }
        let next = code_of(secret, now / 1000 / STEP_S + 1);
        assert!(matches!(device.try_code(secret, &next, CodeOf::Owner, now), Verdict::Locked(_)));
        let later = now + LOCKED_MS;
        let code = code_of(secret, later / 1000 / STEP_S);
        assert!(matches!(device.try_code(secret, &code, CodeOf::Owner, later), Verdict::Right));
    }

    #[test]
    fn wrong_codes_of_others_do_not_keep_the_owner_out() {
        let (secret, mut device, now) = (b"12345678901234567890", device(), 1_234_567_890_000);
        for _ in 0..50 {
            device.try_code(secret, "000000", CodeOf::Other, now);
        }
        let code = code_of(secret, now / 1000 / STEP_S);
        let mut tries = |by| device.try_code(secret, &code, by, now);
        assert!(matches!(tries(CodeOf::Other), Verdict::Locked(_)));
        assert!(matches!(tries(CodeOf::Owner), Verdict::Right));
    }

    #[test]
    fn devices_of_older_stores_keep_their_counts() {
        let row = r#"{"sealed_secret":"s","created_ms":1,"is_confirmed":true,"last_step":7,
                      "failures":6,"locked_until_ms":9,"later":1}"#;
        let device: MfaDevice = serde_json::from_str(row).expect("a row");
        assert_eq!((device.guesses.failures, device.guesses.locked_until_ms), (6, 9));
        assert_eq!((device.guesses_of_others.failures, device.last_step), (0, 7));
        let text = serde_json::to_string(&device).expect("text");
        assert!(text.contains(r#""failures":6"#) && text.contains(r#""later":1"#), "{text}");
    }
}
