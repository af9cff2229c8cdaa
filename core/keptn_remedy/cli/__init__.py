"""The entry point of `remedy`."""

import signal
import sys


def main() -> None:
    """Run a command. Until one wants to clean up, Ctrl-C ends it on the spot, without traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can read the policy again
    from keptn_remedy.cli.commands import app

    app()
