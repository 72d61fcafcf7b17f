"""The command `flawmap`, also as `python -m flawmap`.

The command line takes a second to import. A signal meanwhile ends it without a word, with the exit
code that it has later: 128 and the signal's number.
"""

from __future__ import annotations

import sys

from flawmap.support.signals import catch_signals, received_signal

_NOTHING_DONE = 3
"""The exit code; 1, which Python has for what nobody expected, would say that parts are bad."""


def main() -> None:
    """Import the command line and run it."""
    catch_signals()
    try:
        from flawmap.cli import main as run

        run()
    except (Exception, KeyboardInterrupt) as error:
        # What an interrupted import raises need not be a KeyboardInterrupt.
        if (number := received_signal()) is not None:
            sys.exit(128 + number)
        if not isinstance(error, ImportError):
            sys.excepthook(type(error), error, error.__traceback__)
        elif sys.stderr:
            reason = f"a package that it needs cannot be imported ({error})"
            sys.stderr.write(f"flawmap: {reason}; install flawmap again\n")
        sys.exit(_NOTHING_DONE)


if __name__ == "__main__":
    main()
