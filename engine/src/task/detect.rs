//! Boxes from DETR's output (`DetrImageProcessor.post_process_object_detection`).

use serde::Serialize;

use super::labels::{Labels, best, softmax};

/// Something found in a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    pub class: usize,
    pub label: String,
    /// 0 to 1.
    pub score: f32,
    /// In pixels of the picture as it was given, before any resizing.
    #[serde(rename = "box")]
    pub region: Region,
}

/// A rectangle: left, top, right, bottom, in pixels from the picture's left upper corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Region {
    #[serde(rename = "xmin")]
    pub left: f32,
    #[serde(rename = "ymin")]
    pub top: f32,
    #[serde(rename = "xmax")]
    pub right: f32,
    #[serde(rename = "ymax")]
    pub bottom: f32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    #[error("{boxes} box coordinates are no whole number of boxes of 4")]
    Boxes { boxes: usize },
    #[error(
        "{logits} logits for {queries} boxes: every box needs as many, two at least (the last one means nothing)"
    )]
    Logits { logits: usize, queries: usize },
}

/// What one picture of `width` × `height` pixels shows with a probability above `threshold`, the surest first.
///
/// `logits` are `[queries, classes + 1]`, the last class meaning that there is nothing; `boxes` are `[queries, 4]`: centre x
/// and y, width and height, as parts of the picture.
///
/// With padded batches the parts are those of the picture without its padding, which is what DETR predicts.
///
/// # Errors
/// The numbers of logits and boxes do not fit each other.
pub fn detections(
    logits: &[f32],
    boxes: &[f32],
    (width, height): (usize, usize),
    threshold: f32,
    labels: &Labels,
) -> Result<Vec<Detection>, DetectError> {
    if !boxes.len().is_multiple_of(4) {
        return Err(DetectError::Boxes { boxes: boxes.len() });
    }
    let queries = boxes.len() / 4;
    if queries == 0 && logits.is_empty() {
        return Ok(Vec::new());
    }
    if queries == 0 || !logits.len().is_multiple_of(queries) || logits.len() / queries < 2 {
        return Err(DetectError::Logits {
            logits: logits.len(),
            queries,
        });
    }
    let (width, height) = (width as f32, height as f32);
    let mut found: Vec<Detection> = logits
        .chunks_exact(logits.len() / queries)
        .zip(boxes.chunks_exact(4))
        .filter_map(|(logits, part)| {
            let probabilities = softmax(logits);
            let class = best(&probabilities[..probabilities.len() - 1]);
            let score = probabilities[class];
            // NaN is above nothing.
            (score > threshold).then(|| Detection {
                class,
                label: labels.get(class),
                score,
                region: Region {
                    left: (part[0] - part[2] / 2.0) * width,
                    top: (part[1] - part[3] / 2.0) * height,
                    right: (part[0] + part[2] / 2.0) * width,
                    bottom: (part[1] + part[3] / 2.0) * height,
                },
            })
        })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_scaled_and_sorted() {
        let labels = Labels::from_config(br#"{"id2label": {"0": "cat", "1": "remote"}}"#);
        let logits = [
            2.0, 0.0, 0.0, // 0.787 cat
            0.0, 0.0, 5.0, // nothing
            0.0, 5.0, 0.0, // 0.987 remote
            1.0, 0.9, 0.0, // 0.422 cat: below the threshold
        ];
        let boxes = [
            0.5, 0.5, 0.2, 0.4, //
            0.1, 0.1, 0.1, 0.1, //
            0.25, 0.75, 0.5, 0.5, //
            0.5, 0.5, 1.0, 1.0,
        ];
        let found = detections(&logits, &boxes, (640, 480), 0.5, &labels).expect("four boxes");
        let names: Vec<_> = found.iter().map(|one| one.label.as_str()).collect();
        assert_eq!(names, ["remote", "cat"]);
        assert!((found[1].score - 0.786_986).abs() < 1e-6);
        let region = found[1].region;
        for (got, want) in [
            (region.left, 256.0),
            (region.top, 144.0),
            (region.right, 384.0),
            (region.bottom, 336.0),
        ] {
            assert!((got - want).abs() < 1e-3, "{got} {want}");
        }
        assert_eq!(found[0].region.left, 0.0);
        assert_eq!(found[0].region.bottom, 480.0);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let labels = Labels::default();
        let run = |logits: &[f32], boxes: &[f32]| detections(logits, boxes, (1, 1), 0.5, &labels);
        assert_eq!(run(&[], &[]), Ok(Vec::new()));
        assert!(run(&[0.0; 6], &[0.0; 7]).is_err());
        assert!(run(&[0.0; 5], &[0.0; 8]).is_err());
        assert!(run(&[0.0; 2], &[0.0; 8]).is_err());
        assert!(run(&[0.0; 2], &[]).is_err());
        assert_eq!(run(&[f32::NAN; 3], &[0.0; 4]), Ok(Vec::new()));
    }
}
