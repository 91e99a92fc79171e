"""The same requests, one after the other, to a real Eureka server and to the registry; each difference must be known.

Never: judges an answer by itself but for the status of the real server, which requests.json foretells.
"""
import fnmatch
import gzip
import json
import os
import time
import xml.etree.ElementTree as xml

from programs import HERE, Failed, LeftOut, Reference, Registry, call

DAY = 86_400_000


def load():
    with open(HERE / "requests.json", encoding="utf-8") as source:
        return json.load(source)


def prepared(request, bodies):
    """Method, path, headers and body as they go out."""
    headers, body = dict(request.get("headers", {})), request.get("body")
    if isinstance(body, str) and body.startswith("@"):
        body = {"instance": {**bodies[body[1:]], **request.get("with", {})}}
        for key in request.get("without", []):
            body["instance"].pop(key)
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    if isinstance(body, str):
        body = body.encode()
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.compress(body)
    if request.get("chunked"):
        # A body of unknown length: Python's client then frames it in chunks.
        whole = body
        body = (whole[at:at + 100] for at in range(0, len(whole), 100))
    return request["method"], request["path"], headers, body


def scalar(value):
    """Times of about now become a word, so that two runs can be compared; the type stays visible."""
    if isinstance(value, bool):
        return value
    try:
        number = int(value)
    except (TypeError, ValueError):
        return value
    if abs(number - time.time() * 1000) < DAY:
        return f"<now, a {'text' if isinstance(value, str) else 'number'}>"
    return value


def plain(value, delta):
    """A JSON value whose applications and instances are in a fixed order."""
    if isinstance(value, dict):
        return {key: "<version>" if delta and key == "versions__delta" and isinstance(one, str)
                else ordered(key, plain(one, delta)) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one, delta) for one in value]
    return scalar(value)


def ordered(key, value):
    if key in ("application", "instance") and isinstance(value, list):
        return sorted(value, key=lambda one: json.dumps(one, sort_keys=True))
    return value


def element(node, delta):
    """An XML element as a JSON value: attributes with @, text as #, children by name."""
    made = {f"@{key}": value for key, value in node.attrib.items()}
    text = (node.text or "").strip()
    if text:
        made["#"] = "<version>" if delta and node.tag == "versions__delta" else scalar(text)
    for child in node:
        made.setdefault(child.tag, []).append(element(child, delta))
    return {key: ordered(key, one) for key, one in made.items()}


class Answer:
    def __init__(self, status, headers, body, delta):
        self.status = status
        self.encoding = headers.get("content-encoding", "none")
        if self.encoding == "gzip":
            body = gzip.decompress(body)
        self.empty = not body
        self.type = headers.get("content-type", "none").lower().replace(" ", "") if body else "none"
        self.allow = "given" if "allow" in headers else "none"
        text = body.decode("utf-8", "replace")
        try:
            if "json" in self.type:
                self.content = plain(json.loads(text), delta)
            elif text.lstrip().startswith("<"):
                root = xml.fromstring(text)
                self.content = {root.tag: element(root, delta)}
            else:
                self.content = text
        except (ValueError, xml.ParseError):
            self.content = f"<not well-formed> {text[:200]}"


def compare(path, theirs, ours):
    """The paths at which two contents differ, with both values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            yield from compare(f"{path}.{key}" if path else key, theirs.get(key, "<absent>"), ours.get(key, "<absent>"))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for at, (one, other) in enumerate(zip(theirs, ours)):
            yield from compare(f"{path}[{at}]", one, other)
    elif theirs != ours or type(theirs) is not type(ours):
        yield path, theirs, ours


def differences(request, theirs, ours):
    """(aspect, their value, our value) of all that differs."""
    for aspect in ("status", "type", "empty", "encoding", "allow"):
        if getattr(theirs, aspect) != getattr(ours, aspect):
            yield aspect, getattr(theirs, aspect), getattr(ours, aspect)
    if request.get("content", True):
        for path, one, other in compare("", theirs.content, ours.content):
            yield f"content {path}".rstrip(), one, other


def short(value, most=400):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most - 3]}..."


class Replay:
    def __init__(self, options, directory):
        given = load()
        self.bodies, self.requests, self.known = given["bodies"], given["requests"], given["differences"]
        self.theirs = Reference(directory, name="replay-eureka-server")
        self.ours = (None if options.reference else
                     Registry(os.path.abspath(options.binary), directory, name="replay-a8registry"))
        self.used = set()
        self.facts = options.facts

    def start(self):
        self.theirs.start()
        if self.ours:
            self.ours.start()

    def stop(self):
        self.theirs.stop()
        if self.ours:
            self.ours.stop()

    def answer(self, server, request):
        method, path, headers, body = prepared(request, self.bodies)
        return Answer(*call(server.port, method, path, headers, body), "/delta" in path)

    def play(self, request):
        theirs = self.answer(self.theirs, request)
        if theirs.status != request["status"]:
            raise Failed(f"the real server answers {theirs.status}, not {request['status']} as written: "
                         f"{short(theirs.content)}")
        if self.facts:
            print(f"           {request['method']} {request['path']}: {theirs.status} {theirs.type} {theirs.encoding} "
                  f"{short(theirs.content, 4000)}", flush=True)
        if not self.ours:
            return
        unknown = []
        for aspect, one, other in differences(request, theirs, self.answer(self.ours, request)):
            reason = self.reason(request["name"], aspect, one, other)
            line = f"{aspect}: real server {short(one)}, ours {short(other)}"
            if reason:
                print(f"           known: {request['name']}: {line} ({reason})", flush=True)
            else:
                unknown.append(line)
        if unknown:
            raise Failed("; ".join(unknown))

    def reason(self, name, aspect, theirs, ours):
        for at, row in enumerate(self.known):
            if (fnmatch.fnmatchcase(name, row["request"]) and fnmatch.fnmatchcase(aspect, row["aspect"])
                    and row.get("theirs", theirs) == theirs and row.get("ours", ours) == ours):
                self.used.add(at)
                return row["why"]
        return None

    def unused(self):
        if self.ours:
            for at, row in enumerate(self.known):
                if at not in self.used:
                    print(f"           in the table, but not seen: {row['request']}: {row['aspect']}", flush=True)


def run(options, directory, report):
    try:
        replay = Replay(options, directory)
    except LeftOut as reason:
        report.left_out.append(f"replay: {reason}")
        return
    try:
        if report.step("replay", "both servers start", replay.start):
            for request in replay.requests:
                report.step("replay", request["name"], lambda request=request: replay.play(request))
            replay.unused()
    finally:
        replay.stop()
