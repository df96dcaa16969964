"""The Node client: publish, subscribe, request, no responders and drain, in one program of its own."""

from harness import Skip, check_equal, check_ran, run_program, scenario
from servers import HOST


def exchange(context, server):
    if context.tools.node is None:
        raise Skip("no node on this machine")
    login = [server.flavour.user, server.flavour.password] if server.flavour.user else []
    done = run_program([context.tools.node, str(context.tools.node_dir / "exchange.mjs"), HOST, str(server.port), *login])
    check_ran(done, "exchange.mjs")
    check_equal(done.stdout, b"OK\n", "output")


@scenario
def node_exchange(context):
    exchange(context, context.open)


@scenario
def node_exchange_with_login(context):
    exchange(context, context.auth)
