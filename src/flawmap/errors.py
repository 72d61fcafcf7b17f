"""Every error flawmap raises on purpose; each message says what was wrong and what to do.

::

    FlawmapError
    ├── ImageError              one image cannot be used; the others go on
    ├── DatasetError            a folder or a manifest does not hold what is needed
    ├── OptionError             an option has a value that cannot work (also a ValueError)
    │   └── UnknownName         nothing has that name (also a KeyError)
    ├── NotFitted               a score was requested before anything was fitted
    ├── NotExportable           no graph can hold the method
    ├── TrainingError           a training failed: an infinite loss, foreign checkpoints
    ├── WeightsError            the weights of a backbone cannot be used
    │   ├── WeightsUnavailable  they are not on this machine and cannot be fetched
    │   └── WeightsMismatch     what was fitted belongs to other weights
    ├── BundleError             a saved file is damaged, foreign, or of another format
    ├── ParityError             a saved inspector scores otherwise than where it was fitted
    ├── ForkError               this process was forked from the one that loaded the inspector
    ├── NotPicklable            a loaded inspector cannot go to another process (also a TypeError)
    ├── MissingExtra            a part of flawmap is not installed (also an ImportError)
    ├── RecordError             the station's record cannot be read or written, or does not fit
    ├── StationError            a station cannot be started as it was asked for
    └── WriteError              a file cannot be written, for want of space or permission
"""


class FlawmapError(Exception):
    """Base of all errors below; catch it to catch them all."""


class ImageError(FlawmapError):
    """One image cannot be used: damaged, not an image, too small."""


class DatasetError(FlawmapError):
    """A folder or a manifest does not hold what is needed."""


class OptionError(FlawmapError, ValueError):
    """An option has a value that cannot work."""


class NotFitted(FlawmapError):
    """A score was requested before anything was fitted."""


class NotExportable(FlawmapError):
    """No graph can hold what this method does; the message says why."""


class TrainingError(FlawmapError):
    """A training failed; the message names the epoch and the step."""


class WeightsError(FlawmapError):
    """The weights of a backbone cannot be used."""


class WeightsUnavailable(WeightsError):
    """The weights are not on this machine and cannot be fetched."""


class WeightsMismatch(WeightsError):
    """What was fitted belongs to other weights than those at hand."""


class BundleError(FlawmapError):
    """A saved file is damaged, is not flawmap's, or is newer than this flawmap."""


class MissingExtra(FlawmapError, ImportError):
    """A part of flawmap is needed that is not installed; the message says how to install it."""


class ParityError(FlawmapError):
    """A saved inspector does not score on this machine as it did where it was fitted.

    The message has the figures.
    """


class ForkError(FlawmapError):
    """This process was forked from the one that loaded the inspector; the message says what to do.

    Threads do not survive a fork, so inspecting would wait forever.
    """


class NotPicklable(FlawmapError, TypeError):
    """A loaded inspector cannot be pickled or copied; the message says what to do."""


class WriteError(FlawmapError):
    """A file cannot be written, for want of space or of permission."""


class RecordError(FlawmapError):
    """The station's record cannot be read or written, or is not what it should be."""


class StationError(FlawmapError):
    """A station cannot be started as it was asked for; the message says what to do."""


class UnknownName(OptionError, KeyError):
    """Nothing of that kind has that name; the message lists the names that there are."""

    __str__ = Exception.__str__
