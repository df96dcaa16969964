"""The scripts of bytes for `wire.py`, and the list of answers that are meant to differ from nats-server's."""

import json

from servers import AUTH, OPEN, Flavour
from wire import Steps

LIMITS = Flavour(
    "limits",
    config='max_payload: 64\nmax_control_line: 128\nmax_connections: 3\nmax_subscriptions: 2\n',
    flags=["--max_payload", "64", "--max_control_line", "128", "--max_connections", "3", "--max_subscriptions", "2"],
)
IMPATIENT = Flavour("impatient", config='ping_interval: "300ms"\nping_max: 1\n', flags=["--ping_interval", "300ms", "--ping_max", "1"])
SUB_TOKENS = Flavour("tokens", config="max_sub_tokens: 3\n")
NO_HEADERS = Flavour("no_headers", config="no_header_support: true\n")
PERMISSIONS = Flavour(
    "permissions",
    config="""
authorization {
  timeout: 1
  users: [
    { user: "pub", password: "p", permissions: { publish: ["cms.>", "_INBOX.>"], subscribe: { deny: ">" } } }
    { user: "sub", password: "p", permissions: { publish: { deny: ">" }, subscribe: { allow: ["cms.>", "jobs q.*"], deny: "cms.secret.>" } } }
    { user: "all", password: "p" }
    { user: "svc", password: "p", permissions: { subscribe: "svc.>", allow_responses: true } }
  ]
}
""",
)

SCRIPTS = []

ON_DISK = "+OK to PUB and HPUB waits for the disk, as PONG does; what is delivered live does not"
SIZE = "sizes are written anew, not echoed digit by digit"
BOUNDED = "what follows PING counts against the control line limit, so that memory before a login is bounded"
INFO = "INFO proto=1 max_payload=1048576"

# Answers that are meant to be different, by script: why, and what is due instead.
INTENDED = {
    "handshake_defaults_are_verbose": (ON_DISK, {"a": [INFO, "+OK", "+OK", "MSG a 1 1 | x", "+OK", "+OK", "PONG"]}),
    "handshake_none": (ON_DISK, {"a": [INFO, "+OK", "MSG a 1 2 | hi", "+OK", "PONG"]}),
    "pub_before_connect_in_one_write": (ON_DISK, {"a": [INFO, "MSG a 1 1 | y", "+OK", "PONG"]}),
    "sub_duplicate_sid_verbose": (ON_DISK, {"a": [INFO, "+OK", "+OK", "+OK", "MSG a 1 1 | x", "+OK", "PONG"]}),
    "hpub_verbose": (ON_DISK, {"a": [INFO, "+OK", "HMSG a 1 18 19 | NATS/1.0\\r\\nA: b\\r\\n\\r\\ny", "+OK", "+OK", "+OK", "PONG"]}),
    "no_responders_verbose": (
        ON_DISK,
        {"a": [INFO, "+OK", "+OK", "HMSG inbox.1 5 38 38 | NATS/1.0 503\\r\\nNats-Subject: nobody\\r\\n\\r\\n", "+OK", "PONG"]},
    ),
    "verbose_order": (ON_DISK, {"a": [INFO, "+OK", "+OK", "MSG a 1 1 | x", "+OK", "+OK", "+OK", "PONG"]}),
    "pub_leading_zeros": (SIZE, {"a": [INFO, "MSG a 1 5 | hello", "PONG"]}),
    "pub_nine_digit_size": (SIZE, {"a": [INFO, "MSG a 1 5 | hello", "PONG"]}),
    "long_ping_junk": (BOUNDED, {"a": [INFO, "-ERR 'maximum control line exceeded'", "END"]}),
}


def script(name, flavour=OPEN):
    steps = Steps(name, flavour)
    SCRIPTS.append(steps)
    return steps


def connect(**options):
    """A CONNECT line; quiet and protocol 0 unless said otherwise, so that only what a script is about is answered."""
    fields = {"verbose": False, "pedantic": False, "protocol": 0, **options}
    return b"CONNECT " + json.dumps(fields).encode() + b"\r\n"


