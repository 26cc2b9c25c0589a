"""A `java` and a `mvn` that do what deploy/kafka/kafka sees of the real ones, in milliseconds and without a network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_JAVA = """#!{python}
import os, pathlib, signal, socket, sys, threading

def properties(path):
    return dict(line.split("=", 1) for line in pathlib.Path(path).read_text().splitlines() if "=" in line)

if "-version" in sys.argv:
    print('openjdk version "{version}" 2025-01-01', file=sys.stderr)
elif "kafka.tools.StorageTool" in sys.argv:
    assert os.environ["CLASSPATH"].endswith("kafka.jar")
    data = pathlib.Path(properties(sys.argv[-1])["log.dirs"])
    data.mkdir()
    (data / "meta.properties").write_text("version=1\\nnode.id=1\\ndirectory.id=first\\n")
    (data / "bootstrap.checkpoint").write_text("features")
elif "kafka.Kafka" in sys.argv:
    if {fails!r}:
        sys.exit({fails!r})
    signal.signal(signal.SIGTERM, {on_sigterm})
    threading.Timer(120, lambda: os._exit(1)).start()  # whatever happens to the test
    address = properties(sys.argv[-1])["advertised.listeners"].rpartition(":")
    with socket.create_server(("127.0.0.1", int(address[2]))) as server:
        while True:
            client = server.accept()[0]
            client.settimeout(2)
            try:
                client.recv(100) and client.sendall(b"\\1")
            except OSError:
                pass
            client.close()
"""
_MAVEN = """#!{python}
import pathlib, sys
if "-o" in sys.argv or {offline}:
    print("[ERROR] Cannot access central in offline mode")
    sys.exit(1)
print("[INFO] Downloading from central: https://repo.example/kafka.jar")
print("[INFO] Downloaded from central: https://repo.example/kafka.jar (5.1 MB at 9.9 MB/s)")
jar = pathlib.Path(__file__).with_name("kafka.jar")
jar.touch()
out = next(a for a in sys.argv if a.startswith("-Dmdep.outputFile="))
pathlib.Path(out.partition("=")[2]).write_text(str(jar))
"""


def install(
    directory: Path, version: str = "17.0.1", fails: str = "", stubborn: bool = False, offline: bool = False
) -> dict[str, str]:
    """Puts both into a directory.

    Args:
        directory: where; also holds the cache.
        version: of Java.
        fails: a broker says this and ends.
        stubborn: a broker that SIGTERM does not end.
        offline: Maven reaches nothing.

    Returns:
        The environment that finds them.
    """
    tools = directory / "tools"
    tools.mkdir(parents=True)
    on_sigterm = "signal.SIG_IGN" if stubborn else "lambda *_: os._exit(143)"
    java = _JAVA.format(python=sys.executable, version=version, fails=fails, on_sigterm=on_sigterm)
    for name, text in (("java", java), ("mvn", _MAVEN.format(python=sys.executable, offline=offline))):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(directory / "cache")}
