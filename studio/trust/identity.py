"""The identity that signs images: a key and its certificates, made here at first use or brought by the administrator.

One file holds all of it, so that key and certificates cannot get apart: user/trust/identity.pem, which nobody else of
the machine may read. A new identity is a root and a leaf below it, both named after the program and neither after
machine or user; the root's key is thrown away once it has signed the leaf, so that nothing else is ever signed by it.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.durable_files import publish, replace_synced, translate_os_errors, write_synced
from studio.core.errors import InvalidRequest, NotConfigured

if TYPE_CHECKING:
    from cryptography import x509

IDENTITY_FILE = "identity.pem"
FORMER_FOLDER = "former"  # certificates of earlier identities, which are still recognized
ANCHORS_FOLDER = "anchors"  # certificates of others whom the administrator trusts
YEARS = 10  # that a new identity is valid: images of a certificate that has ended read as invalid
MAX_PEM_BYTES = 64 * 1024  # of certificates and key
_CLOCK_DAYS = 1  # before today that a new identity is valid, for clocks that are set back a little
_ORGANIZATION, _ROOT_NAME, _LEAF_NAME = "Easel, self-made", "Easel root", "Easel images"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s*", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN (?:EC |RSA )?PRIVATE KEY-----.+?-----END (?:EC |RSA )?PRIVATE KEY-----\s*", re.DOTALL)
_MIN_RSA_BITS = 2048


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A key with its certificates, leaf first (PEM). `algorithm` is C2PA's name of the signature; `begins` and `ends`
    bound the leaf's validity."""

    chain: bytes
    key: bytes
    algorithm: str
    begins: datetime.datetime
    ends: datetime.datetime

    def __repr__(self) -> str:
        return f"Identity({self.algorithm}, until {self.ends:%Y-%m-%d})"

    @property
    def root(self) -> bytes:
        """The last certificate of the chain."""
        return _CERTIFICATE.findall(self.chain)[-1]

    def check_validity(self, now: datetime.datetime) -> None:
        """Raises NotConfigured when the certificate is not valid at `now`."""
        if now < self.begins:
            raise NotConfigured(
                f"The signing certificate is valid from {self.begins:%Y-%m-%d} on.",
                hint="Check the clock of this machine.",
            )
        if now > self.ends:
            raise NotConfigured(
                f"The signing certificate ended on {self.ends:%Y-%m-%d}.",
                hint="Let an administrator make a new identity (POST /trust/identity).",
            )


def load_identity(folder: Path) -> Identity:
    """The identity in `folder`; a new one is made where there is none.

    Raises:
        NotConfigured: others may read the file, or it is damaged. StorageFailed: it cannot be read or written.
    """
    file = folder / IDENTITY_FILE
    with translate_os_errors("the signing key"):
        if not file.exists():
            create_identity(folder)
        if os.name == "posix" and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise NotConfigured(
                "Other users of this machine could read the signing key.",
                hint=f"Set the mode of {file.name} in user/trust to 600, or let an administrator make a new identity.",
            )
        content = file.read_bytes()
    try:
        return parse_identity(b"".join(_CERTIFICATE.findall(content)), b"".join(_KEY.findall(content)))
    except InvalidRequest as error:
        raise NotConfigured(
            f"The signing identity is damaged: {error.message}",
            hint="Let an administrator make a new identity (POST /trust/identity).",
        ) from error


def get_state(folder: Path) -> int:
    """A number that changes with the identity's file and its mode, 0 while there is none."""
    try:
        return (folder / IDENTITY_FILE).stat().st_ctime_ns
    except OSError:
        return 0


def create_identity(folder: Path) -> None:
    """Make an identity unless another process was faster; raises OSError."""
    content = _make_pem()
    _make_private_folder(folder)
    part = folder / f".{IDENTITY_FILE}.{secrets.token_hex(4)}.part"
    write_synced(part, content, 0o600)
    try:
        publish(part, folder / IDENTITY_FILE)
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)


def replace_identity(folder: Path, chain: bytes = b"", key: bytes = b"") -> None:
    """Put another identity in force: the given one, or a new one made here. The root of the one before is kept, so that
    its images are still recognized.

    Raises:
        InvalidRequest: certificates and key do not fit together. StorageFailed: they cannot be written.
    """
    content = _make_pem()
    if chain or key:
        given = parse_identity(chain, key)
        content = given.key + given.chain
    with translate_os_errors("the signing identity"):
        _make_private_folder(folder)
        with contextlib.suppress(FileNotFoundError):
            _keep_former(folder, (folder / IDENTITY_FILE).read_bytes())
        replace_synced(folder / IDENTITY_FILE, content, 0o600)


