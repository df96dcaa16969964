//! `SECURITY.md` names tests that there are, and has a row for each advisory.

use std::path::Path;

#[test]
fn every_row_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut named = 0;
    let mut rows: Vec<u32> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.contains("what went wrong")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells[0].split_once(" to ") {
            Some((first, last)) => rows.extend(first.parse::<u32>().unwrap()..=last.parse().unwrap()),
            None => rows.extend(cells[0].split(", ").filter_map(|number| number.parse::<u32>().ok())),
        }
        let tests: Vec<&str> = cells[2].split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        assert!(!tests.is_empty() || cells[2].starts_with("not "), "{line}");
        for test in tests {
            let parts: Vec<&str> = test.split("::").collect();
            let path = root.join(format!("tests/tests/{}/{}.rs", parts[0], parts[1]));
            let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{test}: {error}"));
            assert!(source.contains(&format!("#[test]\nfn {}()", parts[2])), "{test} is no test");
            named += 1;
        }
    }
    rows.sort_unstable();
    assert_eq!(rows, (1..=43).collect::<Vec<u32>>());
    assert!(named > 25, "{named}");
}
