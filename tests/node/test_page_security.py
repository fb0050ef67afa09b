"""The page's buttons, and who may not press them: other sites, rebound names, users without the password."""

import base64
import re

import pytest
import requests
from filled import get, served

from lungfield.node.records import State
from lungfield.node.web_security import own_names


class Browser:
    """A session that has loaded the page, and sends its forms as browsers do."""

    def __init__(self, url):
        self.url, self.session = url, requests.Session()
        page = self.session.get(url, timeout=20)
        assert page.status_code == 200
        self.text, self.token = page.text, re.search(r'name="token" value="(\w+)"', page.text)[1]

    def send(self, action, *, token=None, **headers):
        return self.session.post(
            f"{self.url}{action}",
            data={"token": self.token if token is None else token},
            headers={"Origin": self.url} | headers,
            allow_redirects=False,
            timeout=20,
        )


def test_buttons_retry_and_park(filled, url):
    browser = Browser(url)
    answer = browser.send(f"/{filled.damaged}/retry")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?done=retried")
    assert filled.store.instance(filled.damaged).state is State.RECEIVED
    assert "They go on." in get(f"{url}/?done=retried").text
    assert browser.send(f"/{filled.received}/park").headers["Location"] == "/?done=parked"
    assert filled.store.instance(filled.received).reason_code == "by-hand"
    assert browser.send(f"/{filled.delivered}/park").headers["Location"] == "/?done=late"
    assert browser.send("/retry").status_code == 303
    assert filled.store.counts()[State.PARKED] == 0


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"Origin": "http://attacker.example"}, None),
        ({"Origin": "null"}, None),
        ({"Origin": None}, None),
        ({"Origin": "http://127.0.0.1"}, None),
        ({"Sec-Fetch-Site": "cross-site"}, None),
        ({"Sec-Fetch-Site": "same-site"}, None),
        ({}, ""),
        ({}, "0" * 64),
        ({"Cookie": "lungfield-node=" + "a" * 43}, None),
        ({"Cookie": ""}, None),
    ],
)
def test_forms_of_others_are_refused(filled, url, headers, token):
    browser = Browser(url)
    if "Cookie" in headers:
        browser.session.cookies.clear()
    for action in ("/retry", f"/{filled.damaged}/retry", f"/{filled.received}/park"):
        answer = browser.send(action, token=token, **headers)
        assert answer.status_code == 403
    assert filled.store.counts()[State.PARKED] == 2
    assert filled.store.instance(filled.received).state is State.RECEIVED


def test_the_cookie_is_kept_from_scripts_and_other_sites(url):
    cookie = get(url).headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_change_needs_a_post_of_a_small_form_to_a_known_address(filled, url):
    browser = Browser(url)
    assert browser.session.get(f"{url}/{filled.damaged}/retry", timeout=20).status_code == 405
    assert browser.session.get(f"{url}/retry", timeout=20).status_code == 405
    assert browser.send(f"/{filled.damaged}/delete").status_code == 404
    assert browser.send("/retry", token="x" * 100_000).status_code == 413
    assert browser.send("/-1/retry").status_code == 404
    assert filled.store.counts()[State.PARKED] == 2


@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz", "/pictures/3", "/style.css"])
@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:8080", "127.0.0.1.attacker.example", ""]
)
def test_other_hosts_are_refused(url, path, host):
    """As after a name of an attacker's site was rebound to 127.0.0.1."""
    assert get(url + path, headers={"Host": host}).status_code == 400


def test_own_names_are_answered(filled):
    with served(filled, http_hosts=("node.hospital.example:8443",)) as url:
        for host in (
            "127.0.0.1",
            "localhost:99",
            "[::1]:8080",
            "node.hospital.example",
            "NODE.hospital.example:1",
        ):
            assert get(url, headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize(
    ("host", "further", "names"),
    [
        ("127.0.0.1", (), {"localhost", "127.0.0.1", "[::1]"}),
        ("0.0.0.0", ("node:8080",), {"localhost", "127.0.0.1", "[::1]", "node"}),  # noqa: S104
        ("10.1.2.3", (), {"10.1.2.3"}),
        ("::1", ("fd00::7", "[fd00::8]:80"), {"localhost", "127.0.0.1", "[::1]", "[fd00::7]", "[fd00::8]"}),
    ],
)
def test_names_of_addresses(host, further, names):
    assert set(own_names(host, further)) == names


@pytest.mark.parametrize("path", ["/", "/metrics", "/style.css", "/nothing", "/healthz"])
def test_every_answer_tells_browsers_what_it_may_not_do(url, path):
    headers = get(url + path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in headers


def test_a_password_is_asked_for_where_there_is_one(filled, monkeypatch):
    monkeypatch.setenv("LUNGFIELD_NODE_PASSWORD_HTTP", "correct horse")
    with served(filled) as url:
        for path in ("/", "/metrics", "/pictures/3"):
            assert get(url + path).status_code == 401
            assert get(url + path, auth=("x", "wrong")).status_code == 401
            assert get(url + path, auth=("x", "correct horse")).status_code == 200
        for word in ("Basic", "Basic ?", "Bearer x", "Basic " + base64.b64encode(b"x").decode()):
            assert get(url, headers={"Authorization": word}).status_code == 401
        assert get(f"{url}/healthz").status_code == 200
        assert get(f"{url}/readyz").status_code == 200
