#!/usr/bin/env python3
"""Writes what `image/Dockerfile` adds: one archive of Cooper's files, or one of a shell.

    archives.py executor OUT.tar --program FILE --certificates DIR
    archives.py debug OUT.tar --busybox FILE --applets FILE

An archive rather than a directory: owners, modes and the file capability are in it whoever runs this, and no file
system has to keep them. The same input gives the same bytes.
"""

import argparse
import io
import struct
import tarfile
from pathlib import Path

# Version 2 of the kernel's `vfs_cap_data`: permitted only, so that the program starts in every pod, also where these
# two are not to be had. SETGID is 6, SETUID is 7. See capabilities(7), "File capability extended attribute versioning".
CAPABILITIES = struct.pack("<IIIII", 0x02000000, 1 << 6 | 1 << 7, 0, 0, 0)


class Archive:
    def __init__(self, path, time):
        self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)
        self.time = time

    def add(self, name, kind, mode, **fields):
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.mtime = kind, mode, self.time
        content = fields.pop("content", b"")
        member.size = len(content)
        for field, value in fields.items():
            setattr(member, field, value)
        self.tar.addfile(member, io.BytesIO(content))

    def directory(self, name, mode=0o755):
        self.add(name, tarfile.DIRTYPE, mode)

    def file(self, name, content, mode=0o644, **fields):
        self.add(name, tarfile.REGTYPE, mode, content=content, **fields)

    def link(self, name, target):
        self.add(name, tarfile.SYMTYPE, 0o777, linkname=target)


def executor(archive, arguments):
    # Anyone may make a store here, as in /tmp; nobody may replace what is there.
    archive.directory("kaniko", 0o1777)
    # The tarfile module takes attributes as text, and writes what is none as the bytes that it was.
    attribute = {"SCHILY.xattr.security.capability": CAPABILITIES.decode("utf-8", "surrogateescape")}
    archive.file("kaniko/executor", arguments.program.read_bytes(), 0o755, pax_headers=attribute)
    archive.link("kaniko/cooper", "executor")
    archive.link("kaniko/warmer", "executor")
    archive.directory("kaniko/.docker")
    archive.directory("kaniko/ssl")
    archive.directory("kaniko/ssl/certs")
    certificates = sorted(arguments.certificates.glob("*.crt"))
    if not certificates:
        raise SystemExit(f"archives: no certificates in {arguments.certificates}")
    bundle = b"".join(path.read_bytes().rstrip(b"\n") + b"\n" for path in certificates)
    archive.file("kaniko/ssl/certs/ca-certificates.crt", bundle)


def debug(archive, arguments):
    archive.directory("bin")
    archive.link("bin/sh", "/busybox/sh")
    archive.directory("busybox")
    archive.file("busybox/busybox", arguments.busybox.read_bytes(), 0o755)
    for applet in sorted(set(arguments.applets.read_text().split()) - {"busybox"}):
        archive.link(f"busybox/{applet}", "busybox")
    archive.directory("tmp", 0o1777)


parser = argparse.ArgumentParser()
parser.add_argument("kind", choices=["executor", "debug"])
parser.add_argument("out", type=Path)
parser.add_argument("--program", type=Path)
parser.add_argument("--certificates", type=Path)
parser.add_argument("--busybox", type=Path)
parser.add_argument("--applets", type=Path)
parser.add_argument("--time", type=int, required=True, help="of the files, in seconds since 1970")
arguments = parser.parse_args()
archive = Archive(arguments.out, arguments.time)
{"executor": executor, "debug": debug}[arguments.kind](archive, arguments)
archive.tar.close()
