"""docs/how-to/secure-the-listener.md: its commands run, and its configuration is one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dicomnlp import config
from dicomnlp.receive.passcodes import hash_passcode
from dicomnlp.receive.tls import server_context

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/secure-the-listener.md").read_text()


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_certificates_of_the_page_are_what_the_listener_takes(tmp_path):
    """As made by its openssl commands; with the fingerprint as openssl prints it, and a hashed passcode."""
    making, *_, reading = (block for block in _blocks("sh") if "openssl" in block)
    subprocess.run(["bash", "-ec", making], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    printed = subprocess.run(
        ["bash", "-ec", reading], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    _, tls, bound, users = _blocks("toml")
    fingerprint = printed.partition("=")[2].strip()
    text = tls + bound.replace("3A:6E:…", fingerprint) + users.replace("scrypt:…", hash_passcode(b"x"))
    (tmp_path / "config.toml").write_text(text)
    settings = config.load(tmp_path / "config.toml")
    assert settings.peer_of("PACS").certificates[1] == f"sha256:{fingerprint.replace(':', '').lower()}"
    assert server_context(settings) is not None


def test_peers_of_the_page_are_a_configuration(tmp_path):
    """One that closes the door to everybody else."""
    (tmp_path / "config.toml").write_text(_blocks("toml")[0])
    settings = config.load(tmp_path / "config.toml")
    assert settings.peer_of("OLDPACS").character_set_fallbacks == ["cp1250"]
    assert settings.peer_of("ANYBODY") is None
