"""A tracking server with users, as MLflow's basic authentication knows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import free_port

from pipeline.tracking.server import server

ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "the admin's, 12 or more"}
# The cache saves a tenth of a second per request, of which there are hundreds.
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:///users.db
admin_username = {MLFLOW_TRACKING_USERNAME}
admin_password = {MLFLOW_TRACKING_PASSWORD}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""


@contextmanager
def server_with_logins(folder: Path, store: str = "") -> Iterator[str]:
    """The address of a server that keeps artifacts in a folder, and runs there or in a store."""
    (folder / "auth.ini").write_text(AUTH.format(**ADMIN), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(folder / "auth.ini"))
        patch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "any")
        listening = server(
            host="127.0.0.1", port=free_port(), store=store, options=("--app-name", "basic-auth")
        )
        with listening as (_, address):
            yield address
