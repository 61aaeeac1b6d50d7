"""The identity that signs: made at first use, kept private, replaced by another."""

from __future__ import annotations

import datetime
import os
import socket
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from signed_images import make_asset, make_file

from studio.core.errors import InvalidRequest, NotConfigured, StorageFailed
from studio.core.provenance import CredentialState, SigningOrder
from studio.trust import identity
from studio.trust.sign import Credentials

PEM = serialization.Encoding.PEM
NOW = datetime.datetime.now(datetime.UTC)
YEAR = datetime.timedelta(days=365)


def make_certificates(
    *,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    begins: datetime.datetime = NOW - YEAR,
    ends: datetime.datetime = NOW + YEAR,
    use: x509.ObjectIdentifier = x509.ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> tuple[bytes, bytes, bytes]:
    """A certificate, the one above it, and the key of the first, as a company would bring them."""
    above_key = ec.generate_private_key(ec.SECP256R1())
    key = key or ec.generate_private_key(ec.SECP256R1())

    def build(name: str, public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, *, ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example CA")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(identity._allow_uses(digital_signature=not ca, key_cert_sign=ca), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above_key.public_key()), critical=False)
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        return builder.sign(above_key, hashes.SHA256()).public_bytes(PEM)

    leaf, root = build("Example GmbH", key.public_key(), ca=False), build("Example CA", above_key.public_key(), ca=True)
    return leaf, root, key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def sign(folder: Path) -> tuple[Credentials, bytes]:
    credentials = Credentials(folder)
    return credentials, credentials.sign(make_file("png"), "png", SigningOrder(asset=make_asset()))


def test_it_is_made_at_first_use_for_ten_years_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "user" / "trust"
    credentials = Credentials(folder)
    assert not folder.exists()
    credentials.check_signer()
    file = folder / identity.IDENTITY_FILE
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    loaded = identity.load_identity(folder)
    assert loaded.algorithm == "es256"
    assert 3640 < (loaded.ends - NOW).days < 3660
    assert loaded.begins < NOW
    assert [entry.name for entry in folder.iterdir()] == [file.name]


def test_it_names_neither_machine_nor_user_and_keeps_one_key_alone(tmp_path: Path) -> None:
    identity.load_identity(tmp_path)
    content = (tmp_path / identity.IDENTITY_FILE).read_bytes()
    assert content.count(b"PRIVATE KEY-----") == 2  # begin and end of the leaf's
    certificates = x509.load_pem_x509_certificates(content[content.index(b"-----BEGIN CERT") :])
    names = {attribute.value for one in certificates for name in (one.subject, one.issuer) for attribute in name}
    assert names == {"Easel, self-made", "Easel root", "Easel images"}
    assert socket.gethostname().encode() not in b"".join(
        one.public_bytes(serialization.Encoding.DER) for one in certificates
    )
    leaf, root = certificates
    leaf.verify_directly_issued_by(root)
    assert "PRIVATE" not in repr(identity.load_identity(tmp_path))


def test_the_exported_root_makes_its_images_trusted_elsewhere(tmp_path: Path) -> None:
    credentials, signed = sign(tmp_path / "one")
    other = Credentials(tmp_path / "other")
    assert other.read(signed).state is CredentialState.UNTRUSTED
    anchors = tmp_path / "other" / identity.ANCHORS_FOLDER
    anchors.mkdir(parents=True)
    (anchors / "friend.pem").write_bytes(credentials.get_root())
    assert other.read(signed).state is CredentialState.TRUSTED
    assert b"PRIVATE" not in credentials.get_root()


def test_a_new_identity_still_knows_images_of_the_one_before(tmp_path: Path) -> None:
    credentials, old = sign(tmp_path)
    root = credentials.get_root()
    credentials.replace_identity()
    assert credentials.get_root() != root
    new = credentials.sign(make_file("png"), "png", SigningOrder(asset=make_asset()))
    assert credentials.read(old).state is credentials.read(new).state is CredentialState.OWN


def test_processes_that_start_at_once_make_one_identity(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(identity.load_identity(tmp_path / "trust").root)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert [entry.name for entry in (tmp_path / "trust").iterdir()] == [identity.IDENTITY_FILE]


def test_ones_own_certificates_sign(tmp_path: Path) -> None:
    leaf, root, key = make_certificates()
    credentials = Credentials(tmp_path)
    credentials.replace_identity(leaf + root, key)
    report = credentials.read(credentials.sign(make_file("jpeg"), "jpeg", SigningOrder(asset=make_asset())))
    assert (report.state, report.steps[0].signer) == (CredentialState.OWN, "Example GmbH")
    assert credentials.get_root().split() == root.split()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda leaf, root, key: (root + leaf, key), "belong|follow"),
        (lambda leaf, root, key: (leaf + make_certificates()[1], key), "follow"),
        (lambda leaf, root, key: (leaf + root, make_certificates()[2]), "belong"),
        (lambda leaf, root, key: (b"", key), "No certificate"),
        (lambda leaf, root, key: (leaf, b"nothing"), "read"),
        (lambda leaf, root, key: (leaf[:200] + leaf[400:], key), "read"),
        (lambda leaf, root, key: (leaf * 200, key), "large"),
    ],
)
def test_certificates_that_do_not_fit_together_are_refused(tmp_path: Path, given: object, told: str) -> None:
    credentials = Credentials(tmp_path)
    root = credentials.get_root()
    with pytest.raises(InvalidRequest, match=told):
        credentials.replace_identity(*given(*make_certificates()))  # type: ignore[operator]
    assert credentials.get_root() == root


