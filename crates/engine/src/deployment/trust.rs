//! Which drives are believed when they say who holds the catalog.
//!
//! # Invariants
//!
//! - Once all drives of a deployment have seals, which the keyring notes, one without a seal that holds is
//!   not used at all.
//! - Once more than half of them have, no other one is believed: whatever counts is on more than half. A
//!   drive that was missing while the others got their seals is used for its shards, and gets a seal.

use drystone_drive::Super;
use drystone_keyring::{Keyring, KeyringError, SealVerdict, key_of_seal};

/// What came of looking at a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// What it says counts.
    Believed,
    /// Its shards may be read; who holds the catalog, the others say.
    ShardsOnly,
    /// It is not used.
    Refused,
}

/// An identity, and what its seal says.
pub(super) type Said = (Super, Option<SealVerdict>);

/// Whether a drive was sealed by this deployment.
pub(super) fn holds((_, verdict): &Said) -> bool {
    *verdict == Some(SealVerdict::Holds)
}

/// What comes of each drive. `accepts_lost`: seals under a key that the keyring does not have are as good as
/// none were before there were any.
pub(super) fn judge(said: &[Said], keyring: Option<&Keyring>, accepts_lost: bool) -> Vec<Trust> {
    // A tool without a keyring changes nothing; a start without one is refused where there are seals.
    let Some(keyring) = keyring else { return vec![Trust::Believed; said.len()] };
    let sealed: Vec<&Super> =
        said.iter().filter(|said| holds(said)).map(|(said, _)| said).collect();
    let newest = sealed.iter().max_by_key(|identity| identity.view_term);
    let is_most = newest.is_some_and(|newest| 2 * sealed.len() > newest.roster.len().max(1));
    let highest = sealed.iter().map(|identity| identity.term).max().unwrap_or(0);
    let one = |(identity, verdict): &Said| {
        let is_noted = keyring.has_sealed_drives(&identity.deployment)
            || newest.is_some_and(|newest| keyring.has_sealed_drives(&newest.deployment));
        match verdict {
            Some(SealVerdict::Holds) => Trust::Believed,
            Some(SealVerdict::UnknownKey) if accepts_lost && !is_most => Trust::Believed,
            Some(SealVerdict::Broken | SealVerdict::UnknownKey) => Trust::Refused,
            None if is_noted => Trust::Refused,
            None if !is_most => Trust::Believed,
            None if identity.term > highest => Trust::Refused,
            None => Trust::ShardsOnly,
        }
    };
    said.iter().map(one).collect()
}

/// The key that all seals of drives are under, if none of them is under one of the keyring.
pub(super) fn unknown_key(said: &[Said]) -> Option<KeyringError> {
    let key = said.iter().find_map(|(identity, verdict)| {
        let is_unknown = *verdict == Some(SealVerdict::UnknownKey);
        identity.seal.filter(|_| is_unknown)
    })?;
    let id = drystone_base::hex(key_of_seal(&key).unwrap_or_default());
    (!said.iter().any(holds)).then_some(KeyringError::UnknownKey(id))
}

/// Two drives of different deployments, one of which may be sealed under another keyring: those were started
/// together by mistake.
pub(super) fn mixed(said: &[Said], trust: &[Trust]) -> Option<(usize, usize)> {
    let is_other = |(_, verdict): &Said| *verdict == Some(SealVerdict::UnknownKey);
    let mut counted = (0..said.len())
        .filter(|number| trust[*number] != Trust::Refused || is_other(&said[*number]));
    let first = counted.next()?;
    let other = counted.find(|other| said[*other].0.deployment != said[first].0.deployment)?;
    Some((first, other))
}

/// What is left of an identity that is not believed.
pub(super) fn shards_only(identity: &mut Super) {
    (identity.view_term, identity.promised) = (0, 0);
    identity.view.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::SeededRng;

    const IDS: [[u8; 16]; 6] = [[1; 16], [2; 16], [3; 16], [4; 16], [5; 16], [6; 16]];

    fn said(number: usize, verdict: Option<SealVerdict>) -> Said {
        let identity = Super {
            sequence: 2,
            deployment: [9; 16],
            drive: IDS[number],
            term: 3,
            segment_len: 4096,
            created_ms: 0,
            view: IDS[..3].to_vec(),
            view_term: 4,
            roster: IDS.to_vec(),
            promised: 4,
            seals_rows: true,
            seal: verdict.map(|_| [7; 24]),
        };
        (identity, verdict)
    }

    /// Goal: a drive whose seal does not hold is believed only while nothing says that all have one. Method:
    /// every number of sealed drives of six, with and without the note, and every verdict of the last one.
    #[test]
    fn who_is_believed() {
        use SealVerdict::{Broken, Holds, UnknownKey};
        for is_noted in [false, true] {
            let keyring = Keyring::generate(&SeededRng::new(1), "");
            if is_noted {
                keyring.note_sealed_drives(&[9; 16]);
            }
            for sealed in 0..6 {
                let of = |last| {
                    let verdict = |number| if number < sealed { Some(Holds) } else { last };
                    let all: Vec<Said> = (0..6).map(|n| said(n, verdict(n))).collect();
                    let trust =
                        |accepts| *judge(&all, Some(&keyring), accepts).last().expect("six");
                    (trust(false), trust(true))
                };
                let unsealed = match (is_noted, sealed > 3) {
                    (true, _) => Trust::Refused,
                    (false, true) => Trust::ShardsOnly,
                    (false, false) => Trust::Believed,
                };
                assert_eq!(of(None), (unsealed, unsealed), "{is_noted} {sealed}");
                assert_eq!(of(Some(Broken)), (Trust::Refused, Trust::Refused));
                let lost = if sealed > 3 { Trust::Refused } else { Trust::Believed };
                assert_eq!(of(Some(UnknownKey)), (Trust::Refused, lost));
            }
            let all = [said(0, Some(Holds)), said(1, None)];
            assert!(judge(&all, None, false).iter().all(|trust| *trust == Trust::Believed));
        }
    }

    #[test]
    fn another_deployment_id_does_not_make_a_drive_one_of_before() {
        let keyring = Keyring::generate(&SeededRng::new(1), "");
        keyring.note_sealed_drives(&[9; 16]);
        let mut other = said(5, None);
        other.0.deployment = [8; 16];
        let all = [said(0, Some(SealVerdict::Holds)), other];
        let trust = judge(&all, Some(&keyring), false);
        assert_eq!(trust, [Trust::Believed, Trust::Refused]);
        assert_eq!(mixed(&all, &trust), None);
        // One that another keyring sealed is a drive of another deployment, not a forgery.
        let [ours, (other, _)] = all;
        let all = [ours, (other, Some(SealVerdict::UnknownKey))];
        let trust = judge(&all, Some(&keyring), false);
        assert_eq!(mixed(&all, &trust), Some((0, 1)));
    }

    #[test]
    fn a_wrong_keyring_is_known_by_all_seals() {
        let wrong = [said(0, Some(SealVerdict::UnknownKey)), said(1, None)];
        assert_eq!(unknown_key(&wrong), Some(KeyringError::UnknownKey("07".repeat(8))));
        let right = [said(0, Some(SealVerdict::UnknownKey)), said(1, Some(SealVerdict::Holds))];
        assert_eq!(unknown_key(&right), None);
    }
}
