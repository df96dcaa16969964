"""How the Python programs print what they saw: one line a thing, the same text for the same thing."""

import base64
import dataclasses
import enum
import inspect
import json

# What no two runs have in common, or what a server may say about itself: `bytes` of a stream are what it takes on the server's disk.
VOLATILE = {"created", "timestamp", "ts", "cluster", "time", "mtime", "nuid", "memory", "storage", "first_ts", "last_ts", "domain", "last", "sent", "deleted_at", "pause_remaining", "bytes", "last_active"}


def plain(value):
    """A value as JSON can say it, without what differs from run to run."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items() if entry is not None and str(key) not in VOLATILE and not str(key).startswith("_")}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytes):
        try:
            return value.decode() if len(value) < 200 else f"{len(value)} bytes"
        except UnicodeDecodeError:
            return base64.b64encode(value[:40]).decode()
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)


def show(label, value=None):
    print(f"{label}: {json.dumps(plain(value), sort_keys=True)}", flush=True)


def error_text(error):
    code, err_code = getattr(error, "code", None), getattr(error, "err_code", None)
    words = getattr(error, "description", None) or str(error)
    return f"{type(error).__name__} {code} {err_code} {words}"


async def attempt(label, call):
    """Awaits and shows what came of it, a value or an error; returns the value."""
    try:
        value = await call if inspect.isawaitable(call) else call
    except Exception as error:  # every kind is something a client sees
        show(label, f"error: {error_text(error)}")
        return None
    show(label, value)
    return value


def message(got):
    """A JetStream message as a client sees it."""
    meta = got.metadata
    return {
        "subject": got.subject,
        "data": plain(got.data),
        "headers": dict(got.headers or {}),
        "stream": meta.sequence.stream,
        "consumer": meta.sequence.consumer,
        "pending": meta.num_pending,
        "delivered": meta.num_delivered,
    }
