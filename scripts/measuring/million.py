"""What a million resources cost: memory of each, passive and in use, and the time of a LIST.

Passive resources were created and nothing more; in use is what was written since the start and
so has an actor. Memory is what the process has more than before they were there, and includes
paths, values and whatever the allocator keeps.
"""
import os
import statistics
import subprocess
import time

from wire import Client, request

from .runs import Failed, environment

DIRECTORIES = 10
VALUE_BYTES = 32
# Requests that are sent before their answers are read.
BATCH = 500
LISTS = 9
SETTLE_SECONDS_MAX = 20
PLACE = "%06d"


def run(fanal, folder, resources):
    # Each creation on disk before it is answered would measure the disk.
    command = [fanal, "--port", "0", "--data", os.path.join(folder, "million"),
               "--log-level", "info", "--set", "store.sync=interval",
               "--set", "limits.nodes_max=%d" % (resources + 1000)]
    server = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    try:
        client = Client(port_of(server))
        return measure(client, server.pid, resources)
    except (SystemExit, OSError) as error:
        # The client leaves at the first answer that it did not expect.
        raise Failed(str(error)) from error
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def port_of(server):
    for line in iter(server.stdout.readline, ""):
        if "ws://127.0.0.1:" in line:
            return int(line.split("ws://127.0.0.1:")[1].split("/")[0])
    raise Failed("the server did not start")


def measure(client, pid, resources):
    each = max(resources // DIRECTORIES, 1)
    # Memory that is taken once, for the first requests of a connection, is no resource's.
    for_all(client, "CREATE", "warm", BATCH)
    empty = settled_bytes(pid)
    began = time.monotonic()
    for directory in range(DIRECTORIES):
        for_all(client, "CREATE", str(directory), each)
    creating = time.monotonic() - began
    passive = settled_bytes(pid)
    lists = [list_ms(client, "0", each) for _ in range(LISTS)]
    after_lists = settled_bytes(pid)
    for directory in range(DIRECTORIES):
        for_all(client, "PUT", str(directory), each, bytes(VALUE_BYTES))
    in_use = settled_bytes(pid)
    count = DIRECTORIES * each
    client.socket.close()
    return {"resources": count, "bytes_passive": (passive - empty) / count,
            "bytes_in_use": (in_use - empty) / count, "list_ms": statistics.median(lists),
            "list_names": each, "list_ms_max": max(lists), "creates_per_s": count / creating,
            "rss_empty_bytes": empty, "rss_passive_bytes": passive,
            "rss_after_lists_bytes": after_lists, "rss_in_use_bytes": in_use}


def for_all(client, verb, directory, count, payload=None):
    """The same request for many names of one length, which are put into a ready frame."""
    placeholder = PLACE % 0
    frame = request(1, verb, ["many", directory, placeholder], payload)
    before, after = frame.rsplit(placeholder.encode(), 1)
    for first in range(0, count, BATCH):
        names = range(first, min(first + BATCH, count))
        client.socket.sendall(
            b"".join(before + (PLACE % name).encode() + after for name in names))
        client.answers(len(names))


def list_ms(client, directory, names):
    asked = time.perf_counter()
    client.socket.sendall(request(1, "LIST", ["many", directory]))
    size = len(client.message())
    took = (time.perf_counter() - asked) * 1000
    if size < names * len(PLACE % 0):
        raise Failed("a LIST of %d names had %d bytes" % (names, size))
    return took


def settled_bytes(pid):
    """Resident memory, once it has stayed the same for a second and a half."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    seen = [resident_bytes(pid)]
    while time.monotonic() < deadline:
        time.sleep(0.5)
        seen.append(resident_bytes(pid))
        if len(seen) > 3 and max(seen[-4:]) - min(seen[-4:]) < 1 << 16:
            break
    return seen[-1]


def resident_bytes(pid):
    with open("/proc/%d/statm" % pid, encoding="utf-8") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
