//! What the program says about itself.

/// The help.
pub const HELP: &str = "\
guest-init: sets up a SmartOS guest at each of its boots.

SMF runs it, under the names of the platform's methods; by hand it tells more than it does:

  guest-init status            how this boot went so far: each phase, what it changed, what failed and why
  guest-init status --json     the same for programs; the status is also the metadata key guest-init:status
  guest-init --plan PHASE      what each step of a phase would do now, and why; nothing is changed
  guest-init zone-create       makes a zone from /opt/custom/etc/zone.json.tmpl: finds a free address, an image, and
                               sizes that suit this machine
      --print                  shows what it would make
      KEY=VALUE                replaces a value, such as alias=web, ip=172.16.9.7, image_uuid=UUID, quota=20
                               or max_physical_memory=512 (MiB); elsewhere than in the network for zones:
                               nic_tag=TAG ip=ADDRESS netmask=MASK gateway=ROUTER, or nic_tag=TAG ip=dhcp

It also is /opt/custom/bin/zone-create; /system/usr/bin/smbios, which gives the UUID that the host gives; and on old
platforms the time service.

Phases, in the order of a boot, with the services that run them:

  storage     svc:/system/filesystem/smartdc   the key, the pool, /var and /opt, swap and dump
  identity    svc:/system/smartdc/config       /usbkey/config, root's password, sshd_config, ntp.conf
  setup       svc:/smartos/setup               SSH keys, hostname, interfaces, the network for zones, the firewall
  init        svc:/system/smartdc/init         what vmadm and fwadm expect to find
  userscript  svc:/smartos/userscript          sdc:operator-script, then user-script

To run a phase anew: svcadm restart SERVICE, or svcadm clear SERVICE if it is in maintenance.
guest-init PHASE does so outside SMF, where services that depend on it know nothing of it. It wants --outside-smf twice.

Logs: svcs -L SERVICE names the service's; /var/log/guest-init.log keeps those of earlier boots.
In rescue mode (the pool could not be used) /etc/svc/volatile/guest-init.failed has the reason, and no disk is written to.

Exit status: 0 all is well, 1 something failed, 2 the words make no sense. A method of SMF always ends with 0, since
services that the owner needs to get in depend on it.
";
