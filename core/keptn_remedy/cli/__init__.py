"""The entry point of `remedy`."""

import signal
import sys


def main() -> None:
    """Run a command. Ctrl-C ends it at once, without a traceback, until a command handles Ctrl-C
    itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["serve"]:
        # Until the service can reload its policy, that signal must not end it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from keptn_remedy.cli.commands import app

    app()
