"""The services of deploy/compose.yaml, run as it says, in namespaces instead of containers.

Each has a root of its own, laid over this machine's, in which the project is where the Dockerfile
puts it, and volumes are where they are mounted; the user, what may be written, and capabilities are
those of compose.yaml. All are on one network of their own, where the names of services lead to
loopback addresses. So commands, environment, ports, paths and order are as written.
"""

import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT
from postgresql import programs

DEPLOY = PROJECT / "deploy"
OWN = "twenty-layers"  # the image that is built here
HEALTHY_WITHIN = 300.0  # seconds
SYSTEM = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

# What others' images start: PostgreSQL as the entry point of its image does, an S3 of moto's.
POSTGRES = """
data=/var/lib/postgresql/data
printf %s "$POSTGRES_PASSWORD" > /tmp/password
initdb --auth-local=trust --auth-host=scram-sha-256 --pwfile=/tmp/password --no-sync \
  --locale=C.UTF-8 --username=postgres --pgdata=$data
rm /tmp/password
pg_ctl --pgdata=$data --wait --options="-c listen_addresses= -k /tmp" start
psql --host=/tmp --username=postgres --set=ON_ERROR_STOP=1 \
  --file=/docker-entrypoint-initdb.d/databases.sql
pg_ctl --pgdata=$data --wait stop
exec postgres -D $data -k /tmp -c listen_addresses=0.0.0.0 -c log_statement=none
"""
STARTED = {
    "postgres": ["sh", "-ec", POSTGRES],
    "s3": ["moto_server", "-H", "0.0.0.0", "-p", "7070"],
}
ANSWERS = {"s3": ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 7070))"]}

# A root of its own: $0 is an empty folder, $1 the user, $2 the working directory; the rest is run.
ROOT = """
own=$0 user=$1 work=$2; shift 2
hostname $(basename $own)
mount -t tmpfs tmpfs $own
mkdir $own/upper $own/work $own/root
mount -t overlay overlay -o lowerdir=/,upperdir=$own/upper,workdir=$own/work $own/root
mount --rbind /dev $own/root/dev
mount -t proc proc $own/root/proc
cd $own/root
{mounts}
cd /
exec chroot $own/root sh -ec 'cd $0; exec setpriv "$@"' $work --reuid=$user --regid=$user \
  --clear-groups --pdeathsig=KILL {restrictions} "$@"
"""


def dotenv() -> dict[str, str]:
    """What .env.example asks for, made as it says; no hook."""
    names = re.findall(r"^(\w+)=$", (DEPLOY / ".env.example").read_text("utf-8"), re.MULTILINE)
    return {name: secrets.token_hex(32) for name in names if not name.endswith("_URL")}


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its arguments on one line."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


def filled(value: Any, given: Mapping[str, str]) -> Any:
    """A part of compose.yaml with what .env has instead of ${NAME:?...}."""
    match value:
        case str():
            return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda name: given[name[1]], value)
        case list():
            return [filled(one, given) for one in value]
        case dict():
            return {name: filled(one, given) for name, one in value.items()}
    return value


