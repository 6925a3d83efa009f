"""An S3-compatible object store of a test's own, that can be told to fail."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from browser import free_port

BUCKET = "twenty-layers"


class ObjectStore:
    """A running store: an application in this process, and how it is reached."""

    def __init__(self, application: Any, address: str):
        self._application = application
        self._status, self._left = 0, 0
        self.done: list[str] = []  # what it was asked for and has done, such as "PUT /bucket/a"
        self.environment = {
            "AWS_ACCESS_KEY_ID": "the-key-of-a-test",
            "AWS_SECRET_ACCESS_KEY": "the-secret-of-a-test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
        }

    @contextmanager
    def failing(self, status: int, times: int = 1_000_000) -> Iterator[None]:
        """Answer so many requests with a status, and nothing else."""
        self._status, self._left = status, times
        try:
            yield
        finally:
            self._left = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, by the WSGI protocol."""
        if self._left <= 0:
            answer = self._application(environ, start_response)
            self.done.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            return answer
        self._left -= 1
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        code = {403: "AccessDenied", 507: "XMinioStorageFull"}[self._status]
        text = f"<Error><Code>{code}</Code><Message>told to fail</Message></Error>".encode()
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))]
        start_response(f"{self._status} {code}", headers)
        return [text]


@contextmanager
def object_store(host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """Start one at an address of this machine, with an empty bucket."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    from threading import Thread

    from werkzeug.serving import make_server

    port = free_port()
    application = moto.DomainDispatcherApplication(moto.create_backend_app)
    store = ObjectStore(application, f"http://{host}:{port}")
    server = make_server(host, port, store, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        import boto3

        names = {"AWS_ACCESS_KEY_ID": "aws_access_key_id"}
        names |= {"AWS_SECRET_ACCESS_KEY": "aws_secret_access_key"}
        names |= {"AWS_ENDPOINT_URL": "endpoint_url", "AWS_DEFAULT_REGION": "region_name"}
        given = {names[name]: value for name, value in store.environment.items()}
        boto3.client("s3", **given).create_bucket(Bucket=BUCKET)
        yield store
    finally:
        server.shutdown()
