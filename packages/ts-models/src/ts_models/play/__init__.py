"""A web page to play with models: pick one, type a beginning, watch the story come. Needs the extra `ts-models[play]`.

The server has four static files, the list of models and one stream of events per story. It stores nothing.
A page of another site may not read from it: requests must name one of the allowed hosts, and come from this page.
"""

import contextlib
import ipaddress
import json
import logging
import math
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigError, MissingExtraError, TsModelsError
from ..generation.options import resolve, split_list, with_effect
from ..language_model import LanguageModel
from ..sizes import count_parameters

__all__ = ["LOOPBACK", "create_app", "serve"]

_MISSING = 'the page needs Starlette and uvicorn. Run: pip install "ts-models[play]"'
try:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route
except ImportError:
    raise MissingExtraError(_MISSING) from None

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that this machine alone can reach."""
STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
NUMBERS: dict[str, type[int] | type[float]] = {
    "temperature": float, "top_p": float, "min_p": float, "repetition_penalty": float, "length_penalty": float,
    "top_k": int, "num_beams": int, "max_new_tokens": int, "no_repeat_ngram_size": int, "seed": int,
}  # fmt: skip
MOST = {"num_beams": 16, "max_new_tokens": 1024}
"""Upper bounds, so that one request cannot block the machine for long."""


def create_app(models: Mapping[str, LanguageModel], *, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """An ASGI app for these models, by the names that the page shows.

    hosts: names under which it may be called; "0.0.0.0" or "::" (all networks) stands for any address in numbers.
    """
    vocabularies = {name: lm.vocabulary() for name, lm in models.items()}

    def page(name: str, kind: str) -> Route:
        async def send(request: Request) -> Response:
            return FileResponse(STATIC / name, media_type=kind)

        return Route("/" if name == "index.html" else f"/{name}", send)

    async def listing(request: Request) -> Response:
        return JSONResponse([describe(name, lm) for name, lm in models.items()])

    async def stream(request: Request) -> Response:
        name = request.query_params.get("model", "")
        if name not in models:
            return JSONResponse({"error": f"no model {name!r} here"}, status_code=404)
        try:
            options = read_options(request.query_params)
        except (TsModelsError, ValueError) as problem:
            return JSONResponse({"error": str(problem)}, status_code=400)
        asked = {part: split_list(request.query_params.get(part)) for part in ("words", "features")}
        events = tell(models[name], vocabularies[name], request.query_params.get("prompt", ""), {**options, **asked})
        return StreamingResponse(events, media_type="text/event-stream")

    scripts = [page(name, "text/javascript") for name in ("tokens.js", "play.js")]
    files = [page("index.html", "text/html"), page("play.css", "text/css"), *scripts]
    routes = [*files, Route("/api/models", listing), Route("/api/stream", stream)]
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)])


class Guard(BaseHTTPMiddleware):
    """Refuses hosts that were not allowed (DNS rebinding) and other sites' pages; sets the security headers."""

    def __init__(self, app: Any, hosts: Sequence[str]) -> None:
        super().__init__(app)
        self.hosts = frozenset(host.lower() for host in hosts)
        self.everywhere = not self.hosts.isdisjoint({"0.0.0.0", "::"})

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        host = request.headers.get("host", "")
        origin = request.headers.get("origin")
        name = _parts(f"//{host}").hostname or ""
        if name not in self.hosts and not (self.everywhere and _is_address(name)):
            return PlainTextResponse("This host name is not allowed.", status_code=403, headers=HEADERS)
        foreign = origin is not None and _parts(origin).netloc != host
        if foreign or request.headers.get("sec-fetch-site") == "cross-site":
            return PlainTextResponse("Other sites may not use this page.", status_code=403, headers=HEADERS)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response


def _parts(url: str) -> SplitResult:
    """The parts of an address; empty ones where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _is_address(name: str) -> bool:
    """Whether a host is written as numbers: DNS rebinding needs a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def describe(name: str, lm: LanguageModel) -> dict[str, Any]:
    """What the page shows of a model."""
    return {
        "name": name,
        "kind": lm.config.kind,
        "parameters": count_parameters(lm.config),
        "context": lm.config.context_limit,
        "features": None if lm.training is None or lm.training.prompts is None else lm.training.prompts.features,
        "stories": None if lm.training is None else lm.training.train_stories,
    }


def read_options(query: Mapping[str, str]) -> dict[str, Any]:
    """Generation options from a query, those that the method reads; raises ConfigError or ValueError for what does not hold."""
    options: dict[str, Any] = {"method": query.get("method", "sample")}
    for name, kind in NUMBERS.items():
        if query.get(name):
            options[name] = kind(query[name])
    for name, most in MOST.items():
        if options.get(name, 0) > most:
            raise ValueError(f"{name} is {options[name]}; this page goes up to {most}")
    return with_effect(resolve(options)[0])


def tell(lm: LanguageModel, vocabulary: Sequence[str], prompt: str, options: Mapping[str, Any]) -> Iterator[str]:
    """Server-sent events: one JSON object per token, the last with why the story ended, or with an error."""
    try:
        yield _event({"unknown": lm.unknown_words(" ".join([*options.get("words", ()), prompt]))})
        for event in lm.events(prompt, logprobs=True, alternatives=5, **options):
            if event.id is None:
                yield _event({"text": event.text, "finish": event.finish})
                continue
            others = [[vocabulary[number], math.exp(value)] for number, value in event.alternatives]
            chance = None if event.logprob is None else math.exp(event.logprob)
            yield _event({"text": event.text, "token": vocabulary[event.id], "p": chance, "others": others})
    except Exception as problem:
        if getattr(problem, "is_expected", False) or isinstance(problem, TypeError):
            yield _event({"error": str(problem)})
        else:
            logging.getLogger(__name__).exception("a story broke off")
            reason = (str(problem).strip().splitlines() or [""])[0][:200]
            yield _event({"error": f"The story broke off: {type(problem).__name__} {reason}".strip()})


def _event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def serve(
    models: Mapping[str, LanguageModel], *, host: str = "127.0.0.1", port: int = 7860, ready: Callable[[str], None] | None = None
) -> None:
    """Serve the page until interrupted; `ready` is called with its address. Port 0 picks a free one.

    Only this machine can reach it, unless `host` says otherwise: then everybody on that network can.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError(_MISSING) from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)  # before the address is announced: early clients wait instead of being refused
        except OSError as problem:
            raise ConfigError(f"cannot listen on {host}, port {port} ({problem.strerror}); try another --port.") from None
        number = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        if ready is not None:
            ready(f"http://{shown}:{number}/")
        own = () if host in LOOPBACK else (host, socket.gethostname())
        app = create_app(models, hosts=(*LOOPBACK, *own))
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it; uvicorn raises it again once all is closed
            uvicorn.Server(config).run(sockets=[listener])
