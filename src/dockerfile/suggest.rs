//! "Did you mean …?"

/// Longer words are not compared: the time grows with the square.
const MAX_LENGTH: usize = 64;

/// More options are not looked at.
const MAX_OPTIONS: usize = 1000;

/// ` (did you mean x?)` for the option nearest to `text` if one is near, else nothing.
pub(crate) fn did_you_mean(text: &str, options: &[&str]) -> String {
    match nearest(text, options) {
        Some(option) => format!(" (did you mean {option}?)"),
        None => String::new(),
    }
}

/// The option that is a few typing errors away from `text`; `None` if all are far away, or one is the text itself.
pub(crate) fn nearest<'a>(text: &str, options: &[&'a str]) -> Option<&'a str> {
    // More than two errors are another word, and so are two in a short one.
    let limit = if text.chars().count() > 3 { 2 } else { 1 };
    if text.len() > MAX_LENGTH || options.iter().any(|option| option.eq_ignore_ascii_case(text)) {
        return None;
    }
    options
        .iter()
        .take(MAX_OPTIONS)
        .filter(|option| option.len() <= MAX_LENGTH)
        .map(|option| (distance(&text.to_lowercase(), &option.to_lowercase()), *option))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, option)| option)
}

/// Number of characters to insert, delete or replace, or neighbours to swap, to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let least = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { least.min(table[i - 2][j - 2] + 1) } else { least }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_near_words_only() {
        for (text, expected) in [
            ("FORM", Some("FROM")),
            ("form", Some("FROM")),
            ("RUNN", Some("RUN")),
            ("RN", Some("RUN")),
            ("COPPY", Some("COPY")),
            ("HEALTHCHEKC", Some("HEALTHCHECK")),
            ("COPY", None),
            ("BANANA", None),
            ("RNU", Some("RUN")),
            ("X", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &["FROM", "RUN", "COPY", "HEALTHCHECK"]), expected, "{text}");
        }
    }

    #[test]
    fn counts_errors() {
        for (a, b, expected) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("a", "a", 0), ("run", "rnu", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
