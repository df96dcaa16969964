//! Documents like the reports that grid jobs send when they end: JSON of about a kilobyte from jobs that only collected
//! logs or failed early, and of up to 45 KB from jobs that merged many files. Kinds and sizes follow a sample of real
//! reports; every name and number in them is made up here.

/// Kind of job, how the report ends, bytes as compact JSON, and how many of 120 reports are such.
const REPORTS: [(&str, &str, usize, usize); 12] = [
    ("Processing", "success", 6200, 34),
    ("Production", "success", 3600, 26),
    ("LogCollect", "success", 1700, 14),
    ("Merge", "success", 16_000, 10),
    ("Merge", "success", 6500, 8),
    ("Harvest", "success", 5400, 6),
    ("Skim", "success", 7400, 6),
    ("Processing", "success", 11_800, 6),
    ("Processing", "failed", 1100, 4),
    ("Production", "failed", 3500, 3),
    ("Merge", "failed", 900, 2),
    ("LogCollect", "success", 45_000, 1),
];
const SITES: [&str; 6] = ["T1_AA_North", "T1_BB_South", "T2_CC_East", "T2_DD_West", "T2_EE_Hill", "T3_FF_Lake"];

/// Subject and text of each report of a cycle.
pub(super) fn all() -> Vec<(String, String)> {
    let each = REPORTS.iter().flat_map(|(kind, end, bytes, count)| (0..*count).map(move |_| (*kind, *end, *bytes)));
    let report = |(number, (kind, end, bytes)): (usize, (&str, &str, usize))| {
        let site = SITES.get(number % SITES.len()).copied().unwrap_or_default();
        // Reports of a kind differ by a fifth in each direction.
        let bytes = bytes * (80 + number * 7 % 41) / 100;
        (format!("jobs.report.{site}.{kind}.{end}"), text(number, kind, end, site, bytes))
    };
    each.enumerate().map(report).collect()
}

/// A report of `bytes` at least, and one file's entry more at most.
fn text(number: usize, kind: &str, end: &str, site: &str, bytes: usize) -> String {
    let code = if end == "failed" { 8021 } else { 0 };
    let mut text = format!(
        "{{\"task\":\"/bench_campaign_{:04}/{kind}\",\"jobtype\":\"{kind}\",\"jobstate\":\"{end}\",\"site\":\"{site}\",\
         \"exitcode\":{code},\"retrycount\":{},\"wmts\":{},\"steps\":[{{\"name\":\"run1\",\"status\":{code},\
         \"performance\":{{\"cpu\":{{\"TotalJobCPU\":{}.{:02},\"EventThroughput\":0.{:05}}},\"memory\":{{\"PeakValueRss\":{}.25}}}},\
         \"output\":[",
        number * 13 % 977,
        number % 3,
        1_700_000_000 + number * 37,
        1000 + number * 31,
        number % 100,
        number * 7919 % 100_000,
        900 + number * 3,
    );
    let mut file = 0;
    while text.len() < bytes {
        let comma = if file > 0 { "," } else { "" };
        let entry = format!(
            "{comma}{{\"lfn\":\"/store/bench/{kind}/{number:05}/{file:04}-{:08X}.root\",\"events\":{},\"size\":{},\
             \"adler32\":\"{:08x}\",\"runs\":{{\"{}\":[{},{}]}}}}",
            (number * 2_654_435 + file * 40_503) & 0xffff_ffff,
            250 + file * 17,
            1_048_576 + file * 99_991,
            (number * 48_271 + file * 16_807) & 0xffff_ffff,
            300_000 + number,
            file + 1,
            file + 2,
        );
        text.push_str(&entry);
        file += 1;
    }
    text.push_str("]}]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_json_of_about_the_size_asked_for() {
        let all = all();
        assert_eq!(all.len(), 120);
        for (subject, text) in &all {
            let report: serde_json::Value = serde_json::from_str(text).unwrap();
            let named = format!("{}.{}", report["jobtype"].as_str().unwrap(), report["jobstate"].as_str().unwrap());
            assert!(subject.starts_with("jobs.report.T") && subject.ends_with(&named), "{subject}");
        }
        let sizes: Vec<usize> = all.iter().map(|(_, text)| text.len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((5000..8000).contains(&mean), "{mean}");
        assert!(*sizes.iter().min().unwrap() < 1200 && *sizes.iter().max().unwrap() > 30_000, "{sizes:?}");
    }
}