def parse_identity(chain: bytes, key: bytes) -> Identity:
    """Certificates, leaf first, and the leaf's key, both PEM, as an Identity.

    Raises:
        InvalidRequest: the message says what is wrong with them.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    if len(chain) + len(key) > MAX_PEM_BYTES:
        raise InvalidRequest("Certificates and key are too large.", hint="Send the leaf, those above it, and one key.")
    found = _CERTIFICATE.findall(chain)
    if not found:
        raise InvalidRequest("No certificate was found.", hint="Send certificates as PEM, the leaf first.")
    try:
        certificates = [x509.load_pem_x509_certificate(one) for one in found]
        secret: Any = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:  # what cryptography raises for broken PEM, and for a password
        raise InvalidRequest(
            "Certificates or key cannot be read.", hint="Send them as PEM, the key without a password."
        ) from error
    _check_chain(certificates)
    leaf = certificates[0]
    if _encode_public(secret.public_key()) != _encode_public(leaf.public_key()):
        raise InvalidRequest("The key does not belong to the first certificate.", hint="Send the leaf first.")
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return Identity(
        chain=b"".join(one.public_bytes(encoding) for one in certificates),
        key=secret.private_bytes(encoding, private, serialization.NoEncryption()),
        algorithm=_find_algorithm(secret),
        begins=leaf.not_valid_before_utc,
        ends=leaf.not_valid_after_utc,
    )


@dataclass(frozen=True, kw_only=True)
class KnownSigners:
    """Whose signatures are recognized: `roots` are certificates (PEM) of this installation's identities, past ones too,
    and `serials` the serial numbers of the certificates that sign; `others` are those whom the administrator trusts."""

    roots: bytes = b""
    serials: frozenset[str] = frozenset()
    others: bytes = b""

    @property
    def anchors(self) -> str:
        """All of them as one text."""
        return (self.roots + self.others).decode(errors="replace")


def list_signers(folder: Path) -> KnownSigners:
    """The signers that are recognized now; nothing is made."""
    from cryptography import x509

    chains = [
        _read_certificates(file) for file in (folder / IDENTITY_FILE, *sorted(folder.glob(f"{FORMER_FOLDER}/*.pem")))
    ]
    chains = [chain for chain in chains if chain]
    others = [one for file in sorted(folder.glob(f"{ANCHORS_FOLDER}/*.pem")) for one in _read_certificates(file)]
    serials: set[str] = set()
    for chain in chains:
        with contextlib.suppress(ValueError):
            serials.add(str(x509.load_pem_x509_certificate(chain[0]).serial_number))
    return KnownSigners(
        roots=b"".join(chain[-1] for chain in chains), serials=frozenset(serials), others=b"".join(others)
    )


def _read_certificates(file: Path) -> list[bytes]:
    """The certificates in a PEM file in their order, none where it cannot be read."""
    try:
        return [one.strip() + b"\n" for one in _CERTIFICATE.findall(file.read_bytes())]
    except OSError:
        return []


def _keep_former(folder: Path, content: bytes) -> None:
    certificates = _CERTIFICATE.findall(content)
    if not certificates:
        return
    former = folder / FORMER_FOLDER
    former.mkdir(exist_ok=True)
    taken = sum(1 for _ in former.glob("*.pem"))
    replace_synced(former / f"{taken + 1:03d}.pem", b"".join(certificates))


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # file systems without modes
        folder.chmod(0o700)


def _make_pem() -> bytes:
    """A new key, its certificate and the root above it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = (
        _begin_certificate(_ROOT_NAME, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_allow_uses(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _begin_certificate(_LEAF_NAME, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_allow_uses(digital_signature=True), critical=True)
        # The one use for which readers of C2PA accept certificates of anybody.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + leaf.public_bytes(encoding) + root.public_bytes(encoding)


def _begin_certificate(name: str, key: Any) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    organization = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, _ORGANIZATION)
    subject = x509.Name([organization, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer = x509.Name([organization, x509.NameAttribute(x509.NameOID.COMMON_NAME, _ROOT_NAME)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=_CLOCK_DAYS))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _allow_uses(**allowed: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def _check_chain(certificates: list[x509.Certificate]) -> None:
    """Raises InvalidRequest unless each certificate is signed by the next."""
    from cryptography.exceptions import InvalidSignature

    for one, above in itertools.pairwise(certificates):
        try:
            one.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise InvalidRequest(
                "The certificates do not follow each other.", hint="Send the leaf first, then who signed it, and so on."
            ) from error


def _encode_public(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _find_algorithm(key: Any) -> str:
    """C2PA's name of the signatures that `key` makes; raises InvalidRequest for keys that C2PA does not take."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    raise InvalidRequest(
        "This kind of key cannot sign images.", hint="Use P-256, P-384, P-521, Ed25519, or RSA from 2048 bits on."
    )
