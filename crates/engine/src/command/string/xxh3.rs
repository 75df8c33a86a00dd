//! XXH3 with 64 bits and no seed: the digest by which DELEX compares.
//!
//! One path for each class of length, as the algorithm prescribes; beyond 240
//! bytes eight sums run over stripes of 64 bytes, stirred every 16 stripes.

const P32_1: u64 = 0x9e37_79b1;
const P32_2: u64 = 0x85eb_ca77;
const P32_3: u64 = 0xc2b2_ae3d;
const P64_1: u64 = 0x9e37_79b1_85eb_ca87;
const P64_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P64_3: u64 = 0x1656_67b1_9e37_79f9;
const P64_4: u64 = 0x85eb_ca77_c2b2_ae63;
const P64_5: u64 = 0x27d4_eb2f_1656_67c5;
const MIX_1: u64 = 0x1656_6791_9e37_79f9;
const MIX_2: u64 = 0x9fb2_1c65_1e98_df25;

const STRIPE: usize = 64;
/// Stripes after which the sums are stirred.
const STRIPES: usize = (SECRET.len() - STRIPE) / 8;

#[rustfmt::skip]
const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];

/// Eight bytes at `at`; every caller stays inside.
fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

/// Four bytes at `at`.
fn half(bytes: &[u8], at: usize) -> u64 {
    let half = bytes.get(at..).and_then(|rest| rest.first_chunk());
    half.map_or(0, |half| u64::from(u32::from_le_bytes(*half)))
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 37).wrapping_mul(MIX_1);
    hash ^ hash >> 32
}

fn short_avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 33).wrapping_mul(P64_2);
    hash = (hash ^ hash >> 29).wrapping_mul(P64_3);
    hash ^ hash >> 32
}

fn mix(text: &[u8], at: usize, secret: usize) -> u64 {
    fold(
        word(text, at) ^ word(&SECRET, secret),
        word(text, at + 8) ^ word(&SECRET, secret + 8),
    )
}

/// The hash of `text`.
pub(super) fn xxh3(text: &[u8]) -> u64 {
    let len = text.len();
    let length = len as u64;
    match len {
        0 => short_avalanche(word(&SECRET, 56) ^ word(&SECRET, 64)),
        1..=3 => {
            let byte = |at: usize| text.get(at).map_or(0, |byte| u64::from(*byte));
            let packed = byte(0) << 16 | byte(len >> 1) << 24 | byte(len - 1) | length << 8;
            short_avalanche(packed ^ half(&SECRET, 0) ^ half(&SECRET, 4))
        }
        4..=8 => {
            let packed = half(text, len - 4) | half(text, 0) << 32;
            let mut hash = packed ^ word(&SECRET, 8) ^ word(&SECRET, 16);
            hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
            hash = hash.wrapping_mul(MIX_2);
            hash ^= (hash >> 35).wrapping_add(length);
            hash = hash.wrapping_mul(MIX_2);
            hash ^ hash >> 28
        }
        9..=16 => {
            let low = word(text, 0) ^ word(&SECRET, 24) ^ word(&SECRET, 32);
            let high = word(text, len - 8) ^ word(&SECRET, 40) ^ word(&SECRET, 48);
            let sum = length.wrapping_add(low.swap_bytes()).wrapping_add(high);
            avalanche(sum.wrapping_add(fold(low, high)))
        }
        17..=128 => {
            let mut sum = length.wrapping_mul(P64_1);
            for pair in 0..=(len - 1) / 32 {
                sum = sum.wrapping_add(mix(text, pair * 16, pair * 32));
                sum = sum.wrapping_add(mix(text, len - 16 - pair * 16, pair * 32 + 16));
            }
            avalanche(sum)
        }
        129..=240 => {
            let mut sum = length.wrapping_mul(P64_1);
            for at in 0..8 {
                sum = sum.wrapping_add(mix(text, at * 16, at * 16));
            }
            sum = avalanche(sum);
            for at in 8..len / 16 {
                sum = sum.wrapping_add(mix(text, at * 16, (at - 8) * 16 + 3));
            }
            avalanche(sum.wrapping_add(mix(text, len - 16, 136 - 17)))
        }
        _ => long(text),
    }
}

