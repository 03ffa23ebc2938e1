"""A server on loopback that speaks OpenAI's chat completions and Anthropic's messages, faults included."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IDEA = {"Name": "bigger_steps", "Title": "Bigger Steps", "Hypothesis": "They help.", "Experiment": "Double it.",
        "Metric": "final_loss", "Interestingness": 5, "Feasibility": 9, "Novelty": 3}  # fmt: skip
REPLIES = {  # by a field that only this type has
    "Hypothesis": IDEA,
    "idea": {"thoughts": "Sober.", "idea": IDEA, "done": True},
    "query": {"thoughts": "Look.", "query": "stochastic gradient descent", "done": False},
    "verdict": {"verdict": "novel", "reason": "None asks it.", "papers": []},
}


class ModelServer(ThreadingHTTPServer):
    """Answers what `reply` says; `fault(n)` may name what happens to the n-th request instead."""

    daemon_threads = True

    def __init__(self, reply: Callable[[dict], str] | None = None, fault: Callable[[int], str] = lambda n: ""):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.fault = reply or by_schema, fault
        self.seen = 0
        self.accepted: list[dict] = []  # requests that got an answer, with its usage
        self.takes_schema = self.takes_pictures = True
        self.cached = 0  # tokens that it says it had at hand
        self.reasoning = 0
        self.end = "stop"
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone, by a time-out or a kill, is what some tests want."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def tokens(self) -> tuple[int, int]:
        """Tokens in and out of all that was accepted."""
        return (sum(a["usage"][0] for a in self.accepted), sum(a["usage"][1] for a in self.accepted))


def by_schema(body: dict) -> str:
    """A reply of the type that the request's schema describes; it looks there or in the prompt."""
    words = json.dumps(body)
    fields = _schema(body).get("properties", {})
    for field, reply in REPLIES.items():
        if field in fields:
            return json.dumps(reply)
    order = ["verdict", "query", "idea", "Hypothesis"]  # no schema: the form stands in the prompt
    return json.dumps(REPLIES[next(f for f in order if f'\\"{f}\\": ' in words)])


def _schema(body: dict) -> dict:
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"]
    return body.get("output_config", {}).get("format", {}).get("schema", {})


class Handler(BaseHTTPRequestHandler):
    server: ModelServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen += 1
            fault = self.server.fault(self.server.seen)
        if fault or not self._accepts(body):
            return self._fail(fault) if fault else None
        try:
            text = self.server.reply(body)
        except Exception as error:  # refused, or the client would take it for a fault that passes, and wait
            return self._send(400, {"error": {"message": f"The stand-in knows no reply: {error!r}"}})
        usage = (len(json.dumps(body)) // 4, len(text) // 4 + self.server.reasoning)
        with self.server.lock:
            self.server.accepted.append({"body": body, "usage": usage, "headers": dict(self.headers)})
        if self.path.endswith("/messages"):
            self._send_events(text, usage)
        else:
            self._send(200, _completion(self.server, body, text, usage))

    def _accepts(self, body: dict) -> bool:
        pictures = '"image' in json.dumps(body["messages"])
        if pictures and not self.server.takes_pictures:
            self._send(400, {"error": {"message": "This model does not support image input."}})
        elif _schema(body) and not self.server.takes_schema:
            self._send(400, {"error": {"message": "response_format is not supported."}})
        elif self.server.reasoning and {"temperature", "max_tokens"} & set(body):
            self._send(400, {"error": {"message": "Unsupported parameter."}})
        else:
            return True
        return False

    def _fail(self, fault: str) -> None:
        if fault == "drop":
            self.connection.close()
            self.close_connection = True
        elif fault == "garbage":
            self._send_bytes(200, b"<html>It works!</html>")
        elif fault == "hollow":
            self._send(200, {"object": "chat.completion"})
        elif fault == "silence":
            time.sleep(3)
            self.close_connection = True
        else:
            status, _, kind = fault.partition(" ")
            self._send(int(status), {"error": {"message": f"fault {fault}", "code": kind, "type": kind}})

    def _send(self, status: int, data: dict) -> None:
        self._send_bytes(status, json.dumps(data).encode())

    def _send_bytes(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", "0.05")
        self.end_headers()
        self.wfile.write(data)

    def _send_events(self, text: str, usage: tuple[int, int]) -> None:
        """Anthropic's stream: the message's start, one block of text, its end."""
        cached, stop = self.server.cached, {"stop": "end_turn"}.get(self.server.end, self.server.end)
        start = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": usage[0] - cached, "cache_read_input_tokens": cached, "output_tokens": 1},
        }
        events: list[dict] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": usage[1]}},
            {"type": "message_stop"},
        ]  # fmt: skip
        data = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _completion(server: ModelServer, body: dict, text: str, usage: tuple[int, int]) -> dict:
    choice = {"index": 0, "finish_reason": server.end, "message": {"role": "assistant", "content": text}}
    counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage),
              "prompt_tokens_details": {"cached_tokens": server.cached},
              "completion_tokens_details": {"reasoning_tokens": server.reasoning}}  # fmt: skip
    return {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice],
            "usage": counts}  # fmt: skip
