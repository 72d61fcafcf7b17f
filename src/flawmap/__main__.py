"""The command `flawmap`, also as `python -m flawmap`.

The command line takes a second to import. A signal meanwhile ends it without a word, with the exit
code that it has later: 128 and the signal's number.
"""

from __future__ import annotations

import sys

from flawmap.support.signals import catch_signals, received_signal


def main() -> None:
    """Import the command line and run it."""
    catch_signals()
    try:
        from flawmap.cli import main as run
    except BaseException:
        # What an interrupted import raises need not be a KeyboardInterrupt.
        if (number := received_signal()) is None:
            raise
        sys.exit(128 + number)
    run()


if __name__ == "__main__":
    main()
