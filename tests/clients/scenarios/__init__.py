"""The scenarios, by kind. Importing a module registers what is in it, in the order below."""

from . import job_judge, publishers, subscribers, python_features, jetstream, go_features, credentials, node_client, encrypted, transcripts, replay, export, monitoring, monitoring_tools, wire_scripts

__all__ = [
    "job_judge",
    "publishers",
    "subscribers",
    "python_features",
    "jetstream",
    "go_features",
    "credentials",
    "node_client",
    "encrypted",
    "transcripts",
    "replay",
    "export",
    "monitoring",
    "monitoring_tools",
    "wire_scripts",
]
