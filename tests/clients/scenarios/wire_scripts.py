"""Makes a scenario of every script of bytes: what the server answers must be what nats-server 2.15.1 answers, line by line."""

import wire
import wire_scripts
from harness import SCENARIOS, Failed, scenario

RECORDED = wire.load_recording()


def due(context, name):
    """What this server has to answer: the recording, or the intended difference where the server is not the reference."""
    if context.remembers and name in wire_scripts.INTENDED:
        _reason, answers = wire_scripts.INTENDED[name]
        return answers
    if name not in RECORDED:
        raise Failed("not recorded: run with --record-wire against nats-server")
    return RECORDED[name]


def register(steps):
    def run(context):
        wire.compare(wire.run(steps, context.shared(steps.flavour).port), due(context, steps.name))

    SCENARIOS.append((f"wire.{steps.name}", run))


for each in wire_scripts.SCRIPTS:
    register(each)


@scenario
def names_are_unique(context):
    """No script hides another, every recording belongs to a script, and every intended difference names one."""
    names = [steps.name for steps in wire_scripts.SCRIPTS]
    repeated = {name for name in names if names.count(name) > 1}
    stray = (set(RECORDED) | set(wire_scripts.INTENDED)) - set(names)
    if repeated or stray:
        raise Failed(f"repeated {sorted(repeated)}, without a script {sorted(stray)}")
