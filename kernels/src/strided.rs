//! Copies that change where elements stand: transpose, slice, expand, for elements of any size.

use bytemuck::Pod;

/// For each output dimension, its size and how many elements of the input one step along it skips.
#[derive(Clone, Debug)]
pub struct Strided {
    sizes: Vec<usize>,
    steps: Vec<usize>,
    start: usize,
}

impl Strided {
    /// Output dimension `i` is input dimension `permutation[i]`.
    pub fn transpose(input: &[usize], permutation: &[usize]) -> Strided {
        let steps = row_major(input);
        Strided {
            sizes: permutation.iter().map(|&axis| input[axis]).collect(),
            steps: permutation.iter().map(|&axis| steps[axis]).collect(),
            start: 0,
        }
        .merged()
    }

    /// `output` many elements a dimension, from `starts` on, each `strides` apart.
    pub fn slice(
        input: &[usize],
        starts: &[usize],
        strides: &[usize],
        output: &[usize],
    ) -> Strided {
        let steps = row_major(input);
        Strided {
            sizes: output.to_vec(),
            steps: steps
                .iter()
                .zip(strides)
                .map(|(step, stride)| step * stride)
                .collect(),
            start: steps
                .iter()
                .zip(starts)
                .map(|(step, start)| step * start)
                .sum(),
        }
        .merged()
    }

    /// Dimensions of size 1 (or missing in front) are repeated.
    pub fn expand(input: &[usize], output: &[usize]) -> Strided {
        let steps = row_major(input);
        let missing = output.len() - input.len();
        let steps = (0..output.len())
            .map(|axis| match axis.checked_sub(missing) {
                Some(at) if input[at] != 1 => steps[at],
                _ => 0,
            })
            .collect();
        Strided {
            sizes: output.to_vec(),
            steps,
            start: 0,
        }
        .merged()
    }

    /// Joins neighbouring dimensions that one step can walk, so that the innermost run is long.
    fn merged(self) -> Strided {
        let mut sizes: Vec<usize> = Vec::new();
        let mut steps: Vec<usize> = Vec::new();
        for (&size, &step) in self.sizes.iter().zip(&self.steps) {
            if size == 1 {
                continue;
            }
            match (sizes.last_mut(), steps.last_mut()) {
                (Some(last_size), Some(last_step)) if *last_step == size * step => {
                    *last_size *= size;
                    *last_step = step;
                }
                _ => {
                    sizes.push(size);
                    steps.push(step);
                }
            }
        }
        if sizes.is_empty() {
            let empty = self.sizes.contains(&0);
            sizes.push(usize::from(!empty));
            steps.push(1);
        }
        Strided {
            sizes,
            steps,
            start: self.start,
        }
    }

    /// [`Self::copy`] of elements of `size` bytes (1, 2, 4 or 8), to which both slices are aligned.
    pub fn copy_bytes(&self, size: usize, input: &[u8], output: &mut [u8]) {
        fn elements<T: Pod>(strided: &Strided, input: &[u8], output: &mut [u8]) {
            strided.copy(
                bytemuck::cast_slice::<u8, T>(input),
                bytemuck::cast_slice_mut::<u8, T>(output),
            );
        }
        match size {
            8 => elements::<u64>(self, input, output),
            4 => elements::<u32>(self, input, output),
            2 => elements::<u16>(self, input, output),
            _ => elements::<u8>(self, input, output),
        }
    }

    /// Fills `output`, which has as many elements as the sizes say, from `input`.
    pub(crate) fn copy<T: Copy>(&self, input: &[T], output: &mut [T]) {
        let last = self.sizes.len() - 1;
        let (run, step) = (self.sizes[last], self.steps[last]);
        if output.is_empty() {
            return;
        }
        let mut index = vec![0; last];
        let mut from = self.start;
        for row in output.chunks_exact_mut(run) {
            match step {
                1 => row.copy_from_slice(&input[from..from + run]),
                0 => row.fill(input[from]),
                _ => {
                    for (i, element) in row.iter_mut().enumerate() {
                        *element = input[from + i * step];
                    }
                }
            }
            for axis in (0..last).rev() {
                index[axis] += 1;
                from += self.steps[axis];
                if index[axis] < self.sizes[axis] {
                    break;
                }
                from -= self.steps[axis] * self.sizes[axis];
                index[axis] = 0;
            }
        }
    }
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        steps[axis] = steps[axis + 1] * shape[axis + 1];
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes_slices_and_expands() {
        let x: Vec<u8> = (0..24).collect();
        let mut out = vec![0; 24];
        Strided::transpose(&[2, 3, 4], &[0, 2, 1]).copy(&x, &mut out);
        assert_eq!(out[..6], [0, 4, 8, 1, 5, 9]);
        assert_eq!(out[12..15], [12, 16, 20]);
        let mut out = vec![0; 4];
        Strided::slice(&[2, 3, 4], &[1, 1, 0], &[1, 1, 2], &[1, 2, 2]).copy(&x, &mut out);
        assert_eq!(out, [16, 18, 20, 22]);
        let mut out = vec![0; 6];
        Strided::expand(&[3, 1], &[3, 2]).copy(&x[..3], &mut out);
        assert_eq!(out, [0, 0, 1, 1, 2, 2]);
        let mut out = vec![0; 4];
        Strided::expand(&[2], &[2, 2]).copy(&x[..2], &mut out);
        assert_eq!(out, [0, 1, 0, 1]);
    }

    #[test]
    fn a_single_number_and_nothing_at_all() {
        let mut out = [0u8];
        Strided::transpose(&[], &[]).copy(&[7], &mut out);
        assert_eq!(out, [7]);
        Strided::expand(&[1], &[0]).copy(&[7], &mut []);
    }
}
