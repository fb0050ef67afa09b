"""The node's page, health and metrics, as browsers and Prometheus meet them: a real server."""

import io
import shutil
import socket
import ssl
import subprocess
from contextlib import suppress
from dataclasses import replace

import pytest
import requests
from filled import get, served
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from lungfield.errors import DataError
from lungfield.node import web
from lungfield.node.pictures import thumbnail
from lungfield.node.records import Result, State
from lungfield.node.settings import Limits, Tls
from lungfield.node.web import Server

# What it says


def test_the_page_says_what_is_stuck_and_of_nobody(filled, url):
    answer = get(url)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for text in ("Ready", "damaged", "the file ends too early", "pacs", "one-lung", "other-view"):
        assert text in answer.text
    filled.assert_nobody_in(answer.text + str(answer.headers))
    assert "<script" not in answer.text
    assert "style=" not in answer.text


def test_pictures_are_small_and_can_be_switched_off(filled, url):
    answer = get(f"{url}/pictures/{filled.delivered}")
    picture = Image.open(io.BytesIO(answer.content))
    assert answer.headers["Content-Type"] == "image/webp"
    assert max(picture.size) == 160
    filled.assert_nobody_in(answer.content.decode("latin-1"))
    assert not picture.getexif()
    for number in (filled.received, filled.skipped, 4711):
        assert get(f"{url}/pictures/{number}").status_code == 404
    with served(filled, http_thumbnails=False) as other:
        assert "/pictures/" not in get(other).text
        assert get(f"{other}/pictures/{filled.delivered}").status_code == 404


def test_a_picture_is_made_of_an_overlay_too_and_none_of_a_broken_file(filled, tmp_path):
    results = [Result("sc", "sc.dcm"), Result("overlay", "overlay.jpg")]
    (tmp_path / "sc.dcm").write_bytes(b"no DICOM")
    Image.new("RGB", (500, 250), "grey").save(tmp_path / "overlay.jpg")
    assert Image.open(io.BytesIO(thumbnail(results, tmp_path))).size == (160, 80)
    (tmp_path / "overlay.jpg").write_bytes(b"no JPEG")
    assert thumbnail(results, tmp_path) is None