QUIET = connect()
HEADERS = connect(headers=True)
REQUESTS = connect(headers=True, no_responders=True)


# --- handshake ----------------------------------------------------------------------------------------------------------------------

script("handshake_protocol_1").send("a", connect(protocol=1), b"PING\r\n", pings=1).sync("a").sync("a")
script("handshake_one_write").send("a", connect(protocol=1) + b"PING\r\n", pings=1).sync("a")
script("handshake_protocol_0").send("a", QUIET).sync("a")
script("handshake_defaults_are_verbose").send("a", b"CONNECT {}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nUNSUB 1\r\n").sync("a")
script("handshake_protocol_2").send("a", connect(protocol=2)).end("a")
script("handshake_protocol_negative").send("a", connect(protocol=-1)).end("a")
script("handshake_verbose_protocol_2").send("a", connect(verbose=True, protocol=2)).end("a")
script("handshake_none").send("a", b"SUB a 1\r\nPUB a 2\r\nhi\r\n").sync("a")
script("handshake_lower_case").send("a", QUIET.replace(b"CONNECT", b"connect")).sync("a")
script("handshake_lf_only").send("a", QUIET.replace(b"\r\n", b"\n")).sync("a")
script("handshake_tab").send("a", QUIET.replace(b"CONNECT ", b"CONNECT\t \t")).sync("a")
script("handshake_trailing_blanks").send("a", QUIET.replace(b"\r\n", b"   \r\n")).sync("a")
script("handshake_twice").send("a", QUIET, connect(verbose=True), b"SUB a 1\r\n").sync("a")
script("handshake_bad_json").send("a", b"CONNECT {verbose\r\n").end("a")
script("handshake_empty").send("a", b"CONNECT\r\n").end("a")
script("handshake_no_object").send("a", b"CONNECT []\r\n").end("a")
script("handshake_unknown_fields").send("a", connect(unknown={"deep": [1, {"x": None}]}, lang="x", version="0.0.1")).sync("a")
script("handshake_wrong_type").send("a", connect(name=5)).end("a")
script("handshake_null_fields").send("a", connect(name=None, user=None, echo=None)).sync("a")
script("handshake_no_responders_without_headers").send("a", connect(no_responders=True)).end("a")
script("handshake_account").send("a", connect(account="X")).end("a")
script("handshake_split_everywhere").send("a", *[QUIET[n : n + 1] for n in range(len(QUIET))]).sync("a")
script("handshake_field_case").send("a", QUIET.replace(b'"verbose"', b'"VERBOSE"')).sync("a")
script("handshake_duplicate_field").send("a", b'CONNECT {"verbose":true,"verbose":false}\r\n').sync("a")
script("handshake_py2").send(
    "a",
    b'CONNECT {"echo": true, "lang": "python2", "pedantic": false, "protocol": 1, "verbose": false, "version": "0.8.4"}\r\n',
    b"PING\r\n",
    b"SUB hello  1\r\nPUB hello  5\r\nworld\r\nUNSUB 1 \r\nPUB hello  5\r\nworld\r\n",
    pings=1,
).sync("a")

# --- publish and subscribe ----------------------------------------------------------------------------------------------------------

