"""The page's server: what it gives, and whom it refuses."""

import asyncio
import json
import socket
import warnings
from urllib.parse import urlencode, urlsplit

import pytest
import torch

pytest.importorskip("starlette", reason="the extra `play` is not installed")

from ts_models.play import create_app, serve


def ask(app, path, query=None, headers=()):
    """One GET request straight to the ASGI app: status, headers, body."""
    sent = []
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": urlencode(query or {}).encode(),
        "headers": [(k.encode(), v.encode()) for k, v in {"host": "127.0.0.1:7860", **dict(headers)}.items()],
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 7860), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip

    asked = []

    async def receive():
        if asked:
            await asyncio.Event().wait()  # the reader stays
        asked.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}, body


def events(body):
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]


@pytest.fixture
def app(lm):
    return create_app({"small": lm})


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/play.css", "text/css"), ("/play.js", "text/javascript"), ("/tokens.js", "text/javascript")],
)
def test_files_and_headers(app, path, kind):
    status, headers, body = ask(app, path)
    assert status == 200
    assert headers["content-type"].startswith(kind)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert body
    assert b"http://" not in body  # nothing comes from elsewhere
    assert b"https://" not in body


def test_models_are_listed(app, lm):
    found = json.loads(ask(app, "/api/models")[2])
    assert found == [
        {
            "name": "small",
            "kind": "transformer",
            "parameters": sum(p.numel() for p in lm.model.parameters()),
            "context": 48,
            "features": None,
            "stories": None,
        }
    ]


@pytest.mark.parametrize("method", ["greedy", "sample", "beam", "beam-sample"])
def test_a_story_is_streamed(app, lm, method):
    query = {"model": "small", "prompt": "w1 dragon", "method": method, "seed": 3, "max_new_tokens": 9, "num_beams": 2}
    status, headers, body = ask(app, "/api/stream", query)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    told = events(body)
    assert told[0] == {"unknown": ["dragon"]}
    text = "".join(event.get("text", "") for event in told)
    assert text == lm.generate("w1 dragon", method=method, seed=3, max_new_tokens=9, num_beams=2, return_full_text=False)
    assert all(0 < event["p"] <= 1 and len(event["others"]) == 5 for event in told[1:-1])
    assert told[-1]["finish"] in {"eos", "length"}


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"model": "none"}, 404, "none"),
        ({"model": "small", "method": "magic"}, 400, "method"),
        ({"model": "small", "temperature": "hot"}, 400, "hot"),
        ({"model": "small", "max_new_tokens": "100000"}, 400, "1024"),
        ({"model": "small", "prompt": "w1 " * 90}, 200, "context"),
    ],
)
def test_refusals(app, query, status, words):
    found, _, body = ask(app, "/api/stream", query)
    assert found == status
    assert words in body.decode()
    assert "Traceback" not in body.decode()


def test_options_of_the_page_that_its_method_does_not_read_are_left_out(app):
    """`temperature=0` and beams of another method printed a warning on the server's terminal for each story."""
    query = {"model": "small", "prompt": "w1", "temperature": "0", "top_k": "5", "num_beams": "2", "max_new_tokens": "6"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = events(ask(app, "/api/stream", query)[2])
        assert found == events(
            ask(app, "/api/stream", {"model": "small", "prompt": "w1", "method": "greedy", "max_new_tokens": "6"})[2]
        )
    assert "finish" in found[-1]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:7860"},
        {"host": ""},
        {"host": "[evil"},
        {"origin": "https://[evil"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_other_sites_are_refused(app, headers):
    for path in ("/", "/api/models", "/api/stream"):
        assert ask(app, path, headers=headers)[0] == 403


@pytest.mark.parametrize("headers", [{"host": "localhost:7860"}, {"host": "[::1]:7860"}, {"origin": "http://127.0.0.1:7860"}])
def test_this_machine_is_served(app, headers):
    assert ask(app, "/api/models", headers=headers)[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_networks_are_served_under_any_address(lm, host):
    app = create_app({"small": lm}, hosts=("127.0.0.1", host))
    for name, status in [("192.168.1.5:7860", 200), ("[fe80::1]:7860", 200), ("evil.example:7860", 403), ("", 403)]:
        assert ask(app, "/api/models", headers={"host": name})[0] == status
    assert ask(create_app({"small": lm}), "/api/models", headers={"host": "192.168.1.5:7860"})[0] == 403


def test_the_address_takes_connections_from_the_moment_it_is_told(lm):
    class EnoughError(Exception):
        pass

    def ready(address):
        told = urlsplit(address)
        socket.create_connection((told.hostname, told.port), timeout=10).close()
        raise EnoughError

    with pytest.raises(EnoughError):
        serve({"small": lm}, port=0, ready=ready)


@pytest.mark.parametrize("problem", [RuntimeError("odd\nthing"), MemoryError(), ValueError("no"), KeyError("x")])
def test_a_stream_never_stops_mutely(lm, monkeypatch, problem):
    def broken(*_, **__):
        raise problem

    monkeypatch.setattr(type(lm), "events", broken)
    told = events(ask(create_app({"small": lm}), "/api/stream", {"model": "small", "prompt": "w1"})[2])
    assert told[-1]["error"].startswith(f"The story broke off: {type(problem).__name__}")
    assert "\n" not in told[-1]["error"]


def test_a_model_whose_weights_are_damaged_says_so(lm):
    with torch.no_grad():
        lm.model.norm.weight[:] = float("nan")
    for method in ("greedy", "sample", "beam", "beam-sample"):
        told = events(ask(create_app({"small": lm}), "/api/stream", {"model": "small", "prompt": "w1", "method": method})[2])
        assert "not finite numbers" in told[-1]["error"]
