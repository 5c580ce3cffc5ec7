//! What keeps versions from being removed.

use drystone_base::{DecodeError, Reader, Writer};

/// How strict a retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Who has the right to bypass it may.
    Governance,
    /// No one may.
    Compliance,
}

/// Until when a version is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How strictly.
    pub mode: LockMode,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
}

/// The lock of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// Kept until a time.
    pub retention: Option<Retention>,
    /// Kept until it is released; `None` if no one ever said anything.
    pub legal_hold: Option<bool>,
}

/// How long a new version is kept whose writer says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockPeriod {
    /// Days.
    Days(u32),
    /// Years of 365 days.
    Years(u32),
}

/// That a bucket locks versions, and how by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketLock {
    /// What holds for new versions whose writers say nothing.
    pub default: Option<(LockMode, LockPeriod)>,
}

const DAY_MS: u64 = 24 * 3600 * 1000;

impl LockPeriod {
    /// Its length in milliseconds.
    #[must_use]
    pub fn len_ms(self) -> u64 {
        match self {
            Self::Days(days) => u64::from(days) * DAY_MS,
            Self::Years(years) => u64::from(years) * 365 * DAY_MS,
        }
    }
}

impl LockMode {
    fn decode(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Governance),
            2 => Some(Self::Compliance),
            _ => None,
        }
    }

    fn encode(self) -> u8 {
        match self {
            Self::Governance => 1,
            Self::Compliance => 2,
        }
    }
}

impl ObjectLock {
    /// Whether nothing was ever said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the version must stay. `bypasses`: the right to bypass governance was shown.
    #[must_use]
    pub fn holds(&self, now_ms: u64, bypasses: bool) -> bool {
        let is_kept = |retention: &Retention| {
            let counts = retention.mode == LockMode::Compliance || !bypasses;
            counts && retention.until_ms > now_ms
        };
        self.legal_hold == Some(true) || self.retention.as_ref().is_some_and(is_kept)
    }

    /// Stored form: mode (0 for none), until, legal hold (0 for never said, 1 on, 2 off).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (mode, until_ms) = match self.retention {
            None => (0, 0),
            Some(retention) => (retention.mode.encode(), retention.until_ms),
        };
        let hold = match self.legal_hold {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        let mut w = Writer::new();
        w.u8(mode).u64(until_ms).u8(hold);
        w.finish()
    }

    /// Reads the stored form. What cannot be read must count as locked: the row does not decode.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "object lock");
        let (mode, until_ms, hold) = (r.u8()?, r.u64()?, r.u8()?);
        let retention = match mode {
            0 => None,
            mode => {
                let mode = LockMode::decode(mode).ok_or(r.malformed())?;
                Some(Retention { mode, until_ms })
            }
        };
        let legal_hold = match hold {
            0 => None,
            1 => Some(true),
            2 => Some(false),
            _ => return Err(r.malformed()),
        };
        if r.is_empty() { Ok(Self { retention, legal_hold }) } else { Err(r.malformed()) }
    }
}

impl BucketLock {
    /// Stored form: mode (0 for no default), unit (1 days, 2 years), count.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (mode, unit, count) = match self.default {
            None => (0, 0, 0),
            Some((mode, LockPeriod::Days(count))) => (mode.encode(), 1, count),
            Some((mode, LockPeriod::Years(count))) => (mode.encode(), 2, count),
        };
        let mut w = Writer::new();
        w.u8(mode).u8(unit).u32(count);
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "bucket lock");
        let (mode, unit, count) = (r.u8()?, r.u8()?, r.u32()?);
        let default = match (mode, unit) {
            (0, _) => None,
            (mode, unit) => {
                let mode = LockMode::decode(mode).ok_or(r.malformed())?;
                let period = match unit {
                    1 => LockPeriod::Days(count),
                    2 => LockPeriod::Years(count),
                    _ => return Err(r.malformed()),
                };
                Some((mode, period))
            }
        };
        if r.is_empty() { Ok(Self { default }) } else { Err(r.malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_holds_until_its_time_and_governance_can_be_bypassed() {
        let kept = |mode| ObjectLock {
            retention: Some(Retention { mode, until_ms: 100 }),
            legal_hold: None,
        };
        let (governance, compliance) = (kept(LockMode::Governance), kept(LockMode::Compliance));
        assert!(governance.holds(99, false) && !governance.holds(100, false));
        assert!(!governance.holds(99, true) && compliance.holds(99, true));
        let held = ObjectLock { retention: None, legal_hold: Some(true) };
        assert!(held.holds(u64::MAX, true));
        assert!(!ObjectLock { legal_hold: Some(false), ..held }.holds(0, false));
        for lock in [governance, compliance, held, ObjectLock::default()] {
            assert_eq!(ObjectLock::decode(&lock.encode()), Ok(lock));
        }
        assert!(ObjectLock::decode(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        for default in [None, Some((LockMode::Compliance, LockPeriod::Years(7)))] {
            let lock = BucketLock { default };
            assert_eq!(BucketLock::decode(&lock.encode()), Ok(lock));
        }
    }
}
