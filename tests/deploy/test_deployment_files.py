"""docs/deploy without an engine: what the files say is what the program takes, and they agree with one another."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker
from typer.main import get_command

from dicomnlp.cli.main import app
from dicomnlp.config import ENVIRONMENT_PREFIX, Settings, load
from dicomnlp.work import preload
from dicomnlp.work.engine import DASK_CONFIGURATION

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs/deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
STATE = "/var/lib/dicomnlp"
DICOM_PORT, WEB_PORT, DASK_PORT = 11112, 8080, 8786


def parse(words):
    """Have the program itself parse a command line; what it is that it parsed."""
    words = [Path(words[0]).name, *words[1:]]
    if words[0] == "dask":
        command = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[words[1]]
        # files that are named must be there for a parser that looks
        files = [str(ROOT / "pyproject.toml") if word.endswith((".crt", ".key")) else word for word in words[2:]]
        command.make_context(words[1], files)
        return " ".join(words[:2])
    assert words[0] == "dicomnlp", words
    command, arguments = get_command(app), words[1:]
    context = command.make_context("dicomnlp", list(arguments))
    names = []
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        names.append(name)
        context = command.make_context(name, rest, parent=context)
    return " ".join(["dicomnlp", *names])


def manifests(kind=None):
    """Every object of the manifests, or those of a kind."""
    found = [m for file in MANIFESTS for m in yaml.safe_load_all(file.read_text())]
    return [m for m in found if kind in (None, m["kind"])]


def containers():
    """(name, pod's specification, container) of every one."""
    for kind in ("Deployment", "Job", "StatefulSet"):
        for manifest in manifests(kind):
            pod = manifest["spec"]["template"]["spec"]
            for container in pod["containers"]:
                yield manifest["metadata"]["name"], pod, container


def compose():
    """The services of the compose file, with what they merge."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


ENTRYPOINT = ["dicomnlp", "--config", "/etc/dicomnlp/config.toml"]
COMMAND_LINES = {
    **{
        f"{unit.name} {key}": shlex.split(line.partition("=")[2].replace("%i", "1"))
        for unit in UNITS
        for line in unit.read_text().splitlines()
        for key in ("ExecStart", "ExecStartPre")
        if line.startswith(f"{key}=")
    },
    **{
        f"compose {name}": [*service.get("entrypoint", ENTRYPOINT), *service["command"]]
        for name, service in compose().items()
        if name != "postgresql"
    },
    **{
        f"kubernetes {name}": [*container.get("command", ENTRYPOINT), *container["args"]]
        for name, _, container in containers()
        if name != "postgresql"
    },
}


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_each_command_line_is_one_that_its_program_takes(name):
    """Option by option, parsed by the program's own parser."""
    parsed = parse(COMMAND_LINES[name])
    part = re.search(r"listen|work(?!er)|web|scheduler|worker|migration", name)
    wanted = {"scheduler": "dask scheduler", "worker": "dask worker", "migration": "dicomnlp db upgrade", None: ""}
    assert parsed in {wanted.get(part and part.group(), f"dicomnlp {part and part.group()}"), "dicomnlp serve"} | (
        {"dicomnlp db upgrade"} if "Pre" in name else {f"dicomnlp {p}" for p in ("listen", "work", "web")}
    )


@pytest.mark.parametrize(
    "words", [["dicomnlp", "lisen"], ["dicomnlp", "web", "--porrt", "1"], ["dask", "worker", "--nthread", "x"]]
)
def test_a_wrong_command_line_would_be_found(words):
    """By the same parsers."""
    with pytest.raises(Exception, match=r"No such|unexpected"):
        parse(words)


@pytest.mark.parametrize("name", [n for n in COMMAND_LINES if "worker" in n])
def test_workers_are_started_as_the_dispatcher_needs_them(name):
    """One thread, prepared by our preload, bounded, without a dashboard, over TLS."""
    line = COMMAND_LINES[name]
    assert line[line.index("--nthreads") + 1] == "1"
    assert line[line.index("--preload") + 1] == preload.__name__
    assert {"--memory-limit", "--no-dashboard", "--tls-ca-file", "--tls-cert", "--tls-key"} <= set(line)
    assert any(word == f"tls://dask-scheduler:{DASK_PORT}" for word in line)


def test_dask_is_set_up_as_for_a_cluster_of_our_own():
    """Every key of dask.yaml that we set too says the same; those that it must have are there."""

    def flat(tree, prefix=""):
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    said = dict(flat(yaml.safe_load((DEPLOY / "dask.yaml").read_text())))
    shared = said.keys() & DASK_CONFIGURATION.keys()
    assert {k: said[k] for k in shared} == {k: DASK_CONFIGURATION[k] for k in shared}
    assert {"distributed.scheduler.allowed-failures", "distributed.worker.memory.spill"} <= shared
    assert {k for k in DASK_CONFIGURATION if ".memory." in k or ".routes" in k} <= shared
    assert said["distributed.comm.require-encryption"] is True


def test_configuration_of_the_containers_is_valid_and_the_same_everywhere(monkeypatch):
    """It loads; the ConfigMap holds it word for word; ports are those that the manifests name."""
    settings = load(DEPLOY / "config.toml")
    assert (settings.listener.port, settings.web.port) == (DICOM_PORT, WEB_PORT)
    assert settings.work.scheduler == f"tls://dask-scheduler:{DASK_PORT}"
    assert str(settings.large_object_directory).startswith(STATE)
    [configuration] = manifests("ConfigMap")
    assert configuration["data"]["config.toml"].strip() == (DEPLOY / "config.toml").read_text().strip()
    assert configuration["data"]["dask.yaml"].strip() == (DEPLOY / "dask.yaml").read_text().strip()


def known_variable(name):
    """Whether a variable is a key of the configuration."""
    table, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
    kind = Settings.model_fields[table].annotation if table in Settings.model_fields else None
    return kind is not None and key in kind.model_fields


def test_every_variable_is_a_key_of_the_configuration():
    """A misspelt one would be refused at the start."""
    texts = [*UNITS, *MANIFESTS, DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", DEPLOY / "config.toml"]
    names = {name for file in texts for name in re.findall(rf"\b{ENVIRONMENT_PREFIX}[A-Z_]+", file.read_text())}
    assert len(names) >= 3
    assert [name for name in sorted(names) if not known_variable(name)] == []
    assert not known_variable(f"{ENVIRONMENT_PREFIX}DATABASE__URI")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_is_hardened_drains_and_restarts(unit):
    """No rights but its own state; SIGTERM to the part first, and more time than it takes to drain."""
    lines = unit.read_text().splitlines()
    for needed in (
        *("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "ProtectHome=yes"),
        *("Restart=always", "KillMode=mixed", "User=dicomnlp", "StateDirectory=dicomnlp", "UMask=0077"),
    ):
        assert needed in lines, needed
    [stop] = [int(line.partition("=")[2]) for line in lines if line.startswith("TimeoutStopSec=")]
    assert stop > 30
    assert all(line.partition("=")[2].strip() or "Capabilit" in line for line in lines if re.match(r"\w+=", line))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_itself_finds_nothing_wrong(tmp_path):
    """With programs that are there: their paths are all that differs."""
    copies = []
    for unit in UNITS:
        text = re.sub(r"(?m)^(Exec\w+=)(/opt/dicomnlp/\S+)", r"\1/bin/true", unit.read_text())
        copies.append(tmp_path / unit.name.replace("@", "@1"))
        copies[-1].write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, copies)], capture_output=True, text=True, check=False
    )
    ours = [line for line in (done.stderr + done.stdout).splitlines() if str(tmp_path) in line or "dicomnlp" in line]
    assert ours == []