fn add_stripe(sums: &mut [u64; 8], stripe: &[u8], secret: usize) {
    let mut swapped = [0; 8];
    for (at, (sum, swap)) in sums.iter_mut().zip(&mut swapped).enumerate() {
        let value = word(stripe, at * 8);
        let key = value ^ word(&SECRET, secret + at * 8);
        *sum = sum.wrapping_add((key & 0xffff_ffff) * (key >> 32));
        *swap = value;
    }
    for (at, sum) in sums.iter_mut().enumerate() {
        *sum = sum.wrapping_add(swapped[at ^ 1]);
    }
}

fn long(text: &[u8]) -> u64 {
    let mut sums = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1];
    let end = SECRET.len() - STRIPE;
    // The last stripe is taken apart: it may overlap the one before it.
    let (body, last) = (&text[..text.len() - 1], &text[text.len() - STRIPE..]);
    for (at, stripe) in body.chunks_exact(STRIPE).enumerate() {
        add_stripe(&mut sums, stripe, at % STRIPES * 8);
        if at % STRIPES == STRIPES - 1 {
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = (*sum ^ *sum >> 47 ^ word(&SECRET, end + at * 8)).wrapping_mul(P32_1);
            }
        }
    }
    add_stripe(&mut sums, last, end - 7);
    let mut hash = (text.len() as u64).wrapping_mul(P64_1);
    for (at, pair) in sums.as_chunks::<2>().0.iter().enumerate() {
        let secret = 11 + at * 16;
        let (low, high) = (
            pair[0] ^ word(&SECRET, secret),
            pair[1] ^ word(&SECRET, secret + 8),
        );
        hash = hash.wrapping_add(fold(low, high));
    }
    avalanche(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each class of length and its edges, digests from the reference library.
    #[test]
    fn agrees_with_the_reference() {
        let text: Vec<u8> = (0..5000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
        for (len, digest) in [
            (0, 0x2d06_8005_38d3_94c2_u64),
            (1, 0xc44b_dff4_074e_ecdb_u64),
            (2, 0x9093_381c_8763_d62e_u64),
            (3, 0xc348_9259_e968_ad9e_u64),
            (4, 0xd3d6_0c15_1901_4e89_u64),
            (5, 0x5599_35c0_f3f7_327f_u64),
            (8, 0xb88d_ee77_f6bf_6980_u64),
            (9, 0x0368_8dca_d730_d826_u64),
            (12, 0x305c_5bae_3681_d0e0_u64),
            (16, 0x9da2_3836_adf2_be1e_u64),
            (17, 0xf34c_3c9c_f5a1_12d1_u64),
            (31, 0x1c67_7662_71b9_5c64_u64),
            (32, 0x99cb_9ad0_f1a1_1fbe_u64),
            (33, 0xc077_b454_92d2_9cde_u64),
            (64, 0x6efb_76ff_16f3_7561_u64),
            (65, 0x2640_848e_9137_156b_u64),
            (96, 0x764d_2d5d_b929_42df_u64),
            (97, 0x077a_cb7e_5f4f_d940_u64),
            (127, 0x9211_3fc2_8f4b_970c_u64),
            (128, 0x65f3_c2c0_0fa9_3185_u64),
            (129, 0x2806_5c6e_c25f_5b25_u64),
            (144, 0x600e_8d34_5ff9_620d_u64),
            (160, 0xcc59_2da6_8fea_2254_u64),
            (239, 0x6ce0_b131_91e6_35ea_u64),
            (240, 0x4917_a75c_0ef8_eed7_u64),
            (241, 0x541b_1922_6f00_52e8_u64),
            (256, 0xf233_1523_b74c_f0a4_u64),
            (257, 0x3307_4291_cf40_0551_u64),
            (1023, 0x4e4c_8663_06f8_b848_u64),
            (1024, 0xba46_4919_c6bb_3ccd_u64),
            (1025, 0x2aa0_034e_7827_ee42_u64),
            (1088, 0x6120_d502_33c9_c660_u64),
            (2048, 0x956f_98be_a321_0c05_u64),
            (2049, 0xe26a_dc81_a9c9_e336_u64),
            (4999, 0x81ff_0396_961b_ebec_u64),
        ] {
            assert_eq!(xxh3(&text[..len]), digest, "{len} bytes");
        }
    }
}