script("pub_sub").send("a", QUIET, b"SUB a.b 7\r\nPUB a.b 5\r\nhello\r\n").sync("a")
script("pub_with_reply").send("a", QUIET, b"SUB a.b 7\r\nPUB a.b back.here 5\r\nhello\r\n").sync("a")
script("pub_mixed_case").send("a", QUIET, b"sUb a 1\r\npUb a 2\r\nhi\r\nuNsUb 1\r\nPub a 2\r\nhi\r\n").sync("a")
script("pub_blanks_and_tabs").send("a", QUIET, b"SUB \t a \t\t 1  \r\nPUB\ta   5\t\r\nhello\r\nPUB  a \t r  2 \r\nhi\r\n").sync("a")
script("pub_lf_control_line").send("a", QUIET, b"SUB a 1\nPUB a 5\nhello\r\nPING\n", pings=1).sync("a")
script("pub_lf_payload_trailer").send("a", QUIET, b"SUB a 1\r\nPUB a 5\r\nhello\nPING\r\n").end("a")
script("pub_wrong_payload_trailer").send("a", QUIET, b"SUB a 1\r\nPUB a 5\r\nhello world\r\n").end("a")
script("pub_cr_without_lf_trailer").send("a", QUIET, b"SUB a 1\r\nPUB a 5\r\nhello\rxPING\r\n").end("a")
script("pub_short_payload").send("a", QUIET, b"SUB a 1\r\nPUB a 9\r\nhello\r\nPING\r\n").end("a")
script("pub_empty_payload").send("a", QUIET, b"SUB a 1\r\nPUB a 0\r\n\r\nPUB a b 0\r\n\r\n").sync("a")
script("pub_payload_of_commands").send("a", QUIET, b"SUB a 1\r\nPUB a 14\r\nPING\r\nPONG\r\n\r\n\r\n").sync("a")
script("pub_binary_payload").send("a", QUIET, b"SUB a 1\r\nPUB a 8\r\n\x00\xff\r\n\x16\x03\x01\x80\r\n").sync("a")
script("pub_leading_zeros").send("a", QUIET, b"SUB a 1\r\nPUB a 0005\r\nhello\r\n").sync("a")
script("pub_nine_digit_size").send("a", QUIET, b"SUB a 1\r\nPUB a 000000005\r\nhello\r\n").sync("a")
script("pub_ten_digit_size").send("a", QUIET, b"PUB a 0000000005\r\nhello\r\n").end("a")
script("pub_negative_size").send("a", QUIET, b"PUB a -1\r\n\r\n").end("a")
script("pub_plus_size").send("a", QUIET, b"PUB a +1\r\nx\r\n").end("a")
script("pub_size_no_number").send("a", QUIET, b"PUB a five\r\nhello\r\n").end("a")
script("pub_no_size").send("a", QUIET, b"PUB a\r\nhello\r\n").end("a")
script("pub_no_arguments").send("a", QUIET, b"PUB\r\n").end("a")
script("pub_blank_only").send("a", QUIET, b"PUB  \r\n").end("a")
script("pub_too_many_arguments").send("a", QUIET, b"PUB a b c 5\r\nhello\r\n").end("a")
script("pub_blank_in_subject").send("a", QUIET, b"PUB cms.task.a b c 5\r\nhello\r\n").end("a")
script("pub_exactly_max_payload").send("a", QUIET, b"SUB a 1\r\nPUB a 1048576\r\n", b"x" * 1048576, b"\r\n").sync("a")
script("pub_over_max_payload").send("a", QUIET, b"PUB a 1048577\r\n").end("a")
script("pub_over_max_payload_verbose").send("a", connect(verbose=True), b"PUB a 99999999\r\n").end("a")
script("pub_two_in_one_write").send("a", QUIET + b"SUB a 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPUB a 1\r\n3\r\n").sync("a")
PUB_BYTES = b"PUB a.b  r.s \t11\r\nhello\r\nyou!\r\n"
script("pub_split_everywhere").send("a", QUIET, b"SUB a.* 1\r\n", *[PUB_BYTES[n : n + 1] for n in range(len(PUB_BYTES))]).sync("a")
for place in (2, 4, 8, 16, 17, 18, 22, 23, 24, 29, 30):
    script(f"pub_split_at_{place}").send("a", QUIET, b"SUB a.* 1\r\n", PUB_BYTES[:place], 0.03, PUB_BYTES[place:]).sync("a")
