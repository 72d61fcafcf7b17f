from __future__ import annotations

import json
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs flawmap[station]")

from flawmap.errors import OptionError, StationError
from flawmap.render.encode import encode_image
from helpers import begin_as_in_a_terminal, run, texture
from small_bundle import save_small_bundle


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of Unix")
def test_a_station_from_the_command_line_until_it_is_told_to_end(tmp_path: Path) -> None:
    for name in ("inspectors", "in"):
        (tmp_path / name).mkdir()
    save_small_bundle(tmp_path / "inspectors" / "small.flawmap")
    (tmp_path / "in" / "1.png").write_bytes(encode_image(texture(1, 64, 64), ".png"))
    command = [sys.executable, "-m", "flawmap", "serve", str(tmp_path / "inspectors")]
    command += ["--data", str(tmp_path / "data"), "--port", "0", "--done", str(tmp_path / "done")]
    command += ["--watch", f"{tmp_path / 'in'}=small"]
    with begin_as_in_a_terminal(command, cwd=tmp_path) as process:
        assert process.stdout
        line = process.stdout.readline()
        url = next(word for word in line.split() if word.startswith("http")).rstrip(",")
        deadline = time.monotonic() + 60
        while get(f"{url}/v2/health/ready")[0] != 200:
            assert time.monotonic() < deadline, "it is not ready"
            time.sleep(0.1)
        counts: list[dict[str, int]] = []
        while not counts or counts[0]["waiting"]:
            assert time.monotonic() < deadline, "the watched file was not judged"
            time.sleep(0.1)
            counts = json.loads(get(f"{url}/api/v1/counts")[1])
        assert counts[0]["received"] == counts[0]["good"] == 1
        status, page = get(f"{url}/")
        assert status == 200
        assert "local" in page
        assert "good" in page
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (tmp_path / "done" / "small" / "1.png").exists()
    assert (tmp_path / "data" / "checkpoints.jsonl").exists()
    code, output = run("record", "verify", "--data", tmp_path / "data")
    assert (code, "all fits" in output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such folder of inspectors"),
        (["--watch", "in=small"], "--watch without --done"),
        (["--watch", "small", "--done", "d"], "write IN/=PRODUCT"),
        (["--allow-root", "x"], "write NAME=DIR"),
        (["--quota", "much"], "no amount"),
        ([".", "--demo"], "--demo with"),
    ],
)
def test_what_cannot_be_is_said_at_once(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        run("serve", *arguments, "--data", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_an_address_of_others_is_refused_before_it_answers(tmp_path: Path) -> None:
    with pytest.raises(StationError, match="flawmap station user add"):
        run("serve", "--data", tmp_path / "data", "--host", "0.0.0.0", "--port", "0")


def test_a_database_that_is_gone_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://user:secret@127.0.0.1:1/none"
    from flawmap.errors import RecordError

    with pytest.raises(RecordError, match=r"127\.0\.0\.1") as refused:
        run("serve", "--data", tmp_path / "data", "--port", "0", "--database", url)
    assert "secret" not in str(refused.value)
