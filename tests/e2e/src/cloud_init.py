"""Reads a machine's metadata with cloud-init's own SmartOS data source and prints what cloud-init makes of it."""

import json
import sys

from cloudinit.sources import DataSourceSmartOS as smartos

device = sys.argv[1]
client = smartos.JoyentMetadataSerialClient(device, timeout=60, smartos_type=smartos.SMARTOS_ENV_KVM)
with client:
    # What the data source itself asks, in its words, over the connection that it keeps open.
    text = {
        name: client.get(key, strip=strip)
        for name, (key, strip) in smartos.SMARTOS_ATTRIB_MAP.items()
    }
    lists = {name: client.get_json(key) for name, key in smartos.SMARTOS_ATTRIB_JSON.items()}
    network = smartos.convert_smartos_network_data(
        network_data=lists["network-data"], dns_servers=lists["dns_servers"], routes=lists["routes"] or []
    )
    keys = client.list()
    client.put("from-cloud-init", "gr\u00fc\u00dfe\n")
    stored = client.get("from-cloud-init")
    client.delete("from-cloud-init")
    gone = client.get("from-cloud-init")
print(json.dumps({"text": text, "network": network, "keys": keys, "stored": stored, "gone": gone}))
