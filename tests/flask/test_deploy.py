"""The files of deploy/: checked by the tools that read them, and against the settings and commands that they name."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import make_server

from outbox.cli import commands
from outbox.settings import Settings
from outbox.settings.table import specs
from tests.servers.process import free_port, listens
from tests.story.stage import until
from tests.wire.certificates import authority, ca_file

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
    assert set(re.findall(r"\boutbox-[a-z]+(?:-[a-z]+)*\b(?!\.)", text)) <= commands.ALL.keys()


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


def test_gunicorn(tmp_path: Path) -> None:
    """It loads an application by it, and leaves a worker in the web process its time to stop."""
    config = DEPLOY / "gunicorn.conf.py"
    environ = os.environ | {"DATABASE_URL": f"sqlite:///{tmp_path / 'shop.sqlite'}", "PYTHONDONTWRITEBYTECODE": "1"}
    words = ["--check-config", "--config", config, "tests.story.served_app:app"]
    command = [sys.executable, "-m", "gunicorn", *words]
    done = subprocess.run(command, cwd=DEPLOY.parent, env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    text = config.read_text(encoding="utf-8")
    (seconds,) = re.findall(r"^graceful_timeout = (\d+)$", text, re.MULTILINE)
    assert int(seconds) - 5 >= GRACE
    (socket,) = re.findall(r'^bind = "(unix:.+)"$', text, re.MULTILINE)
    assert f"server {socket} " in (DEPLOY / "nginx/shop.conf").read_text(encoding="utf-8")


def test_nginx(tmp_path: Path) -> None:
    """It serves the application over TLS, tells it who asks, keeps the monitoring to this machine, and logs no key."""
    told: list[tuple[str, str, str]] = []
    app = Flask("behind nginx")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]

    @app.route("/<path:path>", methods=["GET", "POST"])
    def any_path(path: str) -> str:
        told.append((request.url, str(request.remote_addr), request.method))
        return "ok"

    text = (DEPLOY / "nginx/shop.conf").read_text(encoding="utf-8")
    port, upstream = free_port(), f"unix:{tmp_path}/gunicorn.sock"
    issued = authority().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "fullchain.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    text = text.replace("unix:/run/shop/gunicorn.sock", upstream).replace("listen 443", f"listen 127.0.0.1:{port}")
    text = text.replace("/etc/ssl/shop", str(tmp_path)).replace("/var/log/nginx", str(tmp_path))
    folders = "".join(
        f"{one}_temp_path {tmp_path}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
        f"events {{}} http {{ {folders} {text} }}"
    )
    with served(app, f"unix://{tmp_path}/gunicorn.sock"):
        server = subprocess.Popen([tool("nginx"), "-c", config, "-p", tmp_path], stderr=subprocess.PIPE)
        try:
            until(lambda: listens(port) or server.poll() is not None, "nginx listens")
            assert server.poll() is None, server.communicate()[1].decode()
            trust = ssl.create_default_context(cafile=str(ca_file()))
            for path in ("unsubscribe/SECRETTOKEN?all=OTHERSECRET", "outbox/healthz", "outbox/events/postmark"):
                with urllib.request.urlopen(f"https://localhost:{port}/{path}", context=trust, timeout=20) as answer:
                    assert answer.read() == b"ok"
        finally:
            server.terminate()
            server.communicate(timeout=20)
    assert told[0] == ("https://localhost/unsubscribe/SECRETTOKEN?all=OTHERSECRET", "127.0.0.1", "GET")
    log = (tmp_path / "shop.log").read_text()
    assert '"GET /unsubscribe/..." 200' in log
    assert "SECRET" not in log
    assert re.search(r"location /outbox/ \{\s*(#[^\n]*\s*)*(allow [\d.:]+;\s*)+deny all;", text)


@contextmanager
def served(app: Flask, host: str) -> Iterator[None]:
    """As gunicorn serves it at a socket."""
    server = make_server(host, 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_logrotate(tmp_path: Path) -> None:
    """It reads its file without an error."""
    config = tmp_path / "logrotate"
    shutil.copy(DEPLOY / "logrotate", config)
    config.chmod(0o644)
    command = [tool("logrotate"), "--debug", "--state", str(tmp_path / "state"), str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "error:" not in done.stderr
