"""The inspectors of a station: imported with proof, activated by product, swapped while it runs."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import desc, func, select

from flawmap.errors import FlawmapError, OptionError, RecordError
from flawmap.runtime.bundle import load as load_bundle
from flawmap.runtime.calibration import Budget
from flawmap.runtime.inference import Runtime
from flawmap.server.record.reader import RecordReader, Row
from flawmap.server.record.tables import Activation, ProposedThreshold, StoredInspector
from flawmap.server.record.writer import RecordWriter, Transaction
from flawmap.support.atomic import atomic_write

SUFFIX = ".flawmap"
_KEPT_LOADED = 2
"""Activations of a product whose runtimes stay in memory: the one in force and the one before."""


class InspectorRefused(FlawmapError):
    """An inspector cannot be taken: its file is damaged, or its golden images score otherwise."""


class Inspectors:
    """What judges the parts of each product.

    Args:
        folder: where the files are kept, by their hash, as long as the record is.
        writer: of the record.
        reader: of the record.
    """

    def __init__(self, folder: Path, writer: RecordWriter, reader: RecordReader) -> None:
        self.folder = folder
        self._writer = writer
        self._reader = reader
        self._runtimes: dict[tuple[str, int], Runtime] = {}
        self._lock = threading.Lock()
        self._importing = threading.Lock()

    def path(self, model_sha256: str) -> Path:
        """The file of an inspector.

        Args:
            model_sha256: the hash in it.
        """
        return self.folder / f"{model_sha256}{SUFFIX}"

    def import_folder(self, folder: Path, actor: str) -> dict[str, str]:
        """Import each `NAME.flawmap` of a folder for the product NAME, and activate what is new.

        Args:
            folder: of saved inspectors; or one such file.
            actor: who does it.

        Returns:
            Why it could not be imported, by name of the product; that of the folder where there
            is nothing in it.
        """
        problems = {}
        files = [folder] if folder.is_file() else sorted(folder.glob(f"*{SUFFIX}"))
        if not files:
            problems[folder.name] = f"{folder}: there is no NAME{SUFFIX}; flawmap fit writes one"
        for file in files:
            try:
                self.import_file(file.read_bytes(), file.stem, actor, source=str(file))
            except OSError as error:
                problems[file.stem] = f"{file}: {error.strerror}"
            except InspectorRefused as error:
                problems[file.stem] = str(error)
            except OptionError as error:
                problems[file.stem] = f"{file}: {error}"
        return problems

    def import_file(
        self,
        data: bytes,
        product: str,
        actor: str,
        *,
        source: str = "",
        activate: bool | None = None,
    ) -> str:
        """Take an inspector in, after its golden images are proved on this machine.

        Args:
            data: the bytes of the file.
            product: name of the product that it inspects.
            actor: who does it.
            source: where the file is from, for messages.
            activate: whether it judges from now on; None for where it is new to the product.

        Returns:
            The hash in the file.

        Raises:
            InspectorRefused: it is damaged or scores otherwise here; that is on record.
            OptionError: that is no name for a product.
        """
        check_product(product)
        file_sha256 = hashlib.sha256(data).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)
        # The same file may come twice at the same time, for two products.
        with self._importing:
            runtime, facts = self._prove(data, file_sha256, product, actor, source)

        def record(transaction: Transaction) -> int | None:
            is_new = not _is_imported(transaction, product, runtime.model_sha256)
            if is_new:
                transaction.append("inspector.imported", product, actor, facts)
            if is_new if activate is None else activate:
                return _activate(
                    transaction, product, runtime.model_sha256, None, "imported", actor
                )
            return None

        number = self._writer.run(record)
        if number is not None:
            with self._lock:
                self._runtimes[product, number] = runtime
        return runtime.model_sha256

    def activate(
        self,
        product: str,
        model_sha256: str,
        reason: str,
        actor: str,
        threshold_number: int | None = None,
    ) -> int:
        """Have an inspector judge the parts of a product that come from now on.

        Args:
            product: its name.
            model_sha256: an inspector that was imported for it.
            reason: why.
            actor: who does it.
            threshold_number: an approved threshold of the inspector; None for that in its file.

        Returns:
            Number of the activation.

        Raises:
            OptionError: there is no such inspector or threshold, or no reason.
        """
        if not reason.strip():
            raise OptionError("an activation without a reason; say why")
        return self._writer.run(
            lambda transaction: activate(
                transaction, product, model_sha256, threshold_number, reason, actor
            )
        )

    def roll_back(self, product: str, reason: str, actor: str) -> int:
        """Have the inspector and threshold judge that did so before.

        Args:
            product: its name.
            reason: why.
            actor: who does it.

        Returns:
            Number of the new activation.

        Raises:
            OptionError: nothing was in force before.
        """
        if not reason.strip():
            raise OptionError("a roll-back without a reason; say why")

        def work(transaction: Transaction) -> int:
            rows = transaction.connection.execute(
                select(Activation)
                .with_only_columns(Activation.model_sha256, Activation.threshold_number)
                .where(Activation.product == product)
                .order_by(desc(Activation.number))
            ).all()
            now = rows[0] if rows else None
            before = next((row for row in rows if row != now), None)
            if before is None:
                raise OptionError(f"{product}: no other inspector or threshold was in force before")
            return _activate(transaction, product, *before, reason, actor)

        return self._writer.run(work)

    def runtime(self, product: str, activation_number: int) -> Runtime:
        """What judges the parts of an activation.

        Args:
            product: its name.
            activation_number: of the product.

        Raises:
            RecordError: there is no such activation.
            FlawmapError: its file is gone, damaged, or scores otherwise here.
        """
        key = product, activation_number
        with self._lock:
            if key not in self._runtimes:
                self._runtimes[key] = self._load(product, activation_number)
                self._forget(product, activation_number)
            return self._runtimes[key]

    def load_in_force(self) -> dict[str, str]:
        """Load what is in force for each product.

        Returns:
            Why it could not be loaded, by name of the product.
        """
        problems = {}
        for product, row in self._reader.in_force().items():
            try:
                self.runtime(product, row["number"])
            except FlawmapError as error:
                problems[product] = f"{product}: {error}"
        return problems

    def _prove(
        self, data: bytes, file_sha256: str, product: str, actor: str, source: str
    ) -> tuple[Runtime, dict[str, Any]]:
        """Load an inspector from the place where it is kept, once its golden images are proved."""
        arriving = self.folder / f"arriving-{file_sha256}{SUFFIX}"
        with atomic_write(arriving) as stream:
            stream.write(data)
        try:
            runtime = Runtime.load(arriving)
            facts = _facts(arriving, runtime, file_sha256, len(data))
        except FlawmapError as error:
            arriving.unlink(missing_ok=True)
            reason = str(error).replace(str(arriving), source or f"{product}{SUFFIX}")
            refusal = {"file_sha256": file_sha256, "reason": reason}
            self._writer.run(lambda t: t.append("inspector.refused", product, actor, refusal))
            raise InspectorRefused(reason) from error
        arriving.replace(self.path(runtime.model_sha256))
        return runtime, facts

    def _load(self, product: str, number: int) -> Runtime:
        rows = [row for row in self._reader.activations(product) if row["number"] == number]
        if not rows:
            raise RecordError(f"there is no activation {number} of {product!r}")
        runtime = Runtime.load(self.path(rows[0]["model_sha256"]))
        threshold = rows[0]["threshold_number"]
        if threshold is not None:
            proposed = _find(self._reader.thresholds(product), threshold)
            budget = Budget(proposed["budget"], proposed["confidence"])
            runtime.calibration = replace(runtime.calibration, budget=budget)
        return runtime

    def _forget(self, product: str, newest: int) -> None:
        old = [
            key for key in self._runtimes if key[0] == product and key[1] <= newest - _KEPT_LOADED
        ]
        for key in old:
            del self._runtimes[key]


def activate(
    transaction: Transaction,
    product: str,
    model_sha256: str,
    threshold_number: int | None,
    reason: str,
    actor: str,
) -> int:
    """Have an inspector judge the parts of a product that come after this transaction.

    Args:
        transaction: of the record.
        product: its name.
        model_sha256: an inspector that was imported for it.
        threshold_number: an approved threshold of it; None for that in its file.
        reason: why.
        actor: who does it.

    Returns:
        Number of the activation.

    Raises:
        OptionError: there is no such inspector, or no such threshold that may be in force.
    """
    if not _is_imported(transaction, product, model_sha256):
        raise OptionError(f"{product}: no inspector {model_sha256[:80]!r} was imported for it")
    if threshold_number is not None:
        row = transaction.connection.execute(
            select(ProposedThreshold.state, ProposedThreshold.model_sha256).where(
                ProposedThreshold.product == product, ProposedThreshold.number == threshold_number
            )
        ).first()
        if row is None or row.model_sha256 != model_sha256:
            raise OptionError(f"{product}: that inspector has no threshold {threshold_number}")
        if row.state in ("proposed", "withdrawn"):
            raise OptionError(f"{product}: threshold {threshold_number} is {row.state}")
    return _activate(transaction, product, model_sha256, threshold_number, reason, actor)


def check_product(product: str) -> None:
    """Refuse what is no name for a product.

    Args:
        product: as it was given.

    Raises:
        OptionError: it is empty, longer than 100 characters, or has characters that no file name
            should have.

    Example:
        >>> check_product("../etc")
        Traceback (most recent call last):
        ...
        flawmap.errors.OptionError: '../etc' is no name for a product; use letters, digits, ...
    """
    allowed = product and len(product) <= 100 and not product.startswith(".")
    if not allowed or not all(letter.isalnum() or letter in " ._-()+#" for letter in product):
        raise OptionError(
            f"{product[:100]!r} is no name for a product; use letters, digits, blanks and ._-()+#"
        )


def _activate(
    transaction: Transaction,
    product: str,
    model_sha256: str,
    threshold_number: int | None,
    reason: str,
    actor: str,
) -> int:
    number = 1 + (
        transaction.connection.scalar(
            select(func.max(Activation.number)).where(Activation.product == product)
        )
        or 0
    )
    _change_thresholds(transaction, product, threshold_number, actor)
    data = {
        "number": number,
        "model_sha256": model_sha256,
        "threshold_number": threshold_number,
        "reason": reason,
    }
    transaction.append("inspector.activated", product, actor, data)
    return number


def _change_thresholds(
    transaction: Transaction, product: str, number: int | None, actor: str
) -> None:
    """Have the states of thresholds say which one is in force, however that came about."""
    states = transaction.connection.execute(
        select(ProposedThreshold.number, ProposedThreshold.state)
        .where(ProposedThreshold.product == product)
        .where((ProposedThreshold.state == "in_force") | (ProposedThreshold.number == number))
    ).all()
    for other, state in states:
        if other != number:
            transaction.append("threshold.superseded", product, actor, {"number": other})
        elif state != "in_force":
            transaction.append("threshold.in_force", product, actor, {"number": other})


def _is_imported(transaction: Transaction, product: str, model_sha256: str) -> bool:
    found = transaction.connection.scalar(
        select(StoredInspector.model_sha256).where(
            StoredInspector.product == product, StoredInspector.model_sha256 == model_sha256
        )
    )
    return found is not None


def _find(rows: list[Row], number: int) -> Row:
    return next(row for row in rows if row["number"] == number)


def _facts(file: Path, runtime: Runtime, file_sha256: str, size: int) -> dict[str, Any]:
    manifest = load_bundle(file).manifest
    zones = runtime.preprocessing.zones is not None
    return {
        "model_sha256": runtime.model_sha256,
        "file_sha256": file_sha256,
        "file_size": size,
        "scorer_sha256": runtime.scorer_sha256,
        "method_name": runtime.method_name,
        "version": manifest.version,
        "precision": runtime.precision,
        "golden_difference": runtime.golden_difference,
        "fitted_images": manifest.fitted_images,
        "budget": runtime.calibration.budget.false_rejects,
        "threshold": None if zones else runtime.calibration.threshold,
    }
