//! The graphics adapters that native `wgpu` finds, hardware before software.

use wgpu::{Backends, DeviceType, Features, Instance, InstanceDescriptor};

/// A graphics adapter and what matters of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// As its driver calls it.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub api: String,
    /// The driver and its version, as far as told.
    pub driver: String,
    /// Whether it computes on the CPU (lavapipe, SwiftShader, WARP).
    pub software: bool,
    /// Of `shader-f16`, `subgroups` and `timestamp-query` those it has.
    pub features: Vec<&'static str>,
    /// The most bytes that one storage buffer binding may span.
    pub max_storage_buffer_binding_size: u64,
}

/// Every adapter of this machine.
pub fn adapters() -> Vec<Adapter> {
    let backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    let mut descriptor = InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = Instance::new(descriptor);
    let mut found: Vec<Adapter> = pollster::block_on(instance.enumerate_adapters(backends))
        .iter()
        .map(describe)
        .collect();
    found.sort_by_key(|adapter| adapter.software);
    found
}

fn describe(adapter: &wgpu::Adapter) -> Adapter {
    let info = adapter.get_info();
    let has = adapter.features();
    let features = [
        (Features::SHADER_F16, "shader-f16"),
        (Features::SUBGROUP, "subgroups"),
        (Features::TIMESTAMP_QUERY, "timestamp-query"),
    ];
    Adapter {
        name: info.name,
        api: info.backend.to_str().to_owned(),
        driver: format!("{} {}", info.driver, info.driver_info)
            .trim()
            .to_owned(),
        software: info.device_type == DeviceType::Cpu,
        features: features
            .into_iter()
            .filter(|(feature, _)| has.contains(*feature))
            .map(|(_, name)| name)
            .collect(),
        max_storage_buffer_binding_size: adapter.limits().max_storage_buffer_binding_size,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn adapters_are_listed_hardware_first() {
        let found = super::adapters();
        if found.is_empty() {
            println!("no adapter on this machine: nothing to look at");
        }
        assert!(found.is_sorted_by_key(|adapter| adapter.software));
        assert!(
            found
                .iter()
                .all(|adapter| !adapter.name.is_empty()
                    && adapter.max_storage_buffer_binding_size > 0)
        );
    }
}