script("pub_nobody_listens").send("a", QUIET, b"PUB a 5\r\nhello\r\n").sync("a")
script("pub_empty_tokens").send("a", QUIET, b"SUB > 1\r\nPUB a..b 1\r\n1\r\nPUB .a 1\r\n2\r\nPUB a. 1\r\n3\r\nPUB . 1\r\n4\r\n").sync("a")
script("pub_wildcard_literals").send("a", QUIET, b"SUB a.* 1\r\nSUB a.b 2\r\nPUB a.* 1\r\nx\r\nPUB a.> 1\r\ny\r\nPUB > 1\r\nz\r\n").sync("a")
script("pub_utf8_subject").send("a", QUIET, "SUB größe.* 1\r\nPUB größe.ß 2\r\nhi\r\n".encode()).sync("a")
script("pub_pedantic").send("a", connect(pedantic=True), b"SUB > 1\r\nPUB a.* 1\r\nx\r\nPUB a..b 1\r\ny\r\nPUB a.b 1\r\nz\r\n").sync("a")
script("pub_pedantic_verbose").send("a", connect(pedantic=True, verbose=True), b"PUB a.> 1\r\nx\r\nPUB a 1\r\ny\r\n").sync("a")
script("pub_bytes_before_fin").send("b", QUIET, b"SUB a 1\r\n").sync("b").send("a", QUIET, b"PUB a 2\r\nhi\r\n").fin("a").read("b", 3)
script("pub_then_drop").send("b", QUIET, b"SUB a 1\r\n").sync("b").send("a", QUIET + b"PUB a 2\r\nhi\r\n").drop("a").read("b", 3)
script("pub_half_then_drop").send("b", QUIET, b"SUB a 1\r\n").sync("b").send(
    "a", QUIET + b"PUB a 2\r\nhi\r\nPUB a 10\r\nhal"
).fin("a").read("b", 3).sync("b")
script("pub_js_ack_reply").send("a", QUIET, b"SUB a 1\r\nPUB a $JS.ACK.x 1\r\nx\r\n").sync("a")
script("pub_before_connect_in_one_write").send("a", b"PUB a 1\r\nx\r\n" + QUIET + b"SUB a 1\r\nPUB a 1\r\ny\r\n").sync("a")

script("sub_no_arguments").send("a", QUIET, b"SUB\r\n").end("a")
script("sub_one_argument").send("a", QUIET, b"SUB a\r\n").end("a")
script("sub_four_arguments").send("a", QUIET, b"SUB a q 1 x\r\n").end("a")
for number, subject in enumerate(["a..b", "a.", ".a", "a.>.b", ".", "", "a.*.", ">.a"]):
    if subject:
        script(f"sub_invalid_{number}").send("a", QUIET, f"SUB {subject} 1\r\n".encode()).sync("a")
script("sub_invalid_verbose").send("a", connect(verbose=True), b"SUB a..b 1\r\nSUB a.b 2\r\n").sync("a")
script("sub_literal_star").send("a", QUIET, b"SUB a* 1\r\nSUB >b 2\r\nSUB a.b* 3\r\nPUB a* 1\r\nx\r\nPUB ab 1\r\ny\r\nPUB >b 1\r\nz\r\nPUB a.b* 1\r\nw\r\n").sync("a")
script("sub_wildcards").send("a", QUIET, b"SUB a.*.c 1\r\nPUB a.b.c 1\r\nx\r\nPUB a.c 1\r\ny\r\nPUB a.b.c.d 1\r\nz\r\n").sync("a")
script("sub_tail_wildcard").send("a", QUIET, b"SUB a.> 1\r\nPUB a 1\r\nx\r\nPUB a.b 1\r\ny\r\nPUB a.b.c.d 1\r\nz\r\n").sync("a")
script("sub_sid_is_opaque").send("a", QUIET, b"SUB a x-!\xc3\xa9-9\r\nPUB a 1\r\nx\r\nUNSUB x-!\xc3\xa9-9\r\nPUB a 1\r\ny\r\n").sync("a")
script("sub_duplicate_sid").send("a", QUIET, b"SUB a 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n").sync("a")
script("sub_duplicate_sid_verbose").send("a", connect(verbose=True), b"SUB a 1\r\nSUB a 1\r\nPUB a 1\r\nx\r\n").sync("a")
# Each on a subject of its own: the server may still be taking leave of the last script's group member.
script("sub_queue_one_member").send("a", QUIET, b"SUB one q 1\r\nPUB one 1\r\nx\r\nPUB one 1\r\ny\r\n").sync("a")
script("sub_queue_dies_over").send("a", QUIET, b"SUB over q 1\r\n").send("b", QUIET, b"SUB over q 2\r\n").sync("a", "b").send(
    "a", b"UNSUB 1\r\n"
).sync("a").send("c", QUIET, b"PUB over 1\r\nx\r\nPUB over 1\r\ny\r\n").sync("c", "b", "a")
script("sub_reserved_queue").send("a", QUIET, b"SUB a _sys_ 1\r\nPUB a 1\r\nx\r\n").sync("a")
script("sub_no_echo").send("a", connect(echo=False), b"SUB a 1\r\nPUB a 1\r\nx\r\n").sync("a").send(
    "b", QUIET, b"PUB a 1\r\ny\r\n"
).sync("b", "a")
script("sub_two_matching").send("a", QUIET, b"SUB a.b 1\r\nPUB a.b 1\r\nx\r\nUNSUB 1\r\nSUB a.* 2\r\nPUB a.b 1\r\ny\r\n").sync("a")

