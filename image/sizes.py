#!/usr/bin/env python3
"""Prints what each platform of an OCI layout weighs; fails where one weighs more than LIMIT bytes.

    sizes.py LAYOUT [LIMIT]
"""

import json
import sys
from pathlib import Path

layout = Path(sys.argv[1])
limit = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None


def read(digest):
    return json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())


(entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
print(f"{layout}: {entry['digest']}")
heavy = False
for descriptor in read(entry["digest"])["manifests"]:
    manifest = read(descriptor["digest"])
    size = descriptor["size"] + manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"])
    platform = "{os}/{architecture}".format(**descriptor["platform"])
    print(f"  {platform:12} {size / 1e6:6.2f} MB compressed, {len(manifest['layers'])} layers")
    if limit and size > limit:
        print(f"  {platform} is to weigh no more than {limit / 1e6:.1f} MB")
        heavy = True
sys.exit(heavy)
