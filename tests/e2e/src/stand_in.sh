# Plays a set-up SmartOS in the Debian guest of ring 3. The root disk stays over a reset; this runs again after it.
# What is written to the console is the stand-in's own log.
exec >/dev/ttyS0 2>&1
set -u
mdata() { /in/files/mdata "$1" --device /dev/ttyS1 --timeout 60 -- "${@:2}"; }

# program NAME: the standard input is the program NAME from now on. says NAME: that program prints the standard input.
program() { cat >"$1.new"; chmod 755 "$1.new"; rm -f "$1"; mv "$1.new" "$1"; }
says() { { echo '#!/bin/bash'; echo "cat <<'ANSWER'"; cat; echo ANSWER; } | program "$1"; }

mkdir -p /usbkey /opt/custom/etc /lib/svc/method /root/.ssh /etc/dropbear /var/tmp
printf '%s\t%s\t%s\n' zones/var /var zfs zones/opt /opt zfs zones/config /etc/zones zfs /dev/dsk/c1t0d0p1 /usbkey pcfs >/etc/mnttab
printf 'admin_nic=52:54:00:6b:69:6c\nadmin_ip=10.0.2.15\nadmin_netmask=255.255.255.0\n' >/usbkey/config
touch /opt/custom/etc/zone.json.tmpl
sed -i 's/^root:[^:]*:/root:NP:/' /etc/shadow
mdata get root_authorized_keys >/root/.ssh/authorized_keys
chmod 700 /root /root/.ssh; chmod 600 /root/.ssh/authorized_keys
program /usr/sbin/mdata-get <<'P'
#!/bin/bash
exec /in/files/mdata get --device /dev/ttyS1 --timeout 60 -- "$@"
P
mdata get user-script >/tmp/user-script
PATH=/usr/sbin:/usr/bin:/sbin:/bin sh /tmp/user-script
hostname "$(mdata get sdc:alias)"

program /usr/sbin/zpool <<'P'
#!/bin/bash
case $* in
"list -H -o name,health") printf 'zones\tONLINE\n' ;;
"list -H -o guid zones") echo 11400714819323198485 ;;
*) exit 2 ;;
esac
P
program /usr/sbin/zfs <<'P'
#!/bin/bash
case $* in
"get -H -o value kiln:step zones") echo complete ;;
"list -H -o name -t filesystem,volume -r zones")
    printf 'zones%s\n' '' /config /cores /cores/global /dump /opt /swap /var ;;
*) exit 2 ;;
esac
P
program /usr/sbin/dladm <<'P'
#!/bin/bash
case $* in
"show-phys -p -o link,state") echo @LINK@:up ;;
"show-vnic -p -o link,over") echo vnic0:vswitch0 ;;
*) exit 1 ;;
esac
P
program /usr/bin/svcs <<'P'
#!/bin/bash
[ "$1" != -a ] || set -- x x x svc:/system/console-login:default
for name in "${@:4}"; do printf 'online         %s\n' "$name"; done
P
program /usr/sbin/reboot <<'P'
#!/bin/bash
sync
# As on a platform, whoever asked hears the answer first.
(sleep 1; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &
P
says /usr/bin/uname <<<'joyent_@STAMP@'
says /usr/sbin/swap <<'P'
swapfile             dev    swaplo   blocks     free
/dev/zvol/dsk/zones/swap 90,1        8  8388600  8388600
P
says /usr/sbin/dumpadm <<<'      Dump device: /dev/zvol/dsk/zones/dump (dedicated)'
says /usr/sbin/ifconfig <<'P'
@LINK@: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2
	inet 10.0.2.15 netmask ffffff00 broadcast 10.0.2.255
vnic0: flags=1100843<UP,BROADCAST,RUNNING,MULTICAST,ROUTER,IPv4> mtu 1500 index 3
	inet 172.16.9.1 netmask ffffff00 broadcast 172.16.9.255
P
says /usr/bin/netstat <<<'default              10.0.2.2             UG        2          4 @LINK@'
says /usr/sbin/ping <<<'10.0.2.2 is alive'
says /usr/sbin/routeadm <<<'persistent=disabled default=disabled current=enabled'
says /usr/sbin/ipfstat <<'P'
pass out quick on @LINK@ proto tcp from any port = ssh to any
pass in quick on @LINK@ proto tcp from any to any port = ssh
block in log first quick on @LINK@ all
P
says /usr/sbin/ipnat <<'P'
List of active MAP/Redirect filters:
map @LINK@ 172.16.9.0/24 -> 0.0.0.0/32 portmap tcp/udp auto
P
says /lib/svc/method/guest-init <<<'{"result":"ok","phase":"userscript","phases":[]}'

busybox ip link set lo up
busybox ip addr add 10.0.2.15/24 dev eth0
busybox ip link set eth0 up
busybox ip route add default via 10.0.2.2
LD_LIBRARY_PATH=/in/files /in/files/dropbear -R -s -E -p 22
echo "stand-in: set up"
mdata put guest-init:status '{"result":"ok","phase":"setup","time":"2026-01-01T00:00:00Z"}'
mdata put guest-init:status '{"result":"ok","phase":"userscript","time":"2026-01-01T00:00:01Z"}'
while :; do sleep 60; done
