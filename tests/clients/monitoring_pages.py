"""Compares the monitoring pages of two servers field by field: the names, the JSON types, and the values where they must be equal.

What may differ is in `DIFFERENCES`, each with its reason. A difference that no longer exists is a failure too, so the list stays true.
"""

import fnmatch
import json
import urllib.error
import urllib.request

from harness import check

SECONDS_MAX = 10.0


def fetch(port, path):
    """Status, content type and text of a page."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def fetch_json(port, path):
    status, _kind, text = fetch(port, path)
    check(status == 200, f"{path} gave {status}: {text[:300]}")
    return json.loads(text)


# How a field may differ: `value` (there on both, of one type), `left out` (nats-server alone has it), `ours` (Sublog alone has it),
# `presence` (it comes and goes with the value).
CLOCK = "a clock, or what is counted by one"
IDENTITY = "who and where the server is"
PROCESS = "measured on the process"
INTERNAL = "nats-server counts subscriptions and messages of its own"
ANSWERS = "answers of the JetStream API hold times, which are of any length"
NO_GO = "of a program in Go"
CACHE = "here each publisher has its own cache, there an account has one"
BYTES = "4 bytes more for each message with headers are counted by nats-server alone"
JS_LIMITS = "no limits on all streams together yet: -1 is none"

DIFFERENCES = [
    ("*.now", "value", CLOCK),
    ("*.start", "value", CLOCK),
    ("*.uptime", "value", CLOCK),
    ("*.idle", "value", CLOCK),
    ("*.rtt", "value", CLOCK),
    ("*.last_activity", "value", CLOCK),
    ("*.stop", "value", CLOCK),
    ("*.ts", "value", CLOCK),
    ("*.created", "value", CLOCK),
    ("*.first_ts", "value", CLOCK),
    ("*.last_ts", "value", CLOCK),
    ("*.last_active", "value", CLOCK),
    ("*.update_time", "value", CLOCK),
    ("varz.config_load_time", "value", CLOCK),
    ("*.server_id", "value", IDENTITY),
    ("varz.port", "value", IDENTITY),
    ("varz.http_port", "value", IDENTITY),
    ("*.store_dir", "value", IDENTITY),
    ("connz.connections.#.port", "value", "the client's end"),
    ("connz.connections.#.pending_bytes", "value", "how many of its last words were written when a connection was counted as ended"),
    ("*.cid", "value", "nats-server has connections of its own before the first client"),
    ("*.out_bytes", "value", ANSWERS),
    ("varz.out_client_bytes", "value", ANSWERS),
    ("*.sent.bytes", "value", ANSWERS),
    ("varz.http_req_stats./connz", "value", "asked again until connections have ended"),
    ("varz.mem", "value", PROCESS),
    ("varz.cpu", "value", PROCESS),
    ("varz.go", "left out", NO_GO),
    ("varz.git_commit", "left out", "the version names a release"),
    ("varz.feature_flags*", "left out", "switches of nats-server's own development"),
    ("varz.subscriptions", "value", INTERNAL),
    ("subsz.num_*", "value", INTERNAL),
    ("subsz.cache_hit_rate", "value", CACHE),
    ("subsz.*_fanout", "value", CACHE),
    ("accountz.account_detail.sublist_stats.*", "value", CACHE),
    ("accountz.account_detail.subscriptions", "value", INTERNAL),
    ("accountz.account_detail.imports*", "left out", "what every account may ask the system account: answered without an import"),
    ("accstatz.account_statz.#.num_subscriptions", "value", INTERNAL),
    ("*.config.compress_ok", "ours", "streams may always be compressed"),
    ("jsz*.storage", "value", BYTES),
    ("jsz*.bytes", "value", BYTES),
    ("varz.jetstream.stats.storage", "value", BYTES),
    ("*.config.max_memory", "value", JS_LIMITS),
    ("*.config.max_storage", "value", JS_LIMITS),
    ("*.config.sync_interval", "left out", "streams are synced before their acknowledgement"),
    ("*.config.sync_always", "ours", "streams are synced before their acknowledgement"),
    ("*.config.strict", "left out", "fields of a request that nobody knows are passed over"),
    ("*.limits.default_max_consumers", "left out", "a stream may have any number of consumers"),
    ("*.api.level", "value", "the level of the API that is here as a whole"),
    ("varz.sublog*", "ours", "what nats-server does not have"),
    ("healthz.streams*", "ours", "damage and scrubbing of each log"),
    ("ipqueuesz.*", "presence", "the queues are other ones, but for that of the API"),
]


class Comparison:
    """Collects what differs and is not in the list, and which entries of the list were used."""

    def __init__(self):
        self.problems = []
        self.used = set()

    def allowed(self, field, kind):
        found = False
        for pattern, allowed, _reason in DIFFERENCES:
            if fnmatch.fnmatchcase(field, pattern) and allowed in (kind, "presence"):
                self.used.add((pattern, allowed))
                found = True
        return found

    def differs(self, field, kind, page, text):
        if not self.allowed(field, kind):
            self.problems.append(f"{page}: {field}: {text}")

    def pages(self, page, name, ours, theirs):
        self.walk(page, name, ours, theirs)

    def walk(self, page, field, ours, theirs):
        if kind_of(ours) != kind_of(theirs):
            self.problems.append(f"{page}: {field} is {ours!r:.100}, with nats-server {theirs!r:.100}")
        elif isinstance(ours, dict):
            for key in {**theirs, **ours}:
                inner = f"{field}.{key}"
                if key not in ours:
                    self.differs(inner, "left out", page, f"missing, with nats-server {theirs[key]!r:.100}")
                elif key not in theirs:
                    self.differs(inner, "ours", page, f"{ours[key]!r:.100}, which nats-server does not have")
                else:
                    self.walk(page, inner, ours[key], theirs[key])
        elif isinstance(ours, list):
            ours, theirs = in_order(field, ours), in_order(field, theirs)
            if len(ours) != len(theirs):
                self.differs(field, "value", page, f"{len(ours)} entries, with nats-server {len(theirs)}: {ours!r:.200} and {theirs!r:.200}")
            for left, right in zip(ours, theirs):
                self.walk(page, f"{field}.#", left, right)
        elif ours != theirs:
            self.differs(field, "value", page, f"{ours!r:.100}, with nats-server {theirs!r:.100}")
        else:
            # Equal by chance or because it has to be: either way the entry is about something that is there.
            self.allowed(field, "value")

    def unused(self):
        return [f"{pattern} ({kind}): {reason}" for pattern, kind, reason in DIFFERENCES if (pattern, kind) not in self.used]


def kind_of(value):
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return type(value).__name__


def in_order(field, values):
    """Lists without an order of their own."""
    if field.endswith("subscriptions_list") and values and isinstance(values[0], str):
        return sorted(values)
    if "subscriptions_list" in field:
        return sorted(values, key=lambda entry: (entry["cid"], entry["sid"]))
    if field.endswith(".imports"):
        return sorted(values, key=lambda entry: (entry["subject"], entry["to"]))
    if field.endswith("stream_detail"):
        return sorted(values, key=lambda entry: entry["name"])
    if field == "accstatz.account_statz":
        return sorted(values, key=lambda entry: entry["acc"])
    if field == "accountz.accounts":
        return sorted(values)
    return values
