//! Numbers as text.

/// 12345 as 12,345.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number with its noun, such as "1 caller" and "2 callers".
pub(crate) fn counted(number: u64, noun: &str, plural: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1000, 12_345_678].map(count).each_ref().map(|c| &**c));
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!([counted(1, "process", "es"), counted(2000, "caller", "s")], ["1 process", "2,000 callers"]);
    }
}
