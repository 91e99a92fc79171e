"""One instance with py-eureka-client. Takes orders on standard input, one a line, and prints what the client itself
sees as JSON, one line a change."""
import asyncio
import json
import logging
import sys
import threading
import time

from py_eureka_client import eureka_client

given = dict(arg.split("=", 1) for arg in sys.argv[1:])
lock = threading.Lock()


def say(what):
    with lock:
        print(json.dumps(what), flush=True)


def watch(client):
    last = None
    while True:
        applications = client.applications
        seen = sorted([app.name, one.instanceId, one.status, one.hostName, one.port.port]
                      for app in (applications.applications if applications else []) for one in app.instances)
        if seen != last:
            last = seen
            say({"view": seen})
        time.sleep(0.05)


async def main():
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
    client = await eureka_client.init_async(
        eureka_server=given["url"], app_name=given["app"], instance_id=given["id"], instance_host=given["host"],
        instance_ip="127.0.0.1", instance_port=int(given["port"]), vip_adr=given["vip"],
        renewal_interval_in_secs=int(given["interval"]), duration_in_secs=int(given["lease"]))
    threading.Thread(target=watch, args=(client,), daemon=True).start()
    for line in iter(sys.stdin.readline, ""):
        order = line.split()
        if order[0] == "quit":
            break
        if order[0] == "override":
            await client.status_update(order[1])
        elif order[0] == "clear":
            await client.delete_status_override()
        say({"did": order[0], "status": 200})
    await client.stop()
    say({"did": "quit"})


asyncio.run(main())
