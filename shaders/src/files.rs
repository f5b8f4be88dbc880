//! The shader files, carried in the program.

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// A shader file's text by its name.
        pub(crate) fn find(name: &str) -> Option<&'static str> {
            match name {
                $($name => Some(include_str!(concat!("../wgsl/", $name))),)*
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
}
