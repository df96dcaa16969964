"""`sublog export`: what other programs read out of its files. Skipped aloud for a server that does not remember."""

import collections
import json
import pathlib
import subprocess
import tempfile
import time

import nats

import reports
from harness import SCENARIO_SECONDS_MAX, check, check_equal, flush, scenario, unique

FIELDS = ["task=task", "site=steps[0].site", "code=steps[0].errors[0].exitCode:int64"]
FIELDS += ["cpu=steps[0].performance.cpu.TotalJobTime:double", "meta=meta_data:json"]
BINARY = bytes(range(256))


def export(context, arguments, name):
    """Runs the export and returns the file."""
    path = pathlib.Path(tempfile.mkdtemp(dir=context.open.folder)) / name
    command = [str(context.binary), "export", *arguments, "--out", str(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SCENARIO_SECONDS_MAX)
    check(done.returncode == 0, f"{command} exited {done.returncode}: {done.stderr.decode()}")
    return path


def field_arguments():
    return [argument for field in FIELDS for argument in ("--field", field)]


async def publish_reports(server, root):
    """Reports with headers, and one message that is no JSON; returns the payloads in their order."""
    documents = reports.generate(60, seed=7)
    payloads = [json.dumps(document).encode() for document in documents] + [BINARY]
    client = await nats.connect(server.url, allow_reconnect=False)
    for number, payload in enumerate(payloads):
        await client.publish(f"{root}.{number % 7}", payload, headers={"Number": str(number), "Kind": "report"})
    await flush(client)
    await client.close()
    return documents, payloads


def expected(documents):
    """What the fields of the reports are, and of the message that is no JSON."""
    rows = []
    for document in documents:
        step = document["steps"][0]
        code = step["errors"][0]["exitCode"] if step["errors"] else None
        rows.append((document["task"], step["site"], code, step["performance"]["cpu"]["TotalJobTime"]))
    return rows + [(None, None, None, None)]


@scenario
async def parquet_in_arrow(context):
    """pyarrow, which is what pandas reads Parquet with: types and every value, from the server and from its folder."""
    context.need_replay()
    import pyarrow
    import pyarrow.parquet

    server, root = context.open, unique("cms.export")
    before = time.time_ns()
    documents, payloads = await publish_reports(server, root)
    for source in (["--server", server.url], ["--data", str(server.folder / "data")]):
        path = export(context, [f"{root}.>", *source, *field_arguments()], "reports.parquet")
        table = pyarrow.parquet.read_table(path)
        types = {field.name: str(field.type) for field in table.schema}
        headers = types.pop("headers")
        check(pyarrow.types.is_map(table.schema.field("headers").type), f"headers are {headers}")
        check("list<element: string" in headers, f"headers are {headers}")
        wanted = dict(stream="string", sequence="int64", time="timestamp[ns, tz=UTC]", subject="string")
        wanted.update(task="string", site="string", code="int64", cpu="double", meta=types["meta"], payload="binary")
        check_equal(types, wanted, "types")
        rows = table.drop_columns(["time"]).to_pylist()
        check_equal([row["payload"] for row in rows], payloads, "payloads")
        check_equal([row["subject"] for row in rows], [f"{root}.{number % 7}" for number in range(len(rows))], "subjects")
        numbered = [[("Number", [str(number)]), ("Kind", ["report"])] for number in range(len(rows))]
        check_equal([row["headers"] for row in rows], numbered, "headers")
        check_equal([(row["task"], row["site"], row["code"], row["cpu"]) for row in rows], expected(documents), "fields")
        metas = [row["meta"] and json.loads(row["meta"]) for row in rows]
        check_equal(metas, [document["meta_data"] for document in documents] + [None], "JSON fields")
        sequences = [row["sequence"] for row in rows]
        check_equal(sequences, sorted(set(sequences)), "sequences")
        times = table.column("time").cast(pyarrow.int64()).to_pylist()
        check(all(before <= at <= time.time_ns() for at in times), "times are not those of publishing")


@scenario
async def files_in_duckdb(context):
    """DuckDB: types, a grouping over reports, headers, JSON and binary payloads; the same rows out of NDJSON."""
    context.need_replay()
    import duckdb

    server, root = context.open, unique("cms.export")
    documents, payloads = await publish_reports(server, root)
    path = export(context, [f"{root}.>", "--server", server.url, *field_arguments()], "reports.parquet")
    database = duckdb.connect()
    database.execute("set timezone = 'UTC'")

    def rows(query):
        return database.execute(query).fetchall()

    types = {row[0]: row[1] for row in rows(f"describe select * from '{path}'")}
    check(types.pop("time").startswith("TIMESTAMP"), "the time is no time")
    wanted = dict(stream="VARCHAR", sequence="BIGINT", subject="VARCHAR", headers="MAP(VARCHAR, VARCHAR[])")
    wanted.update(task="VARCHAR", site="VARCHAR", code="BIGINT", cpu="DOUBLE", meta="JSON", payload="BLOB")
    check_equal(types, wanted, "types")
    codes = collections.Counter(row[2] for row in expected(documents))
    check_equal(dict(rows(f"select code, count(*) from '{path}' group by code")), dict(codes), "codes")
    check_equal(rows(f"select payload from '{path}' order by sequence"), [(payload,) for payload in payloads], "payloads")
    numbers = rows(f"select headers['Number'][1]::int from '{path}' order by sequence")
    check_equal(numbers, [(number,) for number in range(len(payloads))], "headers")
    states = collections.Counter(document["meta_data"]["jobstate"] for document in documents)
    query = f"select meta->>'$.jobstate', count(*) from '{path}' where meta is not null group by 1"
    check_equal(dict(rows(query)), dict(states), "JSON fields")
    since = rows(f"select epoch_ns(now()::timestamp) - max(epoch_ns(time::timestamp_ns)) from '{path}'")[0][0]
    check(0 <= since < 600_000_000_000, f"the newest message is {since} ns old")

    lines = export(context, [f"{root}.>", "--data", str(server.folder / "data"), *field_arguments()], "reports.ndjson.zst")
    names = "sequence, subject, task, site, code, cpu"
    query = f"select {names} from '{path}' order by sequence"
    same = f"select {names} from read_json('{lines}', maximum_object_size=10000000) order by sequence"
    check_equal(rows(same), rows(query), "rows of NDJSON")
    texts = rows(f"select payload from read_json('{lines}', maximum_object_size=10000000) order by sequence")
    check_equal(texts[:-1], [(payload.decode(),) for payload in payloads[:-1]], "payloads of NDJSON")
