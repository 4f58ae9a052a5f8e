"""The files of deploy/: checked by the tools that read them, and against the settings and commands that they name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outbox import cli
from outbox.settings import Settings
from outbox.settings.table import specs

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
GRACE = Settings.from_config({}).shutdown_seconds + 10


def tool(name: str) -> str:
    """A program that checks a file."""
    found = shutil.which(name)
    if found is None:
        if "all" in os.environ.get("OUTBOX_TEST_REQUIRE", ""):
            pytest.fail(f"{name} is required (OUTBOX_TEST_REQUIRE): not installed", pytrace=False)
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_what_a_file_names_exists(path: Path) -> None:
    """Settings and commands."""
    text = path.read_text(encoding="utf-8")
    known = {name for spec in specs() for name in spec.names}
    assert set(re.findall(r"\b(?:OUTBOX|MAIL)_[A-Z_]+\b", text)) <= known
    assert set(re.findall(r"\boutbox-[a-z]+(?:-[a-z]+)*\b(?!\.)", text)) <= {
        getattr(cli, name).name for name in cli.__all__
    }


def test_the_unit(tmp_path: Path) -> None:
    """systemd knows all that it says, and it leaves a stop enough time."""
    (source,) = DEPLOY.glob("systemd/*.service")
    text = source.read_text(encoding="utf-8")
    unit = tmp_path / source.name
    unit.write_text(
        re.sub(r"^(Exec\w+=)\S+", rf"\1{sys.executable}", text, flags=re.MULTILINE).replace("User=shop", "")
    )
    done = subprocess.run([tool("systemd-analyze"), "verify", unit], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, ours) == (0, [])
    assert "Type=notify" in text
    seconds = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert seconds is not None
    assert int(seconds[1]) > GRACE


def test_containers_leave_a_stop_enough_time() -> None:
    """Kubernetes and compose."""
    pod = re.search(r"terminationGracePeriodSeconds: (\d+)", (DEPLOY / "kubernetes/worker.yaml").read_text())
    service = re.search(r"stop_grace_period: (\d+)s", (DEPLOY / "compose.yaml").read_text())
    assert pod is not None
    assert service is not None
    assert min(int(pod[1]), int(service[1])) > GRACE


def test_logrotate(tmp_path: Path) -> None:
    """It reads its file without an error."""
    config = tmp_path / "logrotate"
    shutil.copy(DEPLOY / "logrotate", config)
    config.chmod(0o644)
    command = [tool("logrotate"), "--debug", "--state", str(tmp_path / "state"), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "error:" not in done.stderr
