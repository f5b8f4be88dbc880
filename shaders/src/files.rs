//! The shader files, carried in the program as `build.rs` leaves them.

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// A shader file's text by its name.
        pub(crate) fn find(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!(env!("OUT_DIR"), "/", $name))),)*
                _ => None,
            }
        }

        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$($name),*];
    };
}

files!(
    "attention_io.wgsl",
    "attention_registers.wgsl",
    "attention_tiled.wgsl",
    "block_formats.wgsl",
    "circle.wgsl",
    "conv2d.wgsl",
    "conv2d_io.wgsl",
    "conv2d_tiled.wgsl",
    "copy.wgsl",
    "cumulative_sum.wgsl",
    "decode.wgsl",
    "elementwise.wgsl",
    "gather.wgsl",
    "gather_rows.wgsl",
    "index.wgsl",
    "kv_append.wgsl",
    "lanes.wgsl",
    "linear_io.wgsl",
    "linear_registers.wgsl",
    "linear_rows.wgsl",
    "linear_tiled.wgsl",
    "linear_vector.wgsl",
    "math.wgsl",
    "matmul.wgsl",
    "normalize.wgsl",
    "normalize_io.wgsl",
    "pad.wgsl",
    "plain_weights.wgsl",
    "pool2d.wgsl",
    "reduce.wgsl",
    "reduce_workgroup.wgsl",
    "rotary_embedding.wgsl",
    "scatter.wgsl",
    "top_k.wgsl",
);

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_of_the_folder_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/wgsl");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, super::NAMES);
    }

    /// naga rounds a literal beyond the largest f32 to it; Tint, in Chromium, refuses it.
    #[test]
    fn no_literal_is_beyond_f32() {
        for name in super::NAMES {
            let text =
                std::fs::read_to_string(format!("{}/wgsl/{name}", env!("CARGO_MANIFEST_DIR")));
            let text = text.unwrap();
            let numbers = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
            for number in numbers.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
                let number = number.trim_end_matches('f');
                let value: f64 = number.parse().unwrap_or(0.0);
                assert!(value <= f64::from(f32::MAX), "{name}: {number}");
            }
        }
    }
}
