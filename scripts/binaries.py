"""The binaries that scripts measure with, built if need be."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def target():
    return os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR") or "target")


def broker():
    """The release binary; FANAL_BIN names one to use as it is."""
    if "FANAL_BIN" in os.environ:
        return os.path.realpath(os.environ["FANAL_BIN"])
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    return os.path.join(target(), "release", "fanal")


def loadgen():
    """The load generator, which lies beside the checkout or the one that a worktree is of."""
    common = subprocess.run(["git", "rev-parse", "--path-format=absolute", "--git-common-dir"],
                            cwd=ROOT, capture_output=True, text=True).stdout.strip()
    beside = [os.path.join(checkout, "..", "shared", "loadgen")
              for checkout in (ROOT, os.path.dirname(common))]
    source = next((folder for folder in beside if os.path.isdir(folder)), None)
    if source is None:
        sys.exit("the load generator is not there: ../shared/loadgen, beside the checkout")
    folder = os.environ.get("LOADGEN_TARGET") or os.path.join(target(), "loadgen")
    subprocess.run(["cargo", "build", "--release", "--quiet", "--target-dir", folder],
                   cwd=source, check=True)
    return os.path.join(folder, "release", "loadgen")
