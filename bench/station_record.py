"""How fast a record of a million parts answers, in SQLite.

    python bench/station_record.py [--rows 1000000] [--folder DIR]

Fills the tables of a record as a station does, but without its events, which nothing here reads,
and prints the time of each question that a page or a program asks: the median of nine.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from flawmap.server.record.database import SQLITE_FILE, Database
from flawmap.server.record.reader import Query, RecordReader

PRODUCTS = 5
TIMES = 9
COLUMNS = (
    "id, received_seq, received_at, product, activation_number, source, source_key, name, serial, "
    "lot, purpose, station, image_sha256, state, judged_seq, judged_at, score, scorer_sha256"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        database = Database.in_folder(folder)
        database.prepare()
        fill(folder / SQLITE_FILE, arguments.rows)
        size = (folder / SQLITE_FILE).stat().st_size
        print(f"{arguments.rows:,} parts, {size / 1e6:.0f} MB")
        ask(RecordReader(database), arguments.rows)
        database.close()


def fill(file: Path, rows: int) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(
            "INSERT INTO stored_file (sha256, category, size, stored_at) "
            "VALUES (?, 'image', 1, '')",
            ["0" * 64],
        )
        marks = ", ".join("?" * len(COLUMNS.split(",")))
        connection.executemany(f"INSERT INTO inspection ({COLUMNS}) VALUES ({marks})", parts(rows))
        for state, share in (
            ("received", 1),
            ("good", 0.96),
            ("reject", 0.03),
            ("undecided", 0.01),
        ):
            for product in range(PRODUCTS):
                count = round(share * rows / PRODUCTS)
                values = (f"product {product}", state, count)
                connection.execute("INSERT INTO tally VALUES (?, ?, ?)", values)
        connection.commit()
        connection.execute("ANALYZE")
        connection.commit()


def parts(rows: int) -> Iterator[tuple[Any, ...]]:
    for number in range(rows):
        day, second = divmod(number, 86_400)
        date = f"2026-{1 + day // 28:02}-{1 + day % 28:02}"
        at = f"{date}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.000Z"
        state = "reject" if number % 33 == 0 else "undecided" if number % 100 == 1 else "good"
        yield (
            f"{number:032x}", 2 * number, at, f"product {number % PRODUCTS}", 1, "rest", None,
            f"{number}.png", f"S{number:07}", f"L{number // 5000:04}", "production", "line 1",
            "0" * 64, state, 2 * number + 1, at, number % 977 / 100, "e" * 64,
        )  # fmt: skip


def ask(reader: RecordReader, rows: int) -> None:
    middle = rows // 2
    questions: dict[str, Callable[[], object]] = {
        "one part": lambda: reader.inspection(f"{middle:032x}"),
        "serial": lambda: reader.search(Query(serial=f"S{middle:07}")).items[0],
        "lot": lambda: reader.search(Query(lot=f"L{middle // 5000:04}")).items[0],
        "product, newest": lambda: reader.search(Query(product="product 3")).items[0],
        "rejects of a product": lambda: reader.search(
            Query(product="product 3", state="reject")
        ).items[0],
        "rejects of all": lambda: reader.search(Query(state="reject")).items[0],
        "a day": lambda: reader.search(Query(since="2026-01-05", until="2026-01-06")).items[0],
        "rejects of a day": lambda: reader.search(
            Query(state="reject", since="2026-01-05", until="2026-01-06")
        ).items[0],
        "waiting": lambda: reader.search(Query(state="waiting")),
        "a page far back": lambda: reader.search(Query(cursor=middle)).items[0],
        "no such serial": lambda: reader.search(Query(serial="none")),
        "counts": reader.counts,
    }
    for name, question in questions.items():
        times = []
        for _ in range(TIMES):
            started = time.perf_counter()
            question()
            times.append(1000 * (time.perf_counter() - started))
        print(f"{name:24} {statistics.median(times):8.2f} ms   (slowest {max(times):.1f})")


if __name__ == "__main__":
    main()
