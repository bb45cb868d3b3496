//! Walks with AVX-512, sixteen in a register: nodes are gathered, and rows of up to 31 columns are in two registers.
//!
//! Used where it was measured to be faster, on processors from Sapphire Rapids on, which are told by their arithmetic of half
//! precision. Others gather slowly, some of them since their microcode was corrected (CVE-2022-40982).

/// Walks that go on in turn.
pub(super) const WALKS: usize = 64;

#[cfg(target_arch = "x86_64")]
pub(super) use processor::{advance, suits};

/// Nothing where there are no such processors.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn suits<const MODE: u8>(
    _: &super::lanes::Walker<'_, super::node::Small, MODE>,
) -> bool {
    false
}

/// Nothing where there are no such processors.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn advance<const MODE: u8>(
    _: &super::lanes::Walker<'_, super::node::Small, MODE>,
    _: &mut super::lanes::Open,
    _: u32,
) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "instructions of a processor feature")]
mod processor {
    use super::super::lanes::{Open, Walker};
    use super::super::node::{GENERAL, MISSING, Small};
    use super::WALKS;
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_and_si512, _mm512_castsi512_si256,
        _mm512_cmplt_epu32_mask, _mm512_extracti64x4_epi64, _mm512_i32gather_epi32,
        _mm512_i32gather_epi64, _mm512_loadu_si512, _mm512_mask_add_epi32,
        _mm512_mask_i32scatter_epi32, _mm512_mask_testn_epi32_mask, _mm512_maskz_compress_epi32,
        _mm512_permutex2var_epi32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_srli_epi32,
        _mm512_storeu_si512, _mm512_test_epi32_mask,
    };

    /// Walks in a register.
    const LANES: usize = 16;
    /// Columns, that of leaves among them, which fit in two registers.
    const HELD: usize = 32;

    /// Whether this processor is one of those, and the trees are such that it can.
    pub(in super::super) fn suits<const MODE: u8>(walker: &Walker<'_, Small, MODE>) -> bool {
        let fits = i32::try_from(walker.nodes.len()).is_ok();
        MODE != GENERAL && fits && std::arch::is_x86_feature_detected!("avx512fp16")
    }

    /// As `Walker::advance`; `false` if this processor does it better otherwise.
    pub(in super::super) fn advance<const MODE: u8>(
        walker: &Walker<'_, Small, MODE>,
        open: &mut Open,
        steps: u32,
    ) -> bool {
        let few = open.count <= LANES / 4;
        if few || !suits(walker) {
            return false;
        }
        // SAFETY: the feature, which has AVX-512F with it, was detected on this processor above, and places fit in 31 bits.
        unsafe {
            match walker.row.len() {
                ..=HELD => walks::<MODE, true>(walker, open, steps),
                _ => walks::<MODE, false>(walker, open, steps),
            }
        }
        true
    }

    /// # Safety
    /// Places fit in 31 bits. With `HOLD` the row has at most [`HELD`] values.
    #[target_feature(enable = "avx512f")]
    unsafe fn walks<const MODE: u8, const HOLD: bool>(
        walker: &Walker<'_, Small, MODE>,
        open: &mut Open,
        steps: u32,
    ) {
        let held = held(walker.row);
        let (mut at, mut kept) = (0, 0);
        while at < open.count {
            // SAFETY: `open` has room for WALKS behind the walks that it counts.
            let mut places: [__m512i; WALKS / LANES] = std::array::from_fn(|register| unsafe {
                _mm512_loadu_si512(open.places.as_ptr().add(at + register * LANES).cast())
            });
            for _ in 0..steps {
                for place in &mut places {
                    // SAFETY: `Open` has only places of nodes, and children of nodes are nodes.
                    *place = unsafe { step::<MODE, HOLD>(walker, &held, *place) };
                }
            }
            for place in places {
                if at >= open.count {
                    break;
                }
                // SAFETY: as above; what is kept is never ahead of what was read.
                kept += unsafe { keep(walker, open, at, kept, place) };
                at += LANES;
            }
        }
        open.count = kept;
    }

    #[target_feature(enable = "avx512f")]
    fn held(row: &[u32]) -> [__m512i; 2] {
        let mut values = [0_u32; HELD];
        for (to, value) in values.iter_mut().zip(row) {
            *to = *value;
        }
        // SAFETY: 32 numbers were just made.
        unsafe {
            [
                _mm512_loadu_si512(values.as_ptr().cast()),
                _mm512_loadu_si512(values.as_ptr().add(LANES).cast()),
            ]
        }
    }

    /// The thresholds of nodes, and what else is in them.
    ///
    /// # Safety
    /// All places are of nodes and fit in 31 bits.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn nodes(nodes: &[Small], place: __m512i) -> (__m512i, __m512i) {
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        let start = nodes.as_ptr().cast::<i64>();
        let (low, high) = (
            _mm512_castsi512_si256(place),
            _mm512_extracti64x4_epi64::<1>(place),
        );
        // SAFETY: a node has 8 bytes, and these are nodes.
        let (low, high) = unsafe {
            (
                _mm512_i32gather_epi64::<8>(low, start),
                _mm512_i32gather_epi64::<8>(high, start),
            )
        };
        (
            _mm512_permutex2var_epi32(low, even, high),
            _mm512_permutex2var_epi32(low, odd, high),
        )
    }

    /// # Safety
    /// As of `nodes`. With `HOLD` the row has at most [`HELD`] values.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn step<const MODE: u8, const HOLD: bool>(
        walker: &Walker<'_, Small, MODE>,
        held: &[__m512i; 2],
        place: __m512i,
    ) -> __m512i {
        // SAFETY: the caller's.
        let (threshold, rest) = unsafe { nodes(walker.nodes, place) };
        let [low, high] = *held;
        let key = match HOLD {
            true => _mm512_permutex2var_epi32(low, rest, high),
            false => {
                let column = _mm512_and_si512(rest, _mm512_set1_epi32(0xff));
                // SAFETY: columns of nodes are below the length of the row (`lanes::walk`).
                unsafe { _mm512_i32gather_epi32::<4>(column, walker.row.as_ptr().cast()) }
            }
        };
        let mut second = _mm512_cmplt_epu32_mask(threshold, key);
        if MODE == MISSING {
            let flag = _mm512_set1_epi32(Small::MISSING_SECOND as i32);
            let asks = _mm512_test_epi32_mask(rest, flag);
            second |= _mm512_mask_testn_epi32_mask(asks, key, key);
        }
        let next = _mm512_add_epi32(place, _mm512_srli_epi32::<9>(rest));
        _mm512_mask_add_epi32(next, second, next, _mm512_set1_epi32(1))
    }

    /// Writes down the numbers of a register's walks and keeps those that have not ended. Returns how many these are.
    ///
    /// # Safety
    /// As of `nodes`; `at` is below the count of `open`, and `kept` is not above `at`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn keep<const MODE: u8>(
        walker: &Walker<'_, Small, MODE>,
        open: &mut Open,
        at: usize,
        kept: usize,
        place: __m512i,
    ) -> usize {
        let count = (open.count - at).min(LANES) as u32;
        let walks = (u16::MAX).unbounded_shr(LANES as u32 - count);
        // SAFETY: the caller's; `open` has room for a register from `at` on, and so from `kept` on, and its trees are below
        // the length of its numbers.
        unsafe {
            let (number, rest) = nodes(walker.nodes, place);
            let tree = _mm512_loadu_si512(open.trees.as_ptr().add(at).cast());
            let numbers = open.numbers.as_mut_ptr().cast();
            _mm512_mask_i32scatter_epi32::<4>(numbers, walks, tree, number);
            let distance = _mm512_srli_epi32::<9>(rest);
            let stay = walks & _mm512_test_epi32_mask(distance, distance);
            if stay != 0 {
                let places = _mm512_maskz_compress_epi32(stay, place);
                _mm512_storeu_si512(open.places.as_mut_ptr().add(kept).cast(), places);
                let trees = _mm512_maskz_compress_epi32(stay, tree);
                _mm512_storeu_si512(open.trees.as_mut_ptr().add(kept).cast(), trees);
            }
            stay.count_ones() as usize
        }
    }
}
