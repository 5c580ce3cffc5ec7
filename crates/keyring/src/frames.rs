//! Sealing of the bytes of objects, in frames of AES-256-GCM.
//!
//! Each part has a key of its own: HMAC-SHA256 of its random salt under the data key of the object. The
//! nonce of a frame is its number and whether it is the last, so that a frame opens at its place only, and
//! nothing can be left out, put in, repeated or cut off (the construction STREAM: Hoang, Reyhanitabar,
//! Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015).

use crate::secret::DataKey;
use crate::wrap::{SALT_LEN, derived};
use drystone_base::{Rng, SEALED_FRAME_LEN_BYTES, SEALED_PLAIN_LEN_BYTES};
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

const PURPOSE: &[u8] = b"drystone frames 1\0";
const FRAME_LEN: usize = SEALED_FRAME_LEN_BYTES as usize;
const PLAIN_LEN: usize = SEALED_PLAIN_LEN_BYTES as usize;

/// The salt of a part: stored beside it.
pub type FrameSalt = [u8; SALT_LEN];

/// A new salt.
#[must_use]
pub fn new_salt(rng: &dyn Rng) -> FrameSalt {
    let mut salt = [0; SALT_LEN];
    rng.fill(&mut salt);
    salt
}

/// Seals and opens the frames of one part.
pub struct FrameCipher(LessSafeKey);

impl FrameCipher {
    /// The cipher of the part with this salt.
    #[must_use]
    pub fn new(key: &DataKey, salt: &FrameSalt) -> Self {
        Self(derived(key, PURPOSE, salt))
    }

    fn nonce(index: u64, is_last: bool) -> Nonce {
        let mut bytes = [0; NONCE_LEN];
        bytes[3] = u8::from(is_last);
        bytes[4..].copy_from_slice(&index.to_be_bytes());
        Nonce::assume_unique_for_key(bytes)
    }

    /// Seals frame `index` in place and puts its tag behind it.
    pub fn seal(&self, index: u64, is_last: bool, frame: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(Self::nonce(index, is_last), Aad::empty(), frame)
            .expect("a frame is short");
    }

    /// Opens sealed frames that follow each other, beginning with frame `first`; the last of them is the
    /// last of the part if `is_end`. What they held is at the front of the buffer then, without gaps; returns
    /// its length. `None` if one of them was changed or is not at its place.
    #[must_use]
    pub fn open(&self, first: u64, is_end: bool, buffer: &mut [u8]) -> Option<usize> {
        let (mut plain_len, sealed_len) = (0, buffer.len());
        for (index, start) in (first..).zip((0..sealed_len).step_by(FRAME_LEN)) {
            let end = (start + FRAME_LEN).min(sealed_len);
            let nonce = Self::nonce(index, is_end && end == sealed_len);
            // The cipher moves what it opens to where the frame before it ends.
            let within = &mut buffer[plain_len..end];
            let sealed = start - plain_len..;
            plain_len += self.0.open_within(nonce, Aad::empty(), within, sealed).ok()?.len();
        }
        Some(plain_len)
    }
}

/// Seals a part as it comes.
pub struct FrameSealer {
    cipher: FrameCipher,
    frame: Vec<u8>,
    index: u64,
}

impl FrameSealer {
    /// Begins a part.
    #[must_use]
    pub fn new(cipher: FrameCipher) -> Self {
        Self { cipher, frame: Vec::with_capacity(FRAME_LEN), index: 0 }
    }

    /// Takes bytes until a frame is full and there is more; returns it then, with how many bytes were
    /// taken. The caller clears the frame's buffer by taking it.
    #[must_use]
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Option<Vec<u8>>) {
        // Whether a full frame is the last one is known when more comes.
        let full = (self.frame.len() == PLAIN_LEN && !bytes.is_empty()).then(|| self.seal(false));
        let taken = (PLAIN_LEN - self.frame.len()).min(bytes.len());
        self.frame.extend_from_slice(&bytes[..taken]);
        (taken, full)
    }

    /// Ends the part: its last frame, if it has any bytes.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<u8>> {
        (!self.frame.is_empty()).then(|| self.seal(true))
    }

    fn seal(&mut self, is_last: bool) -> Vec<u8> {
        let mut frame = std::mem::replace(&mut self.frame, Vec::with_capacity(FRAME_LEN));
        self.cipher.seal(self.index, is_last, &mut frame);
        self.index += 1;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::{SeededRng, sealed_len};
    use proptest::prelude::*;

    fn seal_all(key: &DataKey, salt: &FrameSalt, plain: &[u8], step: usize) -> Vec<u8> {
        let mut sealer = FrameSealer::new(FrameCipher::new(key, salt));
        let mut sealed = Vec::new();
        for mut piece in plain.chunks(step.max(1)) {
            while !piece.is_empty() {
                let (taken, frame) = sealer.take(piece);
                sealed.extend(frame.into_iter().flatten());
                piece = &piece[taken..];
            }
        }
        sealed.extend(sealer.finish().into_iter().flatten());
        sealed
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Goal: any frames of a sealed part open to what they held, and the length is as computed.
        /// Method: random lengths around frames, sealed in random steps, opened from a random frame on.
        #[test]
        fn frames_open_to_what_they_held(
            len in 0_usize..300_000, step in 1_usize..100_000, at in 0_usize..5,
        ) {
            let rng = SeededRng::new(len as u64);
            let (key, salt) = (DataKey::generate(&rng), new_salt(&rng));
            let plain: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
            let sealed = seal_all(&key, &salt, &plain, step);
            prop_assert_eq!(sealed.len() as u64, sealed_len(len as u64));
            let cipher = FrameCipher::new(&key, &salt);
            let from = (at * FRAME_LEN).min(sealed.len() / FRAME_LEN * FRAME_LEN);
            let first = from / FRAME_LEN;
            let mut buffer = sealed[from..].to_vec();
            let opened = cipher.open(first as u64, true, &mut buffer).expect("as sealed");
            prop_assert_eq!(&buffer[..opened], &plain[(first * PLAIN_LEN).min(len)..]);
        }
    }

    /// Goal: a frame opens at its place only, and an end that was cut off is seen. Method: three frames,
    /// one thing done to them at a time.
    #[test]
    fn what_was_moved_changed_or_cut_does_not_open() {
        let rng = SeededRng::new(1);
        let (key, salt) = (DataKey::generate(&rng), new_salt(&rng));
        let sealed = seal_all(&key, &salt, &[9; 3 * PLAIN_LEN], PLAIN_LEN);
        let cipher = FrameCipher::new(&key, &salt);
        let (a, b) = (&sealed[..FRAME_LEN], &sealed[FRAME_LEN..2 * FRAME_LEN]);
        let opens = |cipher: &FrameCipher, first, is_end, sealed: &[u8]| {
            cipher.open(first, is_end, &mut sealed.to_vec()).is_some()
        };
        assert!(opens(&cipher, 0, false, a) && opens(&cipher, 1, false, b));
        assert!(!opens(&cipher, 1, false, a), "at another place");
        assert!(!opens(&cipher, 0, true, &sealed[..2 * FRAME_LEN]), "cut off");
        assert!(!opens(&cipher, 0, false, &sealed), "as if more followed");
        let mut changed = a.to_vec();
        changed[77] ^= 1;
        assert!(!opens(&cipher, 0, false, &changed));
        let other = FrameCipher::new(&key, &new_salt(&rng));
        assert!(!opens(&other, 0, false, a), "of another part");
    }
}
