//! Requests that have no line of their own: counted, until a line can say how many there were.

use super::Source;
use super::log_time;
use drystone_base::sync::{Mutex, lock};
use std::collections::BTreeMap;

/// Bytes of sources that are counted apart; of more only the metrics say something.
const LEN_MAX: usize = 4 << 20;
/// Bytes of a count beyond the texts of its source, about.
const COUNT_LEN: usize = 256;
/// What stands for an operation in the line of a count. The quote cannot be written by a client.
const OPERATION: &str = " SUMMARY.OMITTED.REQUESTS - \"";

/// What was counted of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Count {
    owner: String,
    requests: u64,
    first_ms: u64,
    last_ms: u64,
}

/// Counts by source.
#[derive(Default)]
pub(super) struct Omitted {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    by_source: BTreeMap<Source, Count>,
    len: usize,
}

/// Requests that lines stand for.
pub(super) fn requests_of(lines: &str) -> u64 {
    let of_line = |line: &str| {
        let count = line.split_once(OPERATION)?.1.split(' ').next()?;
        count.parse::<u64>().ok()
    };
    lines.lines().map(|line| of_line(line).unwrap_or(1)).sum()
}

fn len_of(source: &Source, owner: &str) -> usize {
    let Source { bucket, account, target } = source;
    let texts = [bucket, account, &target.bucket, &target.prefix];
    texts.into_iter().map(String::len).sum::<usize>() + owner.len() + COUNT_LEN
}

impl Omitted {
    /// Counts lines that were not written.
    pub(super) fn add(&self, source: &Source, owner: &str, requests: u64, now_ms: u64) {
        let mut counts = lock(&self.counts);
        if !counts.by_source.contains_key(source) {
            let len = counts.len + len_of(source, owner);
            if len > LEN_MAX {
                return;
            }
            counts.len = len;
        }
        let first =
            Count { owner: owner.to_owned(), requests: 0, first_ms: now_ms, last_ms: now_ms };
        let count = counts.by_source.entry(source.clone()).or_insert(first);
        count.requests += requests;
        (count.first_ms, count.last_ms) = (count.first_ms.min(now_ms), count.last_ms.max(now_ms));
    }

    /// What is counted now. It stays counted until it is [subtracted](Omitted::subtract).
    pub(super) fn counts(&self) -> Vec<(Source, Count)> {
        let counts = lock(&self.counts);
        let each = counts.by_source.iter();
        each.map(|(source, count)| (source.clone(), count.clone())).collect()
    }

    /// Takes out what a durable line says now.
    pub(super) fn subtract(&self, source: &Source, said: &Count) {
        let mut counts = lock(&self.counts);
        let Some(count) = counts.by_source.get_mut(source) else { return };
        count.requests = count.requests.saturating_sub(said.requests);
        count.first_ms = said.last_ms;
        if count.requests == 0 {
            counts.len -= len_of(source, &count.owner.clone());
            counts.by_source.remove(source);
        }
    }
}

impl Count {
    /// The line that stands for the requests, with as many fields as any other.
    pub(super) fn line(&self, source: &Source, region: &str) -> String {
        let (first, last) = (log_time(self.first_ms), log_time(self.last_ms));
        let (first, last) = (first.trim_matches(['[', ']']), last.trim_matches(['[', ']']));
        let said = format!("{} requests from {first} to {last}\"", self.requests);
        let (owner, bucket) = (&self.owner, &source.bucket);
        let time = log_time(self.last_ms);
        let none = ["-"; 17].join(" ");
        format!("{owner} {bucket} {time} - - -{OPERATION}{said} {none} {region}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::LogTarget;
    use super::*;

    #[test]
    fn one_line_says_how_many_requests_there_were() {
        let target = LogTarget { bucket: "t".into(), prefix: String::new(), is_partitioned: false };
        let source = Source { bucket: "b".into(), account: "a".into(), target };
        let omitted = Omitted::default();
        omitted.add(&source, "owner", 3, 2000);
        omitted.add(&source, "owner", 4, 1000);
        let counts = omitted.counts();
        let [(_, count)] = &counts[..] else { panic!("{counts:?}") };
        let line = count.line(&source, "r");
        let start =
            "owner b [01/Jan/1970:00:00:02 +0000] - - - SUMMARY.OMITTED.REQUESTS - \"7 requests";
        assert!(line.starts_with(start), "{line}");
        // Eight fields before the one in quotes, 18 behind it.
        let (before, behind) = line.split_once(" \"").expect("quotes");
        assert_eq!(before.replace(" +0000", "").split(' ').count(), 8);
        assert_eq!(behind.split_once("\" ").expect("quotes").1.split(' ').count(), 18);
        assert_eq!(requests_of(&format!("one\n{line}another\n")), 9);
        omitted.add(&source, "owner", 1, 3000);
        omitted.subtract(&source, count);
        assert_eq!(omitted.counts()[0].1.requests, 1);
        omitted.subtract(&source, &omitted.counts()[0].1);
        assert_eq!((omitted.counts().len(), lock(&omitted.counts).len), (0, 0));
    }

    #[test]
    fn sources_that_are_counted_apart_have_a_bound() {
        let omitted = Omitted::default();
        for number in 0..10_000 {
            let target =
                LogTarget { bucket: "t".into(), prefix: "p".repeat(1024), is_partitioned: false };
            let source = Source { bucket: format!("b{number}"), account: "a".into(), target };
            omitted.add(&source, "owner", 1, 0);
        }
        assert!((3_000..4_000).contains(&omitted.counts().len()));
    }
}
