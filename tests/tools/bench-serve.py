"""Asks a warm service for builds of an app of which one line changes, and says how long they took: see bench-serve.sh.

    bench-serve.py APP SERVICE REGISTRY PROCESS
"""

import http.client
import io
import json
import re
import statistics
import sys
import tarfile
import time
from pathlib import Path

ROUNDS = 120
# Those at the beginning fill the store and the connections.
WARM_UP = 5

app, service, registry, process = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


def memory():
    """Of the service's own process, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def context(number):
    """The app with another line, and the base from here, as a tar."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted(app.rglob("*")):
            name = str(path.relative_to(app))
            data = path.read_bytes() if path.is_file() else b""
            if name == "src/server.js":
                data += f"// change {number}\n".encode()
            if name == "Dockerfile":
                data = data.replace(b"docker.io/library/", f"{registry}/library/".encode())
            entry = tar.gettarinfo(path, name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


def round_trip(number):
    """Seconds from the request to the manifest in the registry being the one that the service names."""
    body = context(number)
    request = {"tags": [f"{registry}/team/app:{number}"]}
    began = time.perf_counter()
    asked = http.client.HTTPConnection(service)
    asked.request("POST", "/v1/builds?wait=60s", body, {"Cooper-Build": json.dumps(request)})
    build = json.load(asked.getresponse())
    if build.get("state") != "succeeded":
        sys.exit(f"bench-serve: {json.dumps(build, indent=2)}")
    pushed = http.client.HTTPConnection(registry)
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    pushed.request("HEAD", f"/v2/team/app/manifests/{number}", headers=accept)
    found = pushed.getresponse().headers["Docker-Content-Digest"]
    spent = time.perf_counter() - began
    if found != build["result"]["digest"]:
        sys.exit(f"bench-serve: the registry has {found}, the service pushed {build['result']['digest']}")
    return spent


idle = memory()
first = round_trip(0)
for number in range(1, WARM_UP):
    round_trip(number)
warm = memory()
spent = sorted(round_trip(number) for number in range(WARM_UP, ROUNDS))
print(f"first build, nothing at hand: {first * 1000:.0f} ms")
print(
    f"{len(spent)} builds with one line changed: median {statistics.median(spent) * 1000:.0f} ms, "
    f"95 % within {spent[int(len(spent) * 0.95)] * 1000:.0f} ms, at most {spent[-1] * 1000:.0f} ms"
)
print(f"memory of the service: {idle:.1f} MiB before, {warm:.1f} MiB after {WARM_UP} builds, {memory():.1f} MiB after {ROUNDS}")
