//! One decoder per run, named by FUZZ_TARGET: bytes in, no panic, no endless loop, no memory beyond what bytes justify.
//! With FUZZ_SEEDS=FOLDER it writes valid inputs of every decoder into FOLDER/TARGET/ instead.
#![no_main]

mod targets;

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

fn write_seeds(folder: PathBuf) -> std::io::Result<()> {
    for target in targets::TARGETS {
        let own = folder.join(target.name);
        std::fs::create_dir_all(&own)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            (target.run)(&seed);
            std::fs::write(own.join(number.to_string()), seed)?;
        }
    }
    Ok(())
}

fuzz_target!(
    init: {
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            write_seeds(PathBuf::from(folder)).expect("writes seeds");
            std::process::exit(0);
        }
    },
    |data: &[u8]| {
        let target = TARGET.get_or_init(|| {
            let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
            let found = targets::TARGETS.iter().find(|t| t.name == name);
            *found.unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is none of {:?}", targets::names()))
        });
        (target.run)(data);
    }
);
