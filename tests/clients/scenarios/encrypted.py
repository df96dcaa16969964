"""Encrypted connections: nats.go, nats-py, Node and old Python clients over TLS with a login, and nats-core over a WebSocket."""

import os
import pathlib
import shutil
import ssl
import subprocess
import tempfile

import nats

from harness import Skip, check, check_equal, check_ran, collect, flush, run_program, scenario, unique
from servers import HOST, Flavour, free_port

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "node" / "websocket.mjs"


class Certificates:
    """An authority and a certificate of the server, made with the openssl program in a folder that ends with this."""

    def __init__(self):
        if shutil.which("openssl") is None:
            raise Skip("no openssl on this machine")
        self._folder = tempfile.TemporaryDirectory(prefix="sublog-clients-tls-")
        self.folder = pathlib.Path(self._folder.name)
        self.authority = self.folder / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=client suite")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
        (self.folder / "names").write_text(names)
        self._openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem")

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True)
        check_ran(done, "openssl")

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._folder.cleanup()

    @property
    def arguments(self):
        return ["--tls", "--tlscert", str(self.folder / "server.pem"), "--tlskey", str(self.folder / "server.key")]

    def client(self):
        return ssl.create_default_context(cafile=str(self.authority))


def encrypted(context, certificates):
    flavour = Flavour("tls", ["--user", "u", "--pass", "p", *certificates.arguments], user="u", password="p")
    return context.new_server(flavour)


@scenario
async def nats_py(context):
    with Certificates() as certificates, encrypted(context, certificates) as server:
        client = await nats.connect(server.url, tls=certificates.client(), allow_reconnect=False)
        subject = unique("tls.py")
        subscription = await client.subscribe(subject)
        sent = [f"message {n} ".encode() * (n % 200 + 1) for n in range(2000)]
        for payload in sent:
            await client.publish(subject, payload)
        check_equal([m.data for m in await collect(subscription, len(sent))], sent, "messages")
        await client.close()


@scenario
async def a_connection_for_each_message(context):
    """As DBS and WMArchive publish: connect, publish, close."""
    with Certificates() as certificates, encrypted(context, certificates) as server:
        reader = await nats.connect(server.url, tls=certificates.client(), allow_reconnect=False)
        subject = unique("tls.each")
        subscription = await reader.subscribe(subject)
        await flush(reader)
        for n in range(30):
            client = await nats.connect(server.url, tls=certificates.client(), allow_reconnect=False)
            await client.publish(subject, str(n).encode())
            await client.close()
        check_equal([m.data for m in await collect(subscription, 30)], [str(n).encode() for n in range(30)], "messages")
        await reader.close()


@scenario
async def nats_pub_in_go(context):
    program = context.go("nats-pub")
    with Certificates() as certificates, encrypted(context, certificates) as server:
        reader = await nats.connect(server.url, tls=certificates.client(), allow_reconnect=False)
        subject = unique("tls.go")
        subscription = await reader.subscribe(subject)
        await flush(reader)
        env = dict(os.environ, SSL_CERT_FILE=str(certificates.authority))
        for n in range(10):
            done = run_program([program, "-s", server.url, subject, f"from go {n}"], env=env)
            check_ran(done, "nats-pub")
        check_equal([m.data for m in await collect(subscription, 10)], [f"from go {n}".encode() for n in range(10)], "messages")
        wrong = run_program([program, "-s", f"nats://u:wrong@{HOST}:{server.port}", subject, "x"], env=env)
        check(wrong.returncode != 0 and b"Authorization Violation" in wrong.stderr, f"{wrong.stderr}")
        unknown = run_program([program, "-s", server.url, subject, "x"], env=dict(os.environ, SSL_CERT_FILE="/dev/null"))
        check(unknown.returncode != 0 and b"x509" in unknown.stderr, f"{unknown.stderr}")
        await reader.close()


@scenario
def node(context):
    if context.tools.node is None:
        raise Skip("no node on this machine")
    with Certificates() as certificates, encrypted(context, certificates) as server:
        env = dict(os.environ, NODE_EXTRA_CA_CERTS=str(certificates.authority))
        program = str(context.tools.node_dir / "exchange.mjs")
        done = run_program([context.tools.node, program, HOST, str(server.port), "u", "p"], env=env)
        check_ran(done, "exchange.mjs over TLS")
        check_equal(done.stdout, b"OK\n", "output")


def old_python(context, server, certificates):
    """What the tornado client does under Python 2.7: the upgrade after INFO, version 1.2 at most, no server name."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname = False
    settings.load_verify_locations(str(certificates.authority))
    settings.maximum_version = ssl.TLSVersion.TLSv1_2
    import socket

    with socket.create_connection((HOST, server.port), timeout=10) as plain:
        line = b""
        while not line.endswith(b"\r\n"):
            line += plain.recv(1)
        with settings.wrap_socket(plain) as stream:
            check_equal(stream.version(), "TLSv1.2", "version")
            stream.sendall(b'CONNECT {"verbose": false, "pedantic": false, "user": "u", "pass": "p", "lang": "python2"}\r\nPING\r\n')
            check_equal(stream.recv(100), b"PONG\r\n", "answer")
            stream.sendall(b"SUB old  1\r\nPUB old  3\r\nyes\r\nPING\r\n")
            answer = b""
            while not answer.endswith(b"PONG\r\n"):
                answer += stream.recv(1000)
            check_equal(answer, b"MSG old 1 3\r\nyes\r\nPONG\r\n", "answer")


@scenario
def old_python_client(context):
    with Certificates() as certificates, encrypted(context, certificates) as server:
        old_python(context, server, certificates)


def over_websocket(context, tls):
    node = context.tools.node
    if node is None:
        raise Skip("no node on this machine")
    # A switch before version 22, and known after it.
    node = [node, "--experimental-websocket"]
    has = run_program([*node, "-e", "process.exit(typeof WebSocket === 'undefined' ? 1 : 0)"])
    if has.returncode != 0:
        raise Skip("this node has no WebSocket")
    with Certificates() as certificates:
        port = free_port()
        block = f"tls {{ cert_file: '{certificates.folder}/server.pem', key_file: '{certificates.folder}/server.key' }}" if tls else "no_tls: true"
        conf = certificates.folder / "websocket.conf"
        conf.write_text(f"websocket {{\n listen: '{HOST}:{port}'\n compression: true\n {block}\n}}\n")
        flavour = Flavour("websocket", ["--user", "u", "--pass", "p", "-c", str(conf)], user="u", password="p")
        with context.new_server(flavour):
            program = context.tools.node_dir / PROGRAM.name
            shutil.copy(PROGRAM, program)
            url = f"{'wss' if tls else 'ws'}://{HOST}:{port}"
            env = dict(os.environ, NODE_EXTRA_CA_CERTS=str(certificates.authority))
            done = run_program([*node, str(program), url, "u", "p"], env=env)
            check_ran(done, "websocket.mjs")
            check_equal(done.stdout, b"OK\n", "output")


@scenario
def node_websocket(context):
    over_websocket(context, tls=False)


@scenario
def node_websocket_encrypted(context):
    over_websocket(context, tls=True)
