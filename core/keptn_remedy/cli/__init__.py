"""The entry point of `remedy`."""

import signal


def main() -> None:
    """Run a command. Until one wants to clean up, Ctrl-C ends it on the spot, without traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from keptn_remedy.cli.commands import app

    app()
