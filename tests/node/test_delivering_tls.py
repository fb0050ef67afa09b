"""Encrypted ways to archives: certificates are checked, and shown where they are asked for."""

from __future__ import annotations

import json
import ssl

import pytest
from sending import MISSING_OPENSSL, Peer, archive, certificates, http_server, node, web

from lungfield.errors import DataError
from lungfield.node.records import State
from lungfield.node.settings import Tls

pytestmark = pytest.mark.skipif(bool(MISSING_OPENSSL), reason=MISSING_OPENSSL)


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certificates"))


def server_context(certs, mutual=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.server_pem, certs.server_key)
    if mutual:
        context.load_verify_locations(certs.ca_pem)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_mutual_tls_delivers(tmp_path, certs):
    tls = Tls(on=True, ca=certs.ca_pem, certificate=certs.client_pem, key=certs.client_key)
    with (
        Peer(tls=server_context(certs, mutual=True)) as peer,
        node(tmp_path, archive(peer.port, tls=tls)) as one,
    ):
        (number,) = one.add()
        one.start()
        one.until(number, State.DELIVERED)
        assert set(peer.kept) == one.uids(number)


@pytest.mark.parametrize(
    ("mutual", "tls", "said"),
    [
        (False, {}, "local issuer"),  # nobody that the system knows has signed it
        (True, {"ca": "ca_pem"}, ""),  # it asks for a certificate, and there is none
    ],
)
def test_without_the_right_certificates_nothing_is_sent(tmp_path, certs, mutual, tls, said):
    tls = Tls(on=True, **{name: getattr(certs, value) for name, value in tls.items()})
    with Peer(tls=server_context(certs, mutual)) as peer:
        destination = archive(peer.port, tls=tls, retry_for_s=0.3, timeout_s=2.0)
        with node(tmp_path, destination) as one:
            (number,) = one.add()
            one.start()
            one.until(number, State.PARKED)
            assert said in one.delivery(number, "pacs").error
            assert not peer.kept


def test_a_certificate_for_another_host_is_refused(tmp_path, certs):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.other_pem, certs.other_key)
    with Peer(tls=context) as peer:
        destination = archive(peer.port, tls=Tls(on=True, ca=certs.ca_pem), retry_for_s=0.3)
        with node(tmp_path, destination) as one:
            (number,) = one.add()
            one.start()
            one.until(number, State.PARKED)
            assert "IP address mismatch" in one.delivery(number, "pacs").error
            assert not peer.kept


def kept_all(request):
    """An answer of STOW-RS that names the object of a request as kept."""
    from test_delivering_http import uids_in

    kept = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids_in(request.content)]
    return 200, "application/dicom+json", json.dumps({"00081199": {"vr": "SQ", "Value": kept}}).encode()


def test_https_with_an_authority_of_its_own_and_a_client_certificate_delivers(tmp_path, certs):
    tls = Tls(ca=certs.ca_pem, certificate=certs.client_pem, key=certs.client_key)
    context = server_context(certs, mutual=True)
    with http_server(kept_all, context) as server, node(tmp_path, web(server.url, tls=tls)) as one:
        (number,) = one.add()
        one.start()
        one.until(number, State.DELIVERED)


@pytest.mark.parametrize(("mutual", "names"), [(False, {}), (True, {"ca": "ca_pem"})])
def test_https_without_the_right_certificates_sends_nothing(tmp_path, certs, mutual, names, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certs.ca_pem))  # of no effect: settings decide
    tls = Tls(**{name: getattr(certs, value) for name, value in names.items()})
    with (
        http_server(kept_all, server_context(certs, mutual)) as server,
        node(tmp_path, web(server.url, tls=tls, retry_for_s=0.3)) as one,
    ):
        (number,) = one.add()
        one.start()
        one.until(number, State.PARKED)
        assert not server.requests


def test_certificates_that_cannot_be_used_are_an_error_at_the_start(tmp_path):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for destination in (
        archive(1, tls=Tls(on=True, ca=wrong)),
        web("https://127.0.0.1:1", tls=Tls(ca=wrong)),
    ):
        with pytest.raises(DataError, match="certificates cannot be used"), node(tmp_path, destination):
            pass
