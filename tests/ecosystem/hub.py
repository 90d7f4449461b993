"""A stand-in of the hub's HTTP API, enough for huggingface_hub to make a repository, commit to it, and read from it."""

import base64
import contextlib
import hashlib
import http.server
import json
import threading

import yaml

TOKEN = "hf_of_the_owner"


class Hub(http.server.ThreadingHTTPServer):
    """``files[repo][path]`` is what was committed, ``commits`` the messages; large files come over LFS."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.blobs, self.commits = {}, {}, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, body=b"{}", status=200, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self):
        body, path = self._body(), self.path.partition("?")[0]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials"}, 401)
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.server.files.setdefault(repo, {})
            return self._answer({"url": f"{self.server.address}/{repo}", "id": repo})
        if path == "/api/validate-yaml":
            front = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            good = isinstance(front, dict) and isinstance(front.get("license"), str)
            return self._answer({"errors": [] if good else [{"message": "license"}], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.server.address}/lfs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return self._answer({"transfer": "basic", "objects": objects})
        repo = "/".join(path.split("/")[3:5])
        if path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["size"] > 10_000 else "regular", "shouldIgnore": False}
                for f in files
            ]
            return self._answer({"files": modes})
        if path.endswith("/commit/main"):
            for line in body.splitlines():
                part = json.loads(line)
                if part["key"] == "header":
                    self.server.commits.append(part["value"]["summary"])
                elif part["key"] == "file":
                    self.server.files[repo][part["value"]["path"]] = base64.b64decode(part["value"]["content"])
                elif part["key"] == "lfsFile":
                    self.server.files[repo][part["value"]["path"]] = self.server.blobs[part["value"]["oid"]]
            return self._answer({"commitUrl": f"{self.server.address}/{repo}/commit/0", "commitOid": "0" * 40})
        return self._answer({"error": path}, 404)

    def do_PUT(self):
        body = self._body()
        assert hashlib.sha256(body).hexdigest() == self.path.rpartition("/")[2]
        self.server.blobs[self.path.rpartition("/")[2]] = body
        self._answer()

    def do_GET(self):
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[0] == "api":
            repo = "/".join(parts[2:4])
            return self._answer({"id": repo, "sha": "0" * 40, "siblings": []})
        if parts[0] == "datasets":
            del parts[0]
        repo, path = "/".join(parts[:2]), "/".join(parts[4:])
        content = self.server.files.get(repo, {}).get(path)
        if content is None:
            return self._answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self._answer(content, ETag=etag, X_Repo_Commit="0" * 40)

    do_HEAD = do_GET


@contextlib.contextmanager
def serve():
    """A hub that is up until the block ends."""
    with Hub() as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()
