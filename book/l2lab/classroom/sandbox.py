"""Walls around submissions: bubblewrap around all of them, kernel namespaces between one and the next.

Two walls, each used where the machine has it:

*bubblewrap* (``bwrap``; Linux) starts the process from which all submissions are forked. It sees the Python
installation read-only, an empty temporary folder, no network, no environment variable of the person who
grades, and neither the assignment nor any submission.

*Namespaces* (Linux) are made for each submission: it can reach no process but its own, has its own empty
network, its own temporary folder, no privileges, and all that it has started ends with it.

What is missing is said aloud (:meth:`Protection.warning`): a grader that is open looks like a closed one.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Protection", "bubblewrap", "scratch", "wrapped"]

# <linux/sched.h>, <linux/prctl.h>, <sys/mount.h>
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _NO_NEW_PRIVS, _SUBREAPER, _CAP_AMBIENT = 1, 4, 24, 38, 36, 47
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18


@dataclass(frozen=True)
class Protection:
    """Which walls stand.

    Parameters
    ----------
    bubblewrap : bool
        Disk read-only and mostly invisible, no network.
    namespaces : bool
        Submissions cannot see, stop or influence one another or what started them.
    """

    bubblewrap: bool
    namespaces: bool

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.bubblewrap and self.namespaces

    def warning(self) -> str:
        """Say what submissions can do on this machine.

        Returns
        -------
        str
            Empty if both walls stand.
        """
        if self.complete:
            return ""
        lines = ["NOT PROTECTED: submissions run with your rights on this machine."]
        if not self.bubblewrap:
            lines.append(
                "bubblewrap is missing (Debian, Ubuntu: apt-get install bubblewrap): a submission can read "
                "and change your files, the other submissions, the hidden tests and the grades"
                + (", and use the network." if not self.namespaces else ".")
            )
        if not self.namespaces:
            lines.append(
                "Namespaces are not allowed here (user namespaces of Linux): a submission can see and end "
                "your processes, those of other submissions and of the grader."
            )
        lines.append("Grade only what you would run yourself, or grade in a virtual machine.")
        return "\n".join(lines)


# ---- bubblewrap --------------------------------------------------------------------------------------------

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
# Of /etc only what programs need; as root, a submission could read the rest.
_SETTINGS = (
    "alternatives",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
)


@functools.cache
def bubblewrap() -> str | None:
    """Find bubblewrap and try it.

    Returns
    -------
    str or None
        Path of ``bwrap``; None where it is not installed or not allowed to make its namespaces.
    """
    path = shutil.which("bwrap")
    if path is None or not sys.platform.startswith("linux"):
        return None
    try:
        done = subprocess.run(
            [*wrapped(path), sys.executable, "-S", "-c", "pass"], capture_output=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return path if done.returncode == 0 else None


def wrapped(path: str) -> list[str]:
    """Compose the command line that shuts a Python of this installation in.

    Parameters
    ----------
    path : str
        That of ``bwrap``.

    Returns
    -------
    list of str
        To be followed by the command that runs inside.
    """
    # Not root inside, even if outside: root without privileges may not make the second wall.
    command = [path, "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    command += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", scratch()]
    for name in ("sys", "irq", "bus", "acpi"):  # bubblewrap leaves them open when root starts it
        command += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
    command += (
        ["--ro-bind", "/dev/null", "/proc/sysrq-trigger"] if Path("/proc/sysrq-trigger").exists() else []
    )
    for folder in _SYSTEM:
        link = Path(folder)
        if link.is_symlink():
            command += ["--symlink", os.readlink(folder), folder]
        elif link.exists():
            command += ["--ro-bind", folder, folder]
    for name in _SETTINGS:
        command += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    command += ["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]
    for folder in _python_folders():
        command += ["--ro-bind", folder, folder]
    # What is not mounted from outside is memory, in which submissions could leave something for later ones.
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", scratch()]


@functools.cache
def scratch() -> str:
    """Name the folder in which submissions may write, inside of bubblewrap.

    Returns
    -------
    str
        The usual one, or another if this Python lives in there: it would be covered.
    """
    taken = any(folder.startswith("/tmp/") for folder in _python_folders())
    return "/scratch" if taken else "/tmp"


def _python_folders() -> list[str]:
    """Folders of this Python, its packages and this package, the outermost only."""
    wanted = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    wanted |= {os.path.dirname(os.path.realpath(sys.executable))}
    wanted |= {entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))}
    if site.ENABLE_USER_SITE:
        wanted.add(site.getusersitepackages())
    wanted.add(str(Path(__file__).resolve().parents[1]))
    wanted |= {os.path.realpath(folder) for folder in wanted}
    folders = sorted(os.path.abspath(folder) for folder in wanted if os.path.isdir(folder))
    kept: list[str] = []
    for folder in folders:
        if folder in ("/", "/usr") or folder.startswith("/usr/"):
            continue
        if not any(folder == other or folder.startswith(other + "/") for other in kept):
            kept.append(folder)
    return kept


# ---- namespaces, called in forked processes only -----------------------------------------------------------


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(*arguments: int) -> bool:
    """Ask the kernel for a property of this process; False where there is no such thing."""
    if not sys.platform.startswith("linux"):
        return False
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0, 0)[:5]]
    return _libc().prctl(*values) == 0


def _isolate() -> bool:
    """Put the children of this process into namespaces of their own; False where that is not allowed."""
    if not sys.platform.startswith("linux"):
        return False
    user, group = os.geteuid(), os.getegid()
    if _libc().unshare(_NEWUSER | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS) != 0:
        return False
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError:
        return False
    return True


def _mount(kind: str, place: str, flags: int, options: str = "") -> bool:
    return _libc().mount(kind.encode(), place.encode(), kind.encode(), flags, options.encode() or None) == 0


def _own_mounts(size: int, folders: tuple[str, ...]) -> bool:
    """Show this process only its own ones, and empty folders of `size` bytes in the places of these."""
    if _libc().unshare(_NEWNS) != 0 or not _mount("none", "/", _MS_REC | _MS_PRIVATE):
        return False
    done = True
    for place in folders:
        done = _mount("tmpfs", place, _MS_NOSUID | _MS_NODEV, f"size={size},mode=1777") and done
    # Where parts of /proc are covered the kernel refuses a new one. Then the processes of others are listed,
    # but closed all the same, since they belong to another namespace. Read-only in both cases: for root,
    # even without privileges, settings of the whole kernel are files to write into.
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    if not _mount("proc", "/proc", flags):
        done = _mount("none", "/proc", flags | _MS_REMOUNT | _MS_BIND) and done
    return done


def _give_up_privileges() -> None:
    """Drop what the owner of a new user namespace may do in it, for good."""
    if not sys.platform.startswith("linux"):
        return
    _prctl(_NO_NEW_PRIVS, 1)
    _prctl(_CAP_AMBIENT, 4)
    for capability in range(64):
        if not _prctl(_CAPBSET_DROP, capability):
            break
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    _libc().capset(header, (ctypes.c_uint32 * 6)())


# ---- whom a process has started ----------------------------------------------------------------------------


def _descendants(pid: int) -> list[int]:
    """All processes that this one and its children have started, as far as /proc shows them."""
    found, queue = [], [pid]
    while queue:
        parent = queue.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    children = [int(word) for word in file.read().split()]
            except (OSError, ValueError):
                continue
            found += children
            queue += children
    return found


def _private_bytes(pid: int) -> int:
    """Memory of a process that is not backed by a file; what it still shares with its parent is counted."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
