"""The files of deploy/ against their schemas, and against what they are about."""

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from composed import DEPLOY, OWN, compose, dockerfile, dotenv
from conftest import PROJECT

from pipeline import command

KUBERNETES = "1.34"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml"))
SERVICES = compose()["services"]
TOOL = Path(sys.executable).parent
IDENTITY = ("apiVersion", "kind", "metadata")
CRDS = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds"


@pytest.mark.parametrize(
    "linter",
    [
        ["check-jsonschema", "--builtin-schema=vendor.compose-spec", "compose.yaml"],
        ["check-jsonschema", "--builtin-schema=vendor.github-workflows", "github/nightly.yml"],
        # Actions pinned by commit, least permissions, no expression in a script.
        ["zizmor", "--offline", "--quiet", "github/nightly.yml"],
        ["hadolint", "Dockerfile"],
    ],
    ids=" ".join,
)
def test_a_file_passes_its_linter(linter: list[str]) -> None:
    checked = subprocess.run([TOOL / linter[0], *linter[1:]], cwd=DEPLOY, capture_output=True)
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()


def manifests() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text("utf-8"))


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that refuses what it does not name, as the API server is asked to by kubectl."""
    if schema.get("properties") and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema = {"additionalProperties": False, **schema}
    return {
        name: strict(part)
        if isinstance(part, dict) and name != "properties"
        else {key: strict(one) for key, one in part.items()}
        if name == "properties"
        else part
        for name, part in schema.items()
    }


def schema_of_dask(kind: str) -> dict[str, Any]:
    path = metadata.distribution("dask-kubernetes").locate_file(f"{CRDS}/{kind.lower()}.yaml")
    (version,) = yaml.safe_load(Path(str(path)).read_text("utf-8"))["spec"]["versions"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    return schema | {"properties": schema["properties"] | {key: {} for key in IDENTITY}}


@pytest.mark.parametrize(
    "manifest", manifests(), ids=lambda one: f"{one['kind']} {one['metadata']}"
)
def test_a_manifest_is_what_kubernetes_and_the_operator_take(manifest: dict[str, Any]) -> None:
    if manifest["apiVersion"].startswith("kubernetes.dask.org"):
        jsonschema.Draft202012Validator(schema_of_dask(manifest["kind"])).validate(manifest)
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def pods() -> Iterator[dict[str, Any]]:
    for one in manifests():
        if one["kind"] == "DaskCluster":
            yield from (one["spec"]["worker"]["spec"], one["spec"]["scheduler"]["spec"])
        elif one["kind"] == "CronJob":
            yield one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_pods_may_do_as_little_as_they_need() -> None:
    found = list(pods())
    assert len(found) == 3
    for pod in found:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert str(pod["securityContext"]["runAsUser"]) == dict(dockerfile())["USER"]
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= container["resources"].keys()
        named = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == named
        assert "env" not in container  # secrets come by reference


def test_manifests_hold_no_secret_and_policies_pick_pods_that_there_are() -> None:
    found = list(manifests())
    assert not [one for one in found if one["kind"] == "Secret"]
    (night,) = (one for one in found if one["kind"] == "CronJob")
    assert night["spec"]["concurrencyPolicy"] == "Forbid"
    labels = night["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    of_operator = [{"dask.org/component": component} for component in ("scheduler", "worker")]
    policies = [one["spec"] for one in found if one["kind"] == "NetworkPolicy"]
    text = [str(policy) for policy in policies]
    assert {"podSelector": {}, "policyTypes": ["Ingress"]} in policies  # closed but for:
    assert all(any(str(label) in one for one in text) for label in (labels, *of_operator))


def test_kustomize_takes_every_file_there_is() -> None:
    path = DEPLOY / "kubernetes" / "kustomization.yaml"
    listed = yaml.safe_load(path.read_text("utf-8"))["resources"]
    assert {*listed, path.name} == {manifest.name for manifest in MANIFESTS}


def test_the_image_is_of_pinned_parts_that_there_are_and_runs_as_nobody_special() -> None:
    instructions = dockerfile()
    for name, rest in instructions:
        if name == "FROM":
            assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}", rest)
        if name == "COPY":
            assert all((PROJECT / source).exists() for source in rest.split()[:-1]), rest
    assert dict(instructions)["USER"] == "10001"
    kept = (PROJECT / ".dockerignore").read_text("utf-8").splitlines()
    copied = {one for name, rest in instructions if name == "COPY" for one in rest.split()[:-1]}
    assert "*" in kept
    assert {line[1:] for line in kept if line.startswith("!")} == copied
    python = yaml.safe_load((PROJECT / "conda.yaml").read_text("utf-8"))["dependencies"][0]
    assert f"{python.replace('=', ':')}." in dict(instructions)["FROM"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_as_little_as_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"] == OWN or "@sha256:" in service["image"]
    assert not {"privileged", "cap_add", "pid", "devices"} & service.keys()
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")
    assert service.get("network_mode", "none") == "none"  # not that of the host
    for config in service.get("configs", ()):  # Compose puts files alone into read-only containers
        assert (DEPLOY / compose()["configs"][config["source"]]["file"]).is_file()
    assert "secrets" not in service
    if service["image"] == OWN:  # a volume has the owner of the folder in the image
        folders = {volume.split(":")[1] for volume in service.get("volumes", ())}
        assert folders <= {word for _, rest in dockerfile() for word in rest.split()}


def test_the_server_alone_can_be_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if service.get("ports")] == ["mlflow"]
    (open_,) = (name for name, one in compose()["networks"].items() if not one.get("internal"))
    outside = {name for name, service in SERVICES.items() if open_ in service.get("networks", ())}
    assert outside == {"mlflow", "nightly"}


def test_services_that_talk_to_each_other_are_on_one_network() -> None:
    found = set()
    for name, service in SERVICES.items():
        said = f"{service.get('command', '')} {service.get('environment', '')}"
        for other in {*re.findall(r"(?://|@)([\w-]+)[:/]", said)} & SERVICES.keys():
            found.add((name, other))
            assert {*service["networks"]} & {*SERVICES[other]["networks"]}, (name, other)
    assert {("worker", "scheduler"), ("mlflow", "postgres"), ("nightly", "s3")} <= found
    # A worker is told by the nightly where to write.
    assert {*SERVICES["nightly"]["networks"]} - {*SERVICES["worker"]["networks"]} == {"outside"}


def test_every_secret_is_asked_for_and_none_has_a_value() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    used = re.findall(r"\$\{(.*?)\}", text)
    assert {one.partition(":?")[0] for one in used} == dotenv().keys()
    assert all(one.endswith(":?set it in .env") for one in used)
    example = (DEPLOY / ".env.example").read_text("utf-8")
    assert not re.search(r"^\w+=.", example, re.MULTILINE)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|_URL$", name) and not str(value).startswith("http://"):
                assert value is None or value.startswith("${"), name
        assert "${" not in str(service.get("command"))  # which everybody on the machine can read


def texts(value: Any) -> Iterator[str]:
    """The commands of a part of a YAML file, among other texts: lists of words joined."""
    match value:
        case str():
            yield value
        case dict():
            yield from (text for part in value.values() for text in texts(part))
        case list() if all(isinstance(part, str) for part in value):
            yield shlex.join(value)
        case list():
            yield from (text for part in value for text in texts(part))


def commands() -> Iterator[tuple[Path, str, list[str]]]:
    """Every call of an entry point in the files: where, its name, and its options."""
    for path in sorted(path for path in DEPLOY.rglob("*") if path.is_file()):
        text = path.read_text("utf-8")
        is_yaml = path.suffix in (".yaml", ".yml")
        parts = texts([*yaml.safe_load_all(text)]) if is_yaml else [text]
        for part in parts:
            joined = part.replace("\\\n", " ")
            for name, rest in re.findall(r"python -m pipeline\.(\w+)([^\n|]*)", joined):
                yield path, name, shlex.split(rest.partition(" 2>&1")[0])


CALLS = [pytest.param(*call[1:], id=str(call[0].relative_to(DEPLOY))) for call in commands()]


@pytest.mark.parametrize(("entry_point", "options"), CALLS)
def test_a_command_has_parameters_that_there_are(
    entry_point: str, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"pipeline.{entry_point}")
    given = ["sqlite:///of_a_variable.db" if word.startswith("$") else word for word in options]
    monkeypatch.setattr("sys.argv", [entry_point, *given])
    assert command._parse(getattr(module, entry_point)) is not None


def test_every_way_to_run_a_night_has_been_found() -> None:
    files = {str(path.relative_to(DEPLOY)) for path, name, _ in commands() if name == "nightly"}
    assert files >= {"compose.yaml", "crontab", "github/nightly.yml", "kubernetes/nightly.yaml"}
