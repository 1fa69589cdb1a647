# What administrators do to a Debian. Each command removes what tells the time or is random: logs, caches with inode
# numbers in them, the machine's id.
FROM base
ENV DEBIAN_FRONTEND=noninteractive
COPY --chmod=755 <<'EOF' /usr/local/sbin/tidy
#!/bin/sh
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /etc/machine-id /var/lib/dbus/machine-id
exec find /var/log -type f -delete
EOF

# File capabilities, apart from all else: not every pod can set them.
RUN --mount=from=archive,target=/archive <<'EOF'
set -e
apt-get update -q
apt-get install -qy --no-install-recommends iputils-ping libcap2-bin
cp /bin/sleep /usr/local/bin/serve
setcap cap_net_bind_service+ep /usr/local/bin/serve || echo 'there is no setcap here'
tidy
EOF

# Maintainer scripts, set-user-ID and set-group-ID files, a group made for one of them.
RUN --mount=from=archive,target=/archive <<'EOF'
set -e
apt-get update -q
apt-get install -qy --no-install-recommends sudo openssh-client dbus
stat -c '%n %U:%G %a' /usr/bin/sudo /usr/bin/ssh-agent /usr/lib/dbus-1.0/dbus-daemon-launch-helper > found
cat > wanted <<END
/usr/bin/sudo root:root 4755
/usr/bin/ssh-agent root:_ssh 2755
/usr/lib/dbus-1.0/dbus-daemon-launch-helper root:messagebus 4754
END
cmp found wanted
rm found wanted
dpkg --audit
tidy
EOF

# Users, and commands as somebody else.
RUN <<'EOF'
set -e
groupadd -g 4000 team
useradd -m -u 4321 -g team -G sudo -s /bin/bash dev
mkdir -m 2775 /srv/team
chown dev:team /srv/team
echo 'dev ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/dev
chmod 440 /etc/sudoers.d/dev
tidy
EOF
RUN <<'EOF'
set -e
su dev -c 'umask 027; id > ~/by-su; ln ~/by-su ~/same; mkdir /srv/team/inherits'
sudo -u nobody sh -c 'id > /tmp/by-sudo'
test "$(stat -c %u:%g:%a /srv/team/inherits)" = 4321:4000:2750
test "$(stat -c %u:%g:%a /home/dev/by-su)" = 4321:4000:640
test "$(stat -c %u:%g:%a /tmp/by-sudo)" = 65534:65534:644
tidy
EOF

# It changes the user before the group and keeps its capabilities meanwhile, apart from all else: not every pod can.
RUN <<'EOF'
set -e
setpriv --reuid 4321 --regid 4000 --clear-groups sh -c 'id > /srv/team/by-setpriv' || echo 'there is no setpriv here'
tidy
EOF

# Daemons that stay: of the system, in a session of its own, and one that the shell does not wait for.
RUN <<'EOF'
set -e
mkdir -p /run/dbus
dbus-daemon --system --fork
dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames > /dev/null
(setsid sleep 1000 > /dev/null 2>&1 &)
sleep 1000 &
rm /run/dbus/pid
tidy
EOF

# Removals, directories of the base under other names and replaced, hard links to its files.
RUN <<'EOF'
set -e
rm -r /usr/share/bash-completion /usr/share/perl5/Debconf
mv /usr/share/zoneinfo /usr/share/zones
mv /etc/skel /etc/skeleton
mkdir /etc/skel
mv /usr/share/common-licenses/GPL-3 /opt/
ln -f /opt/GPL-3 /usr/share/common-licenses/GPL
ln -f /bin/true /bin/false
rm -r /usr/share/pam
ln -s common-licenses /usr/share/pam
EOF

# 20,000 new files, and 1,000 more names for some.
RUN <<'EOF'
set -e
for directory in $(seq 20); do
    mkdir -p /srv/many/$directory
    cd /srv/many/$directory
    seq 1000 | split -l 1 -a 3 -d -
done
cd /srv/many
chown -R dev:team 1 2
cp -al 3 linked
test $(find . -type f | wc -l) = 21000
EOF

# A user for whom a set-user-ID program is more than it is for root.
USER dev
WORKDIR /home/dev
RUN test "$(sudo -n id -u)" = 0 && sudo -n chown root:team /srv/team && ! touch /etc/not-allowed && id > by-user
