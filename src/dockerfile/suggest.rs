//! "Did you mean …?"

/// ` (did you mean x?)` for the option nearest to `text` if one is near, else nothing.
pub(crate) fn did_you_mean(text: &str, options: &[&str]) -> String {
    match nearest(text, options) {
        Some(option) => format!(" (did you mean {option}?)"),
        None => String::new(),
    }
}

/// The option that is a few typing errors away from `text`; `None` if all are far away, or one is the text itself.
pub(crate) fn nearest<'a>(text: &str, options: &[&'a str]) -> Option<&'a str> {
    // As in BuildKit, more than two errors are another word, and so are two in a short one.
    let limit = if text.chars().count() > 3 { 2 } else { 1 };
    if options.iter().any(|option| option.eq_ignore_ascii_case(text)) {
        return None;
    }
    options
        .iter()
        .filter(|option| option.len().abs_diff(text.len()) <= limit * 4)
        .map(|option| (distance(&text.to_lowercase(), &option.to_lowercase(), limit), *option))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, option)| option)
}

/// Number of characters to insert, delete or replace to make `a` of `b`; anything above `limit` if it is more.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, x) in a.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut least = left;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
            least = least.min(left);
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
        if least > limit {
            return limit + 1;
        }
    }
    row.last().copied().unwrap_or_default()
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
            ("X", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, &["FROM", "RUN", "COPY", "HEALTHCHECK"]), expected, "{text}");
        }
    }

    #[test]
    fn counts_errors() {
        for (a, b, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("a", "a", 0)] {
            assert_eq!(distance(a, b, 10), expected, "{a} {b}");
        }
    }
}