@pytest.mark.parametrize(
    "certificates",
    [
        lambda: make_certificates(use=x509.ExtendedKeyUsageOID.CLIENT_AUTH),
        lambda: make_certificates(key=rsa.generate_private_key(65537, 1024)),
        lambda: make_certificates(key=ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_certificates_that_c2pa_refuses_are_refused(tmp_path: Path, certificates: object) -> None:
    leaf, root, key = certificates()  # type: ignore[operator]
    with pytest.raises(InvalidRequest, match="sign"):
        Credentials(tmp_path).replace_identity(leaf + root, key)
    assert not (tmp_path / identity.IDENTITY_FILE).exists()


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [(NOW - 2 * YEAR, NOW - YEAR, "ended"), (NOW + YEAR, NOW + 2 * YEAR, "from")],
)
def test_a_certificate_that_has_ended_or_not_begun_signs_nothing(
    tmp_path: Path, begins: datetime.datetime, ends: datetime.datetime, told: str
) -> None:
    leaf, root, key = make_certificates(begins=begins, ends=ends)
    with pytest.raises(NotConfigured, match=told):
        Credentials(tmp_path / "refused").replace_identity(leaf + root, key)
    identity.replace_identity(tmp_path, leaf + root, key)  # as if time had passed since, or the clock were set back
    with pytest.raises(NotConfigured, match=told):
        Credentials(tmp_path).check_signer()


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_a_key_that_others_can_read_signs_nothing_until_it_is_private_again(tmp_path: Path) -> None:
    credentials, _ = sign(tmp_path)
    (tmp_path / identity.IDENTITY_FILE).chmod(0o644)
    with pytest.raises(NotConfigured, match="read the signing key"):
        credentials.check_signer()
    (tmp_path / identity.IDENTITY_FILE).chmod(0o600)
    credentials.check_signer()


@pytest.mark.parametrize(
    "left", ["", "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n", "key", "chain"]
)
def test_a_damaged_identity_signs_nothing_and_is_not_replaced_unasked(tmp_path: Path, left: str) -> None:
    identity.load_identity(tmp_path)
    file = tmp_path / identity.IDENTITY_FILE
    content = file.read_bytes()
    cut = content.index(b"-----BEGIN CERT")
    file.write_bytes({"key": content[:cut], "chain": content[cut:]}.get(left, left.encode()))
    kept = file.read_bytes()
    with pytest.raises(NotConfigured, match="damaged"):
        Credentials(tmp_path).check_signer()
    assert file.read_bytes() == kept
    Credentials(tmp_path).replace_identity()
    Credentials(tmp_path).check_signer()


def test_a_key_of_another_leaf_signs_nothing(tmp_path: Path) -> None:
    identity.load_identity(tmp_path / "one")
    identity.load_identity(tmp_path / "two")
    one, two = ((tmp_path / name / identity.IDENTITY_FILE).read_bytes() for name in ("one", "two"))
    file = tmp_path / "one" / identity.IDENTITY_FILE
    file.write_bytes(two[: two.index(b"-----BEGIN CERT")] + one[one.index(b"-----BEGIN CERT") :])
    with pytest.raises(NotConfigured, match="belong"):
        Credentials(tmp_path / "one").check_signer()


def test_a_folder_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        Credentials(tmp_path / "file" / "trust").check_signer()