@dataclass
class Stack:
    """The services, their logs and their volumes.

    Args:
        folder: an empty one that all users can reach.
        given: what .env has.
    """

    folder: Path
    given: Mapping[str, str]
    name: str = field(default_factory=lambda: f"stack-{secrets.token_hex(3)}")
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)  # services, in this order

    @cached_property
    def file(self) -> dict[str, Any]:
        return filled(compose(), self.given)

    def up(self, name: str, *more: str) -> str:
        """Start a service after those that it depends on, with more arguments; what it is now.

        Of those that end, the end is waited for where that is the condition.
        """
        service = self.file["services"][name]
        for other, after in service.get("depends_on", {}).items():
            if other not in self.started:
                self.up(other)
            if after["condition"] == "service_completed_successfully":
                assert self.running[f"{other}-1"].wait(HEALTHY_WITHIN) == 0, self.log(f"{other}-1")
            elif after["condition"] == "service_healthy":
                self._wait_for_health(other)
        self.started.append(name)
        for _ in range(service.get("deploy", {}).get("replicas", 1)):
            one = f"{name}-{sum(other.startswith(f'{name}-') for other in self.running) + 1}"
            self.running[one] = self._start(name, one, *more)
        return one

    def log(self, one: str) -> str:
        """What one has printed, such as worker-1."""
        return (self.folder / f"{one}.log").read_text("utf-8", "replace")

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service, as in its container."""
        inside = dict(self.file["services"][name].get("environment", {}))
        found = {
            name: self.given.get(name) if inside[name] is None else inside[name] for name in inside
        }
        image = [rest for command, rest in dockerfile() if command == "ENV"]
        of_image = dict(one.split("=", 1) for rest in image for one in shlex.split(rest))
        path = f"{Path(sys.executable).parent}:{programs()}:{SYSTEM}"
        given = {key: value for key, value in found.items() if value is not None}
        return {"PATH": path, **(of_image if self._is_own(name) else {}), **given}

    def within(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command on the network of the services."""
        return subprocess.Popen(["ip", "netns", "exec", self.name, *command], **options)

    def _is_own(self, name: str) -> bool:
        return self.file["services"][name]["image"] == OWN

    def _start(self, name: str, one: str, *more: str) -> subprocess.Popen[bytes]:
        service = self.file["services"][name]
        command = STARTED.get(name) or service["command"]
        words = shlex.split(command) if isinstance(command, str) else command
        own = self.folder / one
        own.mkdir()
        restrictions = ["--bounding-set=-all"] if service["cap_drop"] == ["ALL"] else []
        if "no-new-privileges:true" in service["security_opt"]:
            restrictions += ["--no-new-privs"]
        script = ROOT.format(mounts=self._mounts(name), restrictions=" ".join(restrictions))
        instructions = dict(dockerfile())  # of several, the last, as it is for USER and WORKDIR
        user = service.get("user") or (instructions["USER"] if self._is_own(name) else "root")
        where = instructions["WORKDIR"] if self._is_own(name) else "/"
        apart = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "sh", "-ec"]
        with (self.folder / f"{one}.log").open("w") as log:
            return self.within(
                *(*apart, script, str(own), user, where, *words, *more),
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _mounts(self, name: str) -> str:
        """Commands that put files and volumes into the root that is the working directory."""
        service = self.file["services"][name]
        lines = [_file(self._hosts(), "/etc/hosts")]
        python = {*Path(sys.executable).parents, *Path(sys.executable).resolve().parents}
        lines += [f"chmod a+x .{folder}" for folder in python]
        if self._is_own(name):
            copied = [rest.split() for command, rest in dockerfile() if command == "COPY"]
            for *sources, _ in copied:
                for source in sources:
                    lines.append(_file(PROJECT / source, f"/srv/twenty-layers/{source}"))
        for volume in service.get("volumes", ()):
            called, target, *_ = volume.split(":")
            lines.append(_file(self._volume(called, name), target))
        for config in service.get("configs", ()):
            path = DEPLOY / self.file["configs"][config["source"]]["file"]
            lines.append(_file(path, config["target"]))
        for target in service.get("tmpfs", ()):
            lines.append(f"mkdir -p .{target}; mount -t tmpfs tmpfs .{target}")
        lines.append(_file(Path(sys.prefix), sys.prefix))  # which may be below one of those
        return "\n".join(lines + ["mount -o remount,ro ."] * service["read_only"])

    def _hosts(self) -> Path:
        path = self.folder / "hosts"
        path.write_text(f"127.0.0.1 localhost {' '.join(self.file['services'])}\n", "utf-8")
        return path

    def _volume(self, called: str, name: str) -> Path:
        path = self.folder / "volumes" / called
        if not path.exists():
            path.mkdir(parents=True)
            user = dict(dockerfile())["USER"] if self._is_own(name) else "root"
            subprocess.run(
                ["chown", self.file["services"][name].get("user", user), path], check=True
            )
        return path

    def _wait_for_health(self, name: str) -> None:
        _, *check = self.file["services"][name]["healthcheck"]["test"]
        deadline = time.monotonic() + HEALTHY_WITHIN
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**self.environment(name), "PYTHONPATH": ""}
        while self.within(*ANSWERS.get(name, check), env=environment, **quiet).wait():
            assert self.running[f"{name}-1"].poll() is None, self.log(f"{name}-1")
            assert time.monotonic() < deadline, self.log(f"{name}-1")
            time.sleep(0.2)


def _file(source: Path, target: str) -> str:
    """Commands that mount a file or folder into the root that is the working directory."""
    made = "mkdir -p" if source.is_dir() else f"mkdir -p .{Path(target).parent}; touch"
    return f"{made} .{target}; mount --bind {source} .{target}"


@contextmanager
def stack(folder: Path, given: Mapping[str, str]) -> Iterator[Stack]:
    """The services, none of them started; leaving the context ends those that are."""
    if not shutil.which("ip") or subprocess.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("a stack of its own takes root, namespaces and iproute2")
    made = Stack(folder, given)
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        subprocess.run(["ip", "-n", made.name, "link", "set", "lo", "up"], check=True)
        yield made
    finally:
        for process in made.running.values():
            process.kill()  # and with it all that is in its namespace
            process.wait()
        subprocess.run(["ip", "netns", "delete", made.name], check=True)
