"""What a `DATABASE_URL` asks of TLS, made into what the driver can do, and never into less.

What goes in: the parameters of the URL. What comes out: the same parameters, with what the driver lacks replaced by something
as strong. What is refused here: demands that contradict each other, and files that cannot be used: `DatabaseUrlError`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from graph.settings import DatabaseUrlError

FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
#: libpq's word for the certificates that the operating system trusts.
SYSTEM = "system"


def secured(found: Mapping[str, str]) -> dict[str, str]:
    """The parameters as the driver can honour them."""
    secured = dict(found)
    if found.get("channel_binding") == "require":
        # The driver has no channel binding. What it is for, that nobody stands in between, a verified certificate gives as well.
        if found.get("sslmode") in ("disable", "allow", "prefer"):
            raise DatabaseUrlError("channel_binding=require needs sslmode=require or stronger")
        secured |= {"sslmode": "verify-full", "sslrootcert": found.get("sslrootcert", SYSTEM)}
    if secured.get("sslrootcert") == SYSTEM:
        if secured.setdefault("sslmode", "verify-full") != "verify-full":
            raise DatabaseUrlError("sslrootcert=system needs sslmode=verify-full")
        for name in ("sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version"):
            if name in secured:
                raise DatabaseUrlError(f"{name} needs an sslrootcert that is a file")
    check_files(secured)
    return secured


def check_files(found: Mapping[str, str]) -> None:
    """Refuse at the start what would be refused at every connection, and less clearly."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in FILES:
        if name not in found or (name == "sslrootcert" and found[name] == SYSTEM):
            continue
        try:
            with Path(found[name]).open("rb"):
                pass
            if name in ("sslrootcert", "sslcrl"):
                context.load_verify_locations(cafile=found[name])
        except ssl.SSLError:
            raise DatabaseUrlError(f"the file of {name} holds no certificates") from None
        except OSError:
            raise DatabaseUrlError(f"the file of {name} cannot be read") from None
    if "sslkey" in found:
        if "sslcert" not in found:
            raise DatabaseUrlError("sslkey needs sslcert")
        load_certificate(context, found)


def system_context(found: Mapping[str, str]) -> ssl.SSLContext:
    """Certificates that the operating system trusts, and the host's name checked."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if "sslcert" in found:
        load_certificate(context, found)
    return context


def load_certificate(context: ssl.SSLContext, found: Mapping[str, str]) -> None:
    """Show the server the client's certificate."""
    try:
        # The password is a function, always: without one OpenSSL asks at the terminal.
        context.load_cert_chain(found["sslcert"], found.get("sslkey"), lambda: found.get("sslpassword", ""))
    except (OSError, ValueError):
        raise DatabaseUrlError("sslcert, sslkey and sslpassword do not belong together") from None
