//! What does the work: sums of products, over whole buffers.

mod scalar;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Buffers are worked through in pieces that stay in the first cache.
const BLOCK_LEN: usize = 4096;
/// Targets that are worked on at once.
const TARGET_COUNT_MAX: usize = 4;

/// A way to multiply and add, of those that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// One byte at a time.
    Scalar,
    /// 32 bytes at a time, by shuffles.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64 bytes at a time, by matrices of bits.
    #[cfg(target_arch = "x86_64")]
    Gfni,
    /// 16 bytes at a time, by shuffles.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Kernel {
    /// The kernels that this machine can run, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "there are machines with no other")]
        let mut kernels = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx2") {
                kernels.push(Self::Avx2);
            }
            let has = std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("gfni");
            if has {
                kernels.push(Self::Gfni);
            }
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(Self::Neon);
        kernels
    }

    /// The fastest that this machine can run.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().expect("there is always one")
    }

    /// Adds to each target the sum of all sources, each times its factor. `factors` has a row for each
    /// target, with a factor for each source.
    ///
    /// # Panics
    ///
    /// If sources and targets are not all of one length, or the factors do not fit them.
    pub(crate) fn multiply_add(self, factors: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        let Some(len) = sources.first().map(|source| source.len()) else { return };
        assert!(sources.iter().all(|source| source.len() == len), "sources of one length");
        assert!(targets.iter().all(|target| target.len() == len), "targets of one length");
        assert_eq!(factors.len(), sources.len() * targets.len(), "a factor for each pair");
        for start in (0..len).step_by(BLOCK_LEN) {
            let block = start..(start + BLOCK_LEN).min(len);
            let sources: Vec<&[u8]> = sources.iter().map(|source| &source[block.clone()]).collect();
            let groups = targets.chunks_mut(TARGET_COUNT_MAX);
            for (group, rows) in groups.zip(factors.chunks(TARGET_COUNT_MAX * sources.len())) {
                let mut group: Vec<&mut [u8]> =
                    group.iter_mut().map(|target| &mut target[block.clone()]).collect();
                self.run(rows, &sources, &mut group);
            }
        }
    }

    /// One block of up to four targets.
    fn run(self, factors: &[u8], sources: &[&[u8]], targets: &mut [&mut [u8]]) {
        let done = match self {
            Self::Scalar => 0,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::avx2(factors, sources, targets),
            #[cfg(target_arch = "x86_64")]
            Self::Gfni => x86::gfni(factors, sources, targets),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::multiply_add(factors, sources, targets),
        };
        scalar::multiply_add(factors, sources, targets, done);
    }
}
