"""Writes the stand-in for `node:20-alpine` as an OCI layout. Called by stand-in-base.sh.

The layout holds an image index, as Docker Hub serves one: this machine's platform, which runs, and a second platform
with a shell-less file tree, by which a wrong choice of platform is noticed. The same inputs give the same digests.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile

CREATED = 1704067200  # 2024-01-01T00:00:00Z: the time of everything in here
CREATED_TEXT = "2024-01-01T00:00:00Z"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
YARN_VERSION = "1.22.22"  # only named in the environment, as in the original; there is no yarn in here
SHADOW = 42  # Alpine's group of /etc/shadow

# cap_net_bind_service=p as the kernel stores it (linux/capability.h, revision 2).
CAPABILITY = "\x00\x00\x00\x02" "\x00\x04\x00\x00" "\x00\x00\x00\x00" "\x00\x00\x00\x00" "\x00\x00\x00\x00"

PASSWD = [
    "root:x:0:0:root:/root:/bin/sh",
    "bin:x:1:1:bin:/bin:/sbin/nologin",
    "daemon:x:2:2:daemon:/sbin:/sbin/nologin",
    "lp:x:4:7:lp:/var/spool/lpd:/sbin/nologin",
    "sync:x:5:0:sync:/sbin:/bin/sync",
    "shutdown:x:6:0:shutdown:/sbin:/sbin/shutdown",
    "halt:x:7:0:halt:/sbin:/sbin/halt",
    "mail:x:8:12:mail:/var/mail:/sbin/nologin",
    "guest:x:405:100:guest:/dev/null:/sbin/nologin",
    "nobody:x:65534:65534:nobody:/:/sbin/nologin",
]
GROUP = [
    "root:x:0:root",
    "bin:x:1:root,bin,daemon",
    "daemon:x:2:root,bin,daemon",
    "sys:x:3:root,bin",
    "adm:x:4:root,daemon",
    "tty:x:5:",
    "disk:x:6:root",
    "lp:x:7:lp",
    "kmem:x:9:",
    "wheel:x:10:root",
    "mail:x:12:mail",
    "shadow:x:42:",
    "users:x:100:guest",
    "nogroup:x:65533:",
    "nobody:x:65534:",
]
OS_RELEASE = """NAME="Alpine Linux"
ID=alpine
VERSION_ID=3.20.0
PRETTY_NAME="Alpine-like stand-in (busybox and glibc from Debian)"
"""


class Layer:
    """Collects tar entries in memory order and turns them into a gzipped blob."""

    def __init__(self):
        self.entries = []

    def _add(self, path, kind, mode, uid=0, gid=0, data=b"", link="", pax=None):
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.uid, info.gid = kind, mode, uid, gid
        info.size, info.linkname, info.mtime = len(data), link, CREATED
        info.pax_headers = pax or {}
        self.entries.append((info, data))

    def directory(self, path, mode=0o755, uid=0, gid=0):
        self._add(path, tarfile.DIRTYPE, mode, uid, gid)

    def file(self, path, data, mode=0o644, uid=0, gid=0, pax=None):
        if isinstance(data, str):
            data = data.encode()
        self._add(path, tarfile.REGTYPE, mode, uid, gid, data, pax=pax)

    def symlink(self, path, target):
        self._add(path, tarfile.SYMTYPE, 0o777, link=target)

    def hard_link(self, path, target):
        self._add(path, tarfile.LNKTYPE, 0o644, link=target)

    def whiteout(self, path):
        parent, name = os.path.split(path)
        self.file(f"{parent}/.wh.{name}", b"")

    def opaque(self, directory):
        self.file(f"{directory}/.wh..wh..opq", b"")

    def tar(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for info, data in self.entries:
                archive.addfile(info, io.BytesIO(data))
        return out.getvalue()


class Layout:
    """An OCI image layout being written."""

    def __init__(self, root):
        self.root = root
        os.makedirs(os.path.join(root, "blobs/sha256"))
        with open(os.path.join(root, "oci-layout"), "w") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, media_type, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.root, "blobs/sha256", digest), "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def json(self, media_type, value):
        return self.blob(media_type, json.dumps(value, separators=(",", ":"), sort_keys=True).encode())

    def image(self, platform, settings, steps):
        """Writes one image; `steps` are pairs of history text and layer (None: changes the config only)."""
        layers, diff_ids, history = [], [], []
        for text, layer in steps:
            entry = {"created": CREATED_TEXT, "created_by": text}
            if layer is None:
                entry["empty_layer"] = True
            else:
                tar = layer.tar()
                diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
                blob = gzip.compress(tar, compresslevel=6, mtime=0)
                layers.append(self.blob("application/vnd.oci.image.layer.v1.tar+gzip", blob))
            history.append(entry)
        config = {
            **platform,
            "created": CREATED_TEXT,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.json("application/vnd.oci.image.config.v1+json", config),
            "layers": layers,
        }
        return {**self.json(manifest["mediaType"], manifest), "platform": platform}

    def finish(self, images, tag):
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": images}
        entry = self.json(index["mediaType"], index)
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        with open(os.path.join(self.root, "index.json"), "w") as file:
            json.dump({"schemaVersion": 2, "manifests": [entry]}, file, separators=(",", ":"))


def lines(values):
    return "".join(value + "\n" for value in values)


def shadow(users):
    return lines(f"{user.split(':')[0]}:*::0:::::" for user in users)


def accounts(layer, users, groups):
    layer.directory("etc")
    layer.file("etc/group", lines(groups))
    layer.file("etc/passwd", lines(users))
    layer.file("etc/shadow", shadow(users), 0o640, gid=SHADOW)


def file_tree(layer):
    """What any platform has: directories, links, accounts."""
    for path, mode in [
        ("bin", 0o755), ("dev", 0o755), ("home", 0o755), ("lib", 0o755),
        ("media", 0o755), ("media/cdrom", 0o755), ("media/usb", 0o755), ("mnt", 0o755), ("opt", 0o755),
        ("proc", 0o555), ("root", 0o700), ("run", 0o755), ("run/lock", 0o755), ("sbin", 0o755), ("srv", 0o755),
        ("sys", 0o555), ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755), ("usr/lib", 0o755), ("usr/local", 0o755),
        ("usr/local/bin", 0o755), ("usr/local/lib", 0o755), ("usr/local/share", 0o755), ("usr/sbin", 0o755),
        ("usr/share", 0o755), ("var", 0o755), ("var/cache", 0o755), ("var/empty", 0o555), ("var/lib", 0o755),
        ("var/log", 0o755), ("var/mail", 0o755), ("var/spool", 0o755), ("var/tmp", 0o1777),
    ]:
        layer.directory(path, mode)
    layer.symlink("lib64", "lib")
    layer.symlink("var/lock", "/run/lock")
    layer.symlink("var/run", "../run")
    layer.symlink("var/spool/mail", "../mail")
    accounts(layer, PASSWD, GROUP)
    layer.file("etc/group-", lines(GROUP))
    layer.file("etc/passwd-", lines(PASSWD))
    layer.file("etc/shadow-", shadow(PASSWD), 0o640, gid=SHADOW)
    layer.file("etc/alpine-release", "3.20.0\n")
    layer.file("etc/hostname", "localhost\n")
    layer.file("etc/hosts", "127.0.0.1\tlocalhost localhost.localdomain\n::1\tlocalhost localhost.localdomain\n")
    layer.symlink("etc/mtab", "../proc/mounts")
    layer.symlink("etc/os-release", "../usr/lib/os-release")
    layer.file("etc/profile", f"export PATH={PATH}\numask 022\n")
    layer.file("etc/shells", "/bin/sh\n/bin/ash\n")
    layer.file("usr/lib/os-release", OS_RELEASE)


def shapes(layer):
    """What tests look for; `change_shapes` alters it in a later layer."""
    base = "usr/share/stand-in"
    layer.directory(base)
    layer.directory(f"{base}/directory-becomes-file")
    layer.file(f"{base}/directory-becomes-file/inner", "gone with its directory\n")
    layer.file(f"{base}/file-becomes-directory", "a file\n")
    layer.symlink(f"{base}/link-becomes-file", "/etc/hostname")
    layer.file(f"{base}/deleted", "hidden by a whiteout\n")
    layer.directory(f"{base}/deleted-directory")
    layer.file(f"{base}/deleted-directory/inner", "hidden with its directory\n")
    layer.directory(f"{base}/opaque")
    layer.file(f"{base}/opaque/old", "hidden by an opaque marker\n")
    layer.file(f"{base}/replaced", "first\n")
    layer.directory(f"{base}/real")
    layer.file(f"{base}/real/file", "reached through links\n")
    layer.symlink(f"{base}/relative-link", "real")
    layer.symlink(f"{base}/absolute-link", f"/{base}/real")
    layer.symlink(f"{base}/dangling-link", "nowhere")
    layer.symlink(f"{base}/loop", "loop")
    layer.file(f"{base}/hard-link-1", "one file, two names\n")
    layer.hard_link(f"{base}/hard-link-2", f"{base}/hard-link-1")
    layer.file(f"{base}/capable", "#!/bin/sh\n", 0o755, pax={"SCHILY.xattr.security.capability": CAPABILITY})
    layer.file(f"{base}/setgid", "#!/bin/sh\n", 0o2755, gid=SHADOW)
    layer.directory(f"{base}/setgid-directory", 0o2775, uid=405, gid=100)
    layer.file(f"{base}/name with blanks and ümlaut", "\n")
    layer.file(f"{base}/" + "long-" * 30 + "name", "more than a tar header's 100 bytes\n")
    layer.file(f"{base}/unreadable", "for root only\n", 0o000)
    layer.file(f"{base}/empty", "")


def change_shapes(layer):
    base = "usr/share/stand-in"
    layer.directory("usr")
    layer.directory("usr/share")
    layer.directory(base)
    layer.whiteout(f"{base}/deleted")
    layer.whiteout(f"{base}/deleted-directory")
    layer.file(f"{base}/directory-becomes-file", "now a file\n")
    layer.directory(f"{base}/file-becomes-directory")
    layer.file(f"{base}/file-becomes-directory/inner", "now a directory\n")
    layer.file(f"{base}/link-becomes-file", "now a file\n")
    layer.directory(f"{base}/opaque")
    layer.opaque(f"{base}/opaque")
    layer.file(f"{base}/opaque/new", "beside the opaque marker\n")
    layer.file(f"{base}/replaced", "second, longer\n", 0o600)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def busybox(layer, program, applets, scripts):
    layer.file("bin/busybox", program, 0o755)
    # Alpine keeps what needs root apart in a setuid program of its own.
    layer.file("bin/bbsuid", program, 0o4111)
    own = {"usr/sbin/addgroup", "usr/sbin/adduser"}
    for applet in sorted(set(applets) - own - {"bin/busybox", "linuxrc"}):
        name = os.path.basename(applet)
        layer.symlink(applet, "/bin/bbsuid" if name in ("su", "passwd") else "/bin/busybox")
    for path in sorted(own):
        layer.file(path, read(os.path.join(scripts, os.path.basename(path))), 0o755)


def node(layer, package, loader, libraries):
    users = PASSWD + ["node:x:1000:1000:Linux User,,,:/home/node:/bin/sh"]
    accounts(layer, users, GROUP + ["node:x:1000:node"])
    layer.directory("home")
    layer.directory("home/node", 0o2755, uid=1000, gid=1000)
    layer.directory("lib")
    layer.file("lib/" + os.path.basename(loader), read(loader), 0o755)
    layer.directory("usr")
    layer.directory("usr/lib")
    for library in sorted(libraries, key=os.path.basename):
        name, real = os.path.basename(library), os.path.basename(os.path.realpath(library))
        layer.file(f"usr/lib/{real}", read(library), 0o755)
        if name != real:
            layer.symlink(f"usr/lib/{name}", real)
    for path in ["usr/local", "usr/local/bin", "usr/local/share", "usr/local/share/doc", "usr/local/share/doc/node"]:
        layer.directory(path)
    layer.file("usr/local/bin/node", read(os.path.join(package, "bin/node")), 0o755)
    layer.symlink("usr/local/bin/nodejs", "node")
    layer.file("usr/local/LICENSE", read(os.path.join(package, "LICENSE")))
    layer.hard_link("usr/local/share/doc/node/LICENSE", "usr/local/LICENSE")


def native_image(layout, platform, options):
    base, runtime, changes, entrypoint = Layer(), Layer(), Layer(), Layer()
    file_tree(base)
    shapes(base)
    busybox(base, read(options.busybox), options.applets.split(), options.scripts)
    node(runtime, options.node, options.loader, options.libraries.split())
    change_shapes(changes)
    entrypoint.directory("usr")
    entrypoint.directory("usr/local")
    entrypoint.directory("usr/local/bin")
    script = read(os.path.join(options.scripts, "docker-entrypoint.sh"))
    entrypoint.file("usr/local/bin/docker-entrypoint.sh", script, 0o755)
    version = options.node_version
    settings = {
        "Env": [f"PATH={PATH}", f"NODE_VERSION={version}", f"YARN_VERSION={YARN_VERSION}"],
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["node"],
    }
    return layout.image(platform, settings, [
        ("ADD alpine-like rootfs / # stand-in", base),
        ('CMD ["/bin/sh"]', None),
        (f"ENV NODE_VERSION={version}", None),
        ("RUN /bin/sh -c addgroup -g 1000 node && adduser -u 1000 -G node -s /bin/sh -D node # stand-in", runtime),
        (f"ENV YARN_VERSION={YARN_VERSION}", None),
        ("RUN /bin/sh -c change what the tests look for # stand-in", changes),
        ("COPY docker-entrypoint.sh /usr/local/bin/ # stand-in", entrypoint),
        ('ENTRYPOINT ["docker-entrypoint.sh"]', None),
        ('CMD ["node"]', None),
    ])


def foreign_image(layout, platform):
    base = Layer()
    file_tree(base)
    settings = {"Env": [f"PATH={PATH}"], "Cmd": ["/bin/sh"]}
    return layout.image(platform, settings, [("ADD files without programs / # stand-in", base)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ["out", "tag", "architecture", "busybox", "applets", "scripts", "node", "node-version", "loader", "libraries"]:
        parser.add_argument(f"--{option}", required=True)
    options = parser.parse_args()

    platforms = {
        "amd64": {"architecture": "amd64", "os": "linux"},
        "arm64": {"architecture": "arm64", "os": "linux", "variant": "v8"},
    }
    native = platforms.pop(options.architecture)
    layout = Layout(options.out)
    # This machine's platform stands last, so that "the first one" is a wrong choice.
    images = [foreign_image(layout, other) for other in platforms.values()]
    images.append(native_image(layout, native, options))
    layout.finish(images, options.tag)


if __name__ == "__main__":
    main()
