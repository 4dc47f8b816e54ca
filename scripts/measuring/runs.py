"""One run of the load generator against one server, started for it and ended after it.

The generator starts the server and ends it by its process id. However the generator ends, the
kernel then kills the server; only a server that changes its user would be spared, so none does.
"""
import json
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile

RUN_SECONDS_MAX = 240
# Share of a core used by anything else beyond which a run counts as disturbed.
OTHERS_PERCENT_MAX = 15

MOSQUITTO = """listener %d 127.0.0.1
allow_anonymous true
persistence false
log_type none
set_tcp_nodelay true
user %s
"""
NATS = """host: 127.0.0.1
port: %d
max_payload: 8MB
"""


# A user who may use what the generator uses, by the last of so many rules.
USERS = """[auth]
mode = "users"
preset = "none"
users = [{ name = "bench", token = "a token for a bench", roles = ["bench"] }]
rules = [
%s
    { roles = ["bench"], allow = ["READ", "WRITE", "CREATE", "DELETE"], paths = ["bench/**"] },
]
"""
OTHER_RULES = 49


class Failed(Exception):
    """A run that says nothing, with the reason."""


class Runner:
    def __init__(self, fanal, loadgen, peers, folder):
        self.programs = dict(peers, fanal=fanal, **{"fanal-users": fanal})
        self.loadgen = loadgen
        self.folder = folder

    def run(self, server, options):
        """The generator's line about one run."""
        data = tempfile.mkdtemp(dir=self.folder)
        log = os.path.join(data, "log")
        port = free_port()
        protocol, command = self.server(server, port, data)
        try:
            done = subprocess.run(
                [self.loadgen] + shlex.split(options) + [
                    "--proto", protocol, "--port", str(port), "--name", server,
                    "--server-cmd", command, "--server-log", log],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=data,
                env=environment(), timeout=RUN_SECONDS_MAX)
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            if not lines:
                raise Failed("%s %s" % (done.stderr.strip(), last_line(log)))
            return judged(json.loads(lines[-1]), log)
        except subprocess.TimeoutExpired as error:
            raise Failed("took more than %d s" % RUN_SECONDS_MAX) from error
        finally:
            shutil.rmtree(data, ignore_errors=True)

    def server(self, server, port, data):
        """Protocol and start command of a server. None of the peers writes to a disk."""
        program = self.programs.get(server, self.loadgen)
        if server == "fanal":
            return "lighthouse", "%s --port %d --data %s/data --log-level warn" % (
                program, port, data)
        if server == "fanal-users":
            config = os.path.join(data, "fanal.toml")
            rule = '    { roles = ["bench"], allow = ["READ"], paths = ["room/%d/*", "bench/%d/**"] },'
            with open(config, "w", encoding="utf-8") as file:
                file.write(USERS % "\n".join(rule % (n, n) for n in range(OTHER_RULES)))
            return "lighthouse", "%s --config %s --port %d --data %s/data --log-level warn" % (
                program, config, port, data)
        if server == "redis":
            return "redis-tcp", (
                "%s --port %d --bind 127.0.0.1 --save '' --appendonly no --maxclients 12000"
                % (program, port))
        if server in ("mosquitto-tcp", "nats"):
            protocol, text = "nats-tcp", NATS % port
            if server == "mosquitto-tcp":
                protocol, text = "mqtt-tcp", MOSQUITTO % (port, pwd.getpwuid(os.geteuid()).pw_name)
            config = os.path.join(data, "config")
            with open(config, "w", encoding="utf-8") as file:
                file.write(text)
            return protocol, "%s -c %s" % (program, config)
        mode = {"limit": "naive", "limit-co": "coalesce"}[server]
        return "raw", "%s limit --mode %s --port %d" % (program, mode, port)


def judged(result, log):
    for name in ("server_crashed", "bad_answers", "failed", "conns_lost"):
        if result.get(name):
            raise Failed("%s: %s; %s" % (name, result[name], last_line(log)))
    if not result.get("msgs_per_s"):
        raise Failed("nothing came within the measured time: the machine was busy elsewhere")
    return result


def environment():
    """FANAL_* variables are settings too, and these here are not the measurement's."""
    return {k: v for k, v in os.environ.items() if not k.startswith("FANAL_")}


def last_line(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.read().splitlines()[-1:])
    except OSError:
        return ""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
