"""How the node connects to others: certificates are checked, secrets come from the environment."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from requests import certs

from lungfield.dicomweb import Archive
from lungfield.errors import DataError
from lungfield.node.settings import Destination, Poll, Tls

# Their logs hold identifiers of studies, addresses with such, and tracebacks with values of headers.
for _name in ("dicomweb_client", "retrying", "urllib3", "pynetdicom"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def client_context(tls: Tls) -> ssl.SSLContext:
    """How a client encrypts: TLS 1.2 or later, the certificate and the name of the other side checked.

    This is the BCP 195 TLS Profile (PS3.15, B.9). Our own certificate is shown where it is asked for.

    Raises:
        DataError: a file of certificates cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(one) for one in (tls.ca, tls.certificate, tls.key) if one is not None)
        raise DataError(
            f"The certificates cannot be used ({error.strerror or type(error).__name__}); see whether "
            f"these are PEM files that belong together and may be read: {files}."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def http_session(one: Destination | Poll) -> requests.Session:
    """A session with the credentials of a destination or of an archive that is polled.

    Proxies, .netrc and REQUESTS_CA_BUNDLE of the environment are left alone: they could send radiographs
    another way, replace the token, and switch off the authority that was asked for.

    Raises:
        DataError: a file of certificates is missing.
    """
    client_context(one.tls)  # requests would find a wrong file only when it connects
    session = requests.Session()
    session.trust_env = False
    trusted = ssl.get_default_verify_paths()
    session.verify = str(one.tls.ca or trusted.cafile or trusted.capath or certs.where())
    if one.tls.certificate is not None:
        key = one.tls.key
        session.cert = str(one.tls.certificate) if key is None else (str(one.tls.certificate), str(key))
    if one.token:
        session.headers["Authorization"] = f"Bearer {one.token}"
    elif one.user:
        # As UTF-8: requests would encode text as Latin-1, and fail at other passwords.
        session.auth = (one.user.encode(), (one.password or "").encode())
    session.hooks["response"].append(_with_bare_type)
    return session


def archive_of(one: Destination | Poll, session: requests.Session, timeout_s: float) -> Archive:
    """The DICOMweb archive at an address; who uses it tries again, not its client."""
    client = DICOMwebClient(one.url, session=session, timeout=timeout_s, permissive_uid=True)
    client.set_http_retry_params(retry=False)
    return Archive(client)


def _with_bare_type(response: requests.Response, **_: Any) -> None:
    """Take the parameters off the type of JSON: dicomweb-client knows none with 'charset=utf-8' behind it."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("application/dicom+json", "application/json"):
        response.headers["Content-Type"] = kind
