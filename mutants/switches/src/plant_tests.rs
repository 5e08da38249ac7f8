//! A source before and after, for each genre.

use super::*;

/// Plants mutants with the numbers 0, 1 and so on. Each is given as its genre, the text at which it begins, and its replacement.
fn planted(text: &str, mutants: &[(Genre, &str, &str)], constant: &[&str]) -> Planted {
    let mutants: Vec<Mutant> =
        mutants.iter().map(|(genre, needle, with)| Mutant::at(text, *genre, needle, with)).collect();
    let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
    plant(text, &numbered, &constant.iter().map(|it| (*it).to_owned()).collect()).expect("a source")
}

/// The planted source without the comments and with `on` for the path of the switch.
fn after(text: &str, mutants: &[(Genre, &str, &str)]) -> String {
    let planted = planted(text, mutants, &[]);
    assert_eq!(planted.left, []);
    syn::parse_file(&planted.text).expect("Rust");
    let mut plain = planted.text.replace(ON, "on");
    while let Some(start) = plain.find("/*") {
        let end = start + plain[start..].find("*/").expect("the end of a comment") + 2;
        plain.replace_range(start..end, "");
    }
    plain
}

#[test]
fn a_function_returns_a_value_first() {
    let mutants = [(Genre::FnValue, "g()", "1"), (Genre::FnValue, "g()", "2")];
    for (before, head) in [("fn f() -> u8 { g() }", "fn"), ("async fn f() -> u8 { g() }", "async fn")] {
        let expected = format!("{head} f() -> u8 {{ if on(0) {{ return 1; }} if on(1) {{ return 2; }} g() }}");
        assert_eq!(after(before, &mutants), expected);
    }
}

#[test]
fn a_const_function_loses_the_word_unless_it_is_needed() {
    let (text, mutants) = ("const fn f(n: u8) -> u8 { n }", [(Genre::FnValue, "n }", "1")]);
    assert_eq!(after(text, &mutants), " fn f(n: u8) -> u8 { if on(0) { return 1; } n }");
    let kept = planted(text, &mutants, &["f"]);
    assert_eq!((kept.text.as_str(), kept.left.len()), (text, 1));
}

#[test]
fn a_value_comes_before_a_constant_of_the_function() {
    let text = "fn f() -> u8 { const N: u8 = 1; N }";
    let expected = "fn f() -> u8 { if on(0) { return 2; } const N: u8 = 1; N }";
    assert_eq!(after(text, &[(Genre::FnValue, "const", "2")]), expected);
}

#[test]
fn a_constant_is_left() {
    let text = "const N: u8 = 1 + 2;";
    let planted = planted(text, &[(Genre::BinaryOperator, "+", "-")], &[]);
    assert_eq!((planted.text.as_str(), planted.left.len()), (text, 1));
}

#[test]
fn an_operator_is_replaced_in_a_copy() {
    assert_eq!(
        after("fn f() { a() - 1; }", &[(Genre::BinaryOperator, "-", "+"), (Genre::BinaryOperator, "-", "/")]),
        "fn f() { (if on(0) { (a() + 1) } else if on(1) { (a() / 1) } else { (a() - 1) }); }"
    );
    let copies = "fn f() { (if on(0) { (s.n -= g()) } else { (s.n += g()) }); }";
    assert_eq!(after("fn f() { s.n += g(); }", &[(Genre::BinaryOperator, "+=", "-=")]), copies);
    let copies = "fn f() { (if on(0) { (a()) } else { (!a()) }); }";
    assert_eq!(after("fn f() { !a(); }", &[(Genre::UnaryOperator, "!", "")]), copies);
}

#[test]
fn an_operand_may_begin_with_a_block() {
    assert_eq!(
        after("fn f() -> u8 { return match a { _ => 1 } + 2; }", &[(Genre::BinaryOperator, "+", "-")]),
        "fn f() -> u8 { return (if on(0) { (match a { _ => 1 } - 2) } else { (match a { _ => 1 } + 2) }); }"
    );
}

#[test]
fn an_operator_may_bind_less_tightly() {
    assert_eq!(
        after("fn f() { a && b && c; }", &[(Genre::BinaryOperator, "&&", "||")]),
        "fn f() { (if on(0) { (a || b && c) } else { (a && b && c) }); }"
    );
}

#[test]
fn operators_nest() {
    let mutants =
        [(Genre::BinaryOperator, "&&", "||"), (Genre::BinaryOperator, "||", "&&"), (Genre::UnaryOperator, "!", "")];
    assert_eq!(
        after("fn f() { a && b || !c; }", &mutants),
        "fn f() { (if on(0) { (a || b || !c) } else { ((if on(1) { (a && b && !c) } else { \
         (a && b || (if on(2) { (c) } else { (!c) })) })) }); }"
    );
}

#[test]
fn arms_and_guards() {
    let text = "fn f() { match a { n if n > 2 => c(), 1 => b(), _ => d() } }";
    let mutants = [
        (Genre::MatchArm, "1 =>", ""),
        (Genre::MatchArmGuard, "n > 2", "true"),
        (Genre::MatchArmGuard, "n > 2", "false"),
        (Genre::BinaryOperator, ">", "<"),
    ];
    assert_eq!(
        after(text, &mutants),
        "fn f() { match a { n if (if on(1) { (true) } else if on(2) { (false) } else { ((if on(3) { (n < 2) } \
         else { (n > 2) })) }) => c(), 1 if !(on(0)) => b(), _ => d() } }"
    );
}

#[test]
fn a_field_is_deleted_in_a_copy() {
    assert_eq!(
        after("fn f() { S { a: 1, b, ..old() } }", &[(Genre::StructField, "a: 1,", "")]),
        "fn f() { (if on(0) { (S {  b, ..old() }) } else { (S { a: 1, b, ..old() }) }) }"
    );
}

#[test]
fn a_chain_with_let_is_left() {
    let text = "fn f() { if a && let Some(b) = c && b == d { } }";
    let planted = planted(text, &[(Genre::BinaryOperator, "&&", "||"), (Genre::BinaryOperator, "==", "!=")], &[]);
    assert_eq!(planted.left.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0]);
    assert!(planted.text.contains("let Some(b) = c && ("));
}