script("unsub_max").send("a", QUIET, b"SUB a 1\r\nUNSUB 1 2\r\n" + b"PUB a 1\r\nx\r\n" * 4).sync("a")
script("unsub_max_already_reached").send("a", QUIET, b"SUB a 1\r\n" + b"PUB a 1\r\nx\r\n" * 3 + b"UNSUB 1 2\r\nPUB a 1\r\ny\r\n").sync("a")
script("unsub_max_counts_from_sub").send("a", QUIET, b"SUB a 1\r\n" + b"PUB a 1\r\nx\r\n" * 3 + b"UNSUB 1 5\r\n" + b"PUB a 1\r\ny\r\n" * 5).sync("a")
script("unsub_max_zero").send("a", QUIET, b"SUB a 1\r\nUNSUB 1 0\r\nPUB a 1\r\nx\r\n").sync("a")
script("unsub_max_raised").send("a", QUIET, b"SUB a 1\r\nUNSUB 1 1\r\nUNSUB 1 3\r\n" + b"PUB a 1\r\nx\r\n" * 5).sync("a")
script("unsub_sid_used_again").send("a", QUIET, b"SUB a 1\r\nUNSUB 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n").sync("a")
script("unsub_unknown").send("a", connect(verbose=True), b"UNSUB 77\r\nUNSUB 77 5\r\n").sync("a")
script("unsub_no_arguments").send("a", QUIET, b"UNSUB\r\n").end("a")
script("unsub_three_arguments").send("a", QUIET, b"UNSUB 1 2 3\r\n").end("a")
script("unsub_bad_max").send("a", QUIET, b"SUB a 1\r\nUNSUB 1 x\r\nPUB a 1\r\ny\r\n").sync("a")
script("unsub_trailing_blank").send("a", QUIET, b"SUB a 1\r\nUNSUB 1 \r\nPUB a 1\r\nx\r\n").sync("a")

# --- headers ------------------------------------------------------------------------------------------------------------------------

BLOCK = b"NATS/1.0\r\nA: b\r\n\r\n"


def hpub(subject, payload, reply=b"", block=BLOCK):
    return b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject, reply, len(block), len(block) + len(payload), block, payload)