def test_dockerfile_runs_as_nobody_special_and_copies_what_is_there():
    """Its sources exist and aren't kept out, its ports are the configuration's, nothing runs as root."""
    lines = [line.strip() for line in (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    words = [line.split() for line in lines]
    assert {w[0] for w in words} <= {
        *("FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"),
    }
    bases = [next(word for word in w[1:] if not word.startswith("--")) for w in words if w[0] == "FROM"]
    assert all(":" in base and not base.endswith(":latest") for base in bases)
    sources = [source for w in words if w[0] == "COPY" and "--from=" not in w[1] for source in w[1:-1]]
    assert "dicomnlp" in sources
    allowed = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == a or source.startswith(f"{a}/") for a in allowed), source
    last = len(lines) - 1 - next(i for i, w in enumerate(reversed(words)) if w[0] == "FROM")
    assert ["USER", "10001"] in words[last:]
    assert ["EXPOSE", str(DICOM_PORT), str(WEB_PORT), str(DASK_PORT)] in words
    assert 'ENTRYPOINT ["dicomnlp", "--config", "/etc/dicomnlp/config.toml"]' in lines
    python = re.search(r"FROM (?:--\S+ )?python:3\.(\d+)", "\n".join(lines))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11,<3.14"
    assert 11 <= int(python.group(1)) < 14


def test_compose_waits_for_the_schema_and_gives_time_to_drain():
    """Parts start after the migration; none has more rights than it needs."""
    services = compose()
    assert services["postgresql"]["healthcheck"]
    for name in ("listener", "dispatcher", "web"):
        assert services[name]["depends_on"]["migration"]["condition"] == "service_completed_successfully"
    for name, service in services.items():
        if name != "postgresql":
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert service["stop_grace_period"] == "60s"
    assert services["listener"]["ports"] == [f"{DICOM_PORT}:{DICOM_PORT}"]
    # whoever reaches the web part isn't asked who they are
    assert services["web"]["ports"] == [f"127.0.0.1:{WEB_PORT}:{WEB_PORT}"]


def test_containers_are_bounded_and_unprivileged():
    """Requests and a limit of memory; no root, no writing but to volumes; time to drain."""
    seen = []
    for name, pod, container in containers():
        seen.append(name)
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert pod["securityContext"]["runAsNonRoot"]
        if name == "postgresql":
            continue
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not security["allowPrivilegeEscalation"]
    assert len(seen) == len(set(seen)) == 7


def test_mounts_name_volumes_and_volumes_name_what_there_is():
    """A pod with a volume that isn't there never starts."""
    claims = {m["metadata"]["name"] for m in manifests("PersistentVolumeClaim")}
    maps = {m["metadata"]["name"]: m["data"] for m in manifests("ConfigMap")}
    for name, pod, container in containers():
        volumes = {v["name"]: v for v in pod.get("volumes", [])}
        if name != "postgresql":
            assert {m["name"] for m in container["volumeMounts"]} == volumes.keys(), name
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if "configMap" in volume:
                held = maps[volume["configMap"]["name"]]
                used = [m["subPath"] for m in container["volumeMounts"] if m["name"] == volume["name"]]
                assert set(used) <= held.keys()


def test_services_find_pods_and_probes_find_ports():
    """Selectors, port names and health paths; each part with a port is probed."""
    deployed = {m["metadata"]["name"]: m["spec"] for kind in ("Deployment", "StatefulSet") for m in manifests(kind)}
    for spec in deployed.values():
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    for kind, key in (
        ("Service", lambda s: s["selector"]),
        ("PodDisruptionBudget", lambda s: s["selector"]["matchLabels"]),
    ):
        for manifest in manifests(kind):
            assert key(manifest["spec"])["app"] in deployed
    for service in manifests("Service"):
        [container] = deployed[service["spec"]["selector"]["app"]]["template"]["spec"]["containers"]
        [port] = container["ports"]
        assert service["spec"]["ports"][0]["port"] == port["containerPort"]
        assert {"readinessProbe", "livenessProbe"} <= container.keys()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            target = container.get(probe, {})
            named = target.get("tcpSocket", target.get("httpGet", {})).get("port", port["name"])
            assert named == port["name"]
            assert target.get("httpGet", {}).get("path", "/healthz") == "/healthz"
    budgets = {m["spec"]["selector"]["matchLabels"]["app"] for m in manifests("PodDisruptionBudget")}
    assert budgets == {name for name, spec in deployed.items() if spec["replicas"] == 2}


def test_parts_that_drain_are_given_the_time():
    """More than the ten seconds of a dispatcher or the thirty of a supervisor, the pause before it included."""
    for manifest in manifests("Deployment"):
        pod = manifest["spec"]["template"]["spec"]
        [container] = pod["containers"]
        pause = int(container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])[1])
        assert pod["terminationGracePeriodSeconds"] - pause >= 20, manifest["metadata"]["name"]
    listener = next(pod for name, pod, _ in containers() if name == "dicomnlp-listener")
    assert listener["terminationGracePeriodSeconds"] >= 60


def test_migration_has_the_version_of_the_image():
    """A Job of a name that was there before isn't run again."""
    [job] = manifests("Job")
    images = {c["image"] for n, _, c in containers() if n != "postgresql"}
    [image] = images
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert image == f"dicomnlp:{version}"
    assert job["metadata"]["name"].endswith(version.replace(".", "-"))
    assert compose()["listener"]["image"] == image
