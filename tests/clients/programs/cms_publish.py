"""Publishes a list the way CMS's nats-py publishers do: connect for this call, publish every message, close at once, no flush.

Arguments: the server's URL. Standard input: one JSON object a line, with `subject` and `payload`.
"""

import asyncio
import json
import sys

from nats.aio.client import Client


async def main(url, messages):
    client = Client()
    await client.connect(url, allow_reconnect=False)
    for message in messages:
        await client.publish(message["subject"], message["payload"].encode())
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [json.loads(line) for line in sys.stdin]))