script("hpub").send("a", HEADERS, b"SUB a 1\r\n", hpub(b"a", b"body"), hpub(b"a", b"", b"re.ply")).sync("a")
script("hpub_to_client_without_headers").send("a", QUIET, b"SUB a 1\r\n").sync("a").send(
    "b", HEADERS, b"SUB a 9\r\n", hpub(b"a", b"body", b"r")
).sync("b", "a")
script("hpub_without_headers").send("a", QUIET, hpub(b"a", b"body")).end("a")
script("hpub_before_connect").send("a", hpub(b"a", b"body")).end("a")
script("hpub_header_longer_than_total").send("a", HEADERS, b"HPUB a 20 10\r\n").end("a")
script("hpub_no_arguments").send("a", HEADERS, b"HPUB\r\n").end("a")
script("hpub_two_arguments").send("a", HEADERS, b"HPUB a 5\r\n").end("a")
script("hpub_five_arguments").send("a", HEADERS, b"HPUB a b c 5 5\r\n").end("a")
script("hpub_bad_header_size").send("a", HEADERS, b"HPUB a x 10\r\n").end("a")
script("hpub_bad_total_size").send("a", HEADERS, b"HPUB a 10 x\r\n").end("a")
script("hpub_over_max_payload").send("a", HEADERS, b"HPUB a 20 1048577\r\n").end("a")
script("hpub_header_size_zero").send("a", HEADERS, b"SUB a 1\r\nHPUB a 0 4\r\nbody\r\n").sync("a")
script("hpub_text_is_not_parsed").send("a", HEADERS, b"SUB a 1\r\nHPUB a 4 8\r\njunkbody\r\n").sync("a")
script("hpub_header_only").send("a", HEADERS, b"SUB a 1\r\n", hpub(b"a", b"")).sync("a")
script("hpub_lower_case_blanks").send("a", HEADERS, b"SUB a 1\r\nhpub  a \t %d   %d \r\n%s\r\n" % (len(BLOCK), len(BLOCK), BLOCK)).sync("a")
HPUB_BYTES = hpub(b"a", b"body", b"r")
script("hpub_split_everywhere").send("a", HEADERS, b"SUB a 1\r\n", *[HPUB_BYTES[n : n + 1] for n in range(len(HPUB_BYTES))]).sync("a")
script("hpub_verbose").send("a", connect(verbose=True, headers=True), hpub(b"a", b"x"), b"SUB a 1\r\n", hpub(b"a", b"y")).sync("a")
script("hpub_pedantic_wildcard").send("a", connect(pedantic=True, headers=True), hpub(b"a.*", b"x")).sync("a")
script("headers_off_handshake", NO_HEADERS).send("a", HEADERS, hpub(b"a", b"x")).end("a")

# --- requests nobody answers --------------------------------------------------------------------------------------------------------

script("no_responders").send("a", REQUESTS, b"SUB inbox.* 5\r\nPUB nobody inbox.1 4\r\nhelp\r\n").sync("a")
script("no_responders_hpub").send("a", REQUESTS, b"SUB inbox.1 5\r\n", hpub(b"nobody", b"x", b"inbox.1")).sync("a")
script("no_responders_not_asked_for").send("a", HEADERS, b"SUB inbox.* 5\r\nPUB nobody inbox.1 4\r\nhelp\r\n").sync("a")
script("no_responders_without_inbox").send("a", REQUESTS, b"PUB nobody inbox.1 4\r\nhelp\r\n").sync("a")
script("no_responders_somebody_listens").send("a", REQUESTS, b"SUB inbox.* 5\r\nSUB somebody 6\r\nPUB somebody inbox.1 4\r\nhelp\r\n").sync("a")
script("no_responders_queue_inbox").send("a", REQUESTS, b"SUB inbox.* q 5\r\nPUB nobody inbox.1 4\r\nhelp\r\n").sync("a")
script("no_responders_verbose").send("a", connect(verbose=True, headers=True, no_responders=True), b"SUB inbox.* 5\r\nPUB nobody inbox.1 4\r\nhelp\r\n").sync("a")
script("no_responders_no_echo").send("a", connect(headers=True, no_responders=True, echo=False), b"SUB inbox.* 5\r\nPUB nobody inbox.1 4\r\nhelp\r\n").sync("a")
script("no_responders_inbox_of_another").send("b", REQUESTS, b"SUB inbox.* 5\r\n").sync("b").send(
    "a", REQUESTS, b"PUB nobody inbox.1 4\r\nhelp\r\n"
).sync("a", "b")

# --- other operations ---------------------------------------------------------------------------------------------------------------

