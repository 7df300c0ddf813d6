"""A development authority, and certificates whose CN is the identity the broker believes.

A company with its own authority uses that; what counts is the CN and the file names. Keys are EC
P-256 (every TLS library of a concentrator has it), readable by their owner only, and a file that
exists is never written over: a second authority would lock out every concentrator of the first.
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mosquitto.configuration import Identity

_CLOCKS_APART = timedelta(hours=1)  # a concentrator's clock may be behind ours at its first start
_AUTHORITY_LIFE = timedelta(days=3650)  # longer than what it signs, shorter than a meter
_CERTIFICATE_LIFE = timedelta(days=825)  # the longest that TLS libraries accept of a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Who signs: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def create_authority(directory: Path, *, now: datetime) -> Authority:
    """Makes `ca.crt` and `ca.key`.

    Raises:
        FileExistsError: there is one already.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Relight development authority")
    builder = _builder(name, name, key.public_key(), now, _AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(is_authority=True), critical=True)
    authority = Authority(certificate=builder.sign(key, hashes.SHA256()), key=key)
    _write(directory, "ca", authority.certificate, key)
    return authority


def load_authority(directory: Path) -> Authority:
    """Reads `ca.crt` and `ca.key`.

    Raises:
        OSError: they cannot be read.
        ValueError: they are no certificate with its P-256 key.
    """
    key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{directory / 'ca.key'} is not a P-256 key")  # noqa: TRY004  # a bad file
    certificate = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    return Authority(certificate=certificate, key=key)


def create_server(directory: Path, authority: Authority, host: str, *, now: datetime) -> None:
    """Makes `server.crt` and `server.key` for the host, and for loopback.

    Raises:
        FileExistsError: there is one already.
    """
    hosts = dict.fromkeys([host, "localhost", "127.0.0.1", "::1"])
    alternatives = x509.SubjectAlternativeName([_alternative(one) for one in hosts])
    # The CN has at most 64 characters, a host name 253; TLS reads the alternatives only.
    _issue(directory, "server", authority, (host[:64], alternatives), now)


def create_client(
    directory: Path, authority: Authority, identity: Identity, *, now: datetime
) -> None:
    """Makes `NAME.crt` and `NAME.key`, CN the identity's name.

    Raises:
        FileExistsError: there is one already.
    """
    _issue(directory, identity.name, authority, (identity.name, None), now)


def _issue(
    directory: Path,
    file_name: str,
    authority: Authority,
    subject: tuple[str, x509.SubjectAlternativeName | None],
    now: datetime,
) -> None:
    common_name, alternatives = subject
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject
    builder = _builder(_name(common_name), issuer, key.public_key(), now, _CERTIFICATE_LIFE)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_key_usage(is_authority=False), critical=True)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if alternatives else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(signer, critical=False)
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    _write(directory, file_name, builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCKS_APART).not_valid_after(now + life)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    return builder.add_extension(identifier, critical=False)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(
    directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    for path, content, mode in (
        (directory / f"{name}.key", private, 0o600),
        (directory / f"{name}.crt", public, 0o644),
    ):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
