import socket
import subprocess
import sys

import pytest
from browser import free_port as any_free_port
from conftest import PROJECT

from pipeline.tracking import server


def test_a_free_port_is_used_as_it_is() -> None:
    port = any_free_port()
    assert server.free_port("127.0.0.1", port) == port


def test_after_a_port_that_is_taken_comes_the_next_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert port < server.free_port("127.0.0.1", port) <= port + server.PORTS_TRIED


def test_an_address_that_is_not_this_machines_is_refused() -> None:
    with pytest.raises(server.ServerError, match=r"No port from 65530 to 65535 .* at 192\.0\.2\.1"):
        server.free_port("192.0.2.1", 65530)


def test_the_process_that_waits_for_a_server_imports_nothing_large() -> None:
    program = (
        "import sys; import pipeline.ui; print({'mlflow', 'tensorflow', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True)
    assert done.stdout == b"set()\n", done.stderr
