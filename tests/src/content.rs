//! Messages of the shape this server is for: job reports (JSON of 1 to 45 KB) and the digests published beside them.

use std::fmt::Write as _;

use crate::Random;

const SITES: &[&str] = &[
    "T1.DE.KIT",
    "T1.US.FNAL",
    "T1.IT.CNAF",
    "T2.US.Nebraska",
    "T2.US.Purdue",
    "T2.CH.CERN",
    "T2.DE.DESY",
    "T2.ES.IFCA",
    "T2.FR.GRIF",
    "T2.IT.Pisa",
    "T2.UK.RALPP",
    "T3.US.OSG",
];
const EXIT_CODES: &[u32] = &[0, 50660, 50664, 8001, 8020, 8021, 8028, 84, 85, 92, 99109, 99303];
const CAMPAIGNS: &[&str] = &["RunTwoUL18", "RunThreeSummer22", "PhaseTwoSpring24", "HINPbPb23"];

/// One message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its subject.
    pub subject: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A job report and its digests. Item `k` carries `<tag>.<k>` as its first word (a digest) or first value (the report);
/// `requests` is how many different requests, and so subjects, there are.
#[must_use]
pub fn job(random: &mut Random, tag: &str, requests: u64) -> Vec<Item> {
    let site = SITES[pick(random, SITES.len())];
    let code = EXIT_CODES[pick(random, EXIT_CODES.len())];
    let campaign = CAMPAIGNS[pick(random, CAMPAIGNS.len())];
    let request = format!("pdmvserv{:06}", random.below(requests));
    let step = ["GenSim", "DigiReco", "Merge", "LogCollect"][pick(random, 4)];
    let digest = |k: u32, subject: String, key: &str, value: &str| Item {
        subject,
        payload: format!("{tag}.{k} {key}:{value}").into(),
    };
    vec![
        Item {
            subject: format!("cms.wmarchive.report.{request}"),
            payload: report(random, &format!("{tag}.0"), site, code, &request, step).into_bytes(),
        },
        digest(1, format!("cms.wmarchive.site.{site}"), "site", site),
        digest(2, format!("cms.wmarchive.exitCode.{code}"), "exitCode", &code.to_string()),
        digest(3, format!("cms.wmarchive.task.{request}.{step}"), "task", &format!("/{request}/{step}")),
        digest(4, format!("cms.wmarchive.campaign.{campaign}.{request}"), "campaign", campaign),
    ]
}

fn pick(random: &mut Random, len: usize) -> usize {
    usize::try_from(random.below(len as u64)).unwrap_or(0)
}

/// The tag in a payload of [`job`]; `None` if it is no such payload.
#[must_use]
pub fn tag_of(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    match text.strip_prefix("{\"tag\":\"") {
        Some(rest) => rest.split('"').next(),
        None => text.split(' ').next(),
    }
}

/// A framework job report: 1 to 45 KB, mostly small, as they are.
fn report(random: &mut Random, tag: &str, site: &str, code: u32, request: &str, step: &str) -> String {
    let spread = random.between(1, 44);
    let target = usize::try_from(1024 * (spread * spread / 44).max(1)).unwrap_or(1024);
    let mut out = format!(
        r#"{{"tag":"{tag}","meta_data":{{"agent_ver":"2.3.{}","fwjr_id":"{}-0","host":"wn{:04}.example","jobtype":"Processing","jobstate":"{}","ts":{}}},"task":"/{request}/{step}","Campaign":"{}","steps":[{{"name":"cmsRun1","site":"{}","status":{code},"output":["#,
        random.below(30),
        random.below(1_000_000),
        random.below(9000),
        if code == 0 { "success" } else { "jobfailed" },
        1_700_000_000 + random.below(90_000_000),
        CAMPAIGNS[pick(random, CAMPAIGNS.len())],
        site.replacen('.', "_", 2),
    );
    let mut first = true;
    while out.len() + 120 < target || first {
        let comma = if first { "" } else { "," };
        let (block, file, events) = (random.next(), random.next(), random.below(100_000));
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            r#"{comma}{{"outputLFN":"/store/mc/{request}/{block:016x}/{file:016x}.root","events":{events},"branch_hash":"{:016x}"}}"#,
            block ^ file
        );
        first = false;
    }
    let _ = write!(
        out,
        r#"],"performance":{{"cpu":{{"TotalJobCPU":{}.{:03}}},"memory":{{"PeakValueRss":{}}}}}}}]}}"#,
        random.below(90_000),
        random.below(1000),
        random.below(16_000)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_json_of_the_right_size_and_carry_their_tag() {
        let mut random = Random::new(7);
        let (mut least, mut most) = (usize::MAX, 0);
        for n in 0..500 {
            let tag = format!("tag-{n}");
            for (at, item) in job(&mut random, &tag, 1000).into_iter().enumerate() {
                assert_eq!(tag_of(&item.payload), Some(format!("{tag}.{at}").as_str()));
                let text = String::from_utf8(item.payload).unwrap();
                assert!(sublog_protocol::subject::is_valid_literal(item.subject.as_bytes()), "{}", item.subject);
                if at == 0 {
                    serde_json::from_str::<serde_json::Value>(&text).expect("a report is JSON");
                    (least, most) = (least.min(text.len()), most.max(text.len()));
                }
            }
        }
        assert!((400..2048).contains(&least) && (30_000..47_000).contains(&most), "{least}..{most}");
    }
}