def test_health_and_readiness(filled, url):
    assert get(f"{url}/healthz").text == "alive\n"
    ready = get(f"{url}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"store": "ok", "disk": "ok", "receiving": "ok"})

    def broken():
        raise ValueError("Zzyzx")

    limits = Limits(disk_free_bytes=1 << 60)
    with served(filled, {"workers": lambda: "none is left", "poll": broken}, limits=limits) as other:
        answer = get(f"{other}/readyz")
        assert answer.status_code == 503
        said = answer.json()
        assert (said["store"], said["workers"], said["poll"]) == (
            "ok",
            "none is left",
            "unexpected ValueError",
        )
        assert "free, less than" in said["disk"]
        assert "Not ready" in get(other).text
        assert get(f"{other}/healthz").status_code == 200
    filled.store.close()
    assert get(f"{url}/readyz").status_code == 503
    assert get(f"{url}/healthz").status_code == 200


def test_metrics_are_prometheus_and_of_nobody(filled, url):
    answer = get(f"{url}/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = {one.name: one for one in text_string_to_metric_families(answer.text)}
    filled.assert_nobody_in(answer.text)

    def values(name, label):
        return {one.labels[label]: one.value for one in families[f"lungfield_node_{name}"].samples}

    assert values("instances", "state") == {
        **{"received": 1, "segmented": 2, "delivered": 1, "skipped": 1, "parked": 2}
    }
    assert values("oldest_seconds", "state").keys() == {"received", "segmented", "parked"}
    assert values("parked", "code") == {"damaged": 1, "not-delivered": 1}
    assert values("ready", "check") == {"store": 1, "disk": 1, "receiving": 1}
    deliveries = families["lungfield_node_deliveries"].samples
    assert {one.labels["state"]: one.value for one in deliveries if one.labels["destination"] == "pacs"} == {
        **{"waiting": 1, "sent": 1, "delivered": 1, "parked": 1, "replaced": 0}
    }
    for name in ("disk_free_bytes", "disk_threshold_bytes"):
        assert families[f"lungfield_node_{name}"].samples[0].value > 0
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6


def test_what_happens_is_counted_once(filled, url):
    def samples():
        text = get(f"{url}/metrics").text
        return {
            (sample.name.removeprefix("lungfield_node_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    before = samples()
    assert not any(name[0].startswith(("stage_seconds", "flags", "failures")) for name in before)
    (one,) = (one for one in filled.store.deliveries(filled.committing) if one.destination == "pacs")
    filled.store.delivered(one.id)
    (one,) = (one for one in filled.store.deliveries(filled.retrying) if one.destination == "pacs")
    filled.store.failed(one.id, "it is down", 0.0)
    filled.store.segmented(filled.received, {"seconds": 3.0, "flags": ["one-lung"]}, [], ["pacs"])
    filled.store.park(filled.retrying)
    for _ in range(2):
        after = samples()
        assert after["changes_total", "delivered"] == after["changes_total", "parked"] == 1
        assert after["stage_seconds_sum", "segmenting"] == 3.0
        for stage in ("queued", "segmenting", "delivering", "total"):
            assert after["stage_seconds_count", stage] == 1
        assert after["failures_total", "by-hand"] == 1
        assert after["failed_tries_total", "pacs"] == 1
        assert after["flags_total", "one-lung"] == 1


# The server


def test_silent_connections_leave_room_and_are_closed(filled, monkeypatch):
    monkeypatch.setattr(web, "_CONNECTIONS", 20)
    monkeypatch.setattr(web, "_FIRST_BYTE_S", 1.0)
    with served(filled) as url:
        host, port = url.removeprefix("http://").split(":")
        silent = [socket.create_connection((host, int(port)), timeout=10) for _ in range(60)]
        assert all(one.recv(1) == b"" for one in silent)
        assert get(f"{url}/healthz").status_code == 200


def test_an_address_that_is_taken_or_none_is_said(filled):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DataError, match="cannot listen on"):
            Server(replace(filled.settings, http=address), filled.store, {})
    for text in ("8080", "localhost", "127.0.0.1:x", "127.0.0.1:99999"):
        with pytest.raises(DataError, match="no address for the page"):
            Server(replace(filled.settings, http=text), filled.store, {})


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_https_with_clients_certificates_where_asked(filled, tmp_path, monkeypatch):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -days 2"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    subprocess.run(
        [*words.split(), "-addext", names, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    with served(filled, http_tls=Tls(certificate=certificate, key=key)) as url:
        assert url.startswith("https://")
        answer = get(url, verify=certificate)
        assert answer.headers["Set-Cookie"].startswith("__Host-")
        assert "secure" in answer.headers["Set-Cookie"].lower()
        old = ssl.create_default_context(cafile=certificate)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")  # else the client itself would refuse
        host, port = url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port))) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname="127.0.0.1")
    monkeypatch.setattr(web, "_FIRST_BYTE_S", 1.0)
    with served(filled, http_tls=Tls(certificate=certificate, key=key)) as url:
        host, port = url.removeprefix("https://").split(":")
        with (
            socket.create_connection((host, int(port)), timeout=20) as silent,
            suppress(ConnectionResetError),
        ):
            assert silent.recv(1) == b""  # asyncio would wait for a minute
    mutual = Tls(certificate=certificate, key=key, ca=certificate, mutual=True)
    with served(filled, http_tls=mutual) as url:
        with pytest.raises(requests.exceptions.ConnectionError):
            get(url, verify=certificate)
        assert get(url, verify=certificate, cert=(certificate, key)).status_code == 200
    with pytest.raises(DataError, match="cannot be used"):
        Server(replace(filled.settings, http_tls=Tls(certificate=tmp_path / "none.pem")), filled.store, {})


# In a browser


@pytest.mark.timeout(120)
def test_in_a_browser_it_fits_is_dark_or_light_and_its_buttons_work(filled, url, chromium):
    complaints = []
    page = chromium.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on(  # the next address aborts what still loads
        "requestfailed",
        lambda request: request.failure == "net::ERR_ABORTED" or complaints.append(request.url),
    )
    for scheme, width, least, most in (("light", 1200, 0.9, 1), ("dark", 390, 0, 0.2)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{url}/?still")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in colour.strip("rgb()").split(",")[:3]) / 765
        assert least <= brightness <= most
        assert page.locator("h1").count() == 1
        if scheme == "dark":
            for picture in page.locator("img").all():
                picture.scroll_into_view_if_needed()
            page.wait_for_function("[...document.images].every((one) => one.complete && one.naturalWidth)")
        page.locator("tr", has_text="damaged").get_by_role("button").click()
        page.get_by_role("status").wait_for()
        assert filled.store.instance(filled.damaged).state is State.RECEIVED
        filled.store.claim(10)
        filled.store.parked(filled.damaged, "damaged", "again")
    page.close()
    assert complaints == []
