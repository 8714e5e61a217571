//! Any text as a configuration file: it is taken, and reads the same when it is printed; or it is refused with words.
#![no_main]

use jimbot_mcp::config::{self, Surroundings};

fn surroundings(text: &str) -> Surroundings {
    Surroundings { file: Some(("jimbot-mcp.toml".into(), text.to_owned())), ..Default::default() }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    match config::load(&surroundings(text)) {
        Ok(loaded) => {
            let printed = config::print(&loaded);
            let again = config::load(&surroundings(&printed));
            assert_eq!(
                again.expect("what was printed is taken").config,
                loaded.config,
                "{printed}"
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
