"""Things to choose by name: flawmap's own, registered ones, and those of installed packages.

A package offers its own by entry points; docs/plugins.md has an example. They are looked at only
where a name is unknown, or where all names are listed.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from itertools import chain
from typing import Generic, TypeVar

from flawmap.errors import OptionError, UnknownName

_T = TypeVar("_T")


class Registry(Mapping[str, _T], ABC, Generic[_T]):
    """A mapping from names to things of one kind, to which other packages add their own.

    Looking up a name that is not there loads the entry points of that name; going through the
    mapping loads all. One that cannot be loaded is named in a warning then, and the others go on.

    Args:
        kind: what the things are, in one or two words for messages, such as `reducer`.
        group: entry points in which packages offer such things.
        built_in: flawmap's own, by their names.
    """

    def __init__(self, kind: str, group: str, built_in: Mapping[str, _T]) -> None:
        self.kind = kind
        self.group = group
        self._entries = dict(built_in)
        self._sources: dict[str, str] = {}
        self._classes: dict[str, type] = {}

    @abstractmethod
    def accept(self, value: object) -> _T | None:
        """The entry that an object stands for; None where it belongs to another registry.

        Args:
            value: what was registered, or what an entry point names.

        Raises:
            OptionError: it belongs to no registry.
        """

    @abstractmethod
    def class_of(self, entry: _T) -> type:
        """The class that an entry makes.

        Args:
            entry: one of the registry's.
        """

    def register(self, name: str, value: object) -> None:
        """Add an entry; it can be used at once.

        Args:
            name: what it is chosen by, in Python, after `--set`, and in saved files. A module that
                runs again replaces its own entries.
            value: the entry, or what stands for it.

        Raises:
            OptionError: the name is taken, or the object is of another kind.
        """
        entry = self.accept(value)
        if entry is None:
            raise OptionError(f"{value!r} is no {self.kind}; register it where its kind is")
        source = _source_of(self.class_of(entry))
        if name in self._entries and source != self.source(name):
            self._check_same(name, entry, source)
        self._add(name, entry, source)

    def source(self, name: str) -> str:
        """Where an entry comes from: `package NAME`, `module NAME`, or nothing for flawmap's own.

        Args:
            name: of the entry.
        """
        return self._sources.get(name, "")

    def name_of(self, cls: type) -> tuple[str, str]:
        """The name and the source of the entry that makes a class, as saved files hold them.

        A class that is not registered goes by its own name; files with it can be saved.

        Args:
            cls: the class of a method or of a component.
        """
        # Those of installed packages are loaded only where none of the others makes it.
        for name in chain(list(self._entries), self):
            if self._class(name) is cls:
                return name, self.source(name)
        return cls.__name__, _source_of(cls)

    def from_source(self, name: str, source: str) -> _T:
        """The entry that a saved file names.

        Args:
            name: of the entry.
            source: its source when the file was saved, as `source` returns it.

        Raises:
            OptionError: it is not here, or another package has one of that name.
        """
        try:
            entry = self[name]
        except UnknownName as error:
            if not source:
                raise
            raise OptionError(
                f"the {self.kind} {name!r} comes from {source}, which "
                f"is not registered here; {_remedy(source)}"
            ) from error
        if not _may_be_same(source, self.source(name)):
            raise OptionError(
                f"the {self.kind} {name!r} comes from {source or 'flawmap itself'}, and here it is "
                f"of {self.source(name) or 'flawmap itself'}; {_remedy(source)}"
            )
        return entry

    def __getitem__(self, name: str) -> _T:
        """The entry of a name.

        Raises:
            UnknownName: nothing has that name; the message lists the names that there are.
            OptionError: a package offers it, but it cannot be loaded.
        """
        if name not in self._entries:
            self._load(name)
        if name not in self._entries:
            raise UnknownName(f"there is no {self.kind} {name!r}; there are {', '.join(self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Go through all names; a package whose entry cannot be used is named in a warning."""
        for name in sorted({point.name for point in entry_points(group=self.group)}):
            try:
                self._load(name)
            except OptionError as error:
                warnings.warn(str(error), stacklevel=2)
        return iter(list(self._entries))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _add(self, name: str, entry: _T, source: str) -> None:
        self._entries[name] = entry
        self._sources[name] = source
        self._classes[name] = self.class_of(entry)

    def _class(self, name: str) -> type:
        """The class of an entry; kept, since a factory may take long, or fail later."""
        if name not in self._classes:
            self._classes[name] = self.class_of(self._entries[name])
        return self._classes[name]

    def _load(self, name: str) -> None:
        """Register what installed packages offer under a name, if any does."""
        offers: dict[str, _T] = {}
        for point in entry_points(group=self.group, name=name):
            entry = self._entry_of(point)
            if entry is not None:
                offers[_package_of(point)] = entry
        if name not in self._entries and len(offers) > 1:
            raise OptionError(
                f"the packages {' and '.join(sorted(offers))} both offer the {self.kind} "
                f"{name!r}; uninstall all but one"
            )
        for package, entry in offers.items():
            source = f"package {package}"
            if name in self._entries:
                self._check_same(name, entry, source)
            self._add(name, entry, source)

    def _check_same(self, name: str, entry: _T, source: str) -> None:
        """Refuse another entry of a name; the same one may be registered and offered."""
        same_class = self.class_of(entry) is self._class(name)
        if not same_class or not self.source(name):
            raise OptionError(
                f"the {self.kind} {name!r} of {source} is not used: "
                f"{self.source(name) or 'flawmap itself'} has one of that name"
            )

    def _entry_of(self, point: EntryPoint) -> _T | None:
        try:
            entry = self.accept(point.load())
            if entry is not None:
                self.class_of(entry)  # a factory that fails is found here
        except Exception as error:  # whatever another package's code raises
            reason = str(error) if isinstance(error, OptionError) else repr(error)
            raise OptionError(
                f"{self.group} {point.name!r} of package {_package_of(point)} "
                f"({point.value}) cannot be used: {reason}"
            ) from error
        return entry


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


def _source_of(cls: type) -> str:
    return f"module {cls.__module__}"


def _may_be_same(saved: str, present: str) -> bool:
    """Whether two sources may be one: a module may have become a package, or have moved."""
    moved = saved.startswith("module ") or present.startswith("module ")
    return saved == present or (moved and bool(saved) and bool(present))


def _remedy(source: str) -> str:
    kind, _, name = source.partition(" ")
    if kind == "package":
        return f"pip install {name}"
    return f"import {name} first, and let it register its own"
