//! Energy that the processors took, by Linux's power capping interface (RAPL, AMD's too): that of the whole packages, whoever
//! computed, and without a GPU's. Most systems tell it to root only.

use std::path::{Path, PathBuf};

const ZONES: &str = "/sys/class/powercap";

/// Runs from before the first repeat to after the last.
pub(super) struct Meter {
    packages: Vec<Package>,
}

struct Package {
    folder: PathBuf,
    /// Microjoules; the count begins anew after the range.
    begun: u64,
    range: u64,
}

impl Meter {
    /// `None` where the system tells nothing.
    pub(super) fn begin() -> Option<Meter> {
        Meter::of(Path::new(ZONES))
    }

    fn of(zones: &Path) -> Option<Meter> {
        let mut packages = Vec::new();
        for entry in std::fs::read_dir(zones).ok()?.flatten() {
            let name = entry.file_name();
            // `intel-rapl:0` is a package, `intel-rapl:0:1` a part of it, and the zones of `-mmio` count the same once more.
            let is_package = |name: &str| {
                let number = name.strip_prefix("intel-rapl:");
                number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
            };
            if name.to_str().is_some_and(is_package) {
                packages.push(Package {
                    begun: number(&entry.path(), "energy_uj")?,
                    range: number(&entry.path(), "max_energy_range_uj")?,
                    folder: entry.path(),
                });
            }
        }
        (!packages.is_empty()).then_some(Meter { packages })
    }

    /// Joules since it began.
    pub(super) fn end(self) -> Option<f64> {
        let mut sum = 0;
        for package in self.packages {
            let now = number(&package.folder, "energy_uj")?;
            sum += match now.checked_sub(package.begun) {
                Some(taken) => taken,
                None => now + package.range.checked_sub(package.begun)?,
            };
        }
        Some(sum as f64 / 1e6)
    }
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join(file)).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_added_up_and_counts_begin_anew() {
        let zones = tempfile::tempdir().unwrap();
        assert!(Meter::of(zones.path()).is_none());
        assert!(Meter::of(&zones.path().join("none")).is_none());
        let write = |zone: &str, file: &str, number: u64| {
            let folder = zones.path().join(zone);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(file), format!("{number}\n")).unwrap();
        };
        for (zone, energy) in [
            ("intel-rapl:0", 1_000_000),
            ("intel-rapl:1", 9_000_000),
            ("intel-rapl:0:0", 5),
            ("intel-rapl-mmio:0", 5),
        ] {
            write(zone, "energy_uj", energy);
            write(zone, "max_energy_range_uj", 10_000_000);
        }
        let meter = Meter::of(zones.path()).unwrap();
        write("intel-rapl:0", "energy_uj", 3_500_000);
        write("intel-rapl:1", "energy_uj", 500_000);
        write("intel-rapl:0:0", "energy_uj", 4_000_000);
        assert_eq!(meter.end(), Some(4.0));
        // A count that cannot be read, as for who is not root, is none.
        std::fs::remove_file(zones.path().join("intel-rapl:1/energy_uj")).unwrap();
        assert!(Meter::of(zones.path()).is_none());
    }
}
