//! Convolutional networks that stand before a transformer.

pub mod resnet;
