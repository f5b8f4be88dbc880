//! Writes drawn cases of all operators, a file each, into the folder that is named; so many of each as may be said after it.

use std::path::Path;

use fewbit_webnn_cases::{CASES, OPERATORS};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.get(1).map_or(Ok(CASES), |count| count.parse());
    let (Some(folder), Ok(count)) = (arguments.first(), count) else {
        eprintln!("usage: fewbit-webnn-cases DIR [COUNT]");
        std::process::exit(2);
    };
    std::fs::create_dir_all(folder)?;
    for operator in OPERATORS {
        let file = Path::new(folder).join(format!("{}.json", operator.name));
        std::fs::write(file, operator.json(count).to_string())?;
    }
    Ok(())
}
