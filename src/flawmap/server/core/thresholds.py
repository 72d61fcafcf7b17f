"""Another threshold for an inspector: one person proposes it, another approves it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import func, select

from flawmap.errors import OptionError
from flawmap.runtime.calibration import Budget
from flawmap.server.core.inspectors import Inspectors, activate
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.tables import Activation, ProposedThreshold, Setting
from flawmap.server.record.writer import RecordWriter, Transaction

FOUR_EYES = "four_eyes"
"""Name of the rule that two persons put a threshold in force; it holds where it was never set."""


class Thresholds:
    """Proposals of thresholds, and what becomes of them; each step is on record.

    Args:
        inspectors: whose thresholds these are.
        writer: of the record.
        reader: of the record.
    """

    def __init__(self, inspectors: Inspectors, writer: RecordWriter, reader: RecordReader) -> None:
        self._inspectors = inspectors
        self._writer = writer
        self._reader = reader

    def propose(
        self, product: str, budget: float, confidence: float | None, reason: str, actor: str
    ) -> int:
        """Propose a threshold for the inspector in force.

        Args:
            product: its name.
            budget: fraction of false rejects, 0…1 exclusive.
            confidence: 0…1 exclusive; None for the average.
            reason: why.
            actor: who proposes it.

        Returns:
            Number of the proposal.

        Raises:
            OptionError: no inspector is in force, it has regions, the budget takes more good images
                than there are, or there is no reason.
        """
        if not reason.strip():
            raise OptionError("a threshold without a reason; say why")
        row = self._reader.in_force().get(product)
        if row is None:
            raise OptionError(f"no inspector is in force for a product {product[:80]!r}")
        runtime = self._inspectors.runtime(product, row["number"])
        if runtime.preprocessing.zones is not None:
            raise OptionError(
                f"{product}: its inspector has regions, each with a budget of its own; set them by "
                "flawmap threshold --region, and upload the file"
            )
        calibration = replace(runtime.calibration, budget=Budget(budget, confidence))
        if calibration.images_missing:
            count = len(calibration.scores)
            raise OptionError(f"{product}: {calibration.budget.images_text(count)}")
        data = {
            "model_sha256": row["model_sha256"],
            "budget": budget,
            "confidence": confidence,
            "score": calibration.threshold,
            "rank": calibration.budget.rank(len(calibration.scores)),
            "reason": reason.strip(),
            "expected_false_rejects": calibration.expected_false_rejects,
            "false_reject_bound": calibration.false_reject_bound,
        }

        def work(transaction: Transaction) -> int:
            largest = transaction.connection.scalar(
                select(func.max(ProposedThreshold.number)).where(
                    ProposedThreshold.product == product
                )
            )
            number = 1 + (largest or 0)
            transaction.append("threshold.proposed", product, actor, data | {"number": number})
            return number

        return self._writer.run(work)

    def approve(self, product: str, number: int, actor: str) -> None:
        """Approve a proposal of another person.

        Args:
            product: its name.
            number: of the proposal.
            actor: who approves it.

        Raises:
            OptionError: there is no such proposal, it is not open, or it is the actor's own while
                two persons are asked for.
        """

        def work(transaction: Transaction) -> None:
            row = _proposal(transaction, product, number)
            _check_state(row, "proposed")
            if row.proposed_by == actor and needs_two(transaction):
                raise OptionError(
                    f"{actor} proposed this threshold, and another person approves it; where one "
                    "person does both: flawmap station rule four-eyes off"
                )
            transaction.append("threshold.approved", product, actor, {"number": number})

        self._writer.run(work)

    def withdraw(self, product: str, number: int, actor: str) -> None:
        """Take back a proposal that is not in force yet.

        Args:
            product: its name.
            number: of the proposal.
            actor: who does it.

        Raises:
            OptionError: there is no such proposal, or it is in force or was.
        """

        def work(transaction: Transaction) -> None:
            _check_state(_proposal(transaction, product, number), "proposed", "approved")
            transaction.append("threshold.withdrawn", product, actor, {"number": number})

        self._writer.run(work)

    def put_in_force(self, product: str, number: int, reason: str, actor: str) -> int:
        """Have an approved threshold judge the parts that come from now on.

        Args:
            product: its name.
            number: of the proposal.
            reason: why now.
            actor: who does it.

        Returns:
            Number of the activation.

        Raises:
            OptionError: it is not approved, or its inspector is not in force any more.
        """
        if not reason.strip():
            raise OptionError("an activation without a reason; say why")

        def work(transaction: Transaction) -> int:
            row = _proposal(transaction, product, number)
            _check_state(row, "approved")
            in_force = transaction.connection.scalar(
                select(Activation.model_sha256)
                .where(Activation.product == product)
                .order_by(Activation.number.desc())
                .limit(1)
            )
            if in_force != row.model_sha256:
                raise OptionError(
                    f"{product}: threshold {number} is for another inspector than the one in force"
                )
            return activate(transaction, product, row.model_sha256, number, reason, actor)

        return self._writer.run(work)


def needs_two(transaction: Transaction) -> bool:
    """Whether another person than the one who proposed must approve.

    Args:
        transaction: of the record.
    """
    value = transaction.connection.scalar(select(Setting.value).where(Setting.name == FOUR_EYES))
    return bool(value is None or value.get("on", True))


def _proposal(transaction: Transaction, product: str, number: int) -> Any:
    row = transaction.connection.execute(
        select(ProposedThreshold)
        .with_only_columns(
            ProposedThreshold.state,
            ProposedThreshold.model_sha256,
            ProposedThreshold.proposed_by,
            ProposedThreshold.number,
        )
        .where(ProposedThreshold.product == product, ProposedThreshold.number == number)
    ).first()
    if row is None:
        raise OptionError(f"there is no threshold {number} of a product {product[:80]!r}")
    return row


def _check_state(row: Any, *states: str) -> None:
    if row.state not in states:
        raise OptionError(f"threshold {row.number} is {row.state}, not {' or '.join(states)}")
