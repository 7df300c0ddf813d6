import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import insert

from cloud.doctor.findings import Code, NotProven
from cloud.doctor.running import WATERMARK_OLD_MS, intake_is_alive
from cloud.schema import spools
from tests.cloud.doctor.conftest import MADE_AT_MS
from tests.cloud.doctor.test_registry import change, write


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def _answering(folder) -> Iterator[None]:
    """Somebody answers where the intake should."""
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        change(folder, "port = 18080", f"port = {server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("_answering")
def test_intake_that_answers_and_is_heard_is_good_until_its_watermark_is_old(folder, subject):
    values = {"intake": "INTAKE-1", "spool": b"12345678", "first_seen_at_ms": MADE_AT_MS}
    write(folder, insert(spools).values(watermark_at_ms=MADE_AT_MS, **values))
    assert intake_is_alive(subject(later_ms=WATERMARK_OLD_MS)) == []
    (remark,) = intake_is_alive(subject(later_ms=WATERMARK_OLD_MS + 1_000))
    assert remark.code is Code.WATERMARK_STUCK


@pytest.mark.usefixtures("_answering")
def test_intake_that_answers_and_was_never_heard_is_not_proven(subject):
    (remark,) = intake_is_alive(subject())
    assert isinstance(remark, NotProven)
