"""Certificates of an authority of their own, as files: what a site with TLS has."""

import hashlib
import ssl
from pathlib import Path

import trustme


class Certificates:
    """An authority, and PEM files of those that it has certified.

    Parameters
    ----------
    folder
        For the files.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.authority = trustme.CA()
        self.authority_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.authority_file)

    def issue(self, name, *hosts, common_name=None, not_after=None):
        """Certificate and key files of a new certificate."""
        names = hosts or (f"{name}.example",)
        issued = self.authority.issue_cert(*names, common_name=common_name, not_after=not_after)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        key.chmod(0o600)
        return certificate, key

    def fingerprint(self, name):
        """As `peers.certificates` has it."""
        text = (self.folder / f"{name}.pem").read_text()
        return f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()}"

    def client(self, name=None):
        """What a client uses that trusts the authority, and shows a certificate if it has a name."""
        context = ssl.create_default_context(cafile=str(self.authority_file))
        context.check_hostname = False
        if name is not None:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def table(self):
        """The [tls] table of a service whose certificate is called "server"."""
        return {
            "certificate": str(self.folder / "server.pem"),
            "key": str(self.folder / "server.key"),
            "client_ca": str(self.authority_file),
        }
