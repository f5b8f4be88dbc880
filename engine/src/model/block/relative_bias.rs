//! T5's bias by relative position (Raffel et al. 2020, section 2.1): a learned number a head and bucket of
//! distances, fine for near keys and logarithmic for far ones.

use crate::graph::op::{Binary, Op};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::model::{ConfigError, ModelError};
use crate::tensor::Tensor;

/// Distances beyond this are no model's; a table grows with it.
const MOST_DISTANCE: usize = 1 << 16;

#[derive(Clone, Debug)]
pub struct RelativeBias {
    buckets: usize,
    /// From this distance on, all keys share a bucket.
    max_distance: usize,
    /// Whether keys after the query have buckets of their own; otherwise they are in the first.
    bidirectional: bool,
}

impl RelativeBias {
    /// # Errors
    /// Numbers that make no buckets, under the names that T5's config has for them.
    pub fn new(
        buckets: usize,
        max_distance: usize,
        bidirectional: bool,
    ) -> Result<RelativeBias, ConfigError> {
        let wrong = |key: &str, got: usize, wanted| ConfigError::Value {
            key: key.into(),
            got: got.to_string(),
            wanted,
        };
        if !(4..=MOST_DISTANCE).contains(&buckets) || !buckets.is_multiple_of(2) {
            let wanted = "an even number from 4 to 65536";
            return Err(wrong("relative_attention_num_buckets", buckets, wanted));
        }
        let near = buckets / if bidirectional { 4 } else { 2 };
        if max_distance <= near || max_distance > MOST_DISTANCE {
            let wanted = "a distance up to 65536 beyond those with buckets of their own";
            return Err(wrong(
                "relative_attention_max_distance",
                max_distance,
                wanted,
            ));
        }
        Ok(RelativeBias {
            buckets,
            max_distance,
            bidirectional,
        })
    }

    /// The biases of `table [buckets, heads]` for queries and keys at positions `queries [n, queries, 1]` and
    /// `keys [1, 1, keys]` (i32): `[n, heads, queries, keys]`.
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        table: ValueId,
        queries: ValueId,
        keys: ValueId,
    ) -> Result<ValueId, ModelError> {
        let far = self.max_distance as i32;
        let (least, most) = (-far, if self.bidirectional { far } else { 0 });
        let buckets: Vec<i32> = (least..=most).map(|offset| self.bucket(offset)).collect();
        let buckets = b.constant(Tensor::from_i32(&[buckets.len()], &buckets)?);
        let by_offset = b.embedding(table, buckets)?;

        let offsets = b.binary(Binary::Sub, keys, queries)?;
        let limits = Op::Clamp {
            min: least as f32,
            max: most as f32,
        };
        let offsets = b.op(limits, &[offsets])?;
        let first = b.constant(Tensor::from_i32(&[], &[least])?);
        let rows = b.binary(Binary::Sub, offsets, first)?;
        let bias = b.gather(by_offset, rows, 0)?;
        Ok(b.transpose(bias, &[0, 3, 1, 2])?)
    }

    /// The bucket of keys `offset` positions after the query (before it, where negative).
    fn bucket(&self, offset: i32) -> i32 {
        let distance = offset.unsigned_abs() as usize;
        let (buckets, first) = match (self.bidirectional, offset > 0) {
            (true, true) => (self.buckets / 2, self.buckets / 2),
            (true, false) => (self.buckets / 2, 0),
            (false, true) => return 0,
            (false, false) => (self.buckets, 0),
        };
        let near = buckets / 2;
        let bucket = if distance < near {
            distance
        } else {
            // In f32, step by step, as the reference implementation does: the result decides by being cut.
            let ratio = libm::log(f64::from(distance as f32 / near as f32)) as f32;
            let range = libm::log(self.max_distance as f64 / near as f64) as f32;
            let beyond = (ratio / range * (buckets - near) as f32) as usize;
            (near + beyond).min(buckets - 1)
        };
        (first + bucket) as i32
    }
}

/// `0, 1, …` up to (not including) `count`, i32; `most` is the largest that `count` may be bound to.
pub fn positions(b: &mut GraphBuilder, count: Dim, most: usize) -> Result<ValueId, ModelError> {
    let all: Vec<i32> = (0..most as i32).collect();
    let all = b.constant(Tensor::from_i32(&[most], &all)?);
    Ok(b.slice_axis(all, 0, Dim::from(0), count)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `T5Attention._relative_position_bucket` of transformers 4.48 gives.
    #[test]
    fn buckets_are_the_papers() {
        let encoder = RelativeBias::new(32, 128, true).unwrap();
        let offsets = [
            -200, -128, -127, -64, -16, -9, -8, -7, -1, 0, 1, 7, 8, 12, 64, 127, 300,
        ];
        let got = offsets.map(|offset| encoder.bucket(offset));
        assert_eq!(
            got,
            [
                15, 15, 15, 14, 10, 8, 8, 7, 1, 0, 17, 23, 24, 25, 30, 31, 31
            ]
        );
        let decoder = RelativeBias::new(32, 128, false).unwrap();
        let got = offsets.map(|offset| decoder.bucket(offset));
        assert_eq!(
            got,
            [31, 31, 31, 26, 16, 9, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn numbers_that_make_no_buckets_are_refused() {
        for (buckets, distance) in [
            (0, 128),
            (2, 128),
            (33, 128),
            (1 << 20, 128),
            (32, 16),
            (32, 0),
        ] {
            let error = RelativeBias::new(buckets, distance, false).unwrap_err();
            assert!(error.to_string().contains("relative_attention_"), "{error}");
        }
        assert!(RelativeBias::new(32, 1 << 20, true).is_err());
    }
}
