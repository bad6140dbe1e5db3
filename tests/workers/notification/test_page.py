"""Decides that the example of `docs/kinds/notification.md` works, from the config to the mail."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.servers.system import start_control, start_worker
from control.model.names import ENV_WORKER_CONFIG
from tests.e2e.blocks import blocks
from tests.workers.notification.receivers import Mail

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]

PAGE = Path(__file__).parents[3] / "docs" / "kinds" / "notification.md"


def test_the_example_of_the_page(mail: Mail, tmp_path: Path) -> None:
    for block in blocks(PAGE):
        if block.file is not None:
            text = block.text.replace("mail.example.com/?", f"127.0.0.1:{mail.port}/?")
            (tmp_path / block.file).write_text(text, "utf-8")
    data = tmp_path / "data"
    environ = {ENV_WORKER_CONFIG: str(tmp_path / "worker.toml"), "OPS_PASSWORD": "s3cret"}
    command = [str(Path(sys.executable).parent / "tpctl"), "--data-dir", str(data)]
    command += ["run", "submit", "notice.yaml", "--input", '{"day": "2026-01-31"}', "--wait"]
    with start_control(data), start_worker(data, slots=1, name="local", environ=environ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (message,) = mail.messages
    assert message["subject"] == "Report of 2026-01-31"
    part = message.get_body(("plain", "html"))
    assert part is not None
    assert part.get_content().strip() == "There were 3 orders."
    (file,) = message.iter_attachments()
    assert (file.get_filename(), file.get_payload(decode=True)) == ("sums.json", b'{"orders":3}')
