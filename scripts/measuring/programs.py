"""The peers of a measurement, installed if need be, and what was measured on what."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from binaries import ROOT

# Peer, Debian's package, its program, what asks the program for its version.
PEERS = {
    "redis": ("redis-server", "redis-server", "--version"),
    "mosquitto-tcp": ("mosquitto", "mosquitto", "-h"),
    "nats": ("nats-server", "nats-server", "--version"),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def peers(names):
    """Paths of the peers' programs by peer, after installing what is missing."""
    wanted = {name: PEERS[name] for name in names if name in PEERS}
    missing = [package for package, program, _ in wanted.values() if not find(program)]
    if missing:
        install(missing)
    paths = {name: find(program) for name, (_, program, _) in wanted.items()}
    absent = [name for name, path in paths.items() if not path]
    if absent:
        sys.exit("scripts/bench: still missing after the installation: %s" % ", ".join(absent))
    return paths


def find(program):
    """Debian puts servers where only root's PATH looks."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def install(packages):
    if not shutil.which("apt-get"):
        sys.exit("scripts/bench: install these and start again: %s" % " ".join(packages))
    say("installing %s" % ", ".join(packages))
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    apt = sudo + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    programs = [program for package, program, _ in PEERS.values() if package in packages]
    before = running(programs)
    subprocess.run(apt + ["update"], check=True, stdout=sys.stderr)
    subprocess.run(apt + ["install", "-y", "--no-install-recommends"] + packages, check=True,
                   stdout=sys.stderr)
    # Debian starts a server as soon as it is installed. These were not there before, so that
    # whatever runs of them now was started by the installation.
    for package in packages:
        if find("service"):
            subprocess.run(sudo + [find("service"), package, "stop"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    for pid in running(programs) - before:
        subprocess.run(sudo + ["kill", "-%d" % signal.SIGTERM, str(pid)])
    deadline = time.monotonic() + 10
    while running(programs) - before:
        if time.monotonic() > deadline:
            sys.exit("scripts/bench: what the installation started does not stop")
        time.sleep(0.1)


def running(programs):
    """Process ids of these programs."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid, encoding="utf-8") as file:
                if file.read().strip() in programs:
                    found.add(int(pid))
        except OSError:
            pass
    return found


def describe(paths):
    """What was measured on what, as pairs of words."""
    facts = [("Date", time.strftime("%Y-%m-%d", time.gmtime())),
             ("CPU", "%s, %d cores" % (cpu_model(), os.cpu_count() or 0)),
             ("Kernel", "%s %s" % (os.uname().sysname, kernel_version())),
             ("Fanal", fanal_version())]
    for name, path in paths.items():
        text = output([path, PEERS[name][2]])
        version = re.search(r"(?:v=|version |v)(\d+\.\d+[\w.]*)", text)
        facts.append((name, version.group(1) if version else "unknown"))
    return facts


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return models[0] if models else os.uname().machine


def kernel_version():
    """The numbers; what a machine's owner appends is no concern of a reader."""
    return re.match(r"[\d.]*", os.uname().release).group().rstrip(".")


def fanal_version():
    commit = output(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]) or "no commit"
    changed = output(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"])
    return commit + (" with changes" if changed else "")


def output(command):
    """What a command prints, or nothing if it cannot be run; some exit with 1 after a version."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return ""
    return done.stdout.strip()
