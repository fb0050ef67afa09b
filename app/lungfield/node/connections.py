"""The node's connections to others: TLS with checked certificates, and secrets from the environment."""

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

# Their logs hold study identifiers, URLs with identifiers, and tracebacks with values of headers.
for _name in ("dicomweb_client", "retrying", "urllib3", "pynetdicom"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def client_context(tls: Tls) -> ssl.SSLContext:
    """The TLS context of a client: TLS 1.2 or later, with a check of the server's certificate and name.

    This is the BCP 195 TLS Profile (PS3.15, B.9). Our own certificate is sent if the server requests it.

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
            f"The certificates cannot be used ({error.strerror or type(error).__name__}); check that these "
            f"are readable PEM files that belong together: {files}."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def http_session(one: Destination | Poll) -> requests.Session:
    """A session with the credentials of a destination or of a polled archive.

    Proxies, .netrc and REQUESTS_CA_BUNDLE of the environment are ignored: they could redirect radiographs,
    replace the token, and replace the configured certificate authority.

    Raises:
        DataError: a file of certificates is missing.
    """
    client_context(one.tls)  # fail now: requests would read the files only when it connects
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
        # As UTF-8: requests encodes text as Latin-1, which fails for other characters.
        session.auth = (one.user.encode(), (one.password or "").encode())
    session.hooks["response"].append(_with_bare_type)
    return session


def archive_of(one: Destination | Poll, session: requests.Session, timeout_s: float) -> Archive:
    """The DICOMweb archive of a destination or poll; its client does not retry, as the caller does."""
    client = DICOMwebClient(one.url, session=session, timeout=timeout_s, permissive_uid=True)
    client.set_http_retry_params(retry=False)
    return Archive(client)


def _with_bare_type(response: requests.Response, **_: Any) -> None:
    """Strip parameters from the content type of JSON: dicomweb-client rejects '; charset=utf-8'."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("application/dicom+json", "application/json"):
        response.headers["Content-Type"] = kind
