//! Compiled policy documents: shared by the identities that have them, and bounded for each of them.
//!
//! # Invariants
//!
//! - A document that anything holds is not compiled a second time: what is held is bounded by the texts that
//!   are stored, and not by the requests that are in progress.
//! - What is kept is found by the hash of its text. It outlives changes of the directory, after which
//!   identities are read again.

use drystone_base::Cache;
use drystone_base::sync::{Mutex, lock};
use drystone_iam::{Document, DocumentKind, PolicyError};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Bytes of documents that are kept while nothing holds them.
const CACHE_LEN_MAX: usize = 8 << 20;
/// What the policies of one identity may take in all, compiled.
const COMPILED_LEN_MAX: usize = 4 << 20;
/// Bytes of rows that may be read for the policies of one identity.
const ROWS_LEN_MAX: usize = 4 << 20;
/// Entries of documents that nothing holds any more are removed from here on.
const SWEEP_COUNT_MIN: usize = 256;

type TextHash = [u8; 32];

struct State {
    kept: Cache<TextHash, Arc<Document>>,
    live: HashMap<TextHash, Weak<Document>>,
    /// Entries at which those of documents that nothing holds are removed.
    sweep_at: usize,
}

/// Documents of identities.
pub(crate) struct Documents(Mutex<State>);

impl Default for Documents {
    fn default() -> Self {
        let kept = Cache::new(CACHE_LEN_MAX);
        Self(Mutex::new(State { kept, live: HashMap::new(), sweep_at: SWEEP_COUNT_MIN }))
    }
}

impl State {
    fn find(&mut self, hash: &TextHash) -> Option<Arc<Document>> {
        if let Some(document) = self.kept.get(hash) {
            return Some(document);
        }
        let document = self.live.get(hash)?.upgrade()?;
        self.keep(*hash, &document);
        Some(document)
    }

    fn keep(&mut self, hash: TextHash, document: &Arc<Document>) {
        self.kept.insert(hash, document.clone(), document.weight_bytes());
        self.live.insert(hash, Arc::downgrade(document));
        if self.live.len() >= self.sweep_at {
            self.live.retain(|_, document| document.strong_count() > 0);
            self.sweep_at = (2 * self.live.len()).max(SWEEP_COUNT_MIN);
        }
    }
}

impl Documents {
    /// A document that identities have, from its text.
    pub(crate) fn compile(&self, text: &str) -> Result<Arc<Document>, PolicyError> {
        let hash = Sha256::digest(text).into();
        if let Some(document) = lock(&self.0).find(&hash) {
            return Ok(document);
        }
        let document = Arc::new(Document::parse(text, DocumentKind::Identity)?);
        let mut state = lock(&self.0);
        // Another request may have been first.
        if let Some(first) = state.find(&hash) {
            return Ok(first);
        }
        state.keep(hash, &document);
        Ok(document)
    }

    /// Bytes of documents that are kept.
    pub(crate) fn kept_bytes(&self) -> usize {
        lock(&self.0).kept.len_bytes()
    }
}

/// What was read for the policies of one identity.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    compiled_bytes: usize,
    row_bytes: usize,
}

impl Taken {
    /// Counts a document.
    pub(crate) fn add_document(&mut self, document: &Document) {
        self.compiled_bytes += document.weight_bytes();
    }

    /// Counts a row.
    pub(crate) fn add_row(&mut self, len_bytes: usize) {
        self.row_bytes += len_bytes;
    }

    /// Whether it is more than one identity may take: nothing more is read for it.
    pub(crate) fn is_too_much(&self) -> bool {
        self.compiled_bytes > COMPILED_LEN_MAX || self.row_bytes > ROWS_LEN_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> String {
        let resources: Vec<_> =
            (0..900).map(|n| format!("\"arn:aws:s3:::{number}-{n}*\"")).collect();
        let resources = resources.join(",");
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:*",
                "Resource":[{resources}]}}]}}"#
        )
    }

    /// Goal: documents that are held exist once, however many others were compiled meanwhile; those that
    /// nothing holds are bounded. Method: hold one, and compile more than the cache keeps.
    #[test]
    fn what_is_held_is_compiled_once() {
        let documents = Documents::default();
        let held = documents.compile(&text(0)).expect("a document");
        for number in 1..600 {
            documents.compile(&text(number)).expect("a document");
            assert!(documents.kept_bytes() <= CACHE_LEN_MAX);
        }
        let again = documents.compile(&text(0)).expect("a document");
        assert!(Arc::ptr_eq(&held, &again));
        let state = lock(&documents.0);
        assert!(state.live.len() <= state.sweep_at);
        let live = state.live.values().filter(|document| document.strong_count() > 0).count();
        assert!(live * held.weight_bytes() <= CACHE_LEN_MAX + held.weight_bytes(), "{live}");
        assert!(state.sweep_at < 600, "{}", state.sweep_at);
    }

    /// Goal: twenty policies of the longest text are not too much for an identity.
    #[test]
    fn the_policies_of_one_entity_fit() {
        let documents = Documents::default();
        let mut taken = Taken::default();
        for number in 0..20 {
            let text = text(number);
            taken.add_row(5 * text.len());
            taken.add_document(&documents.compile(&text).expect("a document"));
        }
        assert!(!taken.is_too_much(), "{taken:?}");
        taken.add_row(ROWS_LEN_MAX);
        assert!(taken.is_too_much());
    }
}
