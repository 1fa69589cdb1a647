//! `docs/doctor.md` lists every code, and no other.

use cooper::doctor::Code;

#[test]
fn every_code_is_in_the_documentation() {
    let text = include_str!("../../../docs/doctor.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let codes: Vec<String> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(listed, codes);
}
