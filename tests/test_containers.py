"""The Dockerfile and the compose file of `docs/production/`: linted, and their steps run as far as that goes without Docker.

hadolint and the schema of compose files come with packages that .ci/run installs; where they are missing these tests fail.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import pytest

from graph.environment import from_environment
from tests import postgres
from tests.checkouts import ROOT, bare_environment, clone
from tests.test_commands import free_port
from tests.test_production import FILES, options, wait_until_up

pytestmark = pytest.mark.containers

DOCKERFILE = (FILES / "Dockerfile").read_text(encoding="utf-8")
SECRETS = {"POSTGRES_PASSWORD": "choose-a-third", "OWNER_PASSWORD": "choose-one", "APP_PASSWORD": "choose-another"}


def instructions(name: str) -> list[str]:
    """What stands behind an instruction, each time."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def composed_of(file: Path, secrets: dict[str, str]) -> dict[str, Any]:
    """A compose file as its specification understands it; what it does not know is refused."""
    text = file.read_text(encoding="utf-8")
    filled = re.sub(r"\$\{([A-Z_]+):\?\}", lambda found: secrets[found[1]], text)
    made: dict[str, Any] = import_module("compose_spec").PyCompose.from_yaml(filled).to_dict()
    return made


def composed() -> dict[str, Any]:
    """The compose file of a small deployment."""
    return composed_of(FILES / "compose.yaml", SECRETS)


def sent(folder: Path) -> Path:
    """What Docker is sent of the checkout, as Dockerfile.dockerignore says."""
    rules = (FILES / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert rules[0] == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    made = clone(folder)
    for path in made.iterdir():
        if not any(fnmatch(path.name, rule) for rule in kept):
            subprocess.run(["rm", "-rf", path], check=True)
    assert sorted(path.name for path in made.iterdir()) == sorted(kept)
    return made


def test_the_dockerfile_has_no_faults() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--format", "json", FILES / "Dockerfile"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == []
    assert options("ordergraph " + " ".join(json.loads(instructions("CMD")[0])))["host"] == "0.0.0.0"


def test_the_compose_file_is_one_and_its_parts_fit() -> None:
    services = composed()["services"]
    assert set(services) == {"database", "migrate", "serve"}
    built = services["migrate"]["build"]
    assert (FILES / built["context"]).resolve() == ROOT
    assert (FILES / built["context"] / built["dockerfile"]).resolve() == FILES / "Dockerfile"
    assert [each for each in services["database"]["volumes"] if each.startswith("./roles.sql:")]
    for name in ("migrate", "serve"):
        options("ordergraph " + " ".join(services[name]["command"]))
        settings = from_environment(services[name]["environment"])
        assert "@database/ordergraph" in settings.database_url
    assert from_environment(services["serve"]["environment"]).auth
    with pytest.raises(ValueError, match="comand"):
        import_module("compose_spec").PyCompose.from_yaml("services:\n  serve:\n    image: a\n    comand: b\n")


def test_the_image_is_made_and_serves_as_composed(tmp_path: Path) -> None:
    services, installed = composed()["services"], tmp_path / "opt"
    programs, database_port, port = postgres.binaries(), free_port(), free_port()
    env = bare_environment(tmp_path, programs, PGPORT=str(database_port), **SECRETS)
    (tmp_path / "python" / "python").symlink_to(tmp_path / "python" / "python3")
    context = sent(tmp_path / "context")
    (build,) = instructions("RUN")
    build_env = dict(each.split("=") for each in instructions("ENV")[0].split())
    shell = ["bash", "-euo", "pipefail", "-c"]
    subprocess.run([*shell, build.replace("/opt/ordergraph", str(installed))], cwd=context, env={**env, **build_env}, check=True)
    own = dict(each.split("=") for each in instructions("ENV")[1].split() if not each.startswith("PATH="))

    def container(name: str) -> dict[str, str]:
        found: dict[str, str] = {**own, **services[name]["environment"]}
        return {**env, **found, "DATABASE_URL": found["DATABASE_URL"].replace("@database/", f"@localhost:{database_port}/")}

    program = str(installed / "bin" / "ordergraph")
    with postgres.started(programs, "listen_addresses=localhost", f"port={database_port}"):
        psql = ["psql", "-h", "localhost", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-f", str(FILES / "roles.sql")]
        subprocess.run(psql, env=env, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([program, *services["migrate"]["command"]], cwd=tmp_path, env=container("migrate"), check=True)
        command = [program, *services["serve"]["command"], "--port", str(port)]
        with subprocess.Popen(
            command, cwd=tmp_path, env=container("serve"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                wait_until_up(process, port)
                (check,) = instructions("HEALTHCHECK")
                words = json.loads(check.removeprefix("CMD ").replace(":8000", f":{port}"))
                subprocess.run([str(installed / "bin" / words[0]), *words[1:]], env=env, check=True)
                asked = httpx2.post(f"http://127.0.0.1:{port}/graphql", json={"query": "{ __typename }"})
                assert asked.status_code == 401
                made = subprocess.run(
                    [program, *shlex.split("key create front --scope write")],
                    cwd=tmp_path,
                    env=container("serve"),
                    capture_output=True,
                    text=True,
                    check=True,
                )
                key = {"authorization": f"Bearer {made.stdout.split()[-1]}"}
                answer = httpx2.post(f"http://127.0.0.1:{port}/graphql", json={"query": "{ __typename }"}, headers=key)
                assert answer.json() == {"data": {"__typename": "Query"}}
            finally:
                process.terminate()
    assert os.access(program, os.X_OK)
