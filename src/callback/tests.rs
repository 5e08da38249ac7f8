use super::*;

const STATE: &str = "af0ifjsldkj";
const ANSWER: &str = "code=SplxlOBeZQQYbYS6WxSbIA&state=af0ifjsldkj&iss=https%3A%2F%2Fas.example.com";

fn key() -> LoginKey {
    key_of_state(STATE)
}

fn code_of(callback: &Callback) -> String {
    parameters(callback.expose()).unwrap().code.unwrap().expose().to_owned()
}

#[test]
fn the_key_of_a_login_is_the_sha_256_of_its_state() {
    let hex: String = key_of_state("abc").0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn an_answer_is_read_from_queries_addresses_and_texts_around_them() {
    let (front, back) = ANSWER.split_at(30);
    for text in [
        ANSWER.to_owned(),
        format!("?{ANSWER}"),
        format!("http://127.0.0.1:8000/callback?{ANSWER}"),
        format!("  http://[::1]:8000/callback?{ANSWER}#fragment\n"),
        format!("\"https://host.example/callback?{ANSWER}\""),
        format!("<http://localhost/cb?{ANSWER}>,"),
        format!("Here it is:\nhttp://localhost/cb?{ANSWER}\nThank you very much"),
        format!("it says http://localhost/cb?{ANSWER} and no more"),
        format!("http://localhost/cb?{front}\n{back}"),
        format!("http://localhost/cb?{front}   \r\n   {back}\r\n"),
        format!("http://localhost/cb?{front}\\\n{back}"),
        format!("com.example.app:/cb?{ANSWER}"),
    ] {
        for callback in [read(&text), pasted(key(), &text)].map(Result::unwrap) {
            assert_eq!((callback.key, callback.expose()), (key(), ANSWER), "{text}");
        }
    }
}

#[test]
fn a_line_after_the_address_does_not_spoil_it() {
    let text = format!("http://localhost/cb?code=c&state={STATE}\nThanks");
    assert_eq!(pasted(key(), &text).unwrap().expose(), format!("code=c&state={STATE}"));
}

#[test]
fn what_ends_a_query_is_part_of_it_unless_the_login_is_known() {
    assert_eq!(read("code=a?b&state=x)").unwrap().key, key_of_state("x)"));
    assert_eq!(read("http://h/cb?code=a?b&state=x").unwrap().expose(), "code=a?b&state=x");
    let text = format!("(see http://localhost/cb?code=c&state={STATE}), and more");
    assert_eq!(pasted(key(), &text).unwrap().expose(), format!("code=c&state={STATE}"));
}

#[test]
fn all_parameters_are_kept_and_decoded_once() {
    let answer = "state=a%26b&iss=https%3A%2F%2Fas.example%2F%2541&code=a%2Bb+c%26d&extra=1";
    let callback = read(answer).unwrap();
    assert_eq!(callback.key, key_of_state("a&b"));
    let Parameters { code, state, iss, error, error_description } = parameters(callback.expose()).unwrap();
    assert_eq!(code.unwrap().expose(), "a+b c&d");
    assert_eq!((state, iss.as_deref()), (Some(key_of_state("a&b")), Some("https://as.example/%41")));
    assert_eq!((error, error_description), (None, None));

    let refused = read("error=access_denied&error_description=No%0Athanks&state=s").unwrap();
    let Parameters { code, error, error_description, .. } = parameters(refused.expose()).unwrap();
    assert!(code.is_none());
    assert_eq!((error.as_deref(), error_description.as_deref()), (Some("access_denied"), Some("No\nthanks")));
}

#[test]
fn a_parameter_that_comes_twice_is_refused_however_it_is_spelt() {
    for (answer, parameter) in [
        ("code=a&code=b&state=s", "code"),
        ("code=a&state=s&state=t", "state"),
        ("code=a&state=s&%73tate=s", "state"),
        ("code=a&state=s&iss=i&iss=i", "iss"),
        ("code=a&state=s&iss=&iss=i", "iss"),
        ("error=a&state=s&error=a", "error"),
    ] {
        let duplicate = CallbackError::Duplicate { parameter };
        assert_eq!(read(answer).unwrap_err(), duplicate, "{answer}");
        assert_eq!(pasted(key_of_state("s"), answer).unwrap_err(), duplicate, "{answer}");
        assert_eq!(parameters(answer).unwrap_err(), duplicate, "{answer}");
    }
    assert!(read("code=a&state=s&other=1&other=2").is_ok(), "unknown parameters are not read");
}

#[test]
fn an_answer_without_state_is_refused() {
    for text in
        ["code=a", "http://127.0.0.1:1/callback?code=a", "code=a&state=", "error=access_denied", "?code=a&iss=i"]
    {
        assert_eq!(read(text).unwrap_err(), CallbackError::MissingState, "{text}");
        assert_eq!(pasted(key(), text).unwrap_err(), CallbackError::MissingState, "{text}");
    }
}

#[test]
fn the_answer_to_another_login_is_refused() {
    for text in ["http://127.0.0.1:1/callback?code=a&state=other", "code=a&state=other", "error=x&state=other"] {
        assert_eq!(pasted(key(), text).unwrap_err(), CallbackError::OtherLogin, "{text}");
    }
    let both = format!("http://a/cb?code=old&state=other http://a/cb?code=new&state={STATE}");
    assert_eq!(code_of(&pasted(key(), &both).unwrap()), "new");
}

#[test]
fn a_bare_code_can_be_told_from_a_query() {
    for (text, code) in [
        ("SplxlOBeZQQYbYS6WxSbIA", "SplxlOBeZQQYbYS6WxSbIA"),
        ("  '4/0AX4-abc_def~ghi' \n", "4/0AX4-abc_def~ghi"),
        ("4%2F0AX4%2Dabcdef", "4/0AX4-abcdef"),
        ("YWJjZGVmZ2hpamtsbQ==", "YWJjZGVmZ2hpamtsbQ=="),
        ("100%of-this-is-raw", "100%of-this-is-raw"),
        ("also-raw-at-the-end%", "also-raw-at-the-end%"),
        ("a+b&c+d&e+f&g+h&i", "a+b&c+d&e+f&g+h&i"),
        ("first-half-\nsecond-half", "first-half-second-half"),
        ("no-control-is-made%00", "no-control-is-made%00"),
        ("exactly-16-chars", "exactly-16-chars"),
    ] {
        let callback = pasted(key(), text).unwrap();
        assert_eq!((callback.key, code_of(&callback).as_str()), (key(), code), "{text}");
        let Parameters { state, iss, .. } = parameters(callback.expose()).unwrap();
        assert_eq!((state, iss), (None, None), "no state and no issuer are invented");
        assert!(read(text).is_err(), "{text}: a route never gets a bare code");
    }
}

#[test]
fn a_text_without_an_answer_is_refused() {
    for text in [
        "",
        " \n",
        "two words",
        "http://127.0.0.1:1/callback",
        "http://127.0.0.1:1/cb?x=1",
        "state=s",
        "cödé",
        "a\u{202e}b",
        "a\u{7}b",
    ] {
        assert_eq!(read(text).unwrap_err(), CallbackError::NoAnswer, "{text:?}");
        assert_eq!(pasted(key(), text).unwrap_err(), CallbackError::NoAnswer, "{text:?}");
    }
}

#[test]
fn a_text_beyond_the_bound_is_not_read() {
    let fits = format!("code={}&state=s", "a".repeat(MAX_ANSWER - 13));
    assert_eq!(fits.len(), MAX_ANSWER);
    assert!(read(&fits).is_ok());
    let long = format!("{fits}a");
    assert_eq!(read(&long).unwrap_err(), CallbackError::TooLong);
    assert_eq!(pasted(key(), &long).unwrap_err(), CallbackError::TooLong);
    assert_eq!(parameters(&long).unwrap_err(), CallbackError::TooLong);
    // Each `+` takes three bytes in the answer, because it is percent-encoded there.
    let grows = "+".repeat(MAX_ANSWER / 3);
    assert_eq!(pasted(key(), &grows).unwrap_err(), CallbackError::TooLong);
    let fits = "+".repeat(MAX_ANSWER / 3 - "code=".len());
    assert_eq!(code_of(&pasted(key(), &fits).unwrap()), fits);
}

#[test]
fn no_debug_output_contains_a_secret() {
    let answer = "code=SECRET1&state=SECRET2&iss=SECRET3&error_description=SECRET4";
    let shown = format!("{:?} {:?}", read(answer).unwrap(), parameters(answer).unwrap());
    assert!(!shown.contains("SECRET"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic_and_what_is_read_is_read_again(text in ".{0,200}") {
        if let Ok(callback) = read(&text) {
            let again = read(callback.expose()).unwrap();
            assert_eq!((again.key, again.expose()), (callback.key, callback.expose()));
        }
        if let Ok(callback) = pasted(key(), &text) {
            assert!(parameters(callback.expose()).unwrap().code.is_some());
        }
    }

    #[test]
    fn any_state_and_code_survive(state in "\\PC{1,40}", code in "[!-~]{1,60}") {
        let answer = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &state)
            .finish();
        let callback = read(&format!("http://127.0.0.1:80/callback?{answer}")).unwrap();
        assert_eq!((callback.key, code_of(&callback)), (key_of_state(&state), code));
    }
}
