# Whatever commands do to files that a layer can tell of.
FROM base
RUN echo new:x:1234:1234::/home/new:/bin/sh >> /etc/passwd && sed -i s/staff:x:50:app/staff:x:50:app,new/ /etc/group \
    && mkdir -p /home/new /opt/app/bin && chown 1234:50 /home/new && chmod 2750 /home/new && echo one > /opt/app/one
RUN chown -R new:staff /opt/app && cp /bin/busybox /opt/app/bin/su && chmod 4755 /opt/app/bin/su \
    && ln /opt/app/one /opt/app/uno && ln -s one /opt/app/link && mkfifo /opt/app/fifo
RUN rm /usr/lib/one && mv /opt/app /opt/moved && mkdir /opt/app && rm -r /home/app && : >> /etc/group
RUN (setsid sleep 1000 &) ; sleep 1000 & echo started
# Modes and owners that are changed after a file was made: in the same layer, then in a further one.
RUN <<EOF
set -e
mkdir /modes && cd /modes
for name in later owner lost again group foreign plain roots; do echo $name > $name; done
chmod 600 later && chmod 4711 roots
chown new:staff owner && chmod 4711 owner
chmod 6755 lost && chown new lost
chmod 6755 again && chown new:staff again && chmod ug+s again
chmod 2644 group && chgrp staff group
chown new:7 foreign plain
ln -s plain link && chmod 604 link && chown -h app:7 link
mkdir -m 3770 shared && chown app:staff shared && chmod 2775 shared && echo x > shared/inherits && mkdir shared/inner
umask 027 && echo x > masked && mkdir masked.d && chmod +x masked
EOF
RUN cd /modes && chmod 4640 later && chown 7:8 later again && chmod 0 masked && chmod a-s roots \
    && chown root:root owner && chmod 1777 shared && chown -R app masked.d && mv plain moved && chmod 711 moved
WORKDIR /made/here
RUN <<EOF
set -e
test "$(cat /etc/resolv.conf)" = "nameserver 10.9.8.7"
grep -q pod.example /etc/hosts || grep -q buildkitsandbox /etc/hosts
echo script > script
EOF
RUN <<EOF
#!/bin/busybox sh
case $0 in /dev/pipes/*) echo found > found ;; esac
EOF
RUN --mount=type=tmpfs,target=/made/memory echo gone > /made/memory/file && ls /made > listing
ADD capable.tar /
RUN echo changed >> /capable/changed && mv /capable/kept /
USER new
RUN id > /home/new/id && ! touch /etc/not-allowed && test "$(ls -ld /home/new | cut -d' ' -f1)" = drwxr-s---
RUN <<EOF
set -e
cd /home/new
echo x > mine && chmod 4750 mine && mkdir own && chmod 1700 own
chgrp 1234 mine && chmod 2750 mine
refused() { if "$@" 2>/dev/null; then echo "not refused: $*"; exit 1; fi; }
# Of none of these is it the owner.
for path in /modes/later /modes/owner /modes/roots /modes/shared /etc/passwd; do
    refused chmod 777 $path
    refused chown new $path
done
refused chgrp 7 mine
# Of this it is, but not in its group.
chmod 2755 /modes/foreign
stat -c '%a %u %g' mine own /modes/foreign > seen
EOF
