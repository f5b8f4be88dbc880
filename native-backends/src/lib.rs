//! native-backends
