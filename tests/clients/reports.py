"""Job reports to publish, and what the CMS publishers make of one: the full document and a digest per site, task, exit code, campaign.

Real reports are taken from `../shared/data/wmarchive` beside the repository, or from the folder in SUBLOG_JOB_DATA. Without either,
`generate` makes reports of the same shape: 1 to 45 KB of JSON with a task, steps, sites, errors and long lists of file names.
"""

import json
import os
import pathlib
import random

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEFAULT_DATA = REPOSITORY.parent / "shared" / "data" / "wmarchive"
GENERATED = 14
DOCUMENT_BYTES_MIN, DOCUMENT_BYTES_MAX = 1_000, 45_000

JOB_TYPES = ["Production", "Processing", "Merge", "Harvesting", "LogCollect", "Skim", "Cleanup"]
REGIONS = ["US", "DE", "IT", "FR", "UK", "ES", "CH", "BE", "BR", "CN", "EE", "FI", "HU", "IN", "KR", "PL", "PT", "RU", "TR", "UA"]
PLACES = ["Nebraska", "Purdue", "Wisconsin", "MIT", "Caltech", "Florida", "DESY", "RWTH", "Pisa", "Bari", "Legnaro", "Imperial"]
EXIT_CODES = [0, 0, 0, 50, 84, 134, 137, 8001, 8002, 8004, 8006, 8009, 8020, 8021, 8022, 8028, 11003, 50110, 50513, 50660, 50664]
EXIT_CODES += [60307, 60311, 60315, 60450, 61202, 70452, 71102, 71104, 71304, 71305, 73001, 80000, 85, 92, 99109, 99303, 99999]
CAMPAIGNS = [f"Run{year}{era}" for year in (2016, 2017, 2018, 2022, 2023, 2024) for era in "ABCDEFGH"]
CAMPAIGNS += [f"RunIISummer{year}UL{number}" for year in (19, 20) for number in (16, 17, 18)]


def generate(count, seed=1):
    """Reports of the project's own, the same for the same seed, spread evenly over the sizes that real ones have."""
    chance = random.Random(seed)
    documents = []
    for index in range(count):
        size = DOCUMENT_BYTES_MIN + (DOCUMENT_BYTES_MAX - DOCUMENT_BYTES_MIN) * index // max(count - 1, 1)
        kind = JOB_TYPES[index % len(JOB_TYPES)]
        failed = index % 3 == 0
        steps = []
        for name in ("cmsRun1", "stageOut1", "logArch1")[: 1 + index % 3]:
            errors = [{"type": "StepFailed", "details": "exit of the payload", "exitCode": chance.choice(EXIT_CODES[3:])}]
            steps.append(
                {
                    "name": name,
                    "site": f"T2_{chance.choice(REGIONS)}_{chance.choice(PLACES)}",
                    "status": int(failed),
                    "errors": errors if failed else [],
                    "start": 1_700_000_000 + index,
                    "stop": 1_700_003_600 + index,
                    "performance": {"cpu": {"TotalJobTime": chance.random() * 3600}, "memory": {"PeakValueRss": chance.random() * 2000}},
                    "output": [],
                }
            )
        document = {
            "task": f"/made_up_{kind}_{index}/{kind}",
            "meta_data": {"jobtype": kind, "jobstate": "jobfailed" if failed else "success", "fwjr_id": f"{index}-0", "ts": 1_700_000_000},
            "steps": steps,
            "LFNArray": [],
        }
        while len(json.dumps(document)) < size - 120:
            block = "".join(chance.choices("0123456789abcdef", k=32))
            document["LFNArray"].append(f"/store/unmerged/{kind}/{len(document['LFNArray']):05d}/{block}.root")
        documents.append(document)
    return documents


def load():
    """All reports as parsed JSON, and a word on where they come from."""
    folder = pathlib.Path(os.environ.get("SUBLOG_JOB_DATA", DEFAULT_DATA))
    documents = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    if documents:
        return documents, f"{len(documents)} reports from {folder}"
    if "SUBLOG_JOB_DATA" in os.environ:
        raise SystemExit(f"SUBLOG_JOB_DATA: no *.json in {folder}")
    return generate(GENERATED), f"{GENERATED} reports of the suite's own"


class Template:
    """One report, taken apart once so that many different ones can be made of it cheaply."""

    def __init__(self, document):
        inner = document.get("fwjr", document)
        task = inner.get("task") or "/no_request/no_step"
        parts = [part for part in task.split("/") if part]
        self.request, self.steps_of_task = parts[0], parts[1:] or ["step"]
        steps = inner.get("steps") or []
        steps = list(steps.values()) if isinstance(steps, dict) else steps
        self.exit_codes = []
        for step in steps:
            errors = step.get("errors") or []
            codes = [error["exitCode"] for error in errors if isinstance(error, dict) and "exitCode" in error]
            self.exit_codes.append([str(code) for code in codes] or [None])
        self.exit_codes = self.exit_codes or [[None]]
        self.job_type = (inner.get("meta_data") or {}).get("jobtype") or "Unknown"
        rest = {key: value for key, value in document.items() if key not in ("task", "Campaign", "attempt")}
        self.body = json.dumps(rest)

    def vary(self, tag, chance):
        """The messages of one job: (subject, head, tail) triples; the payload is head + attempt id + tail.

        `tag` makes the request's name, and so the task's and the report's subject, this job's own. Sites, exit codes and campaigns
        come from lists as long as CMS's, so those subjects are shared by many jobs.
        """
        request = f"{self.request}_{tag}"
        task = "/".join(["", request, *self.steps_of_task])
        campaign = chance.choice(CAMPAIGNS)
        head = '{"attempt": "'
        tail = f'", "task": {json.dumps(task)}, "Campaign": "{campaign}", {self.body[1:]}'
        messages = [(f"cms.wmarchive.report.{self.job_type}.{request}", head, tail)]
        for codes in self.exit_codes:
            site = f"T{chance.choice('123')}_{chance.choice(REGIONS)}_{chance.choice(PLACES)}"
            for code in codes:
                code = code or str(chance.choice(EXIT_CODES))
                text = f"   campaign:{campaign}   exitCode:{code}   site:{site}   task:{task}"
                subjects = [
                    f"cms.wmarchive.site.{site.replace('_', '.')}",
                    f"cms.wmarchive.exitCode.{code}",
                    f"cms.wmarchive.task{task.replace('/', '.')}",
                    f"cms.wmarchive.campaign.{campaign}",
                ]
                messages += [(subject, "attempt:", text) for subject in subjects]
        return messages


def attempt_of(payload):
    """The attempt id inside a payload of `Template.vary`, or None if there is none: then nobody of ours sent it."""
    if payload.startswith(b'{"attempt": "'):
        end = payload.find(b'"', 13)
        return payload[13:end].decode("latin-1") if end > 0 else None
    if payload.startswith(b"attempt:"):
        end = payload.find(b" ", 8)
        return payload[8:end].decode("latin-1") if end > 0 else None
    return None
