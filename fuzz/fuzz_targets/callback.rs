//! Answers of browsers and pasted texts. None may panic, and an answer that is read has the key of its own `state`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenkeeper::callback;

fuzz_target!(|text: &str| {
    if let Ok(read) = callback::read(text) {
        let parameters = callback::parameters(read.expose()).expect("what was read is read again");
        assert_eq!(parameters.state, Some(read.key));
        assert!(parameters.code.is_some() || parameters.error.is_some());
        let pasted = callback::pasted(read.key, text).expect("the same text pasted for the same login");
        assert_eq!((pasted.key, pasted.expose()), (read.key, read.expose()));
    }
    let key = callback::key_of_state("another login");
    if let Ok(pasted) = callback::pasted(key, text) {
        let parameters = callback::parameters(pasted.expose()).expect("what was read is read again");
        assert!(parameters.state.is_none_or(|state| state == key));
    }
});
