"""Hosts of a network on one machine: each a network namespace with an address of its own.

A hospital's host has one route, to the server's address. Whatever else is called from there, a name
server too, is out of reach, and the kernel counts the attempt. Needs Linux, root and `ip`.
"""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER = "server"
SUBNET = "10.99.7"
SERVER_ADDRESS = f"{SUBNET}.1"
LISTENING = "0A"
KINDS = ("tcp", "tcp6", "udp", "udp6")
LOOK_S = 0.2
UNSEEN = ("Ip.OutNoRoutes", "Udp.OutDatagrams")
"""What the kernel counts however short it was: whatever had no way, and questions for names."""


def ip(*arguments: str) -> None:
    """One command of `ip`, which must succeed."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def why_no_hosts() -> str:
    """Why this machine cannot have such hosts, in words; empty if it can."""
    if not hasattr(os, "geteuid") or not Path("/proc/self/net/tcp").exists():
        return "network namespaces are Linux's"
    if shutil.which("ip") is None:
        return "there is no command 'ip' (iproute2)"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    name = f"trifed-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made here: {error.stderr.strip()}"
    return ""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection within a host: what kind, where it is, whom it talks to."""

    kind: str
    local: tuple[str, int]
    remote: tuple[str, int]
    listens: bool


@dataclass(frozen=True, slots=True)
class Network:
    """Some hosts and the switch between them.

    Attributes:
        tag: What the namespaces' names begin with.
        anchors: A process in each host that does nothing; by it the kernel's tables are read.
    """

    tag: str
    anchors: dict[str, int]

    def inside(self, host: str) -> tuple[str, ...]:
        """What stands before a command that is to run on a host."""
        return ("ip", "netns", "exec", f"{self.tag}-{host}")

    def down(self, host: str) -> None:
        """Pull a host's plug."""
        ip("-n", f"{self.tag}-switch", "link", "set", host, "down")

    def up(self, host: str) -> None:
        """Put it back."""
        ip("-n", f"{self.tag}-switch", "link", "set", host, "up")

    def ends(self, host: str) -> set[End]:
        """What is connected, or listens, on a host now."""
        found = set()
        for kind in KINDS:
            table = Path(f"/proc/{self.anchors[host]}/net/{kind}").read_text().splitlines()[1:]
            for line in table:
                _, local, remote, state = line.split()[:4]
                found.add(End(kind, _place(local), _place(remote), state == LISTENING))
        return found

    def counts(self, host: str) -> dict[str, int]:
        """The kernel's counters of a host, such as Ip.OutNoRoutes and Udp.OutDatagrams."""
        lines = Path(f"/proc/{self.anchors[host]}/net/snmp").read_text().splitlines()
        found = {}
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, *keys = names.split()
            found |= {
                f"{group}{key}".replace(":", "."): int(value)
                for key, value in zip(keys, values.split()[1:], strict=True)
            }
        return found


@contextmanager
def network(hospitals: Sequence[str]) -> Iterator[Network]:
    """A server's host, one for each hospital, and a switch; all of it is gone afterwards."""
    made = Network(f"trifed{os.getpid()}", {})
    switch = f"{made.tag}-switch"
    with ExitStack() as gone:
        _namespace(switch, gone)
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for number, host in enumerate([SERVER, *hospitals]):
            space = f"{made.tag}-{host}"
            _namespace(space, gone)
            ip("-n", switch, "link", "add", host, "type", "veth", "peer", "eth0", "netns", space)
            ip("-n", switch, "link", "set", host, "master", "bridge", "up")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")
            if host == SERVER:
                ip("-n", space, "address", "add", f"{SERVER_ADDRESS}/24", "dev", "eth0")
            else:
                ip("-n", space, "address", "add", f"{SUBNET}.{10 + number}/32", "dev", "eth0")
                ip("-n", space, "route", "add", SERVER_ADDRESS, "dev", "eth0")
            anchor = subprocess.Popen([*made.inside(host), "sleep", "infinity"])
            gone.callback(_end, anchor)
            made.anchors[host] = anchor.pid
            _wait_until_inside(anchor.pid)
        yield made


@contextmanager
def watched(hosts: Network, hospitals: list[str]) -> Iterator[dict[str, set[End]]]:
    """Every connection that is seen at each hospital."""
    seen: dict[str, set[End]] = {hospital: set() for hospital in hospitals}
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            for hospital in hospitals:
                seen[hospital] |= hosts.ends(hospital)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def within(end: End) -> bool:
    """Whether a connection, or who listens, is within the machine."""
    near, far = (place[0].removeprefix("::ffff:") for place in (end.local, end.remote))
    return near.startswith("127.") and (end.listens or far.startswith("127."))


def _namespace(name: str, gone: ExitStack) -> None:
    ip("netns", "add", name)
    gone.callback(ip, "netns", "del", name)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _wait_until_inside(pid: int) -> None:
    """Until then the tables are those of the machine."""
    machine = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == machine:
        time.sleep(0.01)


def _place(text: str) -> tuple[str, int]:
    """An address and a port from the kernel's table, where words of four bytes stand turned."""
    address, port = text.split(":")
    words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, b"".join(words)), int(port, 16)