script("verbose_order").send("a", connect(verbose=True), b"SUB a 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\nUNSUB 1\r\n").sync("a")
script("ping_junk").send("a", QUIET, b"PING  \r\nPINGfoo bar\r\nping\nPONG whatever\r\nPONGx\r\n", pings=3).sync("a")
script("ok_and_err_from_client").send("a", QUIET, b"+OK\r\n+ok then\r\n").sync("a")
script("err_from_client").send("a", QUIET, b"-ERR 'x'\r\n").end("a")
script("info_from_client").send("a", QUIET, b"INFO {}\r\n").sync("a")
for text in ("FOO", "X", "P", "PUBX a 1", "PUNT", "SUBSCRIBE a 1", "UNSUBX 1", "PIN", "CONNECTX {}", "QUIT", "PONT", "HPUT a"):
    script(f"unknown_{text.split()[0].lower()}").send("a", QUIET, text.encode() + b"\r\n").end("a")
for text in ("MSG a 1 1\r\nx", "HMSG a 1 1 1\r\nx", "RS+ a", "RS- a", "LS+ a", "LS- a", "A+ a", "A- a", "RMSG a 1\r\nx", "LMSG a 1\r\nx"):
    script(f"server_only_{text.split()[0].lower()}").send("a", QUIET, text.encode() + b"\r\n").end("a")
