use super::*;
use crate::format::read_tensor;
use crate::source::MemorySource;

fn shard(tensors: &[(&str, u8)]) -> Rc<dyn ByteSource> {
    let entries: Vec<String> = tensors
        .iter()
        .enumerate()
        .map(|(n, (name, _))| {
            format!(
                r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{n},{}]}}"#,
                n + 1
            )
        })
        .collect();
    let json = format!("{{{}}}", entries.join(","));
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend(tensors.iter().map(|(_, value)| value));
    Rc::new(MemorySource::new("shard", bytes))
}

const INDEX: &str = r#"{"metadata":{"total_size":3},
    "weight_map":{"a":"m-2.safetensors","b":"m-1.safetensors","c":"m-2.safetensors"}}"#;

#[test]
fn joins_the_shards() {
    let index = ShardIndex::parse(INDEX.as_bytes(), "m.index.json").unwrap();
    assert_eq!(index.files, ["m-1.safetensors", "m-2.safetensors"]);
    // Shard 1 also has an `a` of its own, which the index does not mean.
    let shards = [shard(&[("b", 1), ("a", 9)]), shard(&[("a", 2), ("c", 3)])];
    let checkpoint = pollster::block_on(index.read_headers(&shards)).unwrap();
    assert_eq!(checkpoint.tensors.len(), 3);
    for (name, file, value) in [("a", 1, 2), ("b", 0, 1), ("c", 1, 3)] {
        let entry = checkpoint.get(name).unwrap();
        assert_eq!(entry.file, file);
        let bytes = pollster::block_on(read_tensor(&shards, entry)).unwrap();
        assert_eq!(bytes, [value]);
    }
}

#[test]
fn a_missing_tensor_or_shard_is_named() {
    let index = ShardIndex::parse(INDEX.as_bytes(), "m.index.json").unwrap();
    let shards = [shard(&[("b", 1)]), shard(&[("c", 3)])];
    let error = pollster::block_on(index.read_headers(&shards)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "m.index.json: tensor \"a\": is not in shard \"m-2.safetensors\", where the index says it is"
    );
    let error = pollster::block_on(index.read_headers(&shards[..1])).unwrap_err();
    assert!(matches!(
        *error.fault,
        Fault::ShardCount {
            expected: 2,
            got: 1
        }
    ));
}

#[test]
fn shards_lie_beside_the_index() {
    for name in [
        "", "..", ".x", "../m", "/etc/m", "a/b", "a\\\\b", "c:m", "a\\u0000",
    ] {
        let json = format!(r#"{{"weight_map":{{"t":"{name}"}}}}"#);
        let error = ShardIndex::parse(json.as_bytes(), "i").expect_err(name);
        assert!(matches!(*error.fault, Fault::ShardName(_)), "{error}");
        assert_eq!(error.tensor.as_deref(), Some("t"));
    }
}

#[test]
fn a_broken_index_is_refused() {
    for length in 0..INDEX.len() {
        let error = ShardIndex::parse(&INDEX.as_bytes()[..length], "i").unwrap_err();
        assert!(matches!(*error.fault, Fault::Json(_)));
    }
}
