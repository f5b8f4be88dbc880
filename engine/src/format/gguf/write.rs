//! Writes small GGUF files for tests, good ones and bad ones.

/// A file under construction; what is written is exactly what is asked for, true or not.
pub(crate) struct Writer {
    pub(crate) version: u32,
    pub(crate) alignment: usize,
    pub(crate) pairs: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<TensorSpec>,
    pub(crate) data: Vec<u8>,
    /// Counts that say something else than what follows.
    pub(crate) tensor_count: Option<u64>,
    pub(crate) pair_count: Option<u64>,
}

pub(crate) struct TensorSpec {
    pub(crate) name: String,
    /// ggml's order: innermost first.
    pub(crate) ne: Vec<u64>,
    pub(crate) type_number: u32,
    pub(crate) offset: u64,
}

impl Writer {
    pub(crate) fn new() -> Writer {
        Writer {
            version: 3,
            alignment: 32,
            pairs: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
            tensor_count: None,
            pair_count: None,
        }
    }

    pub(crate) fn pair(&mut self, key: &str, type_number: u32, value: &[u8]) {
        let mut pair = string(key);
        pair.extend(type_number.to_le_bytes());
        pair.extend(value);
        self.pairs.push(pair);
    }

    /// Adds a tensor whose data comes next, aligned.
    pub(crate) fn tensor(&mut self, name: &str, ne: &[u64], type_number: u32, data: &[u8]) {
        let aligned = self.data.len().next_multiple_of(self.alignment);
        self.data.resize(aligned, 0);
        self.tensors.push(TensorSpec {
            name: name.to_owned(),
            ne: ne.to_vec(),
            type_number,
            offset: aligned as u64,
        });
        self.data.extend(data);
    }

    /// Everything before the padding that leads to the data.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        let tensors = self.tensor_count.unwrap_or(self.tensors.len() as u64);
        file.extend(tensors.to_le_bytes());
        let pairs = self.pair_count.unwrap_or(self.pairs.len() as u64);
        file.extend(pairs.to_le_bytes());
        file.extend(self.pairs.concat());
        for tensor in &self.tensors {
            file.extend(string(&tensor.name));
            file.extend((tensor.ne.len() as u32).to_le_bytes());
            file.extend(tensor.ne.iter().flat_map(|d| d.to_le_bytes()));
            file.extend(tensor.type_number.to_le_bytes());
            file.extend(tensor.offset.to_le_bytes());
        }
        file
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let mut file = self.header();
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file.extend(&self.data);
        file
    }
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// An array's value: element type, count, elements as bytes.
pub(crate) fn array(type_number: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    let mut bytes = type_number.to_le_bytes().to_vec();
    bytes.extend(count.to_le_bytes());
    bytes.extend(elements);
    bytes
}