script("empty_lines").send("a", QUIET, b"\r\n\r\n").end("a")
script("leading_blank").send("a", QUIET, b" PING\r\n").end("a")
script("http_request").send("a", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").end("a")
script("tls_client_hello").send("a", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").end("a")
script("garbage").send("a", bytes(range(128, 160)) + b"\r\n").end("a")
script("long_line_without_end").send("a", QUIET, b"PUB " + b"a" * 5000).end("a")
script("long_line_with_end").send("a", QUIET, b"SUB " + b"a" * 4096 + b" 1\r\n").end("a")
script("long_line_within_limit").send("a", QUIET, b"SUB " + b"a" * 4000 + b" 1\r\nPUB " + b"a" * 4000 + b" 1\r\nx\r\n").sync("a")
script("long_ping_junk").send("a", QUIET, b"PING" + b" " * 6000 + b"\r\n", pings=1).sync("a")
script("nothing_then_fin").open("a").fin("a")
script("half_line_then_fin").send("a", QUIET, b"PUB a 5").fin("a")

# --- logins -------------------------------------------------------------------------------------------------------------------------

LOGIN = {"user": "u", "pass": "p"}
script("login_right", AUTH).send("a", connect(**LOGIN)).sync("a")
script("login_right_verbose", AUTH).send("a", connect(verbose=True, **LOGIN)).sync("a")
script("login_wrong_password", AUTH).send("a", connect(user="u", **{"pass": "x"}) + b"PING\r\n").end("a")
script("login_wrong_user", AUTH).send("a", connect(user="x", **{"pass": "p"}) + b"PING\r\n").end("a")
script("login_missing", AUTH).send("a", QUIET).end("a")
script("login_missing_verbose", AUTH).send("a", connect(verbose=True)).end("a")
script("login_token_instead", AUTH).send("a", connect(auth_token="p")).end("a")
script("login_ping_first", AUTH).send("a", b"PING\r\n").end("a")
script("login_pub_first", AUTH).send("a", b"PUB a 1\r\nx\r\n").end("a")
script("login_sub_first", AUTH).send("a", b"SUB a 1\r\n").end("a")
script("login_timeout", AUTH).open("a").end("a")
script("login_lost_by_second_connect", AUTH).send("a", connect(**LOGIN)).sync("a").send("a", connect(user="u", **{"pass": "x"})).end("a")
script("login_kept_by_second_connect", AUTH).send("a", connect(**LOGIN), connect(verbose=True, **LOGIN)).sync("a")

# --- limits -------------------------------------------------------------------------------------------------------------------------

script("limit_payload", LIMITS).send("a", QUIET, b"SUB a 1\r\nPUB a 64\r\n", b"x" * 64, b"\r\n").sync("a").send("a", b"PUB a 65\r\n").end("a")
script("limit_payload_counts_headers", LIMITS).send("a", HEADERS, b"HPUB a 18 65\r\n").end("a")
script("limit_control_line", LIMITS).send("a", QUIET, b"SUB " + b"a" * 150 + b" 1\r\n").end("a")
script("limit_control_line_unfinished", LIMITS).send("a", QUIET, b"SUB " + b"a" * 150).end("a")
script("limit_subscriptions", LIMITS).send("a", QUIET, b"SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPUB c 1\r\nx\r\nUNSUB 1\r\nSUB c 4\r\nPUB c 1\r\ny\r\n").sync("a")
script("limit_subscriptions_verbose", LIMITS).send("a", connect(verbose=True), b"SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n").sync("a")
script("limit_connections", LIMITS).admit("a", "b", "c").open("d").end("d").sync("a")
script("limit_tokens", SUB_TOKENS).send("a", QUIET, b"SUB a.b.c 1\r\nSUB a.b.c.d 2\r\nPUB a.b.c 1\r\nx\r\n").sync("a")
script("stale_connection", IMPATIENT).send("a", connect(protocol=1)).sync("a").mute("a").end("a")

# --- permissions --------------------------------------------------------------------------------------------------------------------


def login(user, **options):
    return connect(user=user, **{"pass": "p"}, **options)


script("permission_publish", PERMISSIONS).send("a", login("pub"), b"PUB cms.a 1\r\nx\r\nPUB other.a 1\r\ny\r\nPUB cms 1\r\nz\r\n").sync("a")
script("permission_publish_verbose", PERMISSIONS).send("a", login("pub", verbose=True), b"PUB other.a 1\r\ny\r\nPUB cms.a 1\r\nz\r\n").sync("a")
script("permission_publish_quoting", PERMISSIONS).send("a", login("pub"), 'PUB o"th\\er.ü.\x01 1\r\ny\r\n'.encode()).sync("a")
script("permission_publish_reply", PERMISSIONS).send("a", login("pub"), b"PUB cms.a secret.reply 1\r\nx\r\nPUB cms.a _INBOX.1 1\r\nx\r\n").sync("a")
script("permission_publish_headers", PERMISSIONS).send("a", login("pub", headers=True), hpub(b"other.h", b"x")).sync("a")
script("permission_subscribe", PERMISSIONS).send("a", login("sub"), b"SUB other.> 1\r\nSUB cms.> 2\r\nSUB cms.secret.x 3\r\nSUB > 4\r\n").sync("a")
script("permission_subscribe_verbose", PERMISSIONS).send("a", login("sub", verbose=True), b"SUB other.> 1\r\nSUB cms.a 2\r\n").sync("a")
script("permission_subscribe_queue", PERMISSIONS).send("a", login("sub"), b"SUB jobs 1\r\nSUB jobs q.a 2\r\nSUB jobs other 3\r\nSUB other q 4\r\n").sync("a")
script("permission_deny_filters_delivery", PERMISSIONS).send("a", login("sub"), b"SUB cms.> 1\r\n").sync("a").send(
    "b", login("all"), b"PUB cms.open 1\r\nx\r\nPUB cms.secret.a 1\r\ny\r\nPUB cms.open 1\r\nz\r\n"
).sync("b", "a")
script("permission_publish_all_denied", PERMISSIONS).send("a", login("sub"), b"PUB cms.a 1\r\nx\r\n").sync("a")
script("permission_responses", PERMISSIONS).send("a", login("svc"), b"SUB svc.x 1\r\n").sync("a").send(
    "b", login("all"), b"SUB back.* 9\r\nPUB svc.x back.1 1\r\nq\r\n"
).sync("b", "a").send("a", b"PUB back.1 1\r\nr\r\nPUB back.1 1\r\ns\r\nPUB back.2 1\r\nt\r\n").sync("a", "b")
script("permission_login_changes", PERMISSIONS).send("a", login("all"), b"SUB other.x 1\r\nPUB other.x 1\r\nx\r\n").sync("a").send(
    "a", login("pub"), b"PUB other.x 1\r\ny\r\n"
).sync("a")
script("permission_timeout", PERMISSIONS).open("a").end("a")
