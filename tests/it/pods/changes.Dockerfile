# Whatever commands do to files that a layer can tell of.
FROM base
RUN echo new:x:1234:1234::/home/new:/bin/sh >> /etc/passwd && sed -i s/staff:x:50:app/staff:x:50:app,new/ /etc/group \
    && mkdir -p /home/new /opt/app/bin && chown 1234:50 /home/new && chmod 2750 /home/new && echo one > /opt/app/one
RUN chown -R new:staff /opt/app && cp /bin/busybox /opt/app/bin/su && chmod 4755 /opt/app/bin/su \
    && ln /opt/app/one /opt/app/uno && ln -s one /opt/app/link && mkfifo /opt/app/fifo
RUN rm /usr/lib/one && mv /opt/app /opt/moved && mkdir /opt/app && rm -r /home/app && : >> /etc/group
RUN (setsid sleep 1000 &) ; sleep 1000 & echo started
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
